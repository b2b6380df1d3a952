/* The configuration that a GGUF file's metadata gives, with the defaults of llama.cpp where it is silent. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/half.h"
#include "model/formats/gguf_names.h"
#include "model/formats/rope_factors.h"
#include "model/formats/source_internal.h"
#include "model/network/rope.h"

typedef struct reader {
    const dm_gguf *g;
    const char *arch; /* the keys' prefix */
    dm_config *c;
    dm_error *err;
} reader;

enum { KEY = 128 };

/* "llama.block_count" */
static const char *key_of(char key[KEY], const reader *r, const char *name)
{
    snprintf(key, KEY, "%s.%s", r->arch, name);
    return key;
}

static bool has(const reader *r, const char *name)
{
    char key[KEY];
    return dm_gguf_has(r->g, key_of(key, r, name));
}

static dm_status unsupported(const reader *r, const char *name, const char *fmt, ...) DM_PRINTF(3, 4);

static dm_status unsupported(const reader *r, const char *name, const char *fmt, ...)
{
    char message[256], key[KEY];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s: key \"%s\" is %s", dm_gguf_path(r->g), key_of(key, r, name),
                   message);
}

/* A size, 1 .. most; fallback 0: the key is required. */
static dm_status get_size(const reader *r, const char *name, int64_t most, uint32_t fallback, uint32_t *out)
{
    char key[KEY];
    int64_t value = fallback;

    if (!fallback || has(r, name)) {
        const dm_status s = dm_gguf_i64(r->g, key_of(key, r, name), &value, r->err);
        if (s != DM_OK)
            return s;
    }
    if (value < 1 || value > most)
        return dm_fail(r->err, DM_ERR_INPUT, "%s: key \"%s\" is %lld, must be from 1 to %lld", dm_gguf_path(r->g),
                       key_of(key, r, name), (long long)value, (long long)most);
    *out = (uint32_t)value;
    return DM_OK;
}

/* A number of heads: one, or a list that has the same for every layer. */
static dm_status get_heads(const reader *r, const char *name, uint32_t fallback, uint32_t *out)
{
    char key[KEY];
    int32_t *list = NULL;
    size_t n = 0;

    if (!has(r, name) || dm_gguf_ints(r->g, key_of(key, r, name), &list, &n, NULL) != DM_OK)
        return get_size(r, name, INT32_MAX, fallback, out);
    dm_status s = DM_OK;
    for (size_t i = 0; i < n && s == DM_OK; i++)
        if (list[i] != list[0])
            s = unsupported(r, name, "not the same for every layer, which is not supported");
    if (s == DM_OK && (n == 0 || list[0] < 1))
        s = dm_fail(r->err, DM_ERR_INPUT, "%s: key \"%s\" must hold numbers of 1 or more", dm_gguf_path(r->g), key);
    if (s == DM_OK)
        *out = (uint32_t)list[0];
    free(list);
    return s;
}

/* An f32 as the double that people would write: 1e-05, not 9.999999747378752e-06. It rounds to the same f32. */
static double as_written(double x)
{
    const float narrow = (float)x;
    char text[64];

    if ((double)narrow < x || (double)narrow > x)
        return x; /* stored wider */
    for (int digits = 6; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        const double back = strtod(text, NULL);
        if (dm_f32_bits((float)back) == dm_f32_bits(narrow))
            return back;
    }
    return x;
}

static dm_status get_number(const reader *r, const char *name, const double *fallback, double *out)
{
    char key[KEY];
    double value = fallback ? *fallback : 0;

    if (!fallback || has(r, name)) {
        const dm_status s = dm_gguf_f64(r->g, key_of(key, r, name), &value, r->err);
        if (s != DM_OK)
            return s;
    }
    *out = as_written(value);
    return DM_OK;
}

