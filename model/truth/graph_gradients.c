/* A step's last operations: gradients of the trained tensors, summed over the items, and the optimizer. */
#include "model/truth/graph_step.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Of trained tensor i, whose operation was begun. */
static void made(dm_graph_builder *b, size_t i)
{
    const dm_tensor *t = &b->g->trained->tensors[i];
    const uint32_t node =
        dm_graph_node(b->g, b->layer, t->dims == 2 ? t->rows : 1, t->cols, t->dims, "%s.grad", t->name);
    dm_graph_out(b->g, node);
    b->g->gradient[i] = node;
}

static void linear_dw(dm_graph_builder *b, size_t i, int p, int which) /* which: 0 the base's, 1 A, 2 B */
{
    dm_step_op(b, DM_FORMULA_LINEAR_DW);
    for (size_t k = 0; k < b->g->o.n_items; k++) {
        const dm_layer_nodes *n = &b->items[k].layers[b->layer];
        const uint32_t x = p <= DM_PROJECTION_V      ? n->n1
                           : p == DM_PROJECTION_O    ? n->att_late
                           : p == DM_PROJECTION_DOWN ? n->h
                                                     : n->n2;
        dm_step_in(b, which == 1 ? n->dus[p] : n->dy[p]);
        dm_step_in(b, which == 2 ? n->us[p] : x);
    }
    made(b, i);
}

static void norm_dw(dm_graph_builder *b, size_t i, size_t dy, size_t x) /* offsets in dm_layer_nodes */
{
    dm_step_op(b, DM_FORMULA_NORM_DW)->group = b->g->trained->tensors[i].cols;
    for (size_t k = 0; k < b->g->o.n_items; k++) {
        const char *n = (const char *)&b->items[k].layers[b->layer];
        uint32_t node;
        memcpy(&node, n + dy, sizeof node);
        dm_step_in(b, node);
        memcpy(&node, n + x, sizeof node);
        dm_step_in(b, node);
    }
    made(b, i);
}

static void embed_dw(dm_graph_builder *b, size_t i)
{
    dm_step_op(b, DM_FORMULA_EMBED_DW)->scale = dm_config_is_gemma(b->c) ? sqrt((double)b->c->hidden) : 1;
    b->g->ops[b->g->n_ops - 1].tied = b->l->head == b->l->embed;
    for (size_t k = 0; k < b->g->o.n_items; k++)
        dm_step_in(b, b->items[k].d_x0);
    if (b->l->head == b->l->embed)
        for (size_t k = 0; k < b->g->o.n_items; k++) {
            dm_step_in(b, b->items[k].d_logits);
            dm_step_in(b, b->items[k].hnorm);
        }
    made(b, i);
}

static void bias_dw(dm_graph_builder *b, size_t i, int p)
{
    dm_step_op(b, DM_FORMULA_BIAS_DW);
    for (size_t k = 0; k < b->g->o.n_items; k++)
        dm_step_in(b, b->items[k].layers[b->layer].dy[p]);
    made(b, i);
}

static void outside(dm_graph_builder *b, size_t i)
{
    const dm_tensor *t = &b->l->tensors[i];

    if (t == b->l->embed) {
        embed_dw(b, i);
        return;
    }
    dm_step_op(b, t == b->l->norm ? DM_FORMULA_NORM_DW : DM_FORMULA_LINEAR_DW)->group = t->cols;
    for (size_t k = 0; k < b->g->o.n_items; k++) {
        dm_step_in(b, t == b->l->norm ? b->items[k].d_hnorm : b->items[k].d_logits);
        dm_step_in(b, t == b->l->norm ? b->items[k].last : b->items[k].hnorm);
    }
    made(b, i);
}

