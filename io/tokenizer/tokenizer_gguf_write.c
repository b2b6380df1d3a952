/* A tokenizer as GGUF's metadata: "gpt2" for byte-level BPE, "llama" for SentencePiece's. */
#include <stdlib.h>
#include <string.h>

#include "io/gguf_write.h"
#include "io/tokenizer/tokenizer_internal.h"

enum { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/* llama.cpp's name for how this one cuts text into words; NULL: it has none. */
static const char *pre_of(const dm_tokenizer *t)
{
    const dm_pattern last = t->n_stages ? t->stages[t->n_stages - 1] : DM_PATTERN_DIGIT;

    if (t->n_stages == 2 && t->stages[0] == DM_PATTERN_DIGIT && last == DM_PATTERN_GPT2 && !t->nfc)
        return "smollm";
    if (t->n_stages != 1)
        return NULL;
    if (last == DM_PATTERN_GPT2 && !t->nfc)
        return "gpt-2";
    if (last == DM_PATTERN_LLAMA3 && !t->nfc)
        return "llama-bpe";
    return last == DM_PATTERN_QWEN2 && t->nfc ? "qwen2" : NULL;
}

static dm_status put_bytes_model(dm_gguf_meta *m, const dm_tokenizer *t, dm_error *err)
{
    const char *pre = pre_of(t);

    if (t->prefix_stage != SIZE_MAX)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "the tokenizer puts a space before a text (add_prefix_space), which GGUF's gpt2 cannot say");
    if (!pre)
        return dm_fail(
            err, DM_ERR_UNSUPPORTED,
            "llama.cpp has no name for how this tokenizer cuts text into words; GPT-2's way with and without "
            "single digits, Llama 3's, and Qwen2's with NFC have one");
    dm_gguf_put_string(m, "tokenizer.ggml.model", "gpt2", 4);
    dm_gguf_put_string(m, "tokenizer.ggml.pre", pre, strlen(pre));
    return DM_OK;
}

static dm_status put_pieces_model(dm_gguf_meta *m, const dm_tokenizer *t, dm_error *err)
{
    if (t->nfc)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "the tokenizer normalizes text (NFC), which GGUF's llama cannot say");
    dm_gguf_put_string(m, "tokenizer.ggml.model", "llama", 5);
    dm_gguf_put_string(m, "tokenizer.ggml.pre", "default", 7);
    dm_gguf_put_bool(m, "tokenizer.ggml.add_space_prefix", dm_tokenizer_prefixes(t));
    if (t->squeeze)
        dm_gguf_put_bool(m, "tokenizer.ggml.remove_extra_whitespaces", true);
    return DM_OK;
}

static bool is_byte(const dm_tokenizer *t, int32_t id)
{
    for (int b = 0; t->bpe != DM_BPE_BYTES && t->byte_fallback && b < 256; b++)
        if (t->byte_id[b] == id)
            return true;
    return false;
}

static int32_t type_of(const dm_tokenizer *t, size_t id)
{
    if (id >= t->size || t->offset[id] == DM_NO_TEXT)
        return TYPE_UNUSED;
    if (t->bpe != DM_BPE_BYTES && (int32_t)id == t->unknown)
        return TYPE_UNKNOWN;
    if (t->flags[id] & DM_TOKEN_SPECIAL)
        return TYPE_CONTROL;
    if (t->flags[id] & DM_TOKEN_ADDED)
        return TYPE_USER;
    if (is_byte(t, (int32_t)id))
        return TYPE_BYTE;
    return t->flags[id] & DM_TOKEN_UNUSED ? TYPE_UNUSED : TYPE_NORMAL;
}

static void put_tokens(dm_gguf_meta *m, const dm_tokenizer *t, size_t vocabulary)
{
    dm_text pad = {0};

    dm_gguf_put_texts(m, "tokenizer.ggml.tokens", vocabulary);
    for (size_t id = 0; id < vocabulary; id++) {
        const char *text = id < t->size && t->offset[id] != DM_NO_TEXT ? t->text + t->offset[id] : NULL;
        if (!text) { /* as llama.cpp's converter fills up */
            pad.size = 0;
            dm_text_print(&pad, "[PAD%zu]", id);
            text = pad.failed ? "" : pad.data;
        }
        dm_gguf_put_text(m, text, strlen(text));
    }
    m->bytes.failed |= pad.failed;
    dm_text_free(&pad);
}

/* Of a vocabulary that has merges instead: of each token minus the number of the first merge that gives it. */
static void scores_of_merges(const dm_tokenizer *t, float *scores)
{
    for (size_t i = t->n_merges; i-- > 0;)
        scores[t->merges[i].id] = -(float)i;
}

static void put_merges(dm_gguf_meta *m, const dm_tokenizer *t)
{
    dm_text text = {0};

    dm_gguf_put_texts(m, "tokenizer.ggml.merges", t->n_merges);
    for (size_t i = 0; i < t->n_merges; i++) {
        text.size = 0;
        dm_text_print(&text, "%s %s", t->text + t->offset[t->merges[i].left], t->text + t->offset[t->merges[i].right]);
        dm_gguf_put_text(m, text.data ? text.data : "", text.size);
    }
    m->bytes.failed |= text.failed;
    dm_text_free(&text);
}

/* Whether readers put it before every text: tokenizer.json says so in its post_processor. */
static bool adds_bos(const dm_tokenizer *t, int32_t bos)
{
    const char *token = dm_tokenizer_token(t, bos, NULL);
    dm_text quoted = {0};

    if (!token || !t->post_processor)
        return false;
    dm_text_json_string(&quoted, token, strlen(token));
    const bool found = !quoted.failed && strstr(t->post_processor, quoted.data) != NULL;
    dm_text_free(&quoted);
    return found;
}

dm_status dm_tokenizer_to_gguf(dm_gguf_meta *m, const dm_tokenizer *t, size_t vocabulary, int32_t bos, dm_error *err)
{
    const bool bytes = t->bpe == DM_BPE_BYTES;
    const dm_status s = bytes ? put_bytes_model(m, t, err) : put_pieces_model(m, t, err);

    if (s != DM_OK)
        return s;
    float *scores = calloc(vocabulary + 1, sizeof *scores);
    int32_t *types = calloc(vocabulary + 1, sizeof *types);
    if (!scores || !types || vocabulary < t->size) {
        free(scores);
        free(types);
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the list of %zu tokens", vocabulary);
    }
    for (size_t id = 0; id < vocabulary; id++)
        types[id] = type_of(t, id);
    put_tokens(m, t, vocabulary);
    if (bytes) {
        put_merges(m, t);
    } else {
        if (t->scores)
            memcpy(scores, t->scores, t->size * sizeof *scores);
        else
            scores_of_merges(t, scores);
        dm_gguf_put_f32s(m, "tokenizer.ggml.scores", scores, vocabulary);
    }
    dm_gguf_put_i32s(m, "tokenizer.ggml.token_type", types, vocabulary);
    dm_gguf_put_bool(m, "tokenizer.ggml.add_bos_token", adds_bos(t, bos));
    free(scores);
    free(types);
    return DM_OK;
}
