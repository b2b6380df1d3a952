/* What makes a recipe one that can decide: the search for its options' values, and the questions stated beforehand. */
#include <string.h>

#include "agent/experiment/recipe_reader.h"
#include "core/numbers/philox.h"

#define POINTS_MAX 1000
#define GRID_MAX 100000
#define PART(name) (1u << DM_RECIPE_PART_##name)

/* ---- the points that a method tries ---- */

/* How many combinations the lists have; 0: too many. */
static size_t grid_size(const dm_json *lists)
{
    size_t n = 1;
    for (const dm_json *list = lists->child; list && n; list = list->next)
        n = list->length > GRID_MAX / n ? 0 : n * list->length;
    return n;
}

const dm_json *dm_recipe_point_value(const dm_recipe_method *method, size_t point, const dm_json *list)
{
    size_t at = method->point[point];

    for (const dm_json *before = method->search->child; before != list; before = before->next)
        at /= before->length;
    const dm_json *value = list->child;
    for (at %= list->length; at > 0; at--)
        value = value->next;
    return value;
}

static dm_status check_lists(const dm_recipe_reader *in, dm_recipe_method *m)
{
    static const dm_recipe_part where[] = {DM_RECIPE_PART_TRAIN, DM_RECIPE_PART_LEARN};

    for (const dm_json *list = m->search->child; list; list = list->next) {
        if (list->type != DM_JSON_ARRAY || list->length == 0)
            return DM_RECIPE_FAIL(in, list, "\"%s\" must be a list of values, not empty", list->key);
        m->search_part = dm_recipe_part_with(in, m->kind, where, sizeof where / sizeof *where, list);
        if (m->search_part == DM_RECIPE_PARTS)
            return DM_RECIPE_FAIL(
                in, list,
                "the method \"%s\" has no option \"%s\" of training; a \"search\" of its own can name "
                "others",
                m->name, list->key);
        if (m->sweep && strcmp(m->sweep->key, list->key) == 0)
            return DM_RECIPE_FAIL(in, list, "the method \"%s\" sweeps \"%s\", and cannot search it, too", m->name,
                                  list->key);
        const dm_status s = dm_recipe_check_values(in, m->search_part, list);
        if (s != DM_OK)
            return s;
    }
    return DM_OK;
}

/* All combinations, or as many as the budget, drawn from them: the same ones for the same lists. */
static dm_status choose_points(const dm_recipe_reader *in, dm_recipe_method *m, const dm_json *search, int64_t budget)
{
    dm_recipe_search *found = &in->r->search;
    const size_t n = grid_size(m->search);

    if (n == 0)
        return DM_RECIPE_FAIL(in, m->search, "more than %d combinations of values", GRID_MAX);
    if (found->points == 0)
        found->points = budget ? (size_t)budget : n;
    if (n < found->points || (!budget && n != found->points))
        return DM_RECIPE_FAIL(in, budget ? m->at : search,
                              "the method \"%s\" has %zu combinations of values, where every method tries %zu; "
                              "%s",
                              m->name, n, found->points,
                              budget ? "give it more values" : "\"budget\" draws as many for each");
    uint32_t *order = dm_recipe_allocate(in, n, sizeof *order);
    if (!order)
        return DM_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    if (n > found->points)
        dm_random_shuffle(order, n, found->seed[0], DM_RNG_SEARCH, 0);
    m->point = order;
    return DM_OK;
}

/* ---- nothing that the results use ---- */

const uint64_t *dm_recipe_search_overlap(const dm_recipe *r)
{
    for (size_t i = 0; r->search.points && i < r->search.seeds; i++)
        for (size_t k = 0; k < r->seeds; k++)
            if (r->search.seed[i] == r->seed[k])
                return &r->search.seed[i];
    return NULL;
}

/* The last of the objects that gives it; they are checked options: whole numbers. */
static int64_t option_of(const dm_json *const *object, size_t n, const char *name)
{
    for (size_t i = n; i-- > 0;) {
        const dm_json *v = dm_json_get(object[i], name);
        if (v && v->type == DM_JSON_NUMBER)
            return v->integer;
    }
    return 0;
}

