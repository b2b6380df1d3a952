/* config.json: what is read, what is refused and by which words, and round trips. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/formats/source.h"
#include "model/formats/tensors.h"
#include "model/network/params.h"
#include "tests/support/check.h"
#include "tests/support/config_tool.h"

/* ---- what is read ---- */

static void test_defaults(void)
{
    dm_config c = config_of("llama", "");

    CK(c.arch == DM_ARCH_LLAMA && c.hidden == 24 && c.intermediate == 40 && c.layers == 4 && c.heads == 6);
    CK(c.kv_heads == 6 && c.head_dim == 4 && c.vocab == 50 && c.max_positions == 2048);
    CK(c.n_ends == 1 && c.ends[0] == c.eos);
    CK(c.window == 0 && !c.qkv_bias && !c.qk_norm && !c.tied && c.eps == 1e-6 && c.rope_theta == 10000);
    CK(c.rope == DM_ROPE_DEFAULT && c.bos == 1 && c.eos == 2);

    c = config_of("mistral", "");
    CK(c.window == 4096 && c.windowed[0] == 1 && c.windowed[3] == 1 && c.head_dim == 4);
    c = config_of("mistral", ", \"sliding_window\": null");
    CK(c.window == 0 && c.windowed[0] == 0);
    c = config_of("mistral", ", \"sliding_window\": 12, \"head_dim\": 10");
    CK(c.window == 12 && c.windowed[3] == 1 && c.head_dim == 10);

    c = config_of("qwen2", ", \"attention_bias\": true");
    CK(c.qkv_bias && c.window == 0 && c.bos == -1 && c.eos == -1);
    c = config_of("qwen3", "");
    CK(c.qk_norm && !c.qkv_bias && c.head_dim == 128);
    c = config_of("qwen3", ", \"head_dim\": null, \"num_key_value_heads\": 2, \"tie_word_embeddings\": true");
    CK(c.head_dim == 128 && c.kv_heads == 2 && c.tied);
    c = config_of("llama", ", \"eos_token_id\": [7, 8], \"bos_token_id\": null, \"rms_norm_eps\": 1e-5");
    CK(c.eos == 7 && c.bos == -1 && c.eps == 1e-5);
}

static void test_windows(void)
{
    dm_config c = config_of("qwen2", ", \"sliding_window\": 8, \"max_window_layers\": 2");

    CK(c.window == 0 && c.windowed[3] == 0); /* use_sliding_window is false without the key */
    c = config_of("qwen2", ", \"use_sliding_window\": true, \"sliding_window\": 8, \"max_window_layers\": 2");
    CK(c.window == 8 && !c.windowed[0] && !c.windowed[1] && c.windowed[2] && c.windowed[3]);
    c = config_of("qwen3", ", \"use_sliding_window\": true, \"sliding_window\": 8"); /* from layer 28 */
    CK(c.window == 0 && !c.windowed[3]);
    c = config_of("qwen3",
                  ", \"use_sliding_window\": true, \"sliding_window\": 8, \"layer_types\": [\"full_attention\", "
                  "\"sliding_attention\", \"full_attention\", \"sliding_attention\"]");
    CK(c.window == 8 && !c.windowed[0] && c.windowed[1] && !c.windowed[2] && c.windowed[3]);
}

static void test_rope(void)
{
    dm_config c =
        config_of("llama", ", \"rope_theta\": 500000, \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}");

    CK(c.rope_theta == 500000 && c.rope == DM_ROPE_LINEAR && c.rope_factor == 4);
    c = config_of("llama",
                  ", \"rope_scaling\": null, \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 7e5}");
    CK(c.rope_theta == 7e5 && c.rope == DM_ROPE_DEFAULT);
    c = config_of("llama", ", \"rope_parameters\": {\"rope_type\": \"llama3\", \"rope_theta\": 5e5, \"factor\": 8.0, "
                           "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                           "\"original_max_position_embeddings\": 8192}");
    CK(c.rope_theta == 5e5 && c.rope == DM_ROPE_LLAMA3 && c.rope_factor == 8 && c.rope_low == 1 && c.rope_high == 4);
    CK(c.rope_original == 8192);
    /* both names: the older one counts, as in transformers, unless it is empty */
    c = config_of("llama", ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 7e5}, "
                           "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 4}");
    CK(c.rope == DM_ROPE_LINEAR && c.rope_factor == 4 && c.rope_theta == 10000);
    c = config_of("llama",
                  ", \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 7e5}, \"rope_scaling\": {}");
    CK(c.rope == DM_ROPE_DEFAULT && c.rope_theta == 7e5);
}

