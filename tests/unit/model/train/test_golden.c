/* Golden cases: every figure of a directory against an independent float64 implementation.
 *
 *     golden [--isa NAME] [--threads N] [--recompute] [DIR ...]        (default: every case in tests/golden)
 *
 * The same figures in bf16 have wider limits, of a format with 8 bits; a gradient's tensors point where they should.
 * DIR holds model/, reference/, case.json and expected.safetensors. One line a figure with its error. Without --isa,
 * the same run under every level of this machine, 1, 2 and 3 threads and with recomputation must give the same bits;
 * DMPO_TEST_FAST=1 leaves that to repro and checkasm. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "model/train/run.h"
#include "tests/support/check.h"

#define TRAINED_LIMIT 2e-3

static const struct {
    double logp, loss, norm, gradient;
    double turned; /* 1 - cosine of a tensor's gradient */
} limits[] = {
    [DM_PRECISION_F32] = {1e-4, 1e-5, 2e-5, 2e-5, 1e-9},
    [DM_PRECISION_BF16] = {0.15, 0.02, 0.03, 0.11, 4e-3},
};

typedef struct golden {
    const char *dir;
    char model[4096], reference[4096], data[4096];
    dm_json_doc *doc;
    dm_st *expected;
    const dm_engine *e;
    int recompute, quiet; /* quiet: only the hash */
    dm_precision precision;
    dm_sha256 hash;
} golden;

static void figure(const golden *g, const char *what, double error, double limit)
{
    if (!g->quiet)
        printf("%s: %s%-58s %.3e (limit %.0e)%s\n", g->dir, g->precision ? "bf16 " : "", what, error, limit,
               error <= limit ? "" : "  FAILED");
    CK_MSG(error <= limit, "%s: %s: error %g above %g", g->dir, what, error, limit);
}

static double number(const dm_json *v, const char *key, double fallback)
{
    const dm_json *x = dm_json_get(v, key);
    return x && x->type == DM_JSON_NUMBER ? x->number : fallback;
}

static int choice(const dm_json *v, const char *key, const char *const *names, int fallback)
{
    for (int i = 0; names[i]; i++)
        if (dm_json_is(dm_json_get(v, key), names[i]))
            return i;
    return fallback;
}

/* Options of one entry of case.json's "losses". */
static dm_train_options options_of(const golden *g, const dm_json *loss, const char *reference)
{
    static const char *const methods[] = {"sft", "dmpo", "dmpo-token", "dpo", NULL};
    static const char *const links[] = {"sigmoid", "robust", "hinge", "ipo", "kto-pair", NULL};
    dm_train_options o;
    dm_train_defaults(&o, (dm_objective_kind)choice(loss, "method", methods, DM_OBJECTIVE_DMPO));
    o.link = (dm_loss_link)choice(loss, "link", links, DM_LINK_SIGMOID);
    o.beta = number(loss, "beta", 0.1);
    o.gamma = number(loss, "gamma", 0.7);
    o.label_smoothing = number(loss, "label_smoothing", 0);
    o.model = g->model;
    o.reference = reference;
    o.data = g->data;
    o.shuffle = 0;
    o.recompute = g->recompute;
    o.precision = g->precision;
    return o;
}

static int open_run(golden *g, dm_run *r, const dm_train_options *o)
{
    dm_error err = {0};
    dm_status s = dm_run_open(r, g->e, o, NULL, NULL, &err);
    if (s == DM_OK)
        s = dm_run_place(r, &err);
    if (s == DM_OK)
        s = dm_run_reference(r, &err);
    return CK_MSG(s == DM_OK, "%s: %s", g->dir, err.message);
}

