/* dmpo chat: a conversation with a model in the terminal. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/commands/chat/history.h"
#include "cli/commands/chat/lines.h"
#include "cli/stream.h"
#include "core/files/file.h"
#include "core/system.h"
#include "model/infer/sampling.h"
#include "model/formats/source.h"

#define LENGTH_MAX ((int64_t)1 << 24) /* dmpo_model_open's */
#define LENGTH_DEFAULT 2048           /* the cache of keys and values is as long, all of it from the beginning */

typedef struct chat_options {
    const char *model, *base, *chat_template, *template_options, *system, *stop;
    dmpo_sampling sampling;
    int precision; /* dm_precision */
    int64_t max_length;
} chat_options;

static const cli_option options[] = {
    DM_OPTION_TEXT(chat_options, model, "model", "PATH", "the model, which must have a tokenizer",
                   .absent = "required"),
    CLI_BASE_OPTION(chat_options, base),
    DM_OPTION_TEXT(chat_options, system, "system", "TEXT", "the system message",
                   .absent = "the template's own, if it has one"),
    CLI_TEMPLATE_OPTIONS(chat_options, chat_template, template_options),
    DM_OPTION_INTEGER(chat_options, max_length, "max-length", "N",
                      "maximum tokens of the conversation (0: what the model was made for, at most 2048)", .low = 0,
                      .high = LENGTH_MAX, .legal = "0, or 2 to 16777216",
                      .manual = "Maximum tokens of the whole conversation (0: what the model was made for, at most "
                                "2048). The memory for keys and values grows with it."),
    DM_OPTION_INTEGER(chat_options, sampling.max_tokens, "max-tokens", "N", "maximum tokens of an answer", .low = 1,
                      .high = LENGTH_MAX),
    CLI_STOP_OPTION(chat_options, stop),
    CLI_SAMPLING_OPTIONS(chat_options, sampling.temperature, sampling.top_k, sampling.top_p),
    DM_OPTION_SEED(chat_options, sampling.seed, "seed", "N",
                   "seed of sampling; the same seed and messages give the same answers on every machine"),
    CLI_PRECISION_OPTION(chat_options, precision),
    {.offset = 0},
};

static const cli_command command = {
    "chat",
    "Talks with a model; its answers appear as they are generated.",
    "--model PATH [--system TEXT] [options]",
    "Each line is a message; a line that ends with \\ continues on the next line. A line that begins with / is a\n"
    "command; /help lists the commands. Ctrl-C stops an answer and keeps what was said; at the prompt, Ctrl-C and\n"
    "Ctrl-D leave. Answers go to standard output, everything else to standard error. When input comes from a pipe,\n"
    "there are no prompts and the first error ends the program. --json prints an object for each answer instead of\n"
    "its text.",
    options,
    0,
    0};

/* An answer on its way and what became of it. */
typedef struct answer {
    const dm_tokenizer *tokenizer;
    cli_stream stream;
    bool skip_space; /* the template's, before the words */
    size_t skipped;  /* bytes: 1, where it was there */
    size_t n;
    double start, first, end; /* seconds: begin, first token, last token */
    dm_error err;
} answer;

typedef struct talk {
    const chat_options *o;
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
} talk;

/* ---- answers ---- */

static int take_token(void *context, size_t index, int32_t id, float logp)
{
    answer *a = context;
    dm_text bytes = {0};
    dm_status s = DM_OK;

    (void)index;
    a->end = dm_seconds();
    if (a->n++ == 0)
        a->first = a->end;
    if (!isfinite(logp))
        return dm_fail(&a->err, DM_ERR_NONFINITE, "token %zu of the answer: its log-probability is %s", a->n - 1,
                       isnan(logp) ? "NaN" : "infinite");
    if ((size_t)id < dm_tokenizer_size(a->tokenizer)) /* a padded vocabulary has ids without text */
        s = dm_tokenizer_decode(a->tokenizer, &id, 1, true, &bytes, &a->err);
    const size_t skip = a->skip_space && bytes.size > 0 && bytes.data[0] == ' ';
    if (bytes.size > 0)
        a->skip_space = false;
    a->skipped += skip;
    if (s == DM_OK && bytes.size > skip)
        s = cli_stream_add(&a->stream, bytes.data + skip, bytes.size - skip, &a->err);
    dm_text_free(&bytes);
    return s != DM_OK || a->stream.stop.met || cli_lines_interrupted();
}

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static bool is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\n\v\f\r", text[i]) || !text[i])
            return false;
    return true;
}