/* YaRN's defaults are transformers'; its frequencies and attention factor in the golden case llama-yarn-bias. */
static void test_yarn(void)
{
    dm_config c = config_of("llama", ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
                                     "\"original_max_position_embeddings\": 64}");
    CK(c.rope == DM_ROPE_YARN && c.rope_factor == 4 && c.rope_original == 64 && c.rope_fast == 32 && c.rope_slow == 1);
    CK(c.rope_whole && fabs(c.rope_attention - (0.1 * log(4) + 1)) < 1e-15);
    c = config_of(
        "llama",
        ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"attention_factor\": null, \"mscale\": "
        "0.5, \"mscale_all_dim\": 2.0}");
    CK(c.rope_original == 2048 && fabs(c.rope_attention - (0.05 * log(4) + 1) / (0.2 * log(4) + 1)) < 1e-15);
    c = config_of("llama", ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, \"attention_factor\": 1.5}");
    CK(c.rope_attention == 1.5);
}

static void test_gemma(void)
{
    dm_config c = config_of("gemma3_text", ", \"sliding_window\": 5");

    CK(c.arch == DM_ARCH_GEMMA3 && c.qk_norm && c.tied && c.head_dim == 256 && c.query_scalar == 256 && c.window == 5);
    CK(c.rope_theta == 1e6 && c.rope_local_theta == 1e4 && c.bos == 2 && c.eos == 1 && c.max_positions == 131072);
    for (uint32_t i = 0; i < c.layers; i++) /* four layers: the first full one would be the sixth */
        CK(c.windowed[i] == 1 && c.rope_use[i] == DM_ROPE_LOCAL);
    c = config_of("gemma3_text",
                  ", \"layer_types\": [\"sliding_attention\", \"full_attention\", \"full_attention\", "
                  "\"sliding_attention\"], \"rope_parameters\": {\"sliding_attention\": {\"rope_theta\": 77}, "
                  "\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, \"rope_theta\": 99}}");
    CK(c.rope_theta == 99 && c.rope_local_theta == 77 && c.rope == DM_ROPE_LINEAR && c.rope_factor == 8);
    CK(c.rope_use[0] == DM_ROPE_LOCAL && c.rope_use[1] == DM_ROPE_MAIN && c.rope_use[3] == DM_ROPE_LOCAL);
}

static void test_smollm3(void)
{
    dm_config c = config_of("smollm3", "");

    CK(c.arch == DM_ARCH_SMOLLM3 && c.rope_theta == 2e6 && c.tied && c.window == 0);
    CK(c.rope_use[0] == DM_ROPE_MAIN && c.rope_use[2] == DM_ROPE_MAIN && c.rope_use[3] == DM_ROPE_NONE);
    c = config_of("smollm3", ", \"no_rope_layers\": [0, 1, 1, 1], \"attention_bias\": false");
    CK(c.rope_use[0] == DM_ROPE_NONE && c.rope_use[3] == DM_ROPE_MAIN);
    c = config_of("llama", ", \"attention_bias\": true, \"hidden_act\": \"swish\"");
    CK(c.qkv_bias && c.o_bias);
}

/* ---- tokens that end a text ---- */

