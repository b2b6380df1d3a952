/* dmpo diff: where two runs diverge, and which of them this machine gives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/call.h"
#include "cli/run_file.h"
#include "core/files/file.h"
#include "core/files/scratch.h"
#include "io/safetensors.h"
#include "model/api.h"
#include "model/trace/trace.h"
#include "model/train/verify.h"

typedef struct diff_options {
    bool trace;
    cli_run_inputs inputs;
} diff_options;

static const cli_option options[] = {
    DM_OPTION_FLAG(diff_options, trace, "trace",
                   "traces the step where they diverge and names the first operation that differs", .group = "what",
                   .initial = "true"),
    CLI_RUN_INPUTS(diff_options, inputs),
    {.info = {0}},
};

static const cli_command command = {
    "diff",
    "Finds where two runs of dmpo train or learn diverge: options, data, the first step, its first operation.",
    "RUN_A RUN_B [options]",
    "The first step whose leaf differs is found by bisection of the transcripts, and computed again here, from the\n"
    "nearest checkpoint, to say whose leaf this machine reproduces. Where options or data differ, the step is traced with\n"
    "both, and the first operation and element that differ are named (not of dmpo learn, whose losses have no trace).\n"
    "docs/transcript.md has the details. Exit status 1: they differ.",
    options,
    2,
    2};

typedef struct side {
    const char *dir;
    dm_path file; /* run.json */
    dm_json_doc *doc;
    cli_run made;
    dm_path transcript_path;
    dm_transcript transcript;
    bool has_transcript;
    dm_path trace;
} side;

typedef struct differ {
    side s[2];
    const diff_options *o;
    dmpo_engine *engine;
    dm_error *err;
    size_t found;
    dm_scratch traces;
} differ;

static dm_status open_side(differ *d, side *s)
{
    dm_status status = dm_path_in(&s->file, s->dir, "run.json", d->err);

    if (status != DM_OK || (status = dm_json_read(&s->doc, s->file.text, d->err)) != DM_OK ||
        (status = cli_run_open(&s->made, s->file.text, &d->o->inputs, d->err)) != DM_OK ||
        (status = dm_path_in(&s->transcript_path, s->dir, DM_TRANSCRIPT_FILE, d->err)) != DM_OK)
        return status;
    s->has_transcript = dm_file_exists(s->transcript_path.text);
    return s->has_transcript ? dm_transcript_open(&s->transcript, s->transcript_path.text, d->err) : DM_OK;
}

static void close_side(side *s)
{
    dm_transcript_close(&s->transcript);
    cli_run_close(&s->made);
    dm_json_close(&s->doc);
}

/* ---- run.json ---- */

static void row(differ *d, const char *what, const char *a, const char *b)
{
    printf("%-22s %s | %s\n", what, a ? a : "-", b ? b : "-");
    d->found++;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static const char *value_text(const dm_json *v, char text[DM_DOUBLE_TEXT])
{
    if (!v || v->type == DM_JSON_NULL)
        return NULL;
    if (v->type == DM_JSON_STRING)
        return v->text;
    snprintf(text, DM_DOUBLE_TEXT, "%.17g", v->type == DM_JSON_NUMBER ? v->number : v->boolean);
    return text;
}

/* The options of dmpo learn that are none of training; how many are played at once decides nothing. */
static void compare_learning(differ *d)
{
    for (const cli_option *o = cli_learn_options(); o->info.name; o++) {
        const dm_json *v[2];
        char text[2][DM_DOUBLE_TEXT];
        for (size_t i = 0; i < 2; i++)
            v[i] = dm_json_get(dm_json_get(dm_json_root(d->s[i].doc), "options"), o->info.name);
        const char *a = value_text(v[0], text[0]), *b = value_text(v[1], text[1]);
        if (o->offset != CLI_LIBRARY && strcmp(o->info.name, "at-once") != 0 && !same_text(a, b))
            row(d, o->info.name, a, b);
    }
}

static void compare_files(differ *d)
{
    static const char *const members[] = {"command", "version", "model_sha256", "data_sha256", "weights_sha256"};

    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const dm_json *a = dm_json_get(dm_json_root(d->s[0].doc), members[i]);
        const dm_json *b = dm_json_get(dm_json_root(d->s[1].doc), members[i]);
        if (!same_text(a ? a->text : NULL, b ? b->text : NULL))
            row(d, members[i], a ? a->text : NULL, b ? b->text : NULL);
    }
    for (size_t i = 0; dmpo_train_option(i); i++) {
        const dmpo_option_info *info = dmpo_train_option(i);
        const char *a = dmpo_train_options_get(d->s[0].made.train, info->name);
        const char *b = dmpo_train_options_get(d->s[1].made.train, info->name);
        if (info->decides && info->type != DMPO_OPTION_TEXT && !same_text(a, b)) /* paths: their hashes say it */
            row(d, info->name, a, b);
    }
    if (d->s[0].made.learnt && d->s[1].made.learnt)
        compare_learning(d);
}

