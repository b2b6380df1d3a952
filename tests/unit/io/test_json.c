/* JSON: what must be read and what must be refused (cases after RFC 8259), with line and column. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "core/system.h"
#include "io/json.h"
#include "tests/support/check.h"

static dm_status parse(dm_json_doc **doc, const char *text, dm_error *err)
{
    return dm_json_parse(doc, text, strlen(text), "t.json", err);
}

static void check_accepted(void)
{
    static const char *const good[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "12",
        "-1.5e+3",
        "1e-400",
        "\"\"",
        "[]",
        "{}",
        " \t\r\n[ 1 , 2 ]\n",
        "{\"a\":{\"b\":[{}]},\"\":0}",
        "\"\\ud83d\\ude00\"",
        "\"\xF4\x8F\xBF\xBF\"",
        "\"\x7F\"",
        "[\"a\\u0000b\"]",
        "{\"a\":1,\"A\":2}",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        dm_json_doc *doc;
        dm_error err = {0};
        CK_MSG(parse(&doc, good[i], &err) == DM_OK, "refused %s: %s", good[i], err.message);
        dm_json_close(&doc);
    }
}

static void check_refused(void)
{
    static const struct {
        const char *text, *message; /* the message's beginning */
    } bad[] = {
        {"", "t.json:1:1: expected a value, found the end of the file"},
        {" \n ", "t.json:2:2: expected a value"},
        {"[1,]", "t.json:1:4: expected a value, found ']' in the array that begins at line 1, column 1"},
        {"[,1]", "t.json:1:2: expected a value, found ','"},
        {"[1 2]", "t.json:1:4: expected ',' or ']', found '2'"},
        {"[1", "t.json:1:3: expected ',' or ']', found the end of the file"},
        {"{\"a\":1,}", "t.json:1:8: expected a key in quotes, found '}'"},
        {"{a:1}", "t.json:1:2: expected a key in quotes or '}', found 'a'"},
        {"{\"a\" 1}", "t.json:1:6: expected ':' after the key, found '1'"},
        {"{\"a\":}", "t.json:1:6: expected a value, found '}'"},
        {"{\"a\":1]", "t.json:1:7: expected ',' or '}', found ']'"},
        {"[1] x", "t.json:1:5: expected nothing more after the value, found 'x'"},
        {"[1]\n\n]", "t.json:3:1: expected nothing more"},
        {"01", "t.json:1:1: a number must not begin with 0"},
        {"-01", "t.json:1:1: a number must not begin with 0"},
        {"-", "t.json:1:1: '-' must be followed by a digit"},
        {"+1", "t.json:1:1: expected a value, found '+'"},
        {".5", "t.json:1:1: expected a value, found '.'"},
        {"1.", "t.json:1:1: the decimal point must be followed by a digit"},
        {"1e", "t.json:1:1: the exponent must have a digit"},
        {"1e+", "t.json:1:1: the exponent must have a digit"},
        {"0x10", "t.json:1:2: expected nothing more"},
        {"1e999", "t.json:1:1: the number does not fit a double"},
        {"[NaN]", "t.json:1:2: expected a value, found 'N'"},
        {"[Infinity]", "t.json:1:2: expected a value"},
        {"[nan]", "t.json:1:2: expected a value: only true, false and null"},
        {"tru", "t.json:1:1: expected a value: only true"},
        {"truex", "t.json:1:5: expected nothing more"},
        {"// c\n1", "t.json:1:1: expected a value, found '/'"},
        {"'a'", "t.json:1:1: expected a value"},
        {"\"a", "t.json:1:1: the string is not closed before the end of the file"},
        {"[\n \"a\n\"]", "t.json:2:4: the line ends inside a string"},
        {"\"a\tb\"", "t.json:1:3: control character in a string"},
        {"\"\\x41\"", "t.json:1:2: unknown escape"},
        {"\"\\", "t.json:1:2: the text ends inside an escape"},
        {"\"\\u12g4\"", "t.json:1:2: \\u needs four hexadecimal digits"},
        {"\"\\ud800\"", "t.json:1:2: lone high surrogate"},
        {"\"\\ud800\\u0041\"", "t.json:1:2: lone high surrogate"},
        {"\"\\udc00\"", "t.json:1:2: lone low surrogate"},
        {"\"\xC0\x80\"", "t.json:1:2: invalid UTF-8"},         /* overlong */
        {"\"\xE0\x9F\xBF\"", "t.json:1:2: invalid UTF-8"},     /* overlong */
        {"\"\xF0\x8F\xBF\xBF\"", "t.json:1:2: invalid UTF-8"}, /* overlong */
        {"\"\xED\xA0\x80\"", "t.json:1:2: invalid UTF-8"},     /* surrogate */
        {"\"\xF4\x90\x80\x80\"", "t.json:1:2: invalid UTF-8"}, /* over U+10FFFF */
        {"\"a\x80\"", "t.json:1:3: invalid UTF-8"},
        {"\"\xE2\x82\"", "t.json:1:2: invalid UTF-8"},
        {"\xEF\xBB\xBF{}", "t.json:1:1: a byte order mark"},
        {"{\"a\":1,\n \"a\":2}", "t.json:2:6: duplicate key \"a\""},
        {"{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1,\"g\":1,\"h\":1,\"i\":1,\"j\":1,\n\"\\u0063\":2}",
         "t.json:2:10: duplicate key \"c\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dm_json_doc *doc;
        dm_error err = {0};
        CK_MSG(parse(&doc, bad[i].text, &err) == DM_ERR_INPUT, "accepted %s", bad[i].text);
        CK_MSG(strncmp(err.message, bad[i].message, strlen(bad[i].message)) == 0, "%s\n  instead of %s", err.message,
               bad[i].message);
        CK(doc == NULL);
    }

    dm_json_doc *doc;
    dm_error err;
    CK(dm_json_parse(&doc, "[1\0]", 4, "t.json", &err) == DM_ERR_INPUT);
    CK_MSG(strstr(err.message, "1:3: expected ',' or ']', found byte 0x00") != NULL, "%s", err.message);

    char deep[2 * DM_JSON_DEPTH + 3];
    for (size_t depth = DM_JSON_DEPTH; depth <= DM_JSON_DEPTH + 1; depth++) {
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        CK(dm_json_parse(&doc, deep, 2 * depth, "t", &err) == (depth > DM_JSON_DEPTH ? DM_ERR_INPUT : DM_OK));
        dm_json_close(&doc);
    }
}

