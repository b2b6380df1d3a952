/* Training runs as a whole: the same bits for every number of threads, with recomputation and after a stop at any step;
 * what a batch means; what a step does to the weights; non-finite losses; what is reported about the data. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/numbers/philox.h"
#include "dmpo.h"
#include "model/api.h"
#include "model/train/run.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

static dm_train_options options(const char *output)
{
    dm_train_options o;
    dm_train_defaults(&o, DM_OBJECTIVE_DMPO);
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("eval.jsonl");
    o.output = output;
    o.lr = 1e-2;
    o.batch = 3;
    o.steps = 9; /* 11 pairs: two epochs of 3, 3, 3 and 2, and one step more */
    o.eval_every = 2;
    o.weight_decay = 0.01;
    o.schedule = DM_SCHEDULE_COSINE;
    o.warmup_steps = 3;
    return o;
}

/* ---- the same bits ---- */

static outcome base;

static void run_base(void)
{
    const dm_train_options o = options(at("base"));
    base = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(base.status == DMPO_OK, "%s", base.message);
    CK(base.result.steps == 9);
    CK(base.result.before.step == 0 && base.result.after.step == 9);
    char hex[DM_SHA256_HEX];
    CK(dm_file_sha256(at("base/model.safetensors"), hex, NULL) == DM_OK &&
       strcmp(hex, base.result.weights_sha256) == 0);
}

static void same_as_base(const dm_train_options *o, unsigned threads, const char *what)
{
    const outcome got = train(o, NULL, threads, NULL, NULL);
    CK_MSG(got.status == DMPO_OK, "%s: %s", what, got.message);
    CK_MSG(strcmp(got.result.weights_sha256, base.result.weights_sha256) == 0, "%s: other weights", what);
    check_same_run(at("base"), o->output, what);
    dm_dir_remove(o->output, NULL);
}

static void same_bits(void)
{
    static const unsigned counts[] = {1, 2, 3, 8};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        for (int recompute = 0; recompute < 2; recompute++) {
            char what[64];
            dm_train_options o = options(at("other"));
            o.recompute = recompute;
            snprintf(what, sizeof what, "%u threads%s", counts[i], recompute ? ", recomputed" : "");
            same_as_base(&o, counts[i], what);
        }
    /* The order of the data is part of the result: a test that cannot tell runs apart would not see this. */
    dm_train_options o = options(at("other"));
    o.seed = 1;
    const outcome got = train(&o, NULL, 1, NULL, NULL);
    CK(got.status == DMPO_OK && strcmp(got.result.weights_sha256, base.result.weights_sha256) != 0);
    dm_dir_remove(at("other"), NULL);
}

/* ---- stop and resume ---- */

typedef struct stopper {
    dmpo_event_kind kind; /* stop at the n-th event of this kind */
    int n;
    char resumed[128]; /* the note that says where a run continues */
} stopper;

static int stop_at(void *context, const dmpo_event *event)
{
    stopper *s = context;
    if (event->kind == DMPO_EVENT_NOTE && strncmp(event->text, "resumed", 7) == 0)
        snprintf(s->resumed, sizeof s->resumed, "%s", event->text);
    return event->kind == s->kind && s->n-- == 1;
}

static void resume_after(dmpo_event_kind kind, int n, unsigned threads)
{
    char what[64], note[128];
    stopper first = {.kind = kind, .n = n}, second = {.kind = DMPO_EVENT_STEP, .n = 0};
    dm_train_options o = options(at("other"));
    snprintf(what, sizeof what, "stopped at event %d.%d", (int)kind, n);

    outcome got = train(&o, NULL, threads, stop_at, &first);
    CK_MSG(got.status == DMPO_ERR_INTERRUPTED, "%s: %s", what, got.message);
    CK_MSG(!dm_file_exists(at("other/model.safetensors")), "%s: wrote a model", what);
    const long long done = (long long)got.result.steps;
    if (kind == DMPO_EVENT_STEP)
        CK_MSG(done == n, "%s: %lld steps", what, done);

    o.resume = 1;
    got = train(&o, NULL, 3, stop_at, &second);
    CK_MSG(got.status == DMPO_OK, "%s: %s", what, got.message);
    snprintf(note, sizeof note, "resumed after step %lld of 9, from checkpoint", done);
    CK_MSG(strcmp(second.resumed, done ? note : "") == 0, "%s: '%s'", what, second.resumed);
    check_same_run(at("base"), at("other"), what);
    CK_MSG(same_metrics(&got.result.before, &base.result.before), "%s: before", what);
    CK_MSG(same_metrics(&got.result.after, &base.result.after), "%s: after", what);
    dm_dir_remove(at("other"), NULL);
}