static const char *how_it_ended(const talk *t, const answer *a, const dmpo_request *r)
{
    for (size_t i = 0; r->n_out && i < t->n_stop; i++)
        if (t->stop[i] == r->out[r->n_out - 1])
            return "end";
    if (a->stream.stop.met)
        return "text";
    if (cli_lines_interrupted())
        return "interrupted";
    return (int64_t)r->n_out < r->sampling->max_tokens ? "context" : "length";
}

static dm_status print_json(const talk *t, const answer *a, const char *stop, dm_error *err)
{
    dm_text line = {0};

    dm_text_print(&line, "{\"text\": ");
    dm_text_json_string(&line, a->stream.text.data ? a->stream.text.data : "", a->stream.text.size);
    dm_text_print(&line, ", \"stop\": \"%s\", \"prompt_tokens\": %zu, \"reused\": %zu, \"tokens\": %zu", stop,
                  t->prompt, t->reused, t->tokens);
    dm_text_print(&line, ", \"prompt_tokens_per_second\": %.1f, \"tokens_per_second\": %.1f}\n",
                  rate((double)(t->prompt - t->reused), t->prompt_seconds),
                  t->tokens > 1 ? rate((double)(t->tokens - 1), t->seconds) : 0.0);
    const dm_status s = line.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to print the answer") : DM_OK;
    if (s == DM_OK)
        fwrite(line.data, 1, line.size, stdout);
    fflush(stdout);
    dm_text_free(&line);
    return s;
}

static void note(const talk *t, const char *text)
{
    if (!t->common->quiet)
        fprintf(stderr, "(%s)\n", text);
}

static void say_how(const talk *t, const char *stop)
{
    char text[160];

    if (*stop == 'l') {
        snprintf(text, sizeof text, "cut by --max-tokens %lld", (long long)t->o->sampling.max_tokens);
        note(t, text);
    } else if (*stop == 'c') {
        snprintf(text, sizeof text,
                 "the context of %zu tokens is full: /reset starts a new conversation, /save FILE keeps this one",
                 t->max_length);
        note(t, text);
    } else if (*stop == 'i') {
        note(t, "stopped");
    }
}

static void count(talk *t, const answer *a, const dmpo_request *r)
{
    t->prompt = r->n;
    t->reused = r->reused;
    t->tokens = r->n_out;
    t->prompt_seconds = r->n_out ? a->first - a->start : 0;
    t->seconds = r->n_out ? a->end - a->first : 0;
    t->all_tokens += r->n_out;
    t->all_seconds += t->seconds + t->prompt_seconds;
}

/* The answer's ids, [*n] of r->out, without the text that stopped it; NULL where a token has bytes of both. */
static dm_status ids_before_stop(const int32_t **ids, size_t *n, const answer *a, const dmpo_request *r, dm_error *err)
{
    dm_text bytes = {0};
    dm_status s = DM_OK;

    for (*n = 0; s == DM_OK && *n < r->n_out && bytes.size < a->stream.stop.at + a->skipped; ++*n)
        if ((size_t)r->out[*n] < dm_tokenizer_size(a->tokenizer))
            s = dm_tokenizer_decode(a->tokenizer, &r->out[*n], 1, true, &bytes, err);
    *ids = bytes.size == a->stream.stop.at + a->skipped ? r->out : NULL;
    dm_text_free(&bytes);
    return s;
}

