/* Learning while acting: the first update of a round is exactly on-policy (every ratio 1, the divergence of an
 * untouched policy 0, to the bit); a run is the same on any level and thread count, and stopped or killed anywhere and
 * resumed; the advantages of episodes and steps; and the policy gets better. The model is small, trained here on
 * experts' runs of the shop, and fails often enough to learn. Its transcript is proved by playing the rounds again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/online/online.h"
#include "agent/rollout/rollout.h"
#include "core/files/file.h"
#include "io/json.h"
#include "model/network/params.h"
#include "model/formats/tensors.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

#define EXPERTS 16

/* ---- a policy that can be improved ---- */

static void must(dm_status s, const dm_error *err)
{
    if (!CK_MSG(s == DM_OK, "%s", err->message))
        exit(ck_done("online"));
}

static dmpo_engine *open_engine(const char *isa, unsigned threads)
{
    dmpo_engine *engine;
    dmpo_error error = {0};
    if (!CK_MSG(dmpo_engine_open(&engine, isa, threads, &error) == DMPO_OK, "%s", error.message))
        exit(ck_done("online"));
    return engine;
}

/* A byte-level model with the tokenizer of the experts' runs. */
static void make_start(const char *dir, const char *text)
{
    const char *const *specials;
    const size_t n = dm_template_specials(DM_TEMPLATE_PLAIN, &specials), size = strlen(text);
    dm_config c = small_shape;
    dm_param_layout layout = {0};
    dm_tokenizer *t = NULL;
    dm_chat_template chat;
    dm_error err = {0};
    char hex[DM_SHA256_HEX];

    must(dm_dir_create(dir, &err), &err);
    must(dm_tokenizer_train(&t, &text, &size, 1, 500, 2, DM_WORD_SPLIT_GPT2, false, specials, n, &err), &err);
    must(dm_template_open(&chat, &(dm_template_choice){.name = "plain"}, NULL, t, &err), &err);
    must(dm_tokenizer_save(t, dir, &err), &err);
    must(dm_template_save(&chat, t, dir, &err), &err);
    c.hidden = 32;
    c.intermediate = 64;
    c.layers = 1;
    c.heads = c.kv_heads = 2;
    c.head_dim = 16;
    c.vocab = (uint32_t)dm_tokenizer_size(t);
    c.max_positions = 700;
    must(dm_param_layout_build(&layout, &c, &err), &err);
    float *w = calloc(layout.floats, sizeof *w);
    if (!CK(w != NULL))
        exit(ck_done("online"));
    dm_weights_init(w, &layout, 0, 0.1);
    must(dm_config_write(&c, DM_F32, dir, &err), &err);
    must(dm_weights_write(w, &layout, dir, hex, &err), &err);
    free(w);
    dm_param_layout_free(&layout);
    dm_template_close(&chat);
    dm_tokenizer_close(&t);
}

static void make_policy(const char *dir)
{
    dmpo_engine *engine = open_engine(NULL, 1);
    dm_rollout_options o;
    dm_rollout_status status;
    dm_train_options t;
    dm_train_result result;
    dm_error err = {0};
    dmpo_error error = {0};

    dm_rollout_defaults(&o);
    o.env = "shop";
    o.player = DM_ROLLOUT_PLAYER_EXPERT;
    o.tasks = EXPERTS;
    o.output = at("experts.jsonl");
    must(dm_rollout(engine, &o, NULL, NULL, &status, &err), &err);
    char *text = slurp(o.output);
    make_start(at("start"), text ? text : "");
    free(text);
    dm_train_defaults(&t, DM_OBJECTIVE_SFT);
    t.model = at("start");
    t.data = o.output;
    t.output = dir;
    t.lr = 0.01;
    t.beta2 = 0.95;
    t.batch = 4;
    t.steps = 180;
    CK_MSG(dm_train(engine, &t, NULL, NULL, &result, &error) == DMPO_OK, "%s", error.message);
    dmpo_engine_close(&engine);
}

/* ---- runs ---- */

typedef struct job {
    dm_online_options o;
    dm_train_options t;
    const char *isa;
    unsigned threads;
    int64_t stop; /* asks to stop at this event, or ends the process there; negative: never */
    bool kill;
    int64_t events;
    dm_train_result result;
    char message[DM_ERROR_MAX];
} job;

