#include "model/loss/objective.h"

#include <string.h>

#include "core/numbers/numeric.h"

void dm_objective_place(dm_objective *o, dm_arena *arena, const dm_pack_size *max)
{
    o->logp[0] = dm_arena_alloc(arena, max->actions[0], sizeof(float));
    o->logp[1] = dm_arena_alloc(arena, max->actions[1], sizeof(float));
    o->weight = dm_arena_alloc(arena, max->predictions, sizeof(double));
    o->coef = dm_arena_alloc(arena, max->predictions, sizeof(float));
}

void dm_objective_forward(dm_objective *o, dm_network *n, const float *w, const dm_pack *pack)
{
    const dm_network_rows rows = dm_network_rows_of(pack);

    dm_network_forward(n, w, &rows);
    dm_head_forward(n, w, pack->prediction_target, pack->predictions);
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < pack->side[s].n; i++)
            o->logp[s][i] = n->logp[pack->side[s].prediction[i]];
}

dm_loss_side dm_objective_side(const dm_objective *o, const dm_pack *pack, int side, const float *reference)
{
    const dm_pack_side *p = &pack->side[side];
    return (dm_loss_side){
        .n = p->n, .turn_of = p->turn_of, .turns = p->turns, .logp = o->logp[side], .reference = reference};
}

/* weight[prediction] += derivative * weight for every action token of a side; a prediction of the shared prefix gets
 * both sides', chosen's first, so that what cancels is exactly 0. */
static void add_weights(dm_objective *o, const dm_loss_options *loss, const dm_pack *pack, int side, double derivative,
                        double constant)
{
    const dm_loss_side view = dm_objective_side(o, pack, side, NULL);
    for (size_t i = 0; i < view.n; i++)
        o->weight[pack->side[side].prediction[i]] += derivative * dm_loss_token_weight(loss, &view, i) + constant;
}

void dm_objective_scores(const dm_objective *o, const dm_loss_options *loss, const dm_pack *pack,
                         const dm_objective_reference *reference, double s[2])
{
    dm_loss_side side[2];

    for (int i = 0; i < 2; i++) {
        side[i] = dm_objective_side(o, pack, i, reference->first[i]);
        side[i].second = reference->second[i];
    }
    dm_loss_pair_scores(loss, &side[0], &side[1], s);
}

dm_loss_pair dm_objective_pair(dm_objective *o, const dm_loss_options *loss, const dm_pack *pack,
                               const dm_objective_reference *reference, const dm_loss_batch *batch, bool gradient)
{
    const dm_loss_side chosen = dm_objective_side(o, pack, 0, NULL), rejected = dm_objective_side(o, pack, 1, NULL);
    double s[2];

    dm_objective_scores(o, loss, pack, reference, s);
    const bool both = chosen.n > 0 && rejected.n > 0;
    dm_loss_pair l = both ? dm_loss_pair_of(loss, s[0], s[1], batch)
                          : dm_loss_labelled_of(loss, chosen.n ? s[0] : s[1], chosen.n > 0, batch);

    l.logp_chosen = dm_loss_side_logp(&chosen);
    l.logp_rejected = dm_loss_side_logp(&rejected);
    const double sft = loss->sft_weight > 0 && chosen.n ? loss->sft_weight / (double)chosen.n : 0.0;
    l.loss -= sft * l.logp_chosen;
    if (gradient) {
        memset(o->weight, 0, pack->predictions * sizeof *o->weight);
        add_weights(o, loss, pack, 0, l.d_chosen, -sft / (double)batch->pairs);
        add_weights(o, loss, pack, 1, l.d_rejected, 0.0);
        for (size_t i = 0; i < pack->predictions; i++)
            o->coef[i] = (float)o->weight[i];
    }
    return l;
}

double dm_objective_sft(dm_objective *o, const dm_pack *pack, size_t tokens)
{
    const dm_loss_side chosen = dm_objective_side(o, pack, 0, NULL);

    memset(o->coef, 0, pack->predictions * sizeof *o->coef);
    for (size_t i = 0; i < chosen.n; i++)
        o->coef[pack->side[0].prediction[i]] = (float)(-1.0 / (double)tokens);
    return -dm_loss_side_logp(&chosen);
}

void dm_objective_backward(dm_objective *o, dm_network *n, const float *w, float *dw, const dm_pack *pack)
{
    const dm_network_rows rows = dm_network_rows_of(pack);

    dm_head_backward(n, w, dw, pack->prediction_target, o->coef, pack->predictions);
    dm_network_backward(n, w, dw, &rows);
}
