/* The same bits everywhere: trains two small models, SFT and then DMPO on what that gave, and hashes weights, optimizer
 * state and metrics of the four runs. The hash must be the one below for every level of this machine, 1, 2, 3 and 8
 * threads, with and without recomputation, killed and resumed anywhere; so must those of runs with shards and of runs
 * in bf16. tests/tools/repro_matrix.sh repeats that for compilers, optimisation levels, C libraries and architectures.
 *
 *     repro [--isa NAME] [--threads N]
 *
 * Models and data are made here, so this program and the engine alone decide the hash. Training is reached through
 * include/dmpo.h: the program may be linked with libdmpo.so for that and with obj/engine.a for the rest. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cpu.h"
#include "core/files/file.h"
#include "core/numbers/philox.h"
#include "dmpo.h"
#include "io/json.h"
#include "model/formats/tensors.h"
#include "model/network/params.h"
#include "tests/support/check.h"

/* Changes with the numerics contract (docs/numerics.md) only: then say so in CHANGELOG.md. */
static const char expected[] = "7c094a83f4c83141a140eb2d31d9e2418fe1cab6454f1031e3d09a92e43d8434";
static const char expected_shards[] = "093b198282923f3ce4ae599eaff87d01d6c63c30c8971ea22d9c90e85b37d95e";
static const char expected_bf16[] = "4b827392d64413bd48a7e500631c2b2a86ddf916cae4d5ed4954b0c7d7ff7ed8";

#define SEED 2406
#define STEPS 4
#define PATH 4096

typedef struct variant {
    dm_isa isa;
    unsigned threads;
    int recompute;
} variant;

typedef char digest[DM_SHA256_HEX];

static char work[256]; /* directory */

static void in_work(char path[PATH], const char *a, const char *b)
{
    snprintf(path, PATH, "%s/%s%s", work, a, b);
}

/* ---- models: between them biases, q and k norms, grouped queries, a window in one layer, llama3 RoPE, tied and untied
 * heads, sizes that are not a multiple of anything; vocabulary, product depth and sequence beyond one block ---- */

static void make_model(const char *name, const dm_config *c)
{
    char dir[PATH];
    digest hex;
    dm_param_layout layout = {0};
    dm_error err = {0};
    float *w = NULL;

    in_work(dir, name, "");
    dm_status s = dm_param_layout_build(&layout, c, &err);
    if (s == DM_OK && (w = malloc(layout.floats * sizeof *w)) == NULL)
        s = dm_fail(&err, DM_ERR_MEMORY, "no memory");
    if (s == DM_OK) {
        dm_weights_init(w, &layout, SEED, 0.25);
        if ((s = dm_dir_create(dir, &err)) == DM_OK && (s = dm_config_write(c, DM_F32, dir, &err)) == DM_OK)
            s = dm_weights_write(w, &layout, dir, hex, &err);
    }
    CK_MSG(s == DM_OK, "%s: %s", name, err.message);
    free(w);
    dm_param_layout_free(&layout);
}

static void make_models(void)
{
    const dm_config a = {
        .arch = DM_ARCH_QWEN2,
        .hidden = 20,
        .intermediate = 262,
        .layers = 2,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 10,
        .vocab = 2083,
        .max_positions = 512,
        .window = 11,
        .windowed = {0, 1},
        .qkv_bias = true,
        .tied = true,
        .eps = 1e-6,
        .rope_theta = 10000,
        .rope = DM_ROPE_LLAMA3,
        .rope_factor = 4,
        .rope_low = 1,
        .rope_high = 4,
        .rope_original = 24,
        .bos = -1,
        .eos = -1,
    };
    const dm_config b = {
        .arch = DM_ARCH_QWEN3,
        .hidden = 18,
        .intermediate = 23,
        .layers = 3,
        .heads = 3,
        .kv_heads = 1,
        .head_dim = 8,
        .vocab = 101,
        .max_positions = 512,
        .qk_norm = true,
        .eps = 1e-5,
        .rope_theta = 500,
        .bos = -1,
        .eos = -1,
    };
    make_model("a", &a);
    make_model("b", &b);
}

/* ---- data: pre-tokenized pairs ---- */

static uint32_t draw(uint64_t stream, uint64_t *counter, uint32_t low, uint32_t high)
{
    return low + dm_random(SEED, DM_RNG_TEST, stream, (*counter)++).v[0] % (high - low + 1);
}

/* About n tokens. The first `shared` ones and the turns that begin there come from `common`, the others from
 * `stream`. */
