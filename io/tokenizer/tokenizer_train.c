/* Trains byte-level BPE.
 *
 * The texts become a list of different words, each with its number of occurrences. Merging a pair touches only the
 * words that hold it: every pair has a count and a list of words. The best pair comes from a heap whose entries may be
 * out of date, but only by claiming too much: a count that has fallen is put back with its true value, one that rises
 * is pushed again. */
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"
#include "io/tokenizer/unicode.h"
#include "core/utf8.h"

#define NONE UINT32_MAX

typedef struct word {
    size_t begin;    /* of its bytes, and as they merge of its symbols */
    uint32_t size;   /* bytes */
    uint32_t length; /* symbols */
    uint64_t count;
} word;

typedef struct pair {
    int32_t left, right; /* left -1: a free slot */
    uint64_t count;
    uint32_t words; /* newest node of its list, NONE: empty */
} pair;

typedef struct node {
    uint32_t word, next;
} node;

typedef struct candidate { /* of the heap */
    uint64_t count;
    int32_t left, right;
} candidate;

typedef struct trainer {
    dm_pattern pattern;
    bool split_digits; /* before the pattern */
    char *bytes;       /* of all words */
    int32_t *symbols;  /* the same as token ids */
    size_t bytes_size, bytes_capacity;
    word *words;
    size_t n_words, words_capacity;
    uint32_t *word_slots;
    size_t word_mask;
    pair *pairs; /* a hash table, at most half full */
    size_t n_pairs, pair_mask;
    node *nodes;
    size_t n_nodes, nodes_capacity;
    candidate *heap;
    size_t heap_size, heap_capacity;
    dm_hash_key key; /* of both tables */
    dm_error *err;
} trainer;

static dm_status no_memory(dm_error *err)
{
    return dm_fail(err, DM_ERR_MEMORY, "no memory to train a tokenizer: give it fewer texts");
}

/* Room for `needed` items of an array; doubles it. */
static dm_status grow(void *array, size_t *capacity, size_t needed, size_t item, dm_error *err)
{
    if (needed <= *capacity)
        return DM_OK;
    size_t larger = *capacity < 1024 ? 1024 : *capacity;
    while (larger < needed && larger <= SIZE_MAX / 4)
        larger *= 2;
    void *old, *memory = NULL;
    memcpy(&old, array, sizeof old);
    if (larger >= needed && larger <= SIZE_MAX / 2 / item)
        memory = realloc(old, larger * item);
    if (memory == NULL)
        return no_memory(err);
    memcpy(array, &memory, sizeof memory);
    *capacity = larger;
    return DM_OK;
}

/* ---- words ---- */

static uint32_t *word_slot(const trainer *r, const char *s, size_t n)
{
    size_t i = (size_t)dm_hash(r->key, s, n) & r->word_mask;
    for (;; i = (i + 1) & r->word_mask) {
        uint32_t *slot = &r->word_slots[i];
        if (*slot == 0)
            return slot;
        const word *w = &r->words[*slot - 1];
        if (w->size == n && memcmp(r->bytes + w->begin, s, n) == 0)
            return slot;
    }
}

static dm_status grow_word_slots(trainer *r)
{
    if (r->word_slots != NULL && r->n_words < r->word_mask / 2)
        return DM_OK;
    const size_t slots = r->word_slots == NULL ? 4096 : 2 * (r->word_mask + 1);
    free(r->word_slots);
    r->word_slots = calloc(slots, sizeof *r->word_slots);
    if (r->word_slots == NULL)
        return no_memory(r->err);
    r->word_mask = slots - 1;
    for (size_t i = 0; i < r->n_words; i++)
        *word_slot(r, r->bytes + r->words[i].begin, r->words[i].size) = (uint32_t)i + 1;
    return DM_OK;
}

static dm_status count_word(trainer *r, const char *s, size_t n)
{
    dm_status status = grow_word_slots(r);
    if (status != DM_OK)
        return status;
    uint32_t *slot = word_slot(r, s, n);
    if (*slot == 0) {
        if (n >= NONE || r->n_words >= NONE - 1)
            return dm_fail(r->err, DM_ERR_UNSUPPORTED, "too many words to train a tokenizer: give it fewer texts");
        status = grow(&r->bytes, &r->bytes_capacity, r->bytes_size + n, 1, r->err);
        if (status == DM_OK)
            status = grow(&r->words, &r->words_capacity, r->n_words + 1, sizeof *r->words, r->err);
        if (status != DM_OK)
            return status;
        memcpy(r->bytes + r->bytes_size, s, n);
        r->words[r->n_words++] = (word){r->bytes_size, (uint32_t)n, (uint32_t)n, 0};
        r->bytes_size += n;
        *slot = (uint32_t)r->n_words;
    }
    r->words[*slot - 1].count++;
    return DM_OK;
}

