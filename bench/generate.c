/* How fast a policy acts: start-up, reading a prompt, one episode, episodes together, the next turn.
 *
 *     generate [--quick] [--shape 260k|15m|135m] [--isa NAME] [--threads N]
 *
 * JSON lines on stdout, the same as a table on stderr: medians, and the range from the 10th to the 90th percentile. The
 * roofline of a step is one pass over the weights at the speed that reading them has on all threads, measured in the
 * same run. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mkdtemp */
#endif
#include <stdarg.h>

#include "bench/shapes.h"
#include "dmpo.h"
#include "model/api.h"
#include "model/policy.h"

#define EPISODES 8
#define PROMPT 480
#define OBSERVATION 32
#define ANSWER 24

typedef struct bench {
    const bench_shape *shape;
    dmpo_engine *engine;
    dmpo_model *model;
    char machine[128];
    size_t parameters;
    double seconds; /* budget of a line */
    double pass;    /* seconds that reading all weights takes */
} bench;

static void line(const bench *b, const char *what, const sampled *t, double tokens, double roofline)
{
    printf("{\"bench\":\"generate\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"shape\":\"%s\",\"what\":\"%s\","
           "\"seconds\":%.4g,\"low\":%.4g,\"high\":%.4g,\"tokens_per_second\":%.1f,\"share\":%.3f}\n",
           b->machine, dmpo_engine_isa(b->engine), dmpo_engine_threads(b->engine), b->shape->name, what, t->median,
           t->low, t->high, tokens / t->median, roofline / t->median);
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
    const dm_range r = dm_split(m->layout.floats, 1024, part, parts);
    for (size_t i = r.begin; i < r.end; i += 1024)
        bench_sink[part % 16] += m->e->k.dot(m->w + i, m->w, r.end - i < 1024 ? r.end - i : 1024);
}

static void measure_pass(bench *b)
{
    double s[SAMPLES_MAX], spent = 0;
    size_t n = 0;
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
    dmpo_error error;
    for (size_t i = 0; i < episodes; i++)
        r[i] = (dmpo_request){.slot = i,
                              .ids = ids[i],
                              .n = n,
                              .out = out[i],
                              .sampling = {.temperature = 0, .top_p = 1, .max_tokens = tokens}};
    if (dmpo_model_generate(b->model, r, episodes, NULL, NULL, &error) != DMPO_OK)
        bench_die(error.message);
}

static void forget(const bench *b)
{
    for (size_t i = 0; i < EPISODES; i++)
        b->model->slot[i].n = 0;
}

/* The time of `tokens` tokens for each episode after n known ones; cold: nothing is known. */
static sampled time_of(const bench *b, size_t episodes, size_t known, size_t n, int64_t tokens)
{
    double s[SAMPLES_MAX], spent = 0;
    size_t count = 0;

    while (count < 3 || (count < SAMPLES_MAX && spent < b->seconds)) {
        for (size_t i = 0; i < EPISODES; i++)
            b->model->slot[i].n = known < b->model->slot[i].n ? known : b->model->slot[i].n;
        const double start = bench_seconds();
        ask(b, episodes, n, tokens);
        spent += s[count] = bench_seconds() - start;
        count++;
    }
    return summary(s, count);
}

static void fill(const bench *b, int same_prompt)
{
    for (size_t i = 0; i < EPISODES; i++)
        for (size_t k = 0; k < sizeof ids[i] / sizeof ids[i][0]; k++)
            ids[i][k] = (int32_t)(((same_prompt ? 0 : i) * 7919 + k * 104729 + k * k) % b->shape->vocab);
}

static void bench_shape_of(bench *b)
{
    const size_t turn = PROMPT + ANSWER + OBSERVATION;
    char text[96];

    measure_pass(b);
    fill(b, 0);
    forget(b);
    sampled t = time_of(b, 1, 0, PROMPT, 1);
    snprintf(text, sizeof text, "prompt of %d tokens", PROMPT);
    line(b, text, &t, PROMPT, 0);

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
    line(b, text, &t, OBSERVATION, 0);
    const sampled cold = time_of(b, 1, 0, turn, 1);
    line(b, "the same, nothing known", &cold, (double)turn, 0);

    t = time_of(b, EPISODES, 0, PROMPT, 1);
    line(b, "8 prompts, all different", &t, EPISODES * PROMPT, 0);
    fill(b, 1);
    t = time_of(b, EPISODES, 0, PROMPT, 1);
    line(b, "8 prompts, all the same", &t, EPISODES * PROMPT, 0);
}

int main(int argc, char **argv)
{
    const char *isa = NULL, *shape = NULL;
    unsigned threads = 0;
    bench b = {.seconds = 1};
    dmpo_error error;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            b.seconds = 0.05;
        else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc)
            shape = argv[++i];
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
    for (size_t i = 0; i < BENCH_SHAPES; i++) {
        char dir[] = "/tmp/dmpo-bench-XXXXXX";
        if (shape ? strcmp(shape, bench_shapes[i].name) != 0 : b.seconds < 1 && i == 2)
            continue; /* --quick leaves the largest out */
        b.shape = &bench_shapes[i];
        b.parameters = bench_model_write(b.shape, dir);
        double s[5];
        for (size_t k = 0; k < 5; k++) {
            const double start = bench_seconds();
            dmpo_model_close(&b.model);
            if (dmpo_model_open(&b.model, b.engine, dir, EPISODES, 1024, &error) != DMPO_OK)
                bench_die(error.message);
            s[k] = bench_seconds() - start;
        }
        const sampled open = summary(s, 5);
        line(&b, "open the model, 8 slots of 1024", &open, 0, 0);
        bench_shape_of(&b);
        dmpo_model_close(&b.model);
        bench_model_remove(dir);
    }
    dmpo_engine_close(&b.engine);
    return 0;
}
