/* Recipes: strict JSON into structures; everything that can be wrong before a stage runs is reported here. */
#include "agent/experiment/recipe_reader.h"

#include <stdio.h>
#include <string.h>

#define PART(name) (1u << DM_RECIPE_PART_##name)
#define ALL_PARTS ((1u << DM_RECIPE_PARTS) - 1)
#define OF_SETTINGS (PART(EXPLORE) | PART(CONTINUE) | PART(PAIRS) | PART(TRAIN))

/* ---- environments, settings ---- */

static dm_status read_env(const dm_recipe_reader *in, const dm_json *v, dm_recipe_env *e)
{
    static const char *const names[] = {"name", "env", "data", NULL}, *const files[] = {"sft", "pairs", NULL};
    const unsigned allowed = ALL_PARTS;
    dm_recipe_parts none = {{NULL}};
    dm_status s = dm_recipe_read_members(in, v, names, allowed, "an environment", &e->parts);

    e->at = v;
    if (s == DM_OK)
        s = dm_recipe_get_string(in, v, "env", true, &e->specification);
    if (s == DM_OK)
        s = dm_recipe_get_string(in, v, "name", e->specification != NULL, &e->name);
    if (s != DM_OK)
        return s;
    if (!e->name)
        e->name = e->specification;
    const dm_json *data = dm_json_get(v, "data");
    if (data && ((s = dm_recipe_read_members(in, data, files, 0, "\"data\"", &none)) != DM_OK ||
                 (s = dm_recipe_get_string(in, data, "sft", true, &e->sft_data)) != DM_OK ||
                 (s = dm_recipe_get_string(in, data, "pairs", true, &e->pairs_data)) != DM_OK))
        return s;
    if (!e->specification && !e->sft_data)
        return DM_RECIPE_FAIL(in, v, "an environment needs \"env\", or at least \"data\" with \"sft\" to learn from");
    return DM_OK;
}

static dm_status read_envs(const dm_recipe_reader *in, const dm_json *root)
{
    const dm_json *list;
    size_t n = 0;
    dm_status s = dm_recipe_get_list(in, root, "environments", &list);
    if (s == DM_OK && !list)
        s = DM_RECIPE_FAIL(in, root, "\"environments\" is missing: a list of {\"env\": \"home\", ...}");
    dm_recipe_env *env = s == DM_OK ? dm_recipe_allocate(in, list->length, sizeof *env) : NULL;
    if (!env)
        return s == DM_OK ? DM_ERR_MEMORY : s;
    for (const dm_json *v = list->child; v && s == DM_OK; v = v->next, n++) {
        if ((s = read_env(in, v, &env[n])) != DM_OK)
            return s;
        for (size_t i = 0; i < n; i++)
            if (strcmp(env[i].name, env[n].name) == 0)
                return DM_RECIPE_FAIL(in, v, "two environments are named \"%s\"", env[n].name);
    }
    in->r->env = env;
    in->r->envs = n;
    return s;
}

static dm_status read_settings(const dm_recipe_reader *in, const dm_json *root)
{
    static const char *const names[] = {"name", NULL};
    const dm_json *list;
    size_t n = 0;
    dm_status s = dm_recipe_get_list(in, root, "settings", &list);
    dm_recipe_setting *setting = s == DM_OK ? dm_recipe_allocate(in, list ? list->length : 1, sizeof *setting) : NULL;
    if (!setting)
        return s == DM_OK ? DM_ERR_MEMORY : s;
    for (const dm_json *v = list ? list->child : NULL; v; v = v->next, n++) {
        s = dm_recipe_read_members(in, v, names, OF_SETTINGS, "a setting", &setting[n].parts);
        if (s != DM_OK || (s = dm_recipe_get_string(in, v, "name", false, &setting[n].name)) != DM_OK)
            return s;
        for (size_t i = 0; i < n; i++)
            if (strcmp(setting[i].name, setting[n].name) == 0)
                return DM_RECIPE_FAIL(in, v, "two settings are named \"%s\"", setting[n].name);
    }
    in->r->setting = setting;
    in->r->settings = n ? n : 1;
    return DM_OK;
}

/* ---- methods ---- */

