/* Sequences that do not belong together: what KTO estimates its divergence from (arXiv 2402.01306, section 4.1).
 *
 * Each side of item i gives one: its own tokens before its first turn (the prompt), then the tokens of the same side of
 * item j from its first turn on, turns included. j is the next item of the file, the first one after the last, whose
 * chosen side (of a labelled completion: whose only side) has another prompt. Longer sequences are cut to max_length
 * like any trajectory; one in which no turn is left is empty (n == 0) and counts nowhere. */
#ifndef DM_MODEL_LOSS_MISMATCH_H
#define DM_MODEL_LOSS_MISMATCH_H

#include "io/data/dataset.h"

/* out->items[i] holds those of data->items[i], with the same id, which stays data's. `path` names the data in errors:
 * all prompts are equal. */
dm_status dm_mismatched_sequences(dm_dataset *out, const dm_dataset *data, size_t max_length, const char *path,
                                  dm_error *err);

#endif