static job job_of(const char *model, const char *output)
{
    job j = {.isa = NULL, .threads = 1, .stop = -1};

    dm_online_defaults(&j.o);
    j.o.env = "shop";
    j.o.rounds = 3;
    j.o.tasks = 3;
    j.o.samples = 4;
    j.o.max_tokens = 16;
    j.o.max_turns = 9;
    j.o.eval_tasks = 4;
    j.o.eval_split = DM_ENV_SPLIT_TRAIN;
    dm_train_defaults(&j.t, DM_OBJECTIVE_DMPO);
    j.t.model = model;
    j.t.output = output;
    j.t.lr = 1e-3;
    j.t.warmup_steps = 0;
    j.t.batch = 5;
    return j;
}

static int on_event(void *context, const dmpo_event *e)
{
    job *j = context;

    if (e->kind == DMPO_EVENT_PROGRESS && e->done == 0)
        return 0; /* there are as many of these as tokens */
    const bool now = j->events++ == j->stop;
    if (now && j->kill)
        _exit(7);
    return now;
}

static dmpo_status run(job *j)
{
    dmpo_engine *engine = open_engine(j->isa, j->threads);
    dmpo_error error = {0};
    const dmpo_status s = dm_online(engine, &j->o, &j->t, on_event, j, &j->result, &error);

    memcpy(j->message, error.message,
           sizeof j->message < sizeof error.message ? sizeof j->message : sizeof error.message);
    j->message[sizeof j->message - 1] = '\0';
    dmpo_engine_close(&engine);
    return s;
}

static void must_run(job *j)
{
    CK_MSG(run(j) == DMPO_OK, "%s: %s", j->t.output, j->message);
}

static double figure(const dm_json *line, const char *key)
{
    const dm_json *v = dm_json_get(line, key);
    return v && v->type == DM_JSON_NUMBER ? v->number : NAN;
}

/* The first update of every round has ratios of exactly 1; before any update the policy is the reference. */
static void check_metrics(const char *dir, const job *j)
{
    char path[PATH];
    dm_json_doc *doc = NULL;
    dm_error err = {0};
    const int64_t updates = (j->o.tasks * j->o.samples + j->t.batch - 1) / j->t.batch * j->o.passes;
    size_t moved = 0, first = 0;
    bool apart = false; /* after the last update */

    if (!CK_MSG(dm_json_read_any(&doc, join(path, dir, "metrics.jsonl"), &err) == DM_OK, "%s", err.message))
        return;
    for (const dm_json *v = dm_json_root(doc)->child; v; v = v->next) {
        const int64_t step = (int64_t)figure(v, "step");
        const double low = figure(v, "ratio/low"), high = figure(v, "ratio/high"), kl = figure(v, "kl");
        if (!dm_json_is(dm_json_get(v, "kind"), "train"))
            continue;
        if ((step - 1) % updates == 0) {
            first++;
            CK_MSG(low == 1 && high == 1 && figure(v, "clipped") == 0, "step %lld: ratios %.17g to %.17g",
                   (long long)step, low, high);
        } else {
            moved += low != 1 && high != 1;
        }
        CK_MSG(step == 1 ? kl == 0 : kl >= 0, "step %lld: kl %.17g", (long long)step, kl);
        apart = kl > 0;
    }
    CK_MSG(first == (size_t)j->o.rounds && moved > 0 && apart, "%zu rounds, %zu updates off-policy", first, moved);
    dm_json_close(&doc);
}

static void check_objectives(const char *model)
{
    for (int objective = DM_ONLINE_RLOO; objective <= DM_ONLINE_PPO_TURN; objective++) {
        job j = job_of(model, at(dm_online_objective_names[objective]));
        j.o.objective = objective;
        j.o.kl = 0.05;
        j.o.value_trunk = objective == DM_ONLINE_PPO_TURN;
        j.o.passes = 2;
        must_run(&j);
        check_metrics(j.t.output, &j);
        CK(j.result.before.step == 0 && j.result.after.step == j.result.steps && j.result.after.episodes == 4);
        const dm_train_spent *spent = &j.result.spent;
        CK(spent->episodes == j.o.rounds * j.o.tasks * j.o.samples && spent->learnt > j.o.passes * spent->sampled &&
           spent->playing > 0 && spent->learning > 0);
    }
}

