/* core/text.h, core/files/path.h and io/json_writer.h: strings that grow, numbers in any locale, paths, JSON out. */
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/path.h"
#include "io/json_writer.h"
#include "tests/support/check.h"

static void number(double x, const char *text)
{
    char buf[DM_DOUBLE_TEXT];
    const char *end;

    dm_double_text(buf, x);
    CK_MSG(strcmp(buf, text) == 0, "%a is written as %s, want %s", x, buf, text);
    if (isfinite(x))
        CK_MSG(dm_double_parse(buf, &end) == x && *end == '\0', "%s reads back", buf);
}

static void check_numbers(void)
{
    const char *const mixed[] = {"1.5,2", "-0.25e3]", "+7", ".5x", "12 ", "1.e2", "."}, *end;
    const double value[] = {1.5, -250, 7, 0.5, 12, 100, 0};
    const size_t used[] = {3, 7, 2, 2, 2, 4, 0};
    char fixed[DM_FIXED_TEXT];

    number(0.1, "0.1");
    number(-1e-300, "-1e-300");
    number(1.0 / 3, "0.3333333333333333");
    number(0x1.fffffffffffffp1023, "1.7976931348623157e+308");
    number(INFINITY, "inf");
    for (size_t i = 0; i < sizeof value / sizeof *value; i++) {
        const double x = dm_double_parse(mixed[i], &end);
        CK_MSG(x == value[i] && end == mixed[i] + used[i], "\"%s\" gives %g and ends at %d", mixed[i], x,
               (int)(end - mixed[i]));
    }
    dm_fixed_text(fixed, 1234.5678, 2);
    CK_MSG(strcmp(fixed, "1234.57") == 0, "fixed: %s", fixed);
}

/* Whichever locale with a decimal comma this machine has. */
static void check_locales(void)
{
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE",
                                        "fr_FR.UTF-8", "fr_FR.utf8", "nl_NL.UTF-8"};
    const char *wanted = getenv("DMPO_COMMA_LOCALE");
    bool found = wanted && setlocale(LC_ALL, wanted);

    check_numbers();
    for (size_t i = 0; !found && i < sizeof names / sizeof *names; i++)
        found = setlocale(LC_ALL, names[i]) != NULL;
    if (!found || strcmp(localeconv()->decimal_point, ",") != 0) {
        ck_skip("no locale with a decimal comma here");
        return;
    }
    check_numbers();
    setlocale(LC_ALL, "C");
}

static void check_writer(void)
{
    dm_text t = {0};
    dm_json_writer w = {.out = &t};

    dm_json_open_object(&w, NULL);
    dm_json_put_int(&w, "step", -12);
    dm_json_put_double(&w, "loss", 0.5);
    dm_json_put_double(&w, "kl", NAN);
    dm_json_new_line(&w);
    dm_json_open_array(&w, "names");
    dm_json_put_string(&w, NULL, "a\"b\n");
    dm_json_put_string(&w, NULL, NULL);
    dm_json_put_bool(&w, NULL, true);
    dm_json_close_value(&w);
    dm_json_open_object(&w, "empty");
    dm_json_close_value(&w);
    dm_json_put_uint(&w, "seed", UINT64_MAX);
    dm_json_put_fixed(&w, "seconds", 1.25, 1);
    dm_json_new_line(&w);
    dm_json_close_value(&w);
    CK_MSG(!t.failed && strcmp(t.data, "{\"step\": -12, \"loss\": 0.5, \"kl\": null,\n"
                                       "  \"names\": [\"a\\\"b\\u000a\", null, true], \"empty\": {}, "
                                       "\"seed\": 18446744073709551615, \"seconds\": 1.2\n}") == 0,
           "writer: %s", t.data ? t.data : "(nothing)");
    CK(w.depth == 0);
    for (int i = 0; i <= DM_JSON_WRITER_DEPTH; i++)
        dm_json_open_array(&w, NULL);
    CK(t.failed);
    dm_text_free(&t);
    CK(t.data == NULL && t.size == 0);
}

static void check_paths(void)
{
    static char name[DM_PATH_MAX + 1];
    dm_error err;
    dm_path p;

    CK(dm_path_in(&p, "a/", "b", &err) == DM_OK && strcmp(p.text, "a/b") == 0);
    CK(dm_path_in(&p, "a", "b", &err) == DM_OK && strcmp(p.text, "a/b") == 0);
    CK(dm_path_print(&p, &err, "%s.%d", "x", 7) == DM_OK && strcmp(p.text, "x.7") == 0);
    memset(name, 'n', DM_PATH_MAX);
    CK(dm_path_print(&p, &err, "%s", name) == DM_ERR_FILE && strstr(err.message, "longer than 4095 bytes"));
    CK(dm_path_in(&p, "d", name, &err) == DM_ERR_FILE && strstr(err.message, "longer than 4095 bytes"));
}

int main(void)
{
    check_locales();
    check_writer();
    check_paths();
    return ck_done("text");
}
