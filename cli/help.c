/* What --help prints of a command's options: lines for a terminal, or with --help=man and --help=markdown the parts of
 * the manual pages and of README that docs/options.sh puts there. */
#include <ctype.h>
#include <string.h>

#include "cli/args.h"

/* The default as text: the struct's value for an own option, the table's for a library's. False: absent. */
static bool initial(dm_text *out, const cli_option *o, const void *defaults)
{
    const dmpo_option_info *info = &o->info;

    if (o->offset != CLI_LIBRARY)
        return defaults && dm_option_text(out, o, defaults);
    if (info->initial)
        dm_text_add(out, info->initial, strlen(info->initial));
    return info->initial != NULL;
}

/* ": sft, dmpo or kto". */
static void add_choices(dm_text *out, const cli_option *o)
{
    const char *const *names = o->info.choices;

    for (size_t i = 0; names && names[i]; i++)
        dm_text_print(out, "%s%s", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
}

/* The legal values: "above 0", or of a range "0 to 1"; nothing where type and choices say it. */
static void add_legal(dm_text *out, const cli_option *o)
{
    const dmpo_option_info *info = &o->info;
    char low[DM_DOUBLE_TEXT], high[DM_DOUBLE_TEXT];

    if (info->legal)
        dm_text_print(out, "%s", info->legal);
    else if (info->low < info->high && info->type == DMPO_OPTION_INTEGER)
        dm_text_print(out, "%lld to %lld", (long long)info->low, (long long)info->high);
    else if (info->low < info->high) {
        dm_double_text(low, info->low);
        dm_double_text(high, info->high);
        dm_text_print(out, "%s to %s", low, high);
    }
}

/* "0.1", "1e-6, sft 2e-5", "on", or in words. */
static void add_default(dm_text *out, const cli_option *o, const void *defaults)
{
    const dmpo_option_info *info = &o->info;
    dm_text value = {0};
    const bool has = initial(&value, o, defaults), flag = info->type == DMPO_OPTION_FLAG;

    if (info->absent)
        dm_text_print(out, "%s", info->absent);
    else if (has)
        dm_text_print(out, "%s", !flag ? value.data : strcmp(value.data, "true") == 0 ? "on" : "off");
    if (info->initial_sft)
        dm_text_print(out, ", sft %s", info->initial_sft);
    dm_text_free(&value);
}

/* ---- terminal ---- */

static void print_row(const cli_option *table, const cli_option *o, const void *defaults)
{
    const dmpo_option_info *info = &o->info;
    dm_text line = {0}, said = {0};
    char left[64];

    snprintf(left, sizeof left, "--%s%s%s", info->name, info->metavar ? " " : "", info->metavar ? info->metavar : "");
    dm_text_print(&line, "  %-26s %s", left, info->help);
    if (info->choices) {
        dm_text_add(&line, ": ", 2);
        add_choices(&line, o);
    } else {
        add_legal(&said, o);
        if (said.size)
            dm_text_print(&line, "; %s", said.data);
        dm_text_free(&said);
    }
    add_default(&said, o, defaults);
    if (said.size && strcmp(said.data, "off") != 0)
        dm_text_print(&line, " [%s]", said.data);
    dm_text_free(&said);
    cli_explain(&said, table, line.data);
    puts(said.data);
    dm_text_free(&said);
    dm_text_free(&line);
}

static void print_rows(const cli_option *table, const void *defaults)
{
    const char *group = NULL;

    for (const cli_option *o = table; o && o->info.name; o++) {
        if (o->info.group && (!group || strcmp(group, o->info.group) != 0)) {
            printf("%s%s\n", o > table ? "\n" : "", o->info.group);
            group = o->info.group;
        }
        print_row(table, o, defaults);
    }
}

/* ---- manual page ---- */

/* Text in roff: '-' and '\' escaped, `name` as \fB\-\-name\fR. */
static void roff(dm_text *out, const cli_option *table, const char *text)
{
    dm_text plain = {0};
    bool bold = false;

    cli_explain(&plain, table, text);
    for (const char *c = plain.data; c && *c; c++) {
        const bool begins = !bold && c[0] == '-' && c[1] == '-' && isalpha((unsigned char)c[2]);
        if (bold && !isalnum((unsigned char)*c) && *c != '-') {
            dm_text_print(out, "\\fR");
            bold = false;
        }
        if (begins)
            dm_text_print(out, "\\fB");
        bold = bold || begins;
        dm_text_print(out, *c == '-' ? "\\-" : *c == '\\' ? "\\e" : "%c", *c);
    }
    if (bold)
        dm_text_print(out, "\\fR");
    dm_text_free(&plain);
}

/* A sentence: its first letter upper case, with a full stop. */
static void add_sentence(dm_text *out, const char *text)
{
    if (out->size)
        dm_text_add(out, " ", 1);
    const char first = (char)toupper((unsigned char)*text);
    dm_text_add(out, &first, 1);
    dm_text_print(out, "%s%s", text + 1, text[strlen(text) - 1] == '.' ? "" : ".");
}

static void man_row(const cli_option *table, const cli_option *o, const void *defaults)
{
    const dmpo_option_info *info = &o->info;
    dm_text name = {0}, body = {0}, said = {0}, out = {0};

    dm_text_print(&name, "--%s", info->name);
    roff(&out, table, info->name);
    printf(".TP\n%s \\-\\-%s", info->metavar ? ".BI" : ".B", out.data);
    if (info->metavar)
        printf(" \" %s\"", info->metavar);
    dm_text_free(&out);
    add_sentence(&body, info->manual ? info->manual : info->help);
    if (info->choices) {
        dm_text_print(&said, "One of ");
        add_choices(&said, o);
        add_sentence(&body, said.data);
    } else {
        add_legal(&said, o);
        if (said.size)
            add_sentence(&body, said.data);
    }
    dm_text_free(&said);
    add_default(&said, o, defaults);
    if (said.size && strncmp(said.data, "required", 8) == 0) {
        add_sentence(&body, said.data);
    } else if (said.size) {
        dm_text line = {0};
        dm_text_print(&line, "Default: %s", said.data);
        add_sentence(&body, line.data);
        dm_text_free(&line);
    }
    roff(&out, table, body.data);
    printf("\n%s\n", out.data);
    dm_text_free(&out);
    dm_text_free(&said);
    dm_text_free(&body);
    dm_text_free(&name);
}

static void man_rows(const cli_option *table, const void *defaults)
{
    const char *group = NULL;

    for (const cli_option *o = table; o && o->info.name; o++) {
        if (o->info.group && (!group || strcmp(group, o->info.group) != 0)) {
            group = o->info.group;
            printf(".SS %c%s\n", toupper((unsigned char)*group), group + 1);
        }
        man_row(table, o, defaults);
    }
}

/* ---- README ---- */

static void markdown_row(const cli_option *table, const cli_option *o, const void *defaults)
{
    const dmpo_option_info *info = &o->info;
    dm_text line = {0}, out = {0}, legal = {0};

    add_legal(&legal, o);
    dm_text_print(&line, "| `--%s` | %s | ", info->name,
                  legal.size      ? legal.data
                  : info->metavar ? info->metavar
                                  : "flag");
    add_default(&line, o, defaults);
    dm_text_print(&line, " | %s", info->help);
    if (info->choices) {
        dm_text_add(&line, ": ", 2);
        add_choices(&line, o);
    }
    cli_explain(&out, table, line.data);
    printf("%s |\n", out.data);
    dm_text_free(&legal);
    dm_text_free(&out);
    dm_text_free(&line);
}

dm_status cli_help(const cli_command *c, const void *defaults, const char *form, dm_error *err)
{
    if (strcmp(form, "man") == 0) {
        man_rows(c->options, defaults);
        puts(".SS For every command");
        man_rows(cli_common_options, NULL);
    } else if (strcmp(form, "markdown") == 0) {
        puts("| option | value | default | meaning |\n| --- | --- | --- | --- |");
        for (const cli_option *o = c->options; o && o->info.name; o++)
            markdown_row(c->options, o, defaults);
    } else if (*form) {
        return dm_fail(err, DM_ERR_ARGUMENT, "--help=%s: forms are man and markdown; --help alone explains", form);
    } else {
        printf("usage: dmpo %s %s\n\n%s\n\n", c->name, c->usage, c->summary);
        print_rows(c->options, defaults);
        puts("\nFor every command:");
        print_rows(cli_common_options, NULL);
        if (c->details)
            printf("\n%s\n", c->details);
    }
    return DM_OK;
}
