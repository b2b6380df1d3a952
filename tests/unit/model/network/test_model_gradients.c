/* Losses and whole models against finite differences of the same in f64 (tests/support/gradients.h).
 *
 * Losses: what dm_objective_pair gives each prediction of a packed pair, for every objective, link and form of phi,
 * against the derivative of the batch's mean loss with respect to that prediction's log-probability. Models: the
 * gradient of the loss with respect to every parameter, for each architecture; the reference runs each trajectory by
 * itself, so that packing, shared prefixes, recomputation and narrow last layers are checked too. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cpu.h"
#include "dmpo.h"
#include "simd/engine.h"
#include "tests/support/check.h"
#include "tests/support/engines.h"
#include "tests/support/gradients.h"
#include "tests/support/reference64.h"

#define LOSS_LIMIT 2e-7  /* f64 on both sides, coefficients rounded to f32 */
#define MODEL_LIMIT 2e-5 /* f32 through two layers, head and loss */

#define SEED 4

static const dm_config architectures[] = {
    {.arch = DM_ARCH_LLAMA,
     .hidden = 8,
     .intermediate = 12,
     .layers = 2,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 4,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .tied = true,
     .eps = 1e-2,
     .rope_theta = 500,
     .rope = DM_ROPE_LLAMA3,
     .rope_factor = 4,
     .rope_low = 1,
     .rope_high = 4,
     .rope_original = 32},
    {.arch = DM_ARCH_MISTRAL,
     .hidden = 6,
     .intermediate = 10,
     .layers = 2,
     .heads = 2,
     .kv_heads = 2,
     .head_dim = 4,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .window = 5,
     .windowed = {1, 1},
     .eps = 1e-5,
     .rope_theta = 100},
    {.arch = DM_ARCH_QWEN2,
     .hidden = 8,
     .intermediate = 9,
     .layers = 2,
     .heads = 3,
     .kv_heads = 1,
     .head_dim = 4,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .qkv_bias = true,
     .tied = true,
     .eps = 1e-6,
     .rope_theta = 1000,
     .rope = DM_ROPE_LINEAR,
     .rope_factor = 2},
    {.arch = DM_ARCH_QWEN3,
     .hidden = 7,
     .intermediate = 8,
     .layers = 3,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 6,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .window = 4,
     .windowed = {0, 1, 0},
     .qk_norm = true,
     .eps = 1e-3,
     .rope_theta = 50},
    {.arch = DM_ARCH_GEMMA3,
     .hidden = 6,
     .intermediate = 10,
     .layers = 3,
     .heads = 2,
     .kv_heads = 1,
     .head_dim = 8,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .window = 4,
     .windowed = {1, 0, 1},
     .rope_use = {DM_ROPE_LOCAL, DM_ROPE_MAIN, DM_ROPE_LOCAL},
     .qk_norm = true,
     .eps = 5e-2,
     .query_scalar = 11,
     .rope_theta = 700,
     .rope = DM_ROPE_LINEAR,
     .rope_factor = 2,
     .rope_local_theta = 30},
    {.arch = DM_ARCH_SMOLLM3,
     .hidden = 8,
     .intermediate = 10,
     .layers = 3,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 4,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .rope_use = {DM_ROPE_MAIN, DM_ROPE_NONE, DM_ROPE_MAIN},
     .tied = true,
     .eps = 1e-3,
     .rope_theta = 90},
    {.arch = DM_ARCH_LLAMA,
     .hidden = 6,
     .intermediate = 9,
     .layers = 2,
     .heads = 2,
     .kv_heads = 1,
     .head_dim = 10,
     .vocab = PAIR_VOCAB,
     .max_positions = 32,
     .qkv_bias = true,
     .o_bias = true,
     .eps = 1e-3,
     .rope_theta = 20,
     .rope = DM_ROPE_YARN,
     .rope_factor = 4,
     .rope_original = 16,
     .rope_fast = 2,
     .rope_slow = 0.25,
     .rope_attention = 1.2},
};

/* ---- a batch of pairs: both sides' log-probabilities, engine and reference ---- */