static dm_status read_sizes(const reader *r)
{
    dm_config *c = r->c;
    const dm_gguf_tensor *embed = dm_gguf_find(r->g, "token_embd.weight");
    uint32_t vocab = 0, values, rope;
    dm_status s;

    if (embed && embed->dims == 2 && embed->shape[1] >= 1 && embed->shape[1] <= INT32_MAX)
        vocab = (uint32_t)embed->shape[1]; /* the key is newer than the format */
    if ((s = get_size(r, "embedding_length", INT32_MAX, 0, &c->hidden)) != DM_OK ||
        (s = get_size(r, "feed_forward_length", INT32_MAX, 0, &c->intermediate)) != DM_OK ||
        (s = get_size(r, "block_count", DM_LAYERS_MAX, 0, &c->layers)) != DM_OK ||
        (s = get_heads(r, "attention.head_count", 0, &c->heads)) != DM_OK ||
        (s = get_heads(r, "attention.head_count_kv", c->heads, &c->kv_heads)) != DM_OK ||
        (s = get_size(r, "context_length", INT32_MAX, 0, &c->max_positions)) != DM_OK ||
        (s = get_size(r, "vocab_size", INT32_MAX, vocab, &c->vocab)) != DM_OK)
        return s;
    if (!has(r, "attention.key_length") && c->hidden % c->heads)
        return unsupported(r, "embedding_length", "%u, not a multiple of %u heads, and attention.key_length is missing",
                           (unsigned)c->hidden, (unsigned)c->heads);
    if ((s = get_size(r, "attention.key_length", INT32_MAX, c->hidden / c->heads ? c->hidden / c->heads : 1,
                      &c->head_dim)) != DM_OK ||
        (s = get_size(r, "attention.value_length", INT32_MAX, c->head_dim, &values)) != DM_OK ||
        (s = get_size(r, "rope.dimension_count", INT32_MAX, c->head_dim, &rope)) != DM_OK)
        return s;
    if (values != c->head_dim)
        return unsupported(r, "attention.value_length", "%u, unlike the keys' %u, which is not supported",
                           (unsigned)values, (unsigned)c->head_dim);
    if (rope != c->head_dim)
        return unsupported(r, "rope.dimension_count", "%u of %u, partial rotary, which is not supported",
                           (unsigned)rope, (unsigned)c->head_dim);
    return DM_OK;
}

/* Keys whose only supported value is nothing. */
static dm_status read_refusals(const reader *r)
{
    static const char *const names[] = {"expert_count", "attention.sliding_window", "attn_logit_softcapping",
                                        "final_logit_softcapping"};
    char key[KEY];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double value = 0;
        if (!has(r, names[i]) || (i == 1 && dm_config_is_gemma(r->c)))
            continue;
        const dm_status s = dm_gguf_f64(r->g, key_of(key, r, names[i]), &value, r->err);
        if (s != DM_OK)
            return s;
        if (value > 0 && !(i == 1 && value >= r->c->max_positions)) /* a window over everything is none */
            return unsupported(r, names[i], "%g, which is not supported in GGUF files; 0 is", value);
    }
    return DM_OK;
}

