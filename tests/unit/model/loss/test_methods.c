/* Every training method against figures of an independent float64 implementation (tests/tools/methods_golden.py): the
 * loss and, for each action token, its derivative by the policy's log-probability. The engine gets the data form that a
 * method trains on, through the reader of data files, and log-probabilities from the file in place of a model's. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/data/dataset.h"
#include "io/json.h"
#include "model/loss/mismatch.h"
#include "model/loss/objective.h"
#include "tests/support/check.h"

#define LIMIT 1e-12 /* relative; inputs are exact in f32, everything after them is f64 */
#define ITEMS 8
#define TOKENS 64

static double largest; /* relative error seen */

typedef struct values { /* of one item's action tokens */
    float policy[2][TOKENS], first[2][TOKENS], second[2][TOKENS];
} values;

typedef struct file {
    const char *path;
    dm_json_doc *doc;
    dm_dataset data, mismatched;
    values of[ITEMS], of_mismatched[ITEMS];
    dm_arena arena;
    dm_pack pack;
    dm_objective objective;
} file;

static const char *const objectives[] = {"sft", "dmpo", "dmpo-token", "dpo", "kto", NULL};
static const char *const sides[] = {"chosen", "rejected"};

/* Log-probabilities of the action tokens: the list has every token's. */
static void take(float out[TOKENS], const dm_json *list, const dm_data_trajectory *t)
{
    size_t i = 0, turn = 0, n = 0;

    if (!CK(list && list->length == t->n && t->n_actions <= TOKENS))
        return;
    for (const dm_json *v = list->child; v; v = v->next, i++) {
        while (turn < t->n_turns && i >= t->turns[turn].end)
            turn++;
        if (turn < t->n_turns && i >= t->turns[turn].begin) {
            out[n] = (float)v->number;
            CK((double)out[n++] == v->number);
        }
    }
    CK(n == t->n_actions);
}

static void take_all(values *out, const dm_json *list, const dm_dataset *data)
{
    size_t i = 0;

    for (const dm_json *p = list->child; p && i < data->n; p = p->next, i++)
        for (int s = 0; s < 2; s++) {
            const dm_json *side = dm_json_get(p, sides[s]);
            const dm_data_trajectory *t = s ? &data->items[i].rejected : &data->items[i].chosen;
            take(out[i].policy[s], dm_json_get(side, "logps"), t);
            take(out[i].first[s], dm_json_get(side, "reference_logps"), t);
            take(out[i].second[s], dm_json_get(side, "reference2_logps"), t);
        }
    CK(i == data->n);
}

static void place(file *f, dm_arena *arena)
{
    dm_pack_size max = {.rows = 2 * TOKENS, .predictions = 2 * TOKENS, .longest = TOKENS, .actions = {TOKENS, TOKENS}};
    dm_pack_place(&f->pack, arena, &max);
    dm_objective_place(&f->objective, arena, &max);
}

/* The mismatched sequences are those of the file, ids and turns. */
static void check_mismatched(const file *f, const dm_json *list)
{
    size_t i = 0;

    for (const dm_json *p = list->child; p && i < f->mismatched.n; p = p->next, i++)
        for (int s = 0; s < 2; s++) {
            const dm_data_trajectory *t = s ? &f->mismatched.items[i].rejected : &f->mismatched.items[i].chosen;
            const dm_json *side = dm_json_get(p, sides[s]);
            const dm_json *id = dm_json_get(side, "ids")->child, *turn = dm_json_get(side, "turns")->child;
            size_t k = 0;
            for (; id && k < t->n && id->integer == t->ids[k]; id = id->next)
                k++;
            CK_MSG(!id && k == t->n, "%s: mismatched %zu, %s: other ids", f->path, i, sides[s]);
            for (k = 0; turn && k < t->n_turns; turn = turn->next, k++)
                CK(turn->child->integer == (int64_t)t->turns[k].begin &&
                   turn->child->next->integer == (int64_t)t->turns[k].end);
            CK(!turn && k == t->n_turns);
        }
    CK(i == f->data.n && i == f->mismatched.n);
}