#define PAIRS 3
#define ACTIONS 8 /* room for those of a side */
#define KL 0.75   /* kto's constant, from sequences that are not here */

typedef struct batch {
    const dm_loss_options *o;
    const dm_pack *pack;
    size_t pairs;
    double logp[PAIRS][2][ACTIONS], reference[PAIRS][2][ACTIONS], second[PAIRS][2][ACTIONS];
    float reference_f[PAIRS][2][ACTIONS], second_f[PAIRS][2][ACTIONS];
    f64_side side[2][PAIRS];
} batch;

static void batch_open(batch *b, const dm_loss_options *o, const dm_pack *pack, size_t pairs)
{
    b->o = o;
    b->pack = pack;
    b->pairs = pairs;
    for (size_t i = 0; i < pairs; i++)
        for (size_t s = 0; s < 2; s++) {
            const dm_pack_side *p = &pack->side[s];
            for (size_t j = 0; j < p->n; j++) {
                b->reference_f[i][s][j] = -1 - test_uniform();
                b->reference[i][s][j] = b->reference_f[i][s][j];
                b->second_f[i][s][j] = -1 - test_uniform();
                b->second[i][s][j] = b->second_f[i][s][j];
            }
            b->side[s][i] = (f64_side){.n = p->n,
                                       .turns = p->turns,
                                       .turn_of = p->turn_of,
                                       .logp = b->logp[i][s],
                                       .reference = b->reference[i][s],
                                       .second = b->second[i][s]};
        }
}

static dm_objective_reference references_of(const batch *b, size_t i)
{
    dm_objective_reference r = {{b->reference_f[i][0], b->reference_f[i][1]}, {NULL, NULL}};
    for (int s = 0; s < 2 && b->o->two_references; s++)
        r.second[s] = b->second_f[i][s];
    return r;
}

static dm_loss_batch stats_of(const batch *b, const double *chosen, const double *rejected)
{
    dm_loss_batch stats = dm_loss_batch_of(b->o, chosen, rejected, b->pairs);
    stats.kl = KL;
    return stats;
}

static double batch_loss(const problem *p)
{
    const batch *b = p->more;

    return f64_batch_loss(b->o, b->side[0], b->side[1], b->pairs, KL);
}

/* ---- losses: x are the log-probabilities of the predictions, pair by pair ---- */

static void spread(problem *p)
{
    batch *b = p->more;

    for (size_t i = 0; i < b->pairs; i++)
        for (size_t s = 0; s < 2; s++)
            for (size_t j = 0; j < b->pack->side[s].n; j++)
                b->logp[i][s][j] = p->x.d[i * b->pack->predictions + b->pack->side[s].prediction[j]];
}

static void take_pair(dm_objective *o, const dm_pack *pack, const float *logp)
{
    for (size_t s = 0; s < 2; s++)
        for (size_t j = 0; j < pack->side[s].n; j++)
            o->logp[s][j] = logp[pack->side[s].prediction[j]];
}

/* The engine's mean loss of the batch; coefficients go to coef, the largest derivative by a side's score to *scale. */
static double engine_loss(machine *m, const batch *b, const float *logp, float *coef, double *scale)
{
    const size_t predictions = m->pack.predictions;
    double score[2][PAIRS], loss = 0;

    *scale = 0;

    for (size_t i = 0; i < b->pairs; i++) {
        take_pair(&m->objective, &m->pack, logp + i * predictions);
        const dm_objective_reference reference = references_of(b, i);
        double both[2];
        dm_objective_scores(&m->objective, b->o, &m->pack, &reference, both);
        score[0][i] = both[0];
        score[1][i] = both[1];
    }
    const dm_loss_batch stats = stats_of(b, score[0], score[1]);
    for (size_t i = 0; i < b->pairs; i++) {
        const dm_objective_reference reference = references_of(b, i);
        take_pair(&m->objective, &m->pack, logp + i * predictions);
        const dm_loss_pair l = dm_objective_pair(&m->objective, b->o, &m->pack, &reference, &stats, 1);
        loss += l.loss / (double)b->pairs;
        *scale = fmax(*scale, fmax(fabs(l.d_chosen), fabs(l.d_rejected)));
        memcpy(coef + i * predictions, m->objective.coef, predictions * sizeof *coef);
    }
    return loss;
}

