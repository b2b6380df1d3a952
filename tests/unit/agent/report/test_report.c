/* Reports: figures against those of tests/tools/report_golden.py, well-formed pages and charts, escaping, what is left
 * out, what is refused, colours that can be read and told apart. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/report/report.h"
#include "agent/report/report_chart.h"
#include "core/numbers/exact.h"
#include "core/files/file.h"
#include "core/numbers/block.h"
#include "tests/support/check.h"

static char work[64], data[4096];

static dm_block *paths; /* live to the end */

static const char *in(const char *dir, const char *name)
{
    const size_t size = strlen(dir) + strlen(name) + 2;
    char *path = dm_block_alloc(&paths, size);
    snprintf(path, size, "%s/%s", dir, name);
    return path;
}

/* The file's text; "" when there is none. */
static char *text_of(const char *dir, const char *name)
{
    char *text = NULL;
    size_t size;
    dm_error err;
    if (dm_file_read(in(dir, name), (size_t)1 << 28, &text, &size, &err) != DM_OK)
        text = calloc(1, 1);
    return text;
}

static bool has(const char *text, const char *part)
{
    return strstr(text, part) != NULL;
}

/* A directory in `work` with these results; ' stands for ". */
static const char *results(const char *name, const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    const char *dir = in(work, name);
    dm_error err;

    strcpy(copy, text);
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p;
    CK(dm_dir_create(dir, &err) == DM_OK && dm_file_write(in(dir, "results.json"), copy, strlen(copy), &err) == DM_OK);
    free(copy);
    return dir;
}

/* ---- well-formed: a parser of what XML is made of here ---- */

#define DEPTH 64

static size_t name_length(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '-' || p[n] == ':')
        n++;
    return n;
}

/* "&amp;" and the like; returns its length, 0: none. */
static size_t entity_length(const char *p)
{
    static const char *const known[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(p, known[i], strlen(known[i])) == 0)
            return strlen(known[i]);
    return 0;
}

/* NULL when it is well-formed, else where it is not. */
static const char *ill_formed(const char *text)
{
    const char *open[DEPTH], *p = strncmp(text, "<!DOCTYPE html>\n", 16) == 0 ? text + 16 : text;
    size_t sizes[DEPTH], depth = 0, elements = 0;

    while (*p) {
        const unsigned char c = (unsigned char)*p;
        if (c < 0x20 && c != '\n' && c != '\t')
            return p;
        if (*p == '&') {
            if (!entity_length(p))
                return p;
            p += entity_length(p);
        } else if (*p != '<') {
            if (depth == 0 && *p != '\n')
                return p;
            p++;
        } else if (p[1] == '/') {
            const size_t n = name_length(p + 2);
            if (depth == 0 || sizes[depth - 1] != n || strncmp(open[depth - 1], p + 2, n) != 0 || p[2 + n] != '>')
                return p;
            depth--;
            p += n + 3;
        } else {
            const char *tag = p + 1;
            const size_t n = name_length(tag);
            if (n == 0 || depth == DEPTH || (depth == 0 && elements))
                return p;
            for (p = tag + n; *p == ' ';) {
                const size_t key = name_length(p + 1);
                if (key == 0 || p[1 + key] != '=' || p[2 + key] != '"')
                    return p;
                for (p += key + 3; *p && *p != '"'; p += *p == '&' ? entity_length(p) : 1)
                    if (*p == '<' || (*p == '&' && !entity_length(p)))
                        return p;
                p += *p == '"';
            }
            elements++;
            if (*p == '>') {
                open[depth] = tag;
                sizes[depth++] = n;
                p++;
            } else if (*p++ != '/' || *p++ != '>') {
                return p - 1;
            }
        }
    }
    return depth || !elements ? p : NULL;
}

static void well_formed(const char *what, const char *text)
{
    const char *where = ill_formed(text);
    CK_MSG(!where, "%s: at \"%.40s\"", what, where);
}

