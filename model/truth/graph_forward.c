/* A step's operations up to the loss: an item forward through the model, its scores, the loss of the batch. */
#include "model/truth/graph_step.h"

#include <math.h>
#include <stdio.h>

static uint32_t norm(dm_graph_builder *b, uint32_t x, const dm_tensor *w, const char *name, size_t rows, size_t cols)
{
    dm_step_op(b, DM_FORMULA_NORM)->group = w->cols;
    dm_step_in(b, x);
    dm_step_in(b, dm_step_weight(b, w));
    return dm_step_out(b, name, rows, cols);
}

static uint32_t project(dm_graph_builder *b, dm_projection p, uint32_t x, size_t rows)
{
    const dm_tensor *w = b->l->layers[b->layer].projection[p];
    const dm_tensor *bias = p <= DM_PROJECTION_O ? b->l->layers[b->layer].bias[p] : NULL;
    const dm_lora_pair *pair = dm_step_pair(b, (int)p);
    dm_layer_nodes *n = &b->items[b->item].layers[b->layer];
    char name[64];

    n->us[p] = DM_NODE_NONE;
    if (pair) {
        dm_step_op(b, DM_FORMULA_LORA_DOWN)->scale = b->g->o.lora->exact_scale;
        dm_step_in(b, x);
        dm_step_in(b, dm_step_adapter(b, pair->a));
        snprintf(name, sizeof name, "%s.lora_A.out", dm_step_modules[p]);
        n->us[p] = dm_step_out(b, name, rows, pair->a->rows);
    }
    dm_op *op = dm_step_op(b, DM_FORMULA_LINEAR);
    op->bias = bias != NULL;
    op->adapter = pair != NULL;
    dm_step_in(b, x);
    dm_step_in(b, dm_step_weight(b, w));
    dm_step_in(b, bias ? dm_step_weight(b, bias) : DM_NODE_NONE);
    dm_step_in(b, n->us[p]);
    dm_step_in(b, pair ? dm_step_adapter(b, pair->b) : DM_NODE_NONE);
    snprintf(name, sizeof name, "%s.out", dm_step_modules[p]);
    return dm_step_out(b, name, rows, w->rows);
}

static void queries(dm_graph_builder *b, dm_layer_nodes *n, int which)
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
    dm_op *op = dm_step_op(b, DM_FORMULA_ROPE);
    op->group = c->head_dim;
    op->rope = (dm_rope_use)c->rope_use[b->layer];
    dm_step_in(b, n->normed[which]);
    n->turned[which] = dm_step_out(b, which ? "self_attn.k_rope.out" : "self_attn.q_rope.out", b->rows, width);
}

static uint32_t gather(dm_graph_builder *b, uint32_t x, const char *name, size_t cols)
{
    dm_step_op(b, DM_FORMULA_GATHER);
    dm_step_in(b, x);
    return dm_step_out(b, name, b->g->items[b->item].pack.predictions, cols);
}

static uint32_t add(dm_graph_builder *b, uint32_t x, uint32_t y, const char *name, size_t rows)
{
    dm_step_op(b, DM_FORMULA_ADD);
    dm_step_in(b, x);
    dm_step_in(b, y);
    return dm_step_out(b, name, rows, b->c->hidden);
}