/* Coefficients of a shared prediction are a difference of the two sides', so errors count against those, not against
 * what is left. */
static void check_loss(machine *m, const dm_loss_options *o)
{
    const size_t n = PAIRS * m->pack.predictions;
    problem p = {.forward = spread, .loss = batch_loss, .x = random_array(n, 1)};
    float *coef = floats(n);
    double error = 0, scale;
    char what[128];
    batch b;

    for (size_t i = 0; i < n; i++)
        p.x.d[i] = p.x.f[i] -= 1; /* -2 .. 0 */
    batch_open(&b, o, &m->pack, PAIRS);
    p.more = &b;
    snprintf(what, sizeof what, "objective %d, link %d, phi %d, gamma %g, sft %g, normalised %d, smoothing %g",
             o->objective, o->link, o->phi, o->gamma, o->sft_weight, o->length_normalised, o->label_smoothing);
    const double got = engine_loss(m, &b, p.x.f, coef, &scale), want = value(&p);
    CK_MSG(dm_loss_check(o, NULL) == DM_OK && fabs(got - want) <= 1e-12 * (1 + fabs(want)),
           "%s: loss %.17g, must be %.17g", what, got, want);
    scale += o->sft_weight / PAIRS;
    for (size_t i = 0; i < n; i++)
        error = fmax(error, fabs(slope(&p, &p.x.d[i]) - (double)coef[i]));
    CK_MSG(error <= LOSS_LIMIT * scale, "%s: error %.2e of %.2e, limit %.0e", what, error, scale, LOSS_LIMIT);
    if (scale > 0)
        worst = fmax(worst, error / scale);
    release(p.x);
    free(coef);
}

static void test_losses(const dm_engine *e)
{
    static const double gammas[] = {0, 0.7, 1};
    machine m;

    machine_open(&m, e, &architectures[0], 0, 0);
    for (int share = 0; share < 2; share++) {
        dm_pack_build(&m.pack, &pair, share);
        for (unsigned k = 0; k < 3 * 5 * 2 * 2 * 2 * 3; k++) {
            dm_loss_options o = {.objective = (dm_objective_kind)(DM_OBJECTIVE_DMPO + k % 3),
                                 .link = (dm_loss_link)(k / 3 % 5),
                                 .phi = (dm_loss_phi)(k / 15 % 2),
                                 .beta = 0.5,
                                 .gamma = gammas[k / 120],
                                 .sft_weight = k / 30 % 2 ? 0.3 : 0,
                                 .length_normalised = (int)(k / 60 % 2)};
            if (o.link == DM_LINK_SIGMOID || o.link == DM_LINK_ROBUST)
                o.label_smoothing = k / 30 % 2 ? 0.125 : 0;
            check_loss(&m, &o);
        }
    }
    machine_close(&m);
}

/* kto, and two references in every way. */
static void test_methods(const dm_engine *e)
{
    static const double alphas[] = {0, 0.3, 1}, regions[] = {0, 0.05, 10};
    machine m;

    machine_open(&m, e, &architectures[0], 0, 0);
    for (int share = 0; share < 2; share++) {
        dm_pack_build(&m.pack, &pair, share);
        for (unsigned k = 0; k < 2 * 2 * 2; k++) {
            const dm_loss_options o = {.objective = DM_OBJECTIVE_KTO,
                                       .beta = k % 2 ? 0.5 : 2,
                                       .gamma = 0.7,
                                       .sft_weight = k / 2 % 2 ? 0.3 : 0,
                                       .length_normalised = (int)(k / 4),
                                       .desirable_weight = 1.25,
                                       .undesirable_weight = 0.5};
            check_loss(&m, &o);
        }
        for (unsigned k = 0; k < 3 * 4 * 2 * 3 * 2; k++) {
            dm_loss_options o = {.objective = (dm_objective_kind)(DM_OBJECTIVE_DMPO + k % 3),
                                 .beta = 0.5,
                                 .gamma = 0.7,
                                 .two_references = 1,
                                 .alpha_mode = k / 3 % 4 < 3 ? DM_ALPHA_FIXED : DM_ALPHA_ADAPTIVE,
                                 .alpha = k / 3 % 4 < 3 ? alphas[k / 3 % 4] : 0.5,
                                 .alpha_pairing = (dm_alpha_pairing)(k / 12 % 2),
                                 .trust_region = regions[k / 24 % 3]};
            o.link = k / 72 ? DM_LINK_KTO_PAIR : DM_LINK_SIGMOID;
            check_loss(&m, &o);
        }
    }
    machine_close(&m);
}

