/* Recipes, keys and the schedule, with commands that only write what they were asked: what is refused and where, what
 * depends on what, what runs again, and what becomes of a stage that fails or is stopped. */
#include <signal.h>
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

static char work[64];

/* ---- stand-ins for commands ---- */

static bool has(const char *command, const char *option)
{
    static const char *const known[] = {
        "rollout tasks", "rollout samples", "rollout temperature",  "rollout seed",    "init hidden",      "init seed",
        "train lr",      "train gamma",     "train seed",           "train objective", "train reference2", "train link",
        "pairs margin",  "pairs form",      "tokenizer vocabulary", "score gamma",     "learn rounds",     "learn lr",
        "learn seed"};
    char both[128];

    snprintf(both, sizeof both, "%s %s", command, option);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(known[i], both) == 0)
            return true;
    return false;
}

static dm_status check(const char *command, const dm_json_doc *doc, const char *name, const dm_json *value,
                       dm_recipe_option_kind *kind, dm_error *err)
{
    const bool is_path = strcmp(name, "reference2") == 0,
               is_name = strcmp(name, "objective") == 0 || strcmp(name, "form") == 0 || strcmp(name, "link") == 0;

    *kind = is_path ? DM_RECIPE_OPTION_PATH : DM_RECIPE_OPTION_VALUE;
    if (!has(command, name))
        return dm_json_fail(doc, value, err, "%s has no option %s", command, name);
    if (value->type != DM_JSON_NULL && value->type != (is_path || is_name ? DM_JSON_STRING : DM_JSON_NUMBER))
        return dm_json_fail(doc, value, err, "%s is of another type", name);
    return DM_OK;
}

static const char *value_of(int argc, char **argv, const char *option)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], option) == 0)
            return argv[i + 1];
    return "";
}

/* Writes its arguments into the output; train fails with lr 13, crashes with 14, waits to be stopped with 15. */
static int run(int argc, char **argv)
{
    char path[4096];
    const char *output = value_of(argc, argv, "--output"), *lr = value_of(argc, argv, "--lr");
    FILE *f;

    if (strcmp(lr, "13") == 0) {
        fprintf(stderr, "first words\ntrain: this rate brings bad luck\n\n");
        return 1;
    }
    if (strcmp(lr, "14") == 0)
        raise(SIGKILL);
    while (strcmp(lr, "15") == 0)
        pause();
    const bool is_dir = !strrchr(output, '/') || !strchr(strrchr(output, '/'), '.');
    snprintf(path, sizeof path, is_dir ? "%s/made" : "%s", output);
    if (!(f = fopen(path, "w")))
        return 1;
    for (int i = 0; i < argc; i++)
        fprintf(f, "%s\n", argv[i]);
    return fclose(f) != 0;
}

static const dm_experiment_commands commands = {"1.0", check, has, run};

/* ---- recipes ---- */

