/* Global functions. */
#include <stdio.h>
#include <string.h>

#include "io/jinja/eval.h"

static bool run_range(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    int64_t first, second, step;
    if (!jinja_int_argument(e, c, 0, 0, &first) || !jinja_int_argument(e, c, 1, 0, &second) ||
        !jinja_int_argument(e, c, 2, 1, &step))
        return false;
    const bool one = c->arg[1].type == JINJA_UNDEFINED;
    const int64_t begin = one ? 0 : first, end = one ? first : second;
    const int64_t limit = (int64_t)1 << 40;
    if (step == 0 || begin > limit || begin < -limit || end > limit || end < -limit || step > limit || step < -limit)
        return jinja_fail(e, DM_ERR_INPUT, "range: an argument is out of range");
    const int64_t span = step > 0 ? end - begin : begin - end, size = step > 0 ? step : -step;
    const int64_t n = span > 0 ? (span - 1) / size + 1 : 0;
    if (n > JINJA_RANGE_MAX)
        return jinja_fail(e, DM_ERR_MEMORY, "range: more than %d items", JINJA_RANGE_MAX);
    jinja_value *items = jinja_values_new(e, (size_t)n);
    for (int64_t i = 0; i < n && items != NULL; i++)
        items[i] = jinja_int(begin + i * step);
    return items != NULL && jinja_give_list(e, JINJA_RANGE, items, (size_t)n, out);
}

/* namespace(a=1, ...), dict(a=1, ...), each of a dict, too. */
static bool run_dict(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    jinja_dict *d = jinja_dict_new(e->arena, c->n + 4);
    if (d == NULL)
        return jinja_no_memory(e);
    for (size_t i = 0; i < c->n; i++) {
        if (c->names[i] != NULL) {
            const jinja_string *key = jinja_string_of(e->arena, c->names[i], strlen(c->names[i]), 0);
            if (key == NULL ||
                !jinja_dict_set(e->arena, d, (jinja_value){.type = JINJA_STRING, .as.string = key}, c->arg[i]))
                return jinja_no_memory(e);
            continue;
        }
        if (i > 0 || c->arg[i].type != JINJA_DICT)
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "%s of %s is not supported", c->name, jinja_type_name(c->arg[i]));
        for (size_t k = 0; k < c->arg[i].as.dict->n; k++)
            if (!jinja_dict_set(e->arena, d, c->arg[i].as.dict->entries[k].key, c->arg[i].as.dict->entries[k].value))
                return jinja_no_memory(e);
    }
    for (size_t i = 0; i < d->n && c->what; i++)
        if (d->entries[i].key.type == JINJA_STRING && d->entries[i].key.as.string->size > 0 &&
            d->entries[i].key.as.string->data[0] == '_')
            return jinja_fail(e, DM_ERR_INPUT, "a namespace has no members that begin with _");
    *out = (jinja_value){.type = c->what ? JINJA_NAMESPACE : JINJA_DICT, .as.dict = d};
    return true;
}

static bool run_raise(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s;
    *out = jinja_none();
    return jinja_soft_string(e, c->arg[0], &s) &&
           jinja_fail(e, DM_ERR_INPUT, "the template refuses the conversation: %.*s",
                      (int)(s->size < 400 ? s->size : 400), s->data);
}

/* ---- dates ---- */

typedef struct date {
    int year, month, day, hour, minute, second; /* month and day from 1 */
} date;

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

static bool read_date(const char *text, date *d)
{
    int used = 0;
    *d = (date){0};
    if (sscanf(text, "%4d-%2d-%2d%n", &d->year, &d->month, &d->day, &used) != 3 || used != 10 || d->year < 1 ||
        d->month < 1 || d->month > 12 || d->day < 1 || d->day > days_of(d->year, d->month))
        return false;
    if (text[10] == '\0')
        return true;
    return (text[10] == ' ' || text[10] == 'T') &&
           sscanf(text + 11, "%2d:%2d:%2d%n", &d->hour, &d->minute, &d->second, &used) == 3 && used == 8 &&
           text[19] == '\0' && d->hour >= 0 && d->hour < 24 && d->minute >= 0 && d->minute < 60 && d->second >= 0 &&
           d->second < 60;
}