static void check_logps(golden *g, const char *reference, const char *key)
{
    const dm_json *pair = dm_json_get(dm_json_root(g->doc), "pairs")->child;
    const dm_train_options o = options_of(g, NULL, reference);
    double worst = 0;
    dm_run r;

    if (open_run(g, &r, &o))
        for (size_t i = 0; i < r.train.data.n && pair; i++, pair = pair->next)
            for (int s = 0; s < 2; s++) {
                const dm_json *want = dm_json_get(dm_json_get(pair, s ? "rejected" : "chosen"), key);
                const float *got = r.train.reference.logp + r.train.reference.begin[2 * i + (size_t)s];
                for (want = want->child; want; want = want->next, got++)
                    worst = fmax(worst, fabs((double)*got - want->number));
            }
    figure(g, key, worst, limits[g->precision].logp);
    dm_run_close(&r);
}

/* ||got - want - base|| / ||want - base||; base NULL: zero. */
static double distance(const float *got, const double *want, const float *base, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        const double b = base ? (double)base[i] : 0.0, d = (double)got[i] - want[i];
        difference += d * d;
        size += (want[i] - b) * (want[i] - b);
    }
    return size > 0 ? sqrt(difference / size) : sqrt(difference);
}

/* 1 - the cosine of the angle between the two; 0 where one of them is 0 throughout. */
static double turned(const float *got, const double *want, size_t n)
{
    double dot = 0, a = 0, b = 0;
    for (size_t i = 0; i < n; i++) {
        dot += (double)got[i] * want[i];
        a += (double)got[i] * (double)got[i];
        b += want[i] * want[i];
    }
    return a > 0 && b > 0 ? 1 - dot / sqrt(a * b) : 0;
}

/* Compares every tensor with "<prefix><name>" of expected.safetensors. */
static void check_tensors(golden *g, const dm_run *r, const char *prefix, const float *got, const float *base,
                          double limit)
{
    for (size_t i = 0; i < r->models.trained_layout->n; i++) {
        const dm_tensor *t = &r->models.trained_layout->tensors[i];
        char name[256];
        dm_error err = {0};
        snprintf(name, sizeof name, "%s%s", prefix, t->name);
        dm_sha256_update(&g->hash, got + t->offset, t->rows * t->cols * sizeof *got);
        const dm_st_tensor *want = dm_st_find(g->expected, name);
        if (!CK_MSG(want && want->count == t->rows * t->cols, "%s: %s is not in expected.safetensors", g->dir, name))
            continue;
        double *values = malloc((size_t)want->count * sizeof *values);
        if (CK_MSG(values && dm_st_read_f64(g->expected, want, values, &err) == DM_OK, "%s", err.message)) {
            figure(g, name, distance(got + t->offset, values, base ? base + t->offset : NULL, t->rows * t->cols),
                   limit);
            if (!base && !g->quiet)
                figure(g, "1 - cosine of it", turned(got + t->offset, values, t->rows * t->cols),
                       limits[g->precision].turned);
        }
        free(values);
    }
}

static int has_gradients(const golden *g, const char *prefix)
{
    const size_t n = strlen(prefix);
    for (size_t i = 0; i < dm_st_count(g->expected); i++)
        if (strncmp(dm_st_at(g->expected, i)->name, prefix, n) == 0)
            return 1;
    return 0;
}

static double relative(double got, double want)
{
    return fabs(got - want) / fmax(fabs(want), 1e-12);
}

static void check_loss(golden *g, const dm_json *loss)
{
    const char *name = dm_json_get(loss, "name")->text;
    const dm_train_options o = options_of(g, loss, g->reference);
    char what[300];
    dmpo_metrics m = {0};
    dm_error err = {0};
    dm_run r;

    if (open_run(g, &r, &o)) {
        for (size_t i = 0; i < r.train.data.n; i++)
            r.memory.order[i] = (uint32_t)i;
        const dm_status s = dm_run_gradient(&r, r.memory.order, r.train.data.n, &m, &err);
        const dm_gradient gradient = dm_run_gradient_at(&r);
        CK_MSG(s == DM_OK, "%s: %s", g->dir, err.message);
        snprintf(what, sizeof what, "loss %s", name);
        figure(g, what, relative(m.loss, number(loss, "loss", NAN)), limits[g->precision].loss);
        snprintf(what, sizeof what, "grad_norm %s", name);
        figure(g, what, relative(dm_grad_norm(g->e, &gradient, r.memory.norm_partial), number(loss, "grad_norm", NAN)),
               limits[g->precision].norm);
        snprintf(what, sizeof what, "grad.%s.", name);
        if (has_gradients(g, what))
            check_tensors(g, &r, what, r.memory.gradient, NULL, limits[g->precision].gradient);
    }
    dm_run_close(&r);
}