static void resume(void)
{
    for (int n = 1; n <= 9; n++)
        resume_after(DMPO_EVENT_STEP, n, 1 + (unsigned)n % 3);
    for (int n = 1; n <= 3; n++) /* before the first step, after the second, after the fourth */
        resume_after(DMPO_EVENT_EVAL, n, 2);
    resume_after(DMPO_EVENT_PROGRESS, 3, 1); /* the reference policy: nothing is done yet */
}

/* A finished run resumed changes nothing and says the same. */
static void resume_finished(void)
{
    dm_train_options o = options(at("other"));
    CK(train(&o, NULL, 1, NULL, NULL).status == DMPO_OK);
    o.resume = 1;
    const outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_OK && got.result.steps == 9, "%s", got.message);
    CK(same_metrics(&got.result.before, &base.result.before) && same_metrics(&got.result.after, &base.result.after));
    CK(strcmp(got.result.weights_sha256, base.result.weights_sha256) == 0);
    check_same_run(at("base"), at("other"), "finished and resumed");
}

/* What must not be resumed: another run's checkpoint, a damaged one. `other` holds a finished run. */
static void refuse_resume(void)
{
    dm_train_options o = options(at("other"));
    o.resume = 1;
    o.lr = 2e-2;
    outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, "belongs to a run with other options"), "%s",
           got.message);
    CK(same_figures(at("other/metrics.jsonl"), at("base/metrics.jsonl")));

    o.lr = 1e-2;
    FILE *f = fopen(at("other/checkpoint/optimizer.safetensors"), "r+");
    CK(f && fseek(f, -1, SEEK_END) == 0 && fputc(0x55, f) == 0x55 && fclose(f) == 0);
    got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, "optimizer.safetensors: the checksum differs"), "%s",
           got.message);
    CK(same_figures(at("other/metrics.jsonl"), at("base/metrics.jsonl")));
    dm_dir_remove(at("other"), NULL);

    o.resume = 0;
    CK(train(&o, NULL, 1, NULL, NULL).status == DMPO_OK);
    CK(truncate(at("other/metrics.jsonl"), 100) == 0);
    o.resume = 1;
    got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, "metrics.jsonl has 100 bytes"), "%s", got.message);
    dm_dir_remove(at("other"), NULL);
}

/* ---- batches and updates ---- */

static int open_run(dm_run *r, dmpo_engine **engine, const dm_train_options *o)
{
    dm_error err = {.status = DM_OK};
    dmpo_error error = {0};
    CK(dmpo_engine_open(engine, NULL, 2, &error) == DMPO_OK);
    dm_status s = dm_run_open(r, &(*engine)->e, o, NULL, NULL, &err);
    if (s == DM_OK)
        s = dm_run_place(r, &err);
    if (s == DM_OK)
        s = dm_run_reference(r, &err);
    return CK_MSG(s == DM_OK, "%s", err.message);
}

static void close_run(dm_run *r, dmpo_engine **engine)
{
    dm_run_close(r);
    dmpo_engine_close(engine);
}

/* Moves the policy away from the reference, so that rewards and derivatives are not those of the start. */
static void disturb(dm_run *r)
{
    for (size_t i = 0; i < r->models.layout.n; i++) {
        const dm_tensor *t = &r->models.layout.tensors[i];
        for (size_t j = 0; j < t->rows * t->cols; j++)
            r->memory.weights[t->offset + j] += (float)(0.05 * dm_random_normal(3, DM_RNG_TEST, i, j));
    }
}

