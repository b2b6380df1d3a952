/* Models as others stored them: the order of rows, and the one line that says what is wrong with a file. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/json.h"
#include "model/formats/source.h"
#include "tests/support/check.h"
#include "tests/support/gguf_tool.h"

static char dir[64], path[96];

enum { D = 8, F = 12, LAYERS = 2, HEADS = 2, KV = 1, HD = 4, VOCAB = 10 };

/* ---- a GGUF model, with one thing changed ---- */

typedef struct change {
    const char *key;    /* left out, or of kind `kind` */
    uint32_t kind;      /* 0: left out (a u8, else) */
    uint64_t value;     /* of an integer */
    const char *text;   /* of a string */
    const char *tensor; /* the one that is changed: */
    int what;           /* 1 left out, 2 another shape, 3 type `value`, 4 NaN, 5 one more of this name */
} change;

static const struct {
    const char *name;
    uint32_t value; /* or a float's bits */
    bool required, is_float;
} keys[] = {
    {"llama.block_count", LAYERS, true, false},
    {"llama.context_length", 64, true, false},
    {"llama.embedding_length", D, true, false},
    {"llama.feed_forward_length", F, true, false},
    {"llama.attention.head_count", HEADS, true, false},
    {"llama.attention.head_count_kv", KV, false, false},
    {"llama.attention.key_length", HD, false, false},
    {"llama.attention.value_length", HD, false, false},
    {"llama.attention.layer_norm_rms_epsilon", 0x3727C5AC, true, true}, /* 1e-5 */
    {"llama.rope.dimension_count", HD, false, false},
    {"llama.rope.freq_base", 0x461C4000, false, true}, /* 10000 */
    {"llama.vocab_size", VOCAB, false, false},
    {"tokenizer.ggml.bos_token_id", 1, false, false},
    {"tokenizer.ggml.eos_token_id", 2, false, false},
};
enum { KEYS = sizeof keys / sizeof *keys };

static void put_changed(gguf_file *f, const char *key, const change *c)
{
    g_key(f, key, c->kind);
    if (c->kind == K_STRING)
        g_text(f, c->text);
    else if (c->kind == K_ARRAY) /* of two integers, value and value + 1 */
        g_number(f, F_KIND, K_U32, 4), g_number(f, F_LENGTH, 2, 8), g_number(f, F_OTHER, c->value, 4),
            g_number(f, F_OTHER, c->value + 1, 4);
    else
        g_number(f, F_OTHER, c->value, c->kind == K_U64 || c->kind == K_F64 ? 8 : c->kind == K_BOOL ? 1 : 4);
}

static void put_keys(gguf_file *f, const change *c)
{
    bool put = false;

    if (c->key && strcmp(c->key, "general.architecture") == 0) {
        if (c->kind)
            put_changed(f, c->key, c);
        put = true;
    } else {
        g_string(f, "general.architecture", "llama");
    }
    for (int i = 0; i < KEYS; i++) {
        if (c->key && strcmp(c->key, keys[i].name) == 0) {
            if (c->kind)
                put_changed(f, c->key, c);
            put = true;
            continue;
        }
        g_key(f, keys[i].name, keys[i].is_float ? K_F32 : K_U32);
        g_number(f, F_OTHER, keys[i].value, 4);
    }
    if (c->key && !put)
        put_changed(f, c->key, c);
}

typedef struct tensor {
    const char *name;
    uint64_t rows, cols;
} tensor;

static const tensor in_layer[] = {{"attn_norm", 0, D},   {"attn_q", HEADS *HD, D}, {"attn_k", KV *HD, D},
                                  {"attn_v", KV *HD, D}, {"attn_output", D, D},    {"ffn_norm", 0, D},
                                  {"ffn_gate", F, D},    {"ffn_up", F, D},         {"ffn_down", D, F}};
static const tensor outside[] = {{"token_embd.weight", VOCAB, D}, {"output_norm.weight", 0, D}};
enum { TENSORS = 2 + LAYERS * 9 };

