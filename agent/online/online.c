/* The player of a run's rounds: rollouts with the run's own weights, and their episodes as its items. */
#include "agent/online/online.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/env/registry.h"
#include "agent/rollout/rollout.h"
#include "core/files/file.h"
#include "core/files/path.h"
#include "core/ranks.h"
#include "core/system.h"
#include "model/api.h"
#include "model/infer/session.h"
#include "model/train/rounds.h"

#define AT_ONCE 32
#define CACHE_BYTES ((size_t)1 << 31)
#define TOKEN_BYTES 256  /* of an episode's token while its file is read: two JSON values, ids, text */
#define PLAIN_TURNS 1000 /* where an environment has no limit of its own */

const char *const dm_online_objective_names[] = {"rloo", "grpo", "gigpo", "ppo", "ppo-turn", NULL};
const char *const dm_online_baseline_names[] = {"auto", "mean-std", "mean", "leave-one-out", "none", NULL};
const char *const dm_online_ratio_names[] = {"auto", "token", "sequence", "none", "turn", NULL};
const char *const dm_online_aggregate_names[] = {"auto", "mean", "token", "sum", NULL};

typedef struct player {
    dmpo_engine *engine;
    const dm_online_options *o;
    dm_run *run;
    dm_run_policy policy;
    dm_rollout_live live;
    dm_path episodes, evaluation; /* files in the output directory */
    int64_t all[DM_ENV_SPLITS];   /* tasks of each split */
    int64_t pool;                 /* that are learnt from */
    size_t slots;
    dm_text identity;
} player;

void dm_online_defaults(dm_online_options *o)
{
    *o = (dm_online_options){.objective = DM_ONLINE_GRPO,
                             .rounds = 100,
                             .tasks = 8,
                             .samples = 8,
                             .passes = 1,
                             .clip_low = 0.2,
                             .step_weight = 1,
                             .discount = -1,
                             .lambda = -1,
                             .value_weight = 0.5,
                             .value_lr = 1e-3,
                             .max_tokens = 64,
                             .eval_split = DM_ENV_SPLIT_UNSEEN,
                             .eval_tasks = 100};
}

/* What the objective leaves open, filled in. */
static dm_policy_options policy_options(const dm_online_options *o)
{
    static const dm_policy_options usual[] = {
        [DM_ONLINE_RLOO] = {DM_BASELINE_LEAVE_ONE_OUT, DM_RATIO_NONE, DM_AGGREGATE_SUM, 0, 0, 0},
        [DM_ONLINE_GRPO] = {DM_BASELINE_MEAN_STD, DM_RATIO_TOKEN, DM_AGGREGATE_MEAN, 0, 0, 0},
        [DM_ONLINE_GIGPO] = {DM_BASELINE_MEAN_STD, DM_RATIO_TOKEN, DM_AGGREGATE_MEAN, 0, 0, 0},
        [DM_ONLINE_PPO] = {DM_BASELINE_MEAN_STD, DM_RATIO_TOKEN, DM_AGGREGATE_TOKEN, 0, 0, 0},
        [DM_ONLINE_PPO_TURN] = {DM_BASELINE_MEAN_STD, DM_RATIO_TURN, DM_AGGREGATE_TOKEN, 0, 0, 0},
    };
    dm_policy_options p = usual[o->objective];

    p.baseline = o->baseline ? (dm_policy_baseline)o->baseline : p.baseline;
    p.ratio = o->ratio ? (dm_policy_ratio)o->ratio : p.ratio;
    p.aggregate = o->aggregate ? (dm_policy_aggregate)o->aggregate : p.aggregate;
    p.clip_low = o->clip_low;
    p.clip_high = o->clip_high > 0 ? o->clip_high : o->clip_low;
    p.kl = o->kl;
    return p;
}

static bool has_critic(const dm_online_options *o)
{
    return o->objective == DM_ONLINE_PPO || o->objective == DM_ONLINE_PPO_TURN;
}

double dm_online_discount(const dm_online_options *o)
{
    return o->discount >= 0                     ? o->discount
           : o->objective == DM_ONLINE_PPO      ? 1
           : o->objective == DM_ONLINE_PPO_TURN ? 0.99
                                                : 0.95;
}