/* The slowest level, another thread count, another number of episodes at once. */
static void check_same_everywhere(const char *model)
{
    job one = job_of(model, at("one"));
    one.o.rounds = 2;
    one.o.tasks = 1;
    one.o.kl = 0.05;
    one.o.max_turns = 4;
    one.o.eval_tasks = 1;
    one.o.objective = DM_ONLINE_PPO;
    one.o.value_trunk = true;
    job other = one;
    other.t.output = at("other");
    other.isa = "scalar";
    other.threads = 2;
    other.o.at_once = 3;
    must_run(&one);
    must_run(&other);
    check_same_run(one.t.output, other.t.output, "another level, thread count and number at once");
}

static void kill_in_child(outcome *out, void *context)
{
    (void)out;
    run(context);
}

static void check_resume(const char *model)
{
    job whole = job_of(model, at("whole"));
    const char *const part = at("part");

    whole.o.objective = DM_ONLINE_PPO_TURN; /* a critic, too, is where it was */
    whole.o.kl = 0.05;
    whole.o.rounds = 2;
    whole.t.eval_every = 1;
    must_run(&whole);
    for (int64_t stop = 1; stop < whole.events; stop += fast() ? whole.events / 3 : 7) {
        job j = whole;
        j.t.output = part;
        j.t.overwrite = true;
        j.t.checkpoint_every = 1;
        j.events = 0;
        j.stop = stop;
        j.kill = stop % 2 != 0;
        if (j.kill) {
            const outcome o = in_child(kill_in_child, &j);
            CK_MSG(o.status != DMPO_OK || o.signal == 0, "a child ended by signal %d", o.signal);
        } else {
            const dmpo_status s = run(&j);
            CK_MSG(s == DMPO_ERR_INTERRUPTED || s == DMPO_OK, "%s", j.message);
        }
        j.t.resume = true;
        j.t.overwrite = false;
        j.stop = -1;
        must_run(&j);
        check_same_run(whole.t.output, part, j.kill ? "killed and resumed" : "stopped and resumed");
    }
}

/* ---- its transcript ---- */

static int ignore(void *context, bool refuted, const char *text)
{
    (void)context, (void)refuted, (void)text;
    return 0;
}

/* On another level and thread count. */
static dm_verify_result prove(const job *j, int64_t sample)
{
    dmpo_engine *engine = open_engine("scalar", 2);
    const dm_verify_options v = {.run = j->t.output, .sample = sample, .seed = 1};
    dm_verify_result result;
    dm_error err = {0};

    must(dm_online_verify(engine, &j->o, &j->t, &v, j->result.transcript_sha256, ignore, NULL, NULL, NULL, &result,
                          &err),
         &err);
    dmpo_engine_close(&engine);
    return result;
}

/* Lowers a digit of the last episode's reward. */
static void forge_reward(const char *dir)
{
    char path[PATH];
    char *text = slurp(join(path, dir, "episodes.jsonl")), *reward = NULL;

    for (char *p = text; p && (p = strstr(p, "\"reward\": ")); p++)
        reward = p;
    if (!CK(reward != NULL))
        return;
    reward[strlen("\"reward\": ")] ^= 1;
    CK(dm_file_write(path, text, strlen(text), NULL) == DM_OK);
    free(text);
}

static void check_transcript(const char *model)
{
    job j = job_of(model, at("proved"));
    char path[PATH];

    j.o.rounds = 2;
    j.o.objective = DM_ONLINE_PPO_TURN;
    j.o.kl = 0.05;
    j.o.tasks = 2;
    j.o.max_turns = 4;
    j.o.eval_tasks = 1;
    j.t.checkpoint_every = 1;
    j.t.keep_checkpoints = true;
    must_run(&j);
    dm_verify_result r = prove(&j, 0);
    CK_MSG(r.refuted == 0 && r.proved == j.result.steps && r.checkpoints == 2 && r.weights, "%lld of %lld proved",
           (long long)r.proved, (long long)j.result.steps);
    j.o.env_seed++;
    CK(prove(&j, 1).refuted > 0);
    j.o.env_seed--;
    forge_reward(j.t.output);
    r = prove(&j, 0);
    CK_MSG(r.refuted == 1 && r.proved == j.result.steps, "%lld findings", (long long)r.refuted);
    CK(unlink(join(path, j.t.output, DM_TRANSCRIPT_FILE)) == 0);
    r = prove(&j, 0);
    CK(r.refuted == 1 && !r.transcript);
}