/* ---- transcripts ---- */

static bool same_digest(const dm_digest *a, const dm_digest *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

static dm_status leaves_differ(differ *d, uint64_t step, bool *other)
{
    dm_transcript_record r[2];

    for (size_t i = 0; i < 2; i++) {
        const dm_status s = dm_transcript_read(&d->s[i].transcript, step, NULL, &r[i], d->err);
        if (s != DM_OK)
            return s;
    }
    *other = !same_digest(&r[0].leaf, &r[1].leaf);
    return DM_OK;
}

static uint64_t fewer_steps(const differ *d)
{
    const uint64_t a = d->s[0].transcript.n, b = d->s[1].transcript.n;
    return a < b ? a : b;
}

/* The first step in [1, n] whose leaf differs, n + 1: none. A leaf hashes the one before, so all after it differ. */
static dm_status bisect(differ *d, uint64_t *step, unsigned *comparisons)
{
    uint64_t low = 1, high = fewer_steps(d) + 1;

    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        bool other;
        const dm_status s = leaves_differ(d, middle, &other);
        if (s != DM_OK)
            return s;
        ++*comparisons;
        if (other)
            high = middle;
        else
            low = middle + 1;
    }
    *step = low;
    return DM_OK;
}

static size_t print_member(bool differs, const char *name, double a, double b)
{
    if (differs)
        printf("  %-20s %.17g | %.17g\n", name, a, b);
    return differs;
}

/* Prints what differs in two records, except their leaves. */
static size_t compare_records(const dm_transcript_record *a, const dm_transcript_record *b)
{
    size_t n = print_member(a->epoch != b->epoch, "epoch", (double)a->epoch, (double)b->epoch);

    n += print_member(a->tokens != b->tokens, "tokens", (double)a->tokens, (double)b->tokens);
    n += print_member(a->loss != b->loss, "loss", a->loss, b->loss);
    n += print_member(a->grad_norm != b->grad_norm, "gradient norm", a->grad_norm, b->grad_norm);
    n += print_member(a->lr != b->lr, "learning rate", a->lr, b->lr);
    if (!same_digest(&a->items, &b->items))
        n += (size_t)printf("  items of the batch   differ\n") > 0;
    if (!same_digest(&a->state, &b->state))
        n += (size_t)printf("  weights after it     differ\n") > 0;
    return n;
}

/* Of runs whose headers differ already no leaf is equal: the first step with other contents. */
static dm_status scan(differ *d, uint64_t *step)
{
    dm_transcript_record r[2];

    for (*step = 1; *step <= fewer_steps(d); ++*step) {
        for (size_t i = 0; i < 2; i++) {
            const dm_status s = dm_transcript_read(&d->s[i].transcript, *step, NULL, &r[i], d->err);
            if (s != DM_OK)
                return s;
        }
        if (r[0].loss != r[1].loss || r[0].grad_norm != r[1].grad_norm || r[0].lr != r[1].lr ||
            r[0].tokens != r[1].tokens || !same_digest(&r[0].items, &r[1].items) ||
            !same_digest(&r[0].state, &r[1].state))
            return DM_OK;
    }
    return DM_OK;
}

