/* The commands of chat: lines that begin with a slash. */
#include <stdio.h>
#include <string.h>

#include "cli/commands/chat/chat.h"

typedef struct chat_command {
    const char *name, *meta, *help;
    dm_status (*run)(cli_chat_talk *t, char *text, dm_error *err); /* text: after the name, "" for none */
} chat_command;

static dm_status run_help(cli_chat_talk *t, char *text, dm_error *err);

static void forget_question(cli_chat_talk *t)
{
    dm_text_free(&t->question);
    t->asked = false;
    t->tries = 0;
}

static dm_status run_reset(cli_chat_talk *t, char *text, dm_error *err)
{
    (void)text;
    (void)err;
    cli_history_reset(&t->history);
    forget_question(t);
    cli_chat_note(t, "new conversation");
    return DM_OK;
}

static dm_status run_system(cli_chat_talk *t, char *text, dm_error *err)
{
    const dm_status s = cli_history_begin(&t->history, text, strlen(text), err);

    if (s == DM_OK) {
        forget_question(t);
        cli_chat_note(t, *text ? "new conversation with this system message"
                               : "new conversation without a system message");
    }
    return s;
}

static dm_status run_retry(cli_chat_talk *t, char *text, dm_error *err)
{
    (void)text;
    if (t->question.size == 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "there is no message to ask again yet");
    if (t->asked)
        cli_history_take_back(&t->history);
    t->asked = false;
    const dm_status s = cli_history_ask(&t->history, t->question.data, t->question.size, t->max_length - 1, err);
    if (s != DM_OK)
        return s;
    t->asked = true;
    t->tries++;
    if (t->o->sampling.temperature <= 0)
        cli_chat_note(t, "without --temperature the answer will be the same");
    return cli_chat_answer(t, err);
}

static dm_status need_file(const char *text, const char *name, dm_error *err)
{
    return *text ? DM_OK : dm_fail(err, DM_ERR_ARGUMENT, "%s needs a file name after it", name);
}

static dm_status save(cli_chat_talk *t, const char *path, bool overwrite, dm_error *err)
{
    dm_status s = need_file(path, overwrite ? "/save!" : "/save", err);

    if (s == DM_OK && (s = cli_history_save(&t->history, path, overwrite, err)) == DM_OK)
        cli_chat_note(t, "saved");
    return s;
}

static dm_status run_save(cli_chat_talk *t, char *text, dm_error *err)
{
    return save(t, text, false, err);
}

static dm_status run_save_over(cli_chat_talk *t, char *text, dm_error *err)
{
    return save(t, text, true, err);
}

static dm_status run_load(cli_chat_talk *t, char *text, dm_error *err)
{
    char line[192];
    dm_text question = {0};
    size_t items = 0;
    dm_status s = need_file(text, "/load", err);

    if (s == DM_OK)
        s = cli_history_load(&t->history, text, t->max_length, &question, &items, err);
    if (s != DM_OK) {
        dm_text_free(&question);
        return s;
    }
    forget_question(t);
    t->asked = question.size == 0 && cli_history_turns(&t->history) > 0;
    if (t->asked)
        cli_history_question(&t->history, &question);
    t->question = question;
    snprintf(line, sizeof line, "%zu messages, %zu of %zu tokens%s%s", cli_history_turns(&t->history),
             t->history.ids.size, t->max_length, items > 1 ? "; the file's first conversation" : "",
             t->asked || !question.size ? "" : "; it ends with your message, which /retry asks");
    cli_chat_note(t, line);
    return DM_OK;
}

static dm_status run_stats(cli_chat_talk *t, char *text, dm_error *err)
{
    (void)text;
    (void)err;
    fprintf(stderr, "context  %zu of %zu tokens, %zu messages\n", t->history.ids.size, t->max_length,
            cli_history_turns(&t->history));
    if (t->tokens > 0)
        fprintf(stderr, "prompt   %zu tokens: %zu known, %zu new at %.1f/s\nanswer   %zu tokens at %.1f/s\n", t->prompt,
                t->reused, t->prompt - t->reused, cli_chat_rate((double)(t->prompt - t->reused), t->prompt_seconds),
                t->tokens, t->tokens > 1 ? cli_chat_rate((double)(t->tokens - 1), t->seconds) : 0.0);
    fprintf(stderr, "total    %zu tokens of answers in %.1f s\n", t->all_tokens, t->all_seconds);
    return DM_OK;
}

static dm_status run_quit(cli_chat_talk *t, char *text, dm_error *err)
{
    (void)text;
    (void)err;
    t->quit = true;
    return DM_OK;
}

static const chat_command commands[] = {
    {"/help", "", "list the commands", run_help},
    {"/reset", "", "start a new conversation with the same system message", run_reset},
    {"/system", " TEXT", "start a new conversation with another system message, or none", run_system},
    {"/retry", "", "answer the last message again", run_retry},
    {"/save", " FILE", "write the conversation as training data; /save! FILE overwrites a file", run_save},
    {"/save!", NULL, NULL, run_save_over},
    {"/load", " FILE", "continue a saved conversation, or the first one of a data file", run_load},
    {"/stats", "", "show how much of the context is in use, and tokens per second", run_stats},
    {"/quit", "", "leave; so does Ctrl-D", run_quit},
};

static dm_status run_help(cli_chat_talk *t, char *text, dm_error *err)
{
    (void)t;
    (void)text;
    (void)err;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (commands[i].help)
            fprintf(stderr, "%s%-*s %s\n", commands[i].name, (int)(14 - strlen(commands[i].name)), commands[i].meta,
                    commands[i].help);
    fputs("A line that ends with \\ continues on the next one. A message that begins with / is typed with //.\n"
          "Ctrl-C stops an answer and keeps what was said.\n",
          stderr);
    return DM_OK;
}

dm_status cli_chat_command(cli_chat_talk *t, char *line, size_t size, dm_error *err)
{
    char *text = line + strcspn(line, " \t\n");
    const size_t length = (size_t)(text - line);

    if (strlen(line) < size)
        return dm_fail(err, DM_ERR_INPUT, "the command contains a NUL");
    text += strspn(text, " \t\n");
    for (size_t n = strlen(text); n > 0 && strchr(" \t\n", text[n - 1]);)
        text[--n] = 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strlen(commands[i].name) == length && memcmp(commands[i].name, line, length) == 0) {
            if (*text && commands[i].meta && !*commands[i].meta)
                return dm_fail(err, DM_ERR_ARGUMENT, "%s takes no argument", commands[i].name);
            return commands[i].run(t, text, err);
        }
    return dm_fail(
        err, DM_ERR_ARGUMENT,
        "unknown command %.*s; the commands are /help, /reset, /system, /retry, /save, /load, /stats and /quit (// "
        "begins a message with a /)",
        (int)(length < 40 ? length : 40), line);
}
