/* Plans and the schedule, with commands that only write what they were asked: what depends on what, what runs again,
 * and what becomes of a stage that fails or is stopped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/experiment/questions.h"
#include "agent/experiment/schedule.h"
#include "agent/experiment/stages_internal.h"
#include "core/files/file.h"
#include "tests/support/check.h"
#include "tests/support/experiment_tool.h"

static char work[64];

/* ---- plans ---- */

static const dm_stage *stage(const experiment_made *m, const char *name)
{
    for (size_t i = 0; i < m->plan.stages; i++)
        if (strcmp(m->plan.stage[i].name, name) == 0)
            return &m->plan.stage[i];
    return NULL;
}

/* Of the stages of b, how many have a key that a has, too. */
static size_t common(const experiment_made *a, const experiment_made *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->plan.stages; i++)
        for (size_t k = 0; k < a->plan.stages; k++)
            n += strcmp(a->plan.stage[k].key, b->plan.stage[i].key) == 0;
    return n;
}

static void test_keys(void)
{
    experiment_made a, b;

    if (!experiment_make(&a, RECIPE("'methods': [" SFT ", " DPO ", " DMPO "]"), "out"))
        return;
    /* expert, tokenizer, init, sft, explore, pairs, dpo, dmpo, and two evaluations of three methods */
    CK_MSG(a.plan.stages == 14, "%zu stages", a.plan.stages);
    CK(a.plan.evaluations == 6 && a.plan.trainings == 3 && a.plan.pairs_made == 1);
    for (size_t i = 0; i < a.plan.stages; i++)
        for (size_t k = 0; k < a.plan.stage[i].args; k++)
            CK(a.plan.stage[i].arg[k].kind != DM_STAGE_ARG_INPUT || a.plan.stage[i].arg[k].stage < i);
    static const struct {
        const char *text;
        size_t equal, stages;
    } other[] = {
        /* another order of members, another place, a number written otherwise, names, defaults said with null */
        {"{'methods': [" SFT ", " DPO ", " DMPO "], " ENVS ", 'name': 'n', 'seeds': [1]}", 14, 14},
        {RECIPE("'methods': [" SFT ", " DPO ", {'name': 'D', 'kind': 'preference', 'train': {'gamma': 5e-1}}]"), 14,
         14},
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'sft': {'lr': null}"), 14, 14},
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'train': {'objective': null}"), 14, 14},
        /* gamma: its training and two evaluations */
        {RECIPE("'methods': [" SFT ", " DPO ", {'name': 'DMPO', 'kind': 'preference', 'train': {'gamma': 0.6}}]"), 11,
         14},
        /* pairs: these, two trainings, four evaluations */
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'pairs': {'margin': 0.1}"), 7, 14},
        /* how SFT trains: all but the expert's episodes, tokenizer, initial model */
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'sft': {'lr': 0.1}"), 3, 14},
        /* the tokenizer: all but the expert's */
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'tokenizer': {'vocabulary': 300}"), 1, 14},
        /* a second seed leaves the first as it is */
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'seeds': [1, 2]"), 14, 26},
        /* a second setting shares what comes before its pairs */
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO
                "], 'settings': [{'name': 'a'}, {'name': 'b', 'pairs': {'margin': 0.5}}]"),
         14, 21},
        /* one that comes to the same is the same */
        {RECIPE("'methods': [" SFT ", " DPO ", " DMPO "], 'settings': [{'name': 'a'}, {'name': 'b'}]"), 14, 14},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (experiment_make(&b, other[i].text, "elsewhere/out")) {
            CK_MSG(b.plan.stages == other[i].stages, "%s: %zu stages", other[i].text, b.plan.stages);
            CK_MSG(common(&a, &b) == other[i].equal, "%s: %zu in common", other[i].text, common(&a, &b));
            experiment_unmake(&b);
        }
    experiment_unmake(&a);
}

