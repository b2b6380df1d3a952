#include "model/check/layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rows { TOGETHER, RIGHT, LEFT }; /* as they come; a padded batch */
enum columns { PLAIN, TURNED, NEIGHBOURS, HALVES, HEADS, BLOCKS, GROUPS, TURNED_BLOCKS, TURNED_GROUPS };

static const struct {
    const char *name;
    enum rows rows;
    enum columns columns;
} layouts[] = {
    [DM_LAYOUT_SAME] = {"same", TOGETHER, PLAIN},
    [DM_LAYOUT_TRANSPOSED] = {"transposed", TOGETHER, TURNED},
    [DM_LAYOUT_INTERLEAVED] = {"interleaved heads", TOGETHER, NEIGHBOURS},
    [DM_LAYOUT_SPLIT] = {"split heads", TOGETHER, HALVES},
    [DM_LAYOUT_HEADS_FIRST] = {"heads first", TOGETHER, HEADS},
    [DM_LAYOUT_PADDED] = {"padded", RIGHT, PLAIN},
    [DM_LAYOUT_PADDED_LEFT] = {"padded at the left", LEFT, PLAIN},
    [DM_LAYOUT_PADDED_HEADS] = {"padded, heads first", RIGHT, HEADS},
    [DM_LAYOUT_PADDED_LEFT_HEADS] = {"padded at the left, heads first", LEFT, HEADS},
    [DM_LAYOUT_FUSED] = {"fused", TOGETHER, BLOCKS},
    [DM_LAYOUT_FUSED_GROUPS] = {"fused by groups", TOGETHER, GROUPS},
    [DM_LAYOUT_FUSED_TRANSPOSED] = {"fused, transposed", TOGETHER, TURNED_BLOCKS},
    [DM_LAYOUT_FUSED_GROUPS_TRANSPOSED] = {"fused by groups, transposed", TOGETHER, TURNED_GROUPS},
    [DM_LAYOUT_PADDED_FUSED] = {"padded, fused", RIGHT, BLOCKS},
    [DM_LAYOUT_PADDED_LEFT_FUSED] = {"padded at the left, fused", LEFT, BLOCKS},
    [DM_LAYOUT_PADDED_FUSED_GROUPS] = {"padded, fused by groups", RIGHT, GROUPS},
    [DM_LAYOUT_PADDED_LEFT_FUSED_GROUPS] = {"padded at the left, fused by groups", LEFT, GROUPS},
    [DM_LAYOUT_OTHER] = {"another size", TOGETHER, PLAIN},
};

const char *dm_layout_name(dm_layout l)
{
    return layouts[l].name;
}

/* ---- fused projections ---- */

bool dm_layout_fused_name(const char *name, size_t k, char *out, size_t size, int *part)
{
    static const char *const modules[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj",
                                          "mlp.up_proj"};
    static const char *const qkv[] = {"self_attn.qkv_proj", "self_attn.W_pack", "attn.c_attn", "self_attn.qkv",
                                      "self_attn.query_key_value"};
    static const char *const mlp[] = {"mlp.gate_up_proj"};

    for (int i = 0; i < (int)(sizeof modules / sizeof *modules); i++) {
        const char *at = strstr(name, modules[i]);
        if (!at || k >= (i < 3 ? sizeof qkv / sizeof *qkv : sizeof mlp / sizeof *mlp))
            continue;
        *part = i;
        snprintf(out, size, "%.*s%s%s", (int)(at - name), name, i < 3 ? qkv[k] : mlp[k], at + strlen(modules[i]));
        return true;
    }
    return false;
}

static size_t fused_width(const dm_config *c, int part)
{
    return part < 3 ? ((size_t)c->heads + 2 * (size_t)c->kv_heads) * c->head_dim : 2 * (size_t)c->intermediate;
}

/* Where output j of the part lies among the fused ones. */
static size_t fused_place(const dm_config *c, int part, bool groups, size_t j)
{
    const size_t d = c->head_dim, head = j / d, in = j % d, each = c->heads / c->kv_heads;
    const size_t blocks[] = {0, c->heads * d, (c->heads + (size_t)c->kv_heads) * d, 0, c->intermediate};

    if (!groups)
        return blocks[part] + j;
    if (part >= 3)
        return 2 * j + (size_t)(part - 3);
    const size_t group = part ? head : head / each, place = part ? each + (size_t)part - 1 : head % each;
    return (group * (each + 2) + place) * d + in;
}

/* ---- rows ---- */

typedef struct place {                   /* of a row in a batch: a common beginning has two */
    size_t side[2], at[2], length[2], n; /* length: of the side */
} place;

