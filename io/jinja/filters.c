/* Filters of one value; those of lists are in filters_list.c. */
#include <stdlib.h>
#include <string.h>

#include "io/jinja/characters.h"
#include "io/jinja/filters.h"
#include "io/jinja/text_functions.h"
#include "io/json.h"

/* The subject as text, and argument i as text where it is given. */
static bool texts(jinja_eval *e, const jinja_call *c, size_t i, const jinja_string **s, const jinja_string **argument)
{
    *argument = NULL;
    return jinja_soft_string(e, c->subject, s) && (c->arg[i].type == JINJA_UNDEFINED || c->arg[i].type == JINJA_NONE ||
                                                   jinja_string_argument(e, c, i, argument));
}

static bool run_trim(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s, *set;
    return texts(e, c, 0, &s, &set) && jinja_strip(e, s, set, 3, out);
}

static bool run_case(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s;
    return jinja_soft_string(e, c->subject, &s) && jinja_change_case(e, s, (jinja_case)c->what, out);
}

static bool run_length(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    size_t n;
    if (!jinja_length(e, c->subject, &n))
        return false;
    *out = jinja_int((int64_t)n);
    return true;
}

static bool run_default(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    static const jinja_string empty = {.data = ""};
    *out = c->subject;
    if (c->subject.type == JINJA_UNDEFINED || (jinja_truth(c->arg[1]) && !jinja_truth(c->subject)))
        *out = c->arg[0].type != JINJA_UNDEFINED ? c->arg[0] : (jinja_value){.type = JINJA_STRING, .as.string = &empty};
    (void)e;
    return true;
}

static bool run_replace(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s, *old, *fresh;
    int64_t count;
    return jinja_soft_string(e, c->subject, &s) && jinja_soft_string(e, c->arg[0], &old) &&
           jinja_soft_string(e, c->arg[1], &fresh) && jinja_int_argument(e, c, 2, -1, &count) &&
           jinja_replace(e, s, old, fresh, count, out);
}

static bool run_string(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s;
    return jinja_soft_string(e, c->subject, &s) && jinja_give_string(e, s, out);
}

/* The text, marked: what Python would do otherwise with it is refused (jinja_not_safe). */
static bool run_safe(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s;
    jinja_string *marked = jinja_alloc(e->arena, sizeof *marked);
    if (marked == NULL)
        return jinja_no_memory(e);
    if (!jinja_soft_string(e, c->subject, &s))
        return false;
    *marked = *s;
    marked->safe = true;
    return jinja_give_string(e, marked, out);
}

/* ---- numbers ---- */

/* Python's int(text) or float(text) for decimal text; false: it is none. */
static bool parse_number(const jinja_string *s, bool whole, jinja_value *out)
{
    const size_t left = jinja_strip_left(s, NULL), right = jinja_strip_right(s, NULL, left);
    const size_t size = s->size - left - right;
    const char *text = s->data + left;
    const bool minus = size > 0 && *text == '-', sign = minus || (size > 0 && *text == '+');
    dm_json_doc *doc;
    size_t zeros = sign; /* JSON has no leading ones */
    while (zeros + 1 < size && text[zeros] == '0' && text[zeros + 1] >= '0' && text[zeros + 1] <= '9')
        zeros++;
    if (size - zeros == 0 || text[zeros] < '0' || text[zeros] > '9' ||
        dm_json_parse(&doc, text + zeros, size - zeros, "number", NULL) != DM_OK)
        return false;
    const dm_json *v = dm_json_root(doc);
    const bool fits = v->type == DM_JSON_NUMBER && (!whole || v->is_integer);
    if (fits)
        *out = whole ? jinja_int(minus ? -v->integer : v->integer) : jinja_float(minus ? -v->number : v->number);
    dm_json_close(&doc);
    return fits;
}

