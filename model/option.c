#include "model/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

const dm_option *dm_option_find(const dm_option *table, const char *name, size_t size)
{
    for (; table && table->info.name; table++)
        if (strlen(table->info.name) == size && memcmp(table->info.name, name, size) == 0)
            return table;
    return NULL;
}

bool dm_option_is_path(const dm_option *o)
{
    const char *m = o->info.type == DMPO_OPTION_TEXT ? o->info.metavar : "";
    return strcmp(m, "DIR") == 0 || strcmp(m, "FILE") == 0 || strcmp(m, "PATH") == 0;
}

static const void *field(const dm_option *o, const void *options)
{
    return (const char *)options + o->offset;
}

static dm_status bad(const dm_option *o, const char *text, const char *wanted, dm_error *err)
{
    return dm_fail(err, DM_ERR_ARGUMENT, "`%s`: '%s' is not a %s", o->info.name, text, wanted);
}

typedef union value { /* what a field of any type but TEXT holds */
    int64_t integer;
    uint64_t natural;
    double real;
    int choice;
    bool flag;
} value;

static dm_status read_bytes(const dm_option *o, const char *text, uint64_t *out, dm_error *err)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {
        {"", 1},          {"B", 1},           {"K", 1024.0},       {"KiB", 1024.0},
        {"M", 1048576.0}, {"MiB", 1048576.0}, {"G", 1073741824.0}, {"GiB", 1073741824.0},
    };
    const char *end;
    const double n = dm_double_parse(text, &end);
    size_t i = 0;

    while (i < sizeof units / sizeof *units && strcmp(end, units[i].name) != 0)
        i++;
    if (end == text || i == sizeof units / sizeof *units || !(n >= 0 && n < 1e15))
        return bad(o, text, "size; write it as 512MiB or 2GiB", err);
    *out = (uint64_t)(n * units[i].factor);
    return DM_OK;
}

/* The index of `text` among the names. */
static dm_status read_choice(const dm_option *o, const char *const *names, const char *text, int *out, dm_error *err)
{
    char list[256] = "";
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = i;
            return DM_OK;
        }
        strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, names[i], sizeof list - strlen(list) - 1);
    }
    return dm_fail(err, DM_ERR_ARGUMENT, "`%s`: '%s' is not one of: %s", o->info.name, text, list);
}

static dm_status read_value(const dm_option *o, const char *text, value *v, dm_error *err)
{
    static const char *const flags[] = {"false", "true", NULL}, *const autos[] = {"auto", "false", "true", NULL};
    const char *real_end;
    char *end;
    dm_status s;

    errno = 0;
    switch (o->info.type) {
    case DMPO_OPTION_INTEGER:
        v->integer = strtoll(text, &end, 10);
        return end == text || *end || errno ? bad(o, text, "whole number", err) : DM_OK;
    case DMPO_OPTION_SEED:
        v->natural = strtoull(text, &end, 10);
        return end == text || *end || errno || strchr(text, '-') ? bad(o, text, "whole number from 0 to 2^64-1", err)
                                                                 : DM_OK;
    case DMPO_OPTION_REAL:
        v->real = dm_double_parse(text, &real_end);
        return real_end == text || *real_end ? bad(o, text, "number", err) : DM_OK;
    case DMPO_OPTION_BYTES:
        return read_bytes(o, text, &v->natural, err);
    case DMPO_OPTION_CHOICE:
        return read_choice(o, o->info.choices, text, &v->choice, err);
    case DMPO_OPTION_AUTO:
        s = read_choice(o, autos, text, &v->choice, err);
        v->choice -= s == DM_OK;
        return s;
    case DMPO_OPTION_FLAG: {
        int on = 0;
        s = read_choice(o, flags, text, &on, err);
        v->flag = on != 0;
        return s;
    }
    case DMPO_OPTION_TEXT:
        break;
    }
    return dm_fail(err, DM_ERR_INTERNAL, "`%s` has no type", o->info.name);
}

static size_t value_size(const dm_option *o)
{
    switch (o->info.type) {
    case DMPO_OPTION_FLAG:
        return sizeof(bool);
    case DMPO_OPTION_AUTO:
    case DMPO_OPTION_CHOICE:
        return sizeof(int);
    case DMPO_OPTION_TEXT:
        return sizeof(const char *);
    default:
        return sizeof(int64_t);
    }
}

/* Whether a value lies in the range, where the option has one (low < high); false for NaN. */
static dm_status check(const dm_option *o, const value *v, dm_error *err)
{
    const double x = o->info.type == DMPO_OPTION_REAL ? v->real : (double)v->integer;
    char number[DM_DOUBLE_TEXT];

    if ((o->info.type != DMPO_OPTION_REAL && o->info.type != DMPO_OPTION_INTEGER) || !(o->info.low < o->info.high) ||
        (x >= o->info.low && x <= o->info.high))
        return DM_OK;
    dm_double_text(number, x);
    if (!o->info.legal)
        return dm_fail(err, DM_ERR_ARGUMENT, "`%s` %s is out of range; legal: %.0f to %.0f", o->info.name, number,
                       o->info.low, o->info.high);
    return dm_fail(err, DM_ERR_ARGUMENT, "`%s` %s is out of range; legal: %s", o->info.name, number, o->info.legal);
}

dm_status dm_option_set(const dm_option *o, void *options, const char *text, dm_error *err)
{
    char *const to = (char *)options + o->offset;
    value v = {0};
    dm_status s;

    if (o->info.type == DMPO_OPTION_TEXT) {
        if (!*text && dm_option_is_path(o))
            return bad(o, text, strcmp(o->info.metavar, "DIR") == 0 ? "directory" : "file", err);
        memcpy(to, &text, sizeof text);
        return DM_OK;
    }
    if ((s = read_value(o, text, &v, err)) != DM_OK || (s = check(o, &v, err)) != DM_OK)
        return s;
    memcpy(to, &v, value_size(o));
    return DM_OK;
}

dm_status dm_option_check(const dm_option *o, const void *options, dm_error *err)
{
    value v = {0};

    if (o->info.type == DMPO_OPTION_TEXT)
        return DM_OK;
    memcpy(&v, field(o, options), value_size(o));
    return check(o, &v, err);
}

bool dm_option_same(const dm_option *o, const void *a, const void *b)
{
    return memcmp(field(o, a), field(o, b), value_size(o)) == 0;
}

bool dm_option_text(dm_text *out, const dm_option *o, const void *options)
{
    const void *at = field(o, options);
    const char *text = NULL;
    char number[DM_DOUBLE_TEXT];
    int choice;

    switch (o->info.type) {
    case DMPO_OPTION_TEXT:
        memcpy(&text, at, sizeof text);
        break;
    case DMPO_OPTION_INTEGER:
        dm_text_print(out, "%lld", (long long)*(const int64_t *)at);
        return true;
    case DMPO_OPTION_SEED:
    case DMPO_OPTION_BYTES:
        dm_text_print(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        return true;
    case DMPO_OPTION_REAL:
        dm_double_text(number, *(const double *)at);
        text = number;
        break;
    case DMPO_OPTION_FLAG:
        text = *(const bool *)at ? "true" : "false";
        break;
    case DMPO_OPTION_AUTO:
        memcpy(&choice, at, sizeof choice);
        text = choice < 0 ? "auto" : choice ? "true" : "false";
        break;
    case DMPO_OPTION_CHOICE:
        memcpy(&choice, at, sizeof choice);
        text = o->info.choices[choice];
        break;
    }
    if (text)
        dm_text_add(out, text, strlen(text));
    return text != NULL;
}