static void check_values(void)
{
    dm_json_doc *doc;
    dm_error err = {0};

    CK(parse(&doc,
             "{\"s\": \"a\\n\\\"\\u00e9\\ud83d\\ude00\\/z\", \"max\": 9223372036854775807, \"min\": "
             "-9223372036854775808,\n"
             "  \"big\": 9223372036854775808, \"third\": 0.3333333333333333, \"e\": 1e2, \"neg0\": -0, \"tiny\": "
             "5e-324,\n"
             "  \"list\": [true, null, {\"k\": []}], \"nul\": \"a\\u0000b\"}",
             &err) == DM_OK);
    const dm_json *r = dm_json_root(doc);
    CK(r && r->type == DM_JSON_OBJECT && r->length == 10);
    CK(dm_json_is(dm_json_get(r, "s"), "a\n\"\xC3\xA9\xF0\x9F\x98\x80/z"));
    CK(dm_json_get(r, "max")->is_integer && dm_json_get(r, "max")->integer == INT64_MAX);
    CK(dm_json_get(r, "min")->is_integer && dm_json_get(r, "min")->integer == INT64_MIN);
    CK(dm_json_get(r, "min")->number == -9223372036854775808.0);
    CK(!dm_json_get(r, "big")->is_integer && dm_json_get(r, "big")->number == 9223372036854775808.0);
    CK(dm_json_get(r, "third")->number == 1.0 / 3.0 && !dm_json_get(r, "third")->is_integer);
    CK(dm_json_get(r, "e")->number == 100.0 && !dm_json_get(r, "e")->is_integer);
    CK(signbit(dm_json_get(r, "neg0")->number) && dm_json_get(r, "neg0")->is_integer);
    CK(dm_json_get(r, "tiny")->number == 4.9406564584124654e-324);
    CK(dm_json_get(r, "nul")->length == 3 && memcmp(dm_json_get(r, "nul")->text, "a\0b", 4) == 0);
    CK(dm_json_get(r, "absent") == NULL && dm_json_get(dm_json_get(r, "s"), "x") == NULL &&
       dm_json_get(NULL, "x") == NULL);

    const dm_json *list = dm_json_get(r, "list");
    CK(list->length == 3 && list->line == 3 && list->column == 11 && list->child->boolean && list->child->key == NULL);
    CK(list->child->next->type == DM_JSON_NULL && list->child->next->next->next == NULL);
    CK(dm_json_get(list->child->next->next, "k")->length == 0 && strcmp(list->next->key, "nul") == 0);
    dm_json_close(&doc);
    CK(doc == NULL);
    dm_json_close(&doc);
    dm_json_close(NULL);
}

