/* A run's first turn as its plan: what the plan is worth on all tasks it was tried on, not on this one alone. */
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"

typedef struct planned {
    dm_episode *e;
    size_t number; /* makes the order total, and the sums the same everywhere */
} planned;

static int by_plan(const void *left, const void *right)
{
    const planned *a = left, *b = right;
    int d = strcmp(a->e->env, b->e->env);
    if (d == 0)
        d = strcmp(a->e->turn[0].action, b->e->turn[0].action);
    return d ? d : (a->number > b->number) - (a->number < b->number);
}

static bool same_plan(const dm_episode *a, const dm_episode *b)
{
    return strcmp(a->env, b->env) == 0 && strcmp(a->turn[0].action, b->turn[0].action) == 0;
}

dm_status dm_pairs_maker_plan_rewards(dm_pairs_maker *m, dm_episodes *runs)
{
    planned *list = calloc(runs->n ? runs->n : 1, sizeof *list);
    size_t n = 0;

    if (!list)
        return dm_fail(m->err, DM_ERR_MEMORY, "no memory for %zu episodes", runs->n);
    for (size_t i = 0; i < runs->n; i++)
        if (runs->episode[i].turns > 0)
            list[n++] = (planned){&runs->episode[i], i};
    qsort(list, n, sizeof *list, by_plan);
    for (size_t begin = 0, end; begin < n; begin = end) {
        double sum = 0;
        for (end = begin; end < n && same_plan(list[begin].e, list[end].e); end++)
            sum += list[end].e->reward;
        for (size_t i = begin; i < end; i++)
            list[i].e->reward = sum / (double)(end - begin);
    }
    free(list);
    return DM_OK;
}