static void forward_layer(dm_graph_builder *b, dm_layer_nodes *n)
{
    const dm_config *c = b->c;
    const dm_layer_tensors *t = &b->l->layers[b->layer];
    const size_t hq = (size_t)c->heads * c->head_dim, d = c->hidden, rows = dm_step_late_rows(b);

    n->n1 = norm(b, n->x, t->input_norm, "input_layernorm.out", b->rows, d);
    queries(b, n, 0);
    queries(b, n, 1);
    n->v = project(b, DM_PROJECTION_V, n->n1, b->rows);
    dm_step_op(b, DM_FORMULA_ATTENTION)->scale = dm_step_query_scale(c);
    dm_step_in(b, n->turned[0]);
    dm_step_in(b, n->turned[1]);
    dm_step_in(b, n->v);
    n->att = dm_step_out(b, "self_attn.attn.out", b->rows, hq);
    dm_step_out(b, "self_attn.attn.max", b->rows, c->heads);
    dm_step_out(b, "self_attn.attn.lse", b->rows, c->heads);
    n->att_late = n->att;
    n->x_late = n->x;
    if (dm_step_narrow(b)) {
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
    dm_step_op(b, DM_FORMULA_GLU);
    dm_step_in(b, n->gate);
    dm_step_in(b, n->up);
    n->h = dm_step_out(b, "mlp.act.out", rows, c->intermediate);
    n->dn = n->dnn = project(b, DM_PROJECTION_DOWN, n->h, rows);
    if (t->ffn_norm)
        n->dnn = norm(b, n->dn, t->ffn_norm, "post_feedforward_layernorm.out", rows, d);
    n->out = add(b, n->mid, n->dnn, "out", rows);
}

void dm_step_forward(dm_graph_builder *b)
{
    dm_graph_item *t = &b->g->items[b->item];
    dm_item_nodes *n = &b->items[b->item];
    const size_t d = b->c->hidden, p = t->pack.predictions;
    uint32_t x;

    dm_step_op(b, DM_FORMULA_TOKENS);
    dm_step_vector(b, "ids", b->rows);
    dm_step_vector(b, "position", b->rows);
    dm_step_op(b, DM_FORMULA_EMBED)->scale = dm_config_is_gemma(b->c) ? sqrt((double)d) : 1;
    dm_step_in(b, dm_step_weight(b, b->l->embed));
    n->x0 = x = dm_step_out(b, "model.embed_tokens.out", b->rows, d);
    for (b->layer = 0; b->layer < (int)b->c->layers; b->layer++) {
        n->layers[b->layer].x = x;
        forward_layer(b, &n->layers[b->layer]);
        x = n->layers[b->layer].out;
    }
    b->layer = -1;
    n->last = b->g->o.narrow ? x : gather(b, x, "model.rows", d);
    n->hnorm = norm(b, n->last, b->l->norm, "model.norm.out", p, d);
    dm_step_op(b, DM_FORMULA_LINEAR);
    dm_step_in(b, n->hnorm);
    dm_step_in(b, dm_step_weight(b, b->l->head));
    n->logits = dm_step_out(b, "lm_head.out", p, b->c->vocab);
    dm_step_op(b, DM_FORMULA_LOGP);
    dm_step_in(b, n->logits);
    n->logp = dm_step_vector(b, "logp", p);
}

/* ---- loss ---- */

void dm_step_score(dm_graph_builder *b)
{
    static const char *const sides[] = {"chosen", "rejected"};
    const dm_graph_item *t = &b->g->items[b->item];
    dm_item_nodes *n = &b->items[b->item];
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
    dm_step_op(b, DM_FORMULA_PHI);
    for (int s = 0; s < 2; s++) {
        if (t->pack.side[s].n == 0) {
            dm_graph_out(b->g, DM_NODE_NONE);
            continue;
        }
        snprintf(name, sizeof name, "phi.%s", sides[s]);
        n->phi[s] = dm_step_vector(b, name, s ? t->item->rejected.n : t->item->chosen.n);
    }
    dm_step_op(b, DM_FORMULA_SCORE);
    dm_step_in(b, n->logp);
    for (int s = 0; s < 2; s++)
        dm_step_in(b, n->phi[s]);
    for (int s = 0; s < 2; s++)
        dm_step_in(b, n->reference[s]);
    for (int s = 0; s < 2; s++)
        dm_step_in(b, n->second[s]);
    n->score = dm_step_vector(b, "score", 4);
}

void dm_step_loss(dm_graph_builder *b)
{
    dm_graph *g = b->g;

    b->item = b->layer = -1;
    b->kl = g->o.loss.objective == DM_OBJECTIVE_KTO ? dm_graph_node(g, -1, 1, 1, 1, "kl") : DM_NODE_NONE;
    dm_step_op(b, DM_FORMULA_LOSS);
    for (size_t i = 0; i < g->o.n_items; i++)
        dm_step_in(b, b->items[i].score);
    dm_step_in(b, b->kl);
    dm_graph_out(g, b->loss = dm_graph_node(g, -1, 1, 1, 1, "loss"));
    dm_graph_out(g, b->dscore = dm_graph_node(g, -1, g->o.n_items, 2, 2, "score.grad"));
}
