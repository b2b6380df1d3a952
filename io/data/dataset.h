/* Trajectories and preference pairs as token ids with turn spans, from the forms that docs/data.md lists:
 *   1. messages {from: human|gpt|system|..., value}, as the authors' repository and ShareGPT have them;
 *   2. messages {role, content}, as TRL reads them, with calls and results of tools;
 *      either as {prompt, chosen, rejected}, {conversations} or {messages}, or {prompt, completion, label};
 *   3. token ids: {ids, turns: [[begin, end), ...]} under chosen/rejected, or alone; also {"pairs": [...]} (case.json).
 * JSON or JSON lines. Every message of the agent is a turn, but for those of a prompt and for the "OK" of conversations
 * that open human, gpt "OK", human, gpt (the authors' instruction and task). A message's own "train": bool or "weight":
 * 0|1 wins outside of a prompt. A pair without `prompt` takes the messages that both sides begin with (TRL's implicit
 * prompt). In an item that names its "tokenizer" (dm_template_identity) the agent's messages may have "ids", their
 * tokens as they were sampled, which are taken when it is this one. What the chat template would leave out (calls,
 * thoughts, tools) is refused by name. */
#ifndef DM_IO_DATA_DATASET_H
#define DM_IO_DATA_DATASET_H

#include "core/sha256.h"
#include "io/data/template.h"

typedef struct dm_data_trajectory {
    int32_t *ids; /* [n]; with keep_cut [n + cut_tokens] */
    size_t n;
    dm_span *turns; /* [n_turns], ascending, disjoint, begin >= 1, not empty */
    size_t n_turns;
    size_t n_actions;             /* tokens inside turns */
    size_t cut_tokens, cut_turns; /* left out by max_length */
} dm_data_trajectory;

typedef struct dm_data_item {
    char *id;                            /* from the file (a string or an integer), or "item K" (K from 0) */
    size_t number;                       /* in the file, from 0 */
    dm_data_trajectory chosen;           /* in SFT data the conversation */
    dm_data_trajectory rejected;         /* n == 0 in SFT data */
    double chosen_score, rejected_score; /* NaN when the file has none */
} dm_data_item;

typedef struct dm_data_report {
    size_t items;   /* kept */
    size_t skipped; /* left out by skip_invalid */
    size_t truncated_items, truncated_tokens, truncated_turns;
    size_t tokens, action_tokens, longest; /* longest trajectory in tokens */
    char first_skipped[256];               /* why, for the first one */
    size_t equal, equal_by_cut;            /* pairs left out by drop_equal; those whose sides a cut made equal */
    bool rendered;                         /* some item was text, and the chat template rendered it */
    size_t retokenized;                    /* turns whose sampled ids are another tokenizer's: their text was taken */
    size_t openings; /* `conversations` whose first answer is trained, since it is more than an "OK" */
} dm_data_report;

typedef struct dm_dataset {
    bool pairs; /* rejected sides are present */
    dm_data_item *items;
    size_t n;
    dm_data_report report;
    char sha256[65]; /* of the file's bytes */
    void *memory;    /* owner of all of the above */
} dm_dataset;

typedef struct dm_data_options {
    const dm_tokenizer *tokenizer; /* may be NULL for pre-tokenized data */
    const dm_chat_template *chat;  /* likewise */
    size_t vocabulary;             /* ids must be below it; 0: not checked */
    size_t max_length;             /* tokens; longer trajectories lose their end, at a turn's end; 0: no limit */
    bool need_pairs;               /* data without rejected sides is an error */
    bool take_labels;              /* completions with a label, which only kto learns from */
    bool drop_equal;               /* pairs whose sides are the same are counted and left out */
    bool join_messages;            /* consecutive messages of one speaker become one; else they are refused */
    bool skip_invalid;             /* count and skip items that are broken or keep no action token */
    bool keep_cut;                 /* trajectories keep the ids that max_length leaves out, after the others */
    bool one;                      /* read one item, and look at no other: */
    const char *only; /* the first with this id, or else the one with this number; NULL: the file's first */
} dm_data_options;

/* Truncation: a trajectory longer than max_length is cut at max_length, and a turn that does not fit whole is dropped
 * with everything after it (the sequence then ends with the last whole turn): no action is cut, no cut turn is
 * counted. Errors name file, line, item id and message index. */
dm_status dm_dataset_open(dm_dataset *out, const char *path, const dm_data_options *options, dm_error *err);
void dm_dataset_close(dm_dataset *d);

/* Adds the items as token ids and turns to a hash: what file, tokenizer, template and limits made together. */
void dm_dataset_hash(const dm_dataset *d, dm_sha256 *h);

/* Appends the ids of a conversation that the agent will answer; they end where its words begin. `doc` is a list of
 * messages in either spelling, or an object with one as "messages" or "prompt" (like a data file's item); the last
 * message is the user's. */
dm_status dm_prompt_render(dm_ids *out, const dm_json_doc *doc, const dm_tokenizer *t, const dm_chat_template *chat,
                           dm_error *err);

/* A conversation as it stands. Its texts belong to the document or to `memory`. */
typedef struct dm_messages {
    dm_message *messages; /* [n] */
    size_t n;
    const dm_json *tools; /* NULL: none */
    void *memory;
} dm_messages;

/* `doc` is a list of messages in either spelling, or an item with "messages" or "conversations", or a data file of such
 * items, of which the first is taken; *items is how many there are. */
dm_status dm_conversation_read(dm_messages *out, size_t *items, const dm_json_doc *doc, dm_error *err);
void dm_messages_free(dm_messages *messages);

#endif