static bool command_is(experiment_made *m, const char *name, const char *expected)
{
    dm_text t = {0};
    const dm_stage *s = stage(m, name);
    char got[4096] = "(no such stage)";

    if (s) {
        dm_experiment_plan_command(&m->plan, s, &t);
        snprintf(got, sizeof got, "%s", t.data);
        for (size_t i = 0; i < m->plan.stages; i++) /* keys do not matter here */
            for (char *p; (p = strstr(got, m->plan.stage[i].dir)) != NULL;) {
                const size_t dir = strlen(m->plan.stage[i].dir), n = strlen(m->plan.stage[i].name);
                memmove(p + n + 1, p + dir, strlen(p + dir) + 1);
                *p = '<';
                memcpy(p + 1, m->plan.stage[i].name, n);
            }
    }
    dm_text_free(&t);
    return CK_MSG(strcmp(got, expected) == 0, "%s: %s, expected %s", name, got, expected);
}

static void test_commands(void)
{
    experiment_made m;

    if (experiment_make(
            &m,
            RECIPE("'seeds': [7], 'settings': [{'name': 'noisy', 'pairs': {'margin': 0.25}}],"
                   "'tokenizer': {'vocabulary': 300}, 'model': {'hidden': 8}, 'sft': {'lr': 1e-3},"
                   "'explore': {'tasks': 9, 'samples': 2, 'temperature': 1}, 'evaluate': {'tasks': 4, 'samples': 3,"
                   "'temperature': 0.5, 'splits': ['seen']}, 'methods': [{'name': 'expert', 'kind': 'expert'},"
                   "{'name': 'random', 'kind': 'random'}, " SFT
                   ", {'name': 'Best of 5', 'kind': 'best-of-n', 'evaluate':"
                   "{'samples': 5}}, {'name': 'RFT', 'kind': 'rft'}, {'name': 'ETO', 'kind': 'eto'},"
                   "{'name': 'MRPO', 'kind': 'preference', 'train': {'reference2': '@RFT'}},"
                   "{'name': 'len', 'kind': 'preference', 'sweep': {'margin': [0.5]}},"
                   "{'name': 'HPL', 'kind': 'hpl'},"
                   "{'name': 'own', 'kind': 'preference', 'iterations': 3, 'fresh': true, 'pairs': {'among': true}},"
                   "{'name': 'GRPO', 'kind': 'online', 'learn': {'rounds': 5}, 'sweep': {'lr': [0.125]}}]"),
            "out")) {
        command_is(
            &m, "home-expert-seen",
            "dmpo rollout --env home --split seen --policy expert --tasks 4 --output <home-expert-seen/episodes.jsonl");
        command_is(&m, "home-random-s7-seen",
                   "dmpo rollout --env home --split seen --policy random --samples 3 --seed 7 --tasks 4 --output "
                   "<home-random-s7-seen/episodes.jsonl");
        command_is(&m, "home-tokenizer",
                   "dmpo tokenizer train --output <home-tokenizer --vocabulary 300 <home-expert/episodes.jsonl");
        command_is(&m, "home-init-s7",
                   "dmpo init --tokenizer <home-tokenizer --hidden 8 --seed 7 --output <home-init-s7");
        command_is(
            &m, "home-sft-s7",
            "dmpo train --model <home-init-s7 --data <home-expert/episodes.jsonl --lr 0.001 --objective sft --seed 7 "
            "--output <home-sft-s7");
        command_is(&m, "home-best_of_5-s7-seen",
                   "dmpo rollout --env home --split seen --model <home-sft-s7 --samples 5 --seed 7 --tasks 4 "
                   "--temperature 0.5 --output <home-best_of_5-s7-seen/episodes.jsonl");
        command_is(&m, "home-explore-s7",
                   "dmpo rollout --env home --model <home-sft-s7 --split train --samples 2 --seed 7 --tasks 9 "
                   "--temperature 1 --output <home-explore-s7/episodes.jsonl");
        command_is(
            &m, "home-rft-pairs-s7",
            "dmpo pairs --expert <home-expert/episodes.jsonl --explored <home-explore-s7/episodes.jsonl --form sft "
            "--output <home-rft-pairs-s7/pairs.jsonl");
        command_is(&m, "home-rft-s7",
                   "dmpo train --model <home-init-s7 --data <home-rft-pairs-s7/pairs.jsonl --lr 0.001 --objective sft "
                   "--seed 7 --output <home-rft-s7");
        command_is(&m, "home-noisy-eto-iteration2-s7",
                   "dmpo train --model <home-noisy-eto-iteration1-s7 --data <home-noisy-eto-pairs2-s7/pairs.jsonl "
                   "--objective dpo --seed 7 --output <home-noisy-eto-iteration2-s7");
        command_is(&m, "home-noisy-eto-explore2-s7",
                   "dmpo rollout --env home --model <home-noisy-eto-iteration1-s7 --split train --samples 2 --seed 7 "
                   "--tasks 9 --temperature 1 --output <home-noisy-eto-explore2-s7/episodes.jsonl");
        command_is(&m, "home-noisy-mrpo-s7",
                   "dmpo train --model <home-sft-s7 --data <home-noisy-pairs-s7/pairs.jsonl --reference2 <home-rft-s7 "
                   "--seed 7 --output <home-noisy-mrpo-s7");
        command_is(&m, "home-noisy-len-pairs-margin0.5-s7",
                   "dmpo pairs --expert <home-expert/episodes.jsonl --explored <home-explore-s7/episodes.jsonl "
                   "--margin 0.5 --output <home-noisy-len-pairs-margin0.5-s7/pairs.jsonl");
        command_is(&m, "home-refine-s7",
                   "dmpo rollout --env home --model <home-sft-s7 --from <home-expert/episodes.jsonl --seed 7 --output "
                   "<home-refine-s7/episodes.jsonl");
        command_is(&m, "home-noisy-hpl-pairs-s7",
                   "dmpo pairs --expert <home-expert/episodes.jsonl --explored <home-explore-s7/episodes.jsonl "
                   "--continuations <home-refine-s7/episodes.jsonl --refine --form levels --margin 0.25 --output "
                   "<home-noisy-hpl-pairs-s7/pairs.jsonl");
        command_is(&m, "home-noisy-own-pairs3-s7",
                   "dmpo pairs --explored <home-noisy-own-explore3-s7/episodes.jsonl --among --margin 0.25 --output "
                   "<home-noisy-own-pairs3-s7/pairs.jsonl");
        command_is(&m, "home-noisy-own-explore3-s7",
                   "dmpo rollout --env home --model <home-noisy-own-iteration2-s7 --split train --first 18 --samples 2 "
                   "--seed 7 --tasks 9 --temperature 1 --output <home-noisy-own-explore3-s7/episodes.jsonl");
        command_is(&m, "home-grpo-lr0.125-s7",
                   "dmpo learn --env home --model <home-sft-s7 --lr 0.125 --rounds 5 --seed 7 --output "
                   "<home-grpo-lr0.125-s7");
        command_is(&m, "home-grpo-lr0.125-s7-seen",
                   "dmpo rollout --env home --split seen --model <home-grpo-lr0.125-s7 --samples 3 --seed 7 --tasks 4 "
                   "--temperature 0.5 --output <home-grpo-lr0.125-s7-seen/episodes.jsonl");
        experiment_unmake(&m);
    }
}

