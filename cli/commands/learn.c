/* dmpo learn: a policy learns from the episodes that it plays. */
#include <stdio.h>
#include <string.h>

#include "agent/online/online.h"
#include "cli/call.h"
#include "cli/files.h"
#include "cli/manifest.h"
#include "cli/plan_text.h"
#include "cli/run_file.h"
#include "io/json_seal.h"

#define COUNT_MAX (1 << 24)

typedef cli_learn_values learn_options;

static const cli_option own_options[] = {
    DM_OPTION_TEXT(learn_options, online.env, "env", "SPEC",
                   "a built-in environment (dmpo play lists them), or 'cmd:PROGRAM ARGUMENTS'", .absent = "required"),
    DM_OPTION_CHOICE(learn_options, online.objective, "objective", "NAME", dm_online_objective_names, "the method",
                     .manual = "The method: how rewards become advantages and what is maximised, unless `baseline`, "
                               "`ratio` and `aggregate` say otherwise. rloo: leave-one-out, none, sum. grpo: mean-std, "
                               "token, mean. gigpo: as grpo, and turns that begin in the same state of one task are "
                               "compared as well. ppo: a critic says what each token adds; mean-std, token, token. "
                               "ppo-turn: what each turn adds; mean-std, turn, token."),
    DM_OPTION_INTEGER(learn_options, online.rounds, "rounds", "N", "rounds of playing and learning", .low = 1,
                      .high = COUNT_MAX),
    DM_OPTION_INTEGER(
        learn_options, online.tasks, "tasks", "N", "tasks of a round", .low = 1, .high = 65536,
        .manual = "Tasks of a round: the next ones of `split`, from the beginning of `pool` again after its last."),
    DM_OPTION_INTEGER(learn_options, online.pool, "pool", "N", "learns from the first N tasks of `split` (0: all)",
                      .low = 0, .high = COUNT_MAX),
    DM_OPTION_INTEGER(learn_options, online.samples, "samples", "N", "episodes of each task: a group", .low = 1,
                      .high = 4096,
                      .manual = "Episodes of each task, sampled at temperature 1 from all tokens: a group, "
                                "whose rewards are compared."),
    DM_OPTION_INTEGER(
        learn_options, online.passes, "passes", "N", "passes over the episodes of a round", .low = 1, .high = 1000,
        .manual = "Passes over the episodes of a round, in batches of `batch`. Only the first update of a "
                  "round is exactly on-policy; `clip` bounds the others."),
    DM_OPTION_CHOICE(learn_options, online.split, "split", "NAME", dm_env_split_names, "the split of the tasks"),
    DM_OPTION_SEED(learn_options, online.env_seed, "env-seed", "N", "the environment's seed"),
    DM_OPTION_CHOICE(learn_options, online.baseline, "baseline", "NAME", dm_online_baseline_names,
                     "what a reward is compared with",
                     .manual = "What a reward is compared with: its group's mean, divided by the group's deviation or "
                               "not, or the mean of the group's other rewards; with a critic the mean of the round's "
                               "advantages. none: nothing. auto: as the objective has it."),
    DM_OPTION_CHOICE(learn_options, online.ratio, "ratio", "NAME", dm_online_ratio_names, "which ratio is clipped",
                     .manual = "Which ratio to the probability when it was sampled is weighed and clipped: each "
                               "token's, the geometric mean of a trajectory's (GSPO), or the product of a turn's; "
                               "none: the log-probability itself is weighed. auto: as the objective has it."),
    DM_OPTION_CHOICE(learn_options, online.aggregate, "aggregate", "NAME", dm_online_aggregate_names,
                     "how tokens add up to the loss",
                     .manual =
                         "How tokens add up to the loss: mean over a trajectory's, then over trajectories; token: "
                         "mean over all tokens of the batch (DAPO); sum over a trajectory's, then mean over "
                         "trajectories (Dr. GRPO). auto: as the objective has it."),
    DM_OPTION_REAL(learn_options, online.clip_low, "clip", "E", "ratios below 1 - E are clipped", .low = 0, .high = 1,
                   .legal = "0 to 1"),
    DM_OPTION_REAL(learn_options, online.clip_high, "clip-high", "E", "ratios above 1 + E are clipped (0: as `clip`)",
                   .low = 0, .high = 1e6, .legal = "0 or more"),
    DM_OPTION_REAL(learn_options, online.kl, "kl", "W", "weight of the divergence from the initial policy", .low = 0,
                   .high = 1e6, .legal = "0 or more"),
    DM_OPTION_FLAG(learn_options, online.drop_equal, "drop-equal", "leaves out groups whose rewards are all equal"),
    DM_OPTION_INTEGER(learn_options, online.resample, "resample", "N",
                      "drop-equal: plays up to N times further tasks in place of such groups", .low = 0, .high = 1000,
                      .manual = "With `drop-equal`: plays the next tasks, up to N times as many as `tasks`, until "
                                "there are `tasks` groups whose rewards differ (DAPO)."),
    DM_OPTION_REAL(learn_options, online.step_weight, "step-weight", "W",
                   "gigpo: weight of comparing steps, where comparing episodes has 1", .low = 0, .high = 1e6,
                   .legal = "0 or more"),
    DM_OPTION_REAL(learn_options, online.discount, "discount", "G", "gigpo, ppo: discount of later rewards",
                   .absent = "gigpo 0.95, ppo 1, ppo-turn 0.99", .low = -1, .high = 1, .legal = "0 to 1"),
    DM_OPTION_REAL(learn_options, online.lambda, "lambda", "L", "ppo: lambda of generalised advantage estimation",
                   .absent = "ppo 0.95, ppo-turn 0.9", .low = -1, .high = 1, .legal = "0 to 1"),
    DM_OPTION_REAL(learn_options, online.value_weight, "value-weight", "W", "ppo: weight of the value loss", .low = 0,
                   .high = 1e6, .legal = "0 or more"),
    DM_OPTION_REAL(learn_options, online.value_clip, "value-clip", "E",
                   "ppo: how far a value may move from its old one (0: any distance)", .low = 0, .high = 1e6,
                   .legal = "0 or more"),
    DM_OPTION_REAL(learn_options, online.value_lr, "value-lr", "X", "ppo: learning rate of the critic's own weights",
                   .low = 0, .high = 1e6, .legal = "0 or more"),
    DM_OPTION_FLAG(learn_options, online.value_trunk, "value-trunk", "ppo: the value loss also trains the model"),
    DM_OPTION_INTEGER(learn_options, online.max_turns, "max-turns", "N",
                      "maximum turns of an episode (0: the environment's limit)", .low = 0, .high = COUNT_MAX),
    DM_OPTION_INTEGER(learn_options, online.max_tokens, "max-tokens", "N",
                      "maximum tokens of a turn, without the end-of-turn token", .low = 1, .high = 65536),
    DM_OPTION_INTEGER(learn_options, online.at_once, "at-once", "N",
                      "number of episodes to play at once (0: at most 32, by memory and the environment's cost)",
                      .low = 0, .high = 256),
    DM_OPTION_CHOICE(learn_options, online.eval_split, "eval-split", "NAME", dm_env_split_names,
                     "the split of the held-out tasks"),
    DM_OPTION_INTEGER(learn_options, online.eval_tasks, "eval-tasks", "N", "held-out tasks, played greedily (0: none)",
                      .low = 0, .high = COUNT_MAX,
                      .manual = "Held-out tasks, the first of `eval-split`, played greedily before the first round, "
                                "after every `eval-every` rounds and at the end (0: none)."),
    DM_OPTION_FLAG(learn_options, plan, "plan", "prints the memory that the run will need, and runs nothing"),
};
#define OWN (sizeof own_options / sizeof *own_options)

