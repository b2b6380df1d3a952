/* dmpo convert: a model in another form. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/call.h"
#include "core/files/place.h"
#include "model/api.h"
#include "model/formats/adapter.h"
#include "model/formats/merge.h"

enum { TO_AUTO, TO_HF, TO_GGUF, TO_LLAMA2C };

typedef struct convert_options {
    const char *output, *base;
    int to, type, version; /* version: index into versions */
    bool merge, overwrite;
} convert_options;

static const char *const forms[] = {"auto", "hf", "gguf", "llama2c", NULL};
static const char *const types[] = {"f32", "f16", "bf16", "q8_0", NULL};
static const char *const versions[] = {"auto", "0", "1", NULL};
static const dm_dtype dtypes[] = {DM_F32, DM_F16, DM_BF16, DM_Q8_0};

static const cli_option options[] = {
    DM_OPTION_TEXT(convert_options, output, "output", "PATH", "the file or directory to create", .absent = "required"),
    DM_OPTION_CHOICE(convert_options, to, "to", "FORM", forms, "form to write",
                     .manual = "Form to write. auto: gguf for an output whose name ends with .gguf, llama2c for .bin, "
                               "hf for any other."),
    DM_OPTION_CHOICE(convert_options, type, "type", "TYPE", types, "type of matrices; q8_0 only in GGUF",
                     .manual = "Type in which matrices are stored; q8_0 only in GGUF files. Vectors stay f32 in GGUF "
                               "files. A llama2.c file has only f32. A number that is too large for the type is an "
                               "error."),
    DM_OPTION_CHOICE(convert_options, version, "version", "N", versions, "version of a llama2.c file",
                     .manual = "Version of a llama2.c file. llama2.c's run.c reads version 0, which auto means."),
    CLI_BASE_OPTION(convert_options, base),
    DM_OPTION_FLAG(convert_options, merge, "merge", "merges the LoRA adapter MODEL into its base"),
    CLI_OPTION_OVERWRITE(convert_options),
    {.offset = 0},
};

static const cli_command command = {
    "convert",
    "Writes a model in another form. Every number that the new type can represent stays the same.",
    "MODEL --output PATH [options]",
    "MODEL is a Hugging Face directory, a GGUF file, a llama2.c file or an adapter's directory, with --merge or for a\n"
    "GGUF file, which llama.cpp's --lora reads.",
    options,
    1,
    1};

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

static dm_status check(cli_call *c, dm_error *err)
{
    convert_options *o = c->options;

    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output PATH names the file or directory to make");
    if (o->to == TO_AUTO)
        o->to = ends_with(o->output, ".gguf") ? TO_GGUF : ends_with(o->output, ".bin") ? TO_LLAMA2C : TO_HF;
    const dm_dtype type = dtypes[o->type];
    if (o->to == TO_LLAMA2C && type != DM_F32)
        return dm_fail(err, DM_ERR_ARGUMENT, "--type %s is not for llama2c; its only type is f32", types[o->type]);
    if (o->to == TO_HF && type == DM_Q8_0)
        return dm_fail(err, DM_ERR_ARGUMENT, "--type q8_0 is not for hf; its types are f32, f16 and bf16");
    if (o->to != TO_LLAMA2C && o->version != 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "--version is for llama2c; leave it out");
    const dm_status s = cli_check_inputs(options, o, &c->args, o->output, err);
    return s == DM_OK ? dm_place_check(o->output, o->overwrite, err) : s;
}

static dm_status write(const convert_options *o, const dm_source *source, dm_weight_reader weights, int quiet,
                       char hex[DM_SHA256_HEX], dm_error *err)
{
    const dm_dtype type = dtypes[o->type];
    bool no_tokenizer = false;
    dm_status s = DM_OK;

    for (size_t i = 0; i < dm_source_files(source); i++) /* an adapter's base is an input, too */
        if ((s = dm_place_apart(o->output, dm_source_file(source, i), err)) != DM_OK)
            return s;
    s = o->to == TO_GGUF      ? dm_write_gguf(o->output, o->overwrite, source, weights, type, hex, err)
        : o->to == TO_LLAMA2C ? dm_write_llama2c(o->output, o->overwrite, source, weights,
                                                 strcmp(versions[o->version], "1") == 0, &no_tokenizer, hex, err)
                              : dm_write_hf(o->output, o->overwrite, source, weights, type, hex, err);

    if (s == DM_OK && no_tokenizer && !quiet)
        fprintf(stderr, "note: no tokenizer.bin: llama2.c supports only SentencePiece tokenizers\n");
    return s;
}

