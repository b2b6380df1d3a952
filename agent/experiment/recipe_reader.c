/* What every part of a recipe is read with: members, options, lists of seeds and splits. */
#include <stdlib.h>
#include <string.h>

#include "agent/experiment/recipe_reader.h"

static const struct {
    const char *name, *command;
} parts[DM_RECIPE_PARTS] = {
    {"expert", "rollout"},  {"tokenizer", "tokenizer"}, {"model", "init"},  {"sft", "train"},
    {"explore", "rollout"}, {"continue", "rollout"},    {"pairs", "pairs"}, {"train", "train"},
    {"learn", "learn"},     {"evaluate", "rollout"},
};

/* Options that say where things are: the experiment gives them. */
static const char *const given[] = {
    "output",        "model",           "data",   "env",       "split",  "policy", "from",    "expert", "explored",
    "continuations", "from-pairs",      "resume", "tokenizer", "config", "isa",    "threads", "quiet",  "json",
    "help",          "reference-cache", "plan",   NULL};

const char *dm_recipe_part_command(dm_recipe_part part)
{
    return parts[part].command;
}

void *dm_recipe_allocate(const dm_recipe_reader *in, size_t n, size_t size)
{
    void *p = dm_block_alloc(&in->r->blocks, (n ? n : 1) * size);
    if (!p)
        dm_fail(in->err, DM_ERR_MEMORY, "no memory for the recipe");
    return p;
}

/* ---- pieces ---- */

static dm_status want(const dm_recipe_reader *in, const dm_json *v, dm_json_type type, const char *what)
{
    return v->type == type ? DM_OK : DM_RECIPE_FAIL(in, v, "\"%s\" must be %s", v->key ? v->key : "value", what);
}

dm_status dm_recipe_get_string(const dm_recipe_reader *in, const dm_json *object, const char *key, bool optional,
                               const char **out)
{
    const dm_json *v = dm_json_get(object, key);

    *out = NULL;
    if (!v)
        return optional ? DM_OK : DM_RECIPE_FAIL(in, object, "\"%s\" is missing", key);
    if (v->type != DM_JSON_STRING || v->length == 0 || strlen(v->text) != v->length)
        return DM_RECIPE_FAIL(in, v, "\"%s\" must be a string, not empty", key);
    *out = v->text;
    return DM_OK;
}

/* "a", "b" or "c" */
static void add_names(dm_text *t, const char *const *names, unsigned allowed_parts)
{
    for (size_t i = 0; names[i]; i++)
        dm_text_print(t, "%s%s", t->size ? ", " : "", names[i]);
    for (unsigned p = 0; p < DM_RECIPE_PARTS; p++)
        if (allowed_parts >> p & 1)
            dm_text_print(t, "%s%s", t->size ? ", " : "", parts[p].name);
}

static bool is_one_of(const char *const *names, const dm_json *key)
{
    while (*names && (strlen(*names) != key->key_length || memcmp(*names, key->key, key->key_length) != 0))
        names++;
    return *names != NULL;
}

/* An object's members as options of the part's command. */
static dm_status check_options(const dm_recipe_reader *in, const dm_json *object, dm_recipe_part part)
{
    for (const dm_json *v = object->child; v; v = v->next) {
        dm_recipe_option_kind kind = DM_RECIPE_OPTION_VALUE;
        if (v->type == DM_JSON_STRING && strlen(v->text) != v->length)
            return DM_RECIPE_FAIL(in, v, "\"%s\" must be a string without NUL", v->key);
        if (part == DM_RECIPE_PART_EVALUATE && strcmp(v->key, "splits") == 0)
            continue;
        if (is_one_of(given, v) && !(part == DM_RECIPE_PART_TOKENIZER && strcmp(v->key, "split") == 0)) /* of words */
            return DM_RECIPE_FAIL(in, v, "\"%s\" is set by the experiment itself, not by its recipe", v->key);
        const dm_status s = in->commands->check(parts[part].command, in->r->doc, v->key, v, &kind, in->err);
        if (s != DM_OK)
            return s;
        /* what all share cannot depend on a method, and SFT not on itself */
        if (kind == DM_RECIPE_OPTION_PATH && !in->in_method && v->type == DM_JSON_STRING && v->text[0] == '@' &&
            !dm_json_is(v, "@model") && !(dm_json_is(v, "@sft") && part != DM_RECIPE_PART_SFT))
            return DM_RECIPE_FAIL(in, v, "\"%s\" can be named in a method only", v->text);
    }
    return DM_OK;
}

