/* Options of a recipe's levels, merged, and their way into a command. */
#include <stdio.h>
#include <string.h>

#include "agent/experiment/expand.h"

void dm_recipe_options_set(dm_expansion *x, dm_recipe_options *o, const char *name, const dm_json *value,
                           const char *text)
{
    size_t i = 0;

    while (i < o->n && strcmp(o->item[i].name, name) < 0)
        i++;
    if (i == o->n || strcmp(o->item[i].name, name) != 0) {
        if (o->n == DM_RECIPE_OPTIONS_MAX) {
            if (x->b.status == DM_OK)
                x->b.status = dm_fail(x->b.err, DM_ERR_ARGUMENT, "more than %d options for dmpo %s",
                                      DM_RECIPE_OPTIONS_MAX, o->command);
            return;
        }
        memmove(o->item + i + 1, o->item + i, (o->n++ - i) * sizeof *o->item);
    }
    o->item[i] = (dm_recipe_option){.name = name, .value = value, .text = text};
}

void dm_recipe_options_set_all(dm_expansion *x, dm_recipe_options *o, const dm_json *object)
{
    for (const dm_json *v = object && object->type == DM_JSON_OBJECT ? object->child : NULL; v; v = v->next)
        if (strcmp(v->key, "splits") != 0)
            dm_recipe_options_set(x, o, v->key, v, NULL);
}

void dm_recipe_options_collect(dm_expansion *x, dm_recipe_options *o, const dm_stage_subject *of, dm_recipe_part part)
{
    const dm_recipe_parts *level[] = {&x->r->parts, &of->env->parts, of->setting ? &of->setting->parts : NULL,
                                      of->method ? &of->method->parts : NULL};

    o->command = dm_recipe_part_command(part);
    for (size_t i = 0; i < sizeof level / sizeof *level; i++)
        if (level[i])
            dm_recipe_options_set_all(x, o, level[i]->object[part]);
    if (of->method && of->method->sweep && of->method->sweep_part == part && of->x)
        dm_recipe_options_set(x, o, of->method->sweep->key, of->x, NULL);
    dm_recipe_options_set_point(x, o, of, part);
}

void dm_recipe_options_set_point(dm_expansion *x, dm_recipe_options *o, const dm_stage_subject *of, dm_recipe_part part)
{
    if (!of->method || !of->point || of->method->search_part != part)
        return;
    for (const dm_json *list = of->method->search->child; list; list = list->next)
        dm_recipe_options_set(x, o, list->key, dm_recipe_point_value(of->method, of->point - 1, list), NULL);
}

const dm_recipe_option *dm_recipe_options_find(const dm_recipe_options *o, const char *name)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->item[i].name, name) == 0)
            return &o->item[i];
    return NULL;
}

static int64_t whole(const dm_recipe_options *o, const char *name, int64_t fallback)
{
    const dm_recipe_option *v = dm_recipe_options_find(o, name);

    return v && v->value && v->value->type == DM_JSON_NUMBER && v->value->is_integer ? v->value->integer : fallback;
}

void dm_recipe_options_collect_explore(dm_expansion *x, dm_recipe_options *o, const dm_stage_subject *of,
                                       int64_t iteration)
{
    dm_recipe_options_collect(x, o, of, DM_RECIPE_PART_EXPLORE);
    if (!of->method->fresh || iteration == 1)
        return;
    const int64_t tasks = whole(o, "tasks", 0), first = whole(o, "first", 0) + (iteration - 1) * tasks;
    if (tasks == 0 && x->b.status == DM_OK)
        x->b.status = dm_fail(x->b.err, DM_ERR_ARGUMENT,
                              "the method \"%s\" explores fresh tasks; \"explore\" must say how many: \"tasks\": 200",
                              of->method->name);
    dm_recipe_options_set(x, o, "first", NULL, dm_experiment_plan_print(&x->b, "%lld", (long long)first));
}

static const char *seed_text(dm_expansion *x, uint64_t seed)
{
    return dm_experiment_plan_print(&x->b, "%llu", (unsigned long long)seed);
}

