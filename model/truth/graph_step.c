/* Which operations a step has: the model forward, the loss, the model backward, the optimizer. */
#include "model/truth/graph_step.h"

#include <math.h>
#include <stdlib.h>

const char *const dm_step_modules[DM_PROJECTIONS] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                     "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                     "mlp.down_proj"};

dm_op *dm_step_op(dm_graph_builder *b, dm_formula f)
{
    return dm_graph_op(b->g, f, b->item, b->layer);
}

void dm_step_in(dm_graph_builder *b, uint32_t node)
{
    dm_graph_in(b->g, node);
}

uint32_t dm_step_out(dm_graph_builder *b, const char *name, size_t rows, size_t cols)
{
    const uint32_t n = b->layer >= 0 ? dm_graph_node(b->g, b->layer, rows, cols, 2, "item.%d/model.layers.%d.%s",
                                                     b->item, b->layer, name)
                                     : dm_graph_node(b->g, -1, rows, cols, 2, "item.%d/%s", b->item, name);
    dm_graph_out(b->g, n);
    return n;
}

uint32_t dm_step_vector(dm_graph_builder *b, const char *name, size_t n)
{
    const uint32_t node = dm_graph_node(b->g, -1, 1, n, 1, "item.%d/%s", b->item, name);
    dm_graph_out(b->g, node);
    return node;
}

uint32_t dm_step_weight(const dm_graph_builder *b, const dm_tensor *t)
{
    return b->g->weight[t - b->l->tensors];
}

uint32_t dm_step_adapter(const dm_graph_builder *b, const dm_tensor *t)
{
    return b->g->adapter[t - b->g->o.lora->layout.tensors];
}

const dm_lora_pair *dm_step_pair(const dm_graph_builder *b, int p)
{
    const dm_lora *lora = b->g->o.lora;
    return lora && lora->pairs[b->layer][p].a ? &lora->pairs[b->layer][p] : NULL;
}

double dm_step_query_scale(const dm_config *c)
{
    return 1.0 / sqrt(c->query_scalar > 0 ? c->query_scalar : (double)c->head_dim);
}

bool dm_step_narrow(const dm_graph_builder *b)
{
    return b->g->o.narrow && b->layer + 1 == (int)b->c->layers;
}

size_t dm_step_late_rows(const dm_graph_builder *b)
{
    return dm_step_narrow(b) ? b->g->items[b->item].pack.predictions : b->rows;
}

static void given(dm_graph *g, const dm_param_layout *l, uint32_t *nodes)
{
    for (size_t i = 0; i < l->n; i++) {
        const dm_tensor *t = &l->tensors[i];
        nodes[i] = dm_graph_node(g, -1, t->dims == 2 ? t->rows : 1, t->cols, t->dims, "%s", t->name);
        if (!g->failed)
            g->nodes[nodes[i]].param = t;
    }
}

void dm_graph_step(dm_graph *g)
{
    const size_t items = g->o.n_items, layers = g->o.config->layers;
    dm_graph_builder b = {
        .g = g, .c = g->o.config, .l = g->o.layout, .items = calloc(items, sizeof *b.items), .layer = -1};
    dm_layer_nodes *all = calloc(items * layers, sizeof *all);

    g->failed = !b.items || !all;
    given(g, g->o.layout, g->weight);
    if (g->o.lora)
        given(g, &g->o.lora->layout, g->adapter);
    for (size_t i = 0; i < items && !g->failed; i++) {
        b.items[i].layers = all + i * layers;
        b.item = (int)i;
        b.rows = g->items[i].pack.rows;
        dm_step_forward(&b);
        if (!g->o.forward_only)
            dm_step_score(&b);
    }
    if (!g->o.forward_only && !g->failed) {
        dm_step_loss(&b);
        for (size_t i = 0; i < items && !g->failed; i++) {
            b.item = (int)i;
            b.rows = g->items[i].pack.rows;
            dm_step_backward(&b);
        }
        if (!g->failed)
            dm_step_gradients(&b);
        if (!g->failed)
            dm_step_optimizer(&b);
    }
    free(all);
    free(b.items);
}