static dm_status count_words(trainer *r, const char *s, size_t n)
{
    for (size_t begin = 0, end; begin < n; begin = end) {
        end = r->split_digits ? dm_pattern_next(DM_PATTERN_DIGIT, s, n, begin) : n;
        for (size_t i = begin, next; i < end; i = next) {
            next = begin + dm_pattern_next(r->pattern, s + begin, end - begin, i - begin);
            const dm_status status = count_word(r, s + i, next - i);
            if (status != DM_OK)
                return status;
        }
    }
    return DM_OK;
}

/* ---- pairs ---- */

static bool better(const candidate *a, const candidate *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static dm_status heap_push(trainer *r, candidate c)
{
    const dm_status status = grow(&r->heap, &r->heap_capacity, r->heap_size + 1, sizeof *r->heap, r->err);
    if (status != DM_OK)
        return status;
    size_t i = r->heap_size++;
    for (; i > 0 && better(&c, &r->heap[(i - 1) / 2]); i = (i - 1) / 2)
        r->heap[i] = r->heap[(i - 1) / 2];
    r->heap[i] = c;
    return DM_OK;
}

static candidate heap_pop(trainer *r)
{
    const candidate top = r->heap[0], c = r->heap[--r->heap_size];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < r->heap_size; i = child) {
        if (child + 1 < r->heap_size && better(&r->heap[child + 1], &r->heap[child]))
            child++;
        if (!better(&r->heap[child], &c))
            break;
        r->heap[i] = r->heap[child];
    }
    r->heap[i] = c;
    return top;
}

static pair *pair_slot(const trainer *r, int32_t left, int32_t right)
{
    const uint64_t h = dm_hash_pair(r->key, (uint32_t)left, (uint32_t)right);
    for (size_t i = (size_t)h & r->pair_mask;; i = (i + 1) & r->pair_mask) {
        pair *p = &r->pairs[i];
        if (p->left < 0 || (p->left == left && p->right == right))
            return p;
    }
}

static dm_status grow_pairs(trainer *r)
{
    if (r->pairs != NULL && r->n_pairs < r->pair_mask / 2)
        return DM_OK;
    pair *old = r->pairs;
    const size_t old_slots = old != NULL ? r->pair_mask + 1 : 0, slots = old != NULL ? 2 * old_slots : 4096;
    r->pairs = slots <= SIZE_MAX / sizeof *r->pairs ? malloc(slots * sizeof *r->pairs) : NULL;
    if (r->pairs == NULL) {
        r->pairs = old;
        return no_memory(r->err);
    }
    r->pair_mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        r->pairs[i].left = -1;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].left >= 0)
            *pair_slot(r, old[i].left, old[i].right) = old[i];
    free(old);
    return DM_OK;
}

/* One more occurrence of the pair in each copy of word w. */
static dm_status pair_add(trainer *r, int32_t left, int32_t right, uint32_t w)
{
    dm_status status = grow_pairs(r);
    if (status == DM_OK)
        status = grow(&r->nodes, &r->nodes_capacity, r->n_nodes + 1, sizeof *r->nodes, r->err);
    if (status != DM_OK)
        return status;
    pair *p = pair_slot(r, left, right);
    if (p->left < 0) {
        *p = (pair){left, right, 0, NONE};
        r->n_pairs++;
    }
    p->count += r->words[w].count;
    if (p->words == NONE || r->nodes[p->words].word != w) {
        if (r->n_nodes >= NONE)
            return dm_fail(r->err, DM_ERR_UNSUPPORTED, "too many words to train a tokenizer: give it fewer texts");
        r->nodes[r->n_nodes] = (node){w, p->words};
        p->words = (uint32_t)r->n_nodes++;
    }
    return DM_OK;
}

static void pair_remove(trainer *r, int32_t left, int32_t right, uint32_t w)
{
    pair_slot(r, left, right)->count -= r->words[w].count;
}

static dm_status push_pair(trainer *r, int32_t left, int32_t right)
{
    return heap_push(r, (candidate){pair_slot(r, left, right)->count, left, right});
}

/* Replaces left right by `id` in word w from left to right, keeping the counts of the pairs around it true. */
static dm_status merge_in_word(trainer *r, uint32_t w, int32_t left, int32_t right, int32_t id)
{
    int32_t *s = r->symbols + r->words[w].begin;
    const size_t n = r->words[w].length;
    size_t k = 0; /* s[0..k) is done, s[i..n) is still to come */
    dm_status status = DM_OK;
    for (size_t i = 0; i < n;) {
        if (i + 1 == n || s[i] != left || s[i + 1] != right) {
            s[k++] = s[i++];
            continue;
        }
        i += 2;
        pair_remove(r, left, right, w);
        if (k > 0) {
            pair_remove(r, s[k - 1], left, w);
            status = pair_add(r, s[k - 1], id, w);
        }
        if (i < n && status == DM_OK) {
            pair_remove(r, right, s[i], w);
            status = pair_add(r, id, s[i], w);
        }
        if (status != DM_OK)
            return status;
        s[k++] = id;
    }
    r->words[w].length = (uint32_t)k;
    return DM_OK;
}