/* Of training; eval-every and checkpoint-every count rounds. */
static const char *const library[] = {"model",        "output",          "template",    "template-option",
                                      "lr",           "adam-beta1",      "adam-beta2",  "adam-eps",
                                      "weight-decay", "max-grad-norm",   "schedule",    "warmup-ratio",
                                      "warmup-steps", "batch",           "max-length",  "seed",
                                      "shuffle",      "shards",          "lora-rank",   "lora-alpha",
                                      "lora-targets", "lora-stabilised", "eval-every",  "checkpoint-every",
                                      "resume",       "overwrite",       "tensorboard", "keep-checkpoints",
                                      "transcript",   "recompute",       "memory",      NULL};

static cli_option options[64];

const cli_option *cli_learn_options(void)
{
    if (!options[0].info.name) {
        memcpy(options, own_options, sizeof own_options);
        cli_library_options(options + OWN, sizeof options / sizeof *options - OWN, library, NULL);
    }
    return options;
}

static const cli_command command = {
    "learn",
    "Plays episodes of an environment with a model and learns from them, round after round.",
    "--env SPEC --model PATH --output DIR [options]",
    "A round plays --samples episodes of each of --tasks tasks with the model as it is, compares their rewards, and\n"
    "learns from them. --eval-every and --checkpoint-every count rounds. OUTPUT is what dmpo train leaves, with the\n"
    "last round's episodes in episodes.jsonl. Ctrl-C stops between two rounds, or drops the one that is being played;\n"
    "--resume continues with the same bits.",
    options,
    0,
    0};

static void evaluation_json(dm_json_writer *w, const char *name, const dmpo_metrics *m)
{
    dm_json_new_line(w);
    if (m->step < 0) {
        dm_json_put_null(w, name);
        return;
    }
    dm_json_open_object(w, name);
    dm_json_put_double(w, "reward", m->reward);
    dm_json_close_value(w);
}

