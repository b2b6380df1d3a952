#include "io/tokenizer/added.h"

#include <stdlib.h>
#include <string.h>

#include "io/tokenizer/tokenizer_internal.h"

struct dm_added_node {
    uint32_t first; /* its children are neighbours, in order of `byte` */
    uint32_t fail;  /* the node of the longest proper end of its text that is a node */
    uint32_t found; /* 1 + the longest token that its text ends with, 0: none */
    uint16_t children;
    unsigned char byte; /* the last of its text */
};

typedef struct item { /* a token while the automaton is built */
    const unsigned char *text;
    uint32_t size, token;
    bool special;
} item;

typedef struct range { /* of a node: the items whose backward texts begin with its text, which has `depth` bytes */
    uint32_t low, high, depth;
} range;

/* By texts read backwards, a text before those that it begins; of equal ones the one that counts first. */
static int compare_items(const void *a, const void *b)
{
    const item *x = a, *y = b;
    const uint32_t least = x->size < y->size ? x->size : y->size;

    for (uint32_t i = 1; i <= least; i++)
        if (x->text[x->size - i] != y->text[y->size - i])
            return x->text[x->size - i] < y->text[y->size - i] ? -1 : 1;
    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    if (x->special != y->special)
        return x->special ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static uint32_t child_of(const dm_added_index *x, uint32_t node, unsigned char byte)
{
    if (node == 0)
        return x->root[byte];
    const dm_added_node *n = &x->nodes[node];
    for (uint32_t low = n->first, high = n->first + n->children; low < high;) {
        const uint32_t middle = low + (high - low) / 2;
        if (x->nodes[middle].byte == byte)
            return middle;
        if (x->nodes[middle].byte < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static uint32_t step(const dm_added_index *x, uint32_t node, unsigned char byte)
{
    uint32_t next;
    while ((next = child_of(x, node, byte)) == 0 && node != 0)
        node = x->nodes[node].fail;
    return next;
}

/* Breadth first, so that what `fail` names is complete; ranges has as much room as nodes. */
static void build(dm_added_index *x, const item *items, uint32_t n, range *ranges)
{
    uint32_t count = 1;

    ranges[0] = (range){0, n, 0};
    for (uint32_t i = 0; i < count; i++) {
        dm_added_node *node = &x->nodes[i];
        range r = ranges[i];
        node->found = x->nodes[node->fail].found;
        if (items[r.low].size == r.depth)
            node->found = items[r.low].token + 1;
        while (r.low < r.high && items[r.low].size == r.depth)
            r.low++;
        node->first = count;
        for (uint32_t low = r.low, high; low < r.high; low = high) {
            const unsigned char byte = items[low].text[items[low].size - 1 - r.depth];
            for (high = low + 1; high < r.high && items[high].text[items[high].size - 1 - r.depth] == byte;)
                high++;
            x->nodes[count] = (dm_added_node){.byte = byte, .fail = i == 0 ? 0 : step(x, node->fail, byte)};
            ranges[count] = (range){low, high, r.depth + 1};
            node->children++;
            if (i == 0)
                x->root[byte] = count;
            count++;
        }
    }
}

dm_status dm_added_build(dm_added_index *x, const dm_tokenizer *t, bool normalized, dm_error *err)
{
    item *items = malloc((t->n_added + 1) * sizeof *items);
    size_t n = 0, bytes = 0; /* below 4 GiB, as the text of all tokens */

    for (size_t i = 0; items != NULL && i < t->n_added; i++) {
        const dm_added_token *a = &t->added[i];
        if (a->normalized != normalized || a->size == 0)
            continue;
        items[n++] = (item){(const unsigned char *)t->text + a->offset, a->size, (uint32_t)i,
                            (t->flags[a->id] & DM_TOKEN_SPECIAL) != 0};
        bytes += a->size;
    }
    if (items != NULL && n == 0) {
        free(items);
        return DM_OK;
    }
    range *ranges = bytes < SIZE_MAX / sizeof *x->nodes - 1 ? malloc((bytes + 1) * sizeof *ranges) : NULL;
    if (items != NULL && ranges != NULL)
        x->nodes = calloc(bytes + 1, sizeof *x->nodes);
    if (items != NULL && ranges != NULL && x->nodes != NULL) {
        qsort(items, n, sizeof *items, compare_items);
        build(x, items, (uint32_t)n, ranges);
    }
    free(items);
    free(ranges);
    return x->nodes != NULL ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for %zu added tokens", t->n_added);
}

void dm_added_close(dm_added_index *x)
{
    free(x->nodes);
    x->nodes = NULL;
}

dm_status dm_added_find(const dm_added_index *x, const char *s, size_t n, dm_added_match **out, size_t *matches,
                        dm_error *err)
{
    size_t capacity = 0;
    uint32_t node = 0;

    *out = NULL;
    *matches = 0;
    if (x->nodes == NULL)
        return DM_OK;
    for (size_t i = n; i-- > 0;) {
        node = step(x, node, (unsigned char)s[i]);
        if (x->nodes[node].found == 0)
            continue;
        if (*matches == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 16;
            dm_added_match *more = capacity <= SIZE_MAX / sizeof *more ? realloc(*out, capacity * sizeof *more) : NULL;
            if (more == NULL) {
                free(*out);
                *out = NULL;
                return dm_fail(err, DM_ERR_MEMORY, "no memory to tokenize %zu bytes", n);
            }
            *out = more;
        }
        (*out)[(*matches)++] = (dm_added_match){i, x->nodes[node].found - 1};
    }
    return DM_OK;
}