/* 'stands for " */
static char *quoted(const char *text)
{
    static char buffer[8192];
    snprintf(buffer, sizeof buffer, "%s", text);
    for (char *p = buffer; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return buffer;
}

static dm_status parse(dm_recipe *r, const char *text, dm_error *err)
{
    const char *json = quoted(text);
    return dm_recipe_parse(r, json, strlen(json), "r.json", &commands, err);
}

#define ENVS "'environments': [{'env': 'home'}]"
#define SFT "{'name': 'SFT', 'kind': 'sft'}"
#define DPO "{'name': 'DPO', 'kind': 'preference', 'train': {'objective': 'dpo'}}"
#define DMPO "{'name': 'DMPO', 'kind': 'preference', 'train': {'gamma': 0.5}}"
#define SEARCH(more) "'search': {'evaluate': {'splits': ['train']}, " more "}"
#define RECIPE(more) "{'name': 'n', " ENVS ", " more "}"

static void test_seeds(void)
{
    uint64_t seed[DM_RECIPE_SEEDS_MAX];
    size_t n = 0;

    CK(dm_recipe_parse_seeds("7,1-3,18446744073709551614-18446744073709551615", "", seed, &n, NULL) == DM_OK);
    CK(n == 6 && seed[0] == 7 && seed[1] == 1 && seed[3] == 3 && seed[5] == UINT64_MAX);
    CK(dm_recipe_parse_seeds("0-999", "", seed, &n, NULL) == DM_OK && n == DM_RECIPE_SEEDS_MAX);
    CK(dm_recipe_parse_seeds("0-1000", "", seed, &n, NULL) == DM_ERR_ARGUMENT);
}

static void test_refused(void)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "r.json:1:1"},
        {"[]", "r.json:1:1: a recipe must be an object"},
        {"{" ENVS "}", "r.json:1:1: \"name\" is missing"},
        {"{'name': 'n'}", "\"environments\" is missing"},
        {"{'name': 'n', 'environments': []}", "r.json:1:31: \"environments\" must be a list, not empty"},
        {"{'name': 'n', " ENVS "}", "\"methods\" is missing"},
        {"{'name': '', " ENVS "}", "\"name\" must be a string, not empty"},
        {"{'name': 'n', 'environments': [{'data': {'pairs': 'x'}, 'name': 'a'}], 'methods': [" SFT "]}",
         "r.json:1:32: an environment needs \"env\""},
        {"{'name': 'n', 'environments': [{'env': 'a'}, {'env': 'a'}], 'methods': [" SFT "]}",
         "two environments are named \"a\""},
        {"{'name': 'n', 'environments': [{'name': 'a', 'data': {'sft': 'x'}}], 'methods': [" DPO "]}",
         "the method \"DPO\" explores, and the environment \"a\" has no \"env\""},
        {RECIPE("'methods': [" SFT "], 'sheeds': [1]"), "a recipe has no \"sheeds\"; it may have: name, title, seeds"},
        {RECIPE("'methods': [" SFT "], 'seeds': [1, 1]"), "the seed 1 appears twice"},
        {RECIPE("'methods': [" SFT "], 'seeds': '1-4,3'"), "3 appears twice"},
        {RECIPE("'methods': [" SFT "], 'seeds': '4-1'"), "is not a list of whole numbers and ranges"},
        {RECIPE("'methods': [" SFT "], 'seeds': '1-'"), "is not a list of whole numbers and ranges"},
        {RECIPE("'methods': [" SFT "], 'seeds': ''"), "is not a list of whole numbers and ranges"},
        {RECIPE("'methods': [" SFT "], 'seeds': '0-18446744073709551615'"),
         "is not a list of whole numbers and ranges"},
        {RECIPE("'methods': [" SFT "], 'seeds': [-1]"), "a seed must be a whole number from 0"},
        {RECIPE("'methods': [" SFT "], 'seeds': 3"), "\"seeds\" must be a list"},
        {RECIPE("'methods': [" SFT "], 'explore': []"), "\"explore\" must be an object of options of dmpo rollout"},
        {RECIPE("'methods': [" SFT "], 'explore': {'task': 3}"), "r.json:1:115: rollout has no option task"},
        {RECIPE("'methods': [" SFT "], 'explore': {'tasks': 'three'}"), "tasks is of another type"},
        {RECIPE("'methods': [" SFT "], 'explore': {'output': 'x'}"), "\"output\" is set by the experiment itself"},
        {RECIPE("'methods': [" SFT "], 'evaluate': {'splits': ['old']}"), "a split is one of: train, seen, unseen"},
        {RECIPE("'methods': [" SFT "], 'evaluate': {'splits': ['seen', 'seen']}"), "appears twice"},
        {RECIPE("'methods': [" SFT "], 'model': ''"), "\"model\" names no directory"},
        {RECIPE("'methods': [" SFT "], 'model': 3"), "\"model\" must be an object of options of dmpo init, or"},
        {RECIPE("'methods': [" SFT "], 'note': 3"), "\"note\" must be a string"},
        {RECIPE("'methods': [" SFT "], 'settings': [{'pairs': {}}]"), "\"name\" is missing"},
        {RECIPE("'methods': [" SFT "], 'settings': [{'name': 'a'}, {'name': 'a'}]"), "two settings are named \"a\""},
        {RECIPE("'methods': [" SFT "], 'settings': [{'name': 'a', 'sft': {}}]"), "a setting has no \"sft\""},
        {RECIPE("'methods': [" SFT ", " SFT "]"), "two methods are named \"SFT\""},
        {RECIPE("'methods': [{'name': 'a'}]"), "\"kind\" must be one of: expert, random, sft, best-of-n"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'magic'}]"), "r.json:1:84: \"kind\" must be one of"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'expert', 'train': {}}]"),
         "a method of kind expert has no \"train\""},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'sft', 'iterations': 2}]"), "has no iterations"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'iterations': 0}]"), "\"iterations\""},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'settings': ['b']}]"), "the recipe has no such setting"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'sweep': {'gamma': 1}}]"), "\"sweep\" must be one option"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'sweep': {'gamma': [], 'lr': []}}]"),
         "\"sweep\" must be one"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'sweep': {'gama': [1]}}]"),
         "a method of kind eto cannot sweep \"gama\""},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'sweep': {'gamma': ['x']}}]"), "gamma is of another type"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'sweep': {'gamma': [null]}}]"),
         "a value of \"gamma\" cannot be null"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'sft', 'sweep': {'margin': [1]}}]"),
         "a method of kind sft cannot sweep \"margin\""},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'from': '@b'}]"),
         "neither @model nor @sft nor a method above"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'expert'}, {'name': 'b', 'kind': 'eto', 'from': '@a'}]"),
         "the method \"a\" has no single model of its own"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'preference', 'train': {'reference2': '@a'}}]"), "a method above"},
        {RECIPE("'methods': [" DPO "], 'train': {'reference2': '@DPO'}"), "\"@DPO\" can be named in a method only"},
        {RECIPE("'methods': [" DPO "], 'sft': {'reference2': '@sft'}"), "\"@sft\" can be named in a method only"},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'sweep': {'reference2': ['@b']}}]"), "nor a method above"},
        {RECIPE("'methods': [" SFT "], 'examples': ['SFT']"), "an example is the name of a method that learns from"},
        {RECIPE("'methods': [" DPO "], 'search': {'seeds': [9], 'values': {'lr': [1]}}"),
         "\"evaluate\" with one split"},
        {RECIPE("'methods': [" DPO "], " SEARCH("'seeds': [1], 'values': {'lr': [1]}")), "the seed 1 is one of the"},
        {RECIPE("'methods': [" DPO
                "], 'evaluate': {'splits': ['train']}, " SEARCH("'seeds': [9], 'values': {'lr': [1]}")),
         "the results of \"DPO\" have tasks of the search"},
        {RECIPE("'methods': [" DPO "], " SEARCH("'seeds': [9]")), "nothing is searched"},
        {RECIPE("'methods': [" DPO "], " SEARCH("'seeds': [9], 'values': {'lr': 1}")),
         "\"lr\" must be a list of values"},
        {RECIPE("'methods': [" DPO "], " SEARCH("'seeds': [9], 'values': {'margin': [1]}")),
         "the method \"DPO\" has no option \"margin\" of training"},
        {RECIPE("'methods': [" DPO "], " SEARCH("'seeds': [9], 'budget': 3, 'values': {'lr': [1, 2]}")),
         "has 2 combinations of values, where every method tries 3; give it more values"},
        {RECIPE("'methods': [" SFT ", {'name': 'D', 'kind': 'eto', 'search': {'lr': [1]}}], " SEARCH(
             "'seeds': [9], 'values': {'lr': [1, 2]}")),
         "has 1 combinations of values, where every method tries 2; \"budget\" draws"},
        {RECIPE("'methods': [{'name': 'D', 'kind': 'eto', 'search': {'lr': [1]}}]"), "the recipe has no \"search\""},
        {RECIPE("'methods': [{'name': 'D', 'kind': 'eto', 'sweep': {'lr': [1]}}], " SEARCH(
             "'seeds': [9], 'values': {'lr': [1]}")),
         "sweeps \"lr\", and cannot search it"},
        {RECIPE("'methods': [" SFT "], 'questions': [{'ask': 'x', 'method': 'SFT', 'against': 'y'}]"),
         "no such method"},
        {RECIPE("'methods': [" SFT "], 'questions': [{'ask': 'x', 'method': 'SFT', 'against': 'SFT', 'x': 1}]"),
         "\"x\" must be a value of the sweep"},
        {RECIPE("'methods': [" SFT "], 'questions': [{'ask': 'x', 'method': 'SFT', 'against': 'SFT', 'env': 'lab'}]"),
         "no such environment"},
        {RECIPE("'methods': [" SFT "], 'questions': [{'ask': 'x', 'method': 'SFT', 'against': 'SFT', 'setting': 'a'}]"),
         "has no such setting"},
        {RECIPE("'methods': [" SFT "]} "), "r.json:1:"},
        {"{'name': 'n', 'environments': [{'env': 'a', 'data': {'sft': 'x'}}], 'methods': [{'name': 'a', 'kind': "
         "'rft'}]}",
         "adds to an expert's episodes"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dm_recipe r;
        dm_error err = {.message = "accepted"};
        const dm_status s = parse(&r, bad[i].text, &err);
        CK_MSG(s != DM_OK && strstr(err.message, bad[i].message), "%s: \"%s\", expected \"%s\"", bad[i].text,
               err.message, bad[i].message);
        dm_recipe_close(&r);
    }
}

