/* From a recipe to its stages: what each method of each setting, seed and environment depends on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/experiment/expand.h"
#include "agent/experiment/search.h"

static const dm_stage_source_ref NOTHING = {DM_STAGE_NONE, NULL};

static dm_stage_source_ref output_of(size_t stage, const char *path)
{
    return (dm_stage_source_ref){stage, path};
}

/* ---- names ---- */

/* Of a stage: "home-noisy-dmpo-gamma0.5-s1" without what does not apply. */
static const char *name_of(dm_expansion *x, const dm_stage_subject *of, const char *what, bool seeded)
{
    const char *setting = of->setting && of->setting->name ? of->setting->name : "";
    const dm_json *v = of->x;
    char number[DM_DOUBLE_TEXT] = "";

    if (v && v->type == DM_JSON_NUMBER)
        dm_double_text(number, v->number);
    const char *value = !v ? "" : v->type == DM_JSON_STRING ? v->text : v->type == DM_JSON_BOOL ? "" : number;
    const char *point =
        !of->point || !x->b.plan->searching ? "" : dm_experiment_plan_print(&x->b, "-point%zu", of->point);
    return dm_experiment_plan_print(&x->b, "%s%s%s%s%s%s%s%s%s%s", of->env->name, *setting ? "-" : "", setting,
                                    *what ? "-" : "", what, v ? "-" : "", v ? of->method->sweep->key : "", value, point,
                                    seeded ? dm_experiment_plan_print(&x->b, "-s%llu", (unsigned long long)of->seed)
                                           : "");
}

/* ---- data, model, SFT: the same for all methods ---- */

/* The expert's episodes of the tasks that `tasks` names; NULL: of those that the recipe's "expert" does. */
static dm_stage_source_ref expert_episodes(dm_expansion *x, const dm_stage_subject *of, const dm_recipe_options *tasks)
{
    static const char *const which[] = {"tasks", "first", "env-seed", NULL};
    const dm_stage_subject plain = {.env = of->env, .seed = of->seed};
    dm_recipe_options o = {.n = 0}, chosen = {.n = 0};

    dm_recipe_options_collect(x, &o, &plain, DM_RECIPE_PART_EXPERT);
    chosen.command = o.command;
    for (size_t i = 0; i < o.n; i++) {
        size_t k = 0;
        while (which[k] && strcmp(which[k], o.item[i].name) != 0)
            k++;
        if (!which[k] || !tasks)
            dm_recipe_options_set(x, &chosen, o.item[i].name, o.item[i].value, NULL);
    }
    for (size_t k = 0; tasks && which[k]; k++) {
        const dm_recipe_option *t = dm_recipe_options_find(tasks, which[k]);
        if (t)
            dm_recipe_options_set(x, &chosen, t->name, t->value, t->text);
    }
    dm_stage_begin(&x->b, "rollout");
    dm_stage_option(&x->b, "env", of->env->specification);
    dm_stage_option(&x->b, "split", "train");
    dm_stage_option(&x->b, "policy", "expert");
    dm_recipe_options_put(x, &chosen);
    dm_stage_output(&x->b, "output", "episodes.jsonl");
    return output_of(dm_stage_end(&x->b, true, "%s", name_of(x, &plain, "expert", false)), "episodes.jsonl");
}

static dm_stage_source_ref sft_data(dm_expansion *x, const dm_stage_subject *of)
{
    return of->env->sft_data ? (dm_stage_source_ref){DM_STAGE_NONE, of->env->sft_data} : expert_episodes(x, of, NULL);
}