static dm_status read_kind(const dm_recipe_reader *in, const dm_json *object, const dm_method_kind **out)
{
    const dm_json *v = dm_json_get(object, "kind");
    dm_text legal = {0};

    *out = v && v->type == DM_JSON_STRING ? dm_method_kind_find(v->text) : NULL;
    if (*out)
        return DM_OK;
    for (const dm_method_kind *k = dm_method_kinds; k->name; k++)
        dm_text_print(&legal, "%s%s", k > dm_method_kinds ? ", " : "", k->name);
    const dm_status s =
        DM_RECIPE_FAIL(in, v ? v : object, "\"kind\" must be one of: %s", legal.failed ? "?" : legal.data);
    dm_text_free(&legal);
    return s;
}

/* "sweep": {"gamma": [0.1, 0.5]}: one option of train, learn, pairs or explore, or the number of iterations. */
static dm_status read_sweep(const dm_recipe_reader *in, const dm_json *object, dm_recipe_method *m)
{
    static const dm_recipe_part where[] = {DM_RECIPE_PART_TRAIN, DM_RECIPE_PART_LEARN, DM_RECIPE_PART_PAIRS,
                                           DM_RECIPE_PART_EXPLORE};
    const dm_json *v = dm_json_get(object, "sweep");

    if (!v)
        return DM_OK;
    if (v->type != DM_JSON_OBJECT || v->length != 1 || v->child->type != DM_JSON_ARRAY || v->child->length == 0)
        return DM_RECIPE_FAIL(in, v, "\"sweep\" must be one option and its values, {\"gamma\": [0.1, 0.5]}");
    const dm_json *list = m->sweep = v->child;
    m->sweep_part = DM_RECIPE_PARTS;
    if (strcmp(list->key, "iterations") == 0) {
        for (const dm_json *x = list->child; x; x = x->next)
            if (x->type != DM_JSON_NUMBER || !x->is_integer || x->integer < 1 || x->integer > 100)
                return DM_RECIPE_FAIL(in, x, "\"iterations\" must be whole numbers from 1 to 100");
        return m->kind->iterations ? DM_OK
                                   : DM_RECIPE_FAIL(in, v, "a method of kind %s has no iterations", m->kind->name);
    }
    m->sweep_part = dm_recipe_part_with(in, m->kind, where, sizeof where / sizeof *where, list);
    if (m->sweep_part == DM_RECIPE_PARTS)
        return DM_RECIPE_FAIL(in, list, "a method of kind %s cannot sweep \"%s\": it is not one of its options",
                              m->kind->name, list->key);
    return dm_recipe_check_values(in, m->sweep_part, list);
}

static dm_status read_method_settings(const dm_recipe_reader *in, const dm_json *object, dm_recipe_method *m)
{
    const dm_status s = dm_recipe_get_list(in, object, "settings", &m->settings);
    for (const dm_json *v = s == DM_OK && m->settings ? m->settings->child : NULL; v; v = v->next) {
        size_t i = 0;
        while (i < in->r->settings && !(in->r->setting[i].name && dm_json_is(v, in->r->setting[i].name)))
            i++;
        if (i == in->r->settings)
            return DM_RECIPE_FAIL(in, v, "the recipe has no such setting");
    }
    return s;
}

/* "@NAME" must be "@model", "@sft" or an earlier method that has one policy. */
static dm_status check_reference(const dm_recipe_reader *in, const dm_json *v, const dm_recipe_method *method,
                                 size_t before)
{
    if (v->type != DM_JSON_STRING || v->text[0] != '@' || dm_json_is(v, "@model") || dm_json_is(v, "@sft"))
        return DM_OK;
    for (size_t i = 0; i < before; i++)
        if (strcmp(method[i].name, v->text + 1) == 0) {
            if (method[i].kind->learns == DM_METHOD_LEARNS_NOTHING || method[i].sweep)
                return DM_RECIPE_FAIL(in, v, "the method \"%s\" has no single model of its own", method[i].name);
            return DM_OK;
        }
    return DM_RECIPE_FAIL(in, v, "\"%s\" is neither @model nor @sft nor a method above this one", v->text);
}

