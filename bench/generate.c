/* How fast a policy acts: start-up, reading prompts, one episode, episodes together, the next turn.
 *
 *     generate [--quick] [--shape 260k|15m|135m] [--isa NAME] [--threads N]
 *
 * JSON lines on stdout, the same as a table on stderr: medians, and the range from the 10th to the 90th percentile,
 * after a run that is not counted. Rooflines, measured in the same run: of an episode's step and of start-up, one pass
 * over the weights at the speed that reading them has on all threads; of prompts, their products at the FMA peak. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mkdtemp */
#endif
#include <sys/wait.h>

#include "core/system.h"
#include "bench/peak.h"
#include "bench/shapes.h"
#include "dmpo.h"
#include "model/api.h"
#include "model/infer/session.h"

#define EPISODES 8
#define PROMPT 480
#define OBSERVATION 32
#define ANSWER 24

typedef struct bench {
    const bench_shape *shape;
    const char *program;
    dmpo_engine *engine;
    dmpo_model *model;
    char machine[128];
    double seconds; /* budget of a line */
    double pass;    /* seconds that reading all weights takes */
} bench;

static void line(const bench *b, const char *what, const sampled *t, double tokens, double roofline)
{
    printf("{\"bench\":\"generate\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"shape\":\"%s\",\"what\":\"%s\","
           "\"seconds\":%.4g,\"low\":%.4g,\"high\":%.4g",
           b->machine, dmpo_engine_isa(b->engine), dmpo_engine_threads(b->engine), b->shape->name, what, t->median,
           t->low, t->high);
    if (tokens > 0)
        printf(",\"tokens_per_second\":%.1f", tokens / t->median);
    if (roofline > 0)
        printf(",\"share\":%.3f", roofline / t->median);
    puts("}");
    fflush(stdout);
    fprintf(stderr, "%-5s %-38s %10.3f ms  (%.3f-%.3f)", b->shape->name, what, 1e3 * t->median, 1e3 * t->low,
            1e3 * t->high);
    if (tokens > 0)
        fprintf(stderr, "  %9.1f tokens/s", tokens / t->median);
    if (roofline > 0)
        fprintf(stderr, "  %5.1f %% of the roofline", 100 * roofline / t->median);
    fputc('\n', stderr);
}

/* ---- the roofline: every thread reads its share of the weights ---- */

static void read_weights(void *ctx, unsigned part, unsigned parts)
{
    const dmpo_model *m = ctx;
    const dm_range r = dm_range_split(m->layout.floats, 1024, part, parts);
    for (size_t i = r.begin; i < r.end; i += 1024)
        bench_sink[part % 16] += m->e->k.dot(m->w + i, m->w, r.end - i < 1024 ? r.end - i : 1024);
}

static void measure_pass(bench *b)
{
    double s[SAMPLES_MAX], spent = 0;
    size_t n = 0;
    dm_pool_run(b->engine->e.pool, read_weights, b->model);
    while (n < 5 || (n < SAMPLES_MAX && spent < b->seconds)) {
        const double start = bench_seconds();
        dm_pool_run(b->engine->e.pool, read_weights, b->model);
        spent += s[n] = bench_seconds() - start;
        n++;
    }
    const sampled t = summary(s, n);
    b->pass = t.median;
    line(b, "read all weights", &t, 0, 0);
}

/* ---- generation ---- */

static int32_t ids[EPISODES][PROMPT + ANSWER + OBSERVATION + ANSWER];
static int32_t out[EPISODES][ANSWER];

static void ask(const bench *b, size_t episodes, size_t n, int64_t tokens)
{
    dmpo_request r[EPISODES];
    dmpo_sampling sampling;
    dmpo_error error;
    dmpo_sampling_defaults(&sampling, sizeof sampling);
    sampling.max_tokens = tokens;
    for (size_t i = 0; i < episodes; i++)
        r[i] =
            (dmpo_request){.size = sizeof *r, .slot = i, .ids = ids[i], .n = n, .out = out[i], .sampling = &sampling};
    if (dmpo_model_generate(b->model, r, episodes, NULL, NULL, &error) != DMPO_OK)
        bench_die(error.message);
}

static void forget(const bench *b)
{
    for (size_t i = 0; i < EPISODES; i++)
        b->model->slot[i].n = 0;
}

/* Seconds that the products of a prompt take at the FMA peak of all threads, for its tokens [known, n). */
static double products(const bench *b, size_t known, size_t n)
{
    const dm_config *c = &b->model->config;
    const double d = c->hidden, hq = (double)c->heads * c->head_dim, hk = (double)c->kv_heads * c->head_dim;
    const double rows = (double)(n - known),
                 seen = ((double)n * (double)(n + 1) - (double)known * (double)(known + 1)) / 2;
    const double late = (hq + 3.0 * c->intermediate) * d; /* of the last layer, for one row only */
    const double weights = (double)c->layers * (late + (hq + 2 * hk) * d) * rows - late * (rows - 1) + d * c->vocab;

    return (2 * weights + 4 * (double)c->layers * hq * seen) / peak_of_all(&b->engine->e);
}

static double time_once(const bench *b, size_t episodes, size_t known, size_t n, int64_t tokens)
{
    for (size_t i = 0; i < EPISODES; i++)
        b->model->slot[i].n = known < b->model->slot[i].n ? known : b->model->slot[i].n;
    const double start = bench_seconds();
    ask(b, episodes, n, tokens);
    return bench_seconds() - start;
}

