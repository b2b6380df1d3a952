/* Answers of chat: generated, shown as they come, appended to the history. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands/chat/chat.h"
#include "cli/stream.h"
#include "core/system.h"

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

double cli_chat_rate(double n, double seconds)
{
    return seconds > 0 ? n / seconds : 0;
}

bool cli_chat_is_blank(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\n\v\f\r", text[i]) || !text[i])
            return false;
    return true;
}

static const char *how_it_ended(const cli_chat_talk *t, const answer *a, const dmpo_request *r)
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

static dm_status print_json(const cli_chat_talk *t, const answer *a, const char *stop, dm_error *err)
{
    dm_text line = {0};

    dm_text_print(&line, "{\"text\": ");
    dm_text_json_string(&line, a->stream.text.data ? a->stream.text.data : "", a->stream.text.size);
    dm_text_print(&line, ", \"stop\": \"%s\", \"prompt_tokens\": %zu, \"reused\": %zu, \"tokens\": %zu", stop,
                  t->prompt, t->reused, t->tokens);
    dm_text_print(&line, ", \"prompt_tokens_per_second\": %.1f, \"tokens_per_second\": %.1f}\n",
                  cli_chat_rate((double)(t->prompt - t->reused), t->prompt_seconds),
                  t->tokens > 1 ? cli_chat_rate((double)(t->tokens - 1), t->seconds) : 0.0);
    const dm_status s = line.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to print the answer") : DM_OK;
    if (s == DM_OK)
        fwrite(line.data, 1, line.size, stdout);
    fflush(stdout);
    dm_text_free(&line);
    return s;
}

void cli_chat_note(const cli_chat_talk *t, const char *text)
{
    if (!t->common->quiet)
        fprintf(stderr, "(%s)\n", text);
}

static void say_how(const cli_chat_talk *t, const char *stop)
{
    char text[160];

    if (*stop == 'l') {
        snprintf(text, sizeof text, "cut by --max-tokens %lld", (long long)t->o->sampling.max_tokens);
        cli_chat_note(t, text);
    } else if (*stop == 'c') {
        snprintf(text, sizeof text,
                 "the context of %zu tokens is full: /reset starts a new conversation, /save FILE keeps this one",
                 t->max_length);
        cli_chat_note(t, text);
    } else if (*stop == 'i') {
        cli_chat_note(t, "stopped");
    }
}

static void count(cli_chat_talk *t, const answer *a, const dmpo_request *r)
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
static dm_status generate(cli_chat_talk *t, answer *a, dmpo_request *r, dm_error *err)
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
    if (cli_chat_is_blank(text, size)) {
        say_how(t, stop);
        cli_chat_note(t, "the answer was empty; your message is taken back, and /retry asks it again");
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

dm_status cli_chat_answer(cli_chat_talk *t, dm_error *err)
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

dm_status cli_chat_ask(cli_chat_talk *t, const char *text, size_t size, dm_error *err)
{
    const dm_status s = cli_history_ask(&t->history, text, size, t->max_length - 1, err);

    if (s != DM_OK)
        return s;
    dm_text_free(&t->question);
    dm_text_add(&t->question, text, size);
    t->asked = true;
    t->tries = 0;
    return cli_chat_answer(t, err);
}
