#include "model/check/tally.h"

#include <math.h>

void dm_tally_weigh(const dm_node *n, const double *got, size_t first, size_t count, const dm_recomputed *b, uint32_t o,
                    dm_tally *t)
{
    dm_finding *f = &t->f;

    for (size_t i = 0; i < count; i++) {
        const double value = got[first + i], error = fabs(value - b->out[o][i]), sound = b->sound[o][i];
        t->all += fabs(b->out[o][i]);
        t->bound += sound;
        if (error <= t->worst * sound && error <= b->likely[o][i] && t->worst <= 1)
            continue;
        const double ratio = isfinite(value) && isfinite(b->out[o][i]) ? (sound > 0   ? error / sound
                                                                          : error > 0 ? INFINITY
                                                                                      : 0)
                                                                       : INFINITY;
        f->over += !(ratio <= 1);
        t->suspicious |= !(error <= b->likely[o][i]);
        if (ratio <= t->worst)
            continue;
        t->worst = ratio;
        f->node = n;
        f->row = (first + i) / n->cols;
        f->col = (first + i) % n->cols;
        f->got = value;
        f->want = b->out[o][i];
        f->error = error;
        f->sound = sound;
        f->likely = b->likely[o][i];
        f->conditioning = b->size[o][i] > 0 ? b->size[o][i] / fabs(b->out[o][i]) : 1;
    }
}

void dm_tally_add(dm_tally *t, const dm_tally *more)
{
    t->all += more->all;
    t->bound += more->bound;
    t->suspicious |= more->suspicious;
    t->f.over += more->f.over;
    if (!(more->worst > t->worst))
        return;
    const uint64_t over = t->f.over;
    t->f = more->f;
    t->f.over = over;
    t->worst = more->worst;
}

dm_verdict dm_tally_verdict(const dm_tally *t)
{
    if (t->f.over)
        return DM_VERDICT_WRONG;
    if (t->all > 0 && !(t->bound < t->all))
        return DM_VERDICT_UNDECIDABLE;
    return t->suspicious ? DM_VERDICT_SUSPICIOUS : DM_VERDICT_SOUND;
}

void dm_tally_give(dm_finding *f, double *worst, const dm_tally *t)
{
    f->over += t->f.over;
    if (!(t->worst > *worst))
        return;
    *worst = t->worst;
    f->node = t->f.node;
    f->row = t->f.row;
    f->col = t->f.col;
    f->got = t->f.got;
    f->want = t->f.want;
    f->error = t->f.error;
    f->sound = t->f.sound;
    f->likely = t->f.likely;
    f->conditioning = t->f.conditioning;
}
