/* From text to ids: added tokens, normalization, words, merges. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer_internal.h"
#include "io/unicode.h"
#include "io/utf8.h"

#define SHORT_WORD 48 /* up to here the lowest rank is found by looking at all of them, beyond with a heap */

typedef struct symbol { /* a token of a long word, linked to its neighbours */
    int32_t id;
    uint32_t previous, next; /* NO_SYMBOL: none */
    uint32_t rank;           /* of the pair that begins here; DM_NO_RANK also where the symbol is gone */
} symbol;

#define NO_SYMBOL UINT32_MAX

typedef struct encoder {
    const dm_tokenizer *t;
    dm_ids *out;
    dm_error *err;
    symbol *symbols; /* [capacity] */
    uint64_t *heap;  /* [3 * capacity] rank << 32 | position: the lowest rank first, then the leftmost */
    size_t heap_size, capacity;
} encoder;

/* ---- words ---- */

static dm_status merge_short(encoder *e, int32_t *id, size_t n)
{
    const dm_tokenizer *t = e->t;
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
        if (dm_ids_push(e->out, id[i], e->err) != DM_OK)
            return DM_ERR_MEMORY;
    return DM_OK;
}

static void heap_push(encoder *e, uint32_t rank, uint32_t position)
{
    if (rank == DM_NO_RANK)
        return;
    const uint64_t key = (uint64_t)rank << 32 | position;
    size_t i = e->heap_size++;
    for (; i > 0 && e->heap[(i - 1) / 2] > key; i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = key;
}

static uint64_t heap_pop(encoder *e)
{
    const uint64_t top = e->heap[0], key = e->heap[--e->heap_size];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < e->heap_size; i = child) {
        if (child + 1 < e->heap_size && e->heap[child + 1] < e->heap[child])
            child++;
        if (e->heap[child] >= key)
            break;
        e->heap[i] = e->heap[child];
    }
    e->heap[i] = key;
    return top;
}

static void rank_again(encoder *e, uint32_t position)
{
    symbol *s = &e->symbols[position];
    s->rank = s->next == NO_SYMBOL ? DM_NO_RANK : dm_tokenizer_rank(e->t, s->id, e->symbols[s->next].id);
    heap_push(e, s->rank, position);
}

static dm_status reserve(encoder *e, size_t n)
{
    if (n <= e->capacity)
        return DM_OK;
    free(e->symbols);
    free(e->heap);
    e->capacity = 0;
    /* every pair is pushed once at first, and each of fewer than n merges makes at most two new pairs */
    e->symbols = n <= SIZE_MAX / (3 * sizeof *e->heap) ? malloc(n * sizeof *e->symbols) : NULL;
    e->heap = e->symbols != NULL ? malloc(3 * n * sizeof *e->heap) : NULL;
    if (e->heap == NULL)
        return dm_fail(e->err, DM_ERR_MEMORY, "no memory to tokenize a word of %zu bytes", n);
    e->capacity = n;
    return DM_OK;
}

static dm_status merge_long(encoder *e, const char *s, size_t n)
{
    if (n >= NO_SYMBOL)
        return dm_fail(e->err, DM_ERR_UNSUPPORTED, "a word of %zu bytes is too long to tokenize", n);
    const dm_status status = reserve(e, n);
    if (status != DM_OK)
        return status;
    symbol *symbols = e->symbols;
    size_t known = 0;
    for (uint32_t i = 0; i < n; i++)
        if (e->t->byte_id[(unsigned char)s[i]] >= 0) {
            symbols[known] =
                (symbol){e->t->byte_id[(unsigned char)s[i]], (uint32_t)known - 1, (uint32_t)known + 1, DM_NO_RANK};
            known++;
        }
    if (known == 0)
        return DM_OK;
    n = known;
    symbols[n - 1].next = NO_SYMBOL;
    e->heap_size = 0;
    for (uint32_t i = 0; i < n; i++)
        rank_again(e, i);
    while (e->heap_size > 0) {
        const uint64_t top = heap_pop(e);
        const uint32_t rank = (uint32_t)(top >> 32), i = (uint32_t)top;
        symbol *left = &symbols[i];
        if (left->rank != rank)
            continue; /* merged or changed since it was pushed */
        symbol *right = &symbols[left->next];
        left->id = e->t->merges[rank].id;
        left->next = right->next;
        right->rank = DM_NO_RANK;
        if (left->next != NO_SYMBOL)
            symbols[left->next].previous = i;
        rank_again(e, i);
        if (left->previous != NO_SYMBOL)
            rank_again(e, left->previous);
    }
    for (uint32_t i = 0; i != NO_SYMBOL; i = symbols[i].next)
        if (dm_ids_push(e->out, symbols[i].id, e->err) != DM_OK)
            return DM_ERR_MEMORY;
    return DM_OK;
}

