/* The interpreter of chat templates.
 *
 *     jinja                         the tests
 *     jinja --render < cases        one case a line: {"template": text, "variables": {name: value}, "date": text or
 *                                   absent}; one answer a line: {"text": text} or
 *                                   {"error": message, "unsupported": bool} */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jinja/jinja.h"
#include "tests/support/check.h"
#include "tests/support/tokenizer_tool.h"

#define VARIABLES_MAX 64

/* Renders with the members of `variables`, the messages' texts with origins. */
static dm_status render(const dm_jinja *j, jinja_arena *arena, const dm_json *variables, const char *date,
                        jinja_text *text, dm_error *err)
{
    dm_jinja_variable list[VARIABLES_MAX];
    size_t n = 0;
    for (const dm_json *v = variables->child; v != NULL && n < VARIABLES_MAX; v = v->next, n++) {
        list[n].name = v->key;
        const dm_status status = dm_jinja_from_json(arena, v, 1, &list[n].value, err);
        if (status != DM_OK)
            return status;
    }
    if (date != NULL && n < VARIABLES_MAX) {
        const jinja_string *s = jinja_string_of(arena, date, strlen(date), 0);
        list[n++] = (dm_jinja_variable){"date", {.type = JINJA_STRING, .as.string = s}};
    }
    return dm_jinja_render(j, arena, &(dm_jinja_input){.variables = list, .n = n}, text, err);
}

static int tool_render(void)
{
    dm_error err;
    dm_json_doc *doc;
    if (tool_input(&doc, &err) != DM_OK)
        return tool_error(&err);
    for (const dm_json *v = dm_json_root(doc)->child; v != NULL; v = v->next) {
        const dm_json *source = dm_json_get(v, "template"), *date = dm_json_get(v, "date");
        jinja_arena arena = {.limit = JINJA_MEMORY};
        jinja_text text;
        dm_jinja *j;
        dm_text out = {0};
        dm_status status = dm_jinja_compile(&j, source->text, source->length, "template", &err);
        if (status == DM_OK)
            status = render(j, &arena, dm_json_get(v, "variables"), date != NULL ? date->text : NULL, &text, &err);
        dm_text_print(&out, status == DM_OK ? "{\"text\": " : "{\"error\": ");
        if (status == DM_OK)
            dm_text_json_string(&out, text.size > 0 ? text.data : "", text.size);
        else
            dm_text_json_string(&out, err.message, strlen(err.message));
        if (status != DM_OK)
            dm_text_print(&out, ", \"unsupported\": %s", status == DM_ERR_UNSUPPORTED ? "true" : "false");
        dm_text_print(&out, "}");
        puts(out.data);
        dm_text_free(&out);
        jinja_free(&arena);
        dm_jinja_close(&j);
    }
    dm_json_close(&doc);
    return 0;
}

/* ---- the tests ---- */

static dm_json_doc *golden;

/* What jinja2 makes of small templates, and that the same ones fail. */
static void check_golden(void)
{
    const dm_json *root = dm_json_root(golden), *variables = dm_json_get(root, "variables");
    size_t n = 0;
    for (const dm_json *c = dm_json_get(root, "cases")->child; c != NULL; c = c->next, n++) {
        const dm_json *source = c->child, *want = source->next;
        jinja_arena arena = {.limit = JINJA_MEMORY};
        jinja_text text = {0};
        dm_error err = {0};
        dm_jinja *j = NULL;
        dm_status status = dm_jinja_compile(&j, source->text, source->length, "t", &err);
        if (status == DM_OK)
            status = render(j, &arena, variables, NULL, &text, &err);
        if (want->type == DM_JSON_STRING)
            CK_MSG(status == DM_OK && text.size == want->length &&
                       (text.size == 0 || memcmp(text.data, want->text, text.size) == 0),
                   "%s: %.*s %s", source->text, (int)text.size, text.size > 0 ? text.data : "", err.message);
        else
            CK_MSG(status != DM_OK && strncmp(err.message, "t: ", 3) == 0 && strstr(err.message, "line ") != NULL,
                   "%s: %d %s", source->text, status, err.message);
        jinja_free(&arena);
        dm_jinja_close(&j);
    }
    CK(n > 400);
}

