/* Pre-tokenized trajectories: {ids, turns}. */
#include <stdio.h>

#include "io/data/dataset_internal.h"

static dm_status read_ids(dm_item_reader *r, const dm_json *list, const char *prefix)
{
    const size_t limit = r->options->vocabulary ? r->options->vocabulary : (size_t)INT32_MAX;
    size_t index = 0;

    r->ids.size = 0;
    for (const dm_json *v = list->child; v; v = v->next, index++) {
        if (!v->is_integer || v->integer < 0 || (uint64_t)v->integer >= limit)
            return dm_reader_fail(r, v, "%sids[%zu] must be a token id from 0 to %zu", prefix, index, limit - 1);
        const dm_status st = dm_ids_push(&r->ids, (int32_t)v->integer, r->m.err);
        if (st != DM_OK)
            return st;
    }
    return DM_OK;
}

static dm_status read_turns(dm_item_reader *r, const dm_json *list, const char *prefix)
{
    size_t last = 0;

    const dm_status s = dm_form_reserve(r, list->length);
    if (s != DM_OK)
        return s;
    r->n_spans = 0;
    for (const dm_json *v = list->child; v; v = v->next) {
        const dm_json *b = v->type == DM_JSON_ARRAY ? v->child : NULL, *e = b ? b->next : NULL;
        if (!e || e->next || !b->is_integer || !e->is_integer)
            return dm_reader_fail(r, v, "%sturns[%zu] must be [begin, end), two integers", prefix, r->n_spans);
        const long long begin = b->integer, end = e->integer;
        const char *wrong = NULL;
        if (begin < 1)
            wrong = "begins before token 1: an action needs a token before it";
        else if (end <= begin)
            wrong = "is empty";
        else if ((unsigned long long)end > r->ids.size)
            wrong = "ends after the last token";
        else if ((unsigned long long)begin < last)
            wrong = "begins before the previous turn ends";
        if (wrong)
            return dm_reader_fail(r, v, "%sturns[%zu] is [%lld, %lld) of %zu tokens: it %s", prefix, r->n_spans, begin,
                                  end, r->ids.size, wrong);
        r->spans[r->n_spans++] = (dm_span){(size_t)begin, (size_t)end};
        last = (size_t)end;
    }
    return DM_OK;
}

dm_status dm_form_tokens(dm_item_reader *r, const dm_json *v, const char *name)
{
    const dm_json *ids = dm_json_get(v, "ids"), *turns = dm_json_get(v, "turns");
    char prefix[32];

    snprintf(prefix, sizeof prefix, "%.28s%s", name, *name ? "." : "");
    if (!ids || ids->type != DM_JSON_ARRAY)
        return dm_reader_fail(r, ids ? ids : v, "\"%sids\" %s", prefix,
                              ids ? "must be a list of token ids" : "is missing");
    if (!turns || turns->type != DM_JSON_ARRAY)
        return dm_reader_fail(r, turns ? turns : v, "\"%sturns\" %s", prefix,
                              turns ? "must be a list of [begin, end)" : "is missing");
    if (turns->length == 0)
        return dm_reader_fail(r, turns, "\"%sturns\" is empty: it must hold at least one turn", prefix);
    dm_status st = read_ids(r, ids, prefix);
    return st == DM_OK ? read_turns(r, turns, prefix) : st;
}