static void test_ends(void)
{
    char path[128];
    int32_t stops[DM_ENDS_MAX + 1];
    dm_error err = {0};

    dm_config c = config_of("llama", ", \"eos_token_id\": [5, 30]");
    CK(c.eos == 5 && c.n_ends == 2 && c.ends[0] == 5 && c.ends[1] == 30);
    CK(dm_config_stops(stops, &c, 30) == 2 && dm_config_stops(stops, &c, -1) == 2);
    CK(dm_config_stops(stops, &c, 7) == 3 && stops[2] == 7);
    CK(dm_config_write(&c, DM_F32, config_dir, NULL) == DM_OK);
    c = config_read(config_dir);
    CK(c.eos == 5 && c.n_ends == 2 && c.ends[1] == 30);

    snprintf(path, sizeof path, "%s/generation_config.json", config_dir);
    CK(dm_file_write(path, "{\"eos_token_id\": [30, 31]}", 26, NULL) == DM_OK);
    c = config_of("llama", "");
    CK(c.eos == 2 && c.n_ends == 3 && c.ends[0] == 2 && c.ends[1] == 30 && c.ends[2] == 31);
    CK(dm_file_write(path, "{\"eos_token_id\": \"x\"}", 21, NULL) == DM_OK);
    CK(dm_config_read(&c, config_dir, &err) == DM_ERR_INPUT && strstr(err.message, "generation_config.json:1:18"));
    unlink(path);
}

/* ---- what is refused ---- */

static void refused(dm_status status, const char *says)
{
    dm_config c;
    dm_error err = {0};
    const dm_status got = dm_config_read(&c, config_dir, &err);

    CK_MSG(got == status, "'%s': status %d instead of %d (%s)", says, (int)got, (int)status, err.message);
    CK_MSG(strstr(err.message, says) && strstr(err.message, "config.json"), "%s\n  does not say: %s", err.message,
           says);
}

