#include "cli/args.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const cli_option cli_common_options[] = {
    {"isa", CLI_STRING, offsetof(cli_common, isa), "LEVEL", NULL,
     "scalar, avx2, avx512 or neon [$DMPO_ISA, else the best here]; never changes a result"},
    {"threads", CLI_INT, offsetof(cli_common, threads), "N", NULL,
     "1 to 256 [$DMPO_THREADS, else every processor]; never changes a result"},
    {"config", CLI_STRING, offsetof(cli_common, config), "FILE", NULL,
     "read options from JSON, e.g. a run.json; the command line wins"},
    {"quiet", CLI_FLAG, offsetof(cli_common, quiet), NULL, NULL, "no progress on stderr"},
    {"json", CLI_FLAG, offsetof(cli_common, json), NULL, NULL, "results on stdout as JSON"},
    {0},
};

static void *field(void *options, const cli_option *o)
{
    return (char *)options + o->offset;
}

static const cli_option *find(const cli_option *table, const char *name, size_t size)
{
    static const char other[] = "chat-template"; /* as other programs call --template */
    if (size == sizeof other - 1 && memcmp(name, other, size) == 0) {
        name = "template";
        size = strlen(name);
    }
    for (; table && table->name; table++)
        if (strlen(table->name) == size && memcmp(table->name, name, size) == 0)
            return table;
    return NULL;
}

size_t cli_pick(cli_option *out, size_t room, const cli_option *from, const char *const *names)
{
    size_t n = 0;
    for (; *names && n + 1 < room; names++) {
        const cli_option *row = find(from, *names, strlen(*names));
        if (row)
            out[n++] = *row;
    }
    out[n] = (cli_option){0};
    return n;
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
        for (const cli_option *o = tables[t]; o && o->name; o++) {
            const size_t d = distance(name + dashes, size - dashes, o->name);
            if (d < least) {
                least = d;
                best = o->name;
            }
        }
    return dm_fail(err, DM_ERR_ARGUMENT, "%sunknown option '%.*s'%s%s%s; dmpo %s --help lists them", where, (int)size,
                   name, best ? ", did you mean '" : "", best ? best : "", best ? "'?" : "", c->name);
}

static dm_status bad(const cli_option *o, const char *text, const char *legal, dm_error *err)
{
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s: '%s' is no %s", o->name, text, legal);
}

static dm_status parse_bytes(const cli_option *o, const char *text, uint64_t *out, dm_error *err)
{
    char *end;
    const double n = strtod(text, &end);
    double unit = 1;
    static const struct {
        const char *name;
        double factor;
    } units[] = {
        {"", 1},          {"B", 1},           {"K", 1024.0},       {"KiB", 1024.0},
        {"M", 1048576.0}, {"MiB", 1048576.0}, {"G", 1073741824.0}, {"GiB", 1073741824.0},
    };
    size_t i = 0;
    while (i < sizeof units / sizeof *units && strcmp(end, units[i].name) != 0)
        i++;
    if (end == text || i == sizeof units / sizeof *units || !(n >= 0 && n < 1e15))
        return bad(o, text, "size; write it as 512MiB or 2GiB", err);
    unit = units[i].factor;
    *out = (uint64_t)(n * unit);
    return DM_OK;
}

static dm_status parse_choice(const cli_option *o, const char *text, int *out, dm_error *err)
{
    char list[256] = "";
    for (int i = 0; o->choices[i]; i++) {
        if (strcmp(text, o->choices[i]) == 0) {
            *out = i;
            return DM_OK;
        }
        strncat(list, i ? ", " : "", sizeof list - strlen(list) - 1);
        strncat(list, o->choices[i], sizeof list - strlen(list) - 1);
    }
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s: '%s' is none of: %s", o->name, text, list);
}

int cli_names_path(const cli_option *o)
{
    return o->kind == CLI_STRING &&
           (strcmp(o->meta, "DIR") == 0 || strcmp(o->meta, "FILE") == 0 || strcmp(o->meta, "PATH") == 0);
}

static dm_status set(const cli_option *o, void *options, const char *text, dm_error *err)
{
    char *end;
    errno = 0;
    switch (o->kind) {
    case CLI_STRING:
        if (!*text && cli_names_path(o))
            return bad(o, text, strcmp(o->meta, "DIR") == 0 ? "directory" : "file", err);
        *(const char **)field(options, o) = text;
        return DM_OK;
    case CLI_INT: {
        const long long n = strtoll(text, &end, 10);
        *(int64_t *)field(options, o) = n;
        return end == text || *end || errno ? bad(o, text, "whole number", err) : DM_OK;
    }
    case CLI_SEED: {
        const unsigned long long n = strtoull(text, &end, 10);
        *(uint64_t *)field(options, o) = n;
        return end == text || *end || errno || *text == '-' ? bad(o, text, "whole number from 0 to 2^64-1", err)
                                                            : DM_OK;
    }
    case CLI_DOUBLE:
        *(double *)field(options, o) = strtod(text, &end);
        return end == text || *end ? bad(o, text, "number", err) : DM_OK;
    case CLI_BYTES:
        return parse_bytes(o, text, field(options, o), err);
    case CLI_CHOICE:
        return parse_choice(o, text, field(options, o), err);
    case CLI_FLAG:
        break;
    }
    return DM_OK;
}

