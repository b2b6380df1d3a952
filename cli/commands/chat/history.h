/* A conversation as messages and as the token ids that the model has seen. They only grow at the end, so a question
 * costs only what is new in it. */
#ifndef DM_CLI_COMMANDS_CHAT_HISTORY_H
#define DM_CLI_COMMANDS_CHAT_HISTORY_H

#include "io/data/template.h"

typedef struct cli_history {
    const dm_tokenizer *tokenizer;
    const dm_chat_template *chat;
    dm_message *messages; /* [n] their texts are owned; messages[0] may be the system's */
    size_t n, room;
    dm_ids ids;    /* of all messages; after a question they end where the answer begins */
    dm_ids before; /* what they were before the last question */
} cli_history;

/* Starts over with that system message; size 0: without one. */
dm_status cli_history_begin(cli_history *h, const char *system, size_t size, dm_error *err);
/* Starts over with the same system message. */
void cli_history_reset(cli_history *h);

/* Appends the user's message and the header of the answer if they fit into `limit` ids in all. Changes nothing on
 * failure. */
dm_status cli_history_ask(cli_history *h, const char *text, size_t size, size_t limit, dm_error *err);
/* Appends the answer: the generated ids, without the one that ended the answer, and their text. Adds the end-of-turn
 * token and leaves out the template's spaces around the text. ids NULL: the conversation is rendered again with the
 * text. Changes nothing on failure. */
dm_status cli_history_answer(cli_history *h, const int32_t *ids, size_t n, const char *text, size_t size,
                             dm_error *err);
/* Takes back the last question, answered or not, as long as it was asked since the last cli_history_take_back. */
void cli_history_take_back(cli_history *h);

/* Appends the text of the last question that is part of the history. */
void cli_history_question(const cli_history *h, dm_text *out);

/* Messages without the system's. */
size_t cli_history_turns(const cli_history *h);

/* A line of JSON that `dmpo train --objective sft` and `dmpo score` read: {"id", "messages"}. Writes it whole or not at
 * all, and over an existing file only with `overwrite`. */
dm_status cli_history_save(const cli_history *h, const char *path, bool overwrite, dm_error *err);
/* Takes the file's first conversation, whole or not at all. If it ends with the user's message, that message is
 * appended to *question and not to the history; otherwise *question does not change. *items: number of conversations in
 * the file. More than `limit` ids are refused. */
dm_status cli_history_load(cli_history *h, const char *path, size_t limit, dm_text *question, size_t *items,
                           dm_error *err);

void cli_history_close(cli_history *h);

#endif