static void test_broken(void)
{
    static const struct {
        const char *type, *more;
        dm_status status;
        const char *says;
    } table[] = {
        {"gpt2", "", DM_ERR_UNSUPPORTED, "model_type \"gpt2\""},
        {"llama", ", \"hidden_act\": \"gelu\"", DM_ERR_UNSUPPORTED, "hidden_act \"gelu\""},
        {"llama", ", \"hidden_act\": 3", DM_ERR_INPUT, "\"hidden_act\" must be a string"},
        {"llama", ", \"mlp_bias\": true", DM_ERR_UNSUPPORTED, "mlp_bias"},
        {"mistral", ", \"attention_bias\": true", DM_ERR_UNSUPPORTED, "attention_bias"},
        {"qwen3", ", \"attention_bias\": true", DM_ERR_UNSUPPORTED, "attention_bias"},
        {"llama", ", \"attention_bias\": \"yes\"", DM_ERR_INPUT, "attention_bias"},
        {"llama", ", \"quantization_config\": {}", DM_ERR_UNSUPPORTED, "quantization_config"},
        {"llama", ", \"partial_rotary_factor\": 0.5", DM_ERR_UNSUPPORTED, "partial_rotary_factor"},
        {"llama", ", \"rope_parameters\": {\"partial_rotary_factor\": 0.5}", DM_ERR_UNSUPPORTED,
         "partial_rotary_factor"},
        {"llama", ", \"rope_scaling\": {\"rope_type\": \"longrope\", \"factor\": 4}", DM_ERR_UNSUPPORTED,
         "\"longrope\""},
        {"llama", ", \"rope_scaling\": {\"rope_type\": \"yarn\"}", DM_ERR_INPUT, "\"factor\" is missing"},
        {"llama", ", \"rope_theta\": 1, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}", DM_ERR_INPUT,
         "rope_theta is 1"},
        {"llama", ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"beta_slow\": 64}", DM_ERR_INPUT,
         "beta_slow 64"},
        {"llama", ", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, \"truncate\": 1}", DM_ERR_INPUT,
         "truncate"},
        {"gemma3", "", DM_ERR_UNSUPPORTED, "model_type \"gemma3\" is not supported"},
        {"gemma2", "", DM_ERR_UNSUPPORTED, "model_type \"gemma2\" is not supported"},
        {"gemma3_text", ", \"hidden_activation\": \"gelu\"", DM_ERR_UNSUPPORTED, "hidden_activation \"gelu\""},
        {"gemma3_text", ", \"attention_bias\": true", DM_ERR_UNSUPPORTED, "attention_bias"},
        {"gemma3_text", ", \"final_logit_softcapping\": 30", DM_ERR_UNSUPPORTED, "final_logit_softcapping"},
        {"gemma3_text", ", \"attn_logit_softcapping\": 50", DM_ERR_UNSUPPORTED, "attn_logit_softcapping"},
        {"gemma3_text", ", \"use_bidirectional_attention\": true", DM_ERR_UNSUPPORTED, "use_bidirectional_attention"},
        {"gemma3_text", ", \"query_pre_attn_scalar\": 0", DM_ERR_INPUT, "query_pre_attn_scalar"},
        {"gemma3_text", ", \"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}",
         DM_ERR_UNSUPPORTED, "sliding_attention: RoPE scaling"},
        {"gemma3_text", ", \"rope_parameters\": {\"rope_theta\": 5}", DM_ERR_UNSUPPORTED, "\"rope_theta\""},
        {"gemma3_text", ", \"rope_parameters\": {}, \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 2}",
         DM_ERR_UNSUPPORTED, "beside rope_parameters"},
        {"gemma3_text", ", \"layer_types\": [\"full_attention\"]", DM_ERR_INPUT, "layer_types"},
        {"smollm3", ", \"use_sliding_window\": true", DM_ERR_UNSUPPORTED, "use_sliding_window"},
        {"smollm3", ", \"no_rope_layers\": [1]", DM_ERR_INPUT, "no_rope_layers"},
        {"smollm3", ", \"no_rope_layers\": [1, 1, 2, 0]", DM_ERR_INPUT, "no_rope_layers"},
        {"llama", ", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4}", DM_ERR_UNSUPPORTED, "\"dynamic\""},
        {"llama", ", \"rope_scaling\": {\"type\": 4}", DM_ERR_INPUT, "rope_type"},
        {"llama", ", \"rope_scaling\": 4", DM_ERR_INPUT, "\"rope_scaling\" must be an object"},
        {"llama", ", \"rope_scaling\": {\"type\": \"linear\"}", DM_ERR_INPUT, "\"factor\" is missing"},
        {"llama", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0.5}", DM_ERR_INPUT, "\"factor\""},
        {"llama",
         ", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 1, \"original_max_position_embeddings\": 32}",
         DM_ERR_INPUT, "low_freq_factor"},
        {"llama", ", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e4}}", DM_ERR_UNSUPPORTED,
         "\"full_attention\""},
        {"llama", ", \"rope_theta\": \"big\"", DM_ERR_INPUT, "rope_theta"},
        {"llama", ", \"rope_theta\": 0", DM_ERR_INPUT, "rope_theta"},
        {"llama", ", \"rms_norm_eps\": 0", DM_ERR_INPUT, "rms_norm_eps"},
        {"llama", ", \"num_key_value_heads\": 4", DM_ERR_INPUT, "num_key_value_heads 4"},
        {"llama", ", \"num_key_value_heads\": 0", DM_ERR_INPUT, "num_key_value_heads"},
        {"llama", ", \"head_dim\": 5", DM_ERR_INPUT, "head_dim is 5, must be even"},
        {"llama", ", \"head_dim\": 2147483646", DM_ERR_INPUT, "head_dim"},
        {"llama", ", \"head_dim\": 99999999999", DM_ERR_INPUT, "head_dim"},
        {"llama", ", \"tie_word_embeddings\": 1", DM_ERR_INPUT, "tie_word_embeddings"},
        {"llama", ", \"eos_token_id\": \"</s>\"", DM_ERR_INPUT, "eos_token_id"},
        {"llama", ", \"eos_token_id\": []", DM_ERR_INPUT, "eos_token_id"},
        {"llama", ", \"bos_token_id\": 1e99", DM_ERR_INPUT, "bos_token_id"},
        {"mistral", ", \"sliding_window\": 0", DM_ERR_INPUT, "sliding_window"},
        {"qwen2", ", \"use_sliding_window\": true, \"layer_types\": [\"full_attention\"]", DM_ERR_INPUT, "layer_types"},
        {"qwen2",
         ", \"layer_types\": [\"sliding_attention\", \"full_attention\", \"full_attention\", "
         "\"full_attention\"]",
         DM_ERR_INPUT, "use_sliding_window"},
        {"qwen2",
         ", \"layer_types\": [\"linear_attention\", \"full_attention\", \"full_attention\", "
         "\"full_attention\"]",
         DM_ERR_UNSUPPORTED, "\"linear_attention\""},
        {"qwen2", ", \"layer_types\": [1, 2, 3, 4]", DM_ERR_INPUT, "must hold strings"},
        {"llama", ", \"hidden_size\": 32", DM_ERR_INPUT, "hidden_size"}, /* twice */
    };
    static const struct {
        const char *text, *says;
    } whole[] = {
        {"", "config.json"},
        {"[]", "must be an object"},
        {"{}", "\"model_type\""},
        {"{\"model_type\": 3}", "\"model_type\""},
        {"{\"model_type\": \"llama\"}", "\"hidden_size\" is missing"},
        {"{\"model_type\": \"llama\", \"hidden_size\": \"24\"}", "\"hidden_size\" is the string \"24\""},
        {"{\"model_type\": \"llama\", \"hidden_size\": 24.5}", "hidden_size"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 24, \"intermediate_size\": 40, \"num_hidden_layers\": 513}",
         "num_hidden_layers"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 25, \"intermediate_size\": 40, \"num_hidden_layers\": 4, "
         "\"num_attention_heads\": 6, \"vocab_size\": 50}",
         "hidden_size 25 is not a multiple"},
        {"{\"model_type\": \"llama\", \"hidden_size\": 2147483646, \"intermediate_size\": 2147483647, "
         "\"num_hidden_layers\": 512, \"num_attention_heads\": 1, \"head_dim\": 2147483646, \"vocab_size\": "
         "2147483647}",
         "more than this machine can address"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        config_put_type(table[i].type, table[i].more);
        refused(table[i].status, table[i].says);
    }
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        config_put(whole[i].text);
        refused(DM_ERR_INPUT, whole[i].says);
    }
    dm_config c;
    CK(dm_config_read(&c, "/nonexistent", NULL) == DM_ERR_FILE);
}