static void test_checker(void)
{
    CK(!ill_formed("<a>x<b c=\"1&lt;\"/>&amp;</a>\n"));
    CK(ill_formed("") && ill_formed("<a>") && ill_formed("<a></b>") && ill_formed("<a b=1></a>"));
    CK(ill_formed("<a>&</a>") && ill_formed("<a>\x07</a>") && ill_formed("<a b=\"<\"/>") && ill_formed("<a/><b/>"));
}

/* Every var(--x) of the page is one that both themes have. */
static void test_variables(const char *page)
{
    size_t used = 0;

    for (const char *p = page; (p = strstr(p, "var(--")) != NULL; p += 6) {
        bool known = strncmp(p + 6, "w)", 2) == 0; /* of a bar: in its own style */
        for (int i = 0; i < DM_REPORT_COLOURS; i++) {
            const size_t n = strlen(dm_report_colour_names[i]);
            known |= strncmp(p + 6, dm_report_colour_names[i], n) == 0 && p[6 + n] == ')';
        }
        CK_MSG(known, "%.20s", p);
        used++;
    }
    CK(used > 40);
}

/* ---- the golden results ---- */

static void test_lines(const char *report, char *expected)
{
    const char *from = report;

    for (char *line = expected, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        const char *at = strstr(from, line);
        CK_MSG(at && at[strlen(line)] == '\n', "not there, or not in its place: %s", line);
        from = at ? at : from;
    }
}

static void test_golden(void)
{
    const char *out = in(work, "golden");
    dm_error err;

    if (!CK(dm_report_make(data, out, true, true, NULL, &err) == DM_OK)) {
        printf("%s\n", err.message);
        return;
    }
    char *csv = text_of(out, "results.csv"), *wanted = text_of(data, "expected.csv");
    CK(strcmp(csv, wanted) == 0 && *csv);
    free(csv);
    free(wanted);

    char *report = text_of(out, "report.md"), *lines = text_of(data, "expected.md");
    test_lines(report, lines);
    CK(has(report, "# Golden: &lt;b&gt; &amp; \"quotes\" 'here'\n"));
    CK(has(report, "over the 3 seeds") && !has(report, "There is one seed"));
    CK(has(report, "**DMPO** (clean): 0.604 \xC2\xB1"
                   "0.090, +0.312 \xC2\xB1"
                   "0.000 to SFT, +0.146 \xC2\xB1"
                   "0.090 to DPO."));
    CK(has(report, "![Mean reward in toy](charts/reward-toy.svg)") && has(report, "(charts/sweep-toy-gamma.svg)") &&
       has(report, "(charts/turns-toy.svg)") && has(report, "(charts/accuracy-toy.svg)"));
    CK(has(report, "on held-out pairs"));
    CK(has(report,
           "\n  \"name\": \"golden\",\n  \"title\": \"Golden: <b> & \\\"quotes\\\" 'here'\",\n")); /* verbatim */
    CK(has(report, "\ndmpo rollout --env toy --split train --seed 1 --output "
                   "$DIR/stages/toy-explore-s1-111111111111/episodes.jsonl\n"));
    CK(has(report, "--explored $DIR/stages/") && !has(report, "run/stages"));
    CK(has(report, "The last call took 1 h 02 min with 2 threads and 1 stage at once, on avx2."));
    CK(has(report, "| train | 1 | 75.5 | 75.5 |"));
    free(report);
    free(lines);

    char *page = text_of(out, "report.html");
    well_formed("report.html", page);
    test_variables(page);
    CK(has(page, "<title>Golden: &lt;b&gt; &amp; &quot;quotes&quot; &#39;here&#39;</title>"));
    CK(has(page, "&lt;script&gt;alert(1)&lt;/script&gt;\xE2\x90\x87") && !has(page, "<script"));
    CK(!has(page, "src=") && !has(page, "url(") && !has(page, "@import") && !has(page, "<link"));
    CK(has(page, "<th scope=\"row\" class=\"in\">DMPO</th><td class=\"num best\">0.729 <span class=\"half\">\xC2\xB1"
                 "0.179</span></td><td class=\"num best\">41.7</td><td class=\"num up\">+0.312"));
    CK(has(page, "<td class=\"num down\">\xE2\x88\x92"
                 "0.062"));
    CK(has(page, "style=\"--w:42.9%\">0.429</td><td class=\"num d6\">+0.50</td><td class=\"num\">0.50</td>"));
    /* the scale: nine tenths of the turns are within +-1.0 */
    CK(has(page, "<span class=\"d4\">\xE2\x88\x92"
                 "0.1 to +0.1</span>") &&
       has(page, "<span class=\"d8\">above +0.8</span>"));
    CK(has(page, "<td class=\"num d0\">\xE2\x88\x92"
                 "3.00</td>"));
    free(page);

    static const char *const charts[] = {"reward-toy", "sweep-toy-gamma", "turns-toy",
                                         "loss-toy",   "accuracy-toy",    "margin-toy"};
    for (size_t i = 0; i < sizeof charts / sizeof *charts; i++) {
        char name[64];
        snprintf(name, sizeof name, "charts/%s.svg", charts[i]);
        char *chart = text_of(out, name);
        well_formed(name, chart);
        CK_MSG(has(chart, "prefers-color-scheme: dark") && !has(chart, "var(") && !has(chart, "nan"), "%s", name);
        free(chart);
    }
    char *chart = text_of(out, "charts/reward-toy.svg");
    CK(has(chart, ">0.729</text>") && has(chart, "DMPO, unseen: 0.604."));
    free(chart);
}

