/* dmpo generate: a model's answer to a prompt, shown as it comes. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/call.h"
#include "cli/files.h"
#include "cli/stream.h"
#include "dmpo.h"

#define PROMPT_BYTES ((size_t)1 << 26)
#define LENGTH_MAX (1 << 24) /* dmpo_model_open's */

typedef struct generate_options {
    const char *model, *base, *prompt, *prompt_file, *chat, *chat_template, *template_options, *stop;
    dmpo_sampling sampling;
    int precision; /* dm_precision */
    bool raw;
} generate_options;

static const cli_option options[] = {
    DM_OPTION_TEXT(generate_options, model, "model", "PATH",
                   "the model: Hugging Face directory, GGUF or llama2.c file, or adapter", .absent = "required",
                   .manual = "The model, with a tokenizer: a Hugging Face directory, a GGUF or llama2.c file, or the "
                             "directory of an adapter."),
    CLI_BASE_OPTION(generate_options, base),
    DM_OPTION_TEXT(generate_options, prompt, "prompt", "TEXT", "the user's message", .absent = "standard input"),
    DM_OPTION_TEXT(generate_options, prompt_file, "prompt-file", "FILE",
                   "reads the user's message from FILE; -: standard input"),
    DM_OPTION_TEXT(generate_options, chat, "chat", "FILE",
                   "reads a conversation, a JSON list of messages that ends with the user's; -: standard input",
                   .manual = "Reads a conversation: a JSON list of messages, {\"role\", \"content\"} or {\"from\", "
                             "\"value\"}, or an object with such a list as \"messages\" or \"prompt\". The last "
                             "message is the user's. \"-\" is standard input."),
    CLI_TEMPLATE_OPTIONS(generate_options, chat_template, template_options),
    DM_OPTION_FLAG(generate_options, raw, "raw", "uses no template: continues the text, with special tokens in it",
                   .manual = "Uses no template: the text is continued as it is, and special tokens in it are "
                             "recognised. No beginning-of-sequence token is added."),
    DM_OPTION_INTEGER(generate_options, sampling.max_tokens, "max-tokens", "N", "maximum number of tokens to generate",
                      .low = 0, .high = LENGTH_MAX),
    CLI_STOP_OPTION(generate_options, stop),
    CLI_SAMPLING_OPTIONS(generate_options, sampling.temperature, sampling.top_k, sampling.top_p),
    DM_OPTION_SEED(generate_options, sampling.seed, "seed", "N",
                   "seed of sampling; the same seed gives the same text on every machine"),
    CLI_PRECISION_OPTION(generate_options, precision),
    {.offset = 0},
};

static const cli_command command = {
    "generate",
    "Prints a model's answer to a prompt, as it is generated.",
    "--model PATH [--prompt TEXT] [options]",
    "The model's chat template turns the prompt into a conversation that the agent answers. The answer ends with the\n"
    "agent's end-of-turn token, before --stop or after --max-tokens. One newline at the end of a prompt from a\n"
    "file or standard input is dropped. Invalid UTF-8 is shown as U+FFFD. --json prints one object at the end:\n"
    "{\"text\", \"ids\", \"logps\", \"logp\", \"stop\": \"end\" | \"text\" | \"length\", \"prompt_tokens\", \"tokens\", ...}; "
    "logps are in nats,\n"
    "under the unmodified distribution. Ctrl-C stops after the current token.",
    options,
    0,
    0};

typedef struct answer {
    dmpo_tokenizer *tokenizer;
    cli_stream stream;
    int32_t *ids; /* [n] */
    size_t n;
    dm_text logps;
    double logp, start, first, end; /* seconds: begin, first token, last token */
    dm_error err;
} answer;

/* ---- prompt ---- */

static dm_status render_chat(const dmpo_encoding **ids, const char *path, dmpo_tokenizer *t, dm_error *err)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    dmpo_error error = {0};
    dm_text text = {0};
    dm_status s = cli_read(&text, path, PROMPT_BYTES, err);

    if (s == DM_OK)
        s = cli_call_api(dmpo_chat_render_json(t, text.data ? text.data : "", text.size, name, 1, ids, &error), &error,
                         err);
    dm_text_free(&text);
    return s;
}