/* files: and what the directory holds. */
static dm_status run_json(dm_text *t, const learn_options *o, const dmpo_train_options *train,
                          const dmpo_engine *engine, const dm_train_result *r, bool files, dm_error *err)
{
    dm_json_writer w = {.out = t};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "command", "learn");
    dm_json_put_string(&w, "version", dmpo_version());
    dm_json_put_string(&w, "isa", dmpo_engine_isa(engine));
    dm_json_put_uint(&w, "threads", dmpo_engine_threads(engine));
    dm_json_new_line(&w);
    dm_json_open_object(&w, "options");
    cli_options_json(&w, options, o, train);
    dm_json_close_value(&w);
    dm_json_new_line(&w);
    dm_json_put_string(&w, "model_sha256", r->model_sha256);
    dm_json_put_int(&w, "steps", r->steps);
    dm_json_put_string(&w, "weights_sha256", r->weights_sha256);
    dm_json_new_line(&w);
    dm_json_put_uint(&w, "planned_memory", r->planned_memory);
    dm_json_put_uint(&w, "peak_memory", r->peak_memory);
    dm_json_new_line(&w);
    dm_json_open_object(&w, "spent");
    dm_json_put_fixed(&w, "playing_seconds", r->spent.playing, 3);
    dm_json_put_fixed(&w, "learning_seconds", r->spent.learning, 3);
    dm_json_put_int(&w, "episodes", r->spent.episodes);
    dm_json_put_int(&w, "sampled_tokens", r->spent.sampled);
    dm_json_put_int(&w, "learnt_tokens", r->spent.learnt);
    dm_json_close_value(&w);
    evaluation_json(&w, "before", &r->before);
    evaluation_json(&w, "after", &r->after);
    return cli_manifest_end(&w, r->transcript_sha256, files ? dmpo_train_options_get(train, "output") : NULL, err);
}

static void print_spent(const dm_train_spent *x)
{
    const double seconds = x->playing + x->learning;

    if (x->episodes == 0 || !(seconds > 0)) /* it was done already */
        return;
    printf("time               %.0f %% playing, %.0f %% learning\n", 100 * x->playing / seconds,
           100 * x->learning / seconds);
    printf("a second           %.4g episodes, %.0f tokens sampled, %.0f tokens learnt from\n",
           (double)x->episodes / seconds, (double)x->sampled / seconds, (double)x->learnt / seconds);
}

static dm_status report(const cli_call *c, const dm_train_result *r, dm_error *err)
{
    char peak[32];
    dm_text t = {0};

    dm_status s = run_json(&t, c->options, c->args.train, c->engine, r, true, err);
    if (s == DM_OK)
        s = cli_write(dmpo_train_options_get(c->args.train, "output"), "run.json", &t, err);
    if (s == DM_OK && c->common.json) {
        t.size = 0;
        run_json(&t, c->options, c->args.train, c->engine, r, false, NULL);
        fwrite(t.data, 1, t.size, stdout);
    } else if (s == DM_OK) {
        if (r->after.step >= 0)
            printf("held-out reward    %.4f -> %.4f\n", r->before.reward, r->after.reward);
        print_spent(&r->spent);
        printf("peak memory        %s\nweights sha256     %s\n", cli_bytes(peak, (double)r->peak_memory),
               r->weights_sha256);
    }
    dm_text_free(&t);
    return s;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const learn_options *o = c->options;

    return o->plan || dmpo_train_options_get(c->args.train, "output")
               ? DM_OK
               : dm_fail(err, DM_ERR_ARGUMENT,
                         "no output given; --output DIR names the directory for the trained model");
}

static dm_status plan(cli_call *c, dm_error *err)
{
    const learn_options *o = c->options;
    dmpo_plan p = {.size = sizeof p};
    dm_text t = {0};
    dm_json_writer w = {.out = &t};
    dmpo_error error = {0};
    const dmpo_status s = dm_online_plan(c->engine, &o->online, dm_train_options_values(c->args.train), &p, &error);

    cli_progress_close(&c->progress);
    if (s != DMPO_OK || !cli_is_first())
        return cli_call_api(s, &error, err);
    if (!c->common.json) {
        cli_plan_print(&p, false);
        return DM_OK;
    }
    dm_json_open_object(&w, NULL);
    cli_plan_json(&w, &p);
    dm_json_close_value(&w);
    puts(t.failed ? "" : t.data);
    dm_text_free(&t);
    return DM_OK;
}

static dm_status learn(cli_call *c, dm_error *err)
{
    const learn_options *o = c->options;
    dm_train_result result;
    dmpo_error error = {0};

    if (o->plan)
        return plan(c, err);
    const dm_status s =
        cli_call_api((dmpo_status)dm_online(c->engine, &o->online, dm_train_options_values(c->args.train),
                                            cli_progress_event, &c->progress, &result, &error),
                     &error, err);

    cli_progress_close(&c->progress);
    return s == DM_OK && cli_is_first() ? report(c, &result, err) : s;
}

int cli_learn(int argc, char **argv)
{
    learn_options o = {.plan = false};
    cli_call call = {
        .command = &command, .options = &o, .needs = CLI_TRAIN | CLI_ENGINE | CLI_STOPS, .check = check, .work = learn};

    cli_learn_options();
    dm_online_defaults(&o.online);
    return cli_call_run(&call, argc, argv);
}