/* ---- one seed, nothing else ---- */

#define SUBJECT(method, kind) "{'env': 'e', 'setting': null, 'method': '" method "', 'kind': '" kind "', 'seed': 1, "
#define EVALUATION(method, kind, rewards)                                                                              \
    SUBJECT(method, kind)                                                                                              \
    "'x': null, 'split': 'unseen', 'samples': 1, 'rewards': " rewards ", 'success': 0.25, 'turns': 3, "                \
    "'reward_by_turn': [0, 0.5]}"

static void test_one_seed(void)
{
    const char *dir =
        results("one", "{'name': 'one', 'evaluations': [" EVALUATION("SFT", "sft", "[0, 0.5, 1, 0.5]") ", " EVALUATION(
                           "dpo", "preference", "[0.5, 0.5, 1, 1]") "]}");
    dm_error err;

    CK(dm_report_make(dir, NULL, false, true, NULL, &err) == DM_OK);
    char *report = text_of(dir, "report.md"), *page = text_of(dir, "report.html");
    CK(has(report, "# one\n") && has(report, "There is one seed: intervals are"));
    /* Student's t for 3 degrees of freedom is 3.18245; the deviations are 0.408248 and 0.288675 */
    CK(has(report, "| SFT | 0.500 \xC2\xB1"
                   "0.650 | 25.0 |  | \xE2\x88\x92"
                   "0.250 \xC2\xB1"
                   "0.459 |\n"));
    CK(has(report, "| dpo | **0.750 \xC2\xB1"
                   "0.459** | 25.0 | +0.250 \xC2\xB1"
                   "0.459 |  |\n"));
    well_formed("one seed", page);
    static const char *const left_out[] = {"Sweeps", "Training", "Pairs", "Examples", "charts/", "The recipe"};
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        CK_MSG(!has(report, left_out[i]), "%s", left_out[i]);
    CK(!dm_dir_exists(in(dir, "charts")));
    free(report);
    free(page);

    dir = results("equal", "{'name': 'n', 'evaluations': [" EVALUATION("a", "sft", "[0, 0.5]") ", " EVALUATION(
                               "b", "preference", "[0.5, 0]") "]}");
    CK(dm_report_make(dir, NULL, false, true, NULL, &err) == DM_OK);
    report = text_of(dir, "report.md"); /* none is the best of equals */
    CK(has(report, "| b | 0.250 ") && !has(report, "**0.250") && !has(report, "The highest mean"));
    free(report);

    dir = results("empty", "{'name': 'empty'}"); /* every stage failed */
    CK(dm_report_make(dir, NULL, true, true, NULL, &err) == DM_OK);
    page = text_of(dir, "report.html");
    well_formed("no results", page);
    free(page);
}