/* The id of a whole word that is a token, or -1. */
static int32_t whole_word(const dm_tokenizer *t, const char *s, size_t n)
{
    unsigned char text[512];
    size_t size = 0;
    if (n == 0 || n > sizeof text / 2)
        return -1;
    for (size_t i = 0; i < n; i++)
        size += dm_utf8_put(text + size, dm_byte_to_code((unsigned char)s[i]));
    const int32_t id = dm_tokenizer_find(t, (const char *)text, size);
    return id >= 0 && (t->flags[id] & DM_TOKEN_VOCAB) ? id : -1;
}

static dm_status encode_word(encoder *e, const char *s, size_t n)
{
    const dm_tokenizer *t = e->t;
    if (t->ignore_merges) {
        const int32_t id = whole_word(t, s, n);
        if (id >= 0)
            return dm_ids_push(e->out, id, e->err);
    }
    if (n > SHORT_WORD)
        return merge_long(e, s, n);
    int32_t id[SHORT_WORD];
    size_t known = 0;
    for (size_t i = 0; i < n; i++)
        if (t->byte_id[(unsigned char)s[i]] >= 0)
            id[known++] = t->byte_id[(unsigned char)s[i]];
    return merge_short(e, id, known);
}

/* Cuts s by the patterns from `stage` on. */
static dm_status encode_stage(encoder *e, size_t stage, const char *s, size_t n)
{
    const dm_tokenizer *t = e->t;
    if (stage == t->prefix_stage && s[0] != ' ') {
        char *spaced = malloc(n + 1);
        if (spaced == NULL)
            return dm_fail(e->err, DM_ERR_MEMORY, "no memory to tokenize %zu bytes", n);
        spaced[0] = ' ';
        memcpy(spaced + 1, s, n);
        const dm_status status = encode_stage(e, stage, spaced, n + 1);
        free(spaced);
        return status;
    }
    if (stage == t->n_stages)
        return encode_word(e, s, n);
    for (size_t i = 0; i < n;) {
        const size_t end = dm_pattern_next(t->stages[stage], s, n, i);
        const dm_status status = encode_stage(e, stage + 1, s + i, end - i);
        if (status != DM_OK)
            return status;
        i = end;
    }
    return DM_OK;
}

/* ---- added tokens ---- */

/* The longest of added[low..high) that s[0..n) begins with, or NULL. They are sorted, so those that begin with
 * s[0..k) are neighbours, the one that is s[0..k) itself first: narrow the range byte by byte. */
static const dm_added_token *longest_added(const dm_tokenizer *t, size_t low, size_t high, const char *s, size_t n)
{
    const dm_added_token *best = NULL;
    for (size_t k = 0; low < high; k++) {
        if (t->added[low].size == k)
            best = &t->added[low++];
        if (k == n)
            break;
        const unsigned char c = (unsigned char)s[k];
        for (size_t end = high; low < end;) { /* the first with a byte >= c */
            const size_t mid = low + (end - low) / 2;
            if ((unsigned char)t->text[t->added[mid].offset + k] < c)
                low = mid + 1;
            else
                end = mid;
        }
        for (size_t begin = low; begin < high;) { /* the first with a byte > c */
            const size_t mid = begin + (high - begin) / 2;
            if ((unsigned char)t->text[t->added[mid].offset + k] > c)
                high = mid;
            else
                begin = mid + 1;
        }
    }
    return best;
}

