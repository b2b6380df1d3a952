/* From a word to ids: byte pair encoding, by the order of merges or by the scores of tokens. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"
#include "io/tokenizer/unicode.h"
#include "core/numbers/bits.h"
#include "core/utf8.h"

#define SHORT_WORD 48 /* up to here the lowest rank is found by looking at all, above with a heap */

struct dm_symbol { /* a token of a long word, linked to its neighbours */
    int32_t id;
    uint32_t size;           /* DM_BPE_SCORES: bytes from the symbol's position on */
    uint32_t previous, next; /* NO_SYMBOL: none */
    uint32_t rank;           /* of the pair that begins here; DM_NO_RANK also where the symbol is gone */
};

#define NO_SYMBOL UINT32_MAX

/* ---- the heap ---- */

static void heap_push(dm_bpe *b, uint32_t rank, uint32_t position)
{
    if (rank == DM_NO_RANK)
        return;
    const uint64_t key = (uint64_t)rank << 32 | position;
    size_t i = b->heap_size++;
    for (; i > 0 && b->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = key;
}

static uint64_t heap_pop(dm_bpe *b)
{
    const uint64_t top = b->heap[0], key = b->heap[--b->heap_size];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < b->heap_size; i = child) {
        if (child + 1 < b->heap_size && b->heap[child + 1] < b->heap[child])
            child++;
        if (b->heap[child] >= key)
            break;
        b->heap[i] = b->heap[child];
    }
    b->heap[i] = key;
    return top;
}

/* Room for n symbols. */
static dm_status reserve(dm_bpe *b, size_t n)
{
    if (n >= NO_SYMBOL)
        return dm_fail(b->err, DM_ERR_UNSUPPORTED, "a word of %zu bytes is too long to tokenize", n);
    b->heap_size = 0;
    if (n <= b->capacity)
        return DM_OK;
    free(b->symbols);
    free(b->heap);
    b->capacity = 0;
    b->heap = NULL;
    /* every pair is pushed once at first, and each of fewer than n merges makes at most two new pairs */
    b->symbols = n <= SIZE_MAX / (3 * sizeof *b->heap) ? malloc(n * sizeof *b->symbols) : NULL;
    b->heap = b->symbols != NULL ? malloc(3 * n * sizeof *b->heap) : NULL;
    if (b->heap == NULL)
        return dm_fail(b->err, DM_ERR_MEMORY, "no memory to tokenize a word of %zu bytes", n);
    b->capacity = n;
    return DM_OK;
}

/* Takes the symbol after `left` out of the list. */
static void join(dm_symbol *symbols, uint32_t i)
{
    dm_symbol *left = &symbols[i], *right = &symbols[left->next];
    left->next = right->next;
    left->size += right->size;
    right->rank = DM_NO_RANK;
    if (left->next != NO_SYMBOL)
        symbols[left->next].previous = i;
}

/* ---- by the order of merges ---- */

