/* Any path as a model: an accepted one is read whole. */
#ifndef DM_TESTS_FUZZ_MODEL_H
#define DM_TESTS_FUZZ_MODEL_H

void fuzz_model(const char *path);

#endif
