#include "tests/support/experiment_tool.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/check.h"

static bool has(const char *command, const char *option)
{
    static const char *const known[] = {"rollout tasks",
                                        "rollout samples",
                                        "rollout temperature",
                                        "rollout seed",
                                        "init hidden",
                                        "init seed",
                                        "train lr",
                                        "train gamma",
                                        "train seed",
                                        "train objective",
                                        "train reference2",
                                        "train link",
                                        "pairs margin",
                                        "pairs among",
                                        "pairs form",
                                        "tokenizer vocabulary",
                                        "score gamma",
                                        "learn rounds",
                                        "learn lr",
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
    const dm_json_type type = strcmp(name, "among") == 0 ? DM_JSON_BOOL
                              : is_path || is_name       ? DM_JSON_STRING
                                                         : DM_JSON_NUMBER;

    *kind = is_path ? DM_RECIPE_OPTION_PATH : DM_RECIPE_OPTION_VALUE;
    if (!has(command, name))
        return dm_json_fail(doc, value, err, "%s has no option %s", command, name);
    if (value->type != DM_JSON_NULL && value->type != type)
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

const dm_experiment_commands experiment_commands = {"1.0", check, has, run};

/* 'stands for " */
static char *quoted(const char *text)
{
    static char buffer[8192];
    snprintf(buffer, sizeof buffer, "%s", text);
    for (char *p = buffer; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    return buffer;
}

dm_status experiment_parse(dm_recipe *r, const char *text, dm_error *err)
{
    const char *json = quoted(text);
    return dm_recipe_parse(r, json, strlen(json), "r.json", &experiment_commands, err);
}

bool experiment_make(experiment_made *m, const char *text, const char *output)
{
    dm_error err = {.message = ""};
    dm_status s = experiment_parse(&m->recipe, text, &err);

    m->plan = (dm_experiment_plan){0};
    if (s == DM_OK)
        s = dm_experiment_plan_make(&m->plan, &m->recipe, &experiment_commands, output, &err);
    return CK_MSG(s == DM_OK, "%s: %s", text, err.message);
}

void experiment_unmake(experiment_made *m)
{
    dm_experiment_plan_close(&m->plan);
    dm_recipe_close(&m->recipe);
}
