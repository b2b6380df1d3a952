#include "io/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"
#include "io/tokenizer/unicode.h"
#include "core/utf8.h"

/* Printable bytes stand for themselves; 0-32, 127-160 and 173 are the characters from 256 on (as GPT-2 has it). */
uint32_t dm_byte_to_code(unsigned char byte)
{
    if (byte <= 32)
        return 256u + byte;
    if (byte >= 127 && byte <= 160)
        return 256u + 33 + (byte - 127u);
    return byte == 173 ? 323 : byte;
}

int dm_code_to_byte(uint32_t code)
{
    if (code < 256)
        return dm_byte_to_code((unsigned char)code) == code ? (int)code : -1;
    if (code <= 288)
        return (int)code - 256;
    if (code <= 322)
        return (int)code - 289 + 127;
    return code == 323 ? 173 : -1;
}

/* Slots for a hash that is never more than three quarters full. */
static size_t slots_for(size_t items)
{
    size_t slots = 16;
    while (slots / 4 * 3 < items)
        slots *= 2;
    return slots;
}

dm_status dm_tokenizer_create(dm_tokenizer **out, size_t tokens, size_t text, size_t merges, size_t added,
                              dm_error *err)
{
    *out = NULL;
    if (tokens > DM_TOKENS_MAX || text >= UINT32_MAX || added > tokens)
        return dm_fail(err, DM_ERR_UNSUPPORTED,
                       "a tokenizer of %zu ids and %zu bytes of text is too large (at most "
                       "%zu ids and 4 GiB)",
                       tokens, text, DM_TOKENS_MAX);
    dm_tokenizer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a tokenizer");
    const size_t token_slots = slots_for(tokens);
    t->key = dm_hash_key_get();
    t->text = malloc(text + 1);
    t->offset = malloc((tokens + 1) * sizeof *t->offset);
    t->flags = calloc(tokens + 1, 1);
    t->token_slots = calloc(token_slots, sizeof *t->token_slots);
    t->added = malloc((added + 1) * sizeof *t->added);
    dm_status status = DM_OK;
    if (!t->text || !t->offset || !t->flags || !t->token_slots || !t->added)
        status = dm_fail(err, DM_ERR_MEMORY, "no memory for a tokenizer of %zu ids", tokens);
    else
        status = dm_tokenizer_reserve_merges(t, merges, err);
    if (status != DM_OK) {
        dm_tokenizer_close(&t);
        return status;
    }
    memset(t->offset, 0xFF, (tokens + 1) * sizeof *t->offset);
    t->text_capacity = text;
    t->capacity = tokens;
    t->token_mask = token_slots - 1;
    t->prefix_stage = SIZE_MAX;
    t->unknown = -1;
    *out = t;
    return DM_OK;
}

void dm_tokenizer_close(dm_tokenizer **t)
{
    if (t == NULL || *t == NULL)
        return;
    free((*t)->text);
    free((*t)->offset);
    free((*t)->flags);
    free((*t)->token_slots);
    free((*t)->merges);
    free((*t)->merge_slots);
    free((*t)->added);
    dm_added_close(&(*t)->raw);
    dm_added_close(&(*t)->normal);
    free((*t)->scores);
    free((*t)->decoded);
    free((*t)->post_processor);
    free(*t);
    *t = NULL;
}

/* Slot of the text, or the free slot where it belongs. */
static uint32_t *token_slot(const dm_tokenizer *t, const char *text, size_t size)
{
    size_t i = (size_t)dm_hash(t->key, text, size) & t->token_mask;
    for (;; i = (i + 1) & t->token_mask) {
        uint32_t *slot = &t->token_slots[i];
        if (*slot == 0)
            return slot;
        const char *other = t->text + t->offset[*slot - 1];
        if (strlen(other) == size && memcmp(other, text, size) == 0)
            return slot;
    }
}

int32_t dm_tokenizer_find(const dm_tokenizer *t, const char *text, size_t size)
{
    return (int32_t)*token_slot(t, text, size) - 1;
}

