/* A conversation: its messages are asked (chat_answer.c), its commands run (chat_commands.c). */
#ifndef DM_CLI_COMMANDS_CHAT_CHAT_H
#define DM_CLI_COMMANDS_CHAT_CHAT_H

#include "cli/call.h"
#include "cli/commands/chat/history.h"
#include "cli/commands/chat/lines.h"
#include "model/network/config.h"

typedef struct cli_chat_options {
    const char *model, *base, *chat_template, *template_options, *system, *stop;
    dmpo_sampling sampling;
    int precision; /* dm_precision */
    int64_t max_length;
} cli_chat_options;

typedef struct cli_chat_talk {
    const cli_chat_options *o;
    const cli_common *common;
    dm_tokenizer *tokenizer;
    dm_chat_template chat;
    int32_t stop[DM_ENDS_MAX + 1];
    size_t n_stop, max_length;
    dmpo_model *model;
    int32_t *out; /* [max_length] */
    cli_history history;
    cli_lines lines;
    dm_text message;  /* of the user, from one line or several */
    dm_text question; /* the last one, for /retry */
    bool asked;       /* it is in the history */
    uint64_t tries;   /* number of times that it was asked before */
    bool terminal, quit;
    /* the last answer's figures, and all answers' */
    size_t prompt, reused, tokens, all_tokens;
    double prompt_seconds, seconds, all_seconds;
} cli_chat_talk;

/* Asks a new message. If it cannot be asked, nothing changes and /retry asks the one before. */
dm_status cli_chat_ask(cli_chat_talk *t, const char *text, size_t size, dm_error *err);
/* Generates an answer to the question that is the end of the history. */
dm_status cli_chat_answer(cli_chat_talk *t, dm_error *err);

/* Runs a line that begins with a slash; the line is changed. */
dm_status cli_chat_command(cli_chat_talk *t, char *line, size_t size, dm_error *err);

void cli_chat_note(const cli_chat_talk *t, const char *text); /* "(text)" on standard error, unless --quiet */
bool cli_chat_is_blank(const char *text, size_t size);
double cli_chat_rate(double n, double seconds); /* 0 for no time */

#endif