/* ---- models: w are the parameters ---- */

typedef struct whole {
    batch batch;
    const machine *m;
    bool sft;
} whole;

/* One trajectory alone; the action tokens' log-probabilities go to out. */
static void trajectory(const machine *m, const double *w, const dm_data_trajectory *t, double *out)
{
    double *logp = f64_alloc(t->n);

    f64_logps(&m->c, &m->l, w, t->ids, t->n, logp);
    for (size_t i = 0; i < t->n_turns; i++)
        for (size_t j = t->turns[i].begin; j < t->turns[i].end; j++)
            *out++ = logp[j];
    free(logp);
}

static void run_model(problem *p)
{
    whole *x = p->more;

    trajectory(x->m, p->w.d, &pair.chosen, x->batch.logp[0][0]);
    trajectory(x->m, p->w.d, &pair.rejected, x->batch.logp[0][1]);
}

static double model_loss(const problem *p)
{
    const whole *x = p->more;
    const f64_side *chosen = &x->batch.side[0][0];
    double nll = 0;

    if (!x->sft)
        return f64_batch_loss(x->batch.o, chosen, &x->batch.side[1][0], 1, KL);
    for (size_t i = 0; i < chosen->n; i++)
        nll -= chosen->logp[i] / (double)chosen->n;
    return nll;
}

/* Loss and gradient (m->dw) of the engine, as model/train/step.c makes them. */
static double engine_gradient(machine *m, const whole *x, const array *w, int share)
{
    const dm_objective_reference reference = references_of(&x->batch, 0);
    double loss;

    memset(m->dw, 0, m->l.floats * sizeof(float));
    dm_pack_build(&m->pack, &pair, share);
    dm_objective_forward(&m->objective, &m->n, w->f, &m->pack);
    if (x->sft) {
        loss = dm_objective_sft(&m->objective, &m->pack, pair.chosen.n_actions) / (double)pair.chosen.n_actions;
    } else {
        double score[2];
        dm_objective_scores(&m->objective, x->batch.o, &m->pack, &reference, score);
        const dm_loss_batch stats = stats_of(&x->batch, &score[0], &score[1]);
        loss = dm_objective_pair(&m->objective, x->batch.o, &m->pack, &reference, &stats, 1).loss;
    }
    dm_objective_backward(&m->objective, &m->n, w->f, m->dw, &m->pack);
    return loss;
}

/* Tensor by tensor, every `every`th element. Some nearly cancel, k_proj.bias for one: they count as a hundredth of
 * all. */
static void compare(const machine *m, const double *want, size_t every)
{
    const double floor = 0.01 * norm(want, m->l.floats);

    for (size_t i = 0; i < m->l.n; i++) {
        const dm_tensor *t = &m->l.tensors[i];
        const size_t n = t->rows * t->cols;
        float *got = floats(n);
        double *wanted = f64_alloc(n);
        size_t taken = 0;
        for (size_t j = i % every; j < n; j += every, taken++) {
            got[taken] = m->dw[t->offset + j];
            wanted[taken] = want[t->offset + j];
        }
        near(t->name, got, wanted, taken, floor, MODEL_LIMIT);
        free(got);
        free(wanted);
    }
}