static void add_trajectory(dm_text *t, uint64_t common, uint64_t stream, size_t shared, size_t n, uint32_t vocab)
{
    uint64_t token = 0, border = 1000000;
    size_t begin, end = 0, turns = 0;
    dm_text spans = {0};

    do {
        const uint64_t from = end < shared ? common : stream;
        begin = end + draw(from, &border, 1, 8);
        end = begin + draw(from, &border, 1, 5);
        dm_text_print(&spans, "%s[%zu, %zu]", turns++ ? ", " : "", begin, end);
    } while (end < n);
    dm_text_print(t, "{\"turns\": [%s], \"ids\": [", spans.data ? spans.data : "");
    for (size_t i = 0; i < end; i++)
        dm_text_print(t, "%s%u", i ? ", " : "", (unsigned)draw(i < shared ? common : stream, &token, 0, vocab - 1));
    dm_text_print(t, "]}");
    t->failed |= spans.failed;
    dm_text_free(&spans);
}

/* Pairs that share from nothing to most of their tokens; the first has n of them a side, the others fewer and fewer. */
static void make_data(const char *name, size_t pairs, size_t n, uint32_t vocab, uint64_t stream)
{
    char path[PATH];
    dm_text t = {0};
    dm_error err = {0};

    for (size_t i = 0; i < pairs; i++, stream += 3, n /= 2) {
        const size_t shared = n * i / pairs;
        dm_text_print(&t, "{\"id\": \"%s-%zu\", \"chosen\": ", name, i);
        add_trajectory(&t, stream, stream + 1, shared, n, vocab);
        dm_text_print(&t, ", \"rejected\": ");
        add_trajectory(&t, stream, stream + 2, shared, n - n / 4, vocab);
        dm_text_print(&t, "}\n");
    }
    in_work(path, name, ".jsonl");
    CK(!t.failed);
    CK_MSG(dm_file_write(path, t.data, t.size, &err) == DM_OK, "%s", err.message);
    dm_text_free(&t);
}

/* ---- runs ---- */

typedef struct stage {
    const char *name, *model, *data, *eval;
    const char *objective, *shards, *precision;
} stage;

static const stage stages[] = {
    {"a-sft", "a", "a-train", "a-eval", "sft", "1", "f32"},
    {"a-dmpo", "a-sft", "a-train", "a-eval", "dmpo", "1", "f32"},
    {"b-sft", "b", "b-train", "b-eval", "sft", "1", "f32"},
    {"b-kto", "b-sft", "b-train", "b-eval", "dmpo-token", "1", "f32"},
    {"a-shards", "a-sft", "a-train", "a-eval", "dmpo", "3", "f32"},
    {"b-shards", "b-sft", "b-train", "b-eval", "dmpo-token", "2", "f32"},
    {"a-bf16", "a-sft", "a-train", "a-eval", "dmpo", "1", "bf16"},
    {"b-bf16", "b-sft", "b-train", "b-eval", "dmpo-token", "1", "bf16"},
};
#define STAGES (sizeof stages / sizeof *stages)

static const struct {
    const char *name;
    size_t begin, end; /* the stages that it is of */
    const char *expected;
} hashes[] = {{"", 0, 4, expected}, {", shards", 4, 6, expected_shards}, {", bf16", 6, STAGES, expected_bf16}};
#define HASHES (sizeof hashes / sizeof *hashes)

typedef struct ending {
    int resume;     /* what an earlier run left */
    int kill_after; /* steps and evaluations; 0: live */
} ending;

/* Through include/dmpo.h alone, which is why it may be libdmpo.so's training that is checked. */
static dmpo_train_options *options_of(const stage *g, const variant *v, const char *output, ending how)
{
    const bool kto = strcmp(g->objective, "dmpo-token") == 0;
    const char *const values[][2] = {
        {"objective", g->objective},
        {"recompute", v->recompute ? "true" : "false"},
        {"lr", "2e-3"},
        {"batch", g->shards[0] > '1' ? "3" : "2"},
        {"shards", g->shards},
        {"precision", g->precision},
        {"warmup-steps", "2"},
        {"weight-decay", "0.05"},
        {"schedule", "cosine"},
        {"max-grad-norm", "0.5"},
        {"eval-every", "2"},
        {"link", kto ? "kto-pair" : NULL},
        {"gamma", kto ? "0.95" : NULL},
        {"sft-weight", kto ? "0.1" : NULL},
        {"length-normalised", kto ? "true" : NULL},
        {"resume", how.resume ? "true" : "false"},
        {"checkpoint-every", how.resume || how.kill_after ? "1" : "0"},
    };
    const char *const files[][3] = {
        {"model", g->model, ""}, {"data", g->data, ".jsonl"}, {"eval-data", g->eval, ".jsonl"}, {"output", output, ""}};
    dmpo_train_options *o = NULL;
    dmpo_error error = {0};
    char path[PATH];

    CK_MSG(dmpo_train_options_open(&o, &error) == DMPO_OK, "%s", error.message);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        CK_MSG(dmpo_train_options_set(o, values[i][0], values[i][1], &error) == DMPO_OK, "%s", error.message);
    CK_MSG(dmpo_train_options_set_integer(o, "steps", STEPS, &error) == DMPO_OK, "%s", error.message);
    CK_MSG(dmpo_train_options_set_integer(o, "seed", SEED, &error) == DMPO_OK, "%s", error.message);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        in_work(path, files[i][1], files[i][2]);
        CK_MSG(dmpo_train_options_set(o, files[i][0], path, &error) == DMPO_OK, "%s", error.message);
    }
    return o;
}