/* The model before anything is learnt. */
static dm_stage_source_ref initial_model(dm_expansion *x, const dm_stage_subject *of)
{
    const dm_stage_subject plain = {.env = of->env, .seed = of->seed};
    const dm_json *model = of->env->parts.object[DM_RECIPE_PART_MODEL];
    dm_recipe_options tokenizer = {.n = 0}, init = {.n = 0};

    if (!model)
        model = x->r->parts.object[DM_RECIPE_PART_MODEL];
    if (model && model->type == DM_JSON_STRING)
        return (dm_stage_source_ref){DM_STAGE_NONE, model->text};

    const dm_stage_source_ref data = sft_data(x, of);
    dm_recipe_options_collect(x, &tokenizer, &plain, DM_RECIPE_PART_TOKENIZER);
    dm_stage_begin(&x->b, "tokenizer");
    dm_stage_text(&x->b, "train");
    dm_stage_output(&x->b, "output", "");
    dm_recipe_options_put(x, &tokenizer);
    dm_stage_source(&x->b, NULL, data);
    if (of->env->pairs_data)
        dm_stage_source(&x->b, NULL, (dm_stage_source_ref){DM_STAGE_NONE, of->env->pairs_data});
    const dm_stage_source_ref made =
        output_of(dm_stage_end(&x->b, false, "%s", name_of(x, &plain, "tokenizer", false)), "");

    dm_recipe_options_collect(x, &init, &plain, DM_RECIPE_PART_MODEL);
    dm_recipe_options_seed(x, &init, of->seed);
    dm_stage_begin(&x->b, "init");
    dm_stage_source(&x->b, "tokenizer", made);
    dm_recipe_options_put(x, &init);
    dm_stage_output(&x->b, "output", "");
    return output_of(dm_stage_end(&x->b, false, "%s", name_of(x, &plain, "init", true)), "");
}

static dm_stage_source_ref model_named(dm_expansion *x, const dm_stage_subject *of, const char *name);

/* Options that name files or models become these, with the stages that make them: not while another stage is being
 * assembled. */
static void resolve(dm_expansion *x, const dm_stage_subject *of, dm_recipe_options *o)
{
    for (size_t i = 0; i < o->n && x->b.status == DM_OK; i++) {
        dm_recipe_option *item = &o->item[i];
        dm_recipe_option_kind kind = DM_RECIPE_OPTION_VALUE;
        if (!item->value || item->value->type != DM_JSON_STRING)
            continue;
        x->b.status = x->commands->check(o->command, x->r->doc, item->name, item->value, &kind, x->b.err);
        item->is_path = kind == DM_RECIPE_OPTION_PATH;
        if (item->is_path)
            item->source = model_named(x, of, item->value->text);
    }
}

/* A run of dmpo train. `o` holds the options, reference and the like among them. */
static dm_stage_source_ref train(dm_expansion *x, const dm_stage_subject *of, dm_recipe_options *o,
                                 dm_stage_source_ref model, dm_stage_source_ref data, const char *name)
{
    dm_recipe_options_seed(x, o, of->seed);
    resolve(x, of, o);
    dm_stage_begin(&x->b, "train");
    dm_stage_source(&x->b, "model", model);
    dm_stage_source(&x->b, "data", data);
    dm_recipe_options_put(x, o);
    dm_stage_output(&x->b, "output", "");
    dm_stage_free(&x->b, "resume", NULL);
    dm_recipe_options_share_reference(x, o, model, data);
    return output_of(dm_stage_end(&x->b, true, "%s", name_of(x, of, name, true)), "");
}

/* Supervised training as the recipe's "sft" says; a method of that kind may change it by its own "train". */
static dm_stage_source_ref supervised(dm_expansion *x, const dm_stage_subject *of, dm_stage_source_ref data)
{
    dm_recipe_options o = {.n = 0};
    const dm_stage_subject plain = {.env = of->env, .seed = of->seed};
    const dm_recipe_method *m = of->method;

    dm_recipe_options_collect(x, &o, &plain, DM_RECIPE_PART_SFT);
    if (m)
        dm_recipe_options_set_all(x, &o, m->parts.object[DM_RECIPE_PART_TRAIN]);
    if (of->x && m->sweep_part == DM_RECIPE_PART_TRAIN)
        dm_recipe_options_set(x, &o, m->sweep->key, of->x, NULL);
    dm_recipe_options_set_point(x, &o, of, DM_RECIPE_PART_TRAIN);
    dm_recipe_options_default(x, &o, "objective", "sft");
    const dm_stage_source_ref model = m && m->from ? model_named(x, of, m->from) : initial_model(x, of);
    return train(x, m ? of : &plain, &o, model, data, m ? m->name : "sft");
}

/* ---- exploring and pairs ---- */