static int ignore(void *context, bool refuted, const char *text)
{
    (void)context, (void)refuted, (void)text;
    return cli_interrupted();
}

/* Computes the step again with each one's inputs. */
static dm_status replay(differ *d, uint64_t step)
{
    for (size_t i = 0; i < 2; i++) {
        const dm_verify_options v = {.run = d->s[i].dir, .sample = 1, .from = (int64_t)step};
        dm_verify_result result;
        const dm_status s = cli_run_verify(d->engine, &d->s[i].made, &v, NULL, ignore, NULL, NULL, &result, d->err);
        if (s != DM_OK)
            return s;
        printf("%s: this machine gives %s for step %llu\n", d->s[i].dir,
               result.replayed && result.proved == result.replayed ? "the same" : "ANOTHER RESULT",
               (unsigned long long)step);
    }
    return DM_OK;
}

/* ---- the step, traced ---- */

static dm_status trace(differ *d, side *s, uint64_t step)
{
    dm_train_options o = *dm_train_options_values(s->made.train);
    dm_run r;

    dm_status status =
        dm_path_in(&s->trace, d->traces.path.text, s == &d->s[0] ? "a.safetensors" : "b.safetensors", d->err);
    if (status != DM_OK)
        return status;
    o.output = NULL;
    o.reference_cache = NULL;
    dm_trace_options t = {
        .output = s->trace.text, .overwrite = true, .last_layer = -1, .first_step = (int64_t)step - 1};
    t.last_step = t.first_step;
    status = dm_run_ready(&r, &d->engine->e, &o, NULL, NULL, d->err);
    if (status == DM_OK && (status = dm_checkpoint_load_nearest(&r, s->dir, t.first_step, &t.done, d->err)) == DM_OK)
        status = dm_trace_run(&r, &t, d->err);
    dm_run_close(&r);
    return status;
}

/* First element with other bits, in double; false: the tensors cannot be read so. */
static dm_status name_element(differ *d, const dm_st *a, const dm_st *b, const dm_st_tensor *x, const dm_st_tensor *y)
{
    double *u = calloc((size_t)x->count, sizeof *u), *v = calloc((size_t)y->count, sizeof *v);
    size_t i = 0;
    dm_status s = u && v ? DM_OK : dm_fail(d->err, DM_ERR_MEMORY, "no memory for the tensor '%s'", x->name);

    if (s == DM_OK && (s = dm_st_read_f64(a, x, u, d->err)) == DM_OK &&
        (s = dm_st_read_f64(b, y, v, d->err)) == DM_OK) {
        while (i < x->count && memcmp(&u[i], &v[i], sizeof *u) == 0)
            i++;
        if (i < x->count)
            printf("first operation        %s, element %zu of %llu: %.9g | %.9g\n", x->name, i,
                   (unsigned long long)x->count, u[i], v[i]);
    }
    free(u);
    free(v);
    return s;
}

/* Traces list their tensors in the order of execution. */
static dm_status compare_traces(differ *d)
{
    dm_st *st[2] = {NULL, NULL};
    dm_status s = dm_st_open(&st[0], d->s[0].trace.text, d->err);
    bool same = true;

    if (s == DM_OK)
        s = dm_st_open(&st[1], d->s[1].trace.text, d->err);
    for (size_t i = 0; s == DM_OK && same && i < dm_st_count(st[0]); i++) {
        const dm_st_tensor *x = dm_st_at(st[0], i), *y = dm_st_find(st[1], x->name);
        if (!y || x->count != y->count) {
            printf("first operation        %s: %s\n", x->name, y ? "of another size" : "only in the first run");
            same = false;
            continue;
        }
        unsigned char *p = malloc((size_t)(x->end - x->begin) + 1), *q = malloc((size_t)(y->end - y->begin) + 1);
        s = p && q ? DM_OK : dm_fail(d->err, DM_ERR_MEMORY, "no memory for the tensor '%s'", x->name);
        if (s == DM_OK && (s = dm_st_read_stored(st[0], x, p, d->err)) == DM_OK &&
            (s = dm_st_read_stored(st[1], y, q, d->err)) == DM_OK) {
            same = x->end - x->begin == y->end - y->begin && memcmp(p, q, (size_t)(x->end - x->begin)) == 0;
            if (!same)
                s = name_element(d, st[0], st[1], x, y);
        }
        free(p);
        free(q);
    }
    if (s == DM_OK && same)
        printf("traced here, the step is the same in both, operation by operation\n");
    dm_st_close(&st[0]);
    dm_st_close(&st[1]);
    return s;
}

