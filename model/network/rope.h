/* Rotary position embedding (Su et al. 2021): the tables of angles. */
#ifndef DM_MODEL_NETWORK_ROPE_H
#define DM_MODEL_NETWORK_ROPE_H

#include <stddef.h>

#include "model/network/config.h"

/* cos and sin [positions, head_dim/2] of position * frequency i, each in f64 and rounded once. */
void dm_rope_tables(float *cos, float *sin, size_t positions, const dm_config *c);

#endif
