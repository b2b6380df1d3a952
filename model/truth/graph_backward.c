/* A step's operations from the loss back to the embedding: gradients of an item's activations. */
#include "model/truth/graph_step.h"

#include <stdio.h>

static uint32_t norm_dx(dm_graph_builder *b, uint32_t dy, uint32_t x, const dm_tensor *w, uint32_t add_to,
                        const char *name, size_t rows, size_t cols)
{
    dm_op *op = dm_step_op(b, DM_FORMULA_NORM_DX);
    op->group = w->cols;
    op->add = add_to != DM_NODE_NONE;
    dm_step_in(b, dy);
    dm_step_in(b, x);
    dm_step_in(b, dm_step_weight(b, w));
    dm_step_in(b, add_to);
    return dm_step_out(b, name, rows, cols);
}

/* The gradient that reaches the adapter's A, of those projections that have one. */
static void lora_grads(dm_graph_builder *b, dm_layer_nodes *n, const int *p, size_t count, size_t rows)
{
    char name[64];

    for (size_t i = 0; i < count; i++) {
        const dm_lora_pair *pair = dm_step_pair(b, p[i]);
        n->dus[p[i]] = DM_NODE_NONE;
        if (!pair)
            continue;
        dm_step_op(b, DM_FORMULA_LORA_DUS)->scale = b->g->o.lora->exact_scale;
        dm_step_in(b, n->dy[p[i]]);
        dm_step_in(b, dm_step_adapter(b, pair->b));
        snprintf(name, sizeof name, "%s.lora_A.out.grad", dm_step_modules[p[i]]);
        n->dus[p[i]] = dm_step_out(b, name, rows, pair->a->rows);
    }
}

/* Of what the projections p read, from n->dy of each. */
static uint32_t linear_dx(dm_graph_builder *b, dm_layer_nodes *n, const int *p, size_t count, const char *name,
                          size_t rows, size_t cols)
{
    lora_grads(b, n, p, count, rows);
    dm_step_op(b, DM_FORMULA_LINEAR_DX);
    for (size_t i = 0; i < count; i++) {
        dm_step_in(b, n->dy[p[i]]);
        dm_step_in(b, dm_step_weight(b, b->l->layers[b->layer].projection[p[i]]));
        if (n->dus[p[i]] != DM_NODE_NONE) {
            dm_step_in(b, n->dus[p[i]]);
            dm_step_in(b, dm_step_adapter(b, dm_step_pair(b, p[i])->a));
        }
    }
    return dm_step_out(b, name, rows, cols);
}

static void queries_backward(dm_graph_builder *b, dm_layer_nodes *n, int which, uint32_t dy)
{
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const dm_tensor *w = which ? t->k_norm : t->q_norm;
    const size_t width = (size_t)(which ? b->c->kv_heads : b->c->heads) * b->c->head_dim;

    if (n->turned[which] != n->normed[which]) {
        dm_op *op = dm_step_op(b, DM_FORMULA_ROPE_GRAD);
        op->group = b->c->head_dim;
        op->rope = (dm_rope_use)b->c->rope_use[b->layer];
        dm_step_in(b, dy);
        dy = dm_step_out(b,
                         w       ? (which ? "self_attn.k_norm.out.grad" : "self_attn.q_norm.out.grad")
                         : which ? "self_attn.k_proj.out.grad"
                                 : "self_attn.q_proj.out.grad",
                         b->rows, width);
    }
    n->d_normed[which] = dy;
    if (w)
        dy = norm_dx(b, dy, n->pre[which], w, DM_NODE_NONE,
                     which ? "self_attn.k_proj.out.grad" : "self_attn.q_proj.out.grad", b->rows, width);
    n->dy[which ? DM_PROJECTION_K : DM_PROJECTION_Q] = dy;
}

static uint32_t scatter(dm_graph_builder *b, uint32_t x, const char *name, size_t cols)
{
    dm_step_op(b, DM_FORMULA_SCATTER);
    dm_step_in(b, x);
    return dm_step_out(b, name, b->rows, cols);
}

/* The gradient of attention's queries, keys and values have the names of what attention read. */
static const char *turned_name(const dm_layer_nodes *n, int which, const dm_layer_tensors *t)
{
    if (n->turned[which] != n->normed[which])
        return which ? "self_attn.k_rope.out.grad" : "self_attn.q_rope.out.grad";
    if (which ? t->k_norm : t->q_norm)
        return which ? "self_attn.k_norm.out.grad" : "self_attn.q_norm.out.grad";
    return which ? "self_attn.k_proj.out.grad" : "self_attn.q_proj.out.grad";
}