static bool run_int(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    jinja_value v = c->subject;
    if (c->arg[1].type != JINJA_UNDEFINED)
        return jinja_fail(e, DM_ERR_UNSUPPORTED, "int with a base is not supported");
    *out = c->arg[0].type != JINJA_UNDEFINED ? c->arg[0] : jinja_int(0);
    if (v.type == JINJA_STRING && (parse_number(v.as.string, true, out) || !parse_number(v.as.string, false, &v)))
        return true;
    if (v.type == JINJA_FLOAT) {
        if (!(v.as.number > -9.2e18 && v.as.number < 9.2e18))
            return v.as.number != v.as.number || v.as.number - v.as.number != 0 ||
                   jinja_fail(e, DM_ERR_UNSUPPORTED, "an integer beyond 64 bits");
        *out = jinja_int((int64_t)v.as.number);
    } else if (v.type == JINJA_INT || v.type == JINJA_BOOL) {
        *out = jinja_int(v.type == JINJA_INT ? v.as.integer : v.as.boolean);
    } else if (v.type == JINJA_UNDEFINED) {
        return jinja_fail(e, DM_ERR_INPUT, "int of an undefined value");
    }
    return true;
}

static bool run_float(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    *out = c->arg[0].type != JINJA_UNDEFINED ? c->arg[0] : jinja_float(0);
    if (c->subject.type == JINJA_UNDEFINED)
        return jinja_fail(e, DM_ERR_INPUT, "float of an undefined value");
    if (jinja_is_number(c->subject))
        *out = jinja_float(jinja_as_double(c->subject));
    else if (c->subject.type == JINJA_STRING)
        parse_number(c->subject.as.string, false, out);
    return true;
}

static bool run_abs(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_value v = c->subject;
    if (!jinja_is_number(v))
        return jinja_fail(e, DM_ERR_INPUT, "abs of %s", jinja_type_name(v));
    if (v.type == JINJA_FLOAT) {
        *out = jinja_float(v.as.number < 0 ? -v.as.number : v.as.number);
        return true;
    }
    const int64_t i = v.type == JINJA_INT ? v.as.integer : v.as.boolean;
    return i < 0 ? jinja_operate(e, JINJA_SUB, jinja_int(0), v, out) : (*out = jinja_int(i), true);
}

/* ---- layout ---- */

/* What one level is indented by: a number of spaces, or text. */
static bool indention(jinja_eval *e, jinja_value v, const jinja_string **out)
{
    char *spaces;
    if (v.type == JINJA_STRING) {
        *out = v.as.string;
        return true;
    }
    const int64_t n = v.type == JINJA_INT ? v.as.integer : v.type == JINJA_BOOL ? v.as.boolean : -1;
    if ((v.type != JINJA_INT && v.type != JINJA_BOOL) || n > 1000)
        return jinja_fail(e, DM_ERR_INPUT, "an indention is of type %s, must be int or str", jinja_type_name(v));
    const size_t size = n > 0 ? (size_t)n : 0;
    if ((spaces = jinja_alloc(e->arena, size + 1)) == NULL)
        return jinja_no_memory(e);
    memset(spaces, ' ', size);
    *out = jinja_string_of(e->arena, spaces, size, 0);
    return *out != NULL || jinja_no_memory(e);
}

static bool run_indent(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    const jinja_string *s, *by;
    const bool first = jinja_truth(c->arg[1]), blank = jinja_truth(c->arg[2]);
    jinja_text t = jinja_text_new(e), ended = jinja_text_new(e);
    if (!jinja_soft_string(e, c->subject, &s) || !jinja_charge(e, s->size) ||
        !indention(e, c->arg[0].type != JINJA_UNDEFINED ? c->arg[0] : jinja_int(4), &by))
        return false;
    jinja_text_string(&ended, s);
    jinja_text_add(&ended, "\n", 1, 0); /* so that a line end at the text's end begins a line, as jinja2 has it */
    if ((s = jinja_text_finish(&ended)) == NULL)
        return jinja_no_memory(e);
    if (first)
        jinja_text_string(&t, by);
    for (size_t at = 0, end, next, n = 0; jinja_line(s, at, &end, &next); at = next, n++) {
        if (n > 0) {
            jinja_text_add(&t, "\n", 1, 0);
            if (blank || end > at)
                jinja_text_string(&t, by);
        }
        jinja_text_part(&t, s, at, end);
    }
    return jinja_give_text(e, &t, out);
}