/* Rewards of the last round's episodes, group by group. */
static size_t groups_without_difference(const job *j, size_t *groups)
{
    char path[PATH];
    const char *const name = join(path, j->t.output, "episodes.jsonl");
    const size_t samples = (size_t)j->o.samples;
    dm_episodes e = {0};
    dm_error err = {0};
    size_t equal = 0;

    must(dm_episodes_read(&e, &name, 1, &err), &err);
    *groups = e.n / samples;
    for (size_t i = 0; i + samples <= e.n; i += samples) {
        double reward[16];
        for (size_t k = 0; k < samples; k++)
            reward[k] = e.episode[i + k].reward;
        equal += dm_policy_equal(reward, samples);
    }
    dm_episodes_close(&e);
    return equal;
}

/* Others are played in the place of groups without a difference. */
static void check_resample(const char *model)
{
    job j = job_of(model, at("resampled"));
    size_t groups = 0;

    j.o.rounds = 2;
    j.o.eval_tasks = 0;
    j.o.samples = 4;
    j.o.drop_equal = true;
    j.o.resample = 8;
    must_run(&j);
    const size_t equal = groups_without_difference(&j, &groups);
    CK_MSG(equal == 0 && groups == 3, "%zu groups, %zu without a difference", groups, equal);
    CK_MSG(j.result.spent.episodes > j.o.rounds * j.o.tasks * j.o.samples, "%lld episodes",
           (long long)j.result.spent.episodes);
    j.o.drop_equal = false;
    CK(run(&j) == DMPO_ERR_ARGUMENT && strstr(j.message, "--drop-equal"));
}

/* A run that is only planned has the lines of one that learns; a critic's room is among them. */
static void check_plan(const char *model)
{
    dmpo_engine *engine = open_engine(NULL, 1);
    uint64_t items[2] = {0};

    for (int critic = 0; critic < 2; critic++) {
        job j = job_of(model, NULL);
        dmpo_plan plan = {.size = sizeof plan};
        dmpo_error error = {0};
        bool sampling = false;
        j.o.objective = critic ? DM_ONLINE_PPO : DM_ONLINE_GRPO;
        CK_MSG(dm_online_plan(engine, &j.o, &j.t, &plan, &error) == DMPO_OK, "%s", error.message);
        for (size_t i = 0; i < plan.lines; i++) {
            sampling |= strncmp(plan.line[i].what, "sampling", 8) == 0;
            if (strncmp(plan.line[i].what, "reference", 9) == 0)
                items[critic] = plan.line[i].bytes;
        }
        CK(sampling && plan.total > plan.line[0].bytes);
    }
    /* each token's value and target */
    const job j = job_of(model, NULL);
    const size_t tokens = (size_t)(j.o.tasks * j.o.samples * j.o.max_turns * (j.o.max_tokens + 1));
    CK_MSG(items[1] - items[0] >= 16 * tokens, "%llu and %llu bytes", (unsigned long long)items[0],
           (unsigned long long)items[1]);
    dmpo_engine_close(&engine);
}

/* An adapter on the policy, and the reference is the policy without it. */
static void check_adapter(const char *model)
{
    job j = job_of(model, at("adapter"));
    j.t.lora_rank = 2;
    j.o.kl = 0.05;
    j.o.passes = 2;
    j.o.rounds = 2;
    must_run(&j);
    check_metrics(j.t.output, &j);
}

/* ---- it learns ---- */