static void put_rollout(dm_expansion *x, const dm_stage_subject *of, dm_recipe_options *o, dm_stage_source_ref policy)
{
    dm_recipe_options_seed(x, o, of->seed);
    dm_stage_begin(&x->b, "rollout");
    dm_stage_option(&x->b, "env", of->env->specification);
    dm_stage_source(&x->b, "model", policy);
}

/* The names of stages that several methods share say the method only where it gives options of its own. */
static const char *shared_name(dm_expansion *x, const dm_stage_subject *of, unsigned parts, bool own, const char *what)
{
    const dm_recipe_method *m = of->method;
    dm_stage_subject plain = {.env = of->env, .seed = of->seed};
    bool swept = false;

    for (unsigned p = 0; p < DM_RECIPE_PARTS; p++) {
        own |= m && parts >> p & 1 && m->parts.object[p];
        swept |= m && parts >> p & 1 && of->x && m->sweep_part == p;
        if (of->setting && parts >> p & 1 && of->setting->parts.object[p])
            plain.setting = of->setting;
    }
    if (swept) {
        plain.x = of->x;
        plain.method = m;
    }
    return name_of(x, &plain, own || swept ? dm_experiment_plan_print(&x->b, "%s-%s", m->name, what) : what, true);
}

static dm_stage_source_ref explore(dm_expansion *x, const dm_stage_subject *of, dm_stage_source_ref policy,
                                   int64_t iteration)
{
    dm_recipe_options o = {.n = 0};
    const char *what = iteration > 1
                           ? dm_experiment_plan_print(&x->b, "%s-explore%lld", of->method->name, (long long)iteration)
                           : "explore";
    const char *name =
        iteration > 1 ? name_of(x, of, what, true) : shared_name(x, of, 1u << DM_RECIPE_PART_EXPLORE, false, what);

    dm_recipe_options_collect_explore(x, &o, of, iteration);
    put_rollout(x, of, &o, policy);
    dm_stage_option(&x->b, "split", "train");
    dm_recipe_options_put(x, &o);
    dm_stage_output(&x->b, "output", "episodes.jsonl");
    return output_of(dm_stage_end(&x->b, true, "%s", name), "episodes.jsonl");
}

/* Episodes taken up again in their middle: explored ones, NOTHING where the recipe has no "continue"; or the expert's.
 */
static dm_stage_source_ref continuations(dm_expansion *x, const dm_stage_subject *of, dm_stage_source_ref policy,
                                         dm_stage_source_ref episodes, int64_t iteration)
{
    dm_recipe_options o = {.n = 0};

    if (!of->method->kind->refine && !x->r->parts.object[DM_RECIPE_PART_CONTINUE] &&
        !of->env->parts.object[DM_RECIPE_PART_CONTINUE] && !of->method->parts.object[DM_RECIPE_PART_CONTINUE] &&
        !(of->setting && of->setting->parts.object[DM_RECIPE_PART_CONTINUE]))
        return NOTHING;
    const char *what = of->method->kind->refine ? "refine" : "continue";
    const char *name =
        iteration > 1
            ? name_of(x, of, dm_experiment_plan_print(&x->b, "%s-%s%lld", of->method->name, what, (long long)iteration),
                      true)
            : shared_name(x, of, 1u << DM_RECIPE_PART_EXPLORE | 1u << DM_RECIPE_PART_CONTINUE, false, what);
    dm_recipe_options_collect(x, &o, of, DM_RECIPE_PART_CONTINUE);
    put_rollout(x, of, &o, policy);
    dm_stage_source(&x->b, "from", episodes);
    dm_recipe_options_put(x, &o);
    dm_stage_output(&x->b, "output", "episodes.jsonl");
    return output_of(dm_stage_end(&x->b, true, "%s", name), "episodes.jsonl");
}

/* Pairs from outside, as they are or as the recipe's options make them. */
static dm_stage_source_ref given_pairs(dm_expansion *x, const dm_stage_subject *of, dm_recipe_options *o)
{
    const dm_stage_source_ref given = {DM_STAGE_NONE, of->env->pairs_data};

    if (o->n == 0)
        return given;
    dm_recipe_options_seed(x, o, of->seed);
    dm_stage_begin(&x->b, "pairs");
    dm_stage_source(&x->b, "from-pairs", given);
    dm_recipe_options_put(x, o);
    dm_stage_output(&x->b, "output", "pairs.jsonl");
    dm_stage_free(&x->b, "json", NULL);
    return output_of(dm_stage_end(&x->b, false, "%s", shared_name(x, of, 1u << DM_RECIPE_PART_PAIRS, false, "pairs")),
                     "pairs.jsonl");
}