static dm_status render_text(const dmpo_encoding **ids, const generate_options *o, dmpo_tokenizer *t, dm_error *err)
{
    dmpo_error error = {0};
    dm_text read = {0};
    const char *text = o->prompt;
    dm_status s = DM_OK;

    if (!text) {
        s = cli_read(&read, o->prompt_file, PROMPT_BYTES, err);
        if (read.size > 0 && read.data[read.size - 1] == '\n')
            read.data[--read.size] = '\0';
        text = read.data ? read.data : "";
        if (s == DM_OK && strlen(text) != read.size)
            s = dm_fail(err, DM_ERR_INPUT, "the prompt holds a NUL at byte %zu; it must be text", strlen(text));
    }
    const dmpo_message message = {"user", text};
    if (s == DM_OK)
        s = cli_call_api(o->raw ? dmpo_tokenizer_encode(t, text, strlen(text), 1, ids, &error)
                                : dmpo_chat_render(t, &message, 1, NULL, 1, ids, &error),
                         &error, err);
    if (s == DM_OK && (*ids)->n == 0)
        s = dm_fail(err, DM_ERR_INPUT, "the prompt is empty; with --raw there must be a text to continue");
    dm_text_free(&read);
    return s;
}

/* ---- answer ---- */

static int take_token(void *context, size_t index, int32_t id, float logp)
{
    answer *a = context;
    const char *bytes = "";
    size_t size = 0;
    dmpo_error error;
    dm_status s = DM_OK;

    (void)index;
    a->end = cli_seconds();
    if (a->n == 0)
        a->first = a->end;
    if (!isfinite(logp))
        return dm_fail(&a->err, DM_ERR_NONFINITE, "token %zu of the answer: its log-probability is %s", a->n,
                       isnan(logp) ? "NaN" : "infinite");
    if ((size_t)id < dmpo_tokenizer_size(a->tokenizer)) /* a padded vocabulary has ids without text */
        s = cli_call_api(dmpo_tokenizer_decode(a->tokenizer, &id, 1, 0, &bytes, &size, &error), &error, &a->err);
    if (s == DM_OK)
        s = cli_stream_add(&a->stream, bytes, size, &a->err);
    dm_text_print(&a->logps, "%s%.9g", a->n > 0 ? ", " : "", (double)logp);
    a->logp += (double)logp;
    a->n++;
    return s != DM_OK || a->stream.stop.met || cli_interrupted();
}

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static const char *how_it_ended(const answer *a, const dmpo_sampling *o)
{
    const int32_t last = a->n ? a->ids[a->n - 1] : -1;
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == last)
            return "end";
    return a->stream.stop.met ? "text" : "length";
}

static dm_status print_json(const answer *a, size_t prompt, const dmpo_sampling *o, dm_error *err)
{
    dm_text t = {0};
    const size_t n = a->n;

    dm_text_print(&t, "{\"text\": ");
    dm_text_json_string(&t, a->stream.text.data ? a->stream.text.data : "", a->stream.text.size);
    dm_text_print(&t, ", \"ids\": [");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&t, "%s%d", i ? ", " : "", (int)a->ids[i]);
    dm_text_print(&t, "], \"logps\": [%s], \"logp\": ", a->logps.data ? a->logps.data : "");
    dm_text_json_double(&t, a->logp);
    dm_text_print(&t, ", \"stop\": \"%s\", \"prompt_tokens\": %zu, \"tokens\": %zu", how_it_ended(a, o), prompt, n);
    dm_text_print(&t, ", \"prompt_tokens_per_second\": %.1f", n ? rate((double)prompt, a->first - a->start) : 0.0);
    dm_text_print(&t, ", \"tokens_per_second\": %.1f}\n", n > 1 ? rate((double)(n - 1), a->end - a->first) : 0.0);
    const dm_status s = t.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to print the answer") : DM_OK;
    if (s == DM_OK)
        fwrite(t.data, 1, t.size, stdout);
    dm_text_free(&t);
    return s;
}

static void print_rates(const answer *a, size_t prompt, const dmpo_sampling *o)
{
    const size_t n = a->n;
    if (n == 0)
        return;
    fprintf(stderr, "prompt %zu tokens, %.1f/s; answer %zu tokens", prompt, rate((double)prompt, a->first - a->start),
            n);
    if (n > 1)
        fprintf(stderr, ", %.1f/s", rate((double)(n - 1), a->end - a->first));
    fputs(how_it_ended(a, o)[0] != 'l' ? "\n" : ", cut by --max-tokens\n", stderr);
}