static dm_status read_factors(const reader *r)
{
    const dm_gguf_tensor *t = dm_gguf_find(r->g, DM_GGUF_ROPE_FACTORS);
    const size_t n = r->c->head_dim / 2;
    uint32_t original = 0;
    dm_status s;

    if (!t)
        return DM_OK;
    if (has(r, DM_GGUF_ROPE_ORIGINAL) && (s = get_size(r, DM_GGUF_ROPE_ORIGINAL, INT32_MAX, 0, &original)) != DM_OK)
        return s;
    if (t->type != DM_F32 || t->dims != 1 || t->count != n)
        return dm_fail(r->err, DM_ERR_INPUT, "%s: tensor \"%s\" must be %zu numbers of type F32", dm_gguf_path(r->g),
                       t->name, n);
    float *factors = malloc((n + 1) * sizeof *factors);
    if (!factors)
        return dm_fail(r->err, DM_ERR_MEMORY, "%s: no memory for tensor \"%s\"", dm_gguf_path(r->g), t->name);
    if ((s = dm_input_read(t->in, factors, n * sizeof *factors, t->offset, r->err)) != DM_OK) {
        free(factors);
        return s;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char p[4];
        memcpy(p, &factors[i], sizeof p);
        factors[i] =
            dm_f32_from_bits((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
    }
    const bool linear = r->c->rope == DM_ROPE_LINEAR, known = dm_rope_from_factors(r->c, factors, original);
    free(factors);
    if (!known || (linear && r->c->rope != DM_ROPE_LINEAR))
        return dm_fail(
            r->err, DM_ERR_UNSUPPORTED,
            "%s: tensor \"%s\": these RoPE factors are not those of llama3 scaling, which alone is supported",
            dm_gguf_path(r->g), t->name);
    return DM_OK;
}

/* Gemma 3: the window, which layers have it, the base of their RoPE. */
static dm_status read_layers(const reader *r)
{
    const double base = 10000;
    uint32_t pattern;
    dm_status s;

    if (dm_config_is_gemma(r->c) &&
        ((s = get_size(r, "attention.sliding_window", INT32_MAX, 0, &r->c->window)) != DM_OK ||
         (s = get_number(r, DM_GGUF_LOCAL_BASE, &base, &r->c->rope_local_theta)) != DM_OK))
        return s;
    if ((s = get_size(r, "attention.sliding_window_pattern", INT32_MAX, DM_GEMMA_PATTERN, &pattern)) != DM_OK)
        return s;
    dm_config_usual_layers(r->c, pattern);
    if (!memchr(r->c->windowed, 1, r->c->layers))
        r->c->window = 0;
    return DM_OK;
}

/* llama.cpp multiplies its attention factor by what YaRN's paper makes of the factor. */
static dm_status read_yarn(const reader *r, double factor)
{
    static const char *const refused[] = {"rope.scaling.yarn_ext_factor", "rope.scaling.yarn_attn_factor",
                                          "rope.scaling.yarn_log_multiplier"};
    const double fast = 32, slow = 1, one = 1;
    dm_config *c = r->c;
    double attention;
    dm_status s;

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (has(r, refused[i]))
            return unsupported(r, refused[i], "there, which is not supported beside YaRN");
    if ((s = get_size(r, DM_GGUF_ROPE_ORIGINAL, INT32_MAX, c->max_positions, &c->rope_original)) != DM_OK ||
        (s = get_number(r, "rope.scaling.yarn_beta_fast", &fast, &c->rope_fast)) != DM_OK ||
        (s = get_number(r, "rope.scaling.yarn_beta_slow", &slow, &c->rope_slow)) != DM_OK ||
        (s = get_number(r, "rope.scaling.attn_factor", &one, &attention)) != DM_OK)
        return s;
    c->rope = DM_ROPE_YARN;
    c->rope_factor = factor;
    c->rope_whole = true;
    c->rope_attention = attention * dm_rope_yarn_attention(factor);
    return DM_OK;
}

static dm_status read_rope(const reader *r)
{
    const double theta = 10000, none = 0;
    const char *type = "linear"; /* what llama.cpp assumes: with a factor alone */
    double factor, old;
    char key[KEY];
    dm_status s;

    if ((s = get_number(r, "rope.freq_base", &theta, &r->c->rope_theta)) != DM_OK ||
        (s = get_number(r, "rope.scale_linear", &none, &old)) != DM_OK || /* the older name */
        (s = get_number(r, "rope.scaling.factor", &old, &factor)) != DM_OK ||
        (has(r, "rope.scaling.type") &&
         (s = dm_gguf_string(r->g, key_of(key, r, "rope.scaling.type"), &type, r->err)) != DM_OK))
        return s;
    if (strcmp(type, "yarn") == 0)
        return read_yarn(r, factor);
    if (strcmp(type, "linear") != 0 && strcmp(type, "none") != 0)
        return unsupported(r, "rope.scaling.type", "\"%.40s\", which is not supported; none, linear and yarn are",
                           type);
    if (strcmp(type, "linear") == 0 && factor != 0 && factor != 1) {
        r->c->rope = DM_ROPE_LINEAR;
        r->c->rope_factor = factor;
    }
    return read_factors(r);
}

static dm_status read_token(const reader *r, const char *key, int32_t *out)
{
    int64_t value = -1;

    if (dm_gguf_has(r->g, key)) {
        const dm_status s = dm_gguf_i64(r->g, key, &value, r->err);
        if (s != DM_OK)
            return s;
    }
    *out = value >= 0 && value <= INT32_MAX ? (int32_t)value : -1;
    return DM_OK;
}

/* End of text, of a turn, of a message: where llama.cpp stops. */
static dm_status read_ends(const reader *r)
{
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id;
        const dm_status s = read_token(r, keys[i], &id);
        if (s != DM_OK)
            return s;
        dm_config_add_end(r->c, id);
    }
    return DM_OK;
}

static dm_status read_arch(reader *r)
{
    static const struct {
        const char *name;
        dm_arch arch;
    } archs[] = {{"llama", DM_ARCH_LLAMA},
                 {"qwen2", DM_ARCH_QWEN2},
                 {"qwen3", DM_ARCH_QWEN3},
                 {"gemma3", DM_ARCH_GEMMA3},
                 {"smollm3", DM_ARCH_SMOLLM3}};
    const dm_status s = dm_gguf_string(r->g, "general.architecture", &r->arch, r->err);

    if (s != DM_OK)
        return s;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strcmp(archs[i].name, r->arch) == 0) {
            r->c->arch = archs[i].arch;
            r->c->qkv_bias = archs[i].arch == DM_ARCH_QWEN2;
            r->c->qk_norm = archs[i].arch == DM_ARCH_QWEN3 || archs[i].arch == DM_ARCH_GEMMA3;
            if (archs[i].arch == DM_ARCH_LLAMA) {
                r->c->qkv_bias = dm_gguf_find(r->g, "blk.0.attn_q.bias") != NULL;
                r->c->o_bias = dm_gguf_find(r->g, "blk.0.attn_output.bias") != NULL;
            }
            return DM_OK;
        }
    return dm_fail(r->err, DM_ERR_UNSUPPORTED,
                   "%s: architecture \"%.60s\" is not supported; llama, qwen2, qwen3, gemma3 and smollm3 are",
                   dm_gguf_path(r->g), r->arch);
}