/* Pairs that the method learns from after `policy` explored; of an SFT form, the better runs alone. */
static dm_stage_source_ref make_pairs(dm_expansion *x, const dm_stage_subject *of, dm_stage_source_ref policy,
                                      int64_t iteration)
{
    const dm_method_kind *kind = of->method->kind;
    const bool stepwise = kind->parts >> DM_RECIPE_PART_CONTINUE & 1;
    const unsigned depends = 1u << DM_RECIPE_PART_EXPLORE | 1u << DM_RECIPE_PART_PAIRS | 1u << DM_RECIPE_PART_CONTINUE;
    dm_recipe_options o = {.n = 0}, tasks = {.n = 0};

    dm_recipe_options_collect(x, &o, of, DM_RECIPE_PART_PAIRS);
    if (kind->form)
        dm_recipe_options_default(x, &o, "form", kind->form);
    if (of->env->pairs_data && iteration == 1)
        return given_pairs(x, of, &o);
    const dm_stage_source_ref explored = explore(x, of, policy, iteration);
    dm_recipe_options_collect_explore(x, &tasks, of, iteration);
    const bool adds = kind->learns == DM_METHOD_LEARNS_BETTER; /* to what SFT learnt from */
    const dm_stage_source_ref of_expert = kind->refine ? expert_episodes(x, of, &tasks) : NOTHING;
    const dm_stage_source_ref continued =
        stepwise ? continuations(x, of, policy, kind->refine ? of_expert : explored, iteration) : NOTHING;
    const dm_recipe_option *among = dm_recipe_options_find(&o, "among");
    const bool own = !adds && among && among->value && among->value->type == DM_JSON_BOOL && among->value->boolean;
    const dm_stage_source_ref expert = kind->refine            ? of_expert
                                       : continued.path || own ? NOTHING
                                                               : expert_episodes(x, of, adds ? NULL : &tasks);
    dm_recipe_options_seed(x, &o, of->seed);
    const char *name =
        iteration > 1
            ? name_of(x, of, dm_experiment_plan_print(&x->b, "%s-pairs%lld", of->method->name, (long long)iteration),
                      true)
            : shared_name(x, of, depends, kind->form || kind->refine, "pairs");
    dm_stage_begin(&x->b, "pairs");
    if (expert.path)
        dm_stage_source(&x->b, "expert", expert);
    dm_stage_source(&x->b, "explored", explored);
    if (continued.path)
        dm_stage_source(&x->b, "continuations", continued);
    if (kind->refine)
        dm_stage_text(&x->b, "--refine");
    dm_recipe_options_put(x, &o);
    dm_stage_output(&x->b, "output", "pairs.jsonl");
    dm_stage_free(&x->b, "json", NULL);
    return output_of(dm_stage_end(&x->b, false, "%s", name), "pairs.jsonl");
}

/* ---- methods ---- */

typedef struct learnt {
    dm_stage_source_ref model, reference, pairs; /* NOTHING: it has none */
    size_t training;                             /* stage */
} learnt;

