/* llama2.c's tokenizer.bin: the longest token's bytes, then of each token score (f32), bytes (i32) and text. Spaces are
 * spaces there, and the control tokens <s> and </s> stand between line ends, which no user types. */
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/numbers/bits.h"
#include "io/tokenizer/tokenizer_pieces.h"

#define FILE_BYTES ((size_t)1 << 28)
#define HEADER 8 /* of a token */

static const char bos_text[] = "\n<s>\n", eos_text[] = "\n</s>\n";

static uint32_t get_u32(const char *p)
{
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static void put_u32(dm_text *out, uint32_t x)
{
    const char c[4] = {(char)(x & 0xFF), (char)(x >> 8 & 0xFF), (char)(x >> 16 & 0xFF), (char)(x >> 24)};
    dm_text_add(out, c, 4);
}

/* ---- reading ---- */

/* What a token's place and text say of its type: 0 unknown, 1 and 2 begin and end, then the bytes. */
static int type_of(size_t id, const char *text, size_t size)
{
    if (id < 3)
        return id == 0 ? DM_PIECE_UNKNOWN : DM_PIECE_CONTROL;
    return id < 259 && dm_token_byte(text, size) == (int)(id - 3) ? DM_PIECE_BYTE : DM_PIECE_NORMAL;
}

static dm_status read_pieces(dm_piece *pieces, size_t n, char *data, size_t size, char *marked, const char *path,
                             dm_error *err)
{
    size_t at = 4;
    for (size_t i = 0; i < n; i++) {
        if (size - at < HEADER)
            return dm_fail(err, DM_ERR_INPUT,
                           "%s: the file ends at byte %zu, inside token %zu of %zu (the model's vocab_size)", path,
                           size, i, n);
        const uint32_t bits = get_u32(data + at), length = get_u32(data + at + 4);
        at += HEADER;
        if (length > size - at)
            return dm_fail(err, DM_ERR_INPUT, "%s: byte %zu: token %zu has %u bytes, but %zu are left", path, at - 4, i,
                           (unsigned)length, size - at);
        const char *text = data + at, *const first = marked;
        at += length;
        pieces[i].type = type_of(i, text, length);
        memcpy(&pieces[i].score, &bits, sizeof bits);
        if (pieces[i].type == DM_PIECE_CONTROL && length > 2 && text[0] == '\n' && text[length - 1] == '\n') {
            pieces[i].text = text + 1;
            pieces[i].size = length - 2;
            continue;
        }
        for (uint32_t k = 0; k < length; k++) {
            const size_t step = text[k] == ' ' ? DM_SPACE_SIZE : 1;
            memcpy(marked, text[k] == ' ' ? DM_SPACE : text + k, step);
            marked += step;
        }
        pieces[i].text = first;
        pieces[i].size = (size_t)(marked - first);
    }
    return at == size ? DM_OK
                      : dm_fail(err, DM_ERR_INPUT,
                                "%s: %zu bytes are left after token %zu, the last one of the model's vocab_size", path,
                                size - at, n - 1);
}

/* `data` need not outlive the call; `path` is for messages. */
static dm_status read_tokens(dm_tokenizer **out, char *data, size_t size, size_t vocabulary, const char *path,
                             dm_error *err)
{
    dm_piece *pieces = NULL;
    char *marked = NULL;
    dm_status status;
    *out = NULL;
    if (size < 4 || vocabulary == 0 || vocabulary > size / HEADER) {
        status = dm_fail(err, DM_ERR_INPUT, "%s: %zu bytes are too few for a tokenizer.bin of %zu tokens", path, size,
                         vocabulary);
    } else {
        pieces = calloc(vocabulary, sizeof *pieces);
        marked = malloc(DM_SPACE_SIZE * size);
        status = pieces != NULL && marked != NULL ? read_pieces(pieces, vocabulary, data, size, marked, path, err)
                                                  : dm_fail(err, DM_ERR_MEMORY, "no memory to read %s", path);
    }
    if (status == DM_OK) {
        bool bytes = vocabulary >= 259;
        for (size_t i = 3; i < 259 && bytes; i++)
            bytes = pieces[i].type == DM_PIECE_BYTE;
        const dm_piece_rules rules = {.prefix = true, .byte_fallback = bytes, .bos = 1};
        status = dm_tokenizer_from_pieces(out, pieces, vocabulary, &rules, path, "token", err);
    }
    free(marked);
    free(pieces);
    return status;
}

dm_status dm_tokenizer_open_llama2c(dm_tokenizer **out, const char *path, size_t vocabulary, dm_error *err)
{
    char *data;
    size_t size;
    *out = NULL;
    dm_status status = dm_file_read(path, FILE_BYTES, &data, &size, err);
    if (status != DM_OK)
        return status;
    status = read_tokens(out, data, size, vocabulary, path, err);
    free(data);
    return status;
}

/* ---- writing ---- */

static void add_spaced(dm_text *out, const char *text)
{
    for (const char *space; (space = strstr(text, DM_SPACE)) != NULL; text = space + DM_SPACE_SIZE) {
        dm_text_add(out, text, (size_t)(space - text));
        dm_text_add(out, " ", 1);
    }
    dm_text_add(out, text, strlen(text));
}

/* Scores for a vocabulary that has merges instead: of each token minus the number of the first merge that gives it. */
static float *scores_of_merges(const dm_tokenizer *t)
{
    float *scores = calloc(t->size + 1, sizeof *scores);
    for (size_t i = t->n_merges; i-- > 0 && scores != NULL;)
        scores[t->merges[i].id] = -(float)i;
    return scores;
}

/* A name of a control token that another token has, a space or a byte that the form cannot hold: what was written must
 * be what is read. */
static dm_status check_written(const dm_tokenizer *t, const dm_text *written, size_t vocabulary, const char *path,
                               dm_error *err)
{
    dm_tokenizer *again;
    dm_status status = read_tokens(&again, written->data, written->size, vocabulary, path, err);
    if (status == DM_ERR_MEMORY)
        return status;
    if (status != DM_OK) {
        if (err != NULL)
            err->status = DM_ERR_UNSUPPORTED; /* nothing is wrong with a file */
        return dm_fail_context(err, DM_ERR_UNSUPPORTED, "not written as llama2.c, for a reader would say");
    }
    for (size_t id = 0; id < t->size && status == DM_OK; id++) {
        const char *const text = dm_tokenizer_token(t, (int32_t)id, NULL);
        const char *const read = dm_tokenizer_token(again, (int32_t)id, NULL);
        if (strcmp(text != NULL ? text : "", read != NULL ? read : "") != 0)
            status = dm_fail(err, DM_ERR_UNSUPPORTED,
                             "%s: llama2.c's form cannot hold token %zu, \"%.80s\"; a reader would have \"%.80s\"",
                             path, id, text != NULL ? text : "", read != NULL ? read : "");
    }
    dm_tokenizer_close(&again);
    return status;
}

dm_status dm_tokenizer_write_llama2c_for(const dm_tokenizer *t, size_t vocabulary, const char *path, dm_error *err)
{
    if (t->bpe == DM_BPE_BYTES)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: a byte-level tokenizer has no form in llama2.c, whose tokenizer.bin is SentencePiece's",
                       path);
    if (t->size < 3 || !dm_tokenizer_prefixes(t) || t->squeeze || t->nfc)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: llama2.c has only tokenizers that put a space before a text and normalize nothing else",
                       path);
    if (!(t->flags[1] & t->flags[2] & DM_TOKEN_SPECIAL) || (t->byte_fallback && t->byte_id[0] != 3))
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "%s: llama2.c needs <s> and </s> as tokens 1 and 2 and the bytes from token 3 on", path);
    const size_t n = vocabulary > t->size ? vocabulary : t->size;
    float *scores = t->scores == NULL ? scores_of_merges(t) : NULL;
    dm_text out = {0}, token = {0};
    size_t longest = 0;
    dm_status status = DM_OK;
    put_u32(&out, 0);
    for (size_t id = 0; id < n; id++) {
        const float score = id >= t->size ? 0 : t->scores != NULL ? t->scores[id] : scores != NULL ? scores[id] : 0;
        const uint32_t bits = dm_f32_bits(score);
        token.size = 0;
        if (id == 1 || id == 2)
            dm_text_print(&token, "%s", id == 1 ? bos_text : eos_text);
        else if (id < t->size && t->offset[id] != DM_NO_TEXT)
            add_spaced(&token, t->text + t->offset[id]);
        put_u32(&out, bits);
        put_u32(&out, (uint32_t)token.size);
        if (token.size > 0)
            dm_text_add(&out, token.data, token.size);
        longest = token.size > longest ? token.size : longest;
    }
    if (out.failed || token.failed || (t->scores == NULL && scores == NULL)) {
        status = dm_fail(err, DM_ERR_MEMORY, "no memory to write %s", path);
    } else {
        for (size_t i = 0; i < 4; i++)
            out.data[i] = (char)(longest >> 8 * i & 0xFF);
        status = check_written(t, &out, n, path, err);
        if (status == DM_OK)
            status = dm_file_write(path, out.data, out.size, err);
    }
    free(scores);
    dm_text_free(&token);
    dm_text_free(&out);
    return status;
}

dm_status dm_tokenizer_write_llama2c(const dm_tokenizer *t, const char *path, dm_error *err)
{
    return dm_tokenizer_write_llama2c_for(t, t->size, path, err);
}
