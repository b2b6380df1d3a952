/* The messages of one conversation on their way from JSON to a chat template: who speaks, in whichever words the data
 * says it, what is said, and what the agent calls. */
#ifndef DM_IO_DATA_DATASET_MESSAGES_H
#define DM_IO_DATA_DATASET_MESSAGES_H

#include "core/numbers/block.h"
#include "io/data/dataset.h"
#include "io/json.h"

struct dm_made_doc; /* a document that was parsed from a text, such as the arguments of a call */

typedef struct dm_message_reader {
    const dm_json_doc *doc;
    const char *id; /* of the item at hand, for messages; "": none */
    bool join;      /* consecutive messages of one speaker become one; else they are refused */
    dm_error *err;

    dm_message *messages;  /* [n] of the side at hand */
    const dm_json **given; /* [n] their members as the file has them, where `members` has parsed arguments */
    size_t n, capacity;
    const dm_json *tools; /* the item's */

    const char *identity; /* dm_template_identity of what renders them; NULL: nothing does */
    int32_t end_of_turn;  /* its token */
    bool recorded;        /* the item says which tokenizer it was sampled with: its messages may have ids */
    bool same;            /* and it is this one: they are taken */
    size_t retokenized;   /* messages whose ids another tokenizer gave, all items together */

    dm_block *made; /* texts and values that were made for them */
    struct dm_made_doc *docs;
} dm_message_reader;

/* "file:line:column: item "id": message" */
dm_status dm_messages_fail(dm_message_reader *r, const dm_json *v, const char *fmt, ...) DM_PRINTF(3, 4);

/* Drops the messages; `item` (NULL: none) then gives what belongs to all of them: "tools", "tokenizer", and "system" as
 * the first message. */
dm_status dm_messages_begin(dm_message_reader *r, const dm_json *item);
void dm_messages_close(dm_message_reader *r);

/* Appends message `index` of list `name`. in_prompt: what the agent says there is never trained; else `train` says
 * whether it is where the message itself does not. */
dm_status dm_messages_add(dm_message_reader *r, const dm_json *v, const char *name, size_t index, bool in_prompt,
                          bool train);
/* Appends a message of the user that is given as text alone. */
dm_status dm_messages_add_user(dm_message_reader *r, const dm_json *text);

/* Whether it has the keys of a message, and whose it is. */
bool dm_message_is(const dm_json *v);
bool dm_message_is_agent(const dm_json *v);
bool dm_message_is_system(const dm_json *v);
bool dm_message_is_user(const dm_json *v);
/* Its text, NULL where it is not one string. */
const dm_json *dm_message_text(const dm_json *v);
/* The same words, calls and whatever else, but for "train" and "weight". */
bool dm_message_equal(const dm_json *a, const dm_json *b);

/* A copy of `members` without member `key`. NULL: no memory. */
const dm_json *dm_messages_without(dm_message_reader *r, const dm_json *members, const char *key);

#endif
