#include "model/train/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/data/template.h"
#include "model/api.h"
#include "model/network/lora.h"

#define DM_TINY 1e-300 /* "above 0" */
#define DM_HUGE 1e300

const char *const dm_objective_names[] = {
    [DM_OBJECTIVE_SFT] = "sft", [DM_OBJECTIVE_DMPO] = "dmpo", [DM_OBJECTIVE_DMPO_TOKEN] = "dmpo-token",
    [DM_OBJECTIVE_DPO] = "dpo", [DM_OBJECTIVE_KTO] = "kto",   NULL};
const char *const dm_link_names[] = {[DM_LINK_SIGMOID] = "sigmoid",     [DM_LINK_ROBUST] = "robust",
                                     [DM_LINK_HINGE] = "hinge",         [DM_LINK_IPO] = "ipo",
                                     [DM_LINK_KTO_PAIR] = "kto-pair",   [DM_LINK_APO_ZERO] = "apo-zero",
                                     [DM_LINK_APO_DOWN] = "apo-down",   [DM_LINK_NCA_PAIR] = "nca-pair",
                                     [DM_LINK_SPPO_HARD] = "sppo-hard", [DM_LINK_EXO_PAIR] = "exo-pair",
                                     [DM_LINK_BCO_PAIR] = "bco-pair",   [DM_LINK_DISCOPOP] = "discopop",
                                     [DM_LINK_SIMPO] = "simpo",         NULL};
const char *const dm_phi_names[] = {[DM_PHI_CODE] = "code", [DM_PHI_PRINTED] = "printed", NULL};
const char *const dm_alpha_mode_names[] = {[DM_ALPHA_ADAPTIVE] = "adaptive", [DM_ALPHA_FIXED] = "fixed", NULL};
const char *const dm_alpha_pairing_names[] = {[DM_PAIRING_OWN] = "own", [DM_PAIRING_CROSSED] = "crossed", NULL};
static const char *const dm_schedule_names[] = {
    [DM_SCHEDULE_CONSTANT] = "constant", [DM_SCHEDULE_LINEAR] = "linear", [DM_SCHEDULE_COSINE] = "cosine", NULL};

typedef struct row {
    dm_option option;
    dm_identity identity;
} row;

/* ROW's last arguments are the help and more members. */
#define ROW(kind, field, called, value, start, heading, part, ...)                                                     \
    {.option = DM_ROW(kind, offsetof(dm_train_options, field), called, .metavar = value, .initial = start,             \
                      .group = heading, .decides = DM_IDENTITY_##part != DM_IDENTITY_NOTHING, .help = __VA_ARGS__),    \
     .identity = DM_IDENTITY_##part},

static const row rows[] = {
#define TEXT(...) ROW(TEXT, __VA_ARGS__)
#define INTEGER(...) ROW(INTEGER, __VA_ARGS__)
#define REAL(...) ROW(REAL, __VA_ARGS__)
#define SEED(...) ROW(SEED, __VA_ARGS__)
#define BYTES(...) ROW(BYTES, __VA_ARGS__)
#define FLAG(...) ROW(FLAG, __VA_ARGS__)
#define AUTO(...) ROW(AUTO, __VA_ARGS__)
#define CHOICE(field, type, names, called, value, start, heading, part, ...)                                           \
    ROW(CHOICE, field, called, value, start, heading, part, __VA_ARGS__, .choices = names)
#include "model/train/options.def"
};
#define ROWS (sizeof rows / sizeof *rows)

static size_t find(const char *name)
{
    size_t i = 0;
    while (i < ROWS && strcmp(rows[i].option.info.name, name) != 0)
        i++;
    return i;
}

static const char *initial(const row *r, dm_objective_kind objective)
{
    const dmpo_option_info *info = &r->option.info;
    return objective == DM_OBJECTIVE_SFT && info->initial_sft ? info->initial_sft : info->initial;
}

void dm_train_defaults(dm_train_options *o, dm_objective_kind objective)
{
    *o = (dm_train_options){0};
    for (size_t i = 0; i < ROWS; i++)
        if (initial(&rows[i], objective))
            dm_option_set(&rows[i].option, o, initial(&rows[i], objective), NULL);
    o->objective = objective;
}

/* ---- checks ---- */

/* Whether an option differs from its default. */
static bool differs(const dm_train_options *o, const char *name)
{
    dm_train_options usual;
    dm_train_defaults(&usual, o->objective);
    return !dm_option_same(&rows[find(name)].option, o, &usual);
}

/* Options that only one method reads: with another one they would do nothing, unnoticed. */
static dm_status check_meaning(const dm_train_options *o, dm_error *err)
{
    if (!o->reference2 &&
        (differs(o, "alpha-mode") || differs(o, "alpha-pairing") || differs(o, "alpha") || differs(o, "trust-region")))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "`alpha`, `alpha-mode`, `alpha-pairing` and `trust-region` are for two references; "
                       "`reference2` names the second one");
    if (o->link != DM_LINK_SIMPO && differs(o, "simpo-margin"))
        return dm_fail(err, DM_ERR_ARGUMENT, "`simpo-margin` is for `link` simpo");
    if (o->link == DM_LINK_SIMPO && o->reference)
        return dm_fail(err, DM_ERR_ARGUMENT, "`link` simpo has no reference; leave `reference` out");
    if (o->link != DM_LINK_DISCOPOP && !o->link_mix && differs(o, "discopop-temperature"))
        return dm_fail(err, DM_ERR_ARGUMENT, "`discopop-temperature` is for `link` discopop");
    if (o->objective != DM_OBJECTIVE_KTO && (differs(o, "desirable-weight") || differs(o, "undesirable-weight")))
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "`desirable-weight` and `undesirable-weight` are kto's; add `objective` kto, or leave them out");
    return DM_OK;
}