/* The reward of sampled play, in the first two rounds and in the last two. */
static void check_learning(const char *model)
{
    job j = job_of(model, at("better"));
    char path[PATH];
    dm_json_doc *doc = NULL;
    dm_error err = {0};
    double early = 0, late = 0;

    j.o.objective = DM_ONLINE_GIGPO;
    j.o.rounds = 12;
    j.t.lr = 5e-4;

    j.o.samples = 8;
    j.o.pool = j.o.tasks = 4;
    j.o.eval_tasks = 0;
    j.t.batch = 32;
    must_run(&j);
    if (!CK_MSG(dm_json_read_any(&doc, join(path, j.t.output, "metrics.jsonl"), &err) == DM_OK, "%s", err.message))
        return;
    for (const dm_json *v = dm_json_root(doc)->child; v; v = v->next) {
        early += figure(v, "step") <= 2 ? figure(v, "reward") / 2 : 0;
        late += figure(v, "step") > (double)j.o.rounds - 2 ? figure(v, "reward") / 2 : 0;
    }
    printf("online: mean reward %.3f in the first two rounds, %.3f in the last two\n", early, late);
    CK_MSG(late > early + 0.1, "%.3f, then %.3f", early, late);
    dm_json_close(&doc);
}

/* ---- advantages ---- */

static void check_advantages(void)
{
    dm_episode_turn a[2] = {{.observation = "Observation: x", .score = 0.5}, {.observation = "end", .score = 1}};
    dm_episode_turn b[2] = {{.observation = "Observation: x", .score = 0.5}, {.observation = "end", .score = 0.5}};
    const dm_episode first = {.prompt = {"", "OK", "task"}, .turn = a, .turns = 2, .reward = 1};
    const dm_episode second = {.prompt = {"", "OK", "task"}, .turn = b, .turns = 2, .reward = 0.5};
    const dm_episode *const episodes[] = {&first, &second};
    double one[2], two[2], *const advantage[] = {one, two};
    const dm_online_group group = {episodes, advantage, 2};
    dm_online_options o;
    dm_error err = {0};

    dm_online_defaults(&o);
    o.objective = DM_ONLINE_RLOO;
    CK(dm_online_advantages(&o, DM_BASELINE_LEAVE_ONE_OUT, &group, &err) == DM_OK);
    CK(one[0] == 0.5 && one[1] == 0.5 && two[0] == -0.5 && two[1] == -0.5);
    /* Both turns begin in a state that the episodes share: from "task" 0.5 + 0.5 * 0.5 against 0.5, from "x" 0.5
     * against 0, halved by the mean. */
    o.objective = DM_ONLINE_GIGPO;
    o.discount = 0.5;
    o.step_weight = 2;
    CK(dm_online_advantages(&o, DM_BASELINE_MEAN, &group, &err) == DM_OK);
    CK_MSG(one[0] == 0.25 + 2 * 0.125 && one[1] == 0.25 + 2 * 0.25, "%.17g and %.17g", one[0], one[1]);
    CK(two[0] == -one[0] && two[1] == -one[1]);
    b[0].observation = "Observation: y"; /* a state of its own: nothing to compare with */
    CK(dm_online_advantages(&o, DM_BASELINE_MEAN, &group, &err) == DM_OK && one[1] == 0.25 && two[1] == -0.25);
    const dm_episode *const same[] = {&first, &first};
    const dm_online_group equal = {same, advantage, 2};
    o.drop_equal = true;
    CK(dm_online_advantages(&o, DM_BASELINE_MEAN, &equal, &err) == DM_OK && isnan(one[0]) && isnan(two[1]));
}

static void check_refused(const char *model)
{
    job j = job_of(model, at("refused"));

    j.o.env = "palace";
    CK(run(&j) == DMPO_ERR_ARGUMENT && strstr(j.message, "is not one of"));
    j.o.env = "shop";
    j.o.tasks = 1 << 20;
    CK(run(&j) == DMPO_ERR_ARGUMENT && strstr(j.message, "--tasks 1048576 of --pool"));
    j.o.tasks = 1;
    j.t.memory = 1 << 20;
    CK_MSG(run(&j) == DMPO_ERR_MEMORY && strstr(j.message, "is too small for this run"), "%s", j.message);
    CK(!dm_dir_exists(j.t.output));
}

int main(void)
{
    work_open();
    const char *const model = at("policy");
    make_policy(model);
    check_advantages();
    check_objectives(model);
    check_same_everywhere(model);
    check_resume(model);
    check_transcript(model);
    check_resample(model);
    check_plan(model);
    check_adapter(model);
    if (!fast())
        check_learning(model);
    check_refused(model);
    work_close();
    return ck_done("online");
}
