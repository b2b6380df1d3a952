/* Which operations a step has: the model forward, the loss, the model backward, the optimizer. Reads like the model. */
#include <stdio.h>
#include <stdlib.h>
#include <math.h>
#include <string.h>

#include "model/truth/graph_internal.h"

typedef struct layer_nodes { /* of one item */
    uint32_t x, n1, pre[2], normed[2], v, turned[2], att, att_late, x_late, o, on, mid, n2, gate, up, h, dn, dnn, out;
    uint32_t us[DM_PROJECTIONS]; /* what an adapter's A makes, scaled */
    uint32_t dy[DM_PROJECTIONS], dus[DM_PROJECTIONS];
    uint32_t d_on, d_dnn, d_n2, d_mid, d_n1, d_normed[2];
} layer_nodes;

typedef struct item_nodes {
    layer_nodes *layers;
    uint32_t x0, d_x0, last, hnorm, logits, logp, phi[2], reference[2], second[2], score;
    uint32_t coef, d_logits, d_hnorm;
} item_nodes;

typedef struct builder {
    dm_graph *g;
    const dm_config *c;
    const dm_param_layout *l;
    item_nodes *items;
    int item, layer;
    size_t rows; /* of the item */
    uint32_t kl, loss, dscore, clip_norm, clip_scale;
} builder;

static const char *const modules[DM_PROJECTIONS] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                    "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                    "mlp.down_proj"};

static dm_op *begin(builder *b, dm_formula f)
{
    return dm_graph_op(b->g, f, b->item, b->layer);
}

static void in(builder *b, uint32_t node)
{
    dm_graph_in(b->g, node);
}

/* An activation of the running item, in the running layer when there is one. */
static uint32_t out(builder *b, const char *name, size_t rows, size_t cols)
{
    const uint32_t n = b->layer >= 0 ? dm_graph_node(b->g, b->layer, rows, cols, 2, "item.%d/model.layers.%d.%s",
                                                     b->item, b->layer, name)
                                     : dm_graph_node(b->g, -1, rows, cols, 2, "item.%d/%s", b->item, name);
    dm_graph_out(b->g, n);
    return n;
}

static uint32_t out_vector(builder *b, const char *name, size_t n)
{
    const uint32_t node = dm_graph_node(b->g, -1, 1, n, 1, "item.%d/%s", b->item, name);
    dm_graph_out(b->g, node);
    return node;
}

static uint32_t weight_of(const builder *b, const dm_tensor *t)
{
    return b->g->weight[t - b->l->tensors];
}

static uint32_t adapter_of(const builder *b, const dm_tensor *t)
{
    return b->g->adapter[t - b->g->o.lora->layout.tensors];
}

static const dm_lora_pair *pair_of(const builder *b, int p)
{
    const dm_lora *lora = b->g->o.lora;
    return lora && lora->pairs[b->layer][p].a ? &lora->pairs[b->layer][p] : NULL;
}

/* ---- forward ---- */

static uint32_t norm(builder *b, uint32_t x, const dm_tensor *w, const char *name, size_t rows, size_t cols)
{
    begin(b, DM_FORMULA_NORM)->group = w->cols;
    in(b, x);
    in(b, weight_of(b, w));
    return out(b, name, rows, cols);
}

static uint32_t project(builder *b, dm_projection p, uint32_t x, size_t rows)
{
    const dm_tensor *w = b->l->layers[b->layer].projection[p];
    const dm_tensor *bias = p <= DM_PROJECTION_O ? b->l->layers[b->layer].bias[p] : NULL;
    const dm_lora_pair *pair = pair_of(b, (int)p);
    layer_nodes *n = &b->items[b->item].layers[b->layer];
    char name[64];

    n->us[p] = DM_NODE_NONE;
    if (pair) {
        begin(b, DM_FORMULA_LORA_DOWN)->scale = (double)b->g->o.lora->scale;
        in(b, x);
        in(b, adapter_of(b, pair->a));
        snprintf(name, sizeof name, "%s.lora_A.out", modules[p]);
        n->us[p] = out(b, name, rows, pair->a->rows);
    }
    dm_op *op = begin(b, DM_FORMULA_LINEAR);
    op->bias = bias != NULL;
    op->adapter = pair != NULL;
    in(b, x);
    in(b, weight_of(b, w));
    in(b, bias ? weight_of(b, bias) : DM_NODE_NONE);
    in(b, n->us[p]);
    in(b, pair ? adapter_of(b, pair->b) : DM_NODE_NONE);
    snprintf(name, sizeof name, "%s.out", modules[p]);
    return out(b, name, rows, w->rows);
}

