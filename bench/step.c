/* How fast a DMPO training step is: forward, loss, backward, clipping and AdamW of one pair, whole.
 *
 *     step [--quick] [--shape 260k|15m|135m] [--length N] [--prefix N] [--seconds X] [--memory]
 *          [--lora RANK] [--precision f32|bf16] [--isa NAME] [--threads N]
 *
 * The pair of bench/peers/step.py: two trajectories of --length tokens, 7 turns, the last 30 % of each turn the
 * agent's;
 * --prefix makes the first N tokens of both equal. --memory adds the same under --memory limits from the least that
 * works upwards. JSON lines on stdout, the same as a table on stderr: medians, and the range from the 10th to the 90th
 * percentile. The share is of the FMA peak of all threads together, measured beside each step; what is computed twice
 * counts once; the record is what the transcript of a run adds to the step. Each line is measured in a process of its
 * own, so that its peak memory is its own. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mkdtemp */
#endif
#include <sys/wait.h>

#include "bench/peak.h"
#include "bench/shapes.h"
#include "core/numbers/philox.h"
#include "core/system.h"
#include "io/json.h"
#include "model/train/run.h"

#define TURNS 7

typedef struct settings {
    const char *isa;
    const bench_shape *shape;
    char dir[64], data[96];
    size_t length, prefix;
    unsigned threads;
    double seconds; /* budget of a line */
    uint64_t memory;
    int64_t lora; /* rank */
    dm_precision precision;
} settings;

/* ---- data ---- */

static void add_side(dm_text *t, const settings *s, unsigned side)
{
    const size_t turn = s->length / TURNS;

    dm_text_print(t, "{\"turns\": [");
    for (size_t i = 0; i < TURNS; i++)
        dm_text_print(t, "%s[%zu, %zu]", i ? ", " : "", i * turn + turn * 7 / 10, (i + 1) * turn);
    dm_text_print(t, "], \"ids\": [");
    for (size_t i = 0; i < s->length; i++) {
        const uint64_t stream = i < s->prefix ? 2 : side;
        dm_text_print(t, "%s%u", i ? ", " : "",
                      (unsigned)(dm_random(1, DM_RNG_TEST, stream, i).v[0] % s->shape->vocab));
    }
    dm_text_print(t, "]}");
}

static void write_pair(settings *s)
{
    dm_text t = {0};
    dm_error err;

    snprintf(s->data, sizeof s->data, "%s/pair.jsonl", s->dir);
    dm_text_print(&t, "{\"chosen\": ");
    add_side(&t, s, 0);
    dm_text_print(&t, ", \"rejected\": ");
    add_side(&t, s, 1);
    dm_text_print(&t, "}\n");
    if (t.failed || dm_file_write(s->data, t.data, t.size, &err) != DM_OK)
        bench_die(t.failed ? "no memory" : err.message);
    dm_text_free(&t);
}

/* ---- what a step has to compute ---- */

/* Pairs of query and key that attention looks at. */
static double pairs_seen(const dm_pack *p)
{
    double n = 0;
    for (size_t i = 0; i < p->n_segments; i++) {
        const double rows = (double)(p->segments[i].end - p->segments[i].begin);
        n += rows * (double)p->segments[i].prefix + rows * (rows + 1) / 2;
    }
    return n;
}

/* Of the matrix products: two flops a multiply-add, each product once forward and twice backward; once where the
 * weights are frozen. */
static double flops_of(const dm_run *r)
{
    const dm_config *c = &r->models.config;
    const double d = c->hidden, f = c->intermediate, hq = (double)c->heads * c->head_dim;
    const double hk = (double)c->kv_heads * c->head_dim;
    const double layer =
        (2 * hq + 2 * hk + 3 * f) * d * (double)r->memory.pack.rows + 2 * hq * pairs_seen(&r->memory.pack);

    return (r->models.policy.lora.o.rank ? 4 : 6) *
           (layer * c->layers + (double)r->memory.pack.predictions * d * c->vocab);
}

/* ---- measuring ---- */