static dm_status read_method(const dm_recipe_reader *in, const dm_json *v, dm_recipe_method *method, size_t n)
{
    static const char *const names[] = {"name",     "kind",  "from",   "iterations", "fresh",
                                        "settings", "sweep", "search", NULL};
    dm_recipe_method *m = &method[n];
    dm_status s;

    m->at = v;
    if (v->type != DM_JSON_OBJECT)
        return DM_RECIPE_FAIL(in, v, "a method must be an object");
    if ((s = dm_recipe_get_string(in, v, "name", false, &m->name)) != DM_OK ||
        (s = read_kind(in, v, &m->kind)) != DM_OK)
        return s;
    for (size_t i = 0; i < n; i++)
        if (strcmp(method[i].name, m->name) == 0)
            return DM_RECIPE_FAIL(in, v, "two methods are named \"%s\"", m->name);
    const int64_t once = m->kind->iterations ? m->kind->iterations : 1;
    const bool same = false;
    char what[64];
    snprintf(what, sizeof what, "a method of kind %s", m->kind->name);
    dm_recipe_reader inside = *in;
    inside.in_method = true;
    if ((s = dm_recipe_read_members(&inside, v, names, m->kind->parts, what, &m->parts)) != DM_OK ||
        (s = dm_recipe_get_string(in, v, "from", true, &m->from)) != DM_OK ||
        (s = dm_json_get_int(in->r->doc, v, "iterations", 1, 100, &once, &m->iterations, in->err)) != DM_OK ||
        (s = dm_json_get_bool(in->r->doc, v, "fresh", &same, &m->fresh, in->err)) != DM_OK ||
        (s = read_method_settings(in, v, m)) != DM_OK || (s = read_sweep(in, v, m)) != DM_OK)
        return s;
    if (m->iterations > 1 && m->kind->iterations == 0)
        return DM_RECIPE_FAIL(in, dm_json_get(v, "iterations"), "a method of kind %s has no iterations", m->kind->name);
    if (m->fresh && m->iterations < 2 && !(m->sweep && m->sweep_part == DM_RECIPE_PARTS))
        return DM_RECIPE_FAIL(in, dm_json_get(v, "fresh"), "the method explores once; \"fresh\" is of \"iterations\"");
    if (m->from && (s = check_reference(in, dm_json_get(v, "from"), method, n)) != DM_OK)
        return s;
    const dm_json *train = m->parts.object[DM_RECIPE_PART_TRAIN];
    for (const dm_json *o = train ? train->child : NULL; o; o = o->next)
        if ((s = check_reference(in, o, method, n)) != DM_OK)
            return s;
    for (const dm_json *x = m->sweep ? m->sweep->child : NULL; x; x = x->next)
        if ((s = check_reference(in, x, method, n)) != DM_OK)
            return s;
    return DM_OK;
}

static dm_status read_methods(const dm_recipe_reader *in, const dm_json *root)
{
    const dm_json *list;
    size_t n = 0;
    dm_status s = dm_recipe_get_list(in, root, "methods", &list);
    if (s == DM_OK && !list)
        s = DM_RECIPE_FAIL(in, root,
                           "\"methods\" is missing: a list of {\"name\": \"DMPO\", \"kind\": \"preference\", ...}");
    dm_recipe_method *method = s == DM_OK ? dm_recipe_allocate(in, list->length, sizeof *method) : NULL;
    if (!method)
        return s == DM_OK ? DM_ERR_MEMORY : s;
    for (const dm_json *v = list->child; v; v = v->next, n++)
        if ((s = read_method(in, v, method, n)) != DM_OK)
            return s;
    in->r->method = method;
    in->r->methods = n;
    if ((s = dm_recipe_get_list(in, root, "examples", &in->r->examples)) != DM_OK || !in->r->examples)
        return s;
    for (const dm_json *v = in->r->examples->child; v; v = v->next) {
        size_t i = 0;
        while (i < n &&
               !(dm_json_is(v, method[i].name) && method[i].kind->learns == DM_METHOD_LEARNS_PAIRS && !method[i].sweep))
            i++;
        if (i == n)
            return DM_RECIPE_FAIL(in, v, "an example is the name of a method that learns from pairs, without a sweep");
    }
    return DM_OK;
}

/* What only shows when methods and environments are seen together. */
static dm_status check_together(const dm_recipe_reader *in)
{
    for (size_t e = 0; e < in->r->envs; e++) {
        const dm_recipe_env *env = &in->r->env[e];
        for (size_t m = 0; m < in->r->methods; m++) {
            const dm_recipe_method *method = &in->r->method[m];
            const bool better = method->kind->learns == DM_METHOD_LEARNS_BETTER;
            const bool explores = better || method->kind->learns == DM_METHOD_LEARNS_ONLINE || method->iterations > 1 ||
                                  (method->sweep && method->sweep_part == DM_RECIPE_PARTS) ||
                                  (method->kind->learns == DM_METHOD_LEARNS_PAIRS && !env->pairs_data);
            if (!env->specification && explores)
                return DM_RECIPE_FAIL(in, env->at,
                                      "the method \"%s\" explores, and the environment \"%s\" has no \"env\"",
                                      method->name, env->name);
            if (env->sft_data && better)
                return DM_RECIPE_FAIL(in, env->at,
                                      "the method \"%s\" adds to an expert's episodes; \"%s\" has a file instead",
                                      method->name, env->name);
        }
    }
    return DM_OK;
}