static learnt learn_preference(dm_expansion *x, const dm_stage_subject *of)
{
    const dm_recipe_method *m = of->method;
    const int64_t iterations = of->x && m->sweep_part == DM_RECIPE_PARTS ? of->x->integer : m->iterations;
    learnt l = {.training = DM_STAGE_NONE};

    l.model = model_named(x, of, m->from ? m->from : "@sft");
    for (int64_t i = 1; i <= iterations && x->b.status == DM_OK; i++) {
        dm_recipe_options o = {.n = 0};
        dm_recipe_options_collect(x, &o, of, DM_RECIPE_PART_TRAIN);
        if (m->kind->objective)
            dm_recipe_options_default(x, &o, "objective", m->kind->objective);
        l.pairs = make_pairs(x, of, l.model, i);
        const dm_recipe_option *reference = dm_recipe_options_find(&o, "reference");
        l.reference = reference && reference->value->type == DM_JSON_STRING
                          ? model_named(x, of, reference->value->text)
                          : l.model; /* train's default: the policy as it was, here the last iterate */
        const dm_stage_subject shared = {
            of->env, of->setting, m, of->seed, m->sweep_part == DM_RECIPE_PARTS ? NULL : of->x, of->point};
        l.model = train(x, &shared, &o, l.model, l.pairs,
                        iterations > 1 || m->sweep_part == DM_RECIPE_PARTS
                            ? dm_experiment_plan_print(&x->b, "%s-iteration%lld", m->name, (long long)i)
                            : m->name);
        l.training = l.model.stage;
    }
    return l;
}

/* A run of dmpo learn, from SFT's policy unless the method says otherwise. */
static dm_stage_source_ref learn_online(dm_expansion *x, const dm_stage_subject *of)
{
    const dm_recipe_method *m = of->method;
    const dm_stage_source_ref model = model_named(x, of, m->from ? m->from : "@sft");
    dm_recipe_options o = {.n = 0};

    dm_recipe_options_collect(x, &o, of, DM_RECIPE_PART_LEARN);
    dm_recipe_options_seed(x, &o, of->seed);
    resolve(x, of, &o);
    dm_stage_begin(&x->b, "learn");
    dm_stage_option(&x->b, "env", of->env->specification);
    dm_stage_source(&x->b, "model", model);
    dm_recipe_options_put(x, &o);
    dm_stage_output(&x->b, "output", "");
    dm_stage_free(&x->b, "resume", NULL);
    return output_of(dm_stage_end(&x->b, true, "%s", name_of(x, of, m->name, true)), "");
}

static learnt learn(dm_expansion *x, const dm_stage_subject *of)
{
    const dm_recipe_method *m = of->method;
    learnt l = {NOTHING, NOTHING, NOTHING, DM_STAGE_NONE};

    switch (m->kind->learns) {
    case DM_METHOD_LEARNS_NOTHING:
        if (!m->kind->player)
            l.model = model_named(x, of, m->from ? m->from : "@sft");
        break;
    case DM_METHOD_LEARNS_EXPERT:
        l.model = supervised(x, of, sft_data(x, of));
        l.training = l.model.stage;
        break;
    case DM_METHOD_LEARNS_BETTER:
        l.pairs = make_pairs(x, of, model_named(x, of, "@sft"), 1);
        l.model = supervised(x, of, l.pairs);
        l.training = l.model.stage;
        break;
    case DM_METHOD_LEARNS_PAIRS:
        l = learn_preference(x, of);
        break;
    case DM_METHOD_LEARNS_ONLINE:
        l.model = learn_online(x, of);
        l.training = l.model.stage;
        break;
    }
    return l;
}

/* "@model", "@sft", "@METHOD" or a directory. The recipe's check made sure that a method comes before the one
 * that names it, so this ends. */
static dm_stage_source_ref model_named(dm_expansion *x, const dm_stage_subject *of, const char *name)
{
    if (name[0] != '@')
        return (dm_stage_source_ref){DM_STAGE_NONE, name};
    if (strcmp(name, "@model") == 0)
        return initial_model(x, of);
    if (strcmp(name, "@sft") == 0)
        return supervised(x, &(dm_stage_subject){.env = of->env, .seed = of->seed}, sft_data(x, of));
    for (size_t i = 0; i < x->r->methods; i++) {
        const dm_recipe_method *m = &x->r->method[i];
        if (strcmp(m->name, name + 1) == 0) {
            const dm_stage_subject named = {.env = of->env,
                                            .setting = m->kind->learns == DM_METHOD_LEARNS_PAIRS ? of->setting : NULL,
                                            .method = m,
                                            .seed = of->seed};
            const dm_stage_subject chosen = dm_search_chosen(x->b.plan, named);
            return learn(x, &chosen).model;
        }
    }
    return NOTHING;
}

/* ---- rows of the results ---- */