static dm_status compare_step(differ *d, uint64_t step)
{
    dm_transcript_record r[2];
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < 2; i++)
        s = dm_transcript_read(&d->s[i].transcript, step, NULL, &r[i], d->err);
    if (s != DM_OK)
        return s;
    printf("first step             %llu\n", (unsigned long long)step);
    compare_records(&r[0], &r[1]);
    d->found++;
    if ((s = replay(d, step)) != DM_OK || !d->o->trace)
        return s;
    if (d->s[0].made.learnt || d->s[1].made.learnt) {
        printf(
            "a step of dmpo learn is not traced; its round's episodes.jsonl can be compared when it is the last one\n");
        return DM_OK;
    }
    if ((s = dm_scratch_open(&d->traces, d->err)) != DM_OK || (s = trace(d, &d->s[0], step)) != DM_OK ||
        (s = trace(d, &d->s[1], step)) != DM_OK)
        return s;
    return compare_traces(d);
}

static dm_status compare_transcripts(differ *d)
{
    uint64_t step = 0;
    unsigned comparisons = 0;

    if (!d->s[0].has_transcript || !d->s[1].has_transcript) {
        printf("no step is compared: %s has no " DM_TRANSCRIPT_FILE "\n", d->s[d->s[0].has_transcript].dir);
        return DM_OK;
    }
    const dm_transcript_head *a = &d->s[0].transcript.head, *b = &d->s[1].transcript.head;
    const bool same_head = same_digest(&a->leaf, &b->leaf);
    if (!same_digest(&a->identity, &b->identity))
        row(d, "identity", "options, model or data", "others");
    if (!same_digest(&a->state, &b->state))
        row(d, "first state", "weights before training", "others");
    const dm_status s = same_head ? bisect(d, &step, &comparisons) : scan(d, &step);
    if (s != DM_OK)
        return s;
    if (same_head)
        printf("bisection              %u comparisons of leaves, of %llu steps\n", comparisons,
               (unsigned long long)fewer_steps(d));
    if (step <= fewer_steps(d))
        return compare_step(d, step);
    if (d->s[0].transcript.n != d->s[1].transcript.n) {
        char n[2][24];
        for (size_t i = 0; i < 2; i++)
            snprintf(n[i], sizeof n[i], "%llu", (unsigned long long)d->s[i].transcript.n);
        row(d, "steps", n[0], n[1]);
    }
    return DM_OK;
}

static dm_status diff(cli_call *c, dm_error *err)
{
    differ d = {.o = c->options, .engine = c->engine, .err = err};
    dm_status s = DM_OK;

    for (size_t i = 0; s == DM_OK && i < 2; i++) {
        d.s[i].dir = c->args.positional[i];
        s = open_side(&d, &d.s[i]);
    }
    if (s == DM_OK) {
        compare_files(&d);
        s = compare_transcripts(&d);
    }
    if (s == DM_OK)
        puts(d.found ? "they differ" : "no difference");
    c->status = d.found > 0;
    close_side(&d.s[0]);
    close_side(&d.s[1]);
    dm_scratch_close(&d.traces);
    return s;
}

int cli_diff(int argc, char **argv)
{
    diff_options o = {.trace = true};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_ENGINE | CLI_STOPS, .work = diff};

    return cli_call_run(&call, argc, argv);
}