static void queries(builder *b, layer_nodes *n, int which)
{
    const dm_config *c = b->c;
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const dm_tensor *norm_weight = which ? t->k_norm : t->q_norm;
    const size_t width = (size_t)(which ? c->kv_heads : c->heads) * c->head_dim;

    n->pre[which] = project(b, which ? DM_PROJECTION_K : DM_PROJECTION_Q, n->n1, b->rows);
    n->normed[which] = n->pre[which];
    if (norm_weight)
        n->normed[which] = norm(b, n->pre[which], norm_weight, which ? "self_attn.k_norm.out" : "self_attn.q_norm.out",
                                b->rows, width);
    n->turned[which] = n->normed[which];
    if (c->rope_use[b->layer] == DM_ROPE_NONE)
        return;
    dm_op *op = begin(b, DM_FORMULA_ROPE);
    op->group = c->head_dim;
    op->rope = (dm_rope_use)c->rope_use[b->layer];
    in(b, n->normed[which]);
    n->turned[which] = out(b, which ? "self_attn.k_rope.out" : "self_attn.q_rope.out", b->rows, width);
}

static double query_scale(const dm_config *c)
{
    return 1.0 / sqrt(c->query_scalar > 0 ? c->query_scalar : (double)c->head_dim);
}

static uint32_t gather(builder *b, uint32_t x, const char *name, size_t cols)
{
    begin(b, DM_FORMULA_GATHER);
    in(b, x);
    return out(b, name, b->g->items[b->item].pack.predictions, cols);
}

static uint32_t add(builder *b, uint32_t x, uint32_t y, const char *name, size_t rows)
{
    begin(b, DM_FORMULA_ADD);
    in(b, x);
    in(b, y);
    return out(b, name, rows, b->c->hidden);
}

static bool narrow_at(const builder *b)
{
    return b->g->o.narrow && b->layer + 1 == (int)b->c->layers;
}

static size_t late_rows(const builder *b)
{
    return narrow_at(b) ? b->g->items[b->item].pack.predictions : b->rows;
}

static void forward_layer(builder *b, layer_nodes *n)
{
    const dm_config *c = b->c;
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const size_t hq = (size_t)c->heads * c->head_dim, d = c->hidden, rows = late_rows(b);

    n->n1 = norm(b, n->x, t->input_norm, "input_layernorm.out", b->rows, d);
    queries(b, n, 0);
    queries(b, n, 1);
    n->v = project(b, DM_PROJECTION_V, n->n1, b->rows);
    begin(b, DM_FORMULA_ATTENTION)->scale = query_scale(c);
    in(b, n->turned[0]);
    in(b, n->turned[1]);
    in(b, n->v);
    n->att = out(b, "self_attn.attn.out", b->rows, hq);
    out(b, "self_attn.attn.max", b->rows, c->heads);
    out(b, "self_attn.attn.lse", b->rows, c->heads);
    n->att_late = n->att;
    n->x_late = n->x;
    if (narrow_at(b)) {
        n->att_late = gather(b, n->att, "self_attn.attn.rows", hq);
        n->x_late = gather(b, n->x, "rows", d);
    }
    n->o = n->on = project(b, DM_PROJECTION_O, n->att_late, rows);
    if (t->attention_norm)
        n->on = norm(b, n->o, t->attention_norm, "post_attention_layernorm.out", rows, d);
    n->mid = add(b, n->x_late, n->on, "mid", rows);
    n->n2 = norm(b, n->mid, t->post_norm,
                 t->attention_norm ? "pre_feedforward_layernorm.out" : "post_attention_layernorm.out", rows, d);
    n->gate = project(b, DM_PROJECTION_GATE, n->n2, rows);
    n->up = project(b, DM_PROJECTION_UP, n->n2, rows);
    begin(b, DM_FORMULA_GLU);
    in(b, n->gate);
    in(b, n->up);
    n->h = out(b, "mlp.act.out", rows, c->intermediate);
    n->dn = n->dnn = project(b, DM_PROJECTION_DOWN, n->h, rows);
    if (t->ffn_norm)
        n->dnn = norm(b, n->dn, t->ffn_norm, "post_feedforward_layernorm.out", rows, d);
    n->out = add(b, n->mid, n->dnn, "out", rows);
}

