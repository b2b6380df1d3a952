/* A text that ends an answer: --stop of every command that generates. It is found in the bytes, wherever tokens begin
 * and end, and what may still become it is held back until the next bytes decide. */
#ifndef DM_MODEL_INFER_STOP_TEXT_H
#define DM_MODEL_INFER_STOP_TEXT_H

#include <stdbool.h>

#include "core/text.h"

typedef struct dm_stop_text {
    const char *text; /* NULL: none; bytes pass through */
    dm_text said;     /* all bytes so far */
    size_t given;     /* of these, handed out */
    size_t at;        /* where the text begins in `said`, once it was met */
    bool met;
} dm_stop_text;

/* Refuses the empty text; NULL is fine. */
dm_status dm_stop_text_check(const char *text, dm_error *err);
/* A new answer. Keeps the memory of the last one; the struct was zeroed before the first. */
void dm_stop_text_begin(dm_stop_text *s, const char *text);
/* Takes the bytes of the next token. *out: those of the answer that are decided now, [*n], none of them of the stop
 * text; valid until the next call. After `met` nothing more may be added. */
dm_status dm_stop_text_add(dm_stop_text *s, const char *bytes, size_t size, const char **out, size_t *n, dm_error *err);
/* What was held back, when the answer has ended otherwise. */
void dm_stop_text_end(dm_stop_text *s, const char **out, size_t *n);
void dm_stop_text_free(dm_stop_text *s); /* fine on a zeroed struct */

#endif