/* ---- names that are markup ---- */

static void test_escaping(void)
{
    const char *dir = results(
        "escape",
        "{'name': 'n', 'title': 'a </title> b', 'recipe': {'note': 'x ```````````````````` {</pre>} \\' \xC2\x85y'},\n'evaluations': "
        "[{'env': '<i>&|*', 'setting': '`s`', 'method': '_m|\\u0001\\n\\u0085 $x$', 'kind': 'preference', "
        "'seed': 1, 'x': {'k<': true}, 'split': 'seen', 'rewards': [1, 0], 'success': 0.5, 'turns': 1, "
        "'reward_by_turn': [0, 0.5]}]}");
    dm_error err;

    CK(dm_report_make(dir, NULL, true, true, NULL, &err) == DM_OK);
    char *report = text_of(dir, "report.md"), *page = text_of(dir, "report.html"), *csv = text_of(dir, "results.csv"),
         *chart = text_of(dir, "charts/sweep-i-k.svg");
    well_formed("escaped page", page);
    well_formed("escaped chart", chart);
    CK(has(report, "### &lt;i&gt;&amp;\\|\\*\n") && has(report, "\\`s\\`") && has(report, "\\_m\\|\xE2\x90\x81 "));
    CK(has(report, "\xEF\xBF\xBD \\$x\\$"));
    CK(has(
        report,
        "\n`````````````````````json\n{\"note\": \"x ```````````````````` {</pre>} \\\" \xEF\xBF\xBDy\"}\n`````````````````````\n"));
    CK(has(page, "<h3>&lt;i&gt;&amp;|*</h3>") && has(page, "a &lt;/title&gt; b"));
    CK(has(csv, "\n<i>&|*,`s`,\"_m|\x01\n\xC2\x85 $x$\",preference,k<,on,1,seen,1,2,0.500000,0.707107,"));
    free(report);
    free(page);
    free(csv);
    free(chart);
}

/* ---- refused ---- */

static void refused(const char *text, const char *message)
{
    const char *dir = results("bad", text), *out = in(work, "none");
    dm_error err = {0};

    CK_MSG(dm_report_make(dir, out, true, true, NULL, &err) != DM_OK && strstr(err.message, message), "%s: %s", text,
           err.message);
    CK_MSG(!dm_dir_exists(out), "%s", text);
}