static dm_status merge(const convert_options *o, const char *input, const dm_engine *engine, int quiet,
                       char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_adapter_merge m;
    dm_status s = dm_adapter_merge_open(&m, engine, input, o->base, err);

    if (s == DM_OK)
        s = write(o, m.loaded.source, dm_weight_reader_of_merge(&m), quiet, hex, err);
    dm_adapter_merge_close(&m);
    return s;
}

static dm_status convert_model(const convert_options *o, const char *input, int quiet, char hex[DM_SHA256_HEX],
                               dm_error *err)
{
    dm_source *source = NULL;
    dm_status s = dm_source_open_on(&source, input, o->base, err);

    if (s != DM_OK)
        return s;
    s = dm_source_adapter(source)
            ? dm_fail(err, DM_ERR_ARGUMENT,
                      "%s: is an adapter, not a whole model; --merge merges it into its base, and --to gguf writes it "
                      "for llama.cpp's --lora",
                      input)
            : write(o, source, dm_weight_reader_of_source(source), quiet, hex, err);
    dm_source_close(&source);
    return s;
}

static dm_status convert_adapter(const convert_options *o, const char *input, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_loaded_model m;
    dm_status s = dm_loaded_model_open(&m, input, o->base, err);

    if (s == DM_OK && !dm_source_adapter(m.source)) /* its adapter_config.json could not be looked at before */
        s = dm_fail(err, DM_ERR_FILE, "%s: has no adapter_config.json now; it changed while it was read", input);
    if (s == DM_OK && (s = dm_place_apart(o->output, dm_source_path(m.source), err)) == DM_OK &&
        !(m.adapter = malloc(m.lora.layout.floats * sizeof *m.adapter)))
        s = dm_fail(err, DM_ERR_MEMORY, "%s: no memory for the adapter", input);
    if (s == DM_OK && (s = dm_loaded_model_read_adapter(&m, err)) == DM_OK)
        s = dm_write_gguf_adapter(o->output, o->overwrite, &m, dtypes[o->type], hex, err);
    free(m.adapter);
    dm_loaded_model_close(&m);
    return s;
}

static dm_status print_json(const convert_options *o, const char *hex, dm_error *err)
{
    dm_text out = {0};
    dm_json_writer w = {.out = &out};

    dm_json_open_object(&w, NULL);
    dm_json_put_string(&w, "output", o->output);
    dm_json_put_string(&w, "form", forms[o->to]);
    dm_json_put_string(&w, "type", types[o->type]);
    dm_json_put_string(&w, "weights_sha256", hex);
    dm_json_close_value(&w);
    const dm_status s = out.failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to print the result") : DM_OK;
    if (s == DM_OK)
        puts(out.data);
    dm_text_free(&out);
    return s;
}

static dm_status convert(cli_call *c, dm_error *err)
{
    const convert_options *o = c->options;
    const char *input = c->args.positional[0];
    char hex[DM_SHA256_HEX];
    dm_status s = o->merge ? cli_call_engine(c, err) : DM_OK;

    if (s == DM_OK)
        s = o->merge                                   ? merge(o, input, &c->engine->e, c->common.quiet, hex, err)
            : dm_adapter_is(input) && o->to == TO_GGUF ? convert_adapter(o, input, hex, err)
                                                       : convert_model(o, input, c->common.quiet, hex, err);
    if (s != DM_OK || c->common.json)
        return s == DM_OK ? print_json(o, hex, err) : s;
    printf("%s: %s, %s\nweights sha256     %s\n", o->output, forms[o->to], types[o->type], hex);
    return DM_OK;
}

int cli_convert(int argc, char **argv)
{
    convert_options o = {0};
    cli_call call = {.command = &command, .options = &o, .check = check, .work = convert};

    return cli_call_run(&call, argc, argv);
}
