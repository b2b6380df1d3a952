/* The tokenizer inside a GGUF file: "gpt2", byte-level BPE, or "llama", SentencePiece's BPE. */
#include <stdlib.h>
#include <string.h>

#include "io/gguf.h"
#include "io/tokenizer/tokenizer_pieces.h"
#include "io/tokenizer/unicode.h"

#define TOKENS "tokenizer.ggml.tokens"
#define MERGES "tokenizer.ggml.merges"
#define TYPES "tokenizer.ggml.token_type"
#define SCORES "tokenizer.ggml.scores"

typedef struct gguf_vocabulary {
    const dm_gguf *g;
    dm_gguf_text *token, *merge;
    int32_t *type;
    size_t n, n_merges;
    dm_tokenizer *t;
    dm_error *err;
} gguf_vocabulary;

/* How a model's text is cut into words, by the name that llama.cpp gives it. The name is all that a file says: what
 * else belongs to it (normalization, whole words before merges) is that of the family's tokenizer.json. */
static const struct {
    const char *name;
    dm_pattern stage[2];
    size_t stages;
    bool nfc, ignore_merges;
} cuts[] = {
    {"gpt-2", {DM_PATTERN_GPT2}, 1, false, false},
    {"default", {DM_PATTERN_GPT2}, 1, false, false},
    {"smollm", {DM_PATTERN_DIGIT, DM_PATTERN_GPT2}, 2, false, false},
    {"starcoder", {DM_PATTERN_DIGIT, DM_PATTERN_GPT2}, 2, false, false},
    {"refact", {DM_PATTERN_DIGIT, DM_PATTERN_GPT2}, 2, false, false},
    {"llama-bpe", {DM_PATTERN_LLAMA3}, 1, false, true},
    {"llama3", {DM_PATTERN_LLAMA3}, 1, false, true},
    {"llama-v3", {DM_PATTERN_LLAMA3}, 1, false, true},
    {"qwen2", {DM_PATTERN_QWEN2}, 1, true, false},
    {"deepseek-r1-qwen", {DM_PATTERN_QWEN2}, 1, true, false},
};

static dm_status read_pre(gguf_vocabulary *v)
{
    const char *pre = "default"; /* files from before May 2024 have none */
    if (dm_gguf_has(v->g, "tokenizer.ggml.pre")) {
        const dm_status status = dm_gguf_string(v->g, "tokenizer.ggml.pre", &pre, v->err);
        if (status != DM_OK)
            return status;
    }
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++)
        if (strcmp(cuts[i].name, pre) == 0) {
            dm_tokenizer *t = v->t;
            for (size_t k = 0; k < cuts[i].stages; k++)
                t->stages[t->n_stages++] = cuts[i].stage[k];
            t->prefix_pattern = cuts[i].stage[t->n_stages - 1] == DM_PATTERN_GPT2;
            t->nfc = cuts[i].nfc;
            t->ignore_merges = cuts[i].ignore_merges;
            return DM_OK;
        }
    return dm_fail(v->err, DM_ERR_UNSUPPORTED,
                   "%s: tokenizer.ggml.pre \"%.80s\" is not supported: gpt-2, smollm, llama-bpe and qwen2 are",
                   dm_gguf_path(v->g), pre);
}

static dm_status read_arrays(gguf_vocabulary *v)
{
    size_t n_types = 0;
    dm_status status = dm_gguf_texts(v->g, TOKENS, &v->token, &v->n, v->err);
    if (status == DM_OK && dm_gguf_has(v->g, TYPES)) {
        status = dm_gguf_ints(v->g, TYPES, &v->type, &n_types, v->err);
        if (status == DM_OK && n_types != v->n)
            status = dm_fail(v->err, DM_ERR_INPUT, "%s: " TYPES " has %zu values for %zu tokens", dm_gguf_path(v->g),
                             n_types, v->n);
    }
    return status;
}

/* *bos: the token that llama.cpp puts before a text, or -1. */
static dm_status read_bos(const gguf_vocabulary *v, bool usual, int32_t *bos)
{
    static const char flag[] = "tokenizer.ggml.add_bos_token", key[] = "tokenizer.ggml.bos_token_id";
    bool add = usual;
    int64_t id = -1;
    dm_status status = DM_OK;
    if (dm_gguf_has(v->g, flag))
        status = dm_gguf_bool(v->g, flag, &add, v->err);
    if (status == DM_OK && add && dm_gguf_has(v->g, key))
        status = dm_gguf_i64(v->g, key, &id, v->err);
    *bos = add && id >= 0 && id < (int64_t)v->n ? (int32_t)id : -1;
    return status;
}

