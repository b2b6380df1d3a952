/* dmpo generate: a model's answer to a prompt, shown as it comes. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/stream.h"
#include "model/formats/source.h"
#include "core/file.h"
#include "core/system.h"
#include "model/infer/sampling.h"
#include "model/train/run.h"

#define PROMPT_BYTES ((size_t)1 << 26)
#define LENGTH_MAX ((int64_t)1 << 24) /* dmpo_model_open's */

typedef struct generate_options {
    const char *model, *prompt, *prompt_file, *chat, *chat_template;
    dmpo_sampling sampling;
    bool raw;
} generate_options;

static const cli_option options[] = {
    DM_OPTION_TEXT(generate_options, model, "model", "PATH",
                   "the model: Hugging Face directory, GGUF or llama2.c file, or adapter (required)"),
    DM_OPTION_TEXT(generate_options, prompt, "prompt", "TEXT", "the user's message; default: standard input"),
    DM_OPTION_TEXT(generate_options, prompt_file, "prompt-file", "FILE",
                   "read the user's message from FILE; -: standard input"),
    DM_OPTION_TEXT(generate_options, chat, "chat", "FILE",
                   "read a conversation, a JSON list of messages that ends with the user's; -: standard input"),
    DM_OPTION_TEXT(generate_options, chat_template, "template", "NAME", DM_TEMPLATE_NAMES "; default: from the model"),
    DM_OPTION_FLAG(generate_options, raw, "raw",
                   "use no template: continue the text, recognising special tokens in it"),
    DM_OPTION_INTEGER(generate_options, sampling.max_tokens, "max-tokens", "N", "maximum number of tokens to generate"),
    DM_OPTION_REAL(generate_options, sampling.temperature, "temperature", "X",
                   "up to 1000000; 0: always take the most probable token"),
    DM_OPTION_INTEGER(generate_options, sampling.top_k, "top-k", "N",
                      "sample from the N most probable tokens; 0: from all"),
    DM_OPTION_REAL(generate_options, sampling.top_p, "top-p", "X",
                   "sample from the most probable tokens that together have probability X, above 0 to 1"),
    DM_OPTION_SEED(generate_options, sampling.seed, "seed", "N",
                   "seed of sampling; the same seed gives the same text on every machine"),
    {.offset = 0},
};

static const cli_command command = {
    "generate",
    "Prints a model's answer to a prompt, as it is generated.",
    "--model PATH [--prompt TEXT] [options]",
    "The model's chat template turns the prompt into a conversation that the agent answers. The answer ends with the\n"
    "agent's end-of-turn token or after --max-tokens. One newline at the end of a prompt from a file or standard input\n"
    "is dropped. Invalid UTF-8 is shown as U+FFFD. --json prints one object at the end:\n"
    "{\"text\", \"ids\", \"logps\", \"logp\", \"stop\": \"end\" | \"length\", \"prompt_tokens\", \"tokens\", ...}; "
    "logps are in nats,\n"
    "under the unmodified distribution. Ctrl-C stops after the current token.",
    options,
    0,
    0};

typedef struct answer {
    const dm_tokenizer *tokenizer;
    cli_stream stream;
    dm_ids ids;
    dm_text logps;
    double logp, start, first, end; /* seconds: begin, first token, last token */
    dm_error err;
} answer;

/* ---- prompt ---- */