/* Room for one more after n; full at every power of two. */
static void *grow(dm_expansion *x, void *list, size_t n, size_t size)
{
    if (x->b.status != DM_OK || (n & (n - 1)) != 0)
        return list;
    void *more = realloc(list, (n ? 2 * n : 1) * size);
    if (more)
        return more;
    x->b.status = dm_fail(x->b.err, DM_ERR_MEMORY, "no memory for the rows of the results");
    return list;
}

#define ADD(x, list, n, ...)                                                                                           \
    do {                                                                                                               \
        (list) = grow((x), (list), (n), sizeof *(list));                                                               \
        if ((x)->b.status == DM_OK)                                                                                    \
            (list)[(n)++] = __VA_ARGS__;                                                                               \
    } while (0)

static void add_pairs(dm_expansion *x, const dm_stage_subject *of, dm_stage_source_ref file)
{
    dm_experiment_plan *p = x->b.plan;
    dm_stage_subject what = *of;

    for (size_t i = 0; i < p->pairs_made; i++)
        if (p->pairs[i].file.stage == file.stage && p->pairs[i].of.env == of->env &&
            (file.stage != DM_STAGE_NONE || p->pairs[i].of.setting == of->setting))
            return;
    if (of->method->sweep_part != DM_RECIPE_PART_PAIRS && of->method->sweep_part != DM_RECIPE_PART_EXPLORE)
        what.x = NULL;
    ADD(x, p->pairs, p->pairs_made, (dm_experiment_pairs){what, file});
}

/* How a model's words are sampled means nothing to an expert or to chance. */
static void keep_environment_options(dm_recipe_options *o, bool many)
{
    static const char *const kept[] = {"tasks", "first", "env-seed", "max-turns", "samples"};
    const size_t n = sizeof kept / sizeof *kept - !many;
    size_t used = 0;

    for (size_t i = 0; i < o->n; i++) {
        size_t k = 0;
        while (k < n && strcmp(o->item[i].name, kept[k]) != 0)
            k++;
        if (k < n)
            o->item[used++] = o->item[i];
    }
    o->n = used;
}

/* Plays the tasks of a split; more: options over the recipe's. */
static size_t play(dm_expansion *x, const dm_stage_subject *of, dm_stage_source_ref model, dm_env_split split,
                   const dm_json *more)
{
    const dm_method_kind *kind = of->method->kind;
    dm_recipe_options o = {.n = 0};

    dm_recipe_options_collect(x, &o, of, DM_RECIPE_PART_EVALUATE);
    dm_recipe_options_set_all(x, &o, more);
    if (!model.path)
        keep_environment_options(&o, !kind->seedless);
    if (kind->best_sample) {
        dm_recipe_options_default(x, &o, "samples", "8");
        dm_recipe_options_default(x, &o, "temperature", "1");
    }
    if (!kind->seedless)
        dm_recipe_options_seed(x, &o, of->seed);
    dm_stage_begin(&x->b, "rollout");
    dm_stage_option(&x->b, "env", of->env->specification);
    dm_stage_option(&x->b, "split", dm_env_split_names[split]);
    if (model.path)
        dm_stage_source(&x->b, "model", model);
    else
        dm_stage_option(&x->b, "policy", kind->player);
    dm_recipe_options_put(x, &o);
    dm_stage_output(&x->b, "output", "episodes.jsonl");
    return dm_stage_end(&x->b, true, "%s-%s", name_of(x, of, of->method->name, !kind->seedless),
                        dm_env_split_names[split]);
}

static void evaluate(dm_expansion *x, const dm_stage_subject *of, const learnt *l)
{
    dm_env_split splits[DM_ENV_SPLITS];
    const size_t n = of->env->specification ? dm_recipe_splits(x->r, of->env, splits) : 0;

    for (size_t i = 0; i < n && x->b.status == DM_OK; i++) {
        const size_t stage = play(x, of, l->model, splits[i], NULL);
        ADD(x, x->b.plan->evaluation, x->b.plan->evaluations, (dm_experiment_evaluation){*of, splits[i], stage});
    }
}