static void check_typed(void)
{
    dm_json_doc *doc;
    dm_error err = {0};
    const int64_t five = 5;
    const double half = 0.5;
    const bool yes = true;
    int64_t i = 0;
    double d = 0;
    bool b = false;

    CK(parse(&doc, "{\"n\": 7, \"x\": 1.5, \"t\": false, \"s\": \"abc\", \"z\": null}", &err) == DM_OK);
    const dm_json *r = dm_json_root(doc);
    CK(dm_json_get_int(doc, r, "n", 1, 7, NULL, &i, &err) == DM_OK && i == 7);
    CK(dm_json_get_int(doc, r, "none", 1, 7, &five, &i, &err) == DM_OK && i == 5);
    CK(dm_json_get_int(doc, r, "z", 1, 7, &five, &i, &err) == DM_OK && i == 5);
    CK(dm_json_get_double(doc, r, "n", 0, 10, NULL, &d, &err) == DM_OK && d == 7);
    CK(dm_json_get_double(doc, r, "none", 0, 10, &half, &d, &err) == DM_OK && d == 0.5);
    CK(dm_json_get_bool(doc, r, "t", &yes, &b, &err) == DM_OK && !b);
    CK(dm_json_get_bool(doc, r, "none", &yes, &b, &err) == DM_OK && b);

#define REFUSED(call, text)                                                                                            \
    do {                                                                                                               \
        CK((call) == DM_ERR_INPUT);                                                                                    \
        CK_MSG(strcmp(err.message, text) == 0, "%s\n  instead of %s", err.message, text);                              \
    } while (0)
    REFUSED(dm_json_get_int(doc, r, "n", 1, 6, NULL, &i, &err),
            "t.json:1:7: \"n\" is 7, must be an integer from 1 to 6");
    REFUSED(dm_json_get_int(doc, r, "x", 1, INT64_MAX, NULL, &i, &err),
            "t.json:1:15: \"x\" is 1.5, must be an integer, at least 1");
    REFUSED(dm_json_get_int(doc, r, "none", 1, 6, NULL, &i, &err),
            "t.json:1:1: \"none\" is missing: must be an integer from 1 to 6");
    REFUSED(dm_json_get_int(doc, r, "z", 1, 6, NULL, &i, &err),
            "t.json:1:49: \"z\" is null, must be an integer from 1 to 6");
    REFUSED(dm_json_get_double(doc, r, "x", 0, 1, &half, &d, &err),
            "t.json:1:15: \"x\" is 1.5, must be a number from 0 to 1");
    REFUSED(dm_json_get_double(doc, r, "s", -INFINITY, INFINITY, NULL, &d, &err),
            "t.json:1:37: \"s\" is the string \"abc\", must be a number");
    REFUSED(dm_json_get_bool(doc, r, "n", NULL, &b, &err), "t.json:1:7: \"n\" is 7, must be true or false");
    REFUSED(dm_json_fail(doc, NULL, &err, "x%d", 1), "t.json: x1");
    dm_json_close(&doc);
}