/* ---- gpt2 ---- */

/* Tokens and merges, checked; room for all of them. */
static dm_status read_tokens(gguf_vocabulary *v)
{
    const char *path = dm_gguf_path(v->g);
    size_t text = 0, added = 0;
    dm_status status = DM_OK;
    if (dm_gguf_has(v->g, MERGES))
        status = dm_gguf_texts(v->g, MERGES, &v->merge, &v->n_merges, v->err);
    if (status != DM_OK)
        return status;
    for (size_t i = 0; i < v->n; i++) {
        const dm_gguf_text *s = &v->token[i];
        if (memchr(s->data, '\0', s->size) != NULL || dm_utf8_check(s->data, s->size) < s->size)
            return dm_fail(v->err, DM_ERR_INPUT, "%s: " TOKENS "[%zu] is not text: it has a NUL or invalid UTF-8", path,
                           i);
        if (v->type != NULL && (v->type[i] < DM_PIECE_NORMAL || v->type[i] > DM_PIECE_BYTE))
            return dm_fail(v->err, DM_ERR_INPUT, "%s: " TYPES "[%zu] is %d, must be from 1 to 6", path, i,
                           (int)v->type[i]);
        if (text > SIZE_MAX / 2 - s->size)
            return dm_fail(v->err, DM_ERR_UNSUPPORTED, "%s: " TOKENS " is too large", path);
        text += s->size + 1;
        added += v->type != NULL && (v->type[i] == DM_PIECE_CONTROL || v->type[i] == DM_PIECE_USER);
    }
    status = dm_tokenizer_create(&v->t, v->n, text, v->n_merges, added, v->err);
    return status != DM_OK ? dm_fail_context(v->err, status, "%s", path) : DM_OK;
}

/* Control and user-defined tokens are tokenizer.json's added tokens. Those after the vocabulary are only that; among
 * it they belong to it too, for that is how the tokenizers library knows their ids. Unused tokens ("[PAD151700]") are
 * what the converter filled up with: they have no text. */
static dm_status add_tokens(gguf_vocabulary *v)
{
    dm_tokenizer *t = v->t;
    size_t vocabulary = v->n;
    while (v->type != NULL && vocabulary > 0 && v->type[vocabulary - 1] != DM_PIECE_NORMAL)
        vocabulary--;
    for (size_t i = 0; i < v->n; i++) {
        const dm_gguf_text *s = &v->token[i];
        const int32_t type = v->type != NULL ? v->type[i] : DM_PIECE_NORMAL;
        const bool is_added = type == DM_PIECE_CONTROL || type == DM_PIECE_USER;
        const uint8_t flags = (uint8_t)((i < vocabulary ? DM_TOKEN_VOCAB : 0) | (is_added ? DM_TOKEN_ADDED : 0) |
                                        (type == DM_PIECE_CONTROL ? DM_TOKEN_SPECIAL : 0));
        if (s->size == 0 || type == DM_PIECE_UNUSED)
            continue;
        if (!dm_tokenizer_add(t, (int32_t)i, s->data, s->size, flags))
            return dm_fail(v->err, DM_ERR_INPUT, "%s: " TOKENS "[%zu] is \"%.*s\", as is %d", dm_gguf_path(v->g), i,
                           s->size < 80 ? (int)s->size : 80, s->data, (int)dm_tokenizer_find(t, s->data, s->size));
        if (is_added)
            t->added[t->n_added++] =
                (dm_added_token){.offset = t->offset[i], .size = (uint32_t)s->size, .id = (int32_t)i};
    }
    return DM_OK;
}

static dm_status bad_merge(const gguf_vocabulary *v, size_t i, const char *what)
{
    const dm_gguf_text *m = &v->merge[i];
    return dm_fail(v->err, DM_ERR_INPUT, "%s: " MERGES "[%zu], \"%.*s\", %s", dm_gguf_path(v->g), i,
                   m->size < 80 ? (int)m->size : 80, m->data, what);
}