/* records: seconds of the transcript's record of each step. */
static void report(const settings *s, const dm_run *r, double *seconds, double *peaks, double *records, size_t n)
{
    const sampled t = summary(seconds, n), peak = summary(peaks, n), record = summary(records, n);
    const double tokens = 2.0 * (double)s->length, rate = flops_of(r) / t.median, mib = 1048576;
    char machine[128];

    dm_cpu_name(machine, sizeof machine);
    printf(
        "{\"bench\":\"step\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"shape\":\"%s\",\"precision\":\"%s\",\"length\":%zu,"
        "\"prefix\":"
        "%zu,\"packed\":%zu,\"steps\":%zu,\"seconds\":%.5g,\"low\":%.5g,\"high\":%.5g,\"tokens_per_second\":%.1f,"
        "\"gflops\":%.1f,\"peak_gflops\":%.1f,\"share\":%.3f,\"planned_mib\":%.1f,\"peak_mib\":%.1f,\"memory_mib\":"
        "%.1f,\"recomputed_layers\":%u,\"lora\":%lld,\"record_seconds\":%.5g}\n",
        machine, dm_isa_name(r->engine->k.isa), r->engine->threads, s->shape->name, dm_precision_names[s->precision],
        s->length, s->prefix, r->memory.pack.rows, n, t.median, t.low, t.high, tokens / t.median, rate / 1e9,
        peak.median / 1e9, rate / peak.median, (double)r->plan.total / mib, (double)dm_rss_peak() / mib,
        (double)s->memory / mib, r->plan.recomputed, (long long)s->lora, record.median);
    fflush(stdout);
    if (!s->memory)
        fprintf(stderr, "%s, %s, %u threads\n", machine, dm_isa_name(r->engine->k.isa), r->engine->threads);
    fprintf(stderr, "%-5s %s 2 x %zu tokens", s->shape->name, dm_precision_names[s->precision], s->length);
    if (s->prefix)
        fprintf(stderr, ", %zu shared", s->prefix);
    if (s->memory)
        fprintf(stderr, ", limit %.0f MiB", (double)s->memory / mib);
    fprintf(stderr, "  %9.2f ms  (%.2f-%.2f)  %8.0f tokens/s  %5.1f %% of peak  %7.1f MiB  record %.3f %%\n",
            1e3 * t.median, 1e3 * t.low, 1e3 * t.high, tokens / t.median, 100 * rate / peak.median,
            (double)dm_rss_peak() / mib, 100 * record.median / t.median);
}

static dm_status measure(const settings *s, dm_run *r, const dm_engine *e, dm_error *err)
{
    dm_train_options o;
    double seconds[SAMPLES_MAX], peaks[SAMPLES_MAX], records[SAMPLES_MAX], spent = 0;
    dm_transcript_head head;
    dm_transcript_record record = {0};
    unsigned char bytes[DM_TRANSCRIPT_RECORD];
    dmpo_metrics m;
    size_t n = 0;
    dm_status status;

    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = s->dir;
    o.data = s->data;
    o.batch = 1;
    o.steps = 1000000;
    o.warmup_steps = 0;
    o.memory = s->memory;
    o.lora_rank = s->lora;
    o.max_length = (int64_t)s->length;
    o.precision = s->precision;
    if ((status = dm_run_open(r, e, &o, NULL, NULL, err)) != DM_OK || (status = dm_run_place(r, err)) != DM_OK ||
        (status = dm_run_reference(r, err)) != DM_OK || (status = dm_run_step(r, 0, &m, err)) != DM_OK)
        return status;
    dm_run_transcript_head(r, &head);
    while (n < 3 || (n < SAMPLES_MAX && spent < s->seconds)) {
        peaks[n] = peak_of_all(e);
        const double start = bench_seconds();
        if ((status = dm_run_step(r, (int64_t)n + 1, &m, err)) != DM_OK)
            return status;
        spent += seconds[n] = bench_seconds() - start;
        const dm_transcript_record before = record;
        const double begin = bench_seconds();
        dm_run_transcript_record(r, &m, &head, before.step ? &before : NULL, &record, bytes);
        records[n++] = bench_seconds() - begin;
    }
    report(s, r, seconds, peaks, records, n);
    return DM_OK;
}

