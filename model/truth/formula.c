/* Which function computes which formula, and how its outputs are shared among threads. */
#include "core/numbers/numeric.h"
#include "model/truth/formula_internal.h"
#include "simd/kernels/kernels.h"

static size_t rows(const dm_evaluation *e)
{
    return dm_eval_out(e, 0)->rows;
}

static size_t elements(const dm_evaluation *e)
{
    return dm_node_count(dm_eval_out(e, 0));
}

static size_t kv_heads(const dm_evaluation *e)
{
    return e->g->o.config->kv_heads;
}

static size_t one(const dm_evaluation *e)
{
    (void)e;
    return 1;
}

static const dm_formula_row table[DM_FORMULA_COUNT] = {
    [DM_FORMULA_TOKENS] = {dm_compute_tokens, one},
    [DM_FORMULA_EMBED] = {dm_compute_embed, rows},
    [DM_FORMULA_NORM] = {dm_compute_norm, rows},
    [DM_FORMULA_LINEAR] = {dm_compute_linear, rows},
    [DM_FORMULA_LORA_DOWN] = {dm_compute_lora_down, rows},
    [DM_FORMULA_ROPE] = {dm_compute_rope, rows},
    [DM_FORMULA_ATTENTION] = {dm_compute_attention, rows},
    [DM_FORMULA_GATHER] = {dm_compute_gather, rows},
    [DM_FORMULA_ADD] = {dm_compute_add, elements},
    [DM_FORMULA_GLU] = {dm_compute_glu, elements},
    [DM_FORMULA_LOGP] = {dm_compute_logp, elements},
    [DM_FORMULA_PHI] = {dm_compute_phi, one},
    [DM_FORMULA_SCORE] = {dm_compute_score, one},
    [DM_FORMULA_LOSS] = {dm_compute_loss, one},
    [DM_FORMULA_COEF] = {dm_compute_coef, one},
    [DM_FORMULA_LOGITS_GRAD] = {dm_compute_logits_grad, rows},
    [DM_FORMULA_LINEAR_DX] = {dm_compute_linear_dx, rows},
    [DM_FORMULA_NORM_DX] = {dm_compute_norm_dx, rows},
    [DM_FORMULA_SCATTER] = {dm_compute_scatter, one},
    [DM_FORMULA_GLU_GRAD] = {dm_compute_glu_grad, elements},
    [DM_FORMULA_ATTENTION_GRAD] = {dm_compute_attention_grad, kv_heads},
    [DM_FORMULA_ROPE_GRAD] = {dm_compute_rope, rows},
    [DM_FORMULA_LORA_DUS] = {dm_compute_lora_dus, rows},
    [DM_FORMULA_LINEAR_DW] = {dm_compute_linear_dw, rows},
    [DM_FORMULA_BIAS_DW] = {dm_compute_bias_dw, one},
    [DM_FORMULA_NORM_DW] = {dm_compute_norm_dw, one},
    [DM_FORMULA_EMBED_DW] = {dm_compute_embed_dw, rows},
    [DM_FORMULA_CLIP] = {dm_compute_clip, one},
    [DM_FORMULA_ADAM_M] = {dm_compute_adam_m, elements},
    [DM_FORMULA_ADAM_V] = {dm_compute_adam_v, elements},
    [DM_FORMULA_ADAM_W] = {dm_compute_adam_w, elements},
};

static void part(void *context, unsigned p, unsigned parts)
{
    const dm_evaluation *e = context;
    const dm_formula_row *row = &table[e->op->formula];
    const dm_range r = dm_range_split(row->units(e), 1, p, parts);

    if (r.begin < r.end)
        row->run(e, r.begin, r.end);
}

void dm_formula_prepare(dm_evaluation *e)
{
    dm_kernels k;

    dm_kernels_init(&k, dm_isa_best());
    e->tile = k.double_tile;
    e->share = k.double_share;
    e->exp = k.double_exp;
    e->dots = k.double_dots;
}

size_t dm_formula_units(const dm_evaluation *e)
{
    switch (e->op->formula) {
    case DM_FORMULA_EMBED:
    case DM_FORMULA_NORM:
    case DM_FORMULA_ROPE:
    case DM_FORMULA_ROPE_GRAD:
    case DM_FORMULA_GATHER:
    case DM_FORMULA_ADD:
    case DM_FORMULA_GLU:
    case DM_FORMULA_GLU_GRAD:
    case DM_FORMULA_LOGITS_GRAD:
    case DM_FORMULA_NORM_DX:
    case DM_FORMULA_ADAM_M:
    case DM_FORMULA_ADAM_V:
    case DM_FORMULA_ADAM_W:
        return table[e->op->formula].units(e);
    default:
        return 0;
    }
}

void dm_formula_part(const dm_evaluation *e, size_t begin, size_t end)
{
    dm_evaluation copy = *e;

    for (size_t o = 0; o < e->op->n_out; o++)
        if (dm_op_out(e->g, e->op, o) != DM_NODE_NONE)
            copy.first[o] = begin * (dm_node_count(dm_eval_out(e, o)) / dm_formula_units(e));
    table[e->op->formula].run(&copy, begin, end);
}

void dm_formula_eval(const dm_evaluation *e, dm_pool *pool)
{
    dm_evaluation copy = *e;

    dm_formula_prepare(&copy);
    if (pool && table[e->op->formula].units != one)
        dm_pool_run(pool, part, &copy);
    else
        part(&copy, 0, 1);
}