/* Defaults: TRL's for tokens, those of arXiv 2512.17008 for turns. */
static dm_critic_options critic_options(const dm_online_options *o)
{
    const bool by_turn = o->objective == DM_ONLINE_PPO_TURN;

    return (dm_critic_options){.on = has_critic(o),
                               .by_turn = by_turn,
                               .trunk = o->value_trunk,
                               .discount = dm_online_discount(o),
                               .lambda = o->lambda >= 0 ? o->lambda
                                         : by_turn      ? 0.9
                                                        : 0.95,
                               .weight = o->value_weight,
                               .clip = o->value_clip,
                               .lr = o->value_lr};
}

/* ---- before the run ---- */

static bool differ(double a, double b)
{
    return a < b || a > b;
}

/* What a critic and a group have is not the same. */
static dm_status check_objective(const player *p, dm_error *err)
{
    const dm_online_options *o = p->o;
    dm_online_options usual;

    dm_online_defaults(&usual);
    if (o->resample && !o->drop_equal)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "--resample plays in place of the groups that --drop-equal leaves out; add it");
    if (!has_critic(o)) {
        if (o->samples < 2)
            return dm_fail(err, DM_ERR_ARGUMENT, "--samples %lld: a group has two episodes or more",
                           (long long)o->samples);
        if (o->lambda >= 0 || o->value_trunk || o->value_clip > 0 || differ(o->value_weight, usual.value_weight) ||
            differ(o->value_lr, usual.value_lr))
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "--lambda and --value-... are of a critic; add --objective ppo or ppo-turn");
        return DM_OK;
    }
    if (o->drop_equal || p->policy.o.baseline == DM_BASELINE_LEAVE_ONE_OUT)
        return dm_fail(
            err, DM_ERR_ARGUMENT,
            "--drop-equal and --baseline leave-one-out compare a group's episodes; ppo has a critic instead");
    return DM_OK;
}

static dm_status check(player *p, dm_error *err)
{
    const dm_online_options *o = p->o;
    dm_env *env = NULL;

    if (!o->env)
        return dm_fail(err, DM_ERR_ARGUMENT, "no environment given; --env NAME names it");
    dm_status s = check_objective(p, err);
    if (s == DM_OK)
        s = dm_env_open(&env, o->env, err);
    if (s != DM_OK)
        return s;
    for (int i = 0; i < DM_ENV_SPLITS; i++)
        p->all[i] = env->tasks[i];
    const int64_t limit = env->max_turns > 0 ? env->max_turns : PLAIN_TURNS;
    const int64_t turns = o->max_turns && o->max_turns < limit ? o->max_turns : limit;
    p->policy.actions = (size_t)(turns * (o->max_tokens + 1));
    const int64_t at_once = o->at_once ? o->at_once : AT_ONCE;
    p->slots = (size_t)(env->at_once && at_once > env->at_once ? env->at_once : at_once);
    dm_env_close(&env);
    p->pool = o->pool && o->pool < p->all[o->split] ? o->pool : p->all[o->split];
    if (o->tasks > p->pool || o->pool > p->all[o->split])
        return dm_fail(err, DM_ERR_ARGUMENT, "--tasks %lld of --pool %lld are asked for; split %s of %s has %lld",
                       (long long)o->tasks, (long long)p->pool, dm_env_split_names[o->split], o->env,
                       (long long)p->all[o->split]);
    if (o->eval_tasks > p->all[o->eval_split])
        return dm_fail(err, DM_ERR_ARGUMENT, "--eval-tasks %lld are asked for; split %s of %s has %lld",
                       (long long)o->eval_tasks, dm_env_split_names[o->eval_split], o->env,
                       (long long)p->all[o->eval_split]);
    return DM_OK;
}