/* The pairs under policy and reference, turn by turn, for the report. */
static void add_example(dm_expansion *x, const dm_stage_subject *of, const learnt *l)
{
    dm_recipe_options o = {.n = 0};

    dm_recipe_options_collect(x, &o, of, DM_RECIPE_PART_TRAIN);
    dm_stage_begin(&x->b, "score");
    dm_stage_source(&x->b, "model", l->model);
    dm_stage_source(&x->b, "reference", l->reference);
    dm_stage_source(&x->b, "data", l->pairs);
    for (size_t i = 0; i < o.n; i++)
        if (x->commands->has("score", o.item[i].name) && strcmp(o.item[i].name, "reference") != 0)
            dm_recipe_options_put_one(x, &o.item[i]);
    dm_stage_output(&x->b, "output", "scores.jsonl");
    const size_t stage = dm_stage_end(
        &x->b, false, "%s", name_of(x, of, dm_experiment_plan_print(&x->b, "%s-score", of->method->name), true));
    ADD(x, x->b.plan->example, x->b.plan->examples, (dm_experiment_example){*of, l->pairs, stage});
}

static void add_method(dm_expansion *x, const dm_stage_subject *cell, uint64_t seed)
{
    dm_stage_subject chosen = dm_search_chosen(x->b.plan, *cell), *of = &chosen;

    of->seed = seed;
    const learnt l = learn(x, of);
    if (x->b.status != DM_OK)
        return;
    if (l.pairs.path)
        add_pairs(x, of, l.pairs);
    if (l.training != DM_STAGE_NONE)
        ADD(x, x->b.plan->training, x->b.plan->trainings, (dm_experiment_training){*of, l.training});
    evaluate(x, of, &l);
    if (of->seed == x->r->seed[0] && l.pairs.path && dm_recipe_names(x->r->examples, of->method->name))
        add_example(x, of, &l);
}

static void add_results(dm_expansion *x, const dm_stage_subject *cell)
{
    for (size_t s = 0; s < x->r->seeds && x->b.status == DM_OK; s++)
        add_method(x, cell, x->r->seed[s]);
}

static void add_trials(dm_expansion *x, const dm_stage_subject *cell)
{
    const dm_recipe_search *search = &x->r->search;
    dm_stage_subject of = *cell;

    for (of.point = 1; of.method->search && of.point <= search->points; of.point++)
        for (size_t s = 0; s < search->seeds && x->b.status == DM_OK; s++) {
            of.seed = search->seed[s];
            const learnt l = learn(x, &of);
            const size_t stage = play(x, &of, l.model, search->split, search->evaluate);
            ADD(x, x->b.plan->trial, x->b.plan->trials, (dm_experiment_trial){of, stage, 0});
        }
}

/* Every method in every environment and setting, with every value of its sweep. */
static void for_each(dm_expansion *x, void (*fn)(dm_expansion *, const dm_stage_subject *))
{
    for (size_t e = 0; e < x->r->envs; e++)
        for (size_t c = 0; c < x->r->settings; c++)
            for (size_t m = 0; m < x->r->methods; m++) {
                const dm_recipe_method *method = &x->r->method[m];
                const dm_recipe_setting *setting =
                    method->kind->learns == DM_METHOD_LEARNS_PAIRS ? &x->r->setting[c] : NULL;
                if (setting ? setting->name && method->settings && !dm_recipe_names(method->settings, setting->name)
                            : c > 0)
                    continue;
                const dm_json *value = method->sweep ? method->sweep->child : NULL;
                do
                    fn(x, &(dm_stage_subject){.env = &x->r->env[e], .setting = setting, .method = method, .x = value});
                while (value && (value = value->next) != NULL);
            }
}

dm_status dm_experiment_plan_make(dm_experiment_plan *plan, const dm_recipe *recipe,
                                  const dm_experiment_commands *commands, const char *output, dm_error *err)
{
    dm_expansion x = {.r = recipe, .commands = commands};

    *plan = (dm_experiment_plan){.output = output, .searching = true};
    dm_stage_builder_open(&x.b, plan, commands->version, err);
    for_each(&x, add_trials);
    plan->searching = !dm_search_done(plan);
    if (x.b.status == DM_OK && !plan->searching && (x.b.status = dm_search_choose(plan, err)) == DM_OK)
        for_each(&x, add_results);
    if (x.b.status != DM_OK)
        dm_experiment_plan_close(plan);
    return x.b.status;
}