/* A file that is not a whole model. */
static dm_status read_whole(const reader *r)
{
    const char *type = "model";
    dm_status s = DM_OK;

    if (dm_gguf_has(r->g, "general.type"))
        s = dm_gguf_string(r->g, "general.type", &type, r->err);
    if (s == DM_OK && strcmp(type, "model") != 0)
        return dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s: general.type is \"%.40s\", must be \"model\"%s",
                       dm_gguf_path(r->g), type,
                       strcmp(type, "adapter") == 0 ? "; of an adapter, PEFT's directory is read" : "");
    return s;
}

dm_status dm_source_gguf_config(dm_config *out, const dm_gguf *g, dm_error *err)
{
    reader r = {g, NULL, out, err};
    dm_status s;

    memset(out, 0, sizeof *out);
    if ((s = read_whole(&r)) != DM_OK || (s = read_arch(&r)) != DM_OK || (s = read_sizes(&r)) != DM_OK ||
        (s = read_refusals(&r)) != DM_OK ||
        (s = get_number(&r, "attention.layer_norm_rms_epsilon", NULL, &out->eps)) != DM_OK ||
        (s = read_rope(&r)) != DM_OK || (s = read_layers(&r)) != DM_OK ||
        (s = read_token(&r, "tokenizer.ggml.bos_token_id", &out->bos)) != DM_OK ||
        (s = read_token(&r, "tokenizer.ggml.eos_token_id", &out->eos)) != DM_OK || (s = read_ends(&r)) != DM_OK)
        return s;
    out->tied = dm_gguf_find(g, "output.weight") == NULL;
    return dm_config_check(out, dm_gguf_path(g), err);
}
