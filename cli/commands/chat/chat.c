/* dmpo chat: a conversation with a model in the terminal. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands/chat/chat.h"
#include "model/formats/source.h"
#include "model/infer/sampling.h"
#include "model/infer/stop_text.h"

#define LENGTH_MAX ((int64_t)1 << 24) /* dmpo_model_open's */
#define LENGTH_DEFAULT 2048           /* the cache of keys and values is as long, all of it from the beginning */

static const cli_option options[] = {
    DM_OPTION_TEXT(cli_chat_options, model, "model", "PATH", "the model, which must have a tokenizer",
                   .absent = "required"),
    CLI_BASE_OPTION(cli_chat_options, base),
    DM_OPTION_TEXT(cli_chat_options, system, "system", "TEXT", "the system message",
                   .absent = "the template's own, if it has one"),
    CLI_TEMPLATE_OPTIONS(cli_chat_options, chat_template, template_options),
    DM_OPTION_INTEGER(cli_chat_options, max_length, "max-length", "N",
                      "maximum tokens of the conversation (0: what the model was made for, at most 2048)", .low = 0,
                      .high = LENGTH_MAX, .legal = "0, or 2 to 16777216",
                      .manual = "Maximum tokens of the whole conversation (0: what the model was made for, at most "
                                "2048). The memory for keys and values grows with it."),
    DM_OPTION_INTEGER(cli_chat_options, sampling.max_tokens, "max-tokens", "N", "maximum tokens of an answer", .low = 1,
                      .high = LENGTH_MAX),
    CLI_STOP_OPTION(cli_chat_options, stop),
    CLI_SAMPLING_OPTIONS(cli_chat_options, sampling.temperature, sampling.top_k, sampling.top_p),
    DM_OPTION_SEED(cli_chat_options, sampling.seed, "seed", "N",
                   "seed of sampling; the same seed and messages give the same answers on every machine"),
    CLI_PRECISION_OPTION(cli_chat_options, precision),
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

static dm_status take_message(cli_chat_talk *t, dm_error *err)
{
    char *text = t->message.data;
    const size_t size = t->message.size;

    if (cli_chat_is_blank(text, size))
        return DM_OK;
    if (*text != '/')
        return cli_chat_ask(t, text, size, err);
    return text[1] == '/' ? cli_chat_ask(t, text + 1, size - 1, err) : cli_chat_command(t, text, size, err);
}

/* One message: a line, and those that follow while they end with a backslash. */
static dm_status read_message(cli_chat_talk *t, cli_got *got, dm_error *err)
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
static dm_status converse(cli_chat_talk *t, dm_error *err)
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

static dm_status check(cli_call *c, dm_error *err)
{
    const cli_chat_options *o = c->options;

    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; --model PATH names it");
    if (o->max_length == 1)
        return cli_in_range("max-length", 1, 2, LENGTH_MAX, err);
    const dm_status s = dm_stop_text_check(o->stop, err);
    return s == DM_OK ? dm_sampling_check(&o->sampling, err) : s;
}

/* Finds whatever can be wrong before it reads the weights. */
static dm_status prepare(cli_chat_talk *t, dm_error *err)
{
    const cli_chat_options *o = t->o;
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

static dm_status run(cli_chat_talk *t, dmpo_engine *engine, dm_error *err)
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

static dm_status chat(cli_call *c, dm_error *err)
{
    cli_chat_talk *t = calloc(1, sizeof *t); /* it holds a buffer */

    if (!t)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a conversation");
    t->o = c->options;
    t->common = &c->common;
    dm_status s = run(t, c->engine, err);
    if (s != DM_OK && t->model)
        s = DM_ERR_INPUT; /* a command or message, not an argument, is wrong */
    dmpo_model_close(&t->model);
    cli_history_close(&t->history);
    cli_lines_close(&t->lines);
    dm_text_free(&t->message);
    dm_text_free(&t->question);
    dm_template_close(&t->chat);
    dm_tokenizer_close(&t->tokenizer);
    free(t->out);
    free(t);
    return s;
}

int cli_chat(int argc, char **argv)
{
    cli_chat_options o = {.sampling = {.size = sizeof o.sampling, .top_p = 1, .max_tokens = 512}};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_ENGINE, .check = check, .work = chat};

    return cli_call_run(&call, argc, argv);
}