static dm_status merge_short(dm_bpe *b, int32_t *id, size_t n)
{
    const dm_tokenizer *t = b->t;
    uint32_t rank[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = dm_tokenizer_rank(t, id[i], id[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == DM_NO_RANK)
            break;
        id[best] = t->merges[rank[best]].id;
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        memmove(rank + best, rank + best + 1, (n - best - 1) * sizeof *rank);
        if (best > 0)
            rank[best - 1] = dm_tokenizer_rank(t, id[best - 1], id[best]);
        if (best + 1 < n)
            rank[best] = dm_tokenizer_rank(t, id[best], id[best + 1]);
    }
    for (size_t i = 0; i < n; i++)
        if (dm_ids_push(b->out, id[i], b->err) != DM_OK)
            return DM_ERR_MEMORY;
    return DM_OK;
}

static void rank_again(dm_bpe *b, uint32_t position)
{
    dm_symbol *s = &b->symbols[position];
    s->rank = s->next == NO_SYMBOL ? DM_NO_RANK : dm_tokenizer_rank(b->t, s->id, b->symbols[s->next].id);
    heap_push(b, s->rank, position);
}

static dm_status merge_long(dm_bpe *b, const int32_t *id, size_t n)
{
    const dm_status status = reserve(b, n);
    if (status != DM_OK)
        return status;
    dm_symbol *symbols = b->symbols;
    for (uint32_t i = 0; i < n; i++)
        symbols[i] = (dm_symbol){id[i], 0, i - 1, i + 1 < n ? i + 1 : NO_SYMBOL, DM_NO_RANK};
    for (uint32_t i = 0; i < n; i++)
        rank_again(b, i);
    while (b->heap_size > 0) {
        const uint64_t top = heap_pop(b);
        const uint32_t rank = (uint32_t)(top >> 32), i = (uint32_t)top;
        if (symbols[i].rank != rank)
            continue; /* merged or changed since it was pushed */
        symbols[i].id = b->t->merges[rank].id;
        join(symbols, i);
        rank_again(b, i);
        if (symbols[i].previous != NO_SYMBOL)
            rank_again(b, symbols[i].previous);
    }
    for (uint32_t i = 0; i != NO_SYMBOL; i = symbols[i].next)
        if (dm_ids_push(b->out, symbols[i].id, b->err) != DM_OK)
            return DM_ERR_MEMORY;
    return DM_OK;
}

/* The id of a whole word that is a token, or -1. */
static int32_t whole_word(const dm_tokenizer *t, const char *s, size_t n)
{
    unsigned char text[512];
    size_t size = 0;
    int32_t id = -1;
    if (t->bpe != DM_BPE_BYTES) {
        id = dm_tokenizer_find(t, s, n);
    } else if (n > 0 && n <= sizeof text / 2) {
        for (size_t i = 0; i < n; i++)
            size += dm_utf8_put(text + size, dm_byte_to_code((unsigned char)s[i]));
        id = dm_tokenizer_find(t, (const char *)text, size);
    }
    return id >= 0 && (t->flags[id] & DM_TOKEN_VOCAB) ? id : -1;
}

static int32_t character_id(const dm_tokenizer *t, const char *s, size_t n)
{
    const int32_t id = dm_tokenizer_find(t, s, n);
    return id >= 0 && (t->flags[id] & DM_TOKEN_VOCAB) ? id : -1;
}

static bool has_bytes(const dm_tokenizer *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (t->byte_id[(unsigned char)s[i]] < 0)
            return false;
    return n > 0;
}

/* The word's bytes or characters as ids; b->ids has room for n and one more. An unknown token is put in only where the
 * next known one, or the end, follows: after the bytes of characters between them. That is what the tokenizers library
 * does. */
static size_t first_ids(dm_bpe *b, const char *s, size_t n)
{
    const dm_tokenizer *t = b->t;
    size_t count = 0;
    bool waiting = false;
    for (size_t i = 0, step = 1; i < n; i += step) {
        uint32_t code;
        step = t->bpe == DM_BPE_BYTES ? 1 : dm_utf8_decode(s + i, n - i, &code);
        const int32_t id = t->bpe == DM_BPE_BYTES ? t->byte_id[(unsigned char)s[i]] : character_id(t, s + i, step);
        if (id >= 0) {
            if (waiting)
                b->ids[count++] = t->unknown;
            waiting = false;
            b->ids[count++] = id;
        } else if (t->bpe == DM_BPE_CHARACTERS && t->byte_fallback && has_bytes(t, s + i, step)) {
            for (size_t k = 0; k < step; k++)
                b->ids[count++] = t->byte_id[(unsigned char)s[i + k]];
        } else if (t->unknown >= 0) {
            if (waiting && !t->fuse_unknown)
                b->ids[count++] = t->unknown;
            waiting = true;
        }
    }
    if (waiting)
        b->ids[count++] = t->unknown;
    return count;
}

static dm_status merge_word(dm_bpe *b, const char *s, size_t n)
{
    if (b->t->ignore_merges) {
        const int32_t id = whole_word(b->t, s, n);
        if (id >= 0)
            return dm_ids_push(b->out, id, b->err);
    }
    if (n >= b->ids_capacity) {
        const size_t capacity = n + n / 2 + 64;
        int32_t *ids = n < NO_SYMBOL ? realloc(b->ids, capacity * sizeof *ids) : NULL;
        if (ids == NULL)
            return dm_fail(b->err, DM_ERR_MEMORY, "no memory to tokenize a word of %zu bytes", n);
        b->ids = ids;
        b->ids_capacity = capacity;
    }
    const size_t count = first_ids(b, s, n);
    if (count == 0)
        return DM_OK;
    return count > SHORT_WORD ? merge_long(b, b->ids, count) : merge_short(b, b->ids, count);
}

/* ---- by the scores of tokens ---- */

/* The higher the score, the lower the rank; never DM_NO_RANK, for scores are numbers. */
static uint32_t score_rank(float score)
{
    const uint32_t bits = dm_f32_bits(score + 0.0f); /* no -0 */
    return (bits & 0x80000000u) != 0 ? bits : ~(bits | 0x80000000u);
}

static void score_again(dm_bpe *b, const char *s, uint32_t i)
{
    const dm_tokenizer *t = b->t;
    dm_symbol *left = &b->symbols[i];
    left->rank = DM_NO_RANK;
    if (left->next == NO_SYMBOL)
        return;
    const size_t size = (size_t)left->size + b->symbols[left->next].size;
    const int32_t id = size <= t->longest ? dm_tokenizer_find(t, s + i, size) : -1;
    if (id < 0 || !(t->flags[id] & DM_TOKEN_PIECE))
        return;
    if (t->flags[id] & DM_TOKEN_UNUSED)
        b->split[id] = left->size;
    left->rank = score_rank(t->scores[id]);
    heap_push(b, left->rank, i);
}

/* The deepest recursion is the number of characters of a piece (DM_PIECE_MAX). */
static dm_status put_piece(dm_bpe *b, const char *s, size_t n)
{
    const dm_tokenizer *t = b->t;
    const int32_t id = dm_tokenizer_find(t, s, n);
    const bool unused = id >= 0 && (t->flags[id] & DM_TOKEN_UNUSED);
    if (unused && b->split[id] > 0 && b->split[id] < n) {
        const size_t left = b->split[id];
        const dm_status status = put_piece(b, s, left);
        return status == DM_OK ? put_piece(b, s + left, n - left) : status;
    }
    if (id >= 0 && !unused && (t->flags[id] & DM_TOKEN_PIECE)) {
        b->unknown_last = false;
        return dm_ids_push(b->out, id, b->err);
    }
    if (t->byte_fallback && has_bytes(t, s, n)) {
        dm_status status = DM_OK;
        b->unknown_last = false;
        for (size_t i = 0; i < n && status == DM_OK; i++)
            status = dm_ids_push(b->out, t->byte_id[(unsigned char)s[i]], b->err);
        return status;
    }
    if (t->unknown < 0 || (b->unknown_last && t->fuse_unknown))
        return DM_OK;
    b->unknown_last = true;
    return dm_ids_push(b->out, t->unknown, b->err);
}

/* A symbol's position is its first byte's. */
static dm_status join_by_score(dm_bpe *b, const char *s, size_t n)
{
    const dm_status status = reserve(b, n);
    if (status != DM_OK)
        return status;
    if (b->t->has_unused && b->split == NULL && (b->split = calloc(b->t->size, sizeof *b->split)) == NULL)
        return dm_fail(b->err, DM_ERR_MEMORY, "no memory to tokenize a word of %zu bytes", n);
    dm_symbol *symbols = b->symbols;
    uint32_t previous = NO_SYMBOL, code;
    for (uint32_t i = 0, step; i < n; previous = i, i += step) {
        step = (uint32_t)dm_utf8_decode(s + i, n - i, &code);
        symbols[i] = (dm_symbol){-1, step, previous, i + step < n ? i + step : NO_SYMBOL, DM_NO_RANK};
    }
    for (uint32_t i = 0; i != NO_SYMBOL; i = symbols[i].next)
        score_again(b, s, i);
    while (b->heap_size > 0) {
        const uint64_t top = heap_pop(b);
        const uint32_t rank = (uint32_t)(top >> 32), i = (uint32_t)top;
        if (symbols[i].rank != rank)
            continue;
        join(symbols, i);
        score_again(b, s, i);
        if (symbols[i].previous != NO_SYMBOL)
            score_again(b, s, symbols[i].previous);
    }
    b->unknown_last = false;
    for (uint32_t i = 0; i != NO_SYMBOL; i = symbols[i].next)
        if (put_piece(b, s + i, symbols[i].size) != DM_OK)
            return DM_ERR_MEMORY;
    return DM_OK;
}

dm_status dm_bpe_word(dm_bpe *b, const char *s, size_t n)
{
    return b->t->bpe == DM_BPE_SCORES ? join_by_score(b, s, n) : merge_word(b, s, n);
}

void dm_bpe_close(dm_bpe *b)
{
    free(b->symbols);
    free(b->heap);
    free(b->ids);
    free(b->split);
}