static dm_status check_splits(const dm_recipe_reader *in, const dm_json *list)
{
    if (list->type != DM_JSON_ARRAY || list->length == 0)
        return DM_RECIPE_FAIL(in, list, "\"splits\" must be a list of: train, seen, unseen");
    for (const dm_json *v = list->child; v; v = v->next) {
        size_t i = 0;
        while (i < DM_ENV_SPLITS && !dm_json_is(v, dm_env_split_names[i]))
            i++;
        if (i == DM_ENV_SPLITS)
            return DM_RECIPE_FAIL(in, v, "a split is one of: train, seen, unseen");
        for (const dm_json *w = list->child; w != v; w = w->next)
            if (dm_json_is(w, v->text))
                return DM_RECIPE_FAIL(in, v, "the split \"%s\" appears twice", v->text);
    }
    return DM_OK;
}

static dm_status read_part(const dm_recipe_reader *in, const dm_json *v, dm_recipe_part part, dm_recipe_parts *out)
{
    dm_status s = DM_OK;

    out->object[part] = v;
    if (part == DM_RECIPE_PART_MODEL && v->type == DM_JSON_STRING)
        return v->length && strlen(v->text) == v->length ? DM_OK
                                                         : DM_RECIPE_FAIL(in, v, "\"model\" names no directory");
    if (v->type != DM_JSON_OBJECT)
        return DM_RECIPE_FAIL(in, v, "\"%s\" must be an object of options of dmpo %s%s", v->key, parts[part].command,
                              part == DM_RECIPE_PART_MODEL ? ", or a model's directory" : "");
    const dm_json *splits = part == DM_RECIPE_PART_EVALUATE ? dm_json_get(v, "splits") : NULL;
    if (splits)
        s = check_splits(in, splits);
    return s == DM_OK ? check_options(in, v, part) : s;
}

dm_status dm_recipe_read_members(const dm_recipe_reader *in, const dm_json *object, const char *const *names,
                                 unsigned allowed, const char *what, dm_recipe_parts *out)
{
    if (object->type != DM_JSON_OBJECT)
        return DM_RECIPE_FAIL(in, object, "%s must be an object", what);
    for (const dm_json *v = object->child; v; v = v->next) {
        dm_status s = DM_OK;
        unsigned p = 0;
        while (p < DM_RECIPE_PARTS && !(allowed >> p & 1 && strcmp(v->key, parts[p].name) == 0))
            p++;
        if (p < DM_RECIPE_PARTS) {
            s = read_part(in, v, (dm_recipe_part)p, out);
        } else if (strcmp(v->key, "note") == 0) {
            s = want(in, v, DM_JSON_STRING, "a string");
        } else if (!is_one_of(names, v)) {
            dm_text known = {0};
            add_names(&known, names, allowed);
            s = DM_RECIPE_FAIL(in, v, "%s has no \"%s\"; it may have: %s", what, v->key,
                               known.failed ? "?" : known.data);
            dm_text_free(&known);
        }
        if (s != DM_OK)
            return s;
    }
    return DM_OK;
}

dm_status dm_recipe_get_list(const dm_recipe_reader *in, const dm_json *object, const char *key, const dm_json **out)
{
    const dm_json *v = dm_json_get(object, key);

    *out = v;
    if (v && (v->type != DM_JSON_ARRAY || v->length == 0))
        return DM_RECIPE_FAIL(in, v, "\"%s\" must be a list, not empty", key);
    return DM_OK;
}