static int open_file(file *f, const char *name)
{
    static char path[4096];
    const char *src = getenv("SRC");
    const dm_data_options options = {.need_pairs = true};
    dm_arena measure = dm_arena_measure();
    dm_error err = {0};

    *f = (file){.path = name};
    snprintf(path, sizeof path, "%s/tests/golden-methods/%s", src ? src : ".", name);
    if (!CK_MSG(dm_json_read(&f->doc, path, &err) == DM_OK && dm_dataset_open(&f->data, path, &options, &err) == DM_OK,
                "%s", err.message) ||
        !CK(f->data.n <= ITEMS))
        return 0;
    const dm_json *root = dm_json_root(f->doc), *mismatched = dm_json_get(root, "mismatched");
    take_all(f->of, dm_json_get(root, "pairs"), &f->data);
    if (mismatched &&
        CK_MSG(dm_mismatched_sequences(&f->mismatched, &f->data, 4096, path, &err) == DM_OK, "%s", err.message)) {
        check_mismatched(f, mismatched);
        take_all(f->of_mismatched, mismatched, &f->mismatched);
    }
    place(f, &measure);
    if (!CK_MSG(dm_arena_open(&f->arena, measure.peak, &err) == DM_OK, "%s", err.message))
        return 0;
    place(f, &f->arena);
    return 1;
}

static void close_file(file *f)
{
    dm_arena_close(&f->arena);
    dm_dataset_close(&f->data);
    dm_dataset_close(&f->mismatched);
    dm_json_close(&f->doc);
}

static double number(const dm_json *v, const char *key, double fallback)
{
    const dm_json *x = dm_json_get(v, key);
    return x ? x->number : fallback;
}

static dm_loss_options options_of(const dm_json *v)
{
    dm_loss_options o = {.beta = number(v, "beta", 0.1),
                         .gamma = number(v, "gamma", 0.7),
                         .desirable_weight = number(v, "desirable_weight", 1),
                         .undesirable_weight = number(v, "undesirable_weight", 1),
                         .two_references = dm_json_get(v, "alpha") != NULL,
                         .alpha = number(v, "alpha", 0.5),
                         .trust_region = number(v, "trust_region", 0.1)};

    for (int i = 0; objectives[i]; i++)
        if (dm_json_is(dm_json_get(v, "objective"), objectives[i]))
            o.objective = (dm_objective_kind)i;
    o.alpha_mode = dm_json_is(dm_json_get(v, "alpha_mode"), "fixed") ? DM_ALPHA_FIXED : DM_ALPHA_ADAPTIVE;
    o.alpha_pairing = dm_json_is(dm_json_get(v, "alpha_pairing"), "crossed") ? DM_PAIRING_CROSSED : DM_PAIRING_OWN;
    return o;
}

static void equal(const char *name, const char *what, double got, double want, double limit)
{
    const double error = got == want ? 0 : fabs(got - want) / fabs(want);
    largest = limit == LIMIT && error > largest ? error : largest;
    CK_MSG(error <= limit, "%s: %s is %.17g, must be %.17g (relative error %.1e)", name, what, got, want, error);
}

static dm_objective_reference reference_of(const values *v, const dm_loss_options *o, int replaced)
{
    dm_objective_reference r = {{NULL, NULL}, {NULL, NULL}};
    for (int s = 0; s < 2; s++) {
        r.first[s] = replaced ? v->second[s] : v->first[s];
        r.second[s] = o->two_references ? v->second[s] : NULL;
    }
    return r;
}

/* As dm_objective_forward would leave them. */
static void set_policy(file *f, const dm_data_item *item, const values *v, int share)
{
    dm_pack_build(&f->pack, item, share);
    for (int s = 0; s < 2; s++)
        memcpy(f->objective.logp[s], v->policy[s], f->pack.side[s].n * sizeof(float));
}

/* The engine's estimate from the mismatched sequences of some items, as model/train/step.c makes it. */
static double kl_of(file *f, const dm_loss_options *o, const size_t *among, size_t n)
{
    double sum = 0;

    for (size_t j = 0; j < n; j++) {
        const values *v = &f->of_mismatched[among[j]];
        set_policy(f, &f->mismatched.items[among[j]], v, 1);
        for (int s = 0; s < 2; s++) {
            const dm_loss_side side = dm_objective_side(&f->objective, &f->pack, s, v->first[s]);
            sum += dm_loss_side_score(o, &side);
        }
    }
    return dm_loss_kl_estimate(sum, 2 * n);
}