static tensor tensor_at(int i, char name[64])
{
    tensor t;
    if (i < 2) {
        t = outside[i];
        snprintf(name, 64, "%s", t.name);
    } else {
        t = in_layer[(i - 2) % 9];
        snprintf(name, 64, "blk.%d.%s.weight", (i - 2) / 9, t.name);
    }
    t.name = name;
    return t;
}

/* Element n of the file is n / 8. */
static void put_tensors(gguf_file *f, const change *c)
{
    char name[64];
    float value[VOCAB * D + 64];
    size_t n = 0, at = 0;

    for (int i = 0; i < TENSORS; i++) {
        const tensor t = tensor_at(i, name);
        const bool it = c->tensor && strcmp(c->tensor, name) == 0;
        const size_t count = (size_t)((t.rows ? t.rows : 1) * t.cols);
        if (!(it && c->what == 1))
            g_tensor(f, name, t.rows, it && c->what == 2 ? t.cols / 2 : t.cols,
                     it && c->what == 3 ? (uint32_t)c->value : T_F32, count * sizeof *value);
    }
    if (c->what == 5)
        g_tensor(f, c->tensor, 0, HD / 2, T_F32, HD / 2 * sizeof *value);
    g_data(f, "", 0);
    for (int i = 0; i < TENSORS; i++) {
        const tensor t = tensor_at(i, name);
        const bool it = c->tensor && strcmp(c->tensor, name) == 0;
        const size_t count = (size_t)((t.rows ? t.rows : 1) * t.cols);
        if (it && c->what == 1)
            continue;
        for (size_t k = 0; k < count; k++)
            value[k] = (float)n++ / 8;
        if (it && c->what == 4)
            value[count / 2] = NAN;
        dm_text_add(&f->bytes, (const char *)value, count * sizeof *value);
        at += count * sizeof *value;
        for (; at % 32; at++)
            dm_text_add(&f->bytes, "", 1);
    }
    for (int k = 0; c->what == 5 && k < 32; k++)
        dm_text_add(&f->bytes, "\x3F\x3F\x3F\x3F", 4);
}

static void make(gguf_file *f, const change *c)
{
    bool known = c->key && strcmp(c->key, "general.architecture") == 0;
    for (int i = 0; c->key && i < KEYS; i++)
        known |= strcmp(c->key, keys[i].name) == 0;
    const int n = KEYS + 1 + (c->key ? known ? -(c->kind == 0) : 1 : 0);
    g_begin(f, 3, (uint64_t)(TENSORS + (c->what == 5) - (c->what == 1)), (uint64_t)n);
    put_keys(f, c);
    put_tensors(f, c);
    CK(!f->bytes.failed);
}

static dm_status open_changed(dm_source **s, const change *c, dm_error *err)
{
    gguf_file f;
    make(&f, c);
    g_put(path, f.bytes.data, f.bytes.size);
    g_free(&f);
    *err = (dm_error){0};
    return dm_source_open(s, path, err);
}

static void refused(const change *c, const char *says)
{
    dm_source *s;
    dm_error err;
    const dm_status status = open_changed(&s, c, &err);

    CK_MSG((status == DM_ERR_INPUT || status == DM_ERR_UNSUPPORTED) && s == NULL && strstr(err.message, says) &&
               strstr(err.message, path) == err.message && !strchr(err.message, '\n'),
           "%s%s: status %d, \"%s\" does not say \"%s\"", c->key ? c->key : "", c->tensor ? c->tensor : "", (int)status,
           err.message, says);
    dm_source_close(&s);
}

/* ---- GGUF ---- */

/* Where tensor `name` begins among the file's numbers. */
static size_t first_of(const char *name)
{
    char at[64];
    size_t n = 0;
    for (int i = 0; i < TENSORS; i++) {
        const tensor t = tensor_at(i, at);
        if (strcmp(at, name) == 0)
            return n;
        n += (size_t)((t.rows ? t.rows : 1) * t.cols);
    }
    return n;
}

