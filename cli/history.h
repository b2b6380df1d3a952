/* A conversation as messages and as the token ids that the model has seen: they only ever grow at their end, so that
 * each question costs what is new in it. */
#ifndef DM_CLI_HISTORY_H
#define DM_CLI_HISTORY_H

#include "io/data/template.h"

typedef struct cli_history {
    const dm_tokenizer *tokenizer;
    const dm_chat_template *chat;
    dm_message *messages; /* [n] their texts are owned; messages[0] may be the system's */
    size_t n, room;
    dm_ids ids;  /* of all of them; behind a question they end where the answer begins */
    size_t last; /* how many there were in front of the last question */
} cli_history;

/* Begins anew with that system message; size 0: without one. */
dm_status cli_history_begin(cli_history *h, const char *system, size_t size, dm_error *err);
/* Begins anew, the system message kept. */
void cli_history_reset(cli_history *h);

/* Appends the user's message and what invites the answer, where they fit into `limit` ids in all. Nothing has changed
 * when it fails. */
dm_status cli_history_ask(cli_history *h, const char *text, size_t size, size_t limit, dm_error *err);
/* Appends the answer to it: the ids that were generated, without the one that ended the answer, and their text. The end
 * of the turn is put behind them, and the template's spaces around the text are left out. Nothing has changed when it
 * fails. */
dm_status cli_history_answer(cli_history *h, const int32_t *ids, size_t n, const char *text, size_t size,
                             dm_error *err);
/* Takes back the last question, answered or not, as long as it was asked since the last cli_history_take_back. */
void cli_history_take_back(cli_history *h);

/* Appends the text of the last question that is part of the history. */
void cli_history_question(const cli_history *h, dm_text *out);

/* Messages without the system's. */
size_t cli_history_turns(const cli_history *h);

/* A line of JSON that `dmpo train --objective sft` and `dmpo score` read: {"id", "messages"}. Written whole or not at
 * all; an existing file only with `overwrite`. */
dm_status cli_history_save(const cli_history *h, const char *path, bool overwrite, dm_error *err);
/* Takes the file's first conversation, whole or not at all. Where it ends with the user's message, that is not part of
 * the history but appended to *question, which is left alone otherwise. *items: how many the file has. More than
 * `limit` ids are refused. */
dm_status cli_history_load(cli_history *h, const char *path, size_t limit, dm_text *question, size_t *items,
                           dm_error *err);

void cli_history_close(cli_history *h);

#endif