dm_status dm_recipe_parse_seeds(const char *list, const char *who, uint64_t seed[DM_RECIPE_SEEDS_MAX], size_t *n,
                                dm_error *err)
{
    *n = 0;
    for (const char *p = list;; p++) {
        unsigned long long first = 0, last = 0;
        char *end = NULL;
        if (*p >= '0' && *p <= '9')
            first = last = strtoull(p, &end, 10);
        if (end && *end == '-' && end[1] >= '0' && end[1] <= '9')
            last = strtoull(end + 1, &end, 10);
        if (!end || (*end && *end != ',') || last < first || last - first >= DM_RECIPE_SEEDS_MAX - *n)
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "%s: '%s' is not a list of whole numbers and ranges, such as 1,2,3 or 1-24, of at most %d",
                           who, list, DM_RECIPE_SEEDS_MAX);
        for (unsigned long long value = first;; value++) {
            for (size_t i = 0; i < *n; i++)
                if (seed[i] == value)
                    return dm_fail(err, DM_ERR_ARGUMENT, "%s: %llu appears twice", who, value);
            seed[(*n)++] = value;
            if (value == last)
                break;
        }
        if (!*(p = end))
            return DM_OK;
    }
}

dm_status dm_recipe_read_seeds(const dm_recipe_reader *in, const dm_json *object, const uint64_t **out, size_t *count)
{
    const dm_json *list, *range = dm_json_get(object, "seeds");
    size_t n = 0;

    if (range && range->type == DM_JSON_STRING) {
        dm_error why = {0};
        uint64_t *seeds = dm_recipe_allocate(in, DM_RECIPE_SEEDS_MAX, sizeof *seeds);
        if (!seeds)
            return DM_ERR_MEMORY;
        if (dm_recipe_parse_seeds(range->text, "\"seeds\"", seeds, count, &why) != DM_OK)
            return DM_RECIPE_FAIL(in, range, "%s", why.message);
        *out = seeds;
        return DM_OK;
    }
    const dm_status s = dm_recipe_get_list(in, object, "seeds", &list);
    uint64_t *seed = s == DM_OK ? dm_recipe_allocate(in, list ? list->length : 1, sizeof *seed) : NULL;

    if (!seed)
        return s == DM_OK ? DM_ERR_MEMORY : s;
    seed[0] = 1;
    for (const dm_json *v = list ? list->child : NULL; v; v = v->next, n++) {
        if (v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < 0)
            return DM_RECIPE_FAIL(in, v, "a seed must be a whole number from 0");
        seed[n] = (uint64_t)v->integer;
        for (size_t i = 0; i < n; i++)
            if (seed[i] == seed[n])
                return DM_RECIPE_FAIL(in, v, "the seed %lld appears twice", (long long)v->integer);
    }
    *out = seed;
    *count = n ? n : 1;
    return DM_OK;
}

/* ---- lists of an option's values ---- */

dm_recipe_part dm_recipe_part_with(const dm_recipe_reader *in, const dm_method_kind *kind, const dm_recipe_part *where,
                                   size_t n, const dm_json *list)
{
    for (size_t i = 0; i < n && !is_one_of(given, list); i++)
        if (kind->parts >> where[i] & 1 && in->commands->has(parts[where[i]].command, list->key))
            return where[i];
    return DM_RECIPE_PARTS;
}

dm_status dm_recipe_check_values(const dm_recipe_reader *in, dm_recipe_part part, const dm_json *list)
{
    for (const dm_json *x = list->child; x; x = x->next) {
        dm_recipe_option_kind kind;
        const dm_status s = in->commands->check(parts[part].command, in->r->doc, list->key, x, &kind, in->err);
        if (s != DM_OK)
            return s;
        if (x->type == DM_JSON_NULL)
            return DM_RECIPE_FAIL(in, x, "a value of \"%s\" cannot be null", list->key);
    }
    return DM_OK;
}
