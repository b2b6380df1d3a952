/* Rotary position embedding (Su et al. 2021): the tables of angles. */
#ifndef DM_MODEL_NETWORK_ROPE_H
#define DM_MODEL_NETWORK_ROPE_H

#include <stddef.h>

#include "model/network/config.h"

/* Inverse frequency i < head_dim / 2 of a table, f64. */
double dm_rope_frequency(const dm_config *c, dm_rope_use use, size_t i);

/* YaRN's attention factor where none is given. */
double dm_rope_yarn_attention(double factor);

/* cos and sin [positions, head_dim/2] of position * frequency i (YaRN: times the attention factor), each in f64 and
 * rounded once. use: DM_ROPE_MAIN or DM_ROPE_LOCAL. */
void dm_rope_tables(float *cosine, float *sine, size_t positions, const dm_config *c, dm_rope_use use);

#endif