/* From the gradient of the layer's output to that of its input. */
static uint32_t backward_layer(dm_graph_builder *b, dm_layer_nodes *n, uint32_t d_out)
{
    static const int down[] = {DM_PROJECTION_DOWN}, o[] = {DM_PROJECTION_O},
                     ffn[] = {DM_PROJECTION_GATE, DM_PROJECTION_UP},
                     qkv[] = {DM_PROJECTION_Q, DM_PROJECTION_K, DM_PROJECTION_V};
    const dm_config *c = b->c;
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const size_t d = c->hidden, hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;
    const size_t rows = dm_step_late_rows(b);

    n->d_dnn = d_out;
    n->dy[DM_PROJECTION_DOWN] =
        t->ffn_norm ? norm_dx(b, d_out, n->dn, t->ffn_norm, DM_NODE_NONE, "mlp.down_proj.out.grad", rows, d) : d_out;
    const uint32_t dh = linear_dx(b, n, down, 1, "mlp.act.out.grad", rows, c->intermediate);
    dm_step_op(b, DM_FORMULA_GLU_GRAD);
    dm_step_in(b, n->gate);
    dm_step_in(b, n->up);
    dm_step_in(b, dh);
    n->dy[DM_PROJECTION_GATE] = dm_step_out(b, "mlp.gate_proj.out.grad", rows, c->intermediate);
    n->dy[DM_PROJECTION_UP] = dm_step_out(b, "mlp.up_proj.out.grad", rows, c->intermediate);
    n->d_n2 = linear_dx(b, n, ffn, 2,
                        t->attention_norm ? "pre_feedforward_layernorm.out.grad" : "post_attention_layernorm.out.grad",
                        rows, d);
    n->d_mid = norm_dx(b, n->d_n2, n->mid, t->post_norm, d_out, "mid.grad", rows, d);

    n->d_on = n->d_mid;
    n->dy[DM_PROJECTION_O] = t->attention_norm ? norm_dx(b, n->d_mid, n->o, t->attention_norm, DM_NODE_NONE,
                                                         "self_attn.o_proj.out.grad", rows, d)
                                               : n->d_mid;
    uint32_t d_att = linear_dx(b, n, o, 1, dm_step_narrow(b) ? "self_attn.attn.rows.grad" : "self_attn.attn.out.grad",
                               rows, hq),
             d_residual = n->d_mid;
    if (dm_step_narrow(b)) {
        d_att = scatter(b, d_att, "self_attn.attn.out.grad", hq);
        d_residual = scatter(b, n->d_mid, "residual.grad", d);
    }
    dm_step_op(b, DM_FORMULA_ATTENTION_GRAD)->scale = dm_step_query_scale(c);
    dm_step_in(b, n->turned[0]);
    dm_step_in(b, n->turned[1]);
    dm_step_in(b, n->v);
    dm_step_in(b, d_att);
    const uint32_t dq = dm_step_out(b, turned_name(n, 0, t), b->rows, hq),
                   dk = dm_step_out(b, turned_name(n, 1, t), b->rows, hk);
    n->dy[DM_PROJECTION_V] = dm_step_out(b, "self_attn.v_proj.out.grad", b->rows, hk);
    queries_backward(b, n, 0, dq);
    queries_backward(b, n, 1, dk);
    if (b->g->o.lora && b->layer == 0) { /* nothing below is trained */
        lora_grads(b, n, qkv, 3, b->rows);
        return DM_NODE_NONE;
    }
    n->d_n1 = linear_dx(b, n, qkv, 3, "input_layernorm.out.grad", b->rows, d);
    const int layer = b->layer--; /* the gradient has the name of what made the layer's input */
    const char *name = layer ? "out.grad" : "model.embed_tokens.out.grad";
    const uint32_t dx = norm_dx(b, n->d_n1, n->x, t->input_norm, d_residual, name, b->rows, d);
    b->layer = layer;
    return dx;
}

void dm_step_backward(dm_graph_builder *b)
{
    const dm_graph_item *t = &b->g->items[b->item];
    dm_item_nodes *n = &b->items[b->item];
    const size_t d = b->c->hidden, p = t->pack.predictions;

    b->layer = -1;
    dm_step_op(b, DM_FORMULA_COEF);
    dm_step_in(b, b->dscore);
    dm_step_in(b, n->phi[0]);
    dm_step_in(b, n->phi[1]);
    n->coef = dm_step_vector(b, "logp.grad", p);
    dm_step_op(b, DM_FORMULA_LOGITS_GRAD);
    dm_step_in(b, n->logits);
    dm_step_in(b, n->coef);
    n->d_logits = dm_step_out(b, "lm_head.out.grad", p, b->c->vocab);
    dm_step_op(b, DM_FORMULA_LINEAR_DX);
    dm_step_in(b, n->d_logits);
    dm_step_in(b, dm_step_weight(b, b->l->head));
    n->d_hnorm = dm_step_out(b, "model.norm.out.grad", p, d);
    const int top = (int)b->c->layers - 1;
    b->layer = b->g->o.narrow ? top : -1;
    uint32_t dx = norm_dx(b, n->d_hnorm, n->last, b->l->norm, DM_NODE_NONE,
                          b->g->o.narrow ? "out.grad" : "model.rows.grad", p, d);
    b->layer = top;
    if (!b->g->o.narrow)
        dx = scatter(b, dx, "out.grad", d);
    for (b->layer = (int)b->c->layers - 1; b->layer >= 0; b->layer--)
        dx = backward_layer(b, &n->layers[b->layer], dx);
    n->d_x0 = dx;
}
