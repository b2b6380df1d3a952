/* Recipes: which seeds a text names, and what is refused and where. */
#include <string.h>

#include "agent/experiment/recipe.h"
#include "tests/support/check.h"
#include "tests/support/experiment_tool.h"

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
        {RECIPE("'methods': [{'name': 'a', 'kind': 'preference', 'fresh': true}]"), "\"fresh\" is of \"iterations\""},
        {RECIPE("'methods': [{'name': 'a', 'kind': 'eto', 'fresh': true}]"), "must say how many: \"tasks\""},
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
        dm_experiment_plan plan = {0};
        dm_status s = experiment_parse(&r, bad[i].text, &err);
        if (s == DM_OK)
            s = dm_experiment_plan_make(&plan, &r, &experiment_commands, "out", &err);
        CK_MSG(s != DM_OK && strstr(err.message, bad[i].message), "%s: \"%s\", expected \"%s\"", bad[i].text,
               err.message, bad[i].message);
        dm_experiment_plan_close(&plan);
        dm_recipe_close(&r);
    }
}

int main(void)
{
    test_seeds();
    test_refused();
    return ck_done("recipe");
}
