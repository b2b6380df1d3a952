/* One item between JSON and token ids: the forms fill it in; dataset.c checks, cuts and stores it. */
#ifndef DM_IO_DATA_DATASET_INTERNAL_H
#define DM_IO_DATA_DATASET_INTERNAL_H

#include "io/data/dataset.h"
#include "io/json.h"

typedef struct dm_item_reader {
    const dm_json_doc *doc;
    const dm_data_options *options;
    const char *id;  /* of the item at hand, for messages; "": none */
    char number[40]; /* its id when the file gives none */
    dm_error *err;

    dm_message *messages; /* of the side at hand */
    size_t n_messages, messages_capacity;

    dm_ids ids; /* the side as token ids */
    dm_span *spans;
    size_t n_spans, spans_capacity;
} dm_item_reader;

/* "file:line:column: item "id": message" */
dm_status dm_reader_fail(dm_item_reader *r, const dm_json *v, const char *fmt, ...) DM_PRINTF(3, 4);

/* How many leading messages of two whole conversations are their common prompt (TRL's implicit prompt): the equal ones,
 * but so that the next one of both is the agent's. 0: there is none. */
size_t dm_form_common_prompt(const dm_json *chosen, const dm_json *rejected);

/* A side of a pair, not empty, as r->ids and r->spans. `prompt` may be NULL; then the side's first `common` messages
 * are it. */
dm_status dm_form_side(dm_item_reader *r, const dm_json *prompt, const dm_json *side, size_t common, const char *name);

/* Whether it has the keys of a message. */
bool dm_form_is_message(const dm_json *v);

/* "conversations" (opening: the authors' instruction and OK are not trained) or "messages", not empty: as r->messages;
 * and as r->ids and r->spans, too. */
dm_status dm_form_messages(dm_item_reader *r, const dm_json *list, bool opening, const char *name);
dm_status dm_form_conversation(dm_item_reader *r, const dm_json *list, bool opening, const char *name);

/* A conversation, not empty, that the agent is to answer, as r->ids. */
dm_status dm_form_prompt(dm_item_reader *r, const dm_json *list, const char *name);

/* {ids, turns}; `name` is "" for an item that is itself one. */
dm_status dm_form_tokens(dm_item_reader *r, const dm_json *v, const char *name);

#endif