static dm_status add_merges(gguf_vocabulary *v)
{
    dm_text whole = {0};
    dm_status status = DM_OK;
    for (size_t i = 0; i < v->n_merges && status == DM_OK; i++) {
        const dm_gguf_text *m = &v->merge[i];
        const char *space = m->size > 0 ? memchr(m->data, ' ', m->size) : NULL;
        if (space == NULL) {
            status = bad_merge(v, i, "is not two tokens with a space between them");
            break;
        }
        const size_t left_size = (size_t)(space - m->data), right_size = m->size - left_size - 1;
        whole.size = 0;
        dm_text_add(&whole, m->data, left_size);
        dm_text_add(&whole, space + 1, right_size);
        if (whole.failed) {
            status = dm_fail(v->err, DM_ERR_MEMORY, "no memory to read %s", dm_gguf_path(v->g));
            break;
        }
        const int32_t left = dm_tokenizer_find(v->t, m->data, left_size),
                      right = dm_tokenizer_find(v->t, space + 1, right_size),
                      id = dm_tokenizer_find(v->t, whole.data, whole.size);
        if (left < 0 || right < 0 || id < 0)
            status = bad_merge(v, i, "is of or gives a token that " TOKENS " does not have");
        else if (!dm_tokenizer_add_merge(v->t, left, right, id))
            status = bad_merge(v, i, "is there twice");
    }
    dm_text_free(&whole);
    return status;
}

static dm_status from_gpt2(gguf_vocabulary *v)
{
    int32_t bos = -1;
    dm_status status = read_tokens(v);
    if (status == DM_OK)
        status = read_pre(v);
    if (status == DM_OK)
        status = add_tokens(v);
    if (status == DM_OK)
        status = add_merges(v);
    if (status == DM_OK)
        status = read_bos(v, false, &bos);
    if (status == DM_OK)
        status = dm_tokenizer_finish(v->t, v->err);
    return status == DM_OK ? dm_tokenizer_set_bos(v->t, bos, v->err) : status;
}

/* ---- llama ---- */

static dm_status read_flag(const gguf_vocabulary *v, const char *key, bool *out)
{
    return dm_gguf_has(v->g, key) ? dm_gguf_bool(v->g, key, out, v->err) : DM_OK;
}

static dm_status from_llama(gguf_vocabulary *v)
{
    dm_piece_rules rules = {.prefix = true};
    const char *path = dm_gguf_path(v->g);
    float *scores = NULL;
    size_t n_scores = 0;
    dm_piece *pieces = NULL;
    dm_status status = dm_gguf_floats(v->g, SCORES, &scores, &n_scores, v->err);
    if (status == DM_OK && n_scores != v->n)
        status = dm_fail(v->err, DM_ERR_INPUT, "%s: " SCORES " has %zu values for %zu tokens", path, n_scores, v->n);
    if (status == DM_OK && v->type == NULL)
        status = dm_fail(v->err, DM_ERR_INPUT, "%s: a tokenizer of model llama needs " TYPES, path);
    if (status == DM_OK)
        status = read_flag(v, "tokenizer.ggml.add_space_prefix", &rules.prefix);
    if (status == DM_OK)
        status = read_flag(v, "tokenizer.ggml.remove_extra_whitespaces", &rules.squeeze);
    if (status == DM_OK)
        status = read_bos(v, true, &rules.bos);
    if (status == DM_OK && (pieces = calloc(v->n + 1, sizeof *pieces)) == NULL)
        status = dm_fail(v->err, DM_ERR_MEMORY, "no memory to read %s", path);
    for (size_t i = 0; i < v->n && status == DM_OK; i++) {
        pieces[i] = (dm_piece){v->token[i].data, v->token[i].size, scores[i], (int)v->type[i]};
        rules.byte_fallback = rules.byte_fallback || v->type[i] == DM_PIECE_BYTE;
    }
    if (status == DM_OK)
        status = dm_tokenizer_from_pieces(&v->t, pieces, v->n, &rules, path, TOKENS, v->err);
    free(pieces);
    free(scores);
    return status;
}

dm_status dm_tokenizer_from_gguf(dm_tokenizer **out, const dm_gguf *g, dm_error *err)
{
    gguf_vocabulary v = {.g = g, .err = err};
    const char *model = "";
    *out = NULL;
    dm_status status = dm_gguf_string(g, "tokenizer.ggml.model", &model, err);
    if (status == DM_OK && strcmp(model, "gpt2") != 0 && strcmp(model, "llama") != 0)
        status =
            dm_fail(err, DM_ERR_UNSUPPORTED, "%s: tokenizer.ggml.model \"%.80s\" is not supported: gpt2 and llama are",
                    dm_gguf_path(g), model);
    if (status == DM_OK)
        status = read_arrays(&v);
    if (status == DM_OK)
        status = strcmp(model, "gpt2") == 0 ? from_gpt2(&v) : from_llama(&v);
    free(v.token);
    free(v.merge);
    free(v.type);
    if (status != DM_OK) {
        dm_tokenizer_close(&v.t);
        return status;
    }
    *out = v.t;
    return DM_OK;
}