static int day_of_year(const date *d)
{
    int n = d->day;
    for (int month = 1; month < d->month; month++)
        n += days_of(d->year, month);
    return n;
}

/* 0: Sunday. */
static int day_of_week(const date *d)
{
    const int y = d->year - 1;
    return (y + y / 4 - y / 100 + y / 400 + day_of_year(d)) % 7;
}

/* What %c stands for; false: not supported. */
static bool format_date(const date *d, char c, bool plain, char out[32])
{
    static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                         "July",    "August",   "September", "October", "November", "December"};
    static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
    const char *month = months[d->month - 1], *day = days[day_of_week(d)];
    const int hour = d->hour % 12 == 0 ? 12 : d->hour % 12;
    const struct {
        char c;
        int value, width;
    } numbers[] = {{'Y', d->year, 4}, {'m', d->month, 2},       {'d', d->day, 2},
                   {'H', d->hour, 2}, {'M', d->minute, 2},      {'S', d->second, 2},
                   {'I', hour, 2},    {'j', day_of_year(d), 3}, {'y', d->year % 100, 2}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].c == c) {
            snprintf(out, 32, "%0*d", plain ? 1 : numbers[i].width, numbers[i].value);
            return true;
        }
    if (plain)
        return false;
    if (c == 'B' || c == 'A')
        snprintf(out, 32, "%s", c == 'B' ? month : day);
    else if (c == 'b' || c == 'h' || c == 'a')
        snprintf(out, 32, "%.3s", c == 'a' ? day : month);
    else if (c == 'p')
        snprintf(out, 32, "%s", d->hour < 12 ? "AM" : "PM");
    else if (c == 'e')
        snprintf(out, 32, "%2d", d->day);
    else if (c == '%')
        snprintf(out, 32, "%%");
    else
        return false;
    return true;
}

/* %F and %T are abbreviations. */
static const char *abbreviated(char c)
{
    return c == 'F' ? "%Y-%m-%d" : c == 'T' ? "%H:%M:%S" : c == 'D' ? "%m/%d/%y" : c == 'R' ? "%H:%M" : NULL;
}

static bool put_date(jinja_eval *e, jinja_text *t, const date *d, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[32];
        if (s[i] != '%') {
            jinja_text_add(t, &s[i], 1, 0);
            continue;
        }
        const bool plain = i + 1 < n && s[i + 1] == '-';
        i += 1 + plain;
        const char *more = i < n && !plain ? abbreviated(s[i]) : NULL;
        if (more != NULL) {
            if (!put_date(e, t, d, more, strlen(more)))
                return false;
        } else if (i < n && format_date(d, s[i], plain, text)) {
            jinja_text_add(t, text, strlen(text), 0);
        } else {
            return jinja_fail(e, DM_ERR_UNSUPPORTED, "strftime_now: %%%c is not supported", i < n ? s[i] : ' ');
        }
    }
    return true;
}

static bool run_strftime(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *format;
    date d;
    if (!jinja_string_argument(e, c, 0, &format))
        return false;
    const jinja_value given = jinja_look_up(e, e->j->known.date);
    char text[32] = "";
    if (given.type == JINJA_UNDEFINED)
        return jinja_fail(e, DM_ERR_INPUT,
                          "the template asks for today's date, which results must not depend on: give one with "
                          "`template-option` date=YYYY-MM-DD");
    if (given.type == JINJA_STRING && given.as.string->size < sizeof text)
        memcpy(text, given.as.string->data, given.as.string->size);
    if (!read_date(text, &d))
        return jinja_fail(e, DM_ERR_ARGUMENT,
                          "the variable date is no date: must be YYYY-MM-DD, or YYYY-MM-DD HH:MM:SS");
    jinja_text t = jinja_text_new(e);
    return put_date(e, &t, &d, format->data, format->size) && jinja_give_text(e, &t, out);
}

const jinja_builtin jinja_functions[] = {
    {"dict", "*", 0, 0, run_dict},
    {"namespace", "*", 0, 1, run_dict},
    {"raise_exception", "message", 1, 0, run_raise},
    {"range", "start stop step", 1, 0, run_range},
    {"strftime_now", "format", 1, 0, run_strftime},
    {0},
};