/* Configurations made by hand. */
static void test_check(void)
{
    const dm_config good = config_of("llama", "");
    dm_config c = good;

    CK(dm_config_check(&c, "here", NULL) == DM_OK);
    c.windowed[1] = 1;
    CK(dm_config_check(&c, "here", NULL) == DM_ERR_INPUT);
    c.window = 4; /* still: llama has none */
    CK(dm_config_check(&c, "here", NULL) == DM_ERR_INPUT);
    c = good;
    c.layers = DM_LAYERS_MAX + 1;
    CK(dm_config_check(&c, "here", NULL) == DM_ERR_INPUT);
    c = good;
    c.eps = NAN;
    CK(dm_config_check(&c, "here", NULL) == DM_ERR_INPUT);
    c = good;
    c.arch = (dm_arch)9;
    CK(dm_config_check(&c, "here", NULL) == DM_ERR_INPUT);
    c = good;
    c.qk_norm = true;
    CK(dm_config_check(&c, "here", NULL) == DM_ERR_INPUT);
}

/* ---- writing ---- */

static void test_round_trip(void)
{
    static const struct {
        const char *type, *more;
    } table[] = {
        {"llama", ", \"rope_scaling\": {\"type\": \"llama3\", \"factor\": 8.5, \"low_freq_factor\": 1, "
                  "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}, \"rms_norm_eps\": 1e-5"},
        {"llama", ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 3}, \"bos_token_id\": null"},
        {"mistral", ", \"sliding_window\": null"},
        {"mistral", ", \"num_key_value_heads\": 2"},
        {"qwen2", ", \"use_sliding_window\": true, \"sliding_window\": 8, \"max_window_layers\": 1"},
        {"qwen2", ", \"tie_word_embeddings\": true"},
        {"llama", ", \"attention_bias\": true, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 7, "
                  "\"original_max_position_embeddings\": 99, \"beta_fast\": 16, \"truncate\": false}"},
        {"gemma3_text", ""},
        {"gemma3_text",
         ", \"head_dim\": 8, \"query_pre_attn_scalar\": 7, \"sliding_window\": 9, \"rope_local_base_freq\": 7.5, "
         "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}, \"sliding_window_pattern\": 2"},
        {"smollm3", ""},
        {"smollm3", ", \"no_rope_layers\": [0, 1, 1, 0]"},
        {"qwen3", ", \"rope_theta\": 1000000.5, \"eos_token_id\": 9, \"max_position_embeddings\": 77"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const dm_config c = config_of(table[i].type, table[i].more);
        dm_error err = {0};
        CK_MSG(dm_config_write(&c, DM_F32, config_dir, &err) == DM_OK, "%s", err.message);
        const dm_config again = config_read(config_dir);
        CK_MSG(memcmp(&c, &again, sizeof c) == 0, "%s%s changed on its way through a file", table[i].type,
               table[i].more);
    }
}