/* While the search is not done there is nothing but its stages; every method tries as many points, the same ones of the
 * same lists. */
static void test_search(void)
{
    experiment_made m;

    if (!experiment_make(
            &m,
            RECIPE("'methods': [" SFT ", " DPO ", {'name': 'GRPO', 'kind': 'online', 'search': {'lr': [1, 2], "
                   "'rounds': [3, 4]}}], " SEARCH("'seeds': '8-9', 'budget': 3, 'values': {'lr': [1, 2, 3, 4]}")),
            "out"))
        return;
    CK(m.plan.searching && m.plan.evaluations == 0 && m.plan.trainings == 0 && m.plan.choices == 0);
    CK_MSG(m.plan.trials == 18, "%zu trials", m.plan.trials); /* of three methods, three points, two seeds */
    for (size_t point = 0; point < 3; point++) {
        const dm_recipe_method *sft = &m.recipe.method[0], *dpo = &m.recipe.method[1], *grpo = &m.recipe.method[2];
        const dm_json *a = dm_recipe_point_value(sft, point, sft->search->child);
        CK(a->integer >= 1 && a->integer <= 4 && a == dm_recipe_point_value(dpo, point, dpo->search->child));
        CK(grpo->point[point] < 4 &&
           dm_recipe_point_value(grpo, point, grpo->search->child->next)->integer == 3 + grpo->point[point] / 2);
        CK(point == 0 || a != dm_recipe_point_value(sft, point - 1, sft->search->child));
    }
    CK(stage(&m, "home-grpo-point3-s9-train") && !stage(&m, "home-grpo-s1"));
    CK(dm_recipe_set_seeds(&m.recipe, "5,8", NULL) == DM_ERR_ARGUMENT);
    experiment_unmake(&m);
}