static void forward_item(builder *b)
{
    dm_graph_item *t = &b->g->items[b->item];
    item_nodes *n = &b->items[b->item];
    const size_t d = b->c->hidden, p = t->pack.predictions;
    uint32_t x;

    begin(b, DM_FORMULA_TOKENS);
    out_vector(b, "ids", b->rows);
    out_vector(b, "position", b->rows);
    begin(b, DM_FORMULA_EMBED)->scale = dm_config_is_gemma(b->c) ? sqrt((double)d) : 1;
    in(b, weight_of(b, b->l->embed));
    n->x0 = x = out(b, "model.embed_tokens.out", b->rows, d);
    for (b->layer = 0; b->layer < (int)b->c->layers; b->layer++) {
        n->layers[b->layer].x = x;
        forward_layer(b, &n->layers[b->layer]);
        x = n->layers[b->layer].out;
    }
    b->layer = -1;
    n->last = b->g->o.narrow ? x : gather(b, x, "model.rows", d);
    n->hnorm = norm(b, n->last, b->l->norm, "model.norm.out", p, d);
    begin(b, DM_FORMULA_LINEAR);
    in(b, n->hnorm);
    in(b, weight_of(b, b->l->head));
    n->logits = out(b, "lm_head.out", p, b->c->vocab);
    begin(b, DM_FORMULA_LOGP);
    in(b, n->logits);
    n->logp = out_vector(b, "logp", p);
}

/* ---- loss ---- */

static void score_item(builder *b)
{
    static const char *const sides[] = {"chosen", "rejected"};
    const dm_graph_item *t = &b->g->items[b->item];
    item_nodes *n = &b->items[b->item];
    const bool sft = b->g->o.loss.objective == DM_OBJECTIVE_SFT;
    char name[64];

    for (int s = 0; s < 2; s++) {
        n->phi[s] = n->reference[s] = n->second[s] = DM_NODE_NONE;
        if (t->pack.side[s].n == 0)
            continue;
        if (!sft)
            n->reference[s] =
                dm_graph_node(b->g, -1, 1, t->pack.side[s].n, 1, "item.%d/reference_logp.%s", b->item, sides[s]);
        if (b->g->o.loss.two_references)
            n->second[s] =
                dm_graph_node(b->g, -1, 1, t->pack.side[s].n, 1, "item.%d/reference2_logp.%s", b->item, sides[s]);
    }
    begin(b, DM_FORMULA_PHI);
    for (int s = 0; s < 2; s++) {
        if (t->pack.side[s].n == 0) {
            dm_graph_out(b->g, DM_NODE_NONE);
            continue;
        }
        snprintf(name, sizeof name, "phi.%s", sides[s]);
        n->phi[s] = out_vector(b, name, s ? t->item->rejected.n : t->item->chosen.n);
    }
    begin(b, DM_FORMULA_SCORE);
    in(b, n->logp);
    for (int s = 0; s < 2; s++)
        in(b, n->phi[s]);
    for (int s = 0; s < 2; s++)
        in(b, n->reference[s]);
    for (int s = 0; s < 2; s++)
        in(b, n->second[s]);
    n->score = out_vector(b, "score", 4);
}

static void loss(builder *b)
{
    dm_graph *g = b->g;

    b->item = b->layer = -1;
    b->kl = g->o.loss.objective == DM_OBJECTIVE_KTO ? dm_graph_node(g, -1, 1, 1, 1, "kl") : DM_NODE_NONE;
    begin(b, DM_FORMULA_LOSS);
    for (size_t i = 0; i < g->o.n_items; i++)
        in(b, b->items[i].score);
    in(b, b->kl);
    dm_graph_out(g, b->loss = dm_graph_node(g, -1, 1, 1, 1, "loss"));
    dm_graph_out(g, b->dscore = dm_graph_node(g, -1, g->o.n_items, 2, 2, "score.grad"));
}

/* ---- backward ---- */

static uint32_t norm_dx(builder *b, uint32_t dy, uint32_t x, const dm_tensor *w, uint32_t add_to, const char *name,
                        size_t rows, size_t cols)
{
    dm_op *op = begin(b, DM_FORMULA_NORM_DX);
    op->group = w->cols;
    op->add = add_to != DM_NODE_NONE;
    in(b, dy);
    in(b, x);
    in(b, weight_of(b, w));
    in(b, add_to);
    return out(b, name, rows, cols);
}