static dm_status read_stdin(dm_text *out, dm_error *err)
{
    char buffer[4096];
    size_t n;

    if (isatty(STDIN_FILENO))
        fputs("the prompt (end it with Ctrl-D):\n", stderr);
    while ((n = fread(buffer, 1, sizeof buffer, stdin)) > 0 && out->size <= PROMPT_BYTES)
        dm_text_add(out, buffer, n);
    if (out->failed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the prompt");
    if (out->size > PROMPT_BYTES)
        return dm_fail(err, DM_ERR_INPUT, "standard input: longer than %zu bytes, the limit for a prompt",
                       PROMPT_BYTES);
    return ferror(stdin) ? dm_fail(err, DM_ERR_FILE, "cannot read standard input: %s", strerror(errno)) : DM_OK;
}

/* path NULL or "-": standard input. */
static dm_status read_text(dm_text *out, const char *path, dm_error *err)
{
    char *data;
    size_t size;

    if (!path || strcmp(path, "-") == 0)
        return read_stdin(out, err);
    const dm_status s = dm_file_read(path, PROMPT_BYTES, &data, &size, err);
    if (s == DM_OK)
        dm_text_add(out, data, size);
    free(data);
    return s == DM_OK && out->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory for the prompt") : s;
}

static dm_status render_chat(dm_ids *ids, const char *path, const dm_tokenizer *t, const dm_chat_template *chat,
                             dm_error *err)
{
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    dm_json_doc *doc = NULL;
    dm_text text = {0};
    dm_status s = read_text(&text, path, err);

    if (s == DM_OK)
        s = dm_json_parse(&doc, text.data ? text.data : "", text.size, name, err);
    if (s == DM_OK)
        s = dm_prompt_render(ids, doc, t, chat, err);
    dm_json_close(&doc);
    dm_text_free(&text);
    return s;
}

static dm_status render_text(dm_ids *ids, const generate_options *o, const dm_tokenizer *t,
                             const dm_chat_template *chat, dm_error *err)
{
    dm_text read = {0};
    const char *text = o->prompt;
    size_t size = text ? strlen(text) : 0, none;
    dm_status s = DM_OK;

    if (!text) {
        s = read_text(&read, o->prompt_file, err);
        text = read.data ? read.data : "";
        size = read.size > 0 && text[read.size - 1] == '\n' ? read.size - 1 : read.size;
    }
    const dm_message message = {.role = DM_ROLE_USER, .text = text, .size = size};
    if (s == DM_OK && o->raw)
        s = dm_tokenizer_encode(t, text, size, true, ids, err);
    else if (s == DM_OK)
        s = dm_template_render(chat, t, &(dm_conversation){.messages = &message, .n = 1}, true, ids, NULL, &none, err);
    if (s == DM_OK && ids->size == 0)
        s = dm_fail(err, DM_ERR_INPUT, "the prompt is empty; with --raw there must be a text to continue");
    dm_text_free(&read);
    return s;
}

/* ---- answer ---- */

static int take_token(void *context, size_t index, int32_t id, float logp)
{
    answer *a = context;
    dm_text bytes = {0};

    (void)index;
    a->end = dm_seconds();
    if (a->ids.size == 0)
        a->first = a->end;
    if (!isfinite(logp))
        return dm_fail(&a->err, DM_ERR_NONFINITE, "token %zu of the answer: its log-probability is %s", a->ids.size,
                       isnan(logp) ? "NaN" : "infinite");
    dm_status s = dm_ids_push(&a->ids, id, &a->err);
    if (s == DM_OK && (size_t)id < dm_tokenizer_size(a->tokenizer)) /* a padded vocabulary has ids without text */
        s = dm_tokenizer_decode(a->tokenizer, &id, 1, true, &bytes, &a->err);
    if (s == DM_OK)
        s = cli_stream_add(&a->stream, bytes.data, bytes.size, &a->err);
    dm_text_free(&bytes);
    dm_text_print(&a->logps, "%s%.9g", a->ids.size > 1 ? ", " : "", (double)logp);
    a->logp += (double)logp;
    return s != DM_OK || cli_interrupted();
}

static double rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

static const char *how_it_ended(const answer *a, const dmpo_sampling *o)
{
    const int32_t last = a->ids.size ? a->ids.data[a->ids.size - 1] : -1;
    for (size_t i = 0; i < o->n_stop; i++)
        if (o->stop[i] == last)
            return "end";
    return "length";
}

static void print_json(const answer *a, size_t prompt, const dmpo_sampling *o)
{
    dm_text t = {0};
    const size_t n = a->ids.size;

    dm_text_print(&t, "{\"text\": ");
    dm_text_json_string(&t, a->stream.text.data ? a->stream.text.data : "", a->stream.text.size);
    dm_text_print(&t, ", \"ids\": [");
    for (size_t i = 0; i < n; i++)
        dm_text_print(&t, "%s%d", i ? ", " : "", (int)a->ids.data[i]);
    dm_text_print(&t, "], \"logps\": [%s], \"logp\": ", a->logps.data ? a->logps.data : "");
    dm_text_json_double(&t, a->logp);
    dm_text_print(&t, ", \"stop\": \"%s\", \"prompt_tokens\": %zu, \"tokens\": %zu", how_it_ended(a, o), prompt, n);
    dm_text_print(&t, ", \"prompt_tokens_per_second\": %.1f", n ? rate((double)prompt, a->first - a->start) : 0.0);
    dm_text_print(&t, ", \"tokens_per_second\": %.1f}\n", n > 1 ? rate((double)(n - 1), a->end - a->first) : 0.0);
    if (!t.failed)
        fwrite(t.data, 1, t.size, stdout);
    dm_text_free(&t);
}

static void print_rates(const answer *a, size_t prompt, const dmpo_sampling *o)
{
    const size_t n = a->ids.size;
    if (n == 0)
        return;
    fprintf(stderr, "prompt %zu tokens, %.1f/s; answer %zu tokens", prompt, rate((double)prompt, a->first - a->start),
            n);
    if (n > 1)
        fprintf(stderr, ", %.1f/s", rate((double)(n - 1), a->end - a->first));
    fputs(how_it_ended(a, o)[0] == 'e' ? "\n" : ", cut by --max-tokens\n", stderr);
}

static dm_status run(dmpo_engine *engine, const generate_options *o, const dm_ids *prompt, answer *a,
                     const cli_common *common, dm_error *err)
{
    dmpo_model *model = NULL;
    dmpo_error error = {0};
    int32_t *out = malloc(((size_t)o->sampling.max_tokens + 1) * sizeof *out);
    dmpo_request request = {.ids = prompt->data, .n = prompt->size, .sampling = o->sampling, .out = out};

    if (!out)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for an answer of %lld tokens", (long long)o->sampling.max_tokens);
    dm_status s =
        (dm_status)dmpo_model_open(&model, engine, o->model, 1, prompt->size + (size_t)o->sampling.max_tokens, &error);
    a->start = dm_seconds();
    if (s == DM_OK)
        s = (dm_status)dmpo_model_generate(model, &request, 1, take_token, a, &error);
    dmpo_model_close(&model);
    free(out);
    if (s != DM_OK)
        return dm_fail(err, s, "%s", error.message);
    if (a->err.status == DM_OK)
        cli_stream_end(&a->stream, &a->err);
    if (a->err.status == DM_OK && a->logps.failed)
        dm_fail(&a->err, DM_ERR_MEMORY, "no memory for the log-probabilities");
    if (a->err.status == DM_OK && cli_interrupted())
        dm_fail(&a->err, DM_ERR_INTERRUPTED, "stopped after %zu tokens", a->ids.size);
    if (a->err.status != DM_OK) {
        *err = a->err;
        return err->status;
    }
    if (common->json)
        print_json(a, prompt->size, &o->sampling);
    if (!common->quiet)
        print_rates(a, prompt->size, &o->sampling);
    return DM_OK;
}

/* ---- command ---- */

static dm_status check(const generate_options *o, dm_error *err)
{
    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; --model PATH names it");
    if (!!o->prompt + !!o->prompt_file + !!o->chat > 1)
        return dm_fail(err, DM_ERR_ARGUMENT, "more than one prompt; give one of --prompt, --prompt-file and --chat");
    if (o->raw && (o->chat || o->chat_template))
        return dm_fail(err, DM_ERR_ARGUMENT, "--raw uses no chat template; leave %s out",
                       o->chat ? "--chat" : "--template");
    if (o->sampling.max_tokens > LENGTH_MAX)
        return dm_fail(err, DM_ERR_ARGUMENT, "--max-tokens %lld is out of range; legal: 0 to %lld",
                       (long long)o->sampling.max_tokens, (long long)LENGTH_MAX);
    return dm_sampling_check(&o->sampling, err);
}

/* Everything that can be wrong is found before the weights are read. */
static dm_status prepare(generate_options *o, const cli_common *common, dm_tokenizer **tokenizer, dm_ids *prompt,
                         int32_t stop[DM_ENDS_MAX + 1], dm_error *err)
{
    dm_source *source = NULL;
    dm_config config;
    dm_chat_template chat = {0};
    dm_status s;

    if ((s = dm_source_open(&source, o->model, err)) != DM_OK)
        return s;
    config = *dm_source_config(source);
    s = dm_source_tokenizer(source, tokenizer, o->raw ? NULL : &chat, o->chat_template, err);
    dm_source_close(&source);
    if (s != DM_OK)
        return s;
    if (!*tokenizer)
        return dm_fail(err, DM_ERR_INPUT, "%s: has no tokenizer, which text needs", o->model);
    o->sampling.stop = stop;
    o->sampling.n_stop = dm_config_stops(stop, &config, o->raw ? -1 : chat.end_of_turn);
    s = o->chat ? render_chat(prompt, o->chat, *tokenizer, &chat, err) : render_text(prompt, o, *tokenizer, &chat, err);
    if (s != DM_OK)
        return s;
    const int64_t length = (int64_t)prompt->size + o->sampling.max_tokens;
    if (length > LENGTH_MAX)
        return dm_fail(err, DM_ERR_ARGUMENT, "--max-tokens %lld is too many: prompt and answer may have %lld together",
                       (long long)o->sampling.max_tokens, (long long)LENGTH_MAX);
    if (length > (int64_t)config.max_positions && !common->quiet)
        fprintf(stderr, "prompt and answer may reach %lld tokens; the model was made for %u\n", (long long)length,
                config.max_positions);
    return DM_OK;
}

int cli_generate(int argc, char **argv)
{
    generate_options o = {.sampling = {.top_p = 1, .max_tokens = 256}};
    cli_common common = {0};
    cli_args args = {0};
    dmpo_engine *engine = NULL;
    dm_tokenizer *tokenizer = NULL;
    dm_ids prompt = {0};
    answer a = {0};
    dm_error err = {0};
    int32_t stop[DM_ENDS_MAX + 1];

    dm_status s = cli_parse(&command, &o, &common, &args, argc, argv, &err);
    if (s == DM_OK && !args.help)
        s = check(&o, &err);
    int status = s != DM_OK ? cli_failed("generate", s, err.message) : 0;
    if (!status && !args.help && (status = cli_open_engine("generate", &common, &engine)) == 0) {
        s = prepare(&o, &common, &tokenizer, &prompt, stop, &err);
        cli_catch_interrupt(); /* while a prompt is typed, Ctrl-C just ends the program */
        a.tokenizer = tokenizer;
        cli_stream_open(&a.stream, common.json ? NULL : stdout);
        if (s == DM_OK)
            s = run(engine, &o, &prompt, &a, &common, &err);
        if (s != DM_OK)
            status = cli_failed("generate", s, err.message);
    }
    cli_stream_close(&a.stream);
    dm_text_free(&a.logps);
    dm_ids_free(&a.ids);
    dm_ids_free(&prompt);
    dm_tokenizer_close(&tokenizer);
    dmpo_engine_close(&engine);
    cli_args_close(&args);
    return status;
}
