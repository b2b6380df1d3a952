/* dmpo info: what a model, a data file, a file of tensors, or this engine and machine are. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/call.h"
#include "cli/facts.h"
#include "model/formats/adapter.h"
#include "core/numbers/foreign.h"
#include "core/cpu.h"
#include "core/files/file.h"
#include "core/threads.h"

static const cli_option options[] = {
    DM_OPTION_TEXT(cli_info_data_options, model, "model", "DIR",
                   "for a data file: measures it in this model's tokens, not in bytes"),
    CLI_BASE_OPTION(cli_info_data_options, base),
    CLI_TEMPLATE_OPTIONS(cli_info_data_options, chat_template, template_options),
    DM_OPTION_INTEGER(cli_info_data_options, max_length, "max-length", "N",
                      "for a data file: reports what this limit of dmpo train would cut (0: no limit)", .low = 0,
                      .high = 1 << 24),
    DM_OPTION_FLAG(cli_info_data_options, tensors, "tensors",
                   "for a model: lists every tensor with its shape and type"),
    {.offset = 0},
};

static const cli_command command = {
    "info",
    "Describes a model of any form, a data file, a .safetensors file or, without an argument, the engine and machine.",
    "[PATH] [options]",
    "In a data file, broken items are counted and the first one is explained. Without --model, lengths are in bytes, and\n"
    "each mark of the conversation (role, end of turn) counts as one.",
    options,
    0,
    1};

/* As Linux reports them: "L1 data 48K, L2 1024K, L3 32768K". */
static void report_caches(cli_report *r)
{
    static const char *const names[] = {"level", "type", "size"};
    dm_text json = {0}, text = {0};

    for (int index = 0; index < 8; index++) {
        char value[3][32] = {"", "", ""}, path[96];
        for (int i = 0; i < 3; i++) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, names[i]);
            FILE *f = fopen(path, "r");
            if (f && fgets(value[i], sizeof value[i], f))
                value[i][strcspn(value[i], "\n")] = '\0';
            if (f)
                fclose(f);
        }
        if (!*value[2] || strcmp(value[1], "Instruction") == 0)
            continue;
        const char *sep = text.size ? ", " : "";
        dm_text_print(&json, "%s{\"level\": %s, \"type\": \"%s\", \"size\": \"%s\"}", sep, *value[0] ? value[0] : "0",
                      value[1], value[2]);
        dm_text_print(&text, "%sL%s%s %s", sep, value[0], strcmp(value[1], "Data") == 0 ? " data" : "", value[2]);
    }
    dm_text whole = {0};
    dm_text_print(&whole, "[%s]", json.data ? json.data : "");
    r->out.failed |= json.failed || text.failed || whole.failed;
    if (!r->out.failed)
        cli_report_row(r, "caches", whole.data, text.data ? text.data : "unknown");
    dm_text_free(&json);
    dm_text_free(&text);
    dm_text_free(&whole);
}

static void report_isas(cli_report *r, const char *key, bool (*has)(dm_isa))
{
    const char *list[DM_ISA_COUNT];
    size_t n = 0;
    for (int i = 0; i < DM_ISA_COUNT; i++)
        if (has((dm_isa)i))
            list[n++] = dm_isa_name((dm_isa)i);
    cli_report_list(r, key, list, n);
}

dm_status cli_info_engine(cli_report *r, const char *isa, unsigned threads)
{
    char name[128];
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    dm_cpu_name(name, sizeof name);
    cli_report_string(r, "version", dmpo_version());
#ifdef __VERSION__
#ifdef __clang__
    cli_report_string(r, "compiler", __VERSION__);
#else
    cli_report_string(r, "compiler", "gcc " __VERSION__);
#endif
#endif
    if (DM_FOREIGN_MATH)
        cli_report_string(r, "math", DM_FOREIGN_MATH);
    report_isas(r, "isas_built", dm_isa_built);
    report_isas(r, "isas_usable", dm_isa_usable);
    cli_report_string(r, "isa", isa);
    cli_report_int(r, "threads", threads);
    cli_report_string(r, "processor", name);
    cli_report_int(r, "processors", dm_cpu_count());
    report_caches(r);
    if (pages > 0 && page > 0)
        cli_report_bytes(r, "memory", (uint64_t)pages * (uint64_t)page);
    return DM_OK;
}

static int is_tensors(const char *path)
{
    const size_t n = strlen(path), end = strlen(".safetensors");
    return n > end && strcmp(path + n - end, ".safetensors") == 0;
}

static dm_status describe(cli_report *r, const dmpo_engine *engine, const char *path, const cli_info_data_options *o,
                          dm_error *err)
{
    const int directory = dm_dir_exists(path), kind = directory ? -1 : dm_source_file_kind(path), file = kind >= 0;
    const dm_template_choice choice = {.name = o->chat_template, .options = o->template_options};
    if ((directory || file) && (o->model || o->max_length))
        return dm_fail(err, DM_ERR_ARGUMENT, "--model and --max-length are for a data file; %s is a %s", path,
                       directory ? "directory" : "model");
    if (directory && dm_adapter_is(path))
        return cli_info_adapter(r, path, o->base, err);
    if (o->base && (directory || file || !o->model))
        return dm_fail(err, DM_ERR_ARGUMENT, "%s: is not an adapter, which `base` is for; leave `base` out", path);
    if (directory)
        return cli_info_model(r, engine, path, &choice, o->tensors, err);
    if (file)
        return cli_info_file(r, engine, path, kind, &choice, o->tensors, err);
    if (is_tensors(path))
        return cli_info_tensors(r, path, err);
    return cli_info_data(r, path, o, err);
}

static dm_status info(cli_call *c, dm_error *err)
{
    cli_report report = {.json = c->common.json};
    dm_status s = c->args.n_positional
                      ? describe(&report, c->engine, c->args.positional[0], c->options, err)
                      : cli_info_engine(&report, dmpo_engine_isa(c->engine), dmpo_engine_threads(c->engine));

    if (s == DM_OK)
        s = cli_report_print(&report, err);
    dm_text_free(&report.out);
    return s;
}

int cli_info(int argc, char **argv)
{
    cli_info_data_options o = {0};
    cli_call call = {.command = &command, .options = &o, .needs = CLI_ENGINE, .work = info}; /* checks --isa */

    return cli_call_run(&call, argc, argv);
}