/* ---- questions ---- */

static bool near(double a, double b)
{
    return a - b < 1e-12 && b - a < 1e-12;
}

/* One comparison in each setting that a question leaves open, paired by seed, of the question's split alone. */
static void test_questions(void)
{
    experiment_made m;
    dm_experiment_results r = {0};
    dm_experiment_answer *a = NULL;
    double reward[64];
    dm_error err;
    size_t n = 0;

    if (!experiment_make(
            &m,
            RECIPE("'seeds': '1-4', 'difference': 0.05, 'settings': [{'name': 'own'}, {'name': 'given', 'pairs': "
                   "{'margin': 0.5}}], 'methods': [" SFT ", " DMPO "], 'questions': ["
                   "{'ask': 'a', 'method': 'DMPO', 'against': 'SFT'}, {'ask': 'b', 'method': 'DMPO', 'setting': "
                   "'own', 'against': 'DMPO', 'against-setting': 'given'}]"),
            "out") ||
        !CK((r.result = calloc(m.plan.evaluations, sizeof *r.result)) != NULL))
        return;
    for (; r.n < m.plan.evaluations; r.n++) {
        const dm_experiment_evaluation *e = &m.plan.evaluation[r.n];
        const bool own = e->of.setting == &m.recipe.setting[0], unseen = e->split == DM_ENV_SPLIT_UNSEEN;
        const double seed = (double)e->of.seed;
        /* by seed: SFT 0.2 0.4 0.6 0.8, DMPO of its own pairs 0.1 more (and 0.01 by turns), of given ones as SFT */
        reward[r.n] = !unseen ? 9 : 0.2 * seed + (own ? 0.1 + (e->of.seed % 2 ? 0.01 : -0.01) : 0);
        r.result[r.n] = (dm_experiment_result){.of = e, .reward = &reward[r.n], .tasks = 1};
    }
    CK(dm_experiment_answers(&r, &m.recipe, &a, &n, &err) == DM_OK && n == 3);
    static const double means[] = {0.1, 0, 0.1};
    static const char *const words[] = {"DMPO is above SFT by 0.1", "DMPO and SFT do not differ beyond chance: +0.000",
                                        "DMPO (own) is above DMPO (given) by 0.1"};
    for (size_t i = 0; i < n; i++) {
        dm_text t = {0};
        dm_experiment_answer_text(&a[i], &m.recipe, &t);
        CK_MSG(a[i].c.n == 4 && near(a[i].c.mean, means[i]), "answer %zu: %zu seeds, %g", i, a[i].c.n, a[i].c.mean);
        CK_MSG(t.data && strstr(t.data, words[i]), "answer %zu: %s", i, t.data ? t.data : "");
        CK(i == 1 || (a[i].c.wide > a[i].c.half && a[i].c.holm > a[i].c.p && a[i].c.power > 0.5));
        dm_text_free(&t);
    }
    free(a);
    free(r.result);
    experiment_unmake(&m);
}

/* ---- running ---- */

typedef struct seen {
    size_t started, done, failed;
    const char *stop_at; /* stage that is stopped when it starts */
    bool stop;
    char text[1200];
} seen;