/* Rows are packed tokens or predictions of an item; false: they are neither. */
static bool batch_place(const dm_graph *g, const dm_node *n, size_t row, place *out)
{
    const char *digits = strncmp(n->name, "item.", 5) == 0 ? n->name + 5 : NULL;
    const size_t item = digits ? strtoul(digits, NULL, 10) : 0;

    if (!digits || item >= g->o.n_items)
        return false;
    const dm_pack *p = &g->items[item].pack;
    const size_t size[2] = {g->items[item].item->chosen.n, g->items[item].item->rejected.n};
    const bool predictions = n->rows == p->predictions && n->rows != p->rows;
    bool of[2] = {!predictions, !predictions};
    if (!predictions && n->rows != p->rows)
        return false;
    for (int s = 0; s < 2 && predictions; s++)
        for (size_t i = 0; i < p->side[s].n; i++)
            of[s] = of[s] || p->side[s].prediction[i] == row;
    if (predictions)
        row = (size_t)p->prediction_row[row];
    const size_t common = size[0] + size[1] - p->rows;
    out->n = 0;
    for (size_t s = 0; s < 2; s++) {
        if (!of[s] || (row >= common && s != (row >= size[0])))
            continue;
        out->side[out->n] = s;
        out->length[out->n] = size[s];
        out->at[out->n++] = row < common || s == 0 ? row : common + row - size[0];
    }
    return out->n > 0;
}

/* ---- elements ---- */

/* Of the element at position `at` of side `side`, in a batch of `length` positions; false: none. */
static bool index_of(const dm_graph *g, const dm_node *n, const dm_layout_source *b, enum columns columns, size_t side,
                     size_t at, size_t length, size_t col, size_t *out)
{
    const dm_config *c = g->o.config;
    const size_t d = c->head_dim, half = d / 2, in = col % d, head = col - in;
    const size_t last = b->dims ? (size_t)b->shape[b->dims - 1] : 1;
    const bool groups = columns == GROUPS || columns == TURNED_GROUPS;
    const bool weight = n->dims == 2 && strstr(n->name, ".weight");
    const size_t width = b->part >= 0 ? fused_width(c, b->part) : 0;

    switch (columns) {
    case PLAIN:
        *out = (side * length + at) * n->cols + col;
        return true;
    case TURNED:
        *out = col * n->rows + at;
        return last == n->rows && b->count == n->rows * n->cols && n->dims == 2;
    case NEIGHBOURS:
    case HALVES:
        *out = at * n->cols + head +
               (columns == HALVES ? (in % 2 ? half + in / 2 : in / 2) : (in < half ? 2 * in : 2 * (in - half) + 1));
        return n->cols % d == 0;
    case HEADS:
        if (n->cols % d == 0 && last == d) {
            *out = ((side * (n->cols / d) + col / d) * length + at) * d + in;
            return b->dims >= 3;
        }
        *out = (side * n->cols + col) * length + at;
        return n->cols == c->heads && b->dims >= 2 && last == length;
    case BLOCKS:
    case GROUPS:
        if (weight) {
            *out = fused_place(c, b->part, groups, at) * n->cols + col;
            return last == n->cols && b->count == width * n->cols;
        }
        *out = (side * length + at) * width + fused_place(c, b->part, groups, col);
        return last == width;
    default:
        *out = col * width + fused_place(c, b->part, groups, at);
        return weight && last == width && b->count == width * n->cols;
    }
}

/* Positions of a side in B; 0: it has no such dimension. */
static size_t length_of(const dm_layout_source *b, enum columns columns, size_t head_dim)
{
    const unsigned back = columns == HEADS && b->dims && b->shape[b->dims - 1] != head_dim ? 1 : 2;
    return b->dims > back ? (size_t)b->shape[b->dims - back] : 0;
}

bool dm_layout_value(const dm_graph *g, const dm_node *n, const dm_layout_source *b, dm_layout l, size_t row,
                     size_t col, double *out)
{
    const enum rows rows = layouts[l].rows;
    const enum columns columns = layouts[l].columns;
    place p = {.at = {row}, .n = 1, .length = {n->rows}};
    const size_t length = rows == TOGETHER ? n->rows : length_of(b, columns, g->o.config->head_dim);

    if (l == DM_LAYOUT_OTHER || (b->part >= 0) != (columns >= BLOCKS) ||
        (rows == TOGETHER && columns < BLOCKS && b->count != n->rows * n->cols) ||
        (rows != TOGETHER &&
         (length == 0 || (columns == PLAIN && b->shape[b->dims - 1] != n->cols) || !batch_place(g, n, row, &p))))
        return false;
    const size_t size = strlen(n->name), taken = size > 5 && strcmp(n->name + size - 5, ".grad") == 0 ? p.n : 1;
    *out = 0;
    for (size_t i = 0; i < taken; i++) {
        const size_t before = rows == LEFT ? length - p.length[i] : 0;
        size_t index;
        if (p.length[i] > length || !index_of(g, n, b, columns, p.side[i], before + p.at[i], length, col, &index) ||
            index >= b->count)
            return false;
        *out += b->x[index];
    }
    return true;
}
