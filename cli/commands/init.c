/* dmpo init: a new model of a given shape with seeded weights, and a tokenizer to go with it. */
#include <stdio.h>
#include <string.h>

#include "cli/call.h"
#include "core/files/output.h"
#include "core/files/place.h"
#include "io/data/template.h"
#include "io/tokenizer/tokenizer.h"
#include "model/formats/tensors.h"
#include "model/network/params.h"

typedef struct init_options {
    const char *output, *tokenizer;
    int arch;
    int64_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab, window, positions;
    double rope_theta, eps, std;
    bool tied, overwrite;
    uint64_t seed;
} init_options;

static const char *const arches[] = {"llama", "mistral", "qwen2", "qwen3", "gemma3_text", "smollm3", NULL};

const cli_option cli_init_options[] = {
    DM_OPTION_TEXT(init_options, output, "output", "DIR", "the new model's directory", .absent = "required"),
    DM_OPTION_TEXT(init_options, tokenizer, "tokenizer", "DIR",
                   "copies the tokenizer and template from DIR; sets the vocabulary"),
    DM_OPTION_CHOICE(init_options, arch, "arch", "NAME", arches, "architecture"),
    DM_OPTION_INTEGER(init_options, hidden, "hidden", "N", "width of the residual stream", .low = 1, .high = 1 << 20),
    DM_OPTION_INTEGER(init_options, intermediate, "intermediate", "N", "width of the MLP", .low = 1, .high = 1 << 22),
    DM_OPTION_INTEGER(init_options, layers, "layers", "N", "number of layers", .low = 1, .high = DM_LAYERS_MAX),
    DM_OPTION_INTEGER(init_options, heads, "heads", "N", "number of attention heads", .low = 1, .high = 1 << 12),
    DM_OPTION_INTEGER(init_options, kv_heads, "kv-heads", "N",
                      "number of key and value heads, a divisor of `heads` (0: the same)"),
    DM_OPTION_INTEGER(init_options, head_dim, "head-dim", "N", "width of a head, even (0: `hidden` / `heads`)",
                      .low = 0, .high = 1 << 12),
    DM_OPTION_INTEGER(init_options, vocab, "vocab", "N", "size of the vocabulary (0: the tokenizer's)"),
    DM_OPTION_INTEGER(init_options, window, "window", "N", "sliding window, for mistral and gemma3_text (0: none)",
                      .low = 0, .high = 1 << 24),
    DM_OPTION_INTEGER(init_options, positions, "positions", "N", "longest sequence that the model is meant for",
                      .low = 2, .high = 1 << 24),
    DM_OPTION_REAL(init_options, rope_theta, "rope-theta", "X", "base of the rotary angles"),
    DM_OPTION_REAL(init_options, eps, "eps", "X", "epsilon of RMSNorm"),
    DM_OPTION_REAL(init_options, std, "std", "X", "standard deviation of the matrices"),
    DM_OPTION_FLAG(init_options, tied, "tied", "uses the embedding as the head (`no-tied`: a head of its own)"),
    DM_OPTION_SEED(init_options, seed, "seed", "N", "the same seed gives the same weights on every machine"),
    CLI_OPTION_OVERWRITE(init_options),
    {.offset = 0},
};

static const cli_command command = {
    "init",
    "Makes a new model with seeded weights: normal matrices, norms of one, biases of zero.",
    "--output DIR [--tokenizer DIR] [options]",
    NULL,
    cli_init_options,
    0,
    0};

static dm_status shape(const init_options *o, const dm_tokenizer *t, const dm_chat_template *chat, dm_config *c,
                       dm_error *err)
{
    const int64_t vocab = o->vocab ? o->vocab : t ? (int64_t)dm_tokenizer_size(t) : 0;
    const struct {
        const char *name;
        int64_t value, low, high;
    } checks[] = {
        {"kv-heads", o->kv_heads, 0, o->heads},
        {"vocab", vocab, t ? (int64_t)dm_tokenizer_size(t) : 1, 1 << 24},
    };
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (cli_in_range(checks[i].name, checks[i].value, checks[i].low, checks[i].high, err) != DM_OK)
            return DM_ERR_ARGUMENT;
    *c = (dm_config){
        .arch = (dm_arch)o->arch,
        .hidden = (uint32_t)o->hidden,
        .intermediate = (uint32_t)o->intermediate,
        .layers = (uint32_t)o->layers,
        .heads = (uint32_t)o->heads,
        .kv_heads = (uint32_t)(o->kv_heads ? o->kv_heads : o->heads),
        .head_dim = (uint32_t)(o->head_dim ? o->head_dim : o->hidden / o->heads),
        .vocab = (uint32_t)vocab,
        .max_positions = (uint32_t)o->positions,
        .window = o->arch == DM_ARCH_MISTRAL || o->arch == DM_ARCH_GEMMA3 ? (uint32_t)o->window : 0,
        .qkv_bias = o->arch == DM_ARCH_QWEN2,
        .qk_norm = o->arch == DM_ARCH_QWEN3 || o->arch == DM_ARCH_GEMMA3,
        .tied = o->tied != 0,
        .eps = o->eps,
        .rope_theta = o->rope_theta,
        .rope_local_theta = o->arch == DM_ARCH_GEMMA3 ? 10000 : 0,
        .bos = chat ? chat->bos : -1,
        .eos = chat ? chat->end_of_turn : -1,
    };
    if (c->window && c->arch == DM_ARCH_MISTRAL)
        memset(c->windowed, 1, c->layers);
    dm_config_usual_layers(c, c->window ? DM_GEMMA_PATTERN : 1);
    if (!(o->std > 0 && o->std <= 10))
        return dm_fail(err, DM_ERR_ARGUMENT, "--std %g is out of range; legal: above 0, at most 10", o->std);
    /* dm_config_check calls it broken input, but the user typed it */
    return dm_config_check(c, "the options", err) == DM_OK ? DM_OK : (err->status = DM_ERR_ARGUMENT);
}