static void test_refused(void)
{
    const char *file = in(work, "file");
    dm_error err = {0};

    refused("", "results.json:1:1");
    refused("[]", "results.json:1:1: results must be an object, as dmpo experiment writes it");
    refused("{}", "results.json:1:1: \"name\" is missing");
    refused("{'name': 3}", "results.json:1:10: \"name\" must be a string");
    refused("{'name': 'n', 'recipe': []}", "\"recipe\" must be an object");
    refused("{'name': 'n',\n'evaluations': {}}", "results.json:2:16: \"evaluations\" must be a list");
    refused("{'name': 'n', 'evaluations': [1]}", "1:31: a row must be an object");
    refused("{'name': 'n', 'evaluations': [{'method': 'm'}]}", "\"env\" is missing");
    refused("{'name': 'n', 'evaluations': [" SUBJECT("m", "sft") "'x': {}}]}", "\"x\" must be null or an object");
    refused("{'name': 'n', 'evaluations': [" SUBJECT("m", "sft") "'x': {'a': []}}]}", "a value must be a number");
    refused("{'name': 'n', 'evaluations': [" EVALUATION("m", "sft", "[]") "]}", "\"rewards\" must be a list");
    refused("{'name': 'n', 'evaluations': [" EVALUATION("m", "sft", "['1']") "]}", "\"rewards\" must hold numbers");
    refused("{'name': 'n', 'evaluations': [" EVALUATION("m", "sft", "[1e300]") "]}", "\"rewards\" must hold numbers");
    refused("{'name': 'n', 'evaluations': [" SUBJECT("m", "sft") "'x': null, 'split': 'test', 'rewards': [1], "
                                                                 "'success': 1, 'turns': 1, 'reward_by_turn': [0]}]}",
            "\"split\" must be train, seen or unseen");
    refused("{'name': 'n', 'trainings': [" SUBJECT("m", "sft") "'stage': 's', 'metrics': 7}]}", "\"metrics\" must be");
    refused("{'name': 'n', 'stages': [{'name': 's'}]}", "\"key\" is missing");
    refused("{'name': 'n'} x", "results.json:1:");

    CK(dm_report_make(in(work, "nowhere"), NULL, false, true, NULL, &err) == DM_ERR_FILE);
    CK(dm_report_make(in(work, "golden"), NULL, false, true, NULL, &err) == DM_ERR_FILE &&
       has(err.message, "results.json: no such file; dmpo experiment RECIPE --output "));
    CK(dm_file_write(file, "x", 1, &err) == DM_OK);
    CK(dm_report_make(data, file, false, true, NULL, &err) == DM_ERR_FILE && has(err.message, "file"));
}

/* A file that results name is broken: that file is blamed. One that is gone is left out. */
static void test_files(void)
{
    const char *dir = results("files", "{'name': 'n', 'trainings': [" SUBJECT(
                                           "m", "sft") "'x': null, 'stage': 's', 'metrics': 'stages/a/metrics.jsonl', "
                                                       "'weights_sha256': null, 'seconds': 1}]}"),
               *stage = in(work, "files/stages/a");
    dm_error err = {0};

    CK(dm_report_make(dir, NULL, false, true, NULL, &err) == DM_OK);
    CK(dm_dir_create(stage, &err) == DM_OK);
    CK(dm_file_write(in(stage, "metrics.jsonl"), "{}\n{\"kind\"\n", 11, &err) == DM_OK);
    CK(dm_report_make(dir, NULL, false, true, NULL, &err) == DM_ERR_INPUT &&
       has(err.message, "stages/a/metrics.jsonl:2:"));
    static const char odd[] = "{}\n[]\n3\n{\"kind\": \"train\", \"loss\": 1e300, \"epoch\": 1}\n";
    CK(dm_file_write(in(stage, "metrics.jsonl"), odd, sizeof odd - 1, &err) == DM_OK);
    CK(dm_report_make(dir, NULL, true, true, NULL, &err) == DM_OK);
    char *chart = text_of(dir, "charts/loss-e.svg");
    well_formed("a huge loss", chart);
    CK(!has(chart, "nan") && !has(chart, "inf"));
    free(chart);
}

/* ---- colours ---- */

static void linear(const char *hex, double out[3])
{
    unsigned r = 0, g = 0, b = 0;
    CK(sscanf(hex, "#%2x%2x%2x", &r, &g, &b) == 3);
    const unsigned rgb[3] = {r, g, b};
    for (int i = 0; i < 3; i++) {
        const double v = rgb[i] / 255.0;
        out[i] = v <= 0.04045 ? v / 12.92 : dm_pow((v + 0.055) / 1.055, 2.4);
    }
}

static double luminance(const char *hex)
{
    double c[3];
    linear(hex, c);
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
}

static double contrast(const char *a, const char *b)
{
    const double x = luminance(a) + 0.05, y = luminance(b) + 0.05;
    return x > y ? x / y : y / x;
}