static bool json_separators(jinja_eval *e, jinja_value v, jinja_json *form)
{
    if (v.type == JINJA_UNDEFINED || v.type == JINJA_NONE)
        return true;
    if (!jinja_is_list(v) || v.as.list->n != 2 || v.as.list->items[0].type != JINJA_STRING ||
        v.as.list->items[1].type != JINJA_STRING)
        return jinja_fail(e, DM_ERR_INPUT, "tojson: separators must be two texts");
    form->item = v.as.list->items[0].as.string;
    form->key = v.as.list->items[1].as.string;
    return true;
}

static bool run_tojson(jinja_eval *e, jinja_call *c, jinja_value *out)
{
    jinja_json form = {.ascii = jinja_truth(c->arg[0]), .sorted = jinja_truth(c->arg[3])};
    jinja_text t = jinja_text_new(e);
    if (c->arg[1].type != JINJA_UNDEFINED && c->arg[1].type != JINJA_NONE) {
        const jinja_string *by;
        if (!indention(e, c->arg[1], &by))
            return false;
        form.indent = by->data;
        form.indent_size = by->size;
    }
    if (!json_separators(e, c->arg[2], &form))
        return false;
    const char *wrong = jinja_write_json(&t, c->subject, &form);
    if (wrong != NULL)
        return jinja_fail(e, DM_ERR_INPUT, "tojson: %s is no JSON", wrong);
    return jinja_charge(e, t.size) && jinja_give_text(e, &t, out);
}

const jinja_builtin jinja_filters[] = {
    {"abs", "", 0, 0, run_abs},
    {"capitalize", "", 0, JINJA_CAPITALIZE, run_case},
    {"count", "", 0, 0, run_length},
    {"d", "default_value boolean", 0, 0, run_default},
    {"default", "default_value boolean", 0, 0, run_default},
    {"dictsort", "case_sensitive by reverse", 0, 0, jinja_run_dictsort},
    {"first", "", 0, 0, jinja_run_end},
    {"float", "default", 0, 0, run_float},
    {"indent", "width first blank", 0, 0, run_indent},
    {"int", "default base", 0, 0, run_int},
    {"items", "", 0, 0, jinja_run_items},
    {"join", "d attribute", 0, 0, jinja_run_join},
    {"last", "", 0, 1, jinja_run_end},
    {"length", "", 0, 0, run_length},
    {"list", "", 0, 0, jinja_run_list},
    {"lower", "", 0, JINJA_LOWER, run_case},
    {"map", "*", 0, 0, jinja_run_map},
    {"max", "case_sensitive attribute", 0, 1, jinja_run_extreme},
    {"min", "case_sensitive attribute", 0, 0, jinja_run_extreme},
    {"reject", "*", 0, JINJA_REJECT, jinja_run_select},
    {"rejectattr", "*", 1, JINJA_REJECT | JINJA_BY_ATTRIBUTE, jinja_run_select},
    {"replace", "old new count", 2, 0, run_replace},
    {"reverse", "", 0, 0, jinja_run_reverse},
    {"safe", "", 0, 0, run_safe},
    {"select", "*", 0, 0, jinja_run_select},
    {"selectattr", "*", 1, JINJA_BY_ATTRIBUTE, jinja_run_select},
    {"sort", "reverse case_sensitive attribute", 0, 0, jinja_run_sort},
    {"string", "", 0, 0, run_string},
    {"sum", "attribute start", 0, 0, jinja_run_sum},
    {"title", "", 0, JINJA_FILTER_TITLE, run_case},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, 0, run_tojson},
    {"trim", "chars", 0, 0, run_trim},
    {"unique", "case_sensitive attribute", 0, 0, jinja_run_unique},
    {"upper", "", 0, JINJA_UPPER, run_case},
    {0},
};