dm_status dm_train_options_check(const dm_train_options *o, dm_error *err)
{
    dm_status s;

    for (size_t i = 0; i < ROWS; i++)
        if ((s = dm_option_check(&rows[i].option, o, err)) != DM_OK)
            return s;
    if (!o->model)
        return dm_fail(err, DM_ERR_ARGUMENT, "no model given; `model` names the policy's directory or file");
    if (!o->data)
        return dm_fail(err, DM_ERR_ARGUMENT, "no data given; `data` names the file of trajectories or pairs");
    double mix[DM_LINKS];
    s = dm_link_mix_parse(o->link_mix, mix, err);
    return s == DM_OK ? check_meaning(o, err) : s;
}

/* "sigmoid:0.8,bco-pair:0.2" */
dm_status dm_link_mix_parse(const char *text, double mix[DM_LINKS], dm_error *err)
{
    for (int i = 0; i < DM_LINKS; i++)
        mix[i] = 0;
    for (const char *p = text; p && *p; p += *p == ',') {
        const size_t name = strcspn(p, ":,"), size = strcspn(p, ",");
        char number[64] = "";
        const char *end = "";
        int link = 0;
        while (link < DM_LINKS && (strlen(dm_link_names[link]) != name || memcmp(dm_link_names[link], p, name) != 0))
            link++;
        if (size > name && size - name <= sizeof number)
            snprintf(number, sizeof number, "%.*s", (int)(size - name - 1), p + name + 1);
        const double weight = dm_double_parse(number, &end);
        if (link == DM_LINKS || mix[link] > 0 || *number == '\0' || *end || !(weight > 0) || weight > DM_HUGE)
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "`link-mix`: '%.*s' is not the name of a link and its weight, such as bco-pair:0.2, each "
                           "link once",
                           (int)(size < 40 ? size : 40), p);
        mix[link] = weight;
        p += size;
    }
    return DM_OK;
}

/* ---- identity ---- */

static void hash_value(const row *r, const dm_train_options *o, dm_sha256 *h)
{
    const void *at = (const char *)o + r->option.offset;
    char text[1 + DM_DOUBLE_TEXT] = " ", number[DM_DOUBLE_TEXT];
    int choice;

    switch (r->option.info.type) {
    case DMPO_OPTION_REAL:
        dm_double_hex(number, *(const double *)at);
        snprintf(text, sizeof text, " %s", number);
        break;
    case DMPO_OPTION_INTEGER:
        snprintf(text, sizeof text, " %lld", (long long)*(const int64_t *)at);
        break;
    case DMPO_OPTION_SEED:
    case DMPO_OPTION_BYTES:
        snprintf(text, sizeof text, " %llu", (unsigned long long)*(const uint64_t *)at);
        break;
    case DMPO_OPTION_FLAG:
        snprintf(text, sizeof text, " %d", *(const bool *)at);
        break;
    case DMPO_OPTION_AUTO:
    case DMPO_OPTION_CHOICE:
        memcpy(&choice, at, sizeof choice);
        snprintf(text, sizeof text, " %d", choice);
        break;
    case DMPO_OPTION_TEXT:
        break; /* what a path leads to is hashed elsewhere */
    }
    dm_sha256_update(h, text, strlen(text));
}

void dm_train_options_hash(const dm_train_options *o, dm_identity part, dm_sha256 *h)
{
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].identity == part)
            hash_value(&rows[i], o, h);
}

/* ---- the public object ---- */

struct dmpo_train_options {
    dm_train_options values;
    bool given[ROWS]; /* by the caller; the others follow the objective */
    char *text[ROWS]; /* each value as text; NULL: TEXT that is absent */
};