/* The loss of a batch is the mean over its pairs (sft: over its action tokens), and so is the gradient. */
static void batch_is_mean(dm_objective_kind objective)
{
    static const uint32_t items[] = {4, 0, 7, 2, 9};
    enum { N = 5 };
    dm_train_options o = options(NULL);
    dmpo_engine *engine = NULL;
    dm_run r;
    dmpo_metrics one, all;

    o.objective = objective;
    if (open_run(&r, &engine, &o)) {
        const size_t n = r.models.layout.floats;
        double *sum = calloc(n, sizeof *sum), loss = 0, tokens = 0;
        disturb(&r);
        for (int i = 0; i < N && sum; i++) {
            CK(dm_run_gradient(&r, &items[i], 1, &one, NULL) == DM_OK);
            const double weight = objective == DM_OBJECTIVE_SFT ? (double)one.action_tokens : 1.0;
            loss += weight * one.loss;
            tokens += weight;
            for (size_t j = 0; j < n; j++)
                sum[j] += weight * (double)r.memory.gradient[j];
        }
        CK(dm_run_gradient(&r, items, N, &all, NULL) == DM_OK);
        CK_MSG(fabs(all.loss - loss / tokens) <= 1e-12 * fabs(all.loss), "loss %.17g, mean of single ones %.17g",
               all.loss, loss / tokens);
        double difference = 0, size = 0;
        for (size_t j = 0; j < n && sum; j++) {
            const double d = (double)r.memory.gradient[j] - sum[j] / tokens;
            difference += d * d;
            size += (double)r.memory.gradient[j] * (double)r.memory.gradient[j];
        }
        CK_MSG(size > 0 && sqrt(difference / size) < 1e-5, "gradient: relative difference %g", sqrt(difference / size));
        free(sum);
    }
    close_run(&r, &engine);
}

/* dm_run_step against AdamW in f64 on the gradient of the same batch: warm-up, clipping by the global norm, weight
 * decay of every tensor. */
static void step_is_adamw(void)
{
    dm_train_options o = options(NULL);
    dmpo_engine *engine = NULL;
    dm_run r;
    o.max_grad_norm = 0.05; /* every gradient here is longer */
    o.weight_decay = 0.1;
    if (open_run(&r, &engine, &o)) {
        const size_t n = r.models.layout.floats;
        double *w = calloc(3 * n, sizeof *w), *m = w + n, *v = m + n;
        for (int64_t step = 0; step < 5 && CK(w != NULL); step++) {
            dmpo_metrics out;
            for (size_t i = 0; i < n; i++)
                w[i] = (double)r.memory.weights[i];
            if (!CK(dm_run_step(&r, step, &out, NULL) == DM_OK))
                break;
            double square = 0, worst = 0;
            for (size_t i = 0; i < n; i++)
                square += (double)r.memory.gradient[i] * (double)r.memory.gradient[i];
            CK_MSG(fabs(out.grad_norm - sqrt(square)) <= 1e-6 * out.grad_norm, "grad_norm %g, expected %g",
                   out.grad_norm, sqrt(square));
            CK(out.grad_norm > o.max_grad_norm);
            const double lr =
                step < 3 ? o.lr * (double)(step + 1) / 3 : o.lr * (1 + cos(acos(-1.0) * (double)(step - 3) / 6)) / 2;
            CK_MSG(fabs(out.lr - lr) <= 1e-12, "step %lld: lr %g, expected %g", (long long)step, out.lr, lr);
            for (size_t i = 0; i < n; i++) {
                const double g = (double)r.memory.gradient[i] * o.max_grad_norm / sqrt(square);
                m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
                v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
                const double mean = m[i] / (1 - pow(o.beta1, (double)(step + 1)));
                const double root = sqrt(v[i] / (1 - pow(o.beta2, (double)(step + 1))));
                w[i] -= lr * (o.weight_decay * w[i] + mean / (root + o.eps));
                worst = fmax(worst, fabs(w[i] - (double)r.memory.weights[i]));
            }
            CK_MSG(worst < 5e-6, "step %lld: a weight is %g away from f64 AdamW", (long long)step, worst);
        }
        free(w);
    }
    close_run(&r, &engine);
}

