/* A random model that plays: its directory has a tokenizer and a chat template. */
#ifndef DM_TESTS_SUPPORT_SPEAKER_H
#define DM_TESTS_SUPPORT_SPEAKER_H

#include <stdbool.h>

#include "io/data/template.h"

/* pieces: the vocabulary has tokens of several letters, whose words can be cut in more than one way; else it is of
 * bytes. dir: where both are saved, or NULL. Ends the test when it fails. */
void speaker_tokenizer(dm_tokenizer **t, dm_chat_template *c, dm_template_kind kind, bool pieces, const char *dir);

/* Without pieces its head knows letters and the end of turn, and all else has logit 0. With pieces it says anything:
 * bytes that are no text, words that are tokenized otherwise, nothing at all. */
void make_speaker(const char *dir, dm_template_kind kind, bool pieces);

#endif
