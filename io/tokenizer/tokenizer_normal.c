/* Text as a vocabulary has it: normalization form C, and the character that stands for a space. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"
#include "io/tokenizer/unicode.h"

/* Appends s with its spaces marked. */
static char *put_marked(char *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] != ' ') {
            *out++ = s[i];
            continue;
        }
        memcpy(out, DM_SPACE, DM_SPACE_SIZE);
        out += DM_SPACE_SIZE;
    }
    return out;
}

dm_status dm_mark_spaces(const char *text, size_t size, bool prefix, char **out, size_t *out_size, dm_error *err)
{
    size_t spaces = prefix ? 1 : 0;
    for (size_t i = 0; i < size; i++)
        spaces += text[i] == ' ';
    *out = spaces < (SIZE_MAX / 2 - size) / DM_SPACE_SIZE ? malloc(size + DM_SPACE_SIZE * spaces + 1) : NULL;
    if (*out == NULL)
        return dm_fail(err, DM_ERR_MEMORY, "no memory to tokenize %zu bytes", size);
    char *end = put_marked(*out, " ", prefix ? 1 : 0);
    end = put_marked(end, text, size);
    *out_size = (size_t)(end - *out);
    return DM_OK;
}

/* SentencePiece's remove_extra_whitespaces, in place and before a prefix is put in: no space at either end, none after
 * another. At the end, what looks like a marked space goes too. */
static size_t squeeze(char *s, size_t n, bool inside)
{
    size_t out = 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' || (out > 0 ? s[out - 1] != ' ' : inside))
            s[out++] = s[i];
    for (;;)
        if (out > 0 && s[out - 1] == ' ')
            out--;
        else if (out >= DM_SPACE_SIZE && memcmp(s + out - DM_SPACE_SIZE, DM_SPACE, DM_SPACE_SIZE) == 0)
            out -= DM_SPACE_SIZE;
        else
            return out;
}

dm_status dm_tokenizer_normalize(const dm_tokenizer *t, const char *text, size_t size, dm_text_place place, char **out,
                                 size_t *out_size, dm_error *err)
{
    dm_status status = DM_OK;
    *out = NULL;
    if (t->nfc)
        status = dm_nfc(text, size, out, out_size, err);
    if (status != DM_OK || !(t->squeeze || t->prepend || t->replace))
        return status;
    const bool inside = place == DM_TEXT_INSIDE;
    char *before = *out;
    if (before != NULL) {
        text = before;
        size = *out_size;
    }
    if (t->squeeze && size > 0) {
        char *copy = malloc(size);
        if (copy != NULL) {
            memcpy(copy, text, size);
            size = squeeze(copy, size, inside);
            text = copy;
        } else {
            status = dm_fail(err, DM_ERR_MEMORY, "no memory to tokenize %zu bytes", size);
        }
        free(before);
        before = copy;
    }
    *out = NULL;
    if (status == DM_OK)
        status = dm_mark_spaces(text, size, t->prepend && !inside && size > 0, out, out_size, err);
    free(before);
    return status;
}

dm_status dm_tokenizer_normal_form(dm_tokenizer *t, dm_added_token *a, dm_error *err)
{
    char *normal;
    size_t size;
    const dm_status status =
        dm_tokenizer_normalize(t, t->text + a->offset, a->size, DM_TEXT_FIRST, &normal, &size, err);
    if (status != DM_OK || normal == NULL)
        return status;
    if (size != a->size || memcmp(normal, t->text + a->offset, size) != 0) {
        if (t->decoded == NULL && t->bpe != DM_BPE_BYTES)
            t->decoded = calloc(t->capacity + 1, sizeof *t->decoded);
        if (t->decoded == NULL && t->bpe != DM_BPE_BYTES) {
            free(normal);
            return dm_fail(err, DM_ERR_MEMORY, "no memory for added tokens");
        }
        a->offset = (uint32_t)t->text_size;
        if (t->decoded != NULL)
            t->decoded[a->id] = a->offset + 1;
        a->size = (uint32_t)size;
        memcpy(t->text + t->text_size, normal, size);
        t->text[t->text_size + size] = '\0';
        t->text_size += size + 1;
    }
    free(normal);
    return DM_OK;
}