/* The new pairs of the words that were merged; a pair that is pushed twice is merged once. */
static dm_status push_around(trainer *r, uint32_t w, int32_t id)
{
    const int32_t *s = r->symbols + r->words[w].begin;
    dm_status status = DM_OK;
    for (size_t i = 0; i + 1 < r->words[w].length && status == DM_OK; i++)
        if (s[i] == id || s[i + 1] == id)
            status = push_pair(r, s[i], s[i + 1]);
    return status;
}

/* Merges the pair in every word. */
static dm_status merge_everywhere(trainer *r, int32_t left, int32_t right, int32_t id)
{
    const uint32_t first = pair_slot(r, left, right)->words;
    pair_slot(r, left, right)->words = NONE;
    dm_status status = DM_OK;
    for (uint32_t i = first; i != NONE && status == DM_OK; i = r->nodes[i].next)
        status = merge_in_word(r, r->nodes[i].word, left, right, id);
    for (uint32_t i = first; i != NONE && status == DM_OK; i = r->nodes[i].next)
        status = push_around(r, r->nodes[i].word, id);
    return status;
}

/* ---- the tokenizer ---- */

/* The special tokens and the 256 bytes. */
static dm_status add_base(dm_tokenizer *t, const char *const *specials, size_t n_specials, dm_error *err)
{
    for (size_t i = 0; i < n_specials; i++) {
        const size_t size = strlen(specials[i]);
        const int32_t id = (int32_t)i;
        if (size == 0 || dm_utf8_check(specials[i], size) < size || dm_tokenizer_find(t, specials[i], size) >= 0)
            return dm_fail(err, DM_ERR_ARGUMENT, "special token \"%s\" is %s", specials[i],
                           size == 0                                 ? "empty"
                           : dm_utf8_check(specials[i], size) < size ? "not valid UTF-8"
                                                                     : "given twice");
        dm_tokenizer_add(t, id, specials[i], size, DM_TOKEN_VOCAB | DM_TOKEN_ADDED | DM_TOKEN_SPECIAL);
        t->added[t->n_added++] = (dm_added_token){.offset = t->offset[id], .size = (uint32_t)size, .id = id};
    }
    for (size_t b = 0; b < 256; b++) {
        unsigned char text[4];
        const size_t size = dm_utf8_put(text, dm_byte_to_code((unsigned char)b));
        if (!dm_tokenizer_add(t, (int32_t)(n_specials + b), (const char *)text, size, DM_TOKEN_VOCAB))
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "special token \"%.*s\" is what stands for a byte: choose a longer one", (int)size,
                           (const char *)text);
    }
    return DM_OK;
}

static dm_status start_pairs(trainer *r, size_t first_byte)
{
    r->symbols =
        r->bytes_size <= SIZE_MAX / sizeof *r->symbols ? malloc((r->bytes_size + 1) * sizeof *r->symbols) : NULL;
    if (r->symbols == NULL)
        return no_memory(r->err);
    for (size_t i = 0; i < r->bytes_size; i++)
        r->symbols[i] = (int32_t)(first_byte + (unsigned char)r->bytes[i]);
    dm_status status = grow_pairs(r);
    for (uint32_t w = 0; w < r->n_words; w++) {
        const int32_t *s = r->symbols + r->words[w].begin;
        for (size_t i = 0; i + 1 < r->words[w].length && status == DM_OK; i++)
            status = pair_add(r, s[i], s[i + 1], w);
    }
    for (size_t i = 0; i <= r->pair_mask && status == DM_OK; i++)
        if (r->pairs[i].left >= 0)
            status = push_pair(r, r->pairs[i].left, r->pairs[i].right);
    return status;
}

/* Room for `size` more bytes of token text. */
static dm_status grow_text(dm_tokenizer *t, size_t size, dm_error *err)
{
    if (t->text_size + size >= UINT32_MAX)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "the tokens' texts exceed 4 GiB");
    return grow(&t->text, &t->text_capacity, t->text_size + size, 1, err);
}