static const dm_json *loss_named(const golden *g, const char *name)
{
    const dm_json *l = dm_json_get(dm_json_root(g->doc), "losses")->child;
    while (l && !dm_json_is(dm_json_get(l, "name"), name))
        l = l->next;
    return l;
}

static void check_training(golden *g)
{
    const dm_json *t = dm_json_get(dm_json_root(g->doc), "training"), *betas = dm_json_get(t, "betas");
    dm_train_options o = options_of(g, loss_named(g, dm_json_get(t, "loss")->text), g->reference);
    const dm_json *history = dm_json_get(t, "history")->child;
    float *start = NULL;
    dm_run r;

    o.steps = (int64_t)number(t, "steps", 0);
    o.lr = number(t, "lr", 0);
    o.max_grad_norm = number(t, "max_grad_norm", 0);
    o.warmup_steps = (int64_t)number(t, "warmup_steps", 0);
    o.weight_decay = number(t, "weight_decay", 0);
    o.eps = number(t, "eps", 1e-8);
    o.beta1 = betas->child->number;
    o.beta2 = betas->child->next->number;
    if (open_run(g, &r, &o)) {
        start = malloc(r.models.trained_layout->floats * sizeof *start);
        if (CK(start != NULL))
            memcpy(start, r.memory.trained, r.models.trained_layout->floats * sizeof *start);
        for (int64_t s = 0; s < r.steps && start && history; s++, history = history->next) {
            char what[64];
            dmpo_metrics m;
            dm_error err = {0};
            CK_MSG(dm_run_step(&r, s, &m, &err) == DM_OK, "%s: %s", g->dir, err.message);
            snprintf(what, sizeof what, "training step %lld loss", (long long)s + 1);
            figure(g, what, relative(m.loss, number(history, "loss", NAN)), TRAINED_LIMIT);
            snprintf(what, sizeof what, "training step %lld lr", (long long)s + 1);
            figure(g, what, relative(m.lr, number(history, "lr", NAN)), 1e-12);
        }
        if (start)
            check_tensors(g, &r, "trained.", r.memory.trained, start, TRAINED_LIMIT);
    }
    free(start);
    dm_run_close(&r);
}

/* All figures of one case; `hex` receives the hash of every gradient and trained tensor. */
static void run_case(golden *g, char hex[DM_SHA256_HEX])
{
    dm_error err = {0};
    char path[4096];

    dm_sha256_init(&g->hash);
    snprintf(g->model, sizeof g->model, "%s/model", g->dir);
    snprintf(g->data, sizeof g->data, "%s/case.json", g->dir);
    snprintf(path, sizeof path, "%s/expected.safetensors", g->dir);
    if (CK_MSG(dm_json_read(&g->doc, g->data, &err) == DM_OK && dm_st_open(&g->expected, path, &err) == DM_OK, "%s",
               err.message)) {
        const dm_json *reference = dm_json_get(dm_json_root(g->doc), "reference"); /* of an adapter's case: its base */
        snprintf(g->reference, sizeof g->reference, "%s/%s", g->dir, reference ? reference->text : "reference");
        check_logps(g, NULL, "logps");
        check_logps(g, g->reference, "reference_logps");
        for (const dm_json *l = dm_json_get(dm_json_root(g->doc), "losses")->child; l; l = l->next)
            check_loss(g, l);
        if (g->precision == DM_PRECISION_F32)
            check_training(g);
    }
    dm_json_close(&g->doc);
    dm_st_close(&g->expected);
    dm_sha256_finish(&g->hash, hex);
}