/* The gradient that reaches the adapter's A, of those projections that have one. */
static void lora_grads(builder *b, layer_nodes *n, const int *p, size_t count, size_t rows)
{
    char name[64];

    for (size_t i = 0; i < count; i++) {
        const dm_lora_pair *pair = pair_of(b, p[i]);
        n->dus[p[i]] = DM_NODE_NONE;
        if (!pair)
            continue;
        begin(b, DM_FORMULA_LORA_DUS)->scale = (double)b->g->o.lora->scale;
        in(b, n->dy[p[i]]);
        in(b, adapter_of(b, pair->b));
        snprintf(name, sizeof name, "%s.lora_A.out.grad", modules[p[i]]);
        n->dus[p[i]] = out(b, name, rows, pair->a->rows);
    }
}

/* Of what the projections p read, from n->dy of each. */
static uint32_t linear_dx(builder *b, layer_nodes *n, const int *p, size_t count, const char *name, size_t rows,
                          size_t cols)
{
    lora_grads(b, n, p, count, rows);
    begin(b, DM_FORMULA_LINEAR_DX);
    for (size_t i = 0; i < count; i++) {
        in(b, n->dy[p[i]]);
        in(b, weight_of(b, b->l->layers[b->layer].projection[p[i]]));
        if (n->dus[p[i]] != DM_NODE_NONE) {
            in(b, n->dus[p[i]]);
            in(b, adapter_of(b, pair_of(b, p[i])->a));
        }
    }
    return out(b, name, rows, cols);
}