static void copied(const char *from, const char *want)
{
    char path[128], *text;
    size_t size;
    dm_error err = {0};

    config_put(from);
    CK_MSG(dm_config_copy(config_dir, DM_F32, config_dir, &err) == DM_OK, "%s", err.message);
    snprintf(path, sizeof path, "%s/config.json", config_dir);
    if (!CK(dm_file_read(path, 1 << 20, &text, &size, NULL) == DM_OK))
        return;
    CK_MSG(strcmp(text, want) == 0, "copied to\n%s\ninstead of\n%s", text, want);
    free(text);
}

static void test_copy(void)
{
    copied("{\"a\": 1e-05,\n \"torch_dtype\" : \"bfloat16\", \"z\":[1.0, {\"dtype\": \"int8\"}]}\n",
           "{\"a\": 1e-05,\n \"torch_dtype\" : \"float32\", \"z\":[1.0, {\"dtype\": \"int8\"}]}\n");
    copied("{\"dtype\":\"q\\\"\\\\\",\n\n\"torch_dtype\":null}",
           "{\"dtype\":\"float32\",\n\n\"torch_dtype\":\"float32\"}");
    copied("{\"x\": 0}", "{\"x\": 0}");
    config_put("{\"dtype\": 16}");
    CK(dm_config_copy(config_dir, DM_F32, config_dir, NULL) == DM_ERR_INPUT);
    config_put("{\"dtype\": \"x\",}");
    CK(dm_config_copy(config_dir, DM_F32, config_dir, NULL) == DM_ERR_INPUT);
}

/* ---- golden cases ---- */

static void test_golden(void)
{
    static const struct {
        const char *name;
        dm_arch arch;
        size_t parameters;
    } cases[] = {/* counted by numpy */
                 {"llama-tied-gqa", DM_ARCH_LLAMA, 25760},   {"llama-untied-mha", DM_ARCH_LLAMA, 24600},
                 {"mistral-window", DM_ARCH_MISTRAL, 28064}, {"qwen2-bias", DM_ARCH_QWEN2, 17040},
                 {"qwen3-qknorm", DM_ARCH_QWEN3, 13808},     {"gemma3", DM_ARCH_GEMMA3, 29496},
                 {"smollm3-nope", DM_ARCH_SMOLLM3, 20184},   {"llama-yarn-bias", DM_ARCH_LLAMA, 14696}};
    const char *src = getenv("SRC");

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[4096];
        dm_error err = {0};
        dm_param_layout l;
        snprintf(path, sizeof path, "%s/tests/golden/%s/model", src ? src : ".", cases[i].name);
        const dm_config c = config_read(path);
        CK(c.arch == cases[i].arch && c.eps == 1e-5 && c.max_positions == 512);
        if (!CK_MSG(dm_param_layout_build(&l, &c, &err) == DM_OK, "%s", err.message))
            continue;
        CK_MSG(l.parameters == cases[i].parameters, "%s: %zu parameters", cases[i].name, l.parameters);
        dm_source *source = NULL;
        CK_MSG(dm_source_open(&source, path, &err) == DM_OK, "%s", err.message);
        dm_source_close(&source);
        dm_param_layout_free(&l);
    }
}

int main(void)
{
    config_open();
    test_defaults();
    test_windows();
    test_rope();
    test_yarn();
    test_gemma();
    test_smollm3();
    test_ends();
    test_broken();
    test_check();
    test_round_trip();
    test_copy();
    test_golden();
    config_close();
    return ck_done("config");
}