static dm_status learn_merges(trainer *r, dm_tokenizer *t, size_t vocabulary, uint64_t min_frequency)
{
    dm_text whole = {0};
    dm_status status = DM_OK;
    while (t->size < vocabulary && r->heap_size > 0 && status == DM_OK) {
        const candidate c = heap_pop(r);
        const uint64_t count = pair_slot(r, c.left, c.right)->count;
        if (count < c.count && count >= min_frequency) {
            status = push_pair(r, c.left, c.right);
            continue;
        }
        if (count < min_frequency)
            continue;
        const char *left = t->text + t->offset[c.left], *right = t->text + t->offset[c.right];
        whole.size = 0;
        dm_text_add(&whole, left, strlen(left));
        dm_text_add(&whole, right, strlen(right));
        if (whole.failed) {
            status = no_memory(r->err);
            break;
        }
        /* two pairs may spell the same token; none may spell a special one */
        int32_t id = dm_tokenizer_find(t, whole.data, whole.size);
        if (id >= 0 && (t->flags[id] & DM_TOKEN_SPECIAL))
            continue;
        if (id < 0) {
            id = (int32_t)t->size;
            status = grow_text(t, whole.size + 1, r->err);
            if (status != DM_OK)
                break;
            dm_tokenizer_add(t, id, whole.data, whole.size, DM_TOKEN_VOCAB);
        }
        if (t->n_merges == t->merges_capacity)
            status = dm_tokenizer_reserve_merges(t, 2 * t->n_merges, r->err);
        if (status != DM_OK)
            break;
        dm_tokenizer_add_merge(t, c.left, c.right, id); /* known already where a token was spelled again: fine */
        status = merge_everywhere(r, c.left, c.right, id);
    }
    dm_text_free(&whole);
    return status;
}

/* One text's words, normalised as the finished tokenizer will do it. */
static dm_status count_text(trainer *r, const char *text, size_t size, size_t number, bool nfc)
{
    const size_t valid = dm_utf8_check(text, size);
    char *normal = NULL;
    size_t normal_size = 0;
    dm_status status = DM_OK;

    if (valid < size)
        return dm_fail(r->err, DM_ERR_INPUT, "text %zu: byte %zu is not valid UTF-8", number, valid);
    if (nfc)
        status = dm_nfc(text, size, &normal, &normal_size, r->err);
    if (status == DM_OK)
        status = normal != NULL ? count_words(r, normal, normal_size) : count_words(r, text, size);
    free(normal);
    return status;
}

dm_status dm_tokenizer_train(dm_tokenizer **out, const char *const *texts, const size_t *sizes, size_t n,
                             size_t vocabulary, size_t min_frequency, dm_word_split split, bool split_digits,
                             const char *const *specials, size_t n_specials, dm_error *err)
{
    *out = NULL;
    if (n_specials > DM_TOKENS_MAX - 256 || vocabulary < n_specials + 256 || vocabulary > DM_TOKENS_MAX)
        return dm_fail(err, DM_ERR_ARGUMENT,
                       "a vocabulary of %zu is not possible, must be from %zu (256 bytes and %zu "
                       "special tokens) to %zu",
                       vocabulary, n_specials + 256, n_specials, DM_TOKENS_MAX);
    const dm_pattern pattern = split == DM_WORD_SPLIT_GPT2     ? DM_PATTERN_GPT2
                               : split == DM_WORD_SPLIT_LLAMA3 ? DM_PATTERN_LLAMA3
                                                               : DM_PATTERN_QWEN2;
    trainer r = {.pattern = pattern, .split_digits = split_digits, .key = dm_hash_key_get(), .err = err};
    size_t text = 1024;
    for (size_t i = 0; i < n_specials; i++)
        text += strlen(specials[i]) + 1;
    dm_tokenizer *t;
    dm_status status = dm_tokenizer_create(&t, vocabulary, text, vocabulary, n_specials, err);
    if (status != DM_OK)
        return status;
    status = add_base(t, specials, n_specials, err);
    t->nfc = split == DM_WORD_SPLIT_QWEN2;
    for (size_t i = 0; i < n && status == DM_OK; i++)
        status = count_text(&r, texts[i], sizes[i], i, t->nfc);
    if (status == DM_OK)
        status = start_pairs(&r, n_specials);
    if (status == DM_OK)
        status = learn_merges(&r, t, vocabulary, min_frequency > 1 ? min_frequency : 1);
    free(r.bytes);
    free(r.symbols);
    free(r.words);
    free(r.word_slots);
    free(r.pairs);
    free(r.nodes);
    free(r.heap);
    if (status != DM_OK) {
        dm_tokenizer_close(&t);
        return status;
    }
    if (split_digits)
        t->stages[t->n_stages++] = DM_PATTERN_DIGIT;
    t->stages[t->n_stages++] = pattern;
    t->prefix_pattern = split == DM_WORD_SPLIT_GPT2;
    status = dm_tokenizer_finish(t, err);
    if (status != DM_OK)
        dm_tokenizer_close(&t);
    *out = t;
    return status;
}