static bool same_tasks(const dm_recipe *r, const dm_recipe_env *env, const dm_recipe_method *m)
{
    const dm_json *of[] = {r->parts.object[DM_RECIPE_PART_EVALUATE], env->parts.object[DM_RECIPE_PART_EVALUATE],
                           m->parts.object[DM_RECIPE_PART_EVALUATE], r->search.evaluate};
    int64_t begin[2], end[2];
    dm_env_split split[DM_ENV_SPLITS];
    const size_t splits = dm_recipe_splits(r, env, split);
    size_t i = 0;

    while (i < splits && split[i] != r->search.split)
        i++;
    if (i == splits || option_of(of, 3, "env-seed") != option_of(of, 4, "env-seed"))
        return false;
    for (size_t k = 0; k < 2; k++) {
        const int64_t tasks = option_of(of, 3 + k, "tasks");
        begin[k] = option_of(of, 3 + k, "first");
        end[k] = tasks ? begin[k] + tasks : INT64_MAX; /* the rest of the split */
    }
    return begin[0] < end[1] && begin[1] < end[0];
}

static dm_status check_apart(const dm_recipe_reader *in, const dm_json *search)
{
    const uint64_t *twice = dm_recipe_search_overlap(in->r);

    if (twice)
        return DM_RECIPE_FAIL(in, search, "the seed %llu is one of the results', too", (unsigned long long)*twice);
    for (size_t e = 0; e < in->r->envs; e++) {
        const dm_recipe_env *env = &in->r->env[e];
        if (!env->specification)
            return DM_RECIPE_FAIL(in, env->at, "a search needs to play, and \"%s\" has no \"env\"", env->name);
        for (size_t m = 0; m < in->r->methods; m++)
            if (same_tasks(in->r, env, &in->r->method[m]))
                return DM_RECIPE_FAIL(in, search,
                                      "the results of \"%s\" have tasks of the search: its \"evaluate\" needs another "
                                      "split, or \"first\" and \"tasks\" that differ",
                                      in->r->method[m].name);
    }
    return DM_OK;
}

/* ---- "search" ---- */

static dm_status read_evaluate(const dm_recipe_reader *in, const dm_json *search, const dm_json *evaluate)
{
    const dm_json *splits = evaluate ? dm_json_get(evaluate, "splits") : NULL;

    if (!splits || splits->length != 1)
        return DM_RECIPE_FAIL(in, evaluate ? evaluate : search,
                              "a search needs \"evaluate\" with one split, {\"splits\": [\"seen\"], \"first\": 500}");
    in->r->search.evaluate = evaluate;
    for (int i = 0; i < DM_ENV_SPLITS; i++)
        if (dm_json_is(splits->child, dm_env_split_names[i]))
            in->r->search.split = (dm_env_split)i;
    return DM_OK;
}

dm_status dm_recipe_read_search(const dm_recipe_reader *in, const dm_json *root)
{
    static const char *const names[] = {"seeds", "budget", "values", NULL};
    const dm_json *search = dm_json_get(root, "search");
    dm_recipe_parts parts = {{NULL}};
    dm_recipe_search *found = &in->r->search;
    dm_recipe_method *method = (dm_recipe_method *)(uintptr_t)in->r->method; /* read a moment ago */
    int64_t budget = 0;
    dm_status s = DM_OK;

    if (search &&
        ((s = dm_recipe_read_members(in, search, names, PART(EVALUATE), "a search", &parts)) != DM_OK ||
         (s = dm_recipe_read_seeds(in, search, &found->seed, &found->seeds)) != DM_OK ||
         (s = dm_json_get_int(in->r->doc, search, "budget", 1, POINTS_MAX, &budget, &budget, in->err)) != DM_OK ||
         (s = read_evaluate(in, search, parts.object[DM_RECIPE_PART_EVALUATE])) != DM_OK))
        return s;
    const dm_json *values = dm_json_get(search, "values");
    for (size_t m = 0; m < in->r->methods; m++) {
        dm_recipe_method *x = &method[m];
        const dm_json *own = dm_json_get(x->at, "search");
        if (own && !search)
            return DM_RECIPE_FAIL(in, own, "the recipe has no \"search\" that says how");
        x->search = own ? own : x->kind->learns != DM_METHOD_LEARNS_NOTHING ? values : NULL;
        if (x->search && x->search->type != DM_JSON_OBJECT)
            return DM_RECIPE_FAIL(in, x->search, "must be an object of lists, {\"lr\": [1e-5, 1e-4]}");
        if (x->search && !x->search->child)
            x->search = NULL; /* {}: not searched */
        if (x->search && ((s = check_lists(in, x)) != DM_OK || (s = choose_points(in, x, search, budget)) != DM_OK))
            return s;
    }
    if (search && !found->points)
        return DM_RECIPE_FAIL(in, search, "nothing is searched: \"values\", or \"search\" of a method, lists values");
    return search ? check_apart(in, search) : DM_OK;
}

/* ---- "questions" ---- */