/* ---- plans ---- */

typedef struct made {
    dm_recipe recipe;
    dm_experiment_plan plan;
} made;

static bool make(made *m, const char *text, const char *output)
{
    dm_error err = {.message = ""};
    dm_status s = parse(&m->recipe, text, &err);

    m->plan = (dm_experiment_plan){0};
    if (s == DM_OK)
        s = dm_experiment_plan_make(&m->plan, &m->recipe, &commands, output, &err);
    return CK_MSG(s == DM_OK, "%s: %s", text, err.message);
}

static void unmake(made *m)
{
    dm_experiment_plan_close(&m->plan);
    dm_recipe_close(&m->recipe);
}

static const dm_stage *stage(const made *m, const char *name)
{
    for (size_t i = 0; i < m->plan.stages; i++)
        if (strcmp(m->plan.stage[i].name, name) == 0)
            return &m->plan.stage[i];
    return NULL;
}

/* Of the stages of b, how many have a key that a has, too. */
static size_t common(const made *a, const made *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->plan.stages; i++)
        for (size_t k = 0; k < a->plan.stages; k++)
            n += strcmp(a->plan.stage[k].key, b->plan.stage[i].key) == 0;
    return n;
}

static void test_keys(void)
{
    made a, b;

    if (!make(&a, RECIPE("'methods': [" SFT ", " DPO ", " DMPO "]"), "out"))
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
        if (make(&b, other[i].text, "elsewhere/out")) {
            CK_MSG(b.plan.stages == other[i].stages, "%s: %zu stages", other[i].text, b.plan.stages);
            CK_MSG(common(&a, &b) == other[i].equal, "%s: %zu in common", other[i].text, common(&a, &b));
            unmake(&b);
        }
    unmake(&a);
}

