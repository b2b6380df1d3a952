/* What the agent loop reads: episodes, recipes and results.json. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/experiment/recipe.h"
#include "agent/report/report_chart.h"
#include "agent/report/report_data.h"
#include "agent/rollout/episode.h"
#include "core/files/path.h"
#include "tests/fuzz/targets.h"

/* Episodes that were read are written and read again, with the same bytes. */
void fuzz_episodes(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("episodes.jsonl", data, size);
    dm_episodes e = {0}, again = {0};
    dm_text first = {0}, second = {0};
    dm_error err;

    if (dm_episodes_read(&e, &path, 1, &err) == DM_OK) {
        for (size_t i = 0; i < e.n; i++)
            dm_episode_write(&first, &e.episode[i]);
        path = fuzz_file("again.jsonl", (const uint8_t *)(first.data ? first.data : ""), first.size);
        FUZZ_CHECK(dm_episodes_read(&again, &path, 1, &err) == DM_OK && again.n == e.n);
        for (size_t i = 0; i < again.n; i++)
            dm_episode_write(&second, &again.episode[i]);
        FUZZ_CHECK(first.size == second.size && (!first.size || memcmp(first.data, second.data, first.size) == 0));
    }
    for (size_t i = 0; i < e.n; i++)
        for (size_t k = 0; k < e.episode[i].turns; k++) {
            const char *words = e.episode[i].turn[k].action;
            char *action;
            FUZZ_CHECK(dm_episode_action(&action, words, strlen(words)));
            FUZZ_CHECK(!action || (*action && strstr(words, action)));
            free(action);
        }
    dm_text_free(&first);
    dm_text_free(&second);
    dm_episodes_close(&e);
    dm_episodes_close(&again);
}

static dm_status check_option(const char *command, const dm_json_doc *doc, const char *name, const dm_json *value,
                              dm_recipe_option_kind *kind, dm_error *err)
{
    (void)command;
    *kind = strcmp(name, "reference") == 0 ? DM_RECIPE_OPTION_PATH : DM_RECIPE_OPTION_VALUE;
    return strlen(name) < 12 ? DM_OK : dm_json_fail(doc, value, err, "no such option");
}

static bool has_option(const char *command, const char *option)
{
    (void)command;
    return strlen(option) < 12;
}

static int run_command(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return 1;
}

void fuzz_recipe(const uint8_t *data, size_t size)
{
    static const dm_experiment_commands commands = {"1.0", check_option, has_option, run_command};
    dm_recipe r = {0};
    dm_error err;

    if (dm_recipe_parse(&r, (const char *)data, size, "recipe", &commands, &err) != DM_OK)
        return;
    FUZZ_CHECK(r.name && r.seeds > 0 && r.methods > 0 && r.size == size && memcmp(r.text, data, size) == 0);
    for (size_t i = 0; i < r.methods; i++)
        FUZZ_CHECK(r.method[i].name && *r.method[i].name);
    for (size_t i = 0; i < r.envs; i++) {
        dm_env_split splits[DM_ENV_SPLITS];
        FUZZ_CHECK(dm_recipe_splits(&r, &r.env[i], splits) <= DM_ENV_SPLITS);
    }
    (void)dm_recipe_set_seeds(&r, r.name, &err);
    FUZZ_CHECK(dm_recipe_set_seeds(&r, "3,1", &err) == DM_OK ? r.seeds == 2 : dm_recipe_search_overlap(&r) != NULL);
    dm_recipe_close(&r);
}

/* The files that results name are tests/data/report's. */
static void link_stages(void)
{
    const char *source = getenv("SRC");
    char here[DM_PATH_MAX] = "";
    dm_path from, to;

    source = source ? source : ".";
    FUZZ_CHECK(*source == '/' || getcwd(here, sizeof here));
    FUZZ_CHECK(dm_path_print(&from, NULL, "%s/%s/tests/data/report/stages", here, source) == DM_OK);
    FUZZ_CHECK(dm_path_in(&to, fuzz_directory(), "stages", NULL) == DM_OK && symlink(from.text, to.text) == 0);
}

void fuzz_results(const uint8_t *data, size_t size)
{
    static bool linked;
    dm_report r;
    dm_error err;

    if (!linked)
        link_stages();
    linked = true;
    (void)fuzz_file("results.json", data, size);
    if (dm_report_read(&r, fuzz_directory(), &err) == DM_OK) {
        dm_report_figures f = {0};
        dm_report_draw(&r, &f);
        dm_report_figures_free(&f);
    }
    dm_report_close(&r);
}
