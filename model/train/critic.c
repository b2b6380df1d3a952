#include "model/train/critic.h"

#include <math.h>
#include <string.h>

#include "core/numbers/exact.h"
#include "model/loss/value.h"
#include "model/train/rounds.h"

#define WHITE 1e-8 /* added to the variance of advantages, as TRL's masked_whiten */

void dm_critic_place(dm_critic *c, dm_arena *a, size_t hidden, size_t shards, size_t items, size_t actions)
{
    c->width = hidden + 1;
    c->weight = dm_arena_zalloc(a, 3 * c->width, sizeof *c->weight);
    c->mean = c->weight ? c->weight + c->width : NULL;
    c->square = c->weight ? c->weight + 2 * c->width : NULL;
    c->slope = dm_arena_alloc(a, shards * c->width, sizeof *c->slope);
    c->old = dm_arena_alloc(a, items * actions, sizeof *c->old);
    c->target = dm_arena_alloc(a, items * actions, sizeof *c->target);
    c->room = dm_arena_alloc(a, 4 * actions, sizeof *c->room);
    c->value_slope = dm_arena_alloc(a, actions, sizeof *c->value_slope);
    c->trunk = dm_arena_alloc(a, hidden, sizeof *c->trunk);
}

void dm_critic_restart(dm_critic *c)
{
    memset(c->weight, 0, 3 * c->width * sizeof *c->weight);
}

/* Of the state before action token i of the pack just run forward. */
static const float *hidden_at(const dm_run *r, size_t i)
{
    return r->memory.network.hnorm + r->memory.pack.side[0].prediction[i] * r->models.config.hidden;
}

static double value_at(const dm_run *r, size_t i)
{
    const dm_critic *c = &r->policy->critic;
    const float *h = hidden_at(r, i);
    double sum = c->weight[c->width - 1];

    for (size_t k = 0; k + 1 < c->width; k++)
        sum += (double)h[k] * c->weight[k];
    return sum;
}

/* ---- a round ---- */

/* The value at each token of the pack just run forward, the item's first one being `begin`. */
static void value_item(dm_run *r, size_t begin)
{
    const dm_run_policy *p = r->policy;
    const dm_pack_side *side = &r->memory.pack.side[0];

    for (size_t i = 0; i < side->n; i++)
        p->critic.old[begin + i] = isnan(p->advantage[begin + i]) ? 0 : value_at(r, i);
}

/* Advantages and targets of the pack's tokens, from their rewards and values. */
static void weigh_item(dm_run *r, size_t begin)
{
    dm_run_policy *p = r->policy;
    dm_critic *c = &p->critic;
    const dm_pack_side *side = &r->memory.pack.side[0];
    double *reward = c->room, *value = reward + p->actions, *advantage = value + p->actions;
    size_t steps = 0;

    for (size_t i = 0, turn = (size_t)-1; i < side->n; i++) {
        double *token = p->advantage + begin + i;
        c->target[begin + i] = NAN;
        if (isnan(*token))
            continue;
        if (!c->o.by_turn || side->turn_of[i] != turn) {
            turn = side->turn_of[i];
            reward[steps] = 0;
            value[steps] = c->old[begin + i];
            c->target[begin + i] = 0; /* a state; see below */
            steps++;
        }
        reward[steps - 1] += *token;
    }
    dm_value_gae(reward, value, steps, c->o.discount, c->o.lambda, advantage);
    for (size_t i = 0, t = 0; i < side->n; i++) {
        if (isnan(p->advantage[begin + i]))
            continue;
        if (!isnan(c->target[begin + i])) {
            c->target[begin + i] = advantage[t] + value[t];
            t++;
        }
        p->advantage[begin + i] = advantage[t - 1];
    }
}

/* Mean 0 over the round's states, and deviation 1. */
static void centre(dm_run *r)
{
    dm_run_policy *p = r->policy;
    const dm_critic *c = &p->critic;
    const size_t n = p->begin[r->train.data.n];
    double sum = 0, squares = 0, states = 0;

    if (p->o.baseline == DM_BASELINE_NONE)
        return;
    for (size_t i = 0; i < n; i++)
        if (!isnan(c->target[i])) {
            sum += p->advantage[i];
            states++;
        }
    if (states < 2)
        return;
    const double mean = sum / states;
    for (size_t i = 0; i < n; i++)
        if (!isnan(c->target[i]))
            squares += (p->advantage[i] - mean) * (p->advantage[i] - mean);
    const double scale = p->o.baseline == DM_BASELINE_MEAN_STD ? 1 / sqrt(squares / (states - 1) + WHITE) : 1;
    for (size_t i = 0; i < n; i++)
        p->advantage[i] = (p->advantage[i] - mean) * scale; /* NaN stays NaN */
}