/* What decides the numbers and is not in the options of training. */
static void describe(player *p)
{
    const dm_online_options *o = p->o;
    const dm_policy_options *q = &p->policy.o;
    const dm_critic_options *c = &p->policy.critic.o;
    const double reals[] = {q->clip_low, q->clip_high, q->kl,   o->step_weight, dm_online_discount(o),
                            c->lambda,   c->weight,    c->clip, c->lr,          c->trunk};
    const size_t n = sizeof reals / sizeof *reals - (c->on ? 0 : 5);

    dm_text_print(&p->identity, "1 %s %d %d %lld %lld %lld %lld %lld %llu %d %d %d %d %lld %lld %d %lld", o->env,
                  o->objective, o->split, (long long)o->pool, (long long)o->rounds, (long long)o->tasks,
                  (long long)o->samples, (long long)o->passes, (unsigned long long)o->env_seed, q->baseline, q->ratio,
                  q->aggregate, o->drop_equal, (long long)o->max_turns, (long long)o->max_tokens, o->eval_split,
                  (long long)o->eval_tasks);
    if (o->resample)
        dm_text_print(&p->identity, " resample %lld", (long long)o->resample);
    for (size_t i = 0; i < n; i++) {
        char hex[DM_DOUBLE_TEXT];
        dm_double_hex(hex, reals[i]);
        dm_text_print(&p->identity, " %s", hex);
    }
}