static dm_status answer_prompt(const cli_call *c, const dmpo_encoding *prompt, answer *a, dm_error *err)
{
    const generate_options *o = c->options;
    const size_t length = prompt->n + (size_t)o->sampling.max_tokens;
    dmpo_model *model = NULL;
    dmpo_error error = {0};
    dmpo_request request = {
        .size = sizeof request, .ids = prompt->ids, .n = prompt->n, .sampling = &o->sampling, .out = a->ids};

    dmpo_status s = dmpo_model_open_on(&model, c->engine, o->model, o->base, 1, length, &error);
    if (s == DMPO_OK)
        s = dmpo_model_set_precision(model, dm_precision_names[o->precision], &error);
    if (s == DMPO_OK && length > dmpo_model_positions(model) && !c->common.quiet)
        fprintf(stderr, "prompt and answer may reach %zu tokens; the model was made for %zu\n", length,
                dmpo_model_positions(model));
    a->start = cli_seconds();
    if (s == DMPO_OK)
        s = dmpo_model_generate(model, &request, 1, take_token, a, &error);
    dmpo_model_close(&model);
    if (s != DMPO_OK)
        return cli_call_api(s, &error, err);
    if (a->err.status == DM_OK)
        cli_stream_end(&a->stream, &a->err);
    if (a->err.status == DM_OK && a->logps.failed)
        dm_fail(&a->err, DM_ERR_MEMORY, "no memory for the log-probabilities");
    if (a->err.status == DM_OK && cli_interrupted())
        dm_fail(&a->err, DM_ERR_INTERRUPTED, "stopped after %zu tokens", a->n);
    if (a->err.status != DM_OK) {
        *err = a->err;
        return err->status;
    }
    const dm_status printed = c->common.json ? print_json(a, prompt->n, &o->sampling, err) : DM_OK;
    if (printed == DM_OK && !c->common.quiet)
        print_rates(a, prompt->n, &o->sampling);
    return printed;
}

/* ---- command ---- */

static dm_status check(cli_call *c, dm_error *err)
{
    const generate_options *o = c->options;

    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; --model PATH names it");
    if (!!o->prompt + !!o->prompt_file + !!o->chat > 1)
        return dm_fail(err, DM_ERR_ARGUMENT, "more than one prompt; give one of --prompt, --prompt-file and --chat");
    if (o->raw && (o->chat || o->chat_template || o->template_options))
        return dm_fail(err, DM_ERR_ARGUMENT, "--raw uses no chat template; leave %s out",
                       o->chat            ? "--chat"
                       : o->chat_template ? "--template"
                                          : "--template-option");
    return dm_stop_text_check(o->stop, err);
}

/* Finds whatever can be wrong before it reads the weights. */
static dm_status prepare(generate_options *o, answer *a, const dmpo_encoding **prompt, dm_error *err)
{
    dmpo_error error;
    dm_status s = cli_call_api(
        dmpo_tokenizer_open_on(&a->tokenizer, o->model, o->base, o->chat_template, o->template_options, &error), &error,
        err);

    if (s != DM_OK)
        return s;
    o->sampling.stop = dmpo_tokenizer_stops(a->tokenizer, &o->sampling.n_stop);
    s = o->chat ? render_chat(prompt, o->chat, a->tokenizer, err) : render_text(prompt, o, a->tokenizer, err);
    if (s != DM_OK)
        return s;
    if ((int64_t)(*prompt)->n + o->sampling.max_tokens > LENGTH_MAX)
        return dm_fail(err, DM_ERR_ARGUMENT, "--max-tokens %lld is too many: prompt and answer may have %lld together",
                       (long long)o->sampling.max_tokens, (long long)LENGTH_MAX);
    a->ids = malloc(((size_t)o->sampling.max_tokens + 1) * sizeof *a->ids);
    return a->ids ? DM_OK
                  : dm_fail(err, DM_ERR_MEMORY, "no memory for an answer of %lld tokens",
                            (long long)o->sampling.max_tokens);
}

static dm_status generate(cli_call *c, dm_error *err)
{
    generate_options *o = c->options;
    const dmpo_encoding *prompt = NULL;
    answer a = {0};
    dm_status s = prepare(o, &a, &prompt, err);

    cli_catch_interrupt(); /* while a prompt is typed, Ctrl-C just ends the program */
    cli_stream_open(&a.stream, c->common.json ? NULL : stdout, o->stop);
    if (s == DM_OK)
        s = answer_prompt(c, prompt, &a, err);
    cli_stream_close(&a.stream);
    dm_text_free(&a.logps);
    free(a.ids);
    dmpo_tokenizer_close(&a.tokenizer);
    return s;
}

int cli_generate(int argc, char **argv)
{
    generate_options o = {0};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_ENGINE, .check = check, .work = generate};

    dmpo_sampling_defaults(&o.sampling, sizeof o.sampling);
    return cli_call_run(&call, argc, argv);
}