static bool in_layer(dm_graph_builder *b, size_t i)
{
    const dm_tensor *t = &b->l->tensors[i];
    const dm_layer_tensors *l = &b->l->layers[b->layer];

    for (int p = 0; p < DM_PROJECTIONS; p++) {
        if (t == l->projection[p])
            return linear_dw(b, i, p, 0), true;
        if (p <= DM_PROJECTION_O && t == l->bias[p])
            return bias_dw(b, i, p), true;
    }
    const struct {
        const dm_tensor *t;
        size_t dy, x;
    } norms[] = {
        {l->input_norm, offsetof(dm_layer_nodes, d_n1), offsetof(dm_layer_nodes, x)},
        {l->post_norm, offsetof(dm_layer_nodes, d_n2), offsetof(dm_layer_nodes, mid)},
        {l->attention_norm, offsetof(dm_layer_nodes, d_on), offsetof(dm_layer_nodes, o)},
        {l->ffn_norm, offsetof(dm_layer_nodes, d_dnn), offsetof(dm_layer_nodes, dn)},
        {l->q_norm, offsetof(dm_layer_nodes, d_normed[0]), offsetof(dm_layer_nodes, pre[0])},
        {l->k_norm, offsetof(dm_layer_nodes, d_normed[1]), offsetof(dm_layer_nodes, pre[1])},
    };
    for (size_t k = 0; k < sizeof norms / sizeof *norms; k++)
        if (t == norms[k].t)
            return norm_dw(b, i, norms[k].dy, norms[k].x), true;
    return false;
}

void dm_step_gradients(dm_graph_builder *b)
{
    const dm_lora *lora = b->g->o.lora;

    b->item = -1;
    for (size_t i = 0; i < b->g->trained->n; i++) {
        const dm_tensor *t = &b->g->trained->tensors[i];
        bool found = false;
        for (b->layer = 0; b->layer < (int)b->c->layers && !found; b->layer += !found) {
            if (!lora) {
                found = in_layer(b, i);
                continue;
            }
            for (int p = 0; p < DM_PROJECTIONS && !found; p++) {
                const dm_lora_pair *pair = &lora->pairs[b->layer][p];
                if (t == pair->a || t == pair->b) {
                    linear_dw(b, i, p, t == pair->a ? 1 : 2);
                    found = true;
                }
            }
        }
        if (!found) {
            b->layer = -1;
            outside(b, i);
        }
    }
    b->layer = -1;
}

/* ---- optimizer ---- */

void dm_step_optimizer(dm_graph_builder *b)
{
    dm_graph *g = b->g;

    dm_step_op(b, DM_FORMULA_CLIP);
    for (size_t i = 0; i < g->trained->n; i++)
        dm_step_in(b, g->gradient[i]);
    dm_graph_out(g, b->clip_norm = dm_graph_node(g, -1, 1, 1, 1, "grad_norm"));
    dm_graph_out(g, b->clip_scale = dm_graph_node(g, -1, 1, 1, 1, "clip_factor"));
    for (size_t i = 0; i < g->trained->n; i++) {
        const dm_tensor *t = &g->trained->tensors[i];
        const size_t rows = t->dims == 2 ? t->rows : 1;
        uint32_t *const before[] = {&g->m[i], &g->v[i]}, *const after[] = {&g->new_m[i], &g->new_v[i]};
        static const char *const moments[] = {"exp_avg", "exp_avg_sq"};
        for (int k = 0; k < 2; k++) {
            if (g->o.t > 1) {
                *before[k] = dm_graph_node(g, -1, rows, t->cols, t->dims, "%s.%s.old", t->name, moments[k]);
                if (!g->failed)
                    g->nodes[*before[k]].param = t;
            }
            dm_step_op(b, k ? DM_FORMULA_ADAM_V : DM_FORMULA_ADAM_M);
            dm_step_in(b, *before[k]);
            dm_step_in(b, g->gradient[i]);
            dm_step_in(b, b->clip_scale);
            dm_step_in(b, g->o.lora ? g->adapter[i] : g->weight[i]); /* for mistakes that read it */
            dm_graph_out(g, *after[k] = dm_graph_node(g, -1, rows, t->cols, t->dims, "%s.%s", t->name, moments[k]));
        }
        dm_step_op(b, DM_FORMULA_ADAM_W);
        dm_step_in(b, g->o.lora ? g->adapter[i] : g->weight[i]);
        dm_step_in(b, g->new_m[i]);
        dm_step_in(b, g->new_v[i]);
        dm_graph_out(g, g->new_w[i] = dm_graph_node(g, -1, rows, t->cols, t->dims, "%s.new", t->name));
    }
}