static void check_good(void)
{
    dm_source *s;
    dm_error err;
    float x[VOCAB * D], y[VOCAB * D];

    if (!CK_MSG(open_changed(&s, &(change){0}, &err) == DM_OK, "%s", err.message))
        return;
    const dm_config *c = dm_source_config(s);
    CK(dm_source_kind_of(s) == DM_SOURCE_GGUF && strcmp(dm_source_path(s), path) == 0 && dm_source_adapter(s) == NULL);
    CK(c->arch == DM_ARCH_LLAMA && c->hidden == D && c->intermediate == F && c->layers == LAYERS && c->heads == HEADS &&
       c->kv_heads == KV && c->head_dim == HD && c->vocab == VOCAB && c->max_positions == 64 && c->tied &&
       c->bos == 1 && c->eos == 2 && c->rope == DM_ROPE_DEFAULT);
    CK(c->eps >= 1e-5 && c->eps <= 1e-5 && c->rope_theta >= 1e4 && c->rope_theta <= 1e4); /* 1e-5, not its f32 */
    CK(dm_source_type(s, "model.norm.weight") == DM_F32 && dm_source_type(s, "lm_head.weight") == DM_DTYPE_COUNT);
    /* rows 0 1 2 3 of a head are rows 0 2 1 3 in Hugging Face's order: pairs (0, 1) (2, 3) become halves (0, 2) (1,
     * 3) */
    static const size_t from[] = {0, 2, 1, 3};
    const size_t begin = first_of("blk.1.attn_q.weight");
    CK(dm_source_read_f32(s, "model.layers.1.self_attn.q_proj.weight", x, &err) == DM_OK);
    CK(dm_source_read_stored(s, "model.layers.1.self_attn.q_proj.weight", y, &err) == DM_OK);
    CK(memcmp(x, y, HEADS * HD * D * sizeof *x) == 0);
    for (size_t r = 0; r < HEADS * HD; r++) {
        const float want = (float)(begin + (r / HD * HD + from[r % HD]) * D) / 8;
        CK_MSG(x[r * D] >= want && x[r * D] <= want, "q row %zu is %g, not %g", r, (double)x[r * D], (double)want);
    }
    CK(dm_source_read_f32(s, "model.layers.0.self_attn.v_proj.weight", x, &err) == DM_OK);
    const float v = (float)(first_of("blk.0.attn_v.weight") + D) / 8;
    CK(x[D] >= v && x[D] <= v); /* rows of v stay */
    CK(dm_source_read_f32(s, "lm_head.weight", x, &err) == DM_ERR_INTERNAL);
    dm_tokenizer *t;
    CK(dm_source_tokenizer(s, &t, NULL, NULL, &err) == DM_OK && t == NULL);
    char hex[DM_SHA256_HEX], own[DM_SHA256_HEX];
    CK(dm_source_sha256(s, hex, &err) == DM_OK && dm_file_sha256(path, own, &err) == DM_OK && strcmp(hex, own) == 0);
    dm_source_close(&s);
}