/* ---- the whole ---- */

static dm_status read_root(const dm_recipe_reader *in)
{
    static const char *const names[] = {"name",     "title",  "seeds",     "environments", "settings", "methods",
                                        "examples", "search", "questions", "difference",   NULL};
    const dm_json *root = dm_json_root(in->r->doc);
    dm_recipe *r = in->r;
    dm_status s;

    if ((s = dm_recipe_read_members(in, root, names, ALL_PARTS, "a recipe", &r->parts)) != DM_OK ||
        (s = dm_recipe_get_string(in, root, "name", false, &r->name)) != DM_OK ||
        (s = dm_recipe_get_string(in, root, "title", true, &r->title)) != DM_OK ||
        (s = dm_recipe_read_seeds(in, root, &r->seed, &r->seeds)) != DM_OK || (s = read_envs(in, root)) != DM_OK ||
        (s = read_settings(in, root)) != DM_OK || (s = read_methods(in, root)) != DM_OK ||
        (s = dm_recipe_read_search(in, root)) != DM_OK || (s = dm_recipe_read_questions(in, root)) != DM_OK)
        return s;
    if (!r->title)
        r->title = r->name;
    return check_together(in);
}

dm_status dm_recipe_parse(dm_recipe *r, const char *text, size_t size, const char *name,
                          const dm_experiment_commands *commands, dm_error *err)
{
    const dm_recipe_reader in = {r, commands, err, false};

    *r = (dm_recipe){.size = size};
    dm_status s = dm_json_parse(&r->doc, text, size, name, err);
    char *copy = s == DM_OK ? dm_recipe_allocate(&in, size + 1, 1) : NULL;
    if (s == DM_OK && !copy)
        s = DM_ERR_MEMORY;
    if (s == DM_OK) {
        memcpy(copy, text, size);
        r->text = copy;
        s = read_root(&in);
    }
    if (s != DM_OK)
        dm_recipe_close(r);
    return s;
}

void dm_recipe_close(dm_recipe *r)
{
    dm_json_close(&r->doc);
    dm_block_free(&r->blocks);
    *r = (dm_recipe){0};
}

dm_status dm_recipe_set_seeds(dm_recipe *r, const char *list, dm_error *err)
{
    uint64_t *seed = dm_block_alloc(&r->blocks, DM_RECIPE_SEEDS_MAX * sizeof *seed);
    size_t n;

    if (!seed)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the seeds");
    const dm_status s = dm_recipe_parse_seeds(list, "--seeds", seed, &n, err);
    if (s != DM_OK)
        return s;
    r->seed = seed;
    r->seeds = n;
    const uint64_t *twice = dm_recipe_search_overlap(r);
    return twice ? dm_fail(err, DM_ERR_ARGUMENT, "--seeds: %llu is a seed of the recipe's search",
                           (unsigned long long)*twice)
                 : DM_OK;
}

size_t dm_recipe_splits(const dm_recipe *r, const dm_recipe_env *env, dm_env_split out[DM_ENV_SPLITS])
{
    const dm_json *list = dm_json_get(env->parts.object[DM_RECIPE_PART_EVALUATE], "splits");
    size_t n = 0;

    if (!list)
        list = dm_json_get(r->parts.object[DM_RECIPE_PART_EVALUATE], "splits");
    if (!list) {
        out[n++] = DM_ENV_SPLIT_SEEN;
        out[n++] = DM_ENV_SPLIT_UNSEEN;
    }
    for (const dm_json *v = list ? list->child : NULL; v; v = v->next)
        for (int i = 0; i < DM_ENV_SPLITS; i++)
            if (dm_json_is(v, dm_env_split_names[i]))
                out[n++] = (dm_env_split)i;
    return n;
}

bool dm_recipe_names(const dm_json *list, const char *name)
{
    for (const dm_json *v = list ? list->child : NULL; v; v = v->next)
        if (dm_json_is(v, name))
            return true;
    return false;
}
