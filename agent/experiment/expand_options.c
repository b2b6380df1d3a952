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
}

const dm_recipe_option *dm_recipe_options_find(const dm_recipe_options *o, const char *name)
{
    for (size_t i = 0; i < o->n; i++)
        if (strcmp(o->item[i].name, name) == 0)
            return &o->item[i];
    return NULL;
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