/* Generates what follows the history and appends it. */
static dm_status generate(talk *t, answer *a, dmpo_request *r, dm_error *err)
{
    dmpo_error error = {0};
    dm_status s = (dm_status)dmpo_model_generate(t->model, r, 1, take_token, a, &error);

    if (s != DM_OK)
        return dm_fail(err, s, "%s", error.message);
    if (a->err.status == DM_OK)
        cli_stream_end(&a->stream, &a->err);
    if (a->err.status != DM_OK) {
        *err = a->err;
        return err->status;
    }
    count(t, a, r);
    const char *stop = how_it_ended(t, a, r), *text = a->stream.text.data ? a->stream.text.data : "";
    const size_t size = a->stream.text.size;
    if (t->common->json && (s = print_json(t, a, stop, err)) != DM_OK)
        return s;
    if (is_blank(text, size)) {
        say_how(t, stop);
        note(t, "the answer was empty; your message is taken back, and /retry asks it again");
        cli_history_take_back(&t->history);
        t->asked = false;
        return DM_OK;
    }
    const int32_t *ids = r->out;
    size_t n = r->n_out - (*stop == 'e');
    if (*stop == 't' && (s = ids_before_stop(&ids, &n, a, r, err)) != DM_OK)
        return s;
    if ((s = cli_history_answer(&t->history, ids, n, text, size, err)) == DM_OK)
        say_how(t, stop);
    return s;
}

static dm_status answer_question(talk *t, dm_error *err)
{
    answer a = {.tokenizer = t->tokenizer};
    const char *spaced = " x";
    size_t size = 2;

    dm_template_words(&t->chat, t->tokenizer, &spaced, &size);
    a.skip_space = size == 1;
    cli_stream_open(&a.stream, t->common->json ? NULL : stdout, t->o->stop);
    dmpo_sampling sampling = t->o->sampling;
    sampling.stop = t->stop;
    sampling.n_stop = t->n_stop;
    sampling.episode = t->tries;
    dmpo_request r = {
        .size = sizeof r, .ids = t->history.ids.data, .n = t->history.ids.size, .sampling = &sampling, .out = t->out};
    a.start = dm_seconds();
    const dm_status s = generate(t, &a, &r, err);
    cli_stream_close(&a.stream);
    if (s != DM_OK) {
        cli_history_take_back(&t->history);
        t->asked = false;
    }
    if (s == DM_OK && cli_lines_interrupted() && !t->terminal)
        return dm_fail(err, DM_ERR_INTERRUPTED, "stopped after %zu tokens of the answer", a.n);
    return s;
}

/* A new message. If it cannot be asked, nothing changes and /retry asks the one before. */
static dm_status ask(talk *t, const char *text, size_t size, dm_error *err)
{
    const dm_status s = cli_history_ask(&t->history, text, size, t->max_length - 1, err);

    if (s != DM_OK)
        return s;
    dm_text_free(&t->question);
    dm_text_add(&t->question, text, size);
    t->asked = true;
    t->tries = 0;
    return answer_question(t, err);
}

/* ---- commands ---- */

typedef struct chat_command {
    const char *name, *meta, *help;
    dm_status (*run)(talk *t, char *text, dm_error *err); /* text: after the name, "" for none */
} chat_command;

static dm_status run_help(talk *t, char *text, dm_error *err);

static void forget_question(talk *t)
{
    dm_text_free(&t->question);
    t->asked = false;
    t->tries = 0;
}

static dm_status run_reset(talk *t, char *text, dm_error *err)
{
    (void)text;
    (void)err;
    cli_history_reset(&t->history);
    forget_question(t);
    note(t, "new conversation");
    return DM_OK;
}

static dm_status run_system(talk *t, char *text, dm_error *err)
{
    const dm_status s = cli_history_begin(&t->history, text, strlen(text), err);

    if (s == DM_OK) {
        forget_question(t);
        note(t, *text ? "new conversation with this system message" : "new conversation without a system message");
    }
    return s;
}

static dm_status run_retry(talk *t, char *text, dm_error *err)
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
        note(t, "without --temperature the answer will be the same");
    return answer_question(t, err);
}

static dm_status need_file(const char *text, const char *name, dm_error *err)
{
    return *text ? DM_OK : dm_fail(err, DM_ERR_ARGUMENT, "%s needs a file name after it", name);
}

static dm_status save(talk *t, const char *path, bool overwrite, dm_error *err)
{
    dm_status s = need_file(path, overwrite ? "/save!" : "/save", err);

    if (s == DM_OK && (s = cli_history_save(&t->history, path, overwrite, err)) == DM_OK)
        note(t, "saved");
    return s;
}

static dm_status run_save(talk *t, char *text, dm_error *err)
{
    return save(t, text, false, err);
}