static int count_down(void *context, const dmpo_event *event)
{
    int *left = context;
    if ((event->kind == DMPO_EVENT_STEP || event->kind == DMPO_EVENT_EVAL) && --*left == 0)
        raise(SIGKILL);
    return 0;
}

static int train(const stage *g, const variant *v, const char *output, ending how)
{
    dmpo_train_options *o = options_of(g, v, output, how);
    dmpo_error error = {0};
    dmpo_engine *e = NULL;

    int status = dmpo_engine_open(&e, dm_isa_name(v->isa), v->threads, &error);
    if (status == DMPO_OK)
        status = dmpo_train(e, o, count_down, &how.kill_after, NULL, &error);
    dmpo_engine_close(&e);
    dmpo_train_options_close(&o);
    return CK_MSG(status == DMPO_OK, "%s: %s", g->name, error.message);
}

/* In a process of its own, which has to die of it. */
static void train_until_killed(const stage *g, const variant *v, const char *output, int events)
{
    int status = 0;

    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        train(g, v, output, (ending){.kill_after = events});
        _exit(1);
    }
    CK_MSG(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
           "%s: was to be killed after %d events, ended with status %d", g->name, events, status);
}

/* metrics.jsonl without what differs from run to run: rate, seconds, memory. */
static void hash_metrics(dm_sha256 *h, const char *path)
{
    char *text = NULL;
    size_t size = 0, lines = 0;
    dm_error err = {0};

    if (!CK_MSG(dm_file_read(path, 1 << 20, &text, &size, &err) == DM_OK, "%s", err.message))
        return;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++) {
        char *rate = strstr(line, ", \"tokens_per_second\":"), *tokens = strstr(line, ", \"tokens\":");
        if (!CK(rate && tokens && rate < tokens && tokens < end))
            break;
        dm_sha256_update(h, line, (size_t)(rate - line));
        dm_sha256_update(h, tokens, (size_t)(end + 1 - tokens));
    }
    CK_MSG(lines == STEPS + 1 + STEPS / 2, "%s has %zu lines", path, lines);
    free(text);
}

static void hash_output(const char *output, digest hex)
{
    static const char *const files[] = {"/model.safetensors", "/checkpoint/model.safetensors",
                                        "/checkpoint/optimizer.safetensors"};
    char path[PATH];
    digest file;
    dm_sha256 h;
    dm_error err = {0};

    dm_sha256_init(&h);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        in_work(path, output, files[i]);
        if (CK_MSG(dm_file_sha256(path, file, &err) == DM_OK, "%s", err.message))
            dm_sha256_update(&h, file, sizeof file - 1);
    }
    in_work(path, output, "/metrics.jsonl");
    hash_metrics(&h, path);
    dm_sha256_finish(&h, hex);
}

/* ---- checks ---- */

static void print_hashes(const variant *v, const digest hex[STAGES])
{
    for (size_t i = 0; i < HASHES; i++) {
        digest whole;
        dm_sha256 h;
        dm_sha256_init(&h);
        for (size_t k = hashes[i].begin; k < hashes[i].end; k++)
            dm_sha256_update(&h, hex[k], sizeof hex[k] - 1);
        dm_sha256_finish(&h, whole);
        printf("%s %s, %u thread%s%s%s\n", whole, dm_isa_name(v->isa), v->threads, v->threads > 1 ? "s" : "",
               v->recompute ? ", recomputing" : "", hashes[i].name);
        CK_MSG(strcmp(whole, hashes[i].expected) == 0,
               "the hash is not %s; if the numerics contract was changed on purpose, put the "
               "new one into tests/unit/model/train/test_repro.c",
               hashes[i].expected);
    }
}