static dm_status set_json(const cli_option *o, void *options, const dm_json_doc *doc, const dm_json *v, dm_error *err)
{
    switch (o->kind) {
    case CLI_FLAG:
        if (v->type != DM_JSON_BOOL && v->type != DM_JSON_NULL)
            return dm_json_fail(doc, v, err, "\"%s\" must be true, false or null (the default)", o->name);
        if (v->type == DM_JSON_BOOL)
            *(int *)field(options, o) = v->boolean;
        return DM_OK;
    case CLI_STRING:
    case CLI_CHOICE:
        if (v->type != DM_JSON_STRING)
            return dm_json_fail(doc, v, err, "\"%s\" must be a string", o->name);
        return set(o, options, v->text, err);
    case CLI_DOUBLE:
        if (v->type != DM_JSON_NUMBER)
            return dm_json_fail(doc, v, err, "\"%s\" must be a number", o->name);
        *(double *)field(options, o) = v->number;
        return DM_OK;
    case CLI_SEED:
    case CLI_BYTES:
        if (v->type == DM_JSON_STRING) /* seeds above 2^63, "512MiB" */
            return set(o, options, v->text, err);
        if (v->type != DM_JSON_NUMBER || !v->is_integer || v->integer < 0)
            return dm_json_fail(doc, v, err, "\"%s\" must be a whole number from 0", o->name);
        *(uint64_t *)field(options, o) = (uint64_t)v->integer;
        return DM_OK;
    case CLI_INT:
        if (v->type != DM_JSON_NUMBER || !v->is_integer)
            return dm_json_fail(doc, v, err, "\"%s\" must be a whole number", o->name);
        *(int64_t *)field(options, o) = v->integer;
        return DM_OK;
    }
    return DM_OK;
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

    snprintf(where, sizeof where, "%.500s:%u:%u: ", dm_json_name(doc), value->line, value->column);
    if (!(*found = find(table, name, strlen(name))) || strcmp((*found)->name, name) != 0) {
        const cli_command c = {.name = command, .options = table};
        unknown(&c, name, strlen(name), where, &why);
        return dm_fail(err, DM_ERR_INPUT, "%s", why.message); /* a file's fault, not the command line's */
    }
    cli_option o = **found;
    o.offset = 0;
    if (value->type == DM_JSON_NULL)
        return DM_OK;
    const dm_status s = set_json(&o, &place, doc, value, &why);
    if (s == DM_OK || s == DM_ERR_INPUT) /* that names the place already */
        return s == DM_OK ? DM_OK : dm_fail(err, s, "%s", why.message);
    return dm_fail(err, DM_ERR_INPUT, "%s%s", where, why.message);
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
        const dm_status t = v->type == DM_JSON_NULL ? DM_OK : set_json(o, options, args->config, v, err);
        if (t != DM_OK)
            return t;
    }
    return DM_OK;
}

typedef struct target {
    const cli_option *option;
    void *base;
    int negated;
} target;

static target lookup(const cli_command *c, void *options, cli_common *common, const char *name, size_t size)
{
    target t = {find(c->options, name, size), options, 0};
    if (!t.option) {
        t.option = find(cli_common_options, name, size);
        t.base = common;
    }
    if (!t.option && size > 3 && memcmp(name, "no-", 3) == 0) {
        t = lookup(c, options, common, name + 3, size - 3);
        t.negated = 1;
        if (t.option && t.option->kind != CLI_FLAG)
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
                    args->help = 1;
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
        if (strcmp(arg, "--help") == 0) {
            args->help = 1;
            return DM_OK;
        }
        const char *equal = strchr(arg, '=');
        const size_t size = equal ? (size_t)(equal - arg) - 2 : strlen(arg) - 2;
        const target t = lookup(c, options, common, arg + 2, size);
        if (!t.option)
            return unknown(c, arg, size + 2, "", err);
        const int is_config = t.base == common && strcmp(t.option->name, "config") == 0;
        if (t.option->kind == CLI_FLAG) {
            if (equal)
                return dm_fail(err, DM_ERR_ARGUMENT, "--%s takes no value", t.option->name);
            if (!only_config)
                *(int *)field(t.base, t.option) = !t.negated;
            continue;
        }
        const char *value = equal ? equal + 1 : ++i < argc ? argv[i] : NULL;
        if (!value)
            return dm_fail(err, DM_ERR_ARGUMENT, "--%s needs a value (%s)", t.option->name, t.option->meta);
        const dm_status s = only_config && !is_config ? DM_OK : set(t.option, t.base, value, err);
        if (s != DM_OK)
            return s;
    }
    return DM_OK;
}