/* The time of `tokens` tokens for each episode after n known ones; cold: nothing is known. */
static sampled time_of(const bench *b, size_t episodes, size_t known, size_t n, int64_t tokens)
{
    double s[SAMPLES_MAX], spent = 0;
    size_t count = 0;

    time_once(b, episodes, known, n, tokens); /* warm */
    while (count < 3 || (count < SAMPLES_MAX && spent < b->seconds)) {
        s[count] = time_once(b, episodes, known, n, tokens);
        spent += s[count++];
    }
    return summary(s, count);
}

static void fill(const bench *b, int same_prompt)
{
    for (size_t i = 0; i < EPISODES; i++)
        for (size_t k = 0; k < sizeof ids[i] / sizeof ids[i][0]; k++)
            ids[i][k] = (int32_t)(((same_prompt ? 0 : i) * 7919 + k * 104729 + k * k) % b->shape->vocab);
}

/* ---- start-up ---- */

static void open_model(bench *b, const char *dir)
{
    dmpo_error error;
    dmpo_model_close(&b->model);
    if (dmpo_model_open(&b->model, b->engine, dir, EPISODES, 1024, &error) != DMPO_OK)
        bench_die(error.message);
}

/* From the start of a process to its end after the first token. */
static void run_process(const bench *b, const char *dir)
{
    char threads[16];
    int status = 0;

    snprintf(threads, sizeof threads, "%u", dmpo_engine_threads(b->engine));
    const pid_t child = fork();
    if (child == 0) {
        execl(b->program, b->program, "--start", dir, "--isa", dmpo_engine_isa(b->engine), "--threads", threads,
              (char *)NULL);
        _exit(1);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        bench_die("a process of this program cannot be started");
}

static void bench_start(bench *b, const char *dir)
{
    double opened[7], started[7];

    open_model(b, dir);
    run_process(b, dir);
    for (size_t k = 0; k < 7; k++) {
        const double start = bench_seconds();
        open_model(b, dir);
        opened[k] = bench_seconds() - start;
        const double wall = dm_seconds(); /* another process's time is not this one's */
        run_process(b, dir);
        started[k] = dm_seconds() - wall;
    }
    measure_pass(b);
    const sampled o = summary(opened, 7), s = summary(started, 7);
    line(b, "open the model, 8 slots of 1024", &o, 0, b->pass);
    line(b, "a process: start, open, one token, end", &s, 0, b->pass);
}

/* ---- */

static void bench_shape_of(bench *b)
{
    const size_t turn = PROMPT + ANSWER + OBSERVATION;
    char text[96];

    fill(b, 0);
    forget(b);
    sampled t = time_of(b, 1, 0, PROMPT, 1);
    snprintf(text, sizeof text, "prompt of %d tokens", PROMPT);
    line(b, text, &t, PROMPT, products(b, 0, PROMPT));

    static const size_t together[] = {1, 2, 4, 8};
    for (size_t i = 0; i < sizeof together / sizeof *together; i++) {
        ask(b, together[i], PROMPT, 1);
        t = time_of(b, together[i], PROMPT, PROMPT, ANSWER);
        snprintf(text, sizeof text, "%zu episode%s, %d tokens", together[i], together[i] > 1 ? "s" : "", ANSWER);
        line(b, text, &t, (double)(together[i] * ANSWER), b->pass * ANSWER);
    }

    ask(b, 1, PROMPT + ANSWER, 1);
    t = time_of(b, 1, PROMPT + ANSWER, turn, 1);
    snprintf(text, sizeof text, "next turn: %d new tokens of %zu", OBSERVATION, turn);
    line(b, text, &t, OBSERVATION, products(b, PROMPT + ANSWER, turn));
    const sampled cold = time_of(b, 1, 0, turn, 1);
    line(b, "the same, nothing known", &cold, (double)turn, products(b, 0, turn));

    t = time_of(b, EPISODES, 0, PROMPT, 1);
    line(b, "8 prompts, all different", &t, EPISODES * PROMPT, EPISODES * products(b, 0, PROMPT));
    fill(b, 1);
    t = time_of(b, EPISODES, 0, PROMPT, 1);
    line(b, "8 prompts, all the same", &t, EPISODES * PROMPT, products(b, 0, PROMPT));
}

int main(int argc, char **argv)
{
    const char *isa = NULL, *shape = NULL, *start = NULL;
    unsigned threads = 0;
    bench b = {.seconds = 1, .program = argv[0]};
    dmpo_error error;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            b.seconds = 0.05;
        else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc)
            shape = argv[++i];
        else if (strcmp(argv[i], "--start") == 0 && i + 1 < argc)
            start = argv[++i]; /* what run_process starts */
        else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            isa = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            bench_die("usage: generate [--quick] [--shape 260k|15m|135m] [--isa NAME] [--threads N]");
    }
    dm_cpu_name(b.machine, sizeof b.machine);
    if (dmpo_engine_open(&b.engine, isa, threads, &error) != DMPO_OK)
        bench_die(error.message);
    if (start) {
        open_model(&b, start);
        ask(&b, 1, 1, 1);
        return 0;
    }
    fprintf(stderr, "%s, %s, %u threads\n", b.machine, dmpo_engine_isa(b.engine), dmpo_engine_threads(b.engine));
    for (size_t i = 0; i < BENCH_SHAPES; i++) {
        char dir[] = "/tmp/dmpo-bench-XXXXXX";
        if (shape ? strcmp(shape, bench_shapes[i].name) != 0 : b.seconds < 1 && i == 2)
            continue; /* --quick leaves the largest out */
        b.shape = &bench_shapes[i];
        bench_model_write(b.shape, dir);
        bench_start(&b, dir);
        bench_shape_of(&b);
        dmpo_model_close(&b.model);
        bench_model_remove(dir);
    }
    dmpo_engine_close(&b.engine);
    return 0;
}
