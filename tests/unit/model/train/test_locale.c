/* A host program's locale with a decimal comma changes nothing: numbers as text and back, options, training, resuming,
 * and the run's identity are those of the C locale. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/text.h"
#include "dmpo.h"
#include "io/json.h"
#include "tests/support/check.h"
#include "tests/support/train_tool.h"

/* Whether numbers have a comma now. The locale is made here: few machines have one installed. */
static bool use_comma(void)
{
    static const char source[] = "LC_NUMERIC\ndecimal_point \",\"\nthousands_sep \".\"\ngrouping 3;3\nEND LC_NUMERIC\n";
    char command[3 * PATH];

    if (dm_file_write(at("comma.source"), source, sizeof source - 1, NULL) != DM_OK)
        return false;
    snprintf(command, sizeof command, "localedef -c -i '%s' '%s/comma' >'%s' 2>&1", at("comma.source"), at("."),
             at("localedef.log"));
    const int status = system(command); /* it warns about the categories that are left out */
    (void)status;
    return setenv("LOCPATH", at("."), 1) == 0 && setlocale(LC_ALL, "") && setlocale(LC_NUMERIC, "comma") &&
           strcmp(localeconv()->decimal_point, ",") == 0;
}

static dm_train_options options(const char *output, dm_objective_kind objective)
{
    dm_train_options o;
    dm_train_defaults(&o, objective);
    o.model = at("model");
    o.data = at("pairs.jsonl");
    o.eval_data = at("pairs.jsonl");
    o.output = output;
    o.lr = 1.5e-2;
    o.beta = 0.3;
    o.batch = 2;
    o.steps = 4;
    return o;
}

static int stop_after_second(void *context, const dmpo_event *event)
{
    (void)context;
    return event->kind == DMPO_EVENT_STEP && event->done == 2;
}

static void identity(char out[65], const char *state)
{
    char *text = slurp(state);
    const char *found = text ? strstr(text, "\"identity\": \"") : NULL;

    snprintf(out, 65, "%.64s", found ? found + 13 : "");
    CK_MSG(strlen(out) == 64, "%s has no identity", state);
    free(text);
}

static void check_numbers(void)
{
    static const double values[] = {0.1, 1.5, -2.5e-300, 1e300, 3, 0.3333333333333333};
    dmpo_train_options *o = NULL;
    dm_json_doc *doc = NULL;

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[DM_DOUBLE_TEXT], hex[DM_DOUBLE_TEXT];
        const char *end;
        dm_double_text(text, values[i]);
        dm_double_hex(hex, values[i]);
        CK_MSG(!strchr(text, ',') && !strchr(hex, ','), "%s %s", text, hex);
        CK(dm_double_parse(text, &end) == values[i] && !*end);
    }
    CK(dm_json_parse(&doc, "[0.25]", 6, "x", NULL) == DM_OK && dm_json_root(doc)->child->number == 0.25);
    dm_json_close(&doc);
    CK(dmpo_train_options_open(&o, NULL) == DMPO_OK);
    CK(dmpo_train_options_set(o, "beta", "0.25", NULL) == DMPO_OK &&
       strcmp(dmpo_train_options_get(o, "beta"), "0.25") == 0);
    CK(dmpo_train_options_set(o, "beta", "0,25", NULL) == DMPO_ERR_ARGUMENT);
    CK(dmpo_train_options_set(o, "memory", "1.5KiB", NULL) == DMPO_OK &&
       strcmp(dmpo_train_options_get(o, "memory"), "1536") == 0);
    dmpo_train_options_close(&o);
}

static const dm_objective_kind kinds[] = {DM_OBJECTIVE_DMPO, DM_OBJECTIVE_KTO};
#define KINDS (sizeof kinds / sizeof *kinds)
static outcome whole[KINDS];

static void train_in_c(size_t k)
{
    char name[32];
    snprintf(name, sizeof name, "c%zu", k);
    dm_train_options o = options(at(name), kinds[k]);
    whole[k] = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(whole[k].status == DMPO_OK, "%s", whole[k].message);
    snprintf(name, sizeof name, "half%zu", k);
    o.output = at(name);
    CK(train(&o, NULL, 1, stop_after_second, NULL).status == DMPO_ERR_INTERRUPTED);
}

static void train_with_comma(size_t k)
{
    char name[64], c[65], comma[65];
    snprintf(name, sizeof name, "half%zu", k);
    dm_train_options o = options(at(name), kinds[k]);
    o.resume = true;
    outcome got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_OK && strcmp(got.result.weights_sha256, whole[k].result.weights_sha256) == 0,
           "resumed with a comma: %s", got.message);
    snprintf(name, sizeof name, "comma%zu", k);
    o = options(at(name), kinds[k]);
    got = train(&o, NULL, 1, NULL, NULL);
    CK_MSG(got.status == DMPO_OK && strcmp(got.result.weights_sha256, whole[k].result.weights_sha256) == 0,
           "trained with a comma: %s", got.message);
    snprintf(name, sizeof name, "comma%zu/checkpoint/state.json", k);
    identity(comma, at(name));
    snprintf(name, sizeof name, "c%zu/checkpoint/state.json", k);
    identity(c, at(name));
    CK(strcmp(c, comma) == 0);
    char a[32], b[64];
    snprintf(a, sizeof a, "c%zu/metrics.jsonl", k);
    snprintf(b, sizeof b, "comma%zu/metrics.jsonl", k);
    CK(same_figures(at(a), at(b)));
}

int main(void)
{
    work_open();
    make_model(at("model"), &small_shape);
    make_pairs(at("pairs.jsonl"), 1, 5, 6, 2, VOCAB, -1);
    check_numbers();
    for (size_t k = 0; k < KINDS; k++)
        train_in_c(k);
    if (use_comma()) {
        check_numbers();
        for (size_t k = 0; k < KINDS; k++)
            train_with_comma(k);
    } else {
        ck_skip("no localedef and no C library that takes a locale with a decimal comma from LOCPATH");
    }
    work_close();
    return ck_done("locale");
}