bool dm_tokenizer_add(dm_tokenizer *t, int32_t id, const char *text, size_t size, uint8_t flags)
{
    uint32_t *slot = token_slot(t, text, size);
    if (*slot != (uint32_t)id + 1) {
        if (*slot != 0 || t->offset[id] != DM_NO_TEXT)
            return false;
        *slot = (uint32_t)id + 1;
        t->offset[id] = (uint32_t)t->text_size;
        memcpy(t->text + t->text_size, text, size);
        t->text[t->text_size + size] = '\0';
        t->text_size += size + 1;
        if ((size_t)id >= t->size)
            t->size = (size_t)id + 1;
    }
    t->flags[id] |= flags;
    return true;
}

static uint32_t *merge_slot(const dm_tokenizer *t, int32_t left, int32_t right)
{
    size_t i = (size_t)dm_hash_pair(t->key, (uint32_t)left, (uint32_t)right) & t->merge_mask;
    for (;; i = (i + 1) & t->merge_mask) {
        uint32_t *slot = &t->merge_slots[i];
        if (*slot == 0)
            return slot;
        const dm_bpe_merge *m = &t->merges[*slot - 1];
        if (m->left == left && m->right == right)
            return slot;
    }
}

dm_status dm_tokenizer_reserve_merges(dm_tokenizer *t, size_t merges, dm_error *err)
{
    if (merges >= UINT32_MAX / 2)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "a tokenizer of %zu merges is too large", merges);
    const size_t slots = slots_for(merges);
    dm_bpe_merge *larger = realloc(t->merges, (merges + 1) * sizeof *larger);
    if (larger != NULL)
        t->merges = larger;
    uint32_t *table = larger != NULL ? calloc(slots, sizeof *table) : NULL;
    if (table == NULL)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for a tokenizer of %zu merges", merges);
    free(t->merge_slots);
    t->merge_slots = table;
    t->merge_mask = slots - 1;
    t->merges_capacity = merges;
    for (size_t i = 0; i < t->n_merges; i++)
        *merge_slot(t, t->merges[i].left, t->merges[i].right) = (uint32_t)i + 1;
    return DM_OK;
}

bool dm_tokenizer_add_merge(dm_tokenizer *t, int32_t left, int32_t right, int32_t id)
{
    uint32_t *slot = merge_slot(t, left, right);
    if (*slot != 0)
        return false;
    t->merges[t->n_merges++] = (dm_bpe_merge){left, right, id};
    *slot = (uint32_t)t->n_merges;
    return true;
}

uint32_t dm_tokenizer_rank(const dm_tokenizer *t, int32_t left, int32_t right)
{
    return *merge_slot(t, left, right) - 1; /* a free slot, 0, becomes DM_NO_RANK */
}

static void *shrink(void *memory, size_t size)
{
    void *smaller = realloc(memory, size);
    if (smaller != NULL)
        return smaller;
    return memory;
}