static void queries_backward(builder *b, layer_nodes *n, int which, uint32_t dy)
{
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const dm_tensor *w = which ? t->k_norm : t->q_norm;
    const size_t width = (size_t)(which ? b->c->kv_heads : b->c->heads) * b->c->head_dim;

    if (n->turned[which] != n->normed[which]) {
        dm_op *op = begin(b, DM_FORMULA_ROPE_GRAD);
        op->group = b->c->head_dim;
        op->rope = (dm_rope_use)b->c->rope_use[b->layer];
        in(b, dy);
        dy = out(b,
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

static uint32_t scatter(builder *b, uint32_t x, const char *name, size_t cols)
{
    begin(b, DM_FORMULA_SCATTER);
    in(b, x);
    return out(b, name, b->rows, cols);
}

/* The gradient of attention's queries, keys and values have the names of what attention read. */
static const char *turned_name(const layer_nodes *n, int which, const dm_layer_tensors *t)
{
    if (n->turned[which] != n->normed[which])
        return which ? "self_attn.k_rope.out.grad" : "self_attn.q_rope.out.grad";
    if (which ? t->k_norm : t->q_norm)
        return which ? "self_attn.k_norm.out.grad" : "self_attn.q_norm.out.grad";
    return which ? "self_attn.k_proj.out.grad" : "self_attn.q_proj.out.grad";
}

/* From the gradient of the layer's output to that of its input. */
static uint32_t backward_layer(builder *b, layer_nodes *n, uint32_t d_out)
{
    static const int down[] = {DM_PROJECTION_DOWN}, o[] = {DM_PROJECTION_O},
                     ffn[] = {DM_PROJECTION_GATE, DM_PROJECTION_UP},
                     qkv[] = {DM_PROJECTION_Q, DM_PROJECTION_K, DM_PROJECTION_V};
    const dm_config *c = b->c;
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const size_t d = c->hidden, hq = (size_t)c->heads * c->head_dim, hk = (size_t)c->kv_heads * c->head_dim;
    const size_t rows = late_rows(b);

    n->d_dnn = d_out;
    n->dy[DM_PROJECTION_DOWN] =
        t->ffn_norm ? norm_dx(b, d_out, n->dn, t->ffn_norm, DM_NODE_NONE, "mlp.down_proj.out.grad", rows, d) : d_out;
    const uint32_t dh = linear_dx(b, n, down, 1, "mlp.act.out.grad", rows, c->intermediate);
    begin(b, DM_FORMULA_GLU_GRAD);
    in(b, n->gate);
    in(b, n->up);
    in(b, dh);
    n->dy[DM_PROJECTION_GATE] = out(b, "mlp.gate_proj.out.grad", rows, c->intermediate);
    n->dy[DM_PROJECTION_UP] = out(b, "mlp.up_proj.out.grad", rows, c->intermediate);
    n->d_n2 = linear_dx(b, n, ffn, 2,
                        t->attention_norm ? "pre_feedforward_layernorm.out.grad" : "post_attention_layernorm.out.grad",
                        rows, d);
    n->d_mid = norm_dx(b, n->d_n2, n->mid, t->post_norm, d_out, "mid.grad", rows, d);

    n->d_on = n->d_mid;
    n->dy[DM_PROJECTION_O] = t->attention_norm ? norm_dx(b, n->d_mid, n->o, t->attention_norm, DM_NODE_NONE,
                                                         "self_attn.o_proj.out.grad", rows, d)
                                               : n->d_mid;
    uint32_t d_att =
                 linear_dx(b, n, o, 1, narrow_at(b) ? "self_attn.attn.rows.grad" : "self_attn.attn.out.grad", rows, hq),
             d_residual = n->d_mid;
    if (narrow_at(b)) {
        d_att = scatter(b, d_att, "self_attn.attn.out.grad", hq);
        d_residual = scatter(b, n->d_mid, "residual.grad", d);
    }
    begin(b, DM_FORMULA_ATTENTION_GRAD)->scale = query_scale(c);
    in(b, n->turned[0]);
    in(b, n->turned[1]);
    in(b, n->v);
    in(b, d_att);
    const uint32_t dq = out(b, turned_name(n, 0, t), b->rows, hq), dk = out(b, turned_name(n, 1, t), b->rows, hk);
    n->dy[DM_PROJECTION_V] = out(b, "self_attn.v_proj.out.grad", b->rows, hk);
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

static void backward_item(builder *b)
{
    const dm_graph_item *t = &b->g->items[b->item];
    item_nodes *n = &b->items[b->item];
    const size_t d = b->c->hidden, p = t->pack.predictions;

    b->layer = -1;
    begin(b, DM_FORMULA_COEF);
    in(b, b->dscore);
    in(b, n->phi[0]);
    in(b, n->phi[1]);
    n->coef = out_vector(b, "logp.grad", p);
    begin(b, DM_FORMULA_LOGITS_GRAD);
    in(b, n->logits);
    in(b, n->coef);
    n->d_logits = out(b, "lm_head.out.grad", p, b->c->vocab);
    begin(b, DM_FORMULA_LINEAR_DX);
    in(b, n->d_logits);
    in(b, weight_of(b, b->l->head));
    n->d_hnorm = out(b, "model.norm.out.grad", p, d);
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

/* ---- gradients of parameters ---- */

/* Of trained tensor i, whose operation was begun. */
static void made(builder *b, size_t i)
{
    const dm_tensor *t = &b->g->trained->tensors[i];
    const uint32_t node =
        dm_graph_node(b->g, b->layer, t->dims == 2 ? t->rows : 1, t->cols, t->dims, "%s.grad", t->name);
    dm_graph_out(b->g, node);
    b->g->gradient[i] = node;
}

static void linear_dw(builder *b, size_t i, int p, int which) /* which: 0 the base's, 1 A, 2 B */
{
    begin(b, DM_FORMULA_LINEAR_DW);
    for (size_t k = 0; k < b->g->o.n_items; k++) {
        const layer_nodes *n = &b->items[k].layers[b->layer];
        const uint32_t x = p <= DM_PROJECTION_V      ? n->n1
                           : p == DM_PROJECTION_O    ? n->att_late
                           : p == DM_PROJECTION_DOWN ? n->h
                                                     : n->n2;
        in(b, which == 1 ? n->dus[p] : n->dy[p]);
        in(b, which == 2 ? n->us[p] : x);
    }
    made(b, i);
}

static void norm_dw(builder *b, size_t i, size_t dy, size_t x) /* offsets in layer_nodes */
{
    begin(b, DM_FORMULA_NORM_DW)->group = b->g->trained->tensors[i].cols;
    for (size_t k = 0; k < b->g->o.n_items; k++) {
        const char *n = (const char *)&b->items[k].layers[b->layer];
        uint32_t node;
        memcpy(&node, n + dy, sizeof node);
        in(b, node);
        memcpy(&node, n + x, sizeof node);
        in(b, node);
    }
    made(b, i);
}

static void embed_dw(builder *b, size_t i)
{
    begin(b, DM_FORMULA_EMBED_DW)->scale = dm_config_is_gemma(b->c) ? sqrt((double)b->c->hidden) : 1;
    b->g->ops[b->g->n_ops - 1].tied = b->l->head == b->l->embed;
    for (size_t k = 0; k < b->g->o.n_items; k++)
        in(b, b->items[k].d_x0);
    if (b->l->head == b->l->embed)
        for (size_t k = 0; k < b->g->o.n_items; k++) {
            in(b, b->items[k].d_logits);
            in(b, b->items[k].hnorm);
        }
    made(b, i);
}

static void bias_dw(builder *b, size_t i, int p)
{
    begin(b, DM_FORMULA_BIAS_DW);
    for (size_t k = 0; k < b->g->o.n_items; k++)
        in(b, b->items[k].layers[b->layer].dy[p]);
    made(b, i);
}

static void outside(builder *b, size_t i)
{
    const dm_tensor *t = &b->l->tensors[i];

    if (t == b->l->embed) {
        embed_dw(b, i);
        return;
    }
    begin(b, t == b->l->norm ? DM_FORMULA_NORM_DW : DM_FORMULA_LINEAR_DW)->group = t->cols;
    for (size_t k = 0; k < b->g->o.n_items; k++) {
        in(b, t == b->l->norm ? b->items[k].d_hnorm : b->items[k].d_logits);
        in(b, t == b->l->norm ? b->items[k].last : b->items[k].hnorm);
    }
    made(b, i);
}

static bool in_layer(builder *b, size_t i)
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
        {l->input_norm, offsetof(layer_nodes, d_n1), offsetof(layer_nodes, x)},
        {l->post_norm, offsetof(layer_nodes, d_n2), offsetof(layer_nodes, mid)},
        {l->attention_norm, offsetof(layer_nodes, d_on), offsetof(layer_nodes, o)},
        {l->ffn_norm, offsetof(layer_nodes, d_dnn), offsetof(layer_nodes, dn)},
        {l->q_norm, offsetof(layer_nodes, d_normed[0]), offsetof(layer_nodes, pre[0])},
        {l->k_norm, offsetof(layer_nodes, d_normed[1]), offsetof(layer_nodes, pre[1])},
    };
    for (size_t k = 0; k < sizeof norms / sizeof *norms; k++)
        if (t == norms[k].t)
            return norm_dw(b, i, norms[k].dy, norms[k].x), true;
    return false;
}

static void parameter_gradients(builder *b)
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

static void optimizer(builder *b)
{
    dm_graph *g = b->g;

    begin(b, DM_FORMULA_CLIP);
    for (size_t i = 0; i < g->trained->n; i++)
        in(b, g->gradient[i]);
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
            begin(b, k ? DM_FORMULA_ADAM_V : DM_FORMULA_ADAM_M);
            in(b, *before[k]);
            in(b, g->gradient[i]);
            in(b, b->clip_scale);
            in(b, g->o.lora ? g->adapter[i] : g->weight[i]); /* for mistakes that read it */
            dm_graph_out(g, *after[k] = dm_graph_node(g, -1, rows, t->cols, t->dims, "%s.%s", t->name, moments[k]));
        }
        begin(b, DM_FORMULA_ADAM_W);
        in(b, g->o.lora ? g->adapter[i] : g->weight[i]);
        in(b, g->new_m[i]);
        in(b, g->new_v[i]);
        dm_graph_out(g, g->new_w[i] = dm_graph_node(g, -1, rows, t->cols, t->dims, "%s.new", t->name));
    }
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
    builder b = {.g = g, .c = g->o.config, .l = g->o.layout, .items = calloc(items, sizeof *b.items), .layer = -1};
    layer_nodes *all = calloc(items * layers, sizeof *all);

    g->failed = !b.items || !all;
    given(g, g->o.layout, g->weight);
    if (g->o.lora)
        given(g, &g->o.lora->layout, g->adapter);
    for (size_t i = 0; i < items && !g->failed; i++) {
        b.items[i].layers = all + i * layers;
        b.item = (int)i;
        b.rows = g->items[i].pack.rows;
        forward_item(&b);
        if (!g->o.forward_only)
            score_item(&b);
    }
    if (!g->o.forward_only && !g->failed) {
        loss(&b);
        for (size_t i = 0; i < items && !g->failed; i++) {
            b.item = (int)i;
            b.rows = g->items[i].pack.rows;
            backward_item(&b);
        }
        if (!g->failed)
            parameter_gradients(&b);
        if (!g->failed)
            optimizer(&b);
    }
    free(all);
    free(b.items);
}
