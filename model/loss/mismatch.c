#include "model/loss/mismatch.h"

#include <string.h>

#include "core/numbers/block.h"

static size_t prompt_of(const dm_data_trajectory *t)
{
    return t->turns[0].begin;
}

/* A side of a pair; of a labelled completion, the one that is there. */
static const dm_data_trajectory *side_of(const dm_data_item *item, int side)
{
    const dm_data_trajectory *wanted = side ? &item->rejected : &item->chosen;
    return wanted->n ? wanted : side ? &item->chosen : &item->rejected;
}

static int same_prompt(const dm_data_item *a, const dm_data_item *b)
{
    const dm_data_trajectory *x = side_of(a, 0), *y = side_of(b, 0);
    const size_t n = prompt_of(x);
    return n == prompt_of(y) && memcmp(x->ids, y->ids, n * sizeof *x->ids) == 0;
}

/* partner[i]: the next item with another prompt. 0 when there is no such item. */
static int find_partners(size_t *partner, const dm_dataset *data)
{
    const size_t n = data->n;
    size_t last = 0; /* one whose next item has another prompt */

    while (last < n && same_prompt(&data->items[last], &data->items[(last + 1) % n]))
        last++;
    if (last == n)
        return 0;
    for (size_t k = 0; k < n; k++) { /* backwards from there: a run of equal prompts shares its partner */
        const size_t i = (last + n - k) % n, next = (i + 1) % n;
        partner[i] = k > 0 && same_prompt(&data->items[i], &data->items[next]) ? partner[next] : next;
    }
    return 1;
}

/* How many tokens of the sequence lie within max_length at a turn's end, and how many turns. */
static size_t cut(const dm_data_trajectory *prompt, const dm_data_trajectory *t, size_t max_length, size_t *turns)
{
    const size_t begin = prompt_of(t), shift = prompt_of(prompt);

    *turns = t->n_turns;
    if (shift + t->n - begin <= max_length)
        return shift + t->n - begin;
    while (*turns > 0 && t->turns[*turns - 1].end - begin + shift > max_length)
        --*turns;
    return *turns ? t->turns[*turns - 1].end - begin + shift : 0;
}

/* 0: no memory. */
static int join(dm_block **memory, dm_data_trajectory *out, const dm_data_trajectory *prompt,
                const dm_data_trajectory *t, size_t max_length)
{
    *out = (dm_data_trajectory){0};
    if (prompt->n == 0)
        return 1;
    const size_t begin = prompt_of(t), shift = prompt_of(prompt);
    out->n = cut(prompt, t, max_length, &out->n_turns);
    if (out->n == 0)
        return 1;
    out->ids = dm_block_alloc(memory, out->n * sizeof *out->ids);
    out->turns = dm_block_alloc(memory, out->n_turns * sizeof *out->turns);
    if (!out->ids || !out->turns)
        return 0;
    memcpy(out->ids, prompt->ids, shift * sizeof *out->ids);
    memcpy(out->ids + shift, t->ids + begin, (out->n - shift) * sizeof *out->ids);
    for (size_t k = 0; k < out->n_turns; k++) {
        out->turns[k] = (dm_span){t->turns[k].begin - begin + shift, t->turns[k].end - begin + shift};
        out->n_actions += t->turns[k].end - t->turns[k].begin;
    }
    return 1;
}

dm_status dm_mismatched_sequences(dm_dataset *out, const dm_dataset *data, size_t max_length, const char *path,
                                  dm_error *err)
{
    dm_block *memory = NULL;
    size_t *partner = dm_pages_alloc(data->n * sizeof *partner);
    int fits = partner != NULL;

    *out = (dm_dataset){.pairs = true};
    if (fits && !find_partners(partner, data)) {
        dm_pages_free(partner, data->n * sizeof *partner);
        return dm_fail(err, DM_ERR_INPUT,
                       "%s: kto needs items with different prompts to estimate the divergence from the reference; "
                       "all %zu have one prompt",
                       path, data->n);
    }
    out->items = fits ? dm_block_alloc(&memory, data->n * sizeof *out->items) : NULL;
    fits = out->items != NULL;
    for (size_t i = 0; fits && i < data->n; i++, out->n++) {
        const dm_data_item *a = &data->items[i], *b = &data->items[partner[i]];
        dm_data_item *item = &out->items[i];
        *item = (dm_data_item){.id = a->id, .chosen_score = a->chosen_score, .rejected_score = a->rejected_score};
        fits = join(&memory, &item->chosen, &a->chosen, side_of(b, 0), max_length) &&
               join(&memory, &item->rejected, &a->rejected, side_of(b, 1), max_length);
    }
    dm_pages_free(partner, data->n * sizeof *partner);
    out->memory = memory;
    if (fits)
        return DM_OK;
    dm_dataset_close(out);
    return dm_fail(err, DM_ERR_MEMORY, "%s: no memory left for its mismatched sequences", path);
}
