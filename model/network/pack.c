#include "model/network/pack.h"

static size_t common_prefix(const dm_data_item *item, bool share)
{
    const dm_data_trajectory *a = &item->chosen, *b = &item->rejected;
    const size_t most = share ? (a->n < b->n ? a->n : b->n) : 0;
    size_t n = 0;
    while (n < most && a->ids[n] == b->ids[n])
        n++;
    return n;
}

/* Walks a trajectory's action tokens: *turn is the running turn, true when token i lies inside it. */
static bool in_turn(const dm_data_trajectory *t, size_t i, size_t *turn)
{
    while (*turn < t->n_turns && i >= t->turns[*turn].end)
        ++*turn;
    return *turn < t->n_turns && i >= t->turns[*turn].begin;
}

dm_pack_size dm_pack_measure(const dm_data_item *item, bool share)
{
    const size_t prefix = common_prefix(item, share);
    const dm_data_trajectory *a = &item->chosen, *b = &item->rejected;
    size_t shared = 0, turn_a = 0, turn_b = 0;
    for (size_t i = 0; i < prefix; i++) {
        const bool in_a = in_turn(a, i, &turn_a), in_b = in_turn(b, i, &turn_b);
        shared += in_a && in_b;
    }
    return (dm_pack_size){
        .rows = a->n + b->n - prefix,
        .predictions = a->n_actions + b->n_actions - shared,
        .longest = a->n > b->n ? a->n : b->n,
        .actions = {a->n_actions, b->n_actions},
    };
}

void dm_pack_place(dm_pack *p, dm_arena *arena, const dm_pack_size *max)
{
    p->ids = dm_arena_alloc(arena, max->rows, sizeof *p->ids);
    p->position = dm_arena_alloc(arena, max->rows, sizeof *p->position);
    p->prediction_row = dm_arena_alloc(arena, max->predictions, sizeof *p->prediction_row);
    p->prediction_target = dm_arena_alloc(arena, max->predictions, sizeof *p->prediction_target);
    for (int s = 0; s < 2; s++) {
        p->side[s].prediction = dm_arena_alloc(arena, max->actions[s], sizeof *p->side[s].prediction);
        p->side[s].turn_of = dm_arena_alloc(arena, max->actions[s], sizeof *p->side[s].turn_of);
    }
}

static void add_action(dm_pack_side *side, size_t turn, size_t prediction)
{
    side->turn_of[side->n] = turn;
    side->prediction[side->n++] = (uint32_t)prediction;
}

static void add_prediction(dm_pack *p, size_t row, int32_t target)
{
    p->prediction_row[p->predictions] = (int32_t)row;
    p->prediction_target[p->predictions++] = target;
}

/* Appends the trajectory's tokens after the prefix as a segment. */
static void add_branch(dm_pack *p, dm_pack_side *side, const dm_data_trajectory *t, size_t prefix, size_t turn)
{
    const size_t begin = p->rows;
    for (size_t i = prefix; i < t->n; i++) {
        if (in_turn(t, i, &turn)) {
            add_action(side, turn, p->predictions);
            add_prediction(p, i == prefix ? prefix - 1 : p->rows - 1, t->ids[i]); /* turns never begin at token 0 */
        }
        p->ids[p->rows] = t->ids[i];
        p->position[p->rows++] = (uint32_t)i;
    }
    if (p->rows > begin)
        p->segments[p->n_segments++] = (dm_attention_segment){begin, p->rows, prefix, begin};
}

void dm_pack_build(dm_pack *p, const dm_data_item *item, bool share)
{
    const size_t prefix = common_prefix(item, share);
    const dm_data_trajectory *const t[2] = {&item->chosen, &item->rejected};
    size_t turn[2] = {0, 0};

    p->rows = p->predictions = p->n_segments = 0;
    for (int s = 0; s < 2; s++) {
        p->side[s].n = 0;
        p->side[s].turns = t[s]->n_turns;
    }
    for (size_t i = 0; i < prefix; i++) {
        const bool in[2] = {in_turn(t[0], i, &turn[0]), in_turn(t[1], i, &turn[1])};
        for (int s = 0; s < 2; s++)
            if (in[s])
                add_action(&p->side[s], turn[s], p->predictions);
        if (in[0] || in[1])
            add_prediction(p, i - 1, t[0]->ids[i]);
        p->ids[i] = t[0]->ids[i];
        p->position[i] = (uint32_t)i;
    }
    p->rows = prefix;
    if (prefix)
        p->segments[p->n_segments++] = (dm_attention_segment){0, prefix, 0, 0};
    add_branch(p, &p->side[0], t[0], prefix, turn[0]);
    add_branch(p, &p->side[1], t[1], prefix, turn[1]);
}