static dm_status run_save_over(talk *t, char *text, dm_error *err)
{
    return save(t, text, true, err);
}

static dm_status run_load(talk *t, char *text, dm_error *err)
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
    note(t, line);
    return DM_OK;
}

static dm_status run_stats(talk *t, char *text, dm_error *err)
{
    (void)text;
    (void)err;
    fprintf(stderr, "context  %zu of %zu tokens, %zu messages\n", t->history.ids.size, t->max_length,
            cli_history_turns(&t->history));
    if (t->tokens > 0)
        fprintf(stderr, "prompt   %zu tokens: %zu known, %zu new at %.1f/s\nanswer   %zu tokens at %.1f/s\n", t->prompt,
                t->reused, t->prompt - t->reused, rate((double)(t->prompt - t->reused), t->prompt_seconds), t->tokens,
                t->tokens > 1 ? rate((double)(t->tokens - 1), t->seconds) : 0.0);
    fprintf(stderr, "total    %zu tokens of answers in %.1f s\n", t->all_tokens, t->all_seconds);
    return DM_OK;
}

static dm_status run_quit(talk *t, char *text, dm_error *err)
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

static dm_status run_help(talk *t, char *text, dm_error *err)
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

static dm_status run_command(talk *t, char *line, size_t size, dm_error *err)
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

static dm_status take_message(talk *t, dm_error *err)
{
    char *text = t->message.data;
    const size_t size = t->message.size;

    if (is_blank(text, size))
        return DM_OK;
    if (*text != '/')
        return ask(t, text, size, err);
    return text[1] == '/' ? ask(t, text + 1, size - 1, err) : run_command(t, text, size, err);
}

/* ---- the conversation ---- */

/* One message: a line, and those that follow while they end with a backslash. */
static dm_status read_message(talk *t, cli_got *got, dm_error *err)
{
    dm_text_free(&t->message);
    dm_text_add(&t->message, "", 0);
    for (bool more = false;;) {
        if (t->terminal)
            fputs(more ? "| " : "> ", stderr);
        const dm_status s = cli_lines_next(&t->lines, got, err);
        if (s != DM_OK)
            return s;
        if (*got == CLI_GOT_LINE && t->lines.cut)
            return dm_fail(
                err, DM_ERR_INPUT,
                "the terminal keeps %d bytes of a line and lost the rest of this one, so it is not sent; end "
                "lines with \\, or give a long text to dmpo generate --prompt-file",
                CLI_LINE_MAX);
        if (*got == CLI_GOT_END && more)
            *got = CLI_GOT_LINE; /* the end of the input ends the message, too */
        else if (*got == CLI_GOT_LINE && t->lines.line.size)
            dm_text_add(&t->message, t->lines.line.data, t->lines.line.size);
        more = *got == CLI_GOT_LINE && t->lines.line.size && t->lines.line.data[t->lines.line.size - 1] == '\\';
        if (more && !t->message.failed)
            t->message.data[t->message.size - 1] = '\n';
        if (t->message.failed)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for the message");
        if (!more)
            return DM_OK;
    }
}

/* Ctrl-C stops an answer; the next one at the prompt leaves, and so do two at the prompt. */
static dm_status converse(talk *t, dm_error *err)
{
    for (bool warned = false; !t->quit;) {
        cli_got got = CLI_GOT_END;
        cli_lines_calm();
        dm_status s = read_message(t, &got, err);
        if (s == DM_OK && got == CLI_GOT_INTERRUPT && t->terminal && !warned && !cli_lines_terminated()) {
            fputs("\n(Ctrl-C again, Ctrl-D or /quit leaves)\n", stderr);
            warned = true;
            continue;
        }
        if (s == DM_OK && got != CLI_GOT_LINE) {
            if (t->terminal)
                fputc('\n', stderr);
            return DM_OK;
        }
        if (s == DM_OK)
            s = take_message(t, err);
        warned = cli_lines_interrupted();
        if (s == DM_OK)
            continue;
        if (!t->terminal)
            return dm_fail_context(err, s, "standard input:%lld", t->lines.number);
        fprintf(stderr, "%s\n", err->message);
        *err = (dm_error){0};
    }
    return DM_OK;
}