/* Compiles and renders without variables; the message, or the text. */
static dm_status try(const char *source, const char *date, char out[1024])
{
    jinja_arena arena = {.limit = JINJA_MEMORY};
    jinja_text text = {0};
    dm_error err = {0};
    dm_jinja *j = NULL;
    const jinja_string when = {.data = date, .size = date != NULL ? (uint32_t)strlen(date) : 0};
    const dm_jinja_variable variable = {"date", {.type = JINJA_STRING, .as.string = &when}};
    dm_status status = dm_jinja_compile(&j, source, strlen(source), "t", &err);
    if (status == DM_OK)
        status = dm_jinja_render(j, &arena, &(dm_jinja_input){.variables = &variable, .n = date != NULL}, &text, &err);
    if (status == DM_OK)
        snprintf(out, 1024, "%.*s", (int)(text.size < 1000 ? text.size : 1000), text.size > 0 ? text.data : "");
    else
        snprintf(out, 1024, "%s", err.message);
    jinja_free(&arena);
    dm_jinja_close(&j);
    return status;
}

/* What jinja2 has and the interpreter has not is refused with its name and line. */
static void check_unsupported(void)
{
    static const struct {
        const char *source, *name;
        unsigned line;
    } cases[] = {
        {"{{ 'a' | urlize }}", "the filter \"urlize\"", 1},
        {"\n\n{{ 1 is filter }}", "the test \"filter\"", 3},
        {"a\n{% include 'x' %}", "{% include %}", 2},
        {"{% for x in [1] recursive %}{% endfor %}", "recursive", 1},
        {"{{ 'a'.zfill(3) }}", "zfill", 1},
        {"{{ [].append(1) }}", "append", 1},
        {"{{ 'a%s' % 1 }}", "% on text", 1},
        {"{{ dict(*[1]) }}", "*", 1},
        {"{{ 'é' | upper }}", "ASCII", 1},
        {"{{ 9223372036854775807 + 1 }}", "64 bits", 1},
        {"{{ 9223372036854775807 * 2 }}", "64 bits", 1},
        {"{{ 2 ** 63 }}", "64 bits", 1},
        {"{{ 0x10 }}", "decimal", 1},
        {"{{ [1, 2].items }}{{ {}.items }}", "method as text", 1},
        {"{{ {}.items() }}", "dict view as text", 1},
        {"{{ [1] | map('string') }}", "generator as text", 1},
        {"{% macro m() %}{{ varargs }}{% endmacro %}", "varargs", 1},
        {"{{ '\\N{DASH}' }}", "\\N{DASH}", 1},
        {"{{ ('<' | safe) + '<' }}", "safe", 1},
        {"{{ '<' + ('<' | safe) }}", "safe", 1},
        {"{{ ('<' | safe).strip() }}", "safe", 1},
        {"{{ '<' | safe | upper }}", "safe", 1},
        {"{{ ('<' | safe)[0] }}", "safe", 1},
        {"{{ 'x' | trim(chars='x', side=1) }}", "side", 1},
    };
    char out[1024], line[32];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const dm_status status = try(cases[i].source, NULL, out);
        snprintf(line, sizeof line, "t: line %u: ", cases[i].line);
        CK_MSG(status == DM_ERR_UNSUPPORTED && strstr(out, cases[i].name) != NULL &&
                   strncmp(out, line, strlen(line)) == 0,
               "%s: %d %s", cases[i].source, status, out);
    }
}