static dm_status read_env_name(const dm_recipe_reader *in, const dm_json *v, const dm_recipe_env **out)
{
    const char *name;
    const dm_status s = dm_recipe_get_string(in, v, "env", true, &name);

    for (size_t i = 0; s == DM_OK && name && i < in->r->envs && !*out; i++)
        *out = strcmp(in->r->env[i].name, name) == 0 ? &in->r->env[i] : NULL;
    return s == DM_OK && name && !*out ? DM_RECIPE_FAIL(in, dm_json_get(v, "env"), "no such environment") : s;
}

static bool same_value(const dm_json *a, const dm_json *b)
{
    if (a->type != b->type)
        return false;
    return a->type == DM_JSON_NUMBER   ? !(a->number < b->number) && !(a->number > b->number)
           : a->type == DM_JSON_STRING ? strcmp(a->text, b->text) == 0
                                       : a->boolean == b->boolean;
}

/* Method, setting and value as the members of these names say. */
static dm_status read_side(const dm_recipe_reader *in, const dm_json *v, const char *method, const char *setting,
                           const char *x, dm_recipe_side *out)
{
    const char *name, *of;
    dm_status s = dm_recipe_get_string(in, v, method, false, &name);

    if (s != DM_OK || (s = dm_recipe_get_string(in, v, setting, true, &of)) != DM_OK)
        return s;
    for (size_t i = 0; i < in->r->methods; i++)
        if (strcmp(in->r->method[i].name, name) == 0)
            out->method = &in->r->method[i];
    if (!out->method)
        return DM_RECIPE_FAIL(in, dm_json_get(v, method), "no such method");
    for (size_t i = 0; of && i < in->r->settings; i++)
        if (in->r->setting[i].name && strcmp(in->r->setting[i].name, of) == 0)
            out->setting = &in->r->setting[i];
    if (of && (!out->setting || out->method->kind->learns != DM_METHOD_LEARNS_PAIRS))
        return DM_RECIPE_FAIL(in, dm_json_get(v, setting), "the method \"%s\" has no such setting", name);
    const dm_json *value = dm_json_get(v, x);
    for (const dm_json *i = out->method->sweep && value ? out->method->sweep->child : NULL; i; i = i->next)
        if (same_value(i, value))
            out->x = i;
    return (value || out->method->sweep) && !out->x
               ? DM_RECIPE_FAIL(in, value ? value : v, "\"%s\" must be a value of the sweep of \"%s\"", x, name)
               : DM_OK;
}

static dm_status read_question(const dm_recipe_reader *in, const dm_json *v, dm_recipe_question *q)
{
    static const char *const names[] = {"ask",       "method", "setting", "x", "against", "against-setting",
                                        "against-x", "env",    "split",   NULL};
    dm_recipe_parts none = {{NULL}};
    const char *split = NULL;
    dm_status s = dm_recipe_read_members(in, v, names, 0, "a question", &none);

    if (s != DM_OK || (s = dm_recipe_get_string(in, v, "ask", false, &q->text)) != DM_OK ||
        (s = dm_recipe_get_string(in, v, "split", true, &split)) != DM_OK ||
        (s = read_env_name(in, v, &q->env)) != DM_OK ||
        (s = read_side(in, v, "method", "setting", "x", &q->one)) != DM_OK ||
        (s = read_side(in, v, "against", "against-setting", "against-x", &q->other)) != DM_OK)
        return s;
    q->split = DM_ENV_SPLIT_UNSEEN;
    if (!split)
        return DM_OK;
    for (int i = 0; i < DM_ENV_SPLITS; i++)
        if (strcmp(split, dm_env_split_names[i]) == 0) {
            q->split = (dm_env_split)i;
            return DM_OK;
        }
    return DM_RECIPE_FAIL(in, dm_json_get(v, "split"), "a split is one of: train, seen, unseen");
}

dm_status dm_recipe_read_questions(const dm_recipe_reader *in, const dm_json *root)
{
    static const double usual = 0.03;
    const dm_json *list;
    size_t n = 0;
    dm_status s = dm_recipe_get_list(in, root, "questions", &list);

    if (s == DM_OK)
        s = dm_json_get_double(in->r->doc, root, "difference", 1e-6, 1e6, &usual, &in->r->difference, in->err);
    if (s != DM_OK || !list)
        return s;
    dm_recipe_question *question = dm_recipe_allocate(in, list->length, sizeof *question);
    if (!question)
        return DM_ERR_MEMORY;
    for (const dm_json *v = list->child; v; v = v->next)
        if ((s = read_question(in, v, &question[n++])) != DM_OK)
            return s;
    in->r->question = question;
    in->r->questions = n;
    return DM_OK;
}