/* Sets row i to `text` (NULL: absent) and keeps its canonical form. */
static dm_status set_row(dmpo_train_options *o, size_t i, const char *text, dm_error *err)
{
    const dm_option *option = &rows[i].option;
    dm_train_options values = o->values;
    dm_text canonical = {0};
    dm_status s = DM_OK;

    if (text && (s = dm_option_set(option, &values, text, err)) != DM_OK)
        return s;
    if (text && dm_option_text(&canonical, option, &values) && (canonical.failed || !canonical.data)) {
        dm_text_free(&canonical);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the value of `%s`", option->info.name);
    }
    free(o->text[i]);
    o->text[i] = canonical.data;
    if (option->info.type == DMPO_OPTION_TEXT)
        memcpy((char *)&values + option->offset, &o->text[i], sizeof o->text[i]);
    o->values = values;
    return DM_OK;
}

/* What the caller did not set follows the objective. */
static dm_status follow_objective(dmpo_train_options *o, dm_error *err)
{
    dm_status s = DM_OK;
    for (size_t i = 0; s == DM_OK && i < ROWS; i++)
        if (!o->given[i])
            s = set_row(o, i, initial(&rows[i], o->values.objective), err);
    return s;
}

dmpo_status dmpo_train_options_open(dmpo_train_options **options, dmpo_error *error)
{
    dm_error err = {0};
    dmpo_train_options *o = calloc(1, sizeof *o);
    dm_status s = DM_OK;

    if (!o)
        s = dm_fail(&err, DM_ERR_MEMORY, "no memory for the options of a run");
    else if ((s = set_row(o, find("objective"), rows[find("objective")].option.info.initial, &err)) == DM_OK)
        s = follow_objective(o, &err);
    if (s != DM_OK)
        dmpo_train_options_close(&o);
    *options = o;
    return dm_api_report(error, s, &err);
}

void dmpo_train_options_close(dmpo_train_options **options)
{
    if (!options || !*options)
        return;
    for (size_t i = 0; i < ROWS; i++)
        free((*options)->text[i]);
    free(*options);
    *options = NULL;
}

static dm_status unknown(const char *name, dm_error *err)
{
    return dm_fail(err, DM_ERR_ARGUMENT, "'%s' is not an option of training; dmpo_train_option lists them", name);
}

dmpo_status dmpo_train_options_set(dmpo_train_options *options, const char *name, const char *value, dmpo_error *error)
{
    const size_t i = find(name);
    dm_error err = {0};

    if (i == ROWS)
        return dm_api_report(error, unknown(name, &err), &err);
    dm_status s = set_row(options, i, value ? value : initial(&rows[i], options->values.objective), &err);
    if (s == DM_OK) {
        options->given[i] = value != NULL;
        s = strcmp(name, "objective") == 0 ? follow_objective(options, &err) : DM_OK;
    }
    return dm_api_report(error, s, &err);
}

dmpo_status dmpo_train_options_set_real(dmpo_train_options *options, const char *name, double value, dmpo_error *error)
{
    char text[DM_DOUBLE_TEXT];
    dm_double_text(text, value);
    return dmpo_train_options_set(options, name, text, error);
}

dmpo_status dmpo_train_options_set_integer(dmpo_train_options *options, const char *name, int64_t value,
                                           dmpo_error *error)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    return dmpo_train_options_set(options, name, text, error);
}

const char *dmpo_train_options_get(const dmpo_train_options *options, const char *name)
{
    const size_t i = find(name);
    return i < ROWS ? options->text[i] : NULL;
}

const dmpo_option_info *dmpo_train_option(size_t index)
{
    return index < ROWS ? &rows[index].option.info : NULL;
}

const char *dm_objective_name(dm_objective_kind kind)
{
    return dm_objective_names[kind];
}

dm_loss_options dm_train_loss_options(const dm_train_options *o)
{
    dm_loss_options l = {.objective = o->objective,
                         .link = o->link,
                         .phi = o->phi,
                         .beta = o->beta,
                         .gamma = o->gamma,
                         .label_smoothing = o->label_smoothing,
                         .sft_weight = o->sft_weight,
                         .length_normalised = o->length_normalised,
                         .desirable_weight = o->desirable_weight,
                         .undesirable_weight = o->undesirable_weight,
                         .two_references = o->reference2 != NULL,
                         .alpha_mode = o->alpha_mode,
                         .alpha = o->alpha,
                         .alpha_pairing = o->alpha_pairing,
                         .trust_region = o->trust_region,
                         .margin = o->simpo_margin,
                         .temperature = o->discopop_temperature,
                         .mixed = o->link_mix != NULL};
    dm_link_mix_parse(o->link_mix, l.mix, NULL); /* checked */
    return l;
}

const dm_train_options *dm_train_options_values(const dmpo_train_options *options)
{
    return &options->values;
}
