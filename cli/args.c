#include "cli/args.h"

#include <errno.h>
#include <string.h>

#include "core/files/place.h"

const cli_option cli_common_options[] = {
    DM_OPTION_TEXT(
        cli_common, isa, "isa", "LEVEL", "instruction set: scalar, avx2, avx512, amx or neon",
        .absent = "$DMPO_ISA, else the best here",
        .manual = "Instruction set: scalar, avx2, avx512, amx or neon. A level that this build or machine lacks is "
                  "an error. Never changes a result. Amx is the best for --precision bf16, but has to be asked "
                  "for: no machine that has it has run its kernel yet."),
    DM_OPTION_INTEGER(cli_common, threads, "threads", "N", "number of threads",
                      .absent = "$DMPO_THREADS, else every processor", .low = 0, .high = 256, .legal = "1 to 256",
                      .manual = "Number of threads. Never changes a result."),
    DM_OPTION_TEXT(cli_common, config, "config", "FILE", "reads options from JSON, such as a run.json",
                   .manual = "Reads options from a JSON object, whose keys are the options without their dashes. The "
                             "command line wins."),
    DM_OPTION_FLAG(cli_common, quiet, "quiet", "prints no progress and no notes on standard error"),
    DM_OPTION_FLAG(cli_common, json, "json", "prints results on standard output as JSON"),
    {.info = {0}},
};

static const cli_option *parsed; /* of the command at work, for its messages */

static const cli_option *find(const cli_option *table, const char *name, size_t size)
{
    static const char other[] = "chat-template"; /* as other programs call --template */
    return size == sizeof other - 1 && memcmp(name, other, size) == 0 ? dm_option_find(table, "template", 8)
                                                                      : dm_option_find(table, name, size);
}

size_t cli_library_options(cli_option *out, size_t room, const char *const *names, const cli_option *own)
{
    const dmpo_option_info *info;
    size_t n = 0, end;

    for (size_t i = 0; n + 1 < room && (names ? names[i] != NULL : dmpo_train_option(i) != NULL); i++) {
        size_t k = i;
        if (names)
            for (k = 0; dmpo_train_option(k) && strcmp(dmpo_train_option(k)->name, names[i]) != 0; k++)
                ;
        if ((info = dmpo_train_option(k)) != NULL)
            out[n++] = (cli_option){.info = *info, .offset = CLI_LIBRARY};
    }
    for (end = n; own && own->info.name && end + 1 < room; own++)
        out[end++] = *own;
    out[end] = (cli_option){.offset = 0};
    return n;
}

const cli_option *cli_train_options(void)
{
    static cli_option table[80];
    if (!table[0].info.name)
        cli_library_options(table, sizeof table / sizeof *table, NULL, NULL);
    return table;
}

static size_t distance(const char *a, size_t na, const char *b)
{
    const size_t nb = strlen(b);
    size_t row[64];
    if (na > 60 || nb > 60)
        return 99;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = row[j] + 1 < row[j - 1] + 1 ? row[j] + 1 : row[j - 1] + 1;
            if (change < row[j])
                row[j] = change;
        }
    }
    return row[nb];
}

static dm_status unknown(const cli_command *c, const char *name, size_t size, const char *where, dm_error *err)
{
    const cli_option *tables[] = {c->options, cli_common_options};
    const char *best = NULL;
    size_t least = 4, dashes = 0;
    while (dashes < 2 && dashes < size && name[dashes] == '-')
        dashes++;
    for (int t = 0; t < 2; t++)
        for (const cli_option *o = tables[t]; o && o->info.name; o++) {
            const size_t d = distance(name + dashes, size - dashes, o->info.name);
            if (d < least) {
                least = d;
                best = o->info.name;
            }
        }
    return dm_fail(err, DM_ERR_ARGUMENT, "%sunknown option '%.*s'%s%s%s; dmpo %s --help lists them", where, (int)size,
                   name, best ? ", did you mean '" : "", best ? best : "", best ? "'?" : "", c->name);
}

bool cli_names_path(const cli_option *o)
{
    return dm_option_is_path(o);
}

static dm_status set(const cli_option *o, void *options, dmpo_train_options *train, const char *text, dm_error *err)
{
    dmpo_error error = {0};

    if (o->offset != CLI_LIBRARY)
        return dm_option_set(o, options, text, err);
    const dmpo_status s = dmpo_train_options_set(train, o->info.name, text, &error);
    return s == DMPO_OK ? DM_OK : dm_fail(err, (dm_status)s, "%s", error.message);
}