static void check_lines(void)
{
    dm_json_doc *doc;
    dm_error err = {0};
    const char *text = "\n{\"a\": 1}\r\n\n  [2]\n\"x\"";

    CK(dm_json_parse_lines(&doc, text, strlen(text), "t.jsonl", &err) == DM_OK);
    const dm_json *r = dm_json_root(doc);
    CK(r->type == DM_JSON_ARRAY && r->length == 3 && r->child->line == 2 && r->child->next->line == 4);
    CK(r->child->next->column == 3 && r->child->next->next->line == 5 && r->child->next->next->next == NULL);
    dm_json_close(&doc);

    text = "{\"a\": 1}\n{\"a\":\n1}";
    CK(dm_json_parse_lines(&doc, text, strlen(text), "t.jsonl", &err) == DM_ERR_INPUT);
    CK_MSG(strcmp(err.message, "t.jsonl:2:6: expected a value, found the end of the line in the object that begins at "
                               "line 2, column 1") == 0,
           "%s", err.message);
    text = "1 2";
    CK(dm_json_parse_lines(&doc, text, strlen(text), "t.jsonl", &err) == DM_ERR_INPUT);

    static const struct {
        const char *text;
        dm_json_type type;
        size_t length;
    } any[] = {
        {"[\n1,\n2]", DM_JSON_ARRAY, 2},
        {"{\n\"a\":\n1}\n", DM_JSON_OBJECT, 1},
        {"{\"a\":1}\n{\"a\":2}\n\n{}", DM_JSON_ARRAY, 3},
        {"{\"a\":1}", DM_JSON_OBJECT, 1},
        {"{\"a\":1}\n{", DM_JSON_NULL, 0},
        {"{\"a\":1} {}", DM_JSON_NULL, 0},
        {"{\n\"a\":1}\n{}", DM_JSON_NULL, 0},
        {"[1]\n[2]", DM_JSON_NULL, 0},
        {"", DM_JSON_NULL, 0},
    };
    char path[64];
    snprintf(path, sizeof path, "/tmp/dm-test-json-%ld", (long)getpid());
    for (size_t i = 0; i < sizeof any / sizeof *any; i++) {
        CK(dm_file_write(path, any[i].text, strlen(any[i].text), &err) == DM_OK);
        const dm_status st = dm_json_read_any(&doc, path, &err);
        if (any[i].type == DM_JSON_NULL) {
            CK_MSG(st == DM_ERR_INPUT, "accepted %s", any[i].text);
        } else {
            CK_MSG(st == DM_OK && dm_json_root(doc)->type == any[i].type && dm_json_root(doc)->length == any[i].length,
                   "%s: %s", any[i].text, err.message);
        }
        dm_json_close(&doc);
    }
    unlink(path);
    CK(dm_json_read(&doc, path, &err) == DM_ERR_FILE && strstr(err.message, path) && !doc);
    CK(dm_json_read(&doc, "/tmp", &err) == DM_ERR_FILE && strstr(err.message, "not a regular file"));
}

/* A file cut off anywhere is an error with line and column. */
static void check_cut(void)
{
    const char *text = "{\"a\": [1, -2.5e3, true, false, null],\n \"b\": {\"\\u00e9\\ud83d\\ude00\": "
                       "\"\xE2\x82\xAC\\n\"},\n \"c\": \"\"}";

    for (size_t n = 0; n < strlen(text); n++) {
        dm_json_doc *doc;
        dm_error err = {0};
        unsigned line = 0, column = 0;
        CK_MSG(dm_json_parse(&doc, text, n, "cut", &err) == DM_ERR_INPUT, "accepted a cut at %zu", n);
        CK_MSG(sscanf(err.message, "cut:%u:%u: ", &line, &column) == 2 && line >= 1 && line <= 3 && column >= 1 &&
                   column <= n + 1,
               "cut at %zu: %s", n, err.message);
    }
}

