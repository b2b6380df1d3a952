/* From the rewards of a group's episodes to an advantage of each turn. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "agent/online/online.h"
#include "agent/rollout/episode.h"

/* A turn, with what it began from. */
typedef struct step {
    const char *state; /* the observation before it; the task before the first turn */
    double value;      /* discounted rewards from it on */
    double *advantage; /* of its turn */
} step;

/* Where the episodes' own advantages go before any step's are added. */
static void add_episodes(const dm_online_group *g, const double *advantage)
{
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->episode[i]->turns; k++)
            g->advantage[i][k] = advantage[i];
}

/* A turn's reward is what it adds to the score. */
static double reward_of(const dm_episode *e, size_t k)
{
    return e->turn[k].score - (k ? e->turn[k - 1].score : 0);
}

void dm_online_rewards(const dm_online_group *g)
{
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->episode[i]->turns; k++)
            g->advantage[i][k] = reward_of(g->episode[i], k);
}

static size_t list_steps(const dm_online_options *o, const dm_online_group *g, step *out)
{
    size_t n = 0;

    for (size_t i = 0; i < g->n; i++) {
        const dm_episode *e = g->episode[i];
        double value = 0;
        for (size_t k = e->turns; k-- > 0;) {
            value = reward_of(e, k) + dm_online_discount(o) * value;
            out[n + k] = (step){.state = k ? e->turn[k - 1].observation : e->prompt[DM_EPISODE_PROMPT - 1],
                                .value = value,
                                .advantage = &g->advantage[i][k]};
        }
        n += e->turns;
    }
    return n;
}

/* Steps of one state, in the order of their episodes, are a group of their own (GiGPO, equations 5 to 7). */
static void add_steps(const dm_online_options *o, dm_policy_baseline baseline, step *steps, size_t n, double *room)
{
    double *value = room, *advantage = room + n;

    for (size_t i = 0; i < n; i++) {
        size_t members = 0;
        if (!steps[i].state)
            continue;
        for (size_t j = i; j < n; j++)
            if (steps[j].state && strcmp(steps[j].state, steps[i].state) == 0)
                value[members++] = steps[j].value;
        dm_policy_advantages(baseline, value, members, advantage);
        const char *state = steps[i].state;
        for (size_t j = i, m = 0; j < n; j++)
            if (steps[j].state && strcmp(steps[j].state, state) == 0) {
                *steps[j].advantage += o->step_weight * advantage[m++];
                steps[j].state = NULL; /* done */
            }
    }
}

dm_status dm_online_advantages(const dm_online_options *o, dm_policy_baseline baseline, const dm_online_group *g,
                               dm_error *err)
{
    size_t turns = 0;

    for (size_t i = 0; i < g->n; i++)
        turns += g->episode[i]->turns;
    const bool by_step = o->objective == DM_ONLINE_GIGPO;
    double *room = calloc(2 * (g->n + turns) + 1, sizeof *room);
    step *steps = calloc(by_step ? turns + 1 : 1, sizeof *steps);
    if (room && steps) {
        for (size_t i = 0; i < g->n; i++)
            room[i] = g->episode[i]->reward;
        dm_policy_advantages(baseline, room, g->n, room + g->n);
        if (o->drop_equal && dm_policy_equal(room, g->n)) {
            for (size_t i = 0; i < g->n; i++)
                room[g->n + i] = NAN;
            add_episodes(g, room + g->n);
        } else {
            add_episodes(g, room + g->n);
            if (by_step)
                add_steps(o, baseline, steps, list_steps(o, g, steps), room);
        }
    }
    const dm_status s = room && steps ? DM_OK : dm_fail(err, DM_ERR_MEMORY, "no memory for the advantages of a group");
    free(room);
    free(steps);
    return s;
}