/* A date comes from who asks for the rendering, never from the clock. */
static void check_dates(void)
{
    static const struct {
        const char *format, *date, *text;
    } cases[] = {
        {"%d %b %Y", "2024-07-26", "26 Jul 2024"},
        {"%Y-%m-%d", "2024-02-29", "2024-02-29"},
        {"%A, %B %-d, %Y %H:%M:%S %p %I", "2026-11-30 13:05:09", "Monday, November 30, 2026 13:05:09 PM 01"},
        {"%F %T %j %y %e %a%%", "2000-03-01T00:00:00", "2000-03-01 00:00:00 061 00  1 Wed%"},
    };
    char out[1024], source[128];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(source, sizeof source, "{{ strftime_now('%s') }}", cases[i].format);
        CK_MSG(try(source, cases[i].date, out) == DM_OK && strcmp(out, cases[i].text) == 0, "%s", out);
        CK_MSG(try(source, NULL, out) == DM_ERR_INPUT && strstr(out, "`template-option` date=YYYY-MM-DD") != NULL, "%s",
               out);
    }
    CK(try("{{ strftime_now('%c') }}", "2024-07-26", out) == DM_ERR_UNSUPPORTED && strstr(out, "%c") != NULL);
    static const char *const bad[] = {"2024", "2023-02-29", "2024-13-01", "2024-01-01x", "2024-01-01 24:00:00", ""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CK_MSG(try("{{ strftime_now('%Y') }}", bad[i], out) == DM_ERR_ARGUMENT, "%s: %s", bad[i], out);
}