/* Every key left out, of another kind, and with numbers that cannot be. */
static void check_keys(void)
{
    static const uint64_t bad[] = {0, 1u << 31, UINT32_MAX};
    dm_source *s;
    dm_error err;

    for (int i = 0; i < KEYS; i++) {
        const char *key = keys[i].name;
        const bool token = strncmp(key, "tokenizer.", 10) == 0;
        if (keys[i].required) {
            refused(&(change){.key = key}, key);
        } else {
            CK_MSG(open_changed(&s, &(change){.key = key}, &err) == DM_OK ||
                       (strcmp(key, "llama.attention.head_count_kv") == 0 && strstr(err.message, "attn_k")),
                   "without %s: %s", key, err.message);
            dm_source_close(&s);
        }
        refused(&(change){.key = key, .kind = K_STRING, .text = "8"}, key);
        if (keys[i].is_float)
            refused(&(change){.key = key, .kind = K_F32, .value = 0x7FC00000}, "must be from");
        for (size_t k = 0; !keys[i].is_float && !token && k < sizeof bad / sizeof *bad; k++)
            refused(&(change){.key = key, .kind = K_U32, .value = bad[k]}, key);
        if (!keys[i].is_float && !token)
            refused(&(change){.key = key, .kind = K_U64, .value = UINT64_MAX}, key);
    }
    refused(&(change){.key = "llama.block_count", .kind = K_U32, .value = 3}, "\"blk.2.attn_norm.weight\" is missing");
    refused(&(change){.key = "llama.block_count", .kind = K_U32, .value = 1},
            "\"blk.1.attn_norm.weight\" of shape [8]");
    refused(&(change){.key = "llama.vocab_size", .kind = K_U32, .value = 11},
            "has shape [10, 8], by its metadata it must be [11, 8]");
    refused(&(change){.key = "llama.attention.value_length", .kind = K_U32, .value = 6}, "unlike the keys' 4");
    refused(&(change){.key = "llama.rope.dimension_count", .kind = K_U32, .value = 2}, "partial rotary");
    refused(&(change){.key = "llama.attention.head_count", .kind = K_ARRAY, .value = 2},
            "not the same for every layer");
    refused(&(change){.key = "general.architecture", .kind = K_STRING, .text = "mamba"}, "architecture \"mamba\"");
    refused(&(change){.key = "general.architecture"}, "\"general.architecture\" is missing");
    refused(&(change){.key = "general.architecture", .kind = K_STRING, .text = "qwen2"}, "qwen2.embedding_length");
    refused(&(change){.key = "split.count", .kind = K_U32, .value = 3},
            "is part 1 of 3 of a model, so its name must end");
    refused(&(change){.key = "general.type", .kind = K_STRING, .text = "adapter"}, "general.type is \"adapter\"");
    refused(&(change){.key = "llama.expert_count", .kind = K_U32, .value = 8}, "expert_count\" is 8");
    refused(&(change){.key = "llama.attention.sliding_window", .kind = K_U32, .value = 8}, "sliding_window\" is 8");
    refused(&(change){.key = "llama.rope.scaling.type", .kind = K_STRING, .text = "longrope"}, "\"longrope\"");
    refused(&(change){.key = "llama.rope.scaling.type", .kind = K_STRING, .text = "yarn"}, "RoPE factor is 0");
}

static void check_scaling(void)
{
    dm_source *s;
    dm_error err;

    if (CK(open_changed(&s, &(change){.key = "llama.rope.scaling.factor", .kind = K_F32, .value = 0x40800000}, &err) ==
           DM_OK))
        CK(dm_source_config(s)->rope == DM_ROPE_LINEAR && dm_source_config(s)->rope_factor >= 4 &&
           dm_source_config(s)->rope_factor <= 4);
    dm_source_close(&s);
    if (CK(open_changed(&s, &(change){.key = "llama.rope.scaling.type", .kind = K_STRING, .text = "linear"}, &err) ==
           DM_OK))
        CK(dm_source_config(s)->rope == DM_ROPE_DEFAULT); /* without a factor */
    dm_source_close(&s);
    refused(&(change){.key = "llama.rope.scaling.factor", .kind = K_F32, .value = 0x7F800000}, "RoPE factor is inf");
    /* 0.747 and so on: below 1, so no factors of llama3 scaling */
    refused(&(change){.tensor = "rope_freqs.weight", .what = 5}, "not those of llama3 scaling");
}