static void measure_in_child(const settings *s)
{
    dm_engine e;
    dm_run r = {0};
    dm_error err = {0};
    dm_isa isa;
    int status = 0;

    fflush(stdout);
    const pid_t child = fork();
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    if (child != 0)
        bench_die("a measurement failed");
    if (dm_isa_choose(&isa, s->isa, &err) != DM_OK || dm_engine_open(&e, isa, s->threads, &err) != DM_OK ||
        measure(s, &r, &e, &err) != DM_OK)
        bench_die(err.message);
    dm_run_close(&r);
    dm_engine_close(&e);
    fflush(stdout);
    _exit(0);
}

/* The least memory that works and what the step takes when nothing limits it. */
static void limits_of(const settings *s, uint64_t *least, uint64_t *most)
{
    dm_engine e;
    dm_run r = {0};
    dm_train_options o;
    dm_error err = {0};
    dm_isa isa;

    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = s->dir;
    o.data = s->data;
    o.max_length = (int64_t)s->length;
    o.precision = s->precision;
    if (dm_isa_choose(&isa, s->isa, &err) != DM_OK || dm_engine_open(&e, isa, s->threads, &err) != DM_OK ||
        dm_run_open(&r, &e, &o, NULL, NULL, &err) != DM_OK)
        bench_die(err.message);
    *least = r.plan.smallest;
    *most = r.plan.total;
    dm_run_close(&r);
    dm_engine_close(&e);
}

static void measure_limits(settings *s)
{
    static const unsigned percent[] = {0, 10, 25, 50, 75};
    uint64_t least, most;

    limits_of(s, &least, &most);
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++) {
        s->memory = least + least / 50 + (most - least) / 100 * percent[i]; /* 2 %: for what the process itself takes */
        measure_in_child(s);
    }
    s->memory = 0;
}

int main(int argc, char **argv)
{
    static const char usage[] = "usage: step [--quick] [--shape 260k|15m|135m] [--length N] [--prefix N] [--seconds X] "
                                "[--memory] [--lora RANK] [--precision f32|bf16] [--isa NAME] [--threads N]";
    const char *shape = NULL, *threads = getenv("DMPO_THREADS");
    int quick = 0, memory = 0;
    settings s = {.length = 512, .seconds = 5};

    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--quick") == 0) {
            quick = 1;
            continue;
        }
        if (strcmp(argv[i], "--memory") == 0) {
            memory = 1;
            continue;
        }
        if (value && strcmp(argv[i], "--shape") == 0)
            shape = value;
        else if (value && strcmp(argv[i], "--length") == 0)
            s.length = strtoul(value, NULL, 10);
        else if (value && strcmp(argv[i], "--prefix") == 0)
            s.prefix = strtoul(value, NULL, 10);
        else if (value && strcmp(argv[i], "--lora") == 0)
            s.lora = strtol(value, NULL, 10);
        else if (value && strcmp(argv[i], "--seconds") == 0)
            s.seconds = strtod(value, NULL);
        else if (value && strcmp(argv[i], "--isa") == 0)
            s.isa = value;
        else if (value && strcmp(argv[i], "--precision") == 0 && strcmp(value, dm_precision_names[1]) == 0)
            s.precision = DM_PRECISION_BF16;
        else if (value && strcmp(argv[i], "--precision") == 0 && strcmp(value, dm_precision_names[0]) == 0)
            s.precision = DM_PRECISION_F32;
        else if (value && strcmp(argv[i], "--threads") == 0)
            threads = value;
        else
            bench_die(usage);
        i++;
    }
    s.threads = threads ? (unsigned)strtoul(threads, NULL, 10) : dm_cpu_count();
    if (s.length < 2 * TURNS || s.length > 8192 || s.prefix > s.length)
        bench_die("--length must be 14 to 8192 and --prefix at most that");
    if (quick)
        s.seconds = 0.3;
    size_t measured = 0;
    for (size_t i = 0; i < BENCH_SHAPES; i++) {
        if (shape ? strcmp(shape, bench_shapes[i].name) != 0 : quick && i == 2)
            continue; /* --quick leaves the largest out */
        s.shape = &bench_shapes[i];
        snprintf(s.dir, sizeof s.dir, "/tmp/dmpo-bench-XXXXXX");
        bench_model_write(s.shape, s.dir);
        write_pair(&s);
        measure_in_child(&s);
        if (memory)
            measure_limits(&s);
        unlink(s.data);
        bench_model_remove(s.dir);
        measured++;
    }
    if (!measured)
        bench_die(usage);
    return 0;
}
