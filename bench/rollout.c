/* How fast a policy explores: tokens per second of episodes of `home`, one at a time and many at once.
 *
 *     rollout [--quick] [--shape 260k|15m|135m] [--isa NAME] [--threads N]
 *
 * Models with seeded weights say nothing that helps, so every episode takes all its turns and every turn all its
 * tokens; the tokenizer is trained on what the environment says. JSON lines on stdout, the same as a table on
 * stderr. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* mkdtemp */
#endif
#include "agent/env/registry.h"
#include "agent/rollout/rollout.h"
#include "bench/shapes.h"
#include "io/data/template.h"

#define VOCABULARY 512
#define MAX_TOKENS 12
#define TURNS 8

/* ---- a tokenizer of the environment's words ---- */

static void gather(dm_text *text)
{
    dm_env *env;
    dm_error err;
    if (dm_env_open(&env, "home", &err) != DM_OK)
        bench_die(err.message);
    for (int64_t task = 0; task < 100; task++) {
        dm_observation o = {0};
        const char *action;
        if (dm_env_reset(env, DM_ENV_SPLIT_TRAIN, task, 0, &o, &err) != DM_OK)
            bench_die(err.message);
        dm_text_print(text, "%s\n%s\n", env->instruction, o.text);
        while (!o.done && (action = env->class->expert(env)) != NULL) {
            dm_text_print(text, "Action: %s\n", action);
            if (dm_env_step(env, action, &o, &err) != DM_OK)
                bench_die(err.message);
            dm_text_print(text, "Observation: %s\n", o.text);
        }
    }
    dm_env_close(&env);
}

static void write_tokenizer(const char *dir)
{
    dm_text text = {0};
    const char *const *specials;
    const size_t n = dm_template_specials(DM_TEMPLATE_PLAIN, &specials);
    dm_tokenizer *t = NULL;
    dm_chat_template c;
    dm_error err = {0};

    gather(&text);
    const char *const texts[] = {text.data};
    if (text.failed ||
        dm_tokenizer_train(&t, texts, &text.size, 1, VOCABULARY, 2, DM_WORD_SPLIT_GPT2, false, specials, n, &err) !=
            DM_OK ||
        dm_template_open(&c, &(dm_template_choice){.name = "plain"}, NULL, t, &err) != DM_OK ||
        dm_tokenizer_save(t, dir, &err) != DM_OK || dm_template_save(&c, t, dir, &err) != DM_OK)
        bench_die(err.message);
    dm_template_close(&c);
    dm_tokenizer_close(&t);
    dm_text_free(&text);
}

/* ---- runs ---- */

typedef struct stopwatch {
    double first, last;
    int64_t tokens; /* between these */
} stopwatch;

static int watch(void *context, const dm_rollout_status *s, const char *note)
{
    stopwatch *c = context;
    (void)note;
    c->last = bench_seconds();
    if (s->tokens == 0)
        c->first = c->last; /* the model is open, nothing is said yet */
    c->tokens = s->tokens;
    return 0;
}

/* Tokens per second; temperature 0: the most probable ones. */
static double run(dmpo_engine *engine, const char *dir, int64_t at_once, int64_t tasks, double temperature)
{
    char output[4096];
    dm_rollout_options o;
    dm_rollout_status status;
    stopwatch c = {0};
    dm_error err;

    snprintf(output, sizeof output, "%s/episodes.jsonl", dir);
    dm_rollout_defaults(&o);
    o.env = "home";
    o.model = dir;
    o.output = output;
    o.overwrite = 1;
    o.tasks = tasks;
    o.at_once = at_once;
    o.temperature = temperature;
    o.max_turns = TURNS;
    o.max_tokens = MAX_TOKENS;
    o.max_length = 1024;
    if (dm_rollout(engine, &o, watch, &c, &status, &err) != DM_OK)
        bench_die(err.message);
    return (double)c.tokens / (c.last - c.first);
}

static void bench_shape_of(dmpo_engine *engine, const bench_shape *shape, const char *machine, int quick)
{
    static const int64_t together[] = {1, 8, 32};
    char dir[] = "/tmp/dmpo-bench-XXXXXX";
    const int runs = quick ? 1 : 3;

    bench_model_write(shape, dir);
    write_tokenizer(dir);
    for (int temperature = 0; temperature < 2; temperature++) {
        double alone = 0;
        for (size_t i = 0; i < sizeof together / sizeof *together; i++) {
            const int64_t n = together[i], tasks = shape->vocab <= 1024 && !quick ? 8 * n : n > 1 || quick ? n : 2;
            double rates[8];
            run(engine, dir, n, tasks, temperature); /* warm */
            for (int k = 0; k < runs; k++)
                rates[k] = run(engine, dir, n, tasks, temperature);
            const sampled rate = summary(rates, (size_t)runs);
            alone = n == 1 ? rate.median : alone;
            printf("{\"bench\":\"rollout\",\"machine\":\"%s\",\"isa\":\"%s\",\"threads\":%u,\"shape\":\"%s\","
                   "\"temperature\":%d,\"at_once\":%lld,\"tokens_per_second\":%.1f,\"low\":%.1f,\"high\":%.1f,"
                   "\"ratio\":%.3f}\n",
                   machine, dmpo_engine_isa(engine), dmpo_engine_threads(engine), shape->name, temperature,
                   (long long)n, rate.median, rate.low, rate.high, rate.median / alone);
            fflush(stdout);
            fprintf(stderr,
                    "%-5s temperature %d, %2lld at once %10.1f tokens/s  (%.0f-%.0f)  %5.2f times one at a time\n",
                    shape->name, temperature, (long long)n, rate.median, rate.low, rate.high, rate.median / alone);
        }
    }
    dm_dir_remove(dir, NULL);
}

int main(int argc, char **argv)
{
    const char *isa = NULL, *shape = NULL;
    unsigned threads = 0;
    int quick = 0;
    char machine[128];
    dmpo_engine *engine;
    dmpo_error error;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--quick") == 0)
            quick = 1;
        else if (strcmp(argv[i], "--shape") == 0 && i + 1 < argc)
            shape = argv[++i];
        else if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            isa = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = (unsigned)strtoul(argv[++i], NULL, 10);
        else
            bench_die("usage: rollout [--quick] [--shape 260k|15m|135m] [--isa NAME] [--threads N]");
    }
    dm_cpu_name(machine, sizeof machine);
    if (dmpo_engine_open(&engine, isa, threads, &error) != DMPO_OK)
        bench_die(error.message);
    fprintf(stderr, "%s, %s, %u threads\n", machine, dmpo_engine_isa(engine), dmpo_engine_threads(engine));
    for (size_t i = 0; i < BENCH_SHAPES; i++)
        if (shape ? strcmp(shape, bench_shapes[i].name) == 0 : i < 2) /* the largest takes minutes */
            bench_shape_of(engine, &bench_shapes[i], machine, quick);
    dmpo_engine_close(&engine);
    return 0;
}