static void run_with(const char *dir, dm_precision precision, dm_isa isa, unsigned threads, int recompute, int quiet,
                     char hex[DM_SHA256_HEX])
{
    dm_engine e = {0};
    dm_error err = {0};
    golden g = {.dir = dir, .e = &e, .recompute = recompute, .quiet = quiet, .precision = precision};
    hex[0] = 0;
    if (CK_MSG(dm_engine_open(&e, isa, threads, &err) == DM_OK, "%s", err.message))
        run_case(&g, hex);
    dm_engine_close(&e);
}

static void same_bits(const char *dir, const char *want)
{
    for (int isa = 0; isa < DM_ISA_COUNT; isa++) {
        if (!dm_isa_usable((dm_isa)isa))
            continue;
        for (unsigned threads = 1; threads <= 3; threads += 2) {
            char hex[DM_SHA256_HEX];
            const int recompute = threads == 3;
            run_with(dir, DM_PRECISION_F32, (dm_isa)isa, threads, recompute, 1, hex);
            printf("%s: %s, %u threads%s: %s\n", dir, dm_isa_name((dm_isa)isa), threads, recompute ? ", recompute" : "",
                   hex);
            CK_MSG(strcmp(hex, want) == 0, "%s: other bits than %s", dir, want);
        }
    }
}

int main(int argc, char **argv)
{
    static const char *const own[] = {"golden/llama-tied-gqa",  "golden/llama-untied-mha",
                                      "golden/mistral-window",  "golden/qwen2-bias",
                                      "golden/qwen3-qknorm",    "golden/gemma3",
                                      "golden/smollm3-nope",    "golden/llama-yarn-bias",
                                      "golden-lora/llama-all",  "golden-lora/qwen2-stabilised",
                                      "golden-lora/qwen3-some", "golden-lora/gemma3-all"};
    enum { OWN = sizeof own / sizeof *own };
    const char *dirs[256], *isa_name = NULL, *src = getenv("SRC");
    char paths[OWN][4096], hex[DM_SHA256_HEX];
    unsigned threads = 2;
    int n = 0, recompute = 0;
    dm_isa isa;
    dm_error err = {0};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--isa") == 0 && i + 1 < argc)
            isa_name = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            threads = (unsigned)atoi(argv[++i]);
        else if (strcmp(argv[i], "--recompute") == 0)
            recompute = 1;
        else if (argv[i][0] == '-' || n == 256) {
            fprintf(stderr,
                    "golden: unknown option '%s'; usage: golden [--isa NAME] [--threads N] [--recompute] [DIR ...]\n",
                    argv[i]);
            return 2;
        } else
            dirs[n++] = argv[i];
    }
    if (dm_isa_choose(&isa, isa_name, &err) != DM_OK) {
        fprintf(stderr, "golden: %s\n", err.message);
        return 2;
    }
    for (int i = 0; n == 0 || (i < OWN && n < OWN && dirs[0] == paths[0]); i++) {
        snprintf(paths[i], sizeof paths[i], "%s/tests/%s", src ? src : ".", own[i]);
        dirs[i] = paths[i];
        n = i + 1;
    }
    for (int i = 0; i < n; i++) {
        run_with(dirs[i], DM_PRECISION_BF16, isa, threads, recompute, 0, hex);
        run_with(dirs[i], DM_PRECISION_F32, isa, threads, recompute, 0, hex);
        printf("%s: %s, %u threads%s: %s\n", dirs[i], dm_isa_name(isa), threads, recompute ? ", recompute" : "", hex);
        if (!isa_name && !recompute && !getenv("DMPO_TEST_FAST"))
            same_bits(dirs[i], hex);
    }
    return ck_done("golden");
}