static void test_model(const engines *all, const dm_config *c, const dm_loss_options *o, bool sft)
{
    const size_t every = getenv("DMPO_TEST_FAST") ? 5 : 1;
    problem p = {.forward = run_model, .loss = model_loss};
    machine m;
    whole x = {.sft = sft};

    machine_open(&m, &all->e[0], c, 0, 0);
    p.w = copy_of(m.w);
    p.more = &x;
    x.m = &m;
    dm_pack_build(&m.pack, &pair, 0);
    batch_open(&x.batch, o, &m.pack, 1);
    double *want = f64_alloc(m.l.floats);
    for (size_t i = 0; i < m.l.n; i++)
        for (size_t j = i % every; j < m.l.tensors[i].rows * m.l.tensors[i].cols; j += every)
            want[m.l.tensors[i].offset + j] = slope(&p, &p.w.d[m.l.tensors[i].offset + j]);
    const double loss = value(&p);
    machine_close(&m);
    for (size_t i = 0; i < all->n; i++)
        for (uint32_t how = 0; how < 2 * 2 * (c->layers + 1); how++) {
            char name[64];
            snprintf(name, sizeof name, "%s, %s, prefix %u, kept logits %u, recomputed layers %u",
                     dm_arch_name(c->arch), dm_isa_name(all->e[i].k.isa), how % 2, how / 2 % 2, how / 4);
            where = name;
            machine_open(&m, &all->e[i], c, how / 4, how / 2 % 2);
            const double got = engine_gradient(&m, &x, &p.w, how % 2);
            CK_MSG(fabs(got - loss) <= MODEL_LIMIT * fabs(loss), "%s: loss %.9g, must be %.9g", where, got, loss);
            compare(&m, want, every);
            machine_close(&m);
        }
    release(p.w);
    free(want);
}

int main(int argc, char **argv)
{
    static const unsigned threads[] = {2};
    static const struct {
        size_t architecture;
        dm_loss_options o;
    } models[] = {
        {0, {.objective = DM_OBJECTIVE_DMPO, .beta = 0.3, .gamma = 0.7, .sft_weight = 0.2}},
        {1, {.objective = DM_OBJECTIVE_DPO, .link = DM_LINK_IPO, .beta = 0.5}},
        {2, {.objective = DM_OBJECTIVE_SFT}},
        {3,
         {.objective = DM_OBJECTIVE_DMPO_TOKEN,
          .link = DM_LINK_KTO_PAIR,
          .beta = 0.2,
          .gamma = 0.9,
          .length_normalised = 1}},
        {0, {.objective = DM_OBJECTIVE_KTO, .beta = 0.4, .desirable_weight = 1, .undesirable_weight = 1.5}},
        {2, {.objective = DM_OBJECTIVE_DPO, .beta = 0.3, .two_references = 1, .alpha = 0.5, .trust_region = 0.05}},
        {4, {.objective = DM_OBJECTIVE_DMPO, .beta = 0.3, .gamma = 0.7, .sft_weight = 0.2}},
        {4, {.objective = DM_OBJECTIVE_SFT}},
        {5, {.objective = DM_OBJECTIVE_DPO, .beta = 0.3}},
        {6, {.objective = DM_OBJECTIVE_DMPO, .beta = 0.3, .gamma = 0.7}},
    };
    static engines all;
    const int status = engines_open(&all, argc, argv, threads, 1);

    if (status)
        return status;
    test_seed(SEED);
    test_losses(&all.e[0]);
    test_methods(&all.e[0]);
    printf("losses: largest relative error %.2e\n", worst);
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        const dm_config *c = &architectures[models[i].architecture];
        worst = 0;
        test_seed(SEED + i); /* whatever number of engines came before */
        test_model(&all, c, &models[i].o, models[i].o.objective == DM_OBJECTIVE_SFT);
        printf("%s, objective %d: largest relative error %.2e\n", dm_arch_name(c->arch), (int)models[i].o.objective,
               worst);
    }
    engines_close(&all);
    return ck_done("model_gradients");
}