/* No template runs away: each of these ends with an error that names its limit. */
static void check_limits(void)
{
    static const struct {
        const char *source, *limit;
    } cases[] = {
        {"{% set r = range(100000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}", "steps"},
        {"{% set ns = namespace(s='xxxxxxxxxxxxxxxx') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
         "MiB"},
        {"{% set s = 'x' * 60000000 %}{{ s }}{{ s }}", "MiB"},
        {"{{ ('x' * 100000) * 100000 }}", "MiB"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper"},
        {"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
         "nested deeper"},
        {"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l | tojson }}",
         "nested deeper"},
        {"{{ range(100001) }}", "range"},
        {"{% set s = 'a' * 100000 %}{% for i in range(100000) %}{% set x = s.replace('a', 'b') %}{% endfor %}",
         "steps"},
        {"{% set s = 'a' * 100000 %}{% for i in range(100000) %}{% set x = s[99999] %}{% set x = s | length %}{% endfor %}",
         "steps"},
    };
    char out[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CK_MSG(try(cases[i].source, NULL, out) != DM_OK && strstr(out, cases[i].limit) != NULL, "%s: %s",
               cases[i].source, out);
    char deep[4096] = "{{ ";
    for (int i = 0; i < 1000; i++)
        strcat(deep, "((("[i % 3] == '(' ? "(" : "[");
    CK(try(deep, NULL, out) == DM_ERR_INPUT || strstr(out, "nested") != NULL);
    strcpy(deep, "{{ x");
    for (int i = 0; i < 1500; i++)
        strcat(deep, ".a");
    strcat(deep, " }}");
    CK(try(deep, NULL, out) == DM_ERR_UNSUPPORTED && strstr(out, "nested deeper") != NULL);
    *deep = '\0';
    for (int i = 0; i < 200; i++)
        strcat(deep, "{% if 1 %}");
    CK(try(deep, NULL, out) == DM_ERR_UNSUPPORTED && strstr(out, "nested deeper") != NULL);
}

/* Every byte of the text knows which message it is from. */
static void check_origins(void)
{
    static const struct {
        const char *source, *origins; /* a digit for each byte of the text; g for the template's inside of generation */
    } cases[] = {
        {"<{{ a }}{{ b }}>", "0111220"},
        {"{{ '<' + a + '|' + b }}", "0111022"},
        {"{{ a.strip() }}{{ a[1:] }}{{ a[::-1] }}", "111"
                                                    "11"
                                                    "111"},
        {"{{ (a + '-' + b)[1:-1] }}", "1102"},
        {"{{ (a ~ b) | replace('b', '?') }}", "10122"},
        {"{{ (a ~ b).split('c') }}", "001100002200"},
        {"{{ {'k': a} | tojson }}", "0000000"
                                    "111"
                                    "00"},
        {"{{ [a, b] | join('+') | upper }}", "1110"
                                             "22"},
        {"{% set t %}{{ a }}!{% endset %}{{ t | trim }}", "1110"},
        {"{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(b) }}", "0220"},
        {"{{ ' ' ~ b ~ '\\n' }}x", "02200"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        jinja_arena arena = {.limit = JINJA_MEMORY};
        jinja_text text = {0};
        dm_error err = {0};
        dm_jinja *j = NULL;
        jinja_string a = {.data = "abc", .size = 3, .origin = 1}, b = {.data = "yz", .size = 2, .origin = 2};
        const dm_jinja_variable variables[] = {{"a", {.type = JINJA_STRING, .as.string = &a}},
                                               {"b", {.type = JINJA_STRING, .as.string = &b}}};
        CK(dm_jinja_compile(&j, cases[i].source, strlen(cases[i].source), "t", &err) == DM_OK);
        CK_MSG(dm_jinja_render(j, &arena, &(dm_jinja_input){.variables = variables, .n = 2}, &text, &err) == DM_OK,
               "%s", err.message);
        char got[64];
        size_t at = 0;
        for (size_t r = 0; r < text.n_runs; r++)
            for (; at < text.runs[r].end && at < sizeof got - 1; at++)
                got[at] = (char)('0' + text.runs[r].origin);
        got[at] = '\0';
        CK_MSG(strcmp(got, cases[i].origins) == 0, "%s: %s, not %s", cases[i].source, got, cases[i].origins);
        jinja_free(&arena);
        dm_jinja_close(&j);
    }
}

static void check_generation(void)
{
    static const char source[] = "a{% generation %}b{% set t %}c{% endset %}{{ t }}{% endgeneration %}d";
    jinja_arena arena = {.limit = JINJA_MEMORY};
    jinja_text text = {0};
    dm_jinja *j = NULL;
    CK(dm_jinja_compile(&j, source, strlen(source), "t", NULL) == DM_OK && dm_jinja_marks(j));
    CK(dm_jinja_render(j, &arena, &(dm_jinja_input){.n = 0}, &text, NULL) == DM_OK && text.n_runs == 3);
    CK(text.size == 4 && text.runs[0].end == 1 && text.runs[1].end == 3 && text.runs[1].origin == JINJA_GENERATED);
    jinja_free(&arena);
    dm_jinja_close(&j);
}

/* Templates cut off anywhere or with a byte changed: an error or a text, nothing else (the sanitizers judge). */
static void check_broken(const char *path)
{
    dm_json_doc *doc;
    dm_error err = {0};
    size_t tried = 0;
    const size_t stride = getenv("DMPO_TEST_FAST") != NULL ? 131 : 7;
    static const char bytes[] = "{}%'\"(|-. \x80";
    if (!CK_MSG(dm_json_read(&doc, path, &err) == DM_OK, "%s", err.message))
        return;
    for (const dm_json *f = dm_json_root(doc)->child; f != NULL; f = f->next) {
        const dm_json *source = dm_json_get(f, "template"), *talk = dm_json_get(f, "cases")->child;
        char *text = malloc(source->length + 1);
        for (size_t i = 0; text != NULL && i < source->length; i += stride)
            for (size_t k = 0; k < sizeof bytes; k++, tried++) { /* the last one: cut off here */
                jinja_arena arena = {.limit = JINJA_MEMORY};
                jinja_text out = {0};
                dm_jinja *j = NULL;
                memcpy(text, source->text, source->length);
                text[i] = bytes[k];
                dm_status status = dm_jinja_compile(&j, text, bytes[k] == '\0' ? i : source->length, "t", &err);
                if (status == DM_OK)
                    status = render(j, &arena, talk, NULL, &out, &err);
                CK_MSG(status == DM_OK || strncmp(err.message, "t: ", 3) == 0, "%s", err.message);
                jinja_free(&arena);
                dm_jinja_close(&j);
            }
        free(text);
    }
    CK(tried > 1000);
    dm_json_close(&doc);
}

int main(int argc, char **argv)
{
    dm_error err;
    char path[512];
    if (argc == 2 && strcmp(argv[1], "--render") == 0)
        return tool_render();
    const char *source = getenv("SRC");
    snprintf(path, sizeof path, "%s/tests/data/jinja/cases.json", source ? source : ".");
    if (CK_MSG(dm_json_read(&golden, path, &err) == DM_OK, "%s", err.message))
        check_golden();
    check_unsupported();
    check_dates();
    check_limits();
    check_origins();
    check_generation();
    snprintf(path, sizeof path, "%s/tests/data/jinja/families.json", source ? source : ".");
    check_broken(path);
    dm_json_close(&golden);
    return ck_done("jinja");
}