static dm_session_weights weights_of(const dm_run *r)
{
    return (dm_session_weights){&r->models.config, &r->models.layout, r->memory.weights, &r->models.policy};
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t measure(void *context, const dm_run *r)
{
    player *p = context;
    const dm_config *c = &r->models.config;
    const size_t length = (size_t)r->options.max_length;
    const size_t each = (size_t)c->layers * 2 * c->kv_heads * c->head_dim * length * sizeof(float);
    const dm_session_weights weights = weights_of(r);

    if (!p->o->at_once && p->slots > CACHE_BYTES / each)
        p->slots = larger(CACHE_BYTES / each, 1);
    return dm_session_bytes(r->engine, &weights, p->slots, length) +
           larger(p->policy.items, (size_t)p->o->eval_tasks) * length * TOKEN_BYTES;
}

static dm_status begin(void *context, dm_run *r, dm_error *err)
{
    player *p = context;
    const dm_session_weights weights = weights_of(r);
    const char *place = p->policy.place ? p->policy.place : r->options.output;
    dm_status s;

    p->run = r;
    p->live = (dm_rollout_live){.slots = p->slots,
                                .max_length = (size_t)r->options.max_length,
                                .config = &r->models.config,
                                .tokenizer = r->data.tokenizer,
                                .chat = &r->data.chat};
    if ((s = dm_path_in(&p->episodes, place, "episodes.jsonl", err)) != DM_OK ||
        (s = dm_path_in(&p->evaluation, place, "evaluation.jsonl", err)) != DM_OK)
        return s;
    return dm_session_share(&p->live.session, r->engine, &weights, p->slots, p->live.max_length, err);
}

static void end(void *context)
{
    player *p = context;
    dmpo_model_close(&p->live.session);
}

/* ---- playing ---- */

static int on_status(void *context, const dm_rollout_status *s, const char *note)
{
    dm_run *r = context;
    char text[64] = "";

    if (note)
        dm_run_event(r, DMPO_EVENT_NOTE, note, 0, 0, NULL);
    if (s->written)
        snprintf(text, sizeof text, "reward %.3f", s->reward / (double)s->written);
    dm_run_event(r, DMPO_EVENT_PROGRESS, *text ? text : NULL, s->done, s->total, NULL);
    return r->stop && r->ranks.count == 1; /* ranks play to the end, and stop together */
}

/* The weights as they are, for the episodes' record. */
static void hash_weights(player *p)
{
    const dm_run *r = p->run;
    dm_sha256 h;

    dm_sha256_init(&h);
    dm_sha256_update(&h, r->models.policy.sha256, sizeof r->models.policy.sha256);
    dm_sha256_update(&h, r->memory.trained, r->models.trained_layout->floats * sizeof *r->memory.trained);
    dm_sha256_finish(&h, p->live.sha256);
}

static dm_status play_file(player *p, dm_rollout_options *o, dm_rollout_status *status, dm_error *err)
{
    hash_weights(p);
    dm_session_forget(p->live.session); /* what it knows is of other weights */
    o->live = &p->live;
    o->env = p->o->env;
    o->env_seed = p->o->env_seed;
    o->max_turns = p->o->max_turns;
    o->max_tokens = p->o->max_tokens;
    o->max_length = (int64_t)p->live.max_length;
    o->overwrite = true;
    const dm_status s = dm_rollout(p->engine, o, on_status, p->run, status, err);
    if (s != DM_OK || p->run->ranks.count == 1)
        return s;
    const dm_status shared = dm_run_share_stop(p->run, err);
    return shared == DM_OK && p->run->stop ? dm_fail(err, DM_ERR_INTERRUPTED, "stopped after playing") : shared;
}

static dm_status evaluate(void *context, dm_run *r, dmpo_metrics *out, dm_error *err)
{
    player *p = context;
    dm_rollout_options o;
    dm_rollout_status status;
    const double start = dm_seconds();

    dm_rollout_defaults(&o);
    o.split = p->o->eval_split;
    o.tasks = p->o->eval_tasks;
    o.output = p->evaluation.text;
    const dm_status s = play_file(p, &o, &status, err);
    if (s != DM_OK)
        return s;
    (void)r;
    out->episodes = status.written;
    out->reward = status.reward / (double)status.written;
    out->seconds = dm_seconds() - start;
    out->tokens = status.tokens;
    out->tokens_per_second = (double)status.tokens / out->seconds;
    return DM_OK;
}

/* ---- episodes as items ---- */

/* Advantages of the turns of every episode, one array after another; NaN: left out. */
static dm_status weigh(const player *p, const dm_episodes *e, double *const *advantage, dm_error *err)
{
    const size_t samples = (size_t)p->o->samples;
    const dm_episode **group = calloc(samples, sizeof *group);
    double **of = calloc(samples, sizeof *of);
    dm_status s = group && of ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for a group of episodes");

    for (size_t first = 0; s == DM_OK && first < e->n; first += samples) {
        size_t n = 0;
        for (size_t i = first; i < first + samples && i < e->n; i++) {
            const dm_episode *x = &e->episode[i];
            for (size_t k = 0; k < x->turns; k++)
                advantage[i][k] = NAN;
            if (strcmp(x->end, dm_episode_end_names[DM_EPISODE_END_ENVIRONMENT]) == 0)
                continue; /* its reward says nothing of the policy */
            group[n] = x;
            of[n++] = advantage[i];
        }
        if (p->policy.critic.o.on)
            dm_online_rewards(&(dm_online_group){group, of, n});
        else
            s = dm_online_advantages(p->o, p->policy.o.baseline, &(dm_online_group){group, of, n}, err);
    }
    free(group);
    free(of);
    return s;
}

/* Whether anything of the episode counts. */
static bool counts(const dm_episode *e, const double *advantage)
{
    for (size_t k = 0; k < e->turns; k++)
        if (!isnan(advantage[k]))
            return true;
    return false;
}

/* Tokens of a turn that the policy chose. */
static size_t chosen(const player *p, const dm_episode_turn *t)
{
    const size_t most = (size_t)p->o->max_tokens;
    return t->n_ids < most ? t->n_ids : most;
}

/* Items whose episode counts, and for each token what sampling said and its turn's advantage; for a critic, the turn's
 * reward at its last token. The end of a turn that was cut off is not the policy's choice. */
static void take_items(player *p, dm_run *r, const dm_episodes *e, double *const *advantage)
{
    dm_dataset *data = &r->train.data;
    size_t n = 0, at = 0;

    p->policy.begin[0] = 0;
    for (size_t j = 0; j < data->n; j++) {
        const dm_data_item *item = &data->items[j];
        const dm_episode *x = &e->episode[item->number];
        if (!counts(x, advantage[item->number]))
            continue;
        for (size_t k = 0; k < item->chosen.n_turns; k++) {
            const dm_episode_turn *t = &x->turn[k];
            for (size_t i = 0; i < t->n_ids; i++, at++) {
                p->policy.old[at] = t->token_logps[i];
                p->policy.advantage[at] = (int64_t)i >= p->o->max_tokens                  ? NAN
                                          : p->policy.critic.o.on && i + 1 < chosen(p, t) ? 0
                                                                                          : advantage[item->number][k];
            }
        }
        data->items[n++] = *item;
        p->policy.begin[n] = at;
    }
    data->n = n;
}

static dm_status take_round(player *p, dm_run *r, const char *path, const dm_episodes *e, dm_error *err)
{
    const dm_data_options options = {.tokenizer = r->data.tokenizer,
                                     .chat = &r->data.chat,
                                     .vocabulary = r->models.config.vocab,
                                     .skip_invalid = true}; /* an episode in which no turn had room */
    size_t turns = 0;

    for (size_t i = 0; i < e->n; i++)
        turns += e->episode[i].turns;
    double *all = malloc((turns + 1) * sizeof *all), **advantage = calloc(e->n + 1, sizeof *advantage);
    dm_status s = all && advantage ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for a round's advantages");
    for (size_t i = 0, at = 0; s == DM_OK && i < e->n; at += e->episode[i++].turns)
        advantage[i] = all + at;
    if (s == DM_OK && (s = weigh(p, e, advantage, err)) == DM_OK && turns > 0 &&
        (s = dm_dataset_open(&r->train.data, path, &options, err)) == DM_OK) {
        if (r->train.data.report.retokenized || r->data.chat.rewrites)
            s = dm_fail(err, DM_ERR_UNSUPPORTED,
                        "the chat template renders earlier turns otherwise than the last one, so that no sequence is "
                        "what the policy saw: learning while acting needs another --template");
        else
            take_items(p, r, e, advantage);
    }
    free(all);
    free(advantage);
    return s;
}

static dm_status read_round(player *p, dm_run *r, dm_error *err)
{
    dm_online_copy copy;
    dm_episodes e = {0};
    const char *path;
    dm_status s = dm_online_copy_open(&copy, p->episodes.text, &path, err);

    if (s == DM_OK && (s = dm_episodes_read(&e, &path, 1, err)) == DM_OK)
        s = take_round(p, r, path, &e, err);
    dm_episodes_close(&e);
    dm_online_copy_close(&copy);
    return s;
}

/* The tasks of a round, or those that stand in for its groups without a difference: the next ones. */
static dm_status play_tasks(player *p, const dm_run *r, int64_t round, int64_t again, dm_error *err)
{
    const int64_t chunk = round * (p->o->resample + 1) + again;
    dm_rollout_options o;
    dm_rollout_status status;

    dm_rollout_defaults(&o);
    o.split = p->o->split;
    o.tasks = p->o->tasks;
    o.first = chunk % (p->pool / o.tasks) * o.tasks;
    o.samples = p->o->samples;
    o.temperature = 1; /* the policy itself */
    o.seed = r->options.seed + (uint64_t)round + (uint64_t)again * (uint64_t)p->o->rounds;
    o.output = p->episodes.text;
    const dm_status s = play_file(p, &o, &status, err);
    if (s != DM_OK)
        return s;
    p->policy.episodes += status.written;
    p->policy.sampled += status.tokens;
    p->policy.reward += status.reward;
    return DM_OK;
}

/* Plays until there are as many groups with a difference as tasks; these become the round's file. */
static dm_status play_again(player *p, const dm_run *r, int64_t round, dm_error *err)
{
    dm_text kept = {0};
    size_t groups = 0;
    const size_t most = (size_t)p->o->tasks;
    dm_status s = DM_OK;

    for (int64_t again = 0; s == DM_OK && again <= p->o->resample && groups < most; again++) {
        dm_online_copy copy;
        const char *path;
        if ((s = play_tasks(p, r, round, again, err)) == DM_OK &&
            (s = dm_online_copy_open(&copy, p->episodes.text, &path, err)) == DM_OK) {
            s = dm_online_keep(path, (size_t)p->o->samples, most, &kept, &groups, err);
            dm_online_copy_close(&copy);
        }
    }
    if (s == DM_OK && groups > 0 && r->ranks.self == 0) /* none: what is there is all left out */
        s = dm_file_write(p->episodes.text, kept.data, kept.size, err);
    dm_text_free(&kept);
    return s;
}

/* The file is what the transcript's records of the round begin with. */
static dm_status hash_round(player *p, const dm_run *r, dm_error *err)
{
    char hex[DM_SHA256_HEX];
    dm_status s = DM_OK;

    if (r->ranks.self == 0 && (s = dm_file_sha256(p->episodes.text, hex, err)) == DM_OK)
        dm_digest_read(&p->policy.digest, hex);
    return s;
}

static dm_status play(void *context, dm_run *r, int64_t round, dm_error *err)
{
    player *p = context;

    dm_dataset_close(&r->train.data);
    p->policy.episodes = p->policy.sampled = 0;
    p->policy.reward = 0;
    const dm_status s = p->o->resample ? play_again(p, r, round, err) : play_tasks(p, r, round, 0, err);
    if (s != DM_OK)
        return s;
    p->policy.reward /= (double)p->policy.episodes;
    const dm_status hashed = hash_round(p, r, err);
    return hashed == DM_OK ? read_round(p, r, err) : hashed;
}

/* Fills what a run of these options has; what it holds is freed with p->identity. */
static dm_status open_player(player *p, dmpo_engine *engine, const dm_online_options *options, dm_train_options *t,
                             dm_error *err)
{
    static const dm_ranks_fact none[DM_RANKS_FACTS];

    *p = (player){
        .engine = engine,
        .o = options,
        .policy = {
            .o = policy_options(options),
            .critic = {.o = critic_options(options)},
            .items = (size_t)(options->tasks * options->samples),
            .measure = measure,
            .rounds = options->rounds,
            .passes = options->passes,
            .player = {.play = play, .evaluate = options->eval_tasks ? evaluate : NULL, .begin = begin, .end = end}}};
    dm_status s = dm_ranks_agree(check(p, err), none, err);
    t->objective = DM_OBJECTIVE_SFT; /* of items, conversations */
    t->data = "episodes.jsonl";
    describe(p);
    if (s == DM_OK && p->identity.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for a run");
    p->policy.player.context = p;
    p->policy.identity = p->identity.data;
    return s;
}

dmpo_status dm_online(dmpo_engine *engine, const dm_online_options *options, const dm_train_options *train,
                      dmpo_event_fn event, void *context, dm_train_result *result, dmpo_error *error)
{
    dm_error err = {0};
    dm_train_options t = *train;
    player p;
    const dm_status s = open_player(&p, engine, options, &t, &err);

    *result = (dm_train_result){.before = {.step = -1}, .after = {.step = -1}};
    const dmpo_status status = s == DM_OK ? dm_train_policy(engine, &t, &p.policy, event, context, result, error)
                                          : dm_api_report(error, s, &err);
    dm_text_free(&p.identity);
    return status;
}

dm_status dm_online_verify(dmpo_engine *engine, const dm_online_options *options, const dm_train_options *train,
                           const dm_verify_options *v, const char *root, dm_verify_fn fn, void *context,
                           dmpo_event_fn event, void *event_context, dm_verify_result *result, dm_error *err)
{
    dm_train_options t = *train;
    dm_verify_options of_policy = *v;
    player p;
    dm_status s = open_player(&p, engine, options, &t, err);

    *result = (dm_verify_result){0};
    of_policy.policy = &p.policy;
    if (s == DM_OK)
        s = dm_verify_run(engine, &t, &of_policy, root, fn, context, event, event_context, result, err);
    dm_text_free(&p.identity);
    return s;
}

dmpo_status dm_online_plan(dmpo_engine *engine, const dm_online_options *options, const dm_train_options *train,
                           dmpo_plan *plan, dmpo_error *error)
{
    dm_error err = {0};
    dm_train_options t = *train;
    player p;
    const dm_status s = open_player(&p, engine, options, &t, &err);
    const dmpo_status status =
        s == DM_OK ? dm_plan_policy(engine, &t, &p.policy, plan, error) : dm_api_report(error, s, &err);

    dm_text_free(&p.identity);
    return status;
}