/* A value of JSON as the text that dm_option_set reads; numbers are written into buf. */
static dm_status json_text(const char **text, char buf[DM_DOUBLE_TEXT], const cli_option *o, const dm_json_doc *doc,
                           const dm_json *v, dm_error *err)
{
    const char *name = o->info.name;

    *text = v->type == DM_JSON_STRING ? v->text : buf;
    switch (o->info.type) {
    case DMPO_OPTION_FLAG:
    case DMPO_OPTION_AUTO:
        *text = v->boolean ? "true" : "false";
        return v->type == DM_JSON_BOOL
                   ? DM_OK
                   : dm_json_fail(doc, v, err, "\"%s\" must be true, false or null (the default)", name);
    case DMPO_OPTION_TEXT:
    case DMPO_OPTION_CHOICE:
        return v->type == DM_JSON_STRING ? DM_OK : dm_json_fail(doc, v, err, "\"%s\" must be a string", name);
    case DMPO_OPTION_REAL:
        *text = buf;
        dm_double_text(buf, v->number);
        return v->type == DM_JSON_NUMBER ? DM_OK : dm_json_fail(doc, v, err, "\"%s\" must be a number", name);
    case DMPO_OPTION_SEED:
    case DMPO_OPTION_BYTES:
        if (v->type == DM_JSON_STRING) /* seeds above 2^63, "512MiB" */
            return DM_OK;
        snprintf(buf, DM_DOUBLE_TEXT, "%lld", (long long)v->integer);
        return v->type == DM_JSON_NUMBER && v->is_integer && v->integer >= 0
                   ? DM_OK
                   : dm_json_fail(doc, v, err, "\"%s\" must be a whole number from 0", name);
    case DMPO_OPTION_INTEGER:
        *text = buf;
        snprintf(buf, DM_DOUBLE_TEXT, "%lld", (long long)v->integer);
        return v->type == DM_JSON_NUMBER && v->is_integer
                   ? DM_OK
                   : dm_json_fail(doc, v, err, "\"%s\" must be a whole number", name);
    }
    return DM_OK;
}

/* Errors name the value's place. */
static dm_status set_json(const cli_option *o, void *options, dmpo_train_options *train, const dm_json_doc *doc,
                          const dm_json *v, dm_error *err)
{
    char buf[DM_DOUBLE_TEXT];
    const char *text;
    dm_error why;
    dm_status s = v->type == DM_JSON_NULL ? DM_OK : json_text(&text, buf, o, doc, v, err);

    if (v->type == DM_JSON_NULL || s != DM_OK)
        return s;
    s = set(o, options, train, text, &why);
    return s == DM_OK ? DM_OK : dm_json_fail(doc, v, err, "%s", why.message);
}

dm_status cli_check_json(const cli_option *table, const char *command, const dm_json_doc *doc, const char *name,
                         const dm_json *value, const cli_option **found, dm_error *err)
{
    union {
        const char *text;
        int64_t integer;
        double number;
    } place;
    char where[600];
    dm_error why;
    dmpo_error error;
    dmpo_train_options *train = NULL;

    snprintf(where, sizeof where, "%.500s:%u:%u: ", dm_json_name(doc), value->line, value->column);
    if (!(*found = dm_option_find(table, name, strlen(name)))) {
        const cli_command c = {.name = command, .options = table};
        unknown(&c, name, strlen(name), where, &why);
        return dm_fail(err, DM_ERR_INPUT, "%s", why.message); /* a file's fault, not the command line's */
    }
    cli_option o = **found;
    if (o.offset == CLI_LIBRARY && dmpo_train_options_open(&train, &error) != DMPO_OK)
        return dm_fail(err, DM_ERR_MEMORY, "%s", error.message);
    o.offset = o.offset == CLI_LIBRARY ? CLI_LIBRARY : 0;
    const dm_status s = set_json(&o, &place, train, doc, value, err);
    dmpo_train_options_close(&train);
    return s;
}

/* run.json keeps the options below "options"; a file made by hand may have them at its top. Its other members (version,
 * hashes, results) are a record, not options. */