/* An epoch takes every item once, its last batch what is left; the next one in another order. */
static void epochs(void)
{
    static const int64_t batches[] = {3, 3, 3, 2};
    dm_train_options o = options(NULL);
    dmpo_engine *engine = NULL;
    dm_run r;
    int64_t total = 0;
    uint32_t first[16];
    if (open_run(&r, &engine, &o)) {
        for (size_t i = 0; i < r.train.data.n; i++)
            total += (int64_t)(r.train.data.items[i].chosen.n + r.train.data.items[i].rejected.n);
        for (int64_t epoch = 0; epoch < 2; epoch++) {
            int64_t tokens = 0;
            dmpo_metrics out;
            for (int64_t b = 0; b < 4; b++) {
                CK(dm_run_step(&r, 4 * epoch + b, &out, NULL) == DM_OK);
                int64_t want = 0;
                for (int64_t j = 3 * b; j < 3 * b + batches[b]; j++)
                    want += (int64_t)(r.train.data.items[r.memory.order[j]].chosen.n +
                                      r.train.data.items[r.memory.order[j]].rejected.n);
                CK_MSG(out.tokens == want, "batch %lld has %lld tokens, expected %lld", (long long)b,
                       (long long)out.tokens, (long long)want);
                CK(out.epoch == (double)(4 * epoch + b + 1) / 4);
                tokens += out.tokens;
            }
            CK_MSG(tokens == total, "epoch %lld has %lld tokens of %lld", (long long)epoch, (long long)tokens,
                   (long long)total);
            if (epoch == 0)
                memcpy(first, r.memory.order, r.train.data.n * sizeof *first);
            else
                CK(memcmp(first, r.memory.order, r.train.data.n * sizeof *first) != 0);
        }
    }
    close_run(&r, &engine);
}

/* ---- not finite ---- */

/* One weight that only one pair reads is infinite: that pair is named, no weight, moment or metric changes. */
static void nonfinite_loss(void)
{
    dm_train_options o = options(NULL);
    dmpo_engine *engine = NULL;
    dm_error err = {.status = DM_OK};
    dm_run r;
    o.model = at("untied");
    o.data = at("marked.jsonl"); /* only "pair 5" holds the last token id */
    o.eval_data = NULL;
    o.batch = 11;
    if (open_run(&r, &engine, &o)) {
        const size_t bytes = r.models.layout.floats * sizeof(float);
        float *before = malloc(3 * bytes);
        dmpo_metrics out;
        CK(dm_run_step(&r, 0, &out, NULL) == DM_OK); /* so that the moments are not zero */
        r.memory.weights[r.models.layout.embed->offset + (VOCAB - 1) * r.models.config.hidden] = INFINITY;
        memcpy(before, r.memory.weights, bytes);
        memcpy(before + r.models.layout.floats, r.memory.adam_m, bytes);
        memcpy(before + 2 * r.models.layout.floats, r.memory.adam_v, bytes);
        const dm_status s = dm_run_step(&r, 1, &out, &err);
        CK_MSG(s == DM_ERR_NONFINITE && strstr(err.message, "step 2: the loss is NaN at item 'pair 5'") != NULL,
               "%d %s", (int)s, err.message);
        CK(memcmp(before, r.memory.weights, bytes) == 0);
        CK(memcmp(before + r.models.layout.floats, r.memory.adam_m, bytes) == 0);
        CK(memcmp(before + 2 * r.models.layout.floats, r.memory.adam_v, bytes) == 0);
        free(before);
    }
    close_run(&r, &engine);
}

/* Through the front door: a learning rate that blows up, and a beta whose gradient overflows. */
static void nonfinite_run(void)
{
    dm_train_options o = options(at("other"));
    o.lr = 1e30;
    o.warmup_steps = 0;
    o.checkpoint_every = 1;
    o.eval_data = NULL;
    outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_ERR_NONFINITE && strstr(got.message, "step 2:") && strstr(got.message, "'pair ") &&
               strstr(got.message, "not touched"),
           "%d %s", got.status, got.message);
    CK(!dm_file_exists(at("other/model.safetensors")));
    CK(dm_file_exists(at("other/checkpoint/state.json"))); /* of the step before */
    dm_dir_remove(at("other"), NULL);

    o = options(at("other"));
    o.beta = 1e60;
    o.eval_data = NULL;
    got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_ERR_NONFINITE && strstr(got.message, "gradient is not finite") &&
               strstr(got.message, "'pair "),
           "%d %s", got.status, got.message);
    CK(!dm_dir_exists(at("other/checkpoint")));
    dm_dir_remove(at("other"), NULL);
}