static void check_tensors(void)
{
    char name[64], says[128];
    dm_source *s;
    dm_error err;
    float x[VOCAB * D];

    for (int i = 0; i < TENSORS; i++) {
        tensor_at(i, name);
        snprintf(says, sizeof says, "\"%s\"", name);
        refused(&(change){.tensor = name, .what = 1}, says);
        refused(&(change){.tensor = name, .what = 2}, says);
        snprintf(says, sizeof says, "\"%s\": type 77 is not supported", name);
        refused(&(change){.tensor = name, .what = 3, .value = 77}, says);
    }
    refused(&(change){.tensor = "blk.0.attn_q.weight", .what = 3, .value = 26}, "type I32 is not supported");
    refused(&(change){.tensor = "blk.0.attn_sinks.weight", .what = 5},
            "\"blk.0.attn_sinks.weight\" of shape [2] is not one");
    if (CK(open_changed(&s, &(change){.tensor = "blk.1.ffn_up.weight", .what = 4}, &err) == DM_OK)) {
        static const char hf[] = "model.layers.1.mlp.up_proj.weight";
        CK(dm_source_read_f32(s, hf, x, &err) == DM_ERR_NONFINITE && strstr(err.message, hf) &&
           strstr(err.message, "row 6, column 0 is NaN"));
        CK(dm_source_read_stored(s, hf, x, &err) == DM_ERR_NONFINITE && strstr(err.message, "row 6, column 0 is NaN"));
    }
    dm_source_close(&s);
}

/* ---- llama2.c ---- */

static size_t make_llama2c(unsigned char *bytes, int version, bool tied)
{
    const int32_t shape[7] = {D, F, LAYERS, HEADS, KV, version == 0 && !tied ? -VOCAB : VOCAB, 5};
    const size_t begin = version ? 256 : 28;
    size_t n = VOCAB * D * (tied ? 1 : 2) + D + LAYERS * (2 * D + 2 * D * D + 2 * KV * HD * D + 3 * D * F);

    memset(bytes, 0, begin);
    if (version) {
        memcpy(bytes, "24ka\1", 5);
        bytes[36] = tied;
    } else {
        n += 5 * HD;
    }
    memcpy(bytes + (version ? 8 : 0), shape, sizeof shape);
    for (size_t i = 0; i < n; i++) {
        const float x = (float)i / 8;
        memcpy(bytes + begin + i * sizeof x, &x, sizeof x);
    }
    return begin + n * sizeof(float);
}

static void refused_bytes(const char *what, const void *bytes, size_t size, const char *says)
{
    dm_source *s;
    dm_error err = {0};

    g_put(path, bytes, size);
    const dm_status status = dm_source_open(&s, path, &err);
    CK_MSG((status == DM_ERR_INPUT || status == DM_ERR_UNSUPPORTED) && s == NULL && strstr(err.message, says) &&
               strstr(err.message, path) == err.message && !strchr(err.message, '\n'),
           "%s: status %d, \"%s\" does not say \"%s\"", what, (int)status, err.message, says);
    dm_source_close(&s);
}