void dm_recipe_options_seed(dm_expansion *x, dm_recipe_options *o, uint64_t seed)
{
    if (!dm_recipe_options_find(o, "seed") && x->commands->has(o->command, "seed"))
        dm_recipe_options_set(x, o, "seed", NULL, seed_text(x, seed));
}

void dm_recipe_options_default(dm_expansion *x, dm_recipe_options *o, const char *name, const char *text)
{
    if (!dm_recipe_options_find(o, name))
        dm_recipe_options_set(x, o, name, NULL, text);
}

/* "--name value" */
void dm_recipe_options_put_one(dm_expansion *x, const dm_recipe_option *item)
{
    const dm_json *v = item->value;
    char number[DM_DOUBLE_TEXT];

    if (!v) {
        dm_stage_option(&x->b, item->name, item->text);
    } else if (item->is_path) {
        dm_stage_source(&x->b, item->name, item->source);
    } else if (v->type == DM_JSON_STRING) {
        dm_stage_option(&x->b, item->name, v->text);
    } else if (v->type == DM_JSON_BOOL) {
        dm_stage_text(&x->b, dm_experiment_plan_print(&x->b, "--%s%s", v->boolean ? "" : "no-", item->name));
    } else if (v->type == DM_JSON_NUMBER && v->is_integer) {
        dm_stage_option(&x->b, item->name, dm_experiment_plan_print(&x->b, "%lld", (long long)v->integer));
    } else if (v->type == DM_JSON_NUMBER) {
        dm_double_text(number, v->number);
        dm_stage_option(&x->b, item->name, dm_experiment_plan_print(&x->b, "%s", number));
    } /* null: the command's own default */
}

void dm_recipe_options_put(dm_expansion *x, const dm_recipe_options *o)
{
    for (size_t i = 0; i < o->n; i++)
        dm_recipe_options_put_one(x, &o->item[i]);
}

static void hash_source(dm_expansion *x, dm_sha256 *h, dm_stage_source_ref source)
{
    const char *key = dm_stage_source_key(&x->b, source);
    dm_sha256_update(h, key, strlen(key) + 1);
    dm_sha256_update(h, source.path, strlen(source.path) + 1);
}

void dm_recipe_options_share_reference(dm_expansion *x, const dm_recipe_options *o, dm_stage_source_ref model,
                                       dm_stage_source_ref data)
{
    static const char *const decides[] = {"max-length", "reference",       "reference2", "share-prefix",
                                          "template",   "template-option", NULL};
    const dm_recipe_option *objective = dm_recipe_options_find(o, "objective");
    char hex[DM_SHA256_HEX];
    dm_sha256 h;

    const char *name = !objective ? NULL : objective->value ? objective->value->text : objective->text;
    if (!name)
        name = ""; /* train's own default */
    if (strcmp(name, "sft") == 0 || x->b.status != DM_OK)
        return;
    dm_sha256_init(&h);
    hash_source(x, &h, model);
    hash_source(x, &h, data);
    for (size_t k = 0; decides[k]; k++) {
        const dm_recipe_option *d = dm_recipe_options_find(o, decides[k]);
        char number[DM_DOUBLE_TEXT] = "";
        if (d && d->is_path)
            hash_source(x, &h, d->source);
        else if (d && d->value->type == DM_JSON_STRING)
            snprintf(number, sizeof number, "%s", d->value->text);
        else if (d)
            dm_double_text(number, d->value->type == DM_JSON_BOOL ? d->value->boolean : d->value->number);
        dm_sha256_update(&h, number, strlen(number) + 1);
    }
    dm_sha256_update(&h, name, strcmp(name, "kto") == 0 ? 3 : 0); /* it has mismatched pairs' values, too */
    dm_sha256_finish(&h, hex);
    dm_stage_free(&x->b, "reference-cache",
                  dm_experiment_plan_print(&x->b, "%s/" DM_STAGE_CACHE "/reference-%.12s", x->b.plan->output, hex));
}