/* How far two colours are apart (CIE L*a*b*) for eyes without red or green cones (Vienot, Brettel and Mollon 1999). */
static double cube_root(double x)
{
    return x > 0.008856 ? dm_pow(x, 1.0 / 3) : 7.787 * x + 16.0 / 116;
}

static void seen(const char *hex, int eye, double lab[3])
{
    static const double eyes[3][3][3] = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
                                         {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
                                         {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}}};
    double c[3], v[3];
    linear(hex, c);
    for (int i = 0; i < 3; i++) {
        v[i] = eyes[eye][i][0] * c[0] + eyes[eye][i][1] * c[1] + eyes[eye][i][2] * c[2];
        v[i] = v[i] < 0 ? 0 : v[i];
    }
    const double x = cube_root((0.4124 * v[0] + 0.3576 * v[1] + 0.1805 * v[2]) / 0.9505),
                 y = cube_root(0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]),
                 z = cube_root((0.0193 * v[0] + 0.1192 * v[1] + 0.9505 * v[2]) / 1.089);
    lab[0] = 116 * y - 16;
    lab[1] = 500 * (x - y);
    lab[2] = 200 * (y - z);
}

static double apart(const char *a, const char *b, int eye)
{
    double x[3], y[3], sum = 0;
    seen(a, eye, x);
    seen(b, eye, y);
    for (int i = 0; i < 3; i++)
        sum += (x[i] - y[i]) * (x[i] - y[i]);
    return sqrt(sum);
}

static void test_colours(void)
{
    const char *const *theme[2] = {dm_report_light, dm_report_dark};
    enum { GROUND, TEXT, QUIET, GRID, AXIS, TABLE, SERIES };

    for (int t = 0; t < 2; t++) {
        const char *const *c = theme[t];
        for (int i = 0; i < DM_REPORT_COLOURS; i++)
            if (i == TEXT || i == QUIET || (i >= SERIES && i < SERIES + DM_REPORT_SERIES_COLOURS))
                CK_MSG(contrast(c[i], c[GROUND]) >= 4.5, "%s on %s: %.2f", c[i], c[GROUND], contrast(c[i], c[GROUND]));
        CK(contrast(c[TEXT], c[TABLE]) >= 4.5 && contrast(c[AXIS], c[GROUND]) >= 3);
        for (int i = SERIES + DM_REPORT_SERIES_COLOURS; i < DM_REPORT_COLOURS; i++)
            CK_MSG(contrast(c[TEXT], c[i]) >= 4.5, "text on %s: %.2f", c[i], contrast(c[TEXT], c[i]));
        for (int eye = 0; eye < 3; eye++) {
            for (int i = SERIES + 1; i < SERIES + 4; i++) /* SFT, DPO, DMPO: in every chart */
                for (int k = i + 1; k < SERIES + 4; k++)
                    CK_MSG(apart(c[i], c[k], eye) >= 25, "%s and %s, eye %d: %.1f", c[i], c[k], eye,
                           apart(c[i], c[k], eye));
            const char *const *d = c + SERIES + DM_REPORT_SERIES_COLOURS; /* worse and better, step by step */
            for (int i = 0; i < 4; i++)
                CK_MSG(apart(d[i], d[8 - i], eye) >= 10, "%s and %s, eye %d: %.1f", d[i], d[8 - i], eye,
                       apart(d[i], d[8 - i], eye));
        }
    }
}

int main(void)
{
    const char *source = getenv("SRC");

    snprintf(data, sizeof data, "%s/tests/data/report", source ? source : ".");
    snprintf(work, sizeof work, "%s", "/tmp/dmpo-test-report.XXXXXX");
    if (!mkdtemp(work))
        return 1;
    test_checker();
    test_golden();
    test_one_seed();
    test_escaping();
    test_refused();
    test_files();
    test_colours();
    dm_dir_remove(work, NULL);
    dm_block_free(&paths);
    return ck_done("report");
}