static dm_status write_model(const init_options *o, const dm_config *c, const char *dir, char hex[DM_SHA256_HEX],
                             size_t *parameters, dm_error *err)
{
    dm_param_layout layout = {0};
    dm_arena arena = {0};
    dm_status s = dm_param_layout_build(&layout, c, err);
    if (s == DM_OK)
        s = dm_arena_open(&arena, layout.floats * sizeof(float) + 4096, err);
    if (s == DM_OK) {
        float *w = dm_arena_zalloc(&arena, layout.floats, sizeof *w);
        dm_weights_init(w, &layout, o->seed, o->std);
        if ((s = dm_config_write(c, DM_F32, dir, err)) == DM_OK)
            s = dm_weights_write(w, &layout, dir, hex, err);
    }
    *parameters = layout.parameters;
    dm_arena_close(&arena);
    dm_param_layout_free(&layout);
    return s;
}

static dm_status check(cli_call *c, dm_error *err)
{
    const init_options *o = c->options;

    if (!o->output)
        return dm_fail(err, DM_ERR_ARGUMENT, "no output given; --output DIR names the new model's directory");
    if (!o->tokenizer && !o->vocab)
        return dm_fail(err, DM_ERR_ARGUMENT, "the vocabulary is unknown; give --tokenizer DIR or --vocab N");
    const dm_status s = cli_check_inputs(cli_init_options, o, &c->args, o->output, err);
    return s == DM_OK ? dm_place_check(o->output, o->overwrite, err) : s;
}

static dm_status init(cli_call *c, dm_error *err)
{
    const init_options *o = c->options;
    dm_tokenizer *tokenizer = NULL;
    dm_chat_template chat = {0};
    dm_output_dir out = {.fd = -1};
    dm_config config;
    char hex[DM_SHA256_HEX];
    size_t parameters = 0;
    dm_status s = DM_OK;

    if (o->tokenizer && (s = dm_tokenizer_open(&tokenizer, o->tokenizer, err)) == DM_OK)
        s = dm_template_open(&chat, NULL, o->tokenizer, tokenizer, err);
    if (s == DM_OK && (s = shape(o, tokenizer, tokenizer ? &chat : NULL, &config, err)) == DM_OK &&
        (s = dm_output_dir_open(&out, o->output, o->overwrite, err)) == DM_OK)
        s = write_model(o, &config, out.temporary.text, hex, &parameters, err);
    if (s == DM_OK && tokenizer && (s = dm_tokenizer_save(tokenizer, out.temporary.text, err)) == DM_OK)
        s = dm_template_save(&chat, tokenizer, out.temporary.text, err);
    s = dm_output_dir_close(&out, s, err);
    if (s == DM_OK && c->common.json)
        printf("{\"parameters\": %zu, \"vocab\": %u, \"weights_sha256\": \"%s\"}\n", parameters, config.vocab, hex);
    else if (s == DM_OK)
        printf("%s: %s, %zu parameters, vocabulary %u\nweights sha256     %s\n", o->output, arches[o->arch], parameters,
               config.vocab, hex);
    dm_template_close(&chat);
    dm_tokenizer_close(&tokenizer);
    return s;
}

int cli_init(int argc, char **argv)
{
    init_options o = {.hidden = 128,
                      .intermediate = 344,
                      .layers = 4,
                      .heads = 4,
                      .positions = 4096,
                      .rope_theta = 10000,
                      .eps = 1e-5,
                      .std = 0.02,
                      .tied = 1};
    cli_call call = {.command = &command, .options = &o, .check = check, .work = init};

    return cli_call_run(&call, argc, argv);
}
