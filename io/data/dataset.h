/* Trajectories and preference pairs as token ids with turn spans, from the three data forms (docs/data.md):
 *   1. ShareGPT-like (the authors' repository): {id, prompt, chosen, rejected} or {id, conversations}, lists of
 *      {from: human|gpt|system, value};
 *   2. role/content (TRL): {prompt, chosen, rejected} or {messages}, lists of {role, content};
 *   3. pre-tokenized: {ids, turns: [[begin, end), ...]} under chosen/rejected, or alone;
 *      also {"pairs": [...]} (case.json).
 * JSON or JSON lines. Every agent message is a turn, except those of a prompt and the first one of `conversations` that
 * begin human, gpt, human, gpt (the authors' instruction, OK, task). Outside a prompt, a message's own "train": bool or
 * "weight": 0|1 overrides this. A pair without `prompt` takes the messages that both sides begin with (TRL's
 * implicit prompt). */
#ifndef DM_IO_DATA_DATASET_H
#define DM_IO_DATA_DATASET_H

#include "core/sha256.h"
#include "io/data/template.h"

typedef struct dm_data_trajectory {
    int32_t *ids; /* [n] */
    size_t n;
    dm_span *turns; /* [n_turns], ascending, disjoint, begin >= 1, not empty */
    size_t n_turns;
    size_t n_actions; /* tokens inside turns */
} dm_data_trajectory;

typedef struct dm_data_item {
    char *id;                            /* from the file (a string or an integer), or "item K" (K from 0) */
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
    bool skip_invalid;             /* count and skip items that are broken or keep no action token */
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

/* The messages of a conversation, verbatim: `doc` is a list of them in either spelling, or an item with "messages" or
 * "conversations", or a data file of such items, of which the first is taken; *items is their number. The caller
 * frees *messages with free(); the texts belong to the document. */
dm_status dm_conversation_read(dm_message **messages, size_t *n, size_t *items, const dm_json_doc *doc, dm_error *err);

#endif