static bool command_is(made *m, const char *name, const char *expected)
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
    made m;

    if (make(&m,
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
        command_is(&m, "home-grpo-lr0.125-s7",
                   "dmpo learn --env home --model <home-sft-s7 --lr 0.125 --rounds 5 --seed 7 --output "
                   "<home-grpo-lr0.125-s7");
        command_is(&m, "home-grpo-lr0.125-s7-seen",
                   "dmpo rollout --env home --split seen --model <home-grpo-lr0.125-s7 --samples 3 --seed 7 --tasks 4 "
                   "--temperature 0.5 --output <home-grpo-lr0.125-s7-seen/episodes.jsonl");
        unmake(&m);
    }
}

/* While the search is not done there is nothing but its stages; every method tries as many points, the same ones of the
 * same lists. */
static void test_search(void)
{
    made m;

    if (!make(&m,
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
    unmake(&m);
}

/* ---- questions ---- */

static bool near(double a, double b)
{
    return a - b < 1e-12 && b - a < 1e-12;
}

/* One comparison in each setting that a question leaves open, paired by seed, of the question's split alone. */
static void test_questions(void)
{
    made m;
    dm_experiment_results r = {0};
    dm_experiment_answer *a = NULL;
    double reward[64];
    dm_error err;
    size_t n = 0;

    if (!make(&m,
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
    unmake(&m);
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
    made m;
    dm_status status = DM_ERR_INTERNAL;

    err->message[0] = '\0';
    if (!make(&m, text, output))
        return status;
    status = only ? dm_experiment_plan_only(&m.plan, only, err) : DM_OK;
    if (status == DM_OK)
        status = dm_schedule_run(&m.plan, &commands, &(dm_schedule_options){.jobs = jobs, .threads = 1}, watch, s, err);
    unmake(&m);
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
    made m;
    seen s = {0};
    dm_error err;

    if (!make(&m, RECIPE("'methods': [" SFT "]"), in_work("locked")))
        return;
    CK(dm_schedule_run(&m.plan, &commands, &(dm_schedule_options){.jobs = 1, .threads = 1}, second, &s, &err) ==
           DM_OK &&
       s.stop);
    unmake(&m);
}

/* Files from outside count by what is in them. */
static void test_outside(void)
{
    made a, b;
    char path[128], text[512], hex[2][DM_SHA256_HEX];
    dm_error err;

    snprintf(path, sizeof path, "%s/data", work);
    CK(dm_dir_create(path, &err) == DM_OK);
    snprintf(path, sizeof path, "%s/data/sft.json", work);
    snprintf(text, sizeof text,
             "{'name': 'n', 'environments': [{'name': 'e', 'data': {'sft': '%s'}}], 'methods': [" SFT "]}", path);
    CK(!dm_file_exists(path));
    dm_recipe r;
    if (CK(parse(&r, text, &err) == DM_OK)) {
        CK(dm_experiment_plan_make(&a.plan, &r, &commands, "out", &err) == DM_ERR_FILE &&
           strstr(err.message, "sft.json"));
        dm_recipe_close(&r);
    }
    CK(dm_file_write(path, "one", 3, &err) == DM_OK && dm_stage_content_sha256(in_work("data"), hex[0], &err) == DM_OK);
    if (!make(&a, text, "out"))
        return;
    CK(a.plan.stages == 3 && a.plan.evaluations == 0); /* tokenizer, init, sft; no simulator, no evaluation */
    CK(dm_file_write(path, "two", 3, &err) == DM_OK && dm_stage_content_sha256(in_work("data"), hex[1], &err) == DM_OK);
    CK(strcmp(hex[0], hex[1]) != 0);
    if (make(&b, text, "out")) {
        CK(common(&a, &b) == 0);
        unmake(&b);
    }
    unmake(&a);
}

int main(void)
{
    snprintf(work, sizeof work, "%s", "/tmp/dmpo-test-experiment.XXXXXX");
    if (!mkdtemp(work))
        return 1;
    test_seeds();
    test_refused();
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