static dm_status read_config(const cli_command *c, void *options, const char *path, cli_args *args, dm_error *err)
{
    const dm_status s = dm_json_read(&args->config, path, err);
    if (s != DM_OK)
        return s;
    const dm_json *root = dm_json_root(args->config), *inner = dm_json_get(root, "options");
    if (root->type != DM_JSON_OBJECT)
        return dm_json_fail(args->config, root, err, "a configuration must be an object of options");
    const dm_json *command = dm_json_get(root, "command");
    if (command && !dm_json_is(command, c->name))
        return dm_json_fail(args->config, command, err, "this file is of 'dmpo %s', not of 'dmpo %s'",
                            command->type == DM_JSON_STRING ? command->text : "?", c->name);
    for (const dm_json *v = (inner ? inner : root)->child; v; v = v->next) {
        const cli_option *o = find(c->options, v->key, v->key_length);
        if (!o && !inner && strcmp(v->key, "command") == 0)
            continue;
        if (!o) {
            char where[600];
            snprintf(where, sizeof where, "%.500s:%u:%u: ", path, v->line, v->column);
            return unknown(c, v->key, v->key_length, where, err);
        }
        const dm_status t = set_json(o, options, args->train, args->config, v, err);
        if (t != DM_OK)
            return t;
    }
    return DM_OK;
}

static bool is_flag(const cli_option *o)
{
    return o->info.type == DMPO_OPTION_FLAG || o->info.type == DMPO_OPTION_AUTO;
}

typedef struct target {
    const cli_option *option;
    void *base;
    bool negated;
} target;

static target lookup(const cli_command *c, void *options, cli_common *common, const char *name, size_t size)
{
    target t = {find(c->options, name, size), options, false};
    if (!t.option) {
        t.option = find(cli_common_options, name, size);
        t.base = common;
    }
    if (!t.option && size > 3 && memcmp(name, "no-", 3) == 0) {
        t = lookup(c, options, common, name + 3, size - 3);
        t.negated = true;
        if (t.option && !is_flag(t.option))
            t.option = NULL;
    }
    return t;
}

/* One pass over argv; with only_config, just --config is looked at. */
static dm_status scan(const cli_command *c, void *options, cli_common *common, cli_args *args, int argc, char **argv,
                      int only_config, dm_error *err)
{
    int plain = 0;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (plain || strncmp(arg, "--", 2) != 0) {
            if (!plain && arg[0] == '-' && arg[1]) {
                if (strcmp(arg, "-h") == 0) {
                    args->help = true;
                    return DM_OK;
                }
                return unknown(c, arg, strlen(arg), "", err);
            }
            if (only_config)
                continue;
            if (args->n_positional >= c->positional_max || args->n_positional >= CLI_POSITIONAL)
                return dm_fail(err, DM_ERR_ARGUMENT, "unexpected argument '%s'; usage: dmpo %s %s", arg, c->name,
                               c->usage);
            args->positional[args->n_positional++] = arg;
            continue;
        }
        if (!arg[2]) {
            plain = 1;
            continue;
        }
        if (strcmp(arg, "--help") == 0 || strncmp(arg, "--help=", 7) == 0) {
            args->help = true;
            args->help_form = arg[6] ? arg + 7 : "";
            return DM_OK;
        }
        const char *equal = strchr(arg, '=');
        const size_t size = equal ? (size_t)(equal - arg) - 2 : strlen(arg) - 2;
        const target t = lookup(c, options, common, arg + 2, size);
        if (!t.option)
            return unknown(c, arg, size + 2, "", err);
        const int is_config = t.base == common && strcmp(t.option->info.name, "config") == 0;
        const bool flag = is_flag(t.option);
        if (flag && equal)
            return dm_fail(err, DM_ERR_ARGUMENT, "--%s takes no value", t.option->info.name);
        const char *value = flag ? (t.negated ? "false" : "true") : equal ? equal + 1 : ++i < argc ? argv[i] : NULL;
        if (!value)
            return dm_fail(err, DM_ERR_ARGUMENT, "--%s needs a value (%s)", t.option->info.name,
                           t.option->info.metavar);
        const dm_status s = only_config && !is_config ? DM_OK : set(t.option, t.base, args->train, value, err);
        if (s != DM_OK)
            return s;
    }
    return DM_OK;
}