/* The derivatives of one item: each side's apart, or (share) summed where both sides are one prediction. sft's are
 * made in f32. */
static void check_coefficients(const file *f, const char *name, const dm_json *const want[2], int share, int sft)
{
    double sum[2 * TOKENS] = {0}, scale[2 * TOKENS] = {0};

    for (int s = 0; s < (sft ? 1 : 2); s++) {
        size_t i = 0;
        for (const dm_json *d = want[s]->child; d && i < f->pack.side[s].n; d = d->next, i++) {
            sum[f->pack.side[s].prediction[i]] += d->number;
            scale[f->pack.side[s].prediction[i]] += fabs(d->number);
        }
        CK(i == f->pack.side[s].n && want[s]->length == i);
    }
    for (size_t e = 0; e < f->pack.predictions; e++) {
        if (sft) {
            equal(name, "a coefficient", (double)f->objective.coef[e], sum[e], 1e-7);
            continue;
        }
        CK(f->objective.coef[e] == (float)f->objective.weight[e]);
        if (!share)
            equal(name, "a coefficient", f->objective.weight[e], sum[e], LIMIT);
        else /* what is left of a difference */
            CK_MSG(fabs(f->objective.weight[e] - sum[e]) <= LIMIT * scale[e],
                   "%s: shared coefficient %zu is %.17g, not %.17g", name, e, f->objective.weight[e], sum[e]);
    }
}

static void check_case(file *f, const dm_json *c, int share)
{
    const char *name = dm_json_get(c, "name")->text;
    const dm_json *options = dm_json_get(c, "options"), *kl = dm_json_get(c, "kl");
    const dm_json *want[2] = {dm_json_get(c, "chosen")->child, dm_json_get(c, "rejected")->child};
    const dm_loss_options o = options_of(options);
    const int sft = o.objective == DM_OBJECTIVE_SFT, replaced = dm_json_get(options, "reference") != NULL;
    size_t among[ITEMS], n = 0, tokens = 0;
    double loss = 0;
    dm_error err = {0};

    for (const dm_json *v = dm_json_get(options, "among")->child; v; v = v->next)
        among[n++] = (size_t)v->integer;
    CK_MSG(dm_loss_check(&o, &err) == DM_OK, "%s: %s", name, err.message);
    for (size_t j = 0; j < n; j++)
        tokens += f->data.items[among[j]].chosen.n_actions;
    const dm_loss_batch stats = {.pairs = n, .kl = kl ? kl_of(f, &o, among, n) : 0};
    if (kl)
        equal(name, "kl", stats.kl, kl->number, LIMIT);
    for (size_t j = 0; j < n; j++, want[0] = want[0]->next, want[1] = want[1]->next) {
        const values *v = &f->of[among[j]];
        const dm_objective_reference reference = reference_of(v, &o, replaced);
        dm_data_item item = f->data.items[among[j]];
        if (sft)
            item.rejected = (dm_data_trajectory){0};
        set_policy(f, &item, v, share);
        loss += sft ? dm_objective_sft(&f->objective, &f->pack, tokens) / (double)tokens
                    : dm_objective_pair(&f->objective, &o, &f->pack, &reference, &stats, 1).loss / (double)n;
        check_coefficients(f, name, want, share, sft);
    }
    equal(name, "the loss", loss, dm_json_get(c, "loss")->number, LIMIT);
}

static size_t check_file(const char *name)
{
    static file f;
    size_t cases = 0;

    if (open_file(&f, name))
        for (const dm_json *c = dm_json_get(dm_json_root(f.doc), "cases")->child; c; c = c->next, cases++)
            for (int share = 0; share < 2; share++)
                check_case(&f, c, share);
    close_file(&f);
    return cases;
}

int main(void)
{
    CK(check_file("whole.json") >= 40);
    CK(check_file("segment.json") == 2);
    CK(check_file("step.json") == 2);
    printf("largest relative error %.1e\n", largest);
    return ck_done("methods");
}
