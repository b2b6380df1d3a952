/* The list itself: nodes, operations, names. model/truth/graph_step.h says which there are. */
#include "model/truth/graph_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"

static const char *const names[DM_FORMULA_COUNT] = {
    "tokens",    "embed",   "norm",     "linear",   "lora_down",      "rope",      "attention", "gather",
    "add",       "glu",     "logp",     "phi",      "score",          "loss",      "coef",      "logits_grad",
    "linear_dx", "norm_dx", "scatter",  "glu_grad", "attention_grad", "rope_grad", "lora_dus",  "linear_dw",
    "bias_dw",   "norm_dw", "embed_dw", "clip",     "adam_m",         "adam_v",    "adam_w",
};

const char *dm_formula_name(dm_formula f)
{
    return (unsigned)f < DM_FORMULA_COUNT ? names[f] : "unknown";
}

static void *grown(dm_graph *g, void *list, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return list;
    const size_t more = *room ? *room * 2 : 256;
    void *bigger = realloc(list, more * size);
    if (!bigger) {
        g->failed = true;
        return list;
    }
    *room = more;
    return bigger;
}

uint32_t dm_graph_node(dm_graph *g, int layer, size_t rows, size_t cols, unsigned dims, const char *fmt, ...)
{
    char text[DM_NODE_NAME];
    va_list args;

    g->nodes = grown(g, g->nodes, g->n_nodes, &g->room_nodes, sizeof *g->nodes);
    if (g->failed)
        return 0;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    const size_t size = strlen(text) + 1;
    dm_node *n = &g->nodes[g->n_nodes];
    *n = (dm_node){.name = malloc(size),
                   .rows = rows,
                   .cols = cols,
                   .dims = dims,
                   .maker = DM_NODE_NONE,
                   .last = DM_NODE_NONE,
                   .layer = layer};
    if (!n->name) {
        g->failed = true;
        return 0;
    }
    memcpy(n->name, text, size);
    return (uint32_t)g->n_nodes++;
}

static void link(dm_graph *g, uint32_t node)
{
    g->links = grown(g, g->links, g->n_links, &g->room_links, sizeof *g->links);
    if (!g->failed)
        g->links[g->n_links++] = node;
}

dm_op *dm_graph_op(dm_graph *g, dm_formula formula, int item, int layer)
{
    static dm_op none;

    g->ops = grown(g, g->ops, g->n_ops, &g->room_ops, sizeof *g->ops);
    if (g->failed)
        return &none;
    dm_op *op = &g->ops[g->n_ops++];
    *op = (dm_op){.formula = formula, .item = item, .layer = layer, .scale = 1, .in = (uint32_t)g->n_links};
    return op;
}

void dm_graph_in(dm_graph *g, uint32_t node)
{
    link(g, node);
    if (g->failed || g->n_ops == 0)
        return;
    g->ops[g->n_ops - 1].n_in++;
    if (node != DM_NODE_NONE)
        g->nodes[node].last = (uint32_t)g->n_ops - 1;
}

void dm_graph_out(dm_graph *g, uint32_t node)
{
    dm_op *op = g->n_ops ? &g->ops[g->n_ops - 1] : NULL;

    if (op && op->n_out == 0)
        op->out = (uint32_t)g->n_links;
    link(g, node);
    if (g->failed || !op)
        return;
    op->n_out++;
    if (node != DM_NODE_NONE)
        g->nodes[node].maker = (uint32_t)g->n_ops - 1;
}

static size_t slot_of(const dm_graph *g, const char *name)
{
    uint64_t h = 1469598103934665603u;

    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 1099511628211u;
    size_t slot = (size_t)(h >> 20) & (g->table_size - 1);
    while (g->table[slot] != DM_NODE_NONE && strcmp(g->nodes[g->table[slot]].name, name) != 0)
        slot = (slot + 1) & (g->table_size - 1);
    return slot;
}

static bool make_table(dm_graph *g)
{
    for (g->table_size = 64; g->table_size < 2 * g->n_nodes;)
        g->table_size *= 2;
    g->table = malloc(g->table_size * sizeof *g->table);
    if (!g->table)
        return false;
    memset(g->table, 0xff, g->table_size * sizeof *g->table);
    for (size_t i = 0; i < g->n_nodes; i++)
        g->table[slot_of(g, g->nodes[i].name)] = (uint32_t)i;
    return true;
}

uint32_t dm_graph_find(const dm_graph *g, const char *name)
{
    return g->table[slot_of(g, name)];
}

static dm_status place_items(dm_graph *g, dm_error *err)
{
    const dm_graph_options *o = &g->o;

    g->items = calloc(o->n_items, sizeof *g->items);
    if (!g->items)
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the items of a step");
    for (size_t i = 0; i < o->n_items; i++) {
        dm_graph_item *t = &g->items[i];
        t->item = &o->items[o->order ? o->order[i] : i];
        const dm_pack_size size = dm_pack_measure(t->item, o->share_prefix);
        dm_arena measure = dm_arena_measure();
        dm_pack_place(&t->pack, &measure, &size);
        const dm_status s = dm_arena_open(&t->arena, measure.peak + 64, err);
        if (s != DM_OK)
            return s;
        dm_pack_place(&t->pack, &t->arena, &size);
        dm_pack_build(&t->pack, t->item, o->share_prefix);
    }
    return DM_OK;
}

dm_status dm_graph_build(dm_graph *g, const dm_graph_options *o, dm_error *err)
{
    *g = (dm_graph){.o = *o, .trained = o->lora ? &o->lora->layout : o->layout};
    const dm_status s = place_items(g, err);
    if (s != DM_OK)
        return s;
    const size_t most = g->trained->n > o->layout->n ? g->trained->n : o->layout->n;
    uint32_t **const lists[] = {&g->weight, &g->gradient, &g->m, &g->v, &g->new_m, &g->new_v, &g->new_w, &g->adapter};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        *lists[i] = malloc((most + 1) * sizeof **lists[i]);
        if (!*lists[i])
            return dm_fail(err, DM_ERR_MEMORY, "no memory for the list of operations");
        memset(*lists[i], 0xff, (most + 1) * sizeof **lists[i]);
    }
    dm_graph_step(g);
    if (g->failed || !make_table(g))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for the list of operations");
    return DM_OK;
}

void dm_graph_free(dm_graph *g)
{
    for (size_t i = 0; i < g->n_nodes; i++)
        free(g->nodes[i].name);
    for (size_t i = 0; i < g->o.n_items && g->items; i++)
        dm_arena_close(&g->items[i].arena);
    uint32_t *const lists[] = {g->weight, g->gradient, g->m, g->v, g->new_m, g->new_v, g->new_w, g->adapter};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]);
    free(g->items);
    free(g->nodes);
    free(g->ops);
    free(g->links);
    free(g->table);
    memset(g, 0, sizeof *g);
}