/* The run that all others are compared with stage by stage; it leaves the models that they start from. */
static void run_first(const variant *v, digest want[STAGES])
{
    for (size_t i = 0; i < STAGES; i++)
        if (train(&stages[i], v, stages[i].name, (ending){0}))
            hash_output(stages[i].name, want[i]);
    print_hashes(v, (const digest *)want);
}

static void check_stage(size_t i, const char *how, digest hex, const digest want[STAGES])
{
    char path[PATH];

    hash_output("again", hex);
    CK_MSG(strcmp(hex, want[i]) == 0, "%s%s: %s, not %s", stages[i].name, how, hex, want[i]);
    in_work(path, "again", "");
    CK(dm_dir_remove(path, NULL) == DM_OK);
}

static void check_variant(const variant *v, const digest want[STAGES])
{
    digest hex[STAGES] = {{0}};

    for (size_t i = 0; i < STAGES; i++)
        if (train(&stages[i], v, "again", (ending){0}))
            check_stage(i, "", hex[i], want);
    print_hashes(v, (const digest *)hex);
}

/* Killed as `one`, resumed as `two`. */
static void check_killed(size_t i, int events, const variant *one, const variant *two, const digest want[STAGES])
{
    char how[64];
    digest hex;

    snprintf(how, sizeof how, " killed after %d events and resumed", events);
    train_until_killed(&stages[i], one, "again", events);
    if (train(&stages[i], two, "again", (ending){.resume = 1}))
        check_stage(i, how, hex, want);
}

static int parse(variant *first, int *one_isa, int *one_count, int argc, char **argv)
{
    const char *isa = getenv("DMPO_ISA"), *threads = getenv("DMPO_THREADS");
    dm_error err = {0};
    char *end = "";

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
            isa = argv[++i];
        } else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
            threads = argv[++i];
        } else {
            fprintf(stderr, "usage: repro [--isa NAME] [--threads N]\n");
            return 2;
        }
    }
    *first = (variant){.threads = threads ? (unsigned)strtoul(threads, &end, 10) : 1};
    if (*end || first->threads < 1 || first->threads > 256)
        dm_fail(&err, DM_ERR_ARGUMENT, "--threads '%s' must be 1 to 256", threads);
    else
        dm_isa_choose(&first->isa, isa, &err);
    if (err.status != DM_OK)
        fprintf(stderr, "repro: %s\n", err.message);
    *one_isa = isa != NULL;
    *one_count = threads != NULL;
    return err.status != DM_OK ? 2 : 0;
}

int main(int argc, char **argv)
{
    static const unsigned counts[] = {1, 2, 3, 8};
    const int fast = getenv("DMPO_TEST_FAST") != NULL;
    const char *tmp = getenv("TMPDIR");
    digest want[STAGES] = {{0}};
    variant first, v;
    int one_isa, one_count;

    const int wrong = parse(&first, &one_isa, &one_count, argc, argv);
    if (wrong)
        return wrong;
    snprintf(work, sizeof work, "%s/repro.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!CK_MSG(mkdtemp(work) != NULL, "%s: cannot make a directory", work))
        return ck_done("repro");
    make_models();
    make_data("a-train", 3, 36, 2083, 0);
    make_data("a-eval", 2, 20, 2083, 100);
    make_data("b-train", 3, 290, 101, 200);
    make_data("b-eval", 1, 30, 101, 300);

    run_first(&first, want);
    v = first;
    for (int isa = 0; isa < DM_ISA_COUNT; isa++) {
        if (!dm_isa_usable((dm_isa)isa) || (one_isa && (dm_isa)isa != first.isa))
            continue;
        v.isa = (dm_isa)isa;
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            if (one_count ? i > 0 : fast && counts[i] != 3)
                continue;
            v.threads = one_count ? first.threads : counts[i];
            for (v.recompute = 0; v.recompute < 2; v.recompute++)
                if (v.recompute == (int)(i % 2 + i / 2) % 2 || (!fast && v.isa == first.isa)) /* others take turns */
                    check_variant(&v, (const digest *)want);
        }
    }
    v.recompute = 1;
    for (int events = 1; events <= STEPS + 1 + STEPS / 2; events++)
        for (size_t i = 1; i < STAGES; i += 2)
            if (!fast || (events == 5 && i == 1))
                check_killed(i, events, &v, &first, (const digest *)want);
    CK(dm_dir_remove(work, NULL) == DM_OK);
    return ck_done("repro");
}