dm_status dm_tokenizer_finish(dm_tokenizer *t, dm_error *err)
{
    for (int b = 0; b < 256; b++) {
        char text[8];
        size_t size;
        if (t->bpe == DM_BPE_BYTES)
            size = dm_utf8_put((unsigned char *)text, dm_byte_to_code((unsigned char)b));
        else
            size = (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        const int32_t id = dm_tokenizer_find(t, text, size);
        t->byte_id[b] = id >= 0 && (t->flags[id] & DM_TOKEN_VOCAB) ? id : -1;
    }
    for (size_t id = 0; id < t->size; id++) {
        const size_t size = t->flags[id] & DM_TOKEN_PIECE ? strlen(t->text + t->offset[id]) : 0;
        t->longest = size > t->longest ? size : t->longest;
        t->has_unused = t->has_unused || (t->flags[id] & DM_TOKEN_UNUSED);
    }
    t->text = shrink(t->text, t->text_size + 1);
    t->offset = shrink(t->offset, (t->size + 1) * sizeof *t->offset);
    t->flags = shrink(t->flags, t->size + 1);
    t->merges = shrink(t->merges, (t->n_merges + 1) * sizeof *t->merges);
    t->text_capacity = t->text_size;
    t->capacity = t->size;
    t->merges_capacity = t->n_merges;
    const dm_status status = dm_added_build(&t->raw, t, false, err);
    return status == DM_OK ? dm_added_build(&t->normal, t, true, err) : status;
}

size_t dm_tokenizer_size(const dm_tokenizer *t)
{
    return t->size;
}

int32_t dm_tokenizer_id(const dm_tokenizer *t, const char *token)
{
    return dm_tokenizer_find(t, token, strlen(token));
}

const char *dm_tokenizer_token(const dm_tokenizer *t, int32_t id, bool *special)
{
    if (id < 0 || (size_t)id >= t->size || t->offset[id] == DM_NO_TEXT)
        return NULL;
    if (special != NULL)
        *special = (t->flags[id] & DM_TOKEN_SPECIAL) != 0;
    return t->text + t->offset[id];
}

int32_t dm_tokenizer_unknown(const dm_tokenizer *t)
{
    return t->unknown;
}

void dm_ids_free(dm_ids *ids)
{
    free(ids->data);
    *ids = (dm_ids){0};
}

dm_status dm_ids_push(dm_ids *ids, int32_t id, dm_error *err)
{
    if (ids->size == ids->capacity) {
        const size_t capacity = ids->capacity > 0 ? ids->capacity * 2 : 64;
        int32_t *data = capacity <= SIZE_MAX / sizeof *data ? realloc(ids->data, capacity * sizeof *data) : NULL;
        if (data == NULL)
            return dm_fail(err, DM_ERR_MEMORY, "no memory for %zu token ids", capacity);
        ids->data = data;
        ids->capacity = capacity;
    }
    ids->data[ids->size++] = id;
    return DM_OK;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int dm_token_byte(const char *text, size_t size)
{
    if (size != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>' || hex_digit(text[3]) < 0 || hex_digit(text[4]) < 0)
        return -1;
    return hex_digit(text[3]) * 16 + hex_digit(text[4]);
}

/* A token with its marked spaces as spaces. */
static void add_marked_text(const dm_tokenizer *t, const char *text, dm_text *out)
{
    const size_t size = strlen(text);
    const int byte = t->decode_bytes ? dm_token_byte(text, size) : -1;
    if (byte >= 0) {
        const char c = (char)byte;
        dm_text_add(out, &c, 1);
        return;
    }
    for (const char *space; (space = strstr(text, DM_SPACE)) != NULL; text = space + DM_SPACE_SIZE) {
        dm_text_add(out, text, (size_t)(space - text));
        dm_text_add(out, " ", 1);
    }
    dm_text_add(out, text, strlen(text));
}

/* The bytes that a token's characters stand for; a token with any other character is its own text. */
static void add_token_bytes(const char *text, dm_text *out)
{
    const size_t size = strlen(text), before = out->size;
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        i += dm_utf8_decode(text + i, size - i, &code);
        const int byte = dm_code_to_byte(code);
        if (byte < 0) {
            if (out->size > before)
                out->size = before;
            dm_text_add(out, text, size);
            return;
        }
        const char c = (char)byte;
        dm_text_add(out, &c, 1);
    }
}

dm_status dm_tokenizer_decode(const dm_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, dm_text *out,
                              dm_error *err)
{
    for (size_t i = 0; i < n; i++) {
        bool special = false;
        const char *text = dm_tokenizer_token(t, ids[i], &special);
        if (text == NULL)
            return dm_fail(err, DM_ERR_ARGUMENT,
                           "token id %d at position %zu is not a token of the tokenizer (%zu ids)", (int)ids[i], i,
                           t->size);
        if (special && skip_special)
            continue;
        if (t->bpe != DM_BPE_BYTES)
            add_marked_text(t, t->decoded != NULL && t->decoded[ids[i]] ? t->text + t->decoded[ids[i]] - 1 : text, out);
        else if (t->flags[ids[i]] & DM_TOKEN_ADDED)
            dm_text_add(out, text, strlen(text));
        else
            add_token_bytes(text, out);
    }
    return out->failed ? dm_fail(err, DM_ERR_MEMORY, "no memory to decode %zu tokens", n) : DM_OK;
}

void dm_tokenizer_trim(const dm_tokenizer *t, const char **text, size_t *size)
{
    if (!t->strip)
        return;
    do {
        if (*size == 0 || **text != ' ')
            return;
        ++*text;
        --*size;
    } while (t->squeeze);
}

bool dm_tokenizer_prefixes(const dm_tokenizer *t)
{
    return t->prepend || (t->metaspace && t->metaspace_prefix == DM_PREFIX_ALWAYS);
}
