/* SentencePiece's vocabulary as others have it: a list of merges, as transformers converts scores. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"
#include "io/tokenizer/unicode.h"

typedef struct ranked {
    dm_bpe_merge merge;
    float score;
    uint32_t left, right; /* characters */
} ranked;

static size_t characters(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xC0) != 0x80;
    return count;
}

/* The highest score first, then the longest parts, then by ids: a total order, for a pair gives one token. */
static int compare(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left != y->left)
        return x->left > y->left ? -1 : 1;
    if (x->right != y->right)
        return x->right > y->right ? -1 : 1;
    if (x->merge.id != y->merge.id)
        return x->merge.id < y->merge.id ? -1 : 1;
    if (x->merge.left != y->merge.left)
        return x->merge.left < y->merge.left ? -1 : 1;
    return (x->merge.right > y->merge.right) - (x->merge.right < y->merge.right);
}

/* Counts the merges that give token `id`, and puts them into `out` where that is given. */
static size_t merges_of(const dm_tokenizer *t, int32_t id, ranked *out)
{
    const char *text = t->text + t->offset[id];
    const size_t size = strlen(text), length = characters(text, size);
    size_t n = 0, left_length = 0;
    for (size_t i = 0; i < size; i++) {
        if (((unsigned char)text[i] & 0xC0) == 0x80)
            continue;
        if (i > 0) {
            const int32_t left = dm_tokenizer_find(t, text, i), right = dm_tokenizer_find(t, text + i, size - i);
            if (left >= 0 && right >= 0) {
                if (out != NULL)
                    out[n] = (ranked){
                        {left, right, id}, t->scores[id], (uint32_t)left_length, (uint32_t)(length - left_length)};
                n++;
            }
        }
        left_length++;
    }
    return n;
}

dm_status dm_tokenizer_ranked(const dm_tokenizer *t, dm_bpe_merge **out, size_t *n, dm_error *err)
{
    size_t total = 0;
    *out = NULL;
    *n = 0;
    for (size_t id = 0; id < t->size; id++)
        if (t->flags[id] & DM_TOKEN_PIECE)
            total += merges_of(t, (int32_t)id, NULL);
    ranked *all = malloc((total + 1) * sizeof *all);
    *out = malloc((total + 1) * sizeof **out);
    if (all == NULL || *out == NULL) {
        free(all);
        free(*out);
        *out = NULL;
        return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu merges", total);
    }
    for (size_t id = 0; id < t->size; id++)
        if (t->flags[id] & DM_TOKEN_PIECE)
            *n += merges_of(t, (int32_t)id, all + *n);
    qsort(all, total, sizeof *all, compare);
    for (size_t i = 0; i < total; i++)
        (*out)[i] = all[i].merge;
    free(all);
    return DM_OK;
}