dm_status cli_parse(const cli_command *c, void *options, cli_common *common, cli_args *args, int argc, char **argv,
                    dm_error *err)
{
    *args = (cli_args){.train = args->train};
    parsed = c->options;
    dm_status s = scan(c, options, common, args, argc, argv, 1, err);
    if (s == DM_OK && args->help)
        return cli_help(c, options, args->help_form, err);
    if (s == DM_OK && common->config)
        s = read_config(c, options, common->config, args, err);
    if (s == DM_OK)
        s = scan(c, options, common, args, argc, argv, 0, err);
    if (s == DM_OK && args->n_positional < c->positional_min)
        s = dm_fail(err, DM_ERR_ARGUMENT, "an argument is missing; usage: dmpo %s %s", c->name, c->usage);
    return s;
}

dm_status cli_in_range(const char *name, int64_t value, int64_t low, int64_t high, dm_error *err)
{
    if (value >= low && value <= high)
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "`%s` %lld is out of range; legal: %lld to %lld", name, (long long)value,
                   (long long)low, (long long)high);
}

dm_status cli_check_inputs(const cli_option *table, const void *options, const cli_args *args, const char *output,
                           dm_error *err)
{
    dm_status s = DM_OK;

    for (int i = 0; s == DM_OK && i < args->n_positional; i++)
        s = dm_place_apart(output, args->positional[i], err);
    for (const cli_option *o = table; s == DM_OK && o->info.name; o++) {
        dm_text value = {0};
        if (!cli_names_path(o))
            continue;
        if (o->offset == CLI_LIBRARY) {
            s = dm_place_apart(output, dmpo_train_options_get(args->train, o->info.name), err);
            continue;
        }
        if (*(const char *const *)((const char *)options + o->offset) == output) /* the option that names it */
            continue;
        if (dm_option_text(&value, o, options) && !value.failed) {
            s = dm_place_apart(output, value.data, err);
            for (char *at = value.data; s == DM_OK && (at = strrchr(value.data, ',')) != NULL; *at = '\0')
                s = dm_place_apart(output, at + 1, err);
            if (s == DM_OK)
                s = dm_place_apart(output, value.data, err);
        }
        if (value.failed)
            s = dm_fail(err, DM_ERR_MEMORY, "no memory for --%s", o->info.name);
        dm_text_free(&value);
    }
    return s;
}

void cli_args_close(cli_args *args)
{
    dm_json_close(&args->config);
}

void cli_options_json(dm_json_writer *w, const cli_option *table, const void *options, const dmpo_train_options *train)
{
    for (const cli_option *o = table; o->info.name; o++) {
        const char *name = o->info.name, *text = NULL;
        dm_text own = {0};
        if (strcmp(name, "overwrite") == 0) /* a run that is repeated from its record replaces nothing unasked */
            continue;
        if (o->offset == CLI_LIBRARY)
            text = dmpo_train_options_get(train, name);
        else if (dm_option_text(&own, o, options))
            text = own.data;
        w->out->failed |= own.failed;
        dm_json_new_line(w);
        if (!text || (o->info.type == DMPO_OPTION_AUTO && strcmp(text, "auto") == 0))
            dm_json_put_null(w, name);
        else if (o->info.type == DMPO_OPTION_TEXT || o->info.type == DMPO_OPTION_CHOICE ||
                 o->info.type == DMPO_OPTION_SEED)
            dm_json_put_string(w, name, text);
        else
            dm_json_put_raw(w, name, text);
        dm_text_free(&own);
    }
    dm_json_new_line(w);
}

void cli_explain(dm_text *out, const cli_option *table, const char *text)
{
    const char *open, *close;

    while ((open = strchr(text, '`')) && (close = strchr(open + 1, '`'))) {
        const size_t size = (size_t)(close - open) - 1, no = size > 3 && memcmp(open + 1, "no-", 3) == 0 ? 3 : 0;
        const char *name = open + 1 + no;
        const bool known = find(table, name, size - no) || find(cli_common_options, name, size - no);
        dm_text_add(out, text, (size_t)(open - text));
        if (known)
            dm_text_print(out, "--%.*s", (int)size, open + 1);
        else
            dm_text_add(out, "`", 1);
        text = known ? close + 1 : open + 1;
    }
    dm_text_add(out, text, strlen(text));
}

void cli_explain_message(dm_text *out, const char *message)
{
    cli_explain(out, parsed, message);
}

const char *cli_bytes(char buf[32], double bytes)
{
    const char *unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int u = 0;
    while (bytes >= 1024 && u < 4) {
        bytes /= 1024;
        u++;
    }
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return buf;
}
