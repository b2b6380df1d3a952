/* llama3 RoPE scaling as GGUF stores it: not its parameters but what each inverse frequency is divided by. */
#ifndef DM_MODEL_FORMATS_ROPE_FACTORS_H
#define DM_MODEL_FORMATS_ROPE_FACTORS_H

#include <stddef.h>

#include "model/network/config.h"

/* The factor of inverse frequency i < head_dim / 2 (rope == DM_ROPE_LLAMA3). */
double dm_rope_factor(const dm_config *c, size_t i);

/* Finds parameters that give these factors [head_dim / 2] and puts them into *c; original: the original length, or 0 if
 * it is unknown. Those of the models that there are (low 1, high 4) come out as they went in; others come out scaled,
 * with the same factors. false: no such parameters. */
bool dm_rope_from_factors(dm_config *c, const float *factors, uint32_t original);

#endif
