#include "cli/facts.h"

#include "cli/args.h"

#include <stdio.h>
#include <string.h>

#include "cli/args.h"
#include "core/utf8.h"

/* Quotes what files say, so that none of it is a command to a terminal. */
static void add_printable(dm_text *t, const char *text)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + strlen(text);

    while (p < end) {
        const size_t bad = dm_utf8_unprintable(p, end), n = bad ? bad : dm_utf8_length(p, end);
        dm_text_add(t, bad ? "?" : (const char *)p, bad ? 1 : n);
        p += n;
    }
}

void cli_report_line(cli_report *r, const char *label, int width, const char *text)
{
    const int size = (int)strlen(label);

    add_printable(&r->out, label);
    dm_text_print(&r->out, "%*s", size < width ? width - size + 1 : 1, "");
    add_printable(&r->out, text);
    dm_text_add(&r->out, "\n", 1);
}

void cli_report_row(cli_report *r, const char *key, const char *json, const char *text)
{
    if (r->json) {
        dm_text_print(&r->out, "%s\"%s\": %s", r->rows++ ? ",\n " : "{", key, json);
        return;
    }
    char label[64];
    snprintf(label, sizeof label, "%s", key);
    for (char *p = label; *p; p++)
        *p = *p == '_' ? ' ' : *p;
    cli_report_line(r, label, 22, text);
}

void cli_report_string(cli_report *r, const char *key, const char *value)
{
    dm_text json = {0};

    if (value)
        dm_text_json_string(&json, value, strlen(value));
    else
        dm_text_add(&json, "null", 4);
    r->out.failed |= json.failed;
    if (!json.failed && (value || r->json))
        cli_report_row(r, key, json.data, value);
    dm_text_free(&json);
}

void cli_report_problem(cli_report *r, const char *key, const char *message)
{
    dm_text text = {0};
    cli_explain_message(&text, message);
    cli_report_string(r, key, text.failed ? message : text.data);
    dm_text_free(&text);
}

void cli_report_int(cli_report *r, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    cli_report_row(r, key, text, text);
}

void cli_report_double(cli_report *r, const char *key, double value)
{
    char text[DM_DOUBLE_TEXT];
    dm_double_text(text, value);
    cli_report_row(r, key, text, text);
}

void cli_report_bool(cli_report *r, const char *key, int value)
{
    cli_report_row(r, key, value ? "true" : "false", value ? "yes" : "no");
}

void cli_report_bytes(cli_report *r, const char *key, uint64_t value)
{
    char json[32], text[80], size[32];
    snprintf(json, sizeof json, "%llu", (unsigned long long)value);
    snprintf(text, sizeof text, "%s (%s bytes)", cli_bytes(size, (double)value), json);
    cli_report_row(r, key, json, text);
}

void cli_report_list(cli_report *r, const char *key, const char *const *value, size_t n)
{
    dm_text json = {0}, text = {0};

    dm_text_add(&json, "[", 1);
    for (size_t i = 0; i < n; i++) {
        dm_text_add(&json, ", ", i ? 2 : 0);
        dm_text_json_string(&json, value[i], strlen(value[i]));
        dm_text_print(&text, "%s%s", i ? ", " : "", value[i]);
    }
    dm_text_add(&json, "]", 1);
    r->out.failed |= json.failed || text.failed;
    if (!r->out.failed)
        cli_report_row(r, key, json.data, text.data ? text.data : "none");
    dm_text_free(&json);
    dm_text_free(&text);
}

void cli_report_types(cli_report *r, const char *(*type)(const void *of, size_t i), const void *of, size_t tensors,
                      size_t most, bool count_one)
{
    const char *name[40], *list[40];
    size_t count[40], n = 0;
    char text[40][64];

    for (size_t i = 0; i < tensors; i++) {
        size_t k = 0;
        while (k < n && strcmp(name[k], type(of, i)) != 0)
            k++;
        if (k == most)
            continue;
        if (k == n) {
            name[n] = type(of, i);
            count[n++] = 0;
        }
        count[k]++;
    }
    for (size_t k = 0; k < n; k++) {
        snprintf(text[k], sizeof text[k], "%.32s x %zu", name[k], count[k]);
        list[k] = n == 1 && !count_one ? name[k] : text[k];
    }
    cli_report_list(r, "dtype", list, n);
}

/* JSON as a terminal may get it: DEL and C1, which only strings can hold, as \u00XX. */
static void print_json(const dm_text *t)
{
    for (size_t i = 0; i < t->size; i++) {
        const unsigned char c = (unsigned char)t->data[i], next = (unsigned char)t->data[i + 1];
        if (c == 0x7F)
            printf("\\u007f");
        else if (c == 0xC2 && next >= 0x80 && next < 0xA0)
            printf("\\u%04x", (unsigned)(unsigned char)t->data[++i]);
        else
            putchar(c);
    }
}

dm_status cli_report_print(cli_report *r, dm_error *err)
{
    dm_status s = DM_OK;

    if (r->json)
        dm_text_add(&r->out, "}\n", 2);
    if (r->out.failed)
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the report");
    else if (r->json)
        print_json(&r->out);
    else
        fwrite(r->out.data, 1, r->out.size, stdout); /* main looks at stdout's state */
    dm_text_free(&r->out);
    return s;
}
