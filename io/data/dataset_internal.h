/* One item between JSON and token ids: the forms fill it in; dataset.c checks, cuts and stores it. */
#ifndef DM_IO_DATA_DATASET_INTERNAL_H
#define DM_IO_DATA_DATASET_INTERNAL_H

#include "io/data/dataset.h"
#include "io/data/dataset_messages.h"

typedef struct dm_item_reader {
    dm_message_reader m; /* the messages of the side at hand; m.id, m.doc, m.err */
    const dm_data_options *options;
    char number[40]; /* an item's id when the file gives none */

    dm_ids ids; /* the side as token ids */
    dm_span *spans;
    size_t n_spans, spans_capacity;
    bool rendered;   /* an item was text */
    size_t openings; /* conversations whose first answer is more than an "OK" */
} dm_item_reader;

/* "file:line:column: item "id": message" */
#define dm_reader_fail(reader, ...) dm_messages_fail(&(reader)->m, __VA_ARGS__)

/* Room for that many spans. */
dm_status dm_form_reserve(dm_item_reader *r, size_t spans);

/* How many leading messages of two whole conversations are their common prompt (TRL's implicit prompt): the equal ones,
 * as far as the next one of both is the agent's. 0: no common prompt. */
size_t dm_form_common_prompt(const dm_json *chosen, const dm_json *rejected);

/* A side of a pair, not empty, as r->ids and r->spans: a list of messages or one. `prompt`, called `prompt_name`, may
 * be a list, a text, or NULL; without a list the side's first `common` messages are the prompt. */
dm_status dm_form_side(dm_item_reader *r, const dm_json *item, const dm_json *prompt, const char *prompt_name,
                       const dm_json *side, size_t common, const char *name);

/* "conversations" (opening: the authors' instruction and OK are not trained) or "messages", not empty: as r->m; and as
 * r->ids and r->spans, too. */
dm_status dm_form_messages(dm_item_reader *r, const dm_json *item, const dm_json *list, bool opening, const char *name);
dm_status dm_form_conversation(dm_item_reader *r, const dm_json *item, const dm_json *list, bool opening,
                               const char *name);

/* A conversation, not empty, that the agent is to answer, as r->ids. */
dm_status dm_form_prompt(dm_item_reader *r, const dm_json *item, const dm_json *list, const char *name);

/* {ids, turns}; `name` is "" for an item that is itself one. */
dm_status dm_form_tokens(dm_item_reader *r, const dm_json *v, const char *name);

#endif