static void check_llama2c(int version, bool tied)
{
    static const int32_t bad[] = {0, -1, INT32_MIN, INT32_MAX, 1 << 30, 3};
    static unsigned char bytes[16384], broken[16384];
    const size_t size = make_llama2c(bytes, version, tied), at = version ? 8 : 0;
    dm_source *s;
    dm_error err = {0};
    float x[VOCAB * D];

    CK(size < sizeof bytes);
    g_put(path, bytes, size);
    if (CK_MSG(dm_source_open(&s, path, &err) == DM_OK, "%s", err.message)) {
        const dm_config *c = dm_source_config(s);
        CK(dm_source_kind_of(s) == DM_SOURCE_LLAMA2C && c->vocab == VOCAB && c->tied == tied && c->kv_heads == KV &&
           c->max_positions == 5 && c->bos == 1 && c->eos == 2);
        /* version 0: the embedding first; 1: after the norms */
        const size_t embed = version ? LAYERS * 2 * D + D : 0;
        CK(dm_source_read_f32(s, "model.embed_tokens.weight", x, &err) == DM_OK && x[1] >= (float)(embed + 1) / 8 &&
           x[1] <= (float)(embed + 1) / 8);
        const size_t q = version ? embed + VOCAB * D : VOCAB * D + LAYERS * D;
        CK(dm_source_read_f32(s, "model.layers.0.self_attn.q_proj.weight", x, &err) == DM_OK &&
           x[D] >= (float)(q + 2 * D) / 8 && x[D] <= (float)(q + 2 * D) / 8); /* row 1 is the file's row 2 */
    }
    dm_source_close(&s);
    for (size_t n = 0; n < size; n += n < 300 ? 1 : 97)
        refused_bytes("cut", bytes, n, n ? "" : "is not a model");
    memcpy(broken, bytes, size);
    refused_bytes("longer", broken, size + 1, "by its llama2.c header there must be");
    for (size_t i = 0; i < 7; i++)
        for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
            int32_t was;
            memcpy(&was, bytes + at + 4 * i, 4);
            if (was == bad[k] || (version && i == 6 && bad[k] > 0)) /* there seq_len says nothing of the file */
                continue;
            memcpy(broken, bytes, size);
            memcpy(broken + at + 4 * i, &bad[k], 4);
            refused_bytes("header", broken, size, "");
        }
    if (!version)
        return;
    memcpy(broken, bytes, size);
    broken[4] = 2;
    refused_bytes("version", broken, size, "llama2.c version 2 (Q8_0 in groups) is not supported; 0 and 1 are");
    broken[4] = 7;
    refused_bytes("version", broken, size, "llama2.c version 7 is not supported");
    broken[4] = 1;
    broken[36] = 2;
    refused_bytes("flag", broken, size, "must be 0 or 1");
}

static void check_others(void)
{
    dm_source *s;
    dm_error err = {0};

    CK(dm_source_open(&s, "/nonexistent/model", &err) == DM_ERR_FILE && strstr(err.message, "/nonexistent/model"));
    CK(dm_source_open(&s, "/dev/null", &err) == DM_ERR_FILE && strstr(err.message, "neither a directory nor"));
    CK(dm_source_open(&s, dir, &err) != DM_OK && strstr(err.message, "config.json"));
    refused_bytes("text", "hello, this is a text and no model at all\n", 42, "is not a model: must be");
    refused_bytes("empty", "", 0, "is not a model: must be");
    dm_source_close(&s);
    dm_source_close(NULL);
}

/* An open file that shrinks gives an error that says so, not a signal. */
static void check_shrinking(void)
{
    static unsigned char bytes[16384];
    static const char *const names[] = {"model.embed_tokens.weight", "model.layers.1.self_attn.q_proj.weight",
                                        "model.layers.1.mlp.down_proj.weight"};
    dm_source *s;
    dm_error err = {0};
    float x[VOCAB * D];

    for (int kind = 0; kind < 2; kind++) {
        if (kind)
            g_put(path, bytes, make_llama2c(bytes, 1, false));
        if (!CK_MSG((kind ? dm_source_open(&s, path, &err) : open_changed(&s, &(change){0}, &err)) == DM_OK, "%s",
                    err.message))
            return;
        CK(truncate(path, 64) == 0);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            err = (dm_error){0};
            CK(dm_source_read_f32(s, names[i], x, &err) == DM_ERR_FILE && strstr(err.message, path) == err.message &&
               strstr(err.message, "it changed while being read"));
            err = (dm_error){0};
            CK(dm_source_read_stored(s, names[i], x, &err) == DM_ERR_FILE &&
               strstr(err.message, "it changed while being read"));
        }
        dm_source_close(&s);
    }
}

int main(void)
{
    snprintf(dir, sizeof dir, "/tmp/dm-source-%ld", (long)getpid());
    snprintf(path, sizeof path, "%s/model", dir);
    if (!CK(dm_dir_create(dir, NULL) == DM_OK))
        return ck_done("source");
    check_good();
    check_keys();
    check_scaling();
    check_tensors();
    for (int version = 0; version < 2; version++)
        for (int tied = 0; tied < 2; tied++)
            check_llama2c(version, tied);
    check_shrinking();
    check_others();
    dm_dir_remove(dir, NULL);
    return ck_done("source");
}