dm_status cli_parse(const cli_command *c, void *options, cli_common *common, cli_args *args, int argc, char **argv,
                    dm_error *err)
{
    *args = (cli_args){0};
    dm_status s = scan(c, options, common, args, argc, argv, 1, err);
    if (s == DM_OK && args->help) {
        cli_help(c, options, stdout);
        return DM_OK;
    }
    if (s == DM_OK && common->config)
        s = read_config(c, options, common->config, args, err);
    if (s == DM_OK)
        s = scan(c, options, common, args, argc, argv, 0, err);
    if (s == DM_OK && (common->threads < 0 || common->threads > 256))
        s = dm_fail(err, DM_ERR_ARGUMENT, "--threads %lld is out of range; legal: 1 to 256",
                    (long long)common->threads);
    if (s == DM_OK && args->n_positional < c->positional_min)
        s = dm_fail(err, DM_ERR_ARGUMENT, "an argument is missing; usage: dmpo %s %s", c->name, c->usage);
    return s;
}

dm_status cli_in_range(const char *name, int64_t value, int64_t low, int64_t high, dm_error *err)
{
    if (value >= low && value <= high)
        return DM_OK;
    return dm_fail(err, DM_ERR_ARGUMENT, "--%s %lld is out of range; legal: %lld to %lld", name, (long long)value,
                   (long long)low, (long long)high);
}

void cli_args_close(cli_args *args)
{
    dm_json_close(&args->config);
}

static void value_json(dm_text *out, const cli_option *o, const void *options)
{
    const void *at = (const char *)options + o->offset;
    switch (o->kind) {
    case CLI_STRING: {
        const char *text = *(const char *const *)at;
        if (text)
            dm_text_json_string(out, text, strlen(text));
        else
            dm_text_add(out, "null", 4);
        break;
    }
    case CLI_INT:
        dm_text_print(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case CLI_SEED:
        dm_text_print(out, "\"%llu\"", (unsigned long long)*(const uint64_t *)at);
        break;
    case CLI_BYTES:
        dm_text_print(out, "%llu", (unsigned long long)*(const uint64_t *)at);
        break;
    case CLI_DOUBLE:
        dm_text_json_double(out, *(const double *)at);
        break;
    case CLI_FLAG:
        dm_text_print(out, "%s", *(const int *)at < 0 ? "null" : *(const int *)at ? "true" : "false");
        break;
    case CLI_CHOICE:
        dm_text_print(out, "\"%s\"", o->choices[*(const int *)at]);
        break;
    }
}

void cli_options_json(dm_text *out, const cli_option *table, const void *options)
{
    for (const cli_option *o = table; o->name; o++) {
        dm_text_print(out, "%s\n  \"%s\": ", o == table ? "" : ",", o->name);
        value_json(out, o, options);
    }
}

/* " [0.1]"; of flags only those that are on, of strings what is between the quotes. */
static void show_default(const cli_option *o, const char *value, size_t size, FILE *out)
{
    if (!value || strcmp(value, "null") == 0 || strcmp(value, "false") == 0)
        return;
    if (o->kind == CLI_FLAG)
        fputs(" [on]", out);
    else if (value[0] == '"')
        fprintf(out, " [%.*s]", (int)size - 2, value + 1);
    else
        fprintf(out, " [%s]", value);
}

static void help_table(const cli_option *table, const void *defaults, FILE *out)
{
    for (const cli_option *o = table; o->name; o++) {
        char left[64];
        dm_text value = {0};
        snprintf(left, sizeof left, "--%s%s%s", o->name, o->meta ? " " : "", o->meta ? o->meta : "");
        if (defaults)
            value_json(&value, o, defaults);
        fprintf(out, "  %-26s %s", left, o->help);
        show_default(o, value.data, value.size, out);
        fputc('\n', out);
        dm_text_free(&value);
    }
}

void cli_help(const cli_command *c, const void *defaults, FILE *out)
{
    fprintf(out, "usage: dmpo %s %s\n\n%s\n\n", c->name, c->usage, c->summary);
    if (c->options && c->options->name)
        help_table(c->options, defaults, out);
    fputs("\nFor every command:\n", out);
    help_table(cli_common_options, NULL, out);
    if (c->details)
        fprintf(out, "\n%s\n", c->details);
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