dm_status dm_critic_round(dm_run *r, dm_error *err)
{
    const dm_run_policy *p = r->policy;
    const size_t n = r->train.data.n;

    for (size_t i = r->ranks.self; i < n; i += r->ranks.count) {
        dm_pack_build(&r->memory.pack, &r->train.data.items[i], r->options.share_prefix);
        dm_objective_forward(&r->memory.objective, &r->memory.network, r->memory.weights, &r->memory.pack);
        value_item(r, p->begin[i]);
    }
    const dm_run_parts values = {p->critic.old, sizeof *p->critic.old, p->begin, 1, n, p->begin[n]};
    const dm_status s = dm_run_share_parts(r, &values, "the critic's values", err);
    if (s != DM_OK)
        return s;
    for (size_t i = 0; i < n; i++) {
        dm_pack_build(&r->memory.pack, &r->train.data.items[i], r->options.share_prefix);
        weigh_item(r, p->begin[i]);
    }
    centre(r);
    return DM_OK;
}

/* ---- a batch ---- */

void dm_critic_batch(dm_run *r, const uint32_t *items, size_t n)
{
    const dm_run_policy *p = r->policy;
    dm_critic *c = &r->policy->critic;

    memset(c->slope, 0, (size_t)r->options.shards * c->width * sizeof *c->slope);
    c->states = 0;
    for (size_t j = 0; j < n; j++)
        for (size_t i = p->begin[items[j]]; i < p->begin[items[j] + 1]; i++)
            c->states += !isnan(c->target[i]);
    for (size_t k = 0; k + 1 < c->width; k++)
        c->trunk[k] = (float)c->weight[k];
}

double dm_critic_item(dm_run *r, size_t shard, uint32_t index)
{
    const dm_run_policy *p = r->policy;
    dm_critic *c = &r->policy->critic;
    dm_network *network = &r->memory.network;
    const size_t begin = p->begin[index];
    double *gradient = c->slope + shard * c->width, loss = 0;

    for (size_t i = 0; i < r->memory.pack.predictions; i++)
        c->value_slope[i] = 0;
    for (size_t i = 0; i < r->memory.pack.side[0].n; i++) {
        double slope;
        if (isnan(c->target[begin + i]))
            continue;
        const double share = c->o.weight / (double)c->states;
        const float *h = hidden_at(r, i);
        loss += share * dm_value_loss(value_at(r, i), c->old[begin + i], c->target[begin + i], c->o.clip, &slope);
        for (size_t k = 0; k + 1 < c->width; k++)
            gradient[k] += share * slope * (double)h[k];
        gradient[c->width - 1] += share * slope;
        c->value_slope[r->memory.pack.side[0].prediction[i]] = (float)(share * slope);
    }
    network->beside_slope = c->o.trunk ? c->value_slope : NULL;
    network->beside_weight = c->trunk;
    return loss;
}

/* The gradient of a batch of n items, in the first shard's place. */
static dm_status add_shards(dm_run *r, size_t n, dm_error *err)
{
    dm_critic *c = &r->policy->critic;
    const size_t shards = (size_t)r->options.shards, with_items = n < shards ? n : shards;
    const dm_status s = dm_run_share_items(r, c->slope, c->width * sizeof *c->slope, with_items, err);

    for (size_t w = 1; s == DM_OK && w < with_items; w *= 2)
        for (size_t shard = 0; shard + w < with_items; shard += 2 * w)
            for (size_t k = 0; k < c->width; k++)
                c->slope[shard * c->width + k] += c->slope[(shard + w) * c->width + k];
    return s;
}

/* AdamW without decay, clipped like the network's. */
dm_status dm_critic_update(dm_run *r, size_t n, double factor, int64_t step, dm_error *err)
{
    dm_critic *c = &r->policy->critic;
    const dm_train_options *o = &r->options;
    const dm_status s = add_shards(r, n, err);
    double squares = 0;

    if (s != DM_OK)
        return s;
    for (size_t k = 0; k < c->width; k++)
        squares += c->slope[k] * c->slope[k];
    const double norm = sqrt(squares), most = o->max_grad_norm;
    const double scale = most > 0 && norm > most ? most / norm : 1;
    const double first = 1 - dm_pow(o->beta1, (double)step), second = 1 - dm_pow(o->beta2, (double)step);
    for (size_t k = 0; k < c->width; k++) {
        const double g = scale * c->slope[k];
        c->mean[k] = o->beta1 * c->mean[k] + (1 - o->beta1) * g;
        c->square[k] = o->beta2 * c->square[k] + (1 - o->beta2) * g * g;
        c->weight[k] -= factor * c->o.lr * (c->mean[k] / first) / (sqrt(c->square[k] / second) + o->eps);
    }
    return DM_OK;
}
