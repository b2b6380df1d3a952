/* What the maker of pairs remembers: memory, tasks, the pairs kept so far and what was dropped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pairs/pairs_internal.h"

void *dm_pairs_maker_alloc(dm_pairs_maker *m, size_t size)
{
    void *p = dm_block_alloc(&m->blocks, size);
    if (!p)
        dm_fail(m->err, DM_ERR_MEMORY, "no memory for the pairs");
    return p;
}

void dm_pairs_maker_drop(dm_pairs_maker *m, dm_pairs_drop why)
{
    m->out->dropped[why]++;
}

dm_status dm_pairs_maker_task(dm_pairs_maker *m, dm_sha256 *identity, size_t *task)
{
    bool is_new;
    if (dm_pairs_digests_add(&m->tasks, identity, task, &is_new))
        return DM_OK;
    return dm_fail(m->err, DM_ERR_MEMORY, "no memory for the tasks");
}

static void hash_side(dm_sha256 *h, const dm_pairs_side *s)
{
    dm_sha256_update(h, &s->turns, sizeof s->turns);
    for (size_t i = 0; i < s->turns; i++) {
        dm_sha256_update(h, s->turn[i].action, strlen(s->turn[i].action) + 1);
        if (i + 1 < s->turns)
            dm_sha256_update(h, s->turn[i].observation, strlen(s->turn[i].observation) + 1);
    }
}

dm_status dm_pairs_maker_seen(dm_pairs_maker *m, const dm_pair *p, bool *seen)
{
    dm_sha256 h;
    size_t number;
    bool is_new;

    dm_sha256_init(&h);
    for (size_t i = 0; i < p->n_prompt; i++)
        dm_sha256_update(&h, p->prompt[i].text, p->prompt[i].size + 1);
    hash_side(&h, &p->chosen);
    hash_side(&h, &p->rejected);
    if (!dm_pairs_digests_add(&m->seen, &h, &number, &is_new))
        return dm_fail(m->err, DM_ERR_MEMORY, "no memory to find duplicates");
    *seen = !is_new;
    return DM_OK;
}

/* Different pairs may come from runs of one name (of two models, say): " #2" is appended to the second's. */
static dm_status make_id_unique(dm_pairs_maker *m, dm_pair *p)
{
    const char *plain = p->id;
    const size_t size = strlen(plain) + 32;

    for (size_t k = 1;; k++) {
        dm_sha256 h;
        size_t number;
        bool is_new;

        dm_sha256_init(&h);
        dm_sha256_update(&h, p->id, strlen(p->id));
        if (!dm_pairs_digests_add(&m->ids, &h, &number, &is_new))
            return dm_fail(m->err, DM_ERR_MEMORY, "no memory for the pairs' names");
        if (is_new)
            return DM_OK;
        char *id = dm_pairs_maker_alloc(m, size);
        if (!id)
            return DM_ERR_MEMORY;
        snprintf(id, size, "%s #%zu", plain, k + 1);
        p->id = id;
    }
}

dm_status dm_pairs_maker_keep(dm_pairs_maker *m, const dm_pair *p)
{
    dm_pairs *out = m->out;

    if (out->n == m->capacity) {
        const size_t capacity = m->capacity ? 2 * m->capacity : 64;
        dm_pair *pair = realloc(out->pair, capacity * sizeof *pair);
        if (!pair)
            return dm_fail(m->err, DM_ERR_MEMORY, "no memory for %zu pairs", capacity);
        out->pair = pair;
        m->capacity = capacity;
    }
    out->pair[out->n] = *p;
    return make_id_unique(m, &out->pair[out->n++]);
}

dm_status dm_pairs_maker_count(dm_pairs_maker *m, size_t task, bool *full)
{
    if (task >= m->of_tasks) {
        const size_t n = 2 * m->tasks.n;
        size_t *of_task = realloc(m->of_task, n * sizeof *of_task);
        if (!of_task)
            return dm_fail(m->err, DM_ERR_MEMORY, "no memory for %zu tasks", n);
        memset(of_task + m->of_tasks, 0, (n - m->of_tasks) * sizeof *of_task);
        m->of_task = of_task;
        m->of_tasks = n;
    }
    *full = m->of_task[task] >= (size_t)m->options->per_task;
    m->of_task[task] += !*full;
    return DM_OK;
}
