/* Queries on a parsed document, with messages that name key, value and what is legal. */
#include <float.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "io/json_internal.h"

const dm_json *dm_json_root(const dm_json_doc *doc)
{
    return &doc->root;
}

const char *dm_json_name(const dm_json_doc *doc)
{
    return doc->name;
}

const dm_json *dm_json_get(const dm_json *v, const char *key)
{
    const size_t length = strlen(key);

    if (!v || v->type != DM_JSON_OBJECT)
        return NULL;
    for (const dm_json *c = v->child; c; c = c->next)
        if (c->key_length == length && memcmp(c->key, key, length) == 0)
            return c;
    return NULL;
}

bool dm_json_is(const dm_json *v, const char *text)
{
    return v && v->type == DM_JSON_STRING && v->length == strlen(text) && memcmp(v->text, text, v->length) == 0;
}

dm_status dm_json_fail(const dm_json_doc *doc, const dm_json *v, dm_error *err, const char *fmt, ...)
{
    char message[DM_ERROR_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (!v)
        return dm_fail(err, DM_ERR_INPUT, "%s: %s", doc->name, message);
    return dm_fail(err, DM_ERR_INPUT, "%s:%u:%u: %s", doc->name, (unsigned)v->line, (unsigned)v->column, message);
}

/* The value as a message shows it. */
static const char *describe(char buf[64], const dm_json *v)
{
    switch (v->type) {
    case DM_JSON_NULL:
        return "null";
    case DM_JSON_BOOL:
        return v->boolean ? "true" : "false";
    case DM_JSON_NUMBER:
        if (v->is_integer)
            snprintf(buf, 64, "%lld", (long long)v->integer);
        else
            dm_double_text(buf, v->number);
        return buf;
    case DM_JSON_STRING:
        snprintf(buf, 64, "the string \"%.40s\"", v->text);
        return buf;
    case DM_JSON_ARRAY:
        return "an array";
    default:
        return "an object";
    }
}

/* "must be an integer from 1 to 8": leaves out an end that is not a limit. */
static const char *range_text(char buf[128], const char *kind, const char *low, const char *high)
{
    if (low && high)
        snprintf(buf, 128, "must be %s from %s to %s", kind, low, high);
    else if (low)
        snprintf(buf, 128, "must be %s, at least %s", kind, low);
    else if (high)
        snprintf(buf, 128, "must be %s, at most %s", kind, high);
    else
        snprintf(buf, 128, "must be %s", kind);
    return buf;
}

/* Finds the member. *found == NULL: absent or null and optional. */
static dm_status member(const dm_json_doc *doc, const dm_json *v, const char *key, bool optional, const char *legal,
                        const dm_json **found, dm_error *err)
{
    *found = dm_json_get(v, key);
    if (*found && (*found)->type == DM_JSON_NULL && optional)
        *found = NULL;
    if (*found || optional)
        return DM_OK;
    if (v && v->type != DM_JSON_OBJECT) {
        char shown[64];
        return dm_json_fail(doc, v, err, "is %s, must be an object with \"%s\"", describe(shown, v), key);
    }
    return dm_json_fail(doc, v, err, "\"%s\" is missing: %s", key, legal);
}

dm_status dm_json_get_int(const dm_json_doc *doc, const dm_json *v, const char *key, int64_t low, int64_t high,
                          const int64_t *fallback, int64_t *out, dm_error *err)
{
    char range[128], low_text[32], high_text[32], shown[64];

    snprintf(low_text, sizeof low_text, "%lld", (long long)low);
    snprintf(high_text, sizeof high_text, "%lld", (long long)high);
    range_text(range, "an integer", low == INT64_MIN ? NULL : low_text, high == INT64_MAX ? NULL : high_text);

    const dm_json *m;
    dm_status st = member(doc, v, key, fallback != NULL, range, &m, err);
    if (st != DM_OK)
        return st;
    if (!m) {
        *out = *fallback;
        return DM_OK;
    }
    if (m->type != DM_JSON_NUMBER || !m->is_integer || m->integer < low || m->integer > high)
        return dm_json_fail(doc, m, err, "\"%s\" is %s, %s", key, describe(shown, m), range);
    *out = m->integer;
    return DM_OK;
}

dm_status dm_json_get_double(const dm_json_doc *doc, const dm_json *v, const char *key, double low, double high,
                             const double *fallback, double *out, dm_error *err)
{
    char range[128], low_text[DM_DOUBLE_TEXT], high_text[DM_DOUBLE_TEXT], shown[64];

    dm_double_text(low_text, low);
    dm_double_text(high_text, high);
    range_text(range, "a number", low < -DBL_MAX ? NULL : low_text, high > DBL_MAX ? NULL : high_text);

    const dm_json *m;
    dm_status st = member(doc, v, key, fallback != NULL, range, &m, err);
    if (st != DM_OK)
        return st;
    if (!m) {
        *out = *fallback;
        return DM_OK;
    }
    if (m->type != DM_JSON_NUMBER || !(m->number >= low && m->number <= high))
        return dm_json_fail(doc, m, err, "\"%s\" is %s, %s", key, describe(shown, m), range);
    *out = m->number;
    return DM_OK;
}

dm_status dm_json_get_bool(const dm_json_doc *doc, const dm_json *v, const char *key, const bool *fallback, bool *out,
                           dm_error *err)
{
    char shown[64];
    const dm_json *m;
    dm_status st = member(doc, v, key, fallback != NULL, "must be true or false", &m, err);

    if (st != DM_OK)
        return st;
    if (!m) {
        *out = *fallback;
        return DM_OK;
    }
    if (m->type != DM_JSON_BOOL)
        return dm_json_fail(doc, m, err, "\"%s\" is %s, must be true or false", key, describe(shown, m));
    *out = m->boolean;
    return DM_OK;
}

const dm_json *dm_json_token_ids(const dm_json *list, int32_t *out)
{
    size_t n = 0;

    if (!list || list->type != DM_JSON_ARRAY || list->length == 0)
        return list;
    for (const dm_json *v = list->child; v; v = v->next) {
        if (!v->is_integer || v->integer < 0 || v->integer > INT32_MAX)
            return v;
        out[n++] = (int32_t)v->integer;
    }
    return NULL;
}