static dm_status check(const chat_options *o, dm_error *err)
{
    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; --model PATH names it");
    if (o->max_length == 1)
        return cli_in_range("max-length", 1, 2, LENGTH_MAX, err);
    const dm_status s = dm_stop_text_check(o->stop, err);
    return s == DM_OK ? dm_sampling_check(&o->sampling, err) : s;
}

/* Finds whatever can be wrong before it reads the weights. */
static dm_status prepare(talk *t, dm_error *err)
{
    const chat_options *o = t->o;
    dm_source *source = NULL;
    dm_status s = dm_source_open_on(&source, o->model, o->base, err);

    if (s != DM_OK)
        return s;
    const dm_config config = *dm_source_config(source);
    s = dm_source_tokenizer(source, &t->tokenizer, &t->chat,
                            &(dm_template_choice){.name = o->chat_template, .options = o->template_options}, err);
    dm_source_close(&source);
    if (s != DM_OK)
        return s;
    if (!t->tokenizer)
        return dm_fail(err, DM_ERR_INPUT, "%s: has no tokenizer, which text needs", o->model);
    t->n_stop = dm_config_stops(t->stop, &config, t->chat.end_of_turn);
    t->max_length = o->max_length                           ? (size_t)o->max_length
                    : config.max_positions < LENGTH_DEFAULT ? config.max_positions
                                                            : LENGTH_DEFAULT;
    if (t->max_length > config.max_positions && !t->common->quiet)
        fprintf(stderr, "the conversation may reach %zu tokens; the model was made for %u\n", t->max_length,
                config.max_positions);
    if (!(t->out = malloc(t->max_length * sizeof *t->out)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for answers of %zu tokens", t->max_length);
    t->history = (cli_history){.tokenizer = t->tokenizer, .chat = &t->chat};
    return o->system ? cli_history_begin(&t->history, o->system, strlen(o->system), err) : DM_OK;
}

static dm_status run(talk *t, dmpo_engine *engine, dm_error *err)
{
    dmpo_error error = {0};
    dm_status s = prepare(t, err);

    if (s != DM_OK)
        return s;
    s = (dm_status)dmpo_model_open_on(&t->model, engine, t->o->model, t->o->base, 1, t->max_length, &error);
    if (s == DM_OK)
        s = (dm_status)dmpo_model_set_precision(t->model, dm_precision_names[t->o->precision], &error);
    if (s != DM_OK)
        return dm_fail(err, s, "%s", error.message);
    t->terminal = isatty(STDIN_FILENO);
    if (t->terminal && !t->common->quiet)
        fprintf(stderr, "%s: template %s, context %zu tokens; /help lists the commands\n", t->o->model,
                dm_template_name(t->chat.kind), t->max_length);
    cli_lines_catch(); /* while the model is read, Ctrl-C just ends the program */
    return converse(t, err);
}

int cli_chat(int argc, char **argv)
{
    chat_options o = {.sampling = {.size = sizeof o.sampling, .top_p = 1, .max_tokens = 512}};
    cli_common common = {0};
    cli_args args = {0};
    dmpo_engine *engine = NULL;
    talk *t = calloc(1, sizeof *t); /* it holds a buffer */
    dm_error err = {0};

    dm_status s = t ? cli_parse(&command, &o, &common, &args, argc, argv, &err)
                    : dm_fail(&err, DM_ERR_MEMORY, "no memory for a conversation");
    if (s == DM_OK && !args.help)
        s = check(&o, &err);
    int status = s != DM_OK ? cli_failed("chat", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("chat", &common, &engine)) == 0) {
        t->o = &o;
        t->common = &common;
        if ((s = run(t, engine, &err)) != DM_OK)
            status = cli_failed("chat", t->model ? DM_ERR_INPUT : s, err.message);
    }
    if (t) {
        dmpo_model_close(&t->model);
        cli_history_close(&t->history);
        cli_lines_close(&t->lines);
        dm_text_free(&t->message);
        dm_text_free(&t->question);
        dm_template_close(&t->chat);
        dm_tokenizer_close(&t->tokenizer);
        free(t->out);
        free(t);
    }
    dmpo_engine_close(&engine);
    cli_args_close(&args);
    return status;
}
