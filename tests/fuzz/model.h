/* Models in fuzz targets. */
#ifndef DM_TESTS_FUZZ_MODEL_H
#define DM_TESTS_FUZZ_MODEL_H

#include "model/network/config.h"

/* Any path as a model: an accepted one is read whole. */
void fuzz_model(const char *path);

extern const dm_config fuzz_small_model; /* of the smallest shape that trains */

#endif