/* Where the character before s[end] begins. */
static size_t character_before(const char *s, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)s[end] & 0xC0) == 0x80);
    return end;
}

static bool is_single_word(const char *s, size_t n, size_t begin, size_t end)
{
    uint32_t code;
    if (begin > 0) {
        const size_t before = character_before(s, begin);
        if (dm_utf8_decode(s + before, begin - before, &code) > 0 && dm_is_word(code))
            return false;
    }
    return dm_utf8_decode(s + end, n - end, &code) == 0 || !dm_is_word(code);
}

static dm_status encode_normalized(encoder *e, const char *s, size_t n);

/* What stands between the added tokens of this round. */
static dm_status encode_gap(encoder *e, bool normalized, const char *s, size_t n)
{
    if (n == 0)
        return DM_OK;
    return normalized ? encode_stage(e, 0, s, n) : encode_normalized(e, s, n);
}

static dm_status split_added(encoder *e, bool normalized, const char *s, size_t n)
{
    const dm_tokenizer *t = e->t;
    const size_t low = normalized ? t->n_raw : 0, high = normalized ? t->n_added : t->n_raw;
    size_t done = 0;
    for (size_t i = 0; i < n && low < high;) {
        const dm_added_token *a = longest_added(t, low, high, s + i, n - i);
        if (a == NULL) {
            i++;
            continue;
        }
        size_t begin = i, end = i + a->size;
        i = end;
        if (a->single_word && !is_single_word(s, n, begin, end))
            continue;
        uint32_t code;
        while (a->lstrip && begin > done) {
            const size_t before = character_before(s, begin);
            if (dm_utf8_decode(s + before, begin - before, &code) == 0 || !dm_is_space(code))
                break;
            begin = before;
        }
        while (a->rstrip) {
            const size_t step = dm_utf8_decode(s + end, n - end, &code);
            if (step == 0 || !dm_is_space(code))
                break;
            end += step;
        }
        dm_status status = begin > done ? encode_gap(e, normalized, s + done, begin - done) : DM_OK;
        if (status == DM_OK)
            status = dm_ids_push(e->out, a->id, e->err);
        if (status != DM_OK)
            return status;
        done = end;
    }
    return encode_gap(e, normalized, s + done, n - done);
}

static dm_status encode_normalized(encoder *e, const char *s, size_t n)
{
    char *normal = NULL;
    size_t size = 0;
    if (e->t->nfc) {
        const dm_status status = dm_nfc(s, n, &normal, &size, e->err);
        if (status != DM_OK)
            return status;
    }
    const dm_status status = normal != NULL ? split_added(e, true, normal, size) : split_added(e, true, s, n);
    free(normal);
    return status;
}

dm_status dm_tokenizer_encode(const dm_tokenizer *t, const char *text, size_t size, bool added, dm_ids *out,
                              dm_error *err)
{
    const size_t valid = dm_utf8_check(text, size);
    if (valid < size)
        return dm_fail(err, DM_ERR_INPUT, "byte %zu of the text is no valid UTF-8", valid);
    encoder e = {.t = t, .out = out, .err = err};
    dm_status status = DM_OK;
    if (added) {
        status = split_added(&e, false, text, size);
    } else if (size > 0) {
        char *normal = NULL;
        size_t normal_size = 0;
        if (t->nfc)
            status = dm_nfc(text, size, &normal, &normal_size, err);
        if (status == DM_OK)
            status = normal != NULL ? encode_stage(&e, 0, normal, normal_size) : encode_stage(&e, 0, text, size);
        free(normal);
    }
    free(e.symbols);
    free(e.heap);
    return status;
}