/* ---- what is said about the data ---- */

static int collect(void *context, const dmpo_event *event)
{
    char *notes = context;
    if (event->kind == DMPO_EVENT_NOTE)
        snprintf(notes + strlen(notes), 4096 - strlen(notes), "%s\n", event->text);
    return 0;
}

static void reports(void)
{
    char notes[4096] = "";
    dm_train_options o = options(at("other"));
    FILE *f = fopen(at("mixed.jsonl"), "w");
    CK(f != NULL);
    fputs("{\"id\": \"good\", \"chosen\": {\"ids\": [1, 2, 3, 4, 5, 6, 7, 8], \"turns\": [[2, 4], [6, 8]]},"
          " \"rejected\": {\"ids\": [1, 2, 9, 9], \"turns\": [[2, 4]]}}\n"
          "{\"id\": \"no turns\", \"chosen\": {\"ids\": [1, 2, 3], \"turns\": []},"
          " \"rejected\": {\"ids\": [1, 2, 4], \"turns\": [[2, 3]]}}\n"
          "{\"id\": \"late\", \"chosen\": {\"ids\": [1, 2, 3, 4, 5, 6, 7, 8], \"turns\": [[6, 8]]},"
          " \"rejected\": {\"ids\": [1, 2, 9, 9], \"turns\": [[2, 4]]}}\n",
          f);
    fclose(f);
    o.data = at("mixed.jsonl");
    o.eval_data = NULL;
    o.max_length = 7; /* cuts good's second turn, leaves late's chosen side without any */
    outcome got = train(&o, NULL, 1, collect, notes);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, "mixed.jsonl:2:") && strstr(got.message, "\"no turns\""),
           "%d %s", got.status, got.message);
    CK(!dm_dir_exists(at("other")));

    notes[0] = 0;
    o.skip_invalid = 1;
    got = train(&o, NULL, 1, collect, notes);
    CK_MSG(got.status == DMPO_OK, "%s", got.message);
    CK_MSG(strstr(notes, "1 items, 8 tokens, 4 of them actions, longest 4\n") != NULL, "%s", notes);
    CK_MSG(strstr(notes, "1 items cut to `max-length` 7 (4 tokens and 1 turns left out)\n") != NULL, "%s", notes);
    CK_MSG(strstr(notes, "2 items skipped as invalid, the first: ") && strstr(notes, "no turns"), "%s", notes);
    dm_dir_remove(at("other"), NULL);

    o.max_length = 4; /* chosen of "good" keeps its first turn only */
    o.data = at("late.jsonl");
    f = fopen(o.data, "w");
    CK(f != NULL);
    fputs("{\"id\": 12, \"chosen\": {\"ids\": [1, 2, 3, 4, 5, 6, 7, 8], \"turns\": [[6, 8]]},"
          " \"rejected\": {\"ids\": [1, 2, 9, 9], \"turns\": [[2, 4]]}}\n",
          f);
    fclose(f);
    got = train(&o, NULL, 1, collect, notes);
    CK_MSG(got.status == DMPO_ERR_INPUT && strstr(got.message, "all 1 items are invalid") &&
               strstr(got.message, "no action is left"),
           "%d %s", got.status, got.message);
}

int main(void)
{
    dm_config untied = small_shape;
    work_open();
    untied.tied = false;
    make_model(at("model"), &small_shape);
    make_model(at("untied"), &untied);
    make_pairs(at("pairs.jsonl"), 1, 11, 4, 2, VOCAB, -1);
    make_pairs(at("eval.jsonl"), 2, 5, 4, 2, VOCAB, -1);
    make_pairs(at("marked.jsonl"), 3, 11, 4, 2, VOCAB - 1, 5);
    run_base();
    same_bits();
    resume();
    resume_finished();
    refuse_resume();
    batch_is_mean(DM_OBJECTIVE_DMPO);
    batch_is_mean(DM_OBJECTIVE_DPO);
    batch_is_mean(DM_OBJECTIVE_SFT);
    step_is_adamw();
    epochs();
    nonfinite_loss();
    nonfinite_run();
    reports();
    work_close();
    return ck_done("train");
}