/* Many keys: duplicate detection must not be quadratic, and memory must be given back. */
static void check_many_keys(void)
{
    dm_text t = {0};
    const size_t keys = 200000;

    dm_text_add(&t, "{", 1);
    for (size_t i = 0; i < keys; i++)
        dm_text_print(&t, "%s\"key%zu\":%zu", i ? "," : "", i, i);
    const size_t body = t.size;
    dm_text_add(&t, "}", 1);
    CK(!t.failed);

    dm_json_doc *doc;
    dm_error err = {0};
    const size_t before = dm_rss_now();
    CK(dm_json_parse(&doc, t.data, t.size, "t", &err) == DM_OK && dm_json_root(doc)->length == keys);
    CK(dm_json_get(dm_json_root(doc), "key199999")->integer == 199999);
    dm_json_close(&doc);
    const size_t after = dm_rss_now();
    CK_MSG(after < before + ((size_t)1 << 20), "resident %zu before, %zu after", before, after);

    t.size = body;
    dm_text_print(&t, ",\n\"key77777\":0}");
    CK(dm_json_parse(&doc, t.data, t.size, "t", &err) == DM_ERR_INPUT);
    CK_MSG(strcmp(err.message, "t:2:12: duplicate key \"key77777\"") == 0, "%s", err.message);
    dm_text_free(&t);
}

static void check_writing(void)
{
    static const struct {
        double x;
        const char *text;
    } numbers[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {1e300, "1e+300"},
        {1e-6, "1e-06"},
        {0.1 + 0.2, "0.30000000000000004"},
        {5e-324, "4.94065645841247e-324"},
        {123456789012345678.0, "1.2345678901234568e+17"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
        {NAN, "null"},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        dm_text t = {0};
        dm_text_json_double(&t, numbers[i].x);
        CK_MSG(strcmp(t.data, numbers[i].text) == 0, "%s instead of %s", t.data, numbers[i].text);
        dm_text_free(&t);
    }

    dm_text t = {0};
    dm_text_json_string(&t, "a\"\\\n\x01\0\xC3\xA9\xFF z", 11);
    CK_MSG(strcmp(t.data, "\"a\\\"\\\\\\u000a\\u0001\\u0000\xC3\xA9\xEF\xBF\xBD z\"") == 0, "%s", t.data);
    dm_text_free(&t);
    dm_text_json_string(&t, "", 0);
    CK(strcmp(t.data, "\"\"") == 0);
    dm_text_free(&t);

    /* Numbers written and read again keep every bit. */
    uint64_t state = 1;
    for (int i = 0; i < 20000; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double x, y;
        memcpy(&x, &state, sizeof x);
        if (!isfinite(x))
            continue;
        dm_json_doc *doc;
        dm_error err;
        dm_text_json_double(&t, x);
        CK(dm_json_parse(&doc, t.data, t.size, "t", &err) == DM_OK);
        y = doc ? dm_json_root(doc)->number : 0;
        CK_MSG(memcmp(&x, &y, sizeof x) == 0, "%s", t.data);
        dm_json_close(&doc);
        dm_text_free(&t);
    }
}

/* With a decimal comma in the locale, where the machine has such a locale. */
static void check_locale(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "ru_RU.UTF-8", "de_DE"};
    bool set = false;

    for (size_t i = 0; i < sizeof names / sizeof *names && !set; i++)
        set = setlocale(LC_NUMERIC, names[i]) != NULL && strcmp(localeconv()->decimal_point, ",") == 0;
    dm_json_doc *doc;
    dm_error err = {0};
    CK(parse(&doc, "[1.5, -2.25e-3]", &err) == DM_OK);
    CK(dm_json_root(doc)->child->number == 1.5 && dm_json_root(doc)->child->next->number == -0.00225);
    dm_json_close(&doc);
    dm_text t = {0};
    dm_text_json_double(&t, 0.1);
    CK(strcmp(t.data, "0.1") == 0);
    dm_text_free(&t);
    setlocale(LC_NUMERIC, "C");
}

int main(void)
{
    check_accepted();
    check_refused();
    check_values();
    check_typed();
    check_lines();
    check_cut();
    check_many_keys();
    check_writing();
    check_locale();
    return ck_done("json");
}