static int watch(void *context, const dm_schedule_event *e)
{
    seen *s = context;

    s->started += e->kind == DM_SCHEDULE_STARTED;
    s->done += e->kind == DM_SCHEDULE_DONE;
    s->failed += e->kind == DM_SCHEDULE_FAILED;
    if (e->kind == DM_SCHEDULE_FAILED)
        snprintf(s->text, sizeof s->text, "%s", e->text);
    if (e->kind == DM_SCHEDULE_STARTED && s->stop_at && strcmp(e->stage->name, s->stop_at) == 0)
        s->stop = true;
    return s->stop;
}

static dm_status execute(const char *text, const char *output, unsigned jobs, const char *only, seen *s, dm_error *err)
{
    experiment_made m;
    dm_status status = DM_ERR_INTERNAL;

    err->message[0] = '\0';
    if (!experiment_make(&m, text, output))
        return status;
    status = only ? dm_experiment_plan_only(&m.plan, only, err) : DM_OK;
    if (status == DM_OK)
        status = dm_schedule_run(&m.plan, &experiment_commands, &(dm_schedule_options){.jobs = jobs, .threads = 1},
                                 watch, s, err);
    experiment_unmake(&m);
    return status;
}

static const char *in_work(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", work, name);
    return path;
}

static void test_runs(void)
{
    static const char recipe[] = RECIPE("'methods': [" SFT ", " DPO ", " DMPO "]");
    static const char changed[] =
        RECIPE("'methods': [" SFT ", " DPO ", {'name': 'DMPO', 'kind': 'preference', 'train': {'gamma': 0.6}}]");
    dm_error err;

    for (unsigned jobs = 1; jobs <= 3; jobs += 2) {
        const char *out = in_work(jobs == 1 ? "one" : "three");
        seen s = {0};
        CK_MSG(execute(recipe, out, jobs, NULL, &s, &err) == DM_OK, "%s", err.message);
        CK_MSG(s.started == 14 && s.done == 14 && s.failed == 0, "%zu started, %zu done", s.started, s.done);
        s = (seen){0};
        CK(execute(recipe, out, jobs, NULL, &s, &err) == DM_OK && s.started == 0);
        CK(execute(changed, out, jobs, NULL, &s, &err) == DM_OK && s.started == 3);
        s = (seen){0};
        CK(execute(recipe, out, jobs, NULL, &s, &err) == DM_OK && s.started == 0); /* the old ones are there still */
    }

    seen s = {0};
    const char *out = in_work("only");
    CK(execute(recipe, out, 2, "*-pairs-*", &s, &err) == DM_OK && s.started == 6); /* and what it needs */
    CK(execute(recipe, out, 2, "nothing", &s, &err) == DM_ERR_ARGUMENT && strstr(err.message, "matches no stage"));
    s = (seen){0};
    CK(execute(recipe, out, 2, NULL, &s, &err) == DM_OK && s.started == 8);
}

static void test_failures(void)
{
    dm_error err;
    seen s = {0};
    const char *out = in_work("failed");
    static const char bad[] =
        RECIPE("'methods': [" SFT ", " DPO ", {'name': 'bad', 'kind': 'preference', 'train': {'lr': 13}}]");

    CK(execute(bad, out, 2, NULL, &s, &err) == DM_ERR_INPUT);
    CK_MSG(strstr(err.message, "1 stage failed and 11 of 14 are done"), "%s", err.message);
    CK(s.failed == 1 && s.started == 12); /* its evaluations are left out, all others are not */
    CK_MSG(strstr(s.text, "stage home-bad-s1 failed with status 1; ") &&
               strstr(s.text, "/log: train: this rate brings"),
           "%s", s.text);
    s = (seen){0};
    CK(execute(bad, out, 2, NULL, &s, &err) == DM_ERR_INPUT && s.started == 1); /* it is tried again, alone */

    s = (seen){0};
    CK(execute(RECIPE("'methods': [{'name': 'bad', 'kind': 'preference', 'train': {'lr': 14}}]"), out, 1, NULL, &s,
               &err) == DM_ERR_INPUT);
    CK_MSG(strstr(s.text, "stage home-bad-s1 was killed by signal 9"), "%s", s.text);
}

static void test_stopped(void)
{
    dm_error err;
    seen s = {.stop_at = "home-long-s1"};
    const char *out = in_work("stopped");
    static const char recipe[] =
        RECIPE("'methods': [" SFT ", {'name': 'long', 'kind': 'preference', 'train': {'lr': 15}}]");

    CK(execute(recipe, out, 1, NULL, &s, &err) == DM_ERR_INTERRUPTED);
    CK_MSG(strstr(err.message, "stopped with ") && strstr(err.message, "; the same command continues"), "%s",
           err.message);
    CK_MSG(s.failed == 0 && s.started == s.done + 1, "%zu started, %zu done", s.started, s.done);
    const size_t done = s.done;
    s = (seen){.stop_at = "home-long-s1"};
    CK(execute(recipe, out, 1, NULL, &s, &err) == DM_ERR_INTERRUPTED && s.done + done <= 9); /* nothing twice */
}

/* While one experiment runs, a second one in its directory is refused. */
static int second(void *context, const dm_schedule_event *e)
{
    seen *s = context;
    dm_error err;

    if (e->kind != DM_SCHEDULE_STARTED || s->stop)
        return 0;
    s->stop = true;
    fflush(NULL);
    const pid_t pid = fork(); /* locks are a process's */
    if (pid == 0) {
        seen none = {0};
        const dm_status status = execute(RECIPE("'methods': [" SFT "]"), in_work("locked"), 1, NULL, &none, &err);
        _exit(status == DM_ERR_FILE && strstr(err.message, "another dmpo experiment is running") ? 0 : 1);
    }
    int status = -1;
    CK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    return 0;
}

static void test_locked(void)
{
    experiment_made m;
    seen s = {0};
    dm_error err;

    if (!experiment_make(&m, RECIPE("'methods': [" SFT "]"), in_work("locked")))
        return;
    CK(dm_schedule_run(&m.plan, &experiment_commands, &(dm_schedule_options){.jobs = 1, .threads = 1}, second, &s,
                       &err) == DM_OK &&
       s.stop);
    experiment_unmake(&m);
}

/* Files from outside count by what is in them. */
static void test_outside(void)
{
    experiment_made a, b;
    char path[128], text[512], hex[2][DM_SHA256_HEX];
    dm_error err;

    snprintf(path, sizeof path, "%s/data", work);
    CK(dm_dir_create(path, &err) == DM_OK);
    snprintf(path, sizeof path, "%s/data/sft.json", work);
    snprintf(text, sizeof text,
             "{'name': 'n', 'environments': [{'name': 'e', 'data': {'sft': '%s'}}], 'methods': [" SFT "]}", path);
    CK(!dm_file_exists(path));
    dm_recipe r;
    if (CK(experiment_parse(&r, text, &err) == DM_OK)) {
        CK(dm_experiment_plan_make(&a.plan, &r, &experiment_commands, "out", &err) == DM_ERR_FILE &&
           strstr(err.message, "sft.json"));
        dm_recipe_close(&r);
    }
    CK(dm_file_write(path, "one", 3, &err) == DM_OK && dm_stage_content_sha256(in_work("data"), hex[0], &err) == DM_OK);
    if (!experiment_make(&a, text, "out"))
        return;
    CK(a.plan.stages == 3 && a.plan.evaluations == 0); /* tokenizer, init, sft; no simulator, no evaluation */
    CK(dm_file_write(path, "two", 3, &err) == DM_OK && dm_stage_content_sha256(in_work("data"), hex[1], &err) == DM_OK);
    CK(strcmp(hex[0], hex[1]) != 0);
    if (experiment_make(&b, text, "out")) {
        CK(common(&a, &b) == 0);
        experiment_unmake(&b);
    }
    experiment_unmake(&a);
}

int main(void)
{
    snprintf(work, sizeof work, "%s", "/tmp/dmpo-test-experiment.XXXXXX");
    if (!mkdtemp(work))
        return 1;
    test_keys();
    test_commands();
    test_search();
    test_questions();
    test_runs();
    test_failures();
    test_stopped();
    test_locked();
    test_outside();
    dm_dir_remove(work, NULL);
    return ck_done("experiment");
}
