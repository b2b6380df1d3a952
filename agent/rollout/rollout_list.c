/* Which episodes a rollout has to play. */
#include <stdlib.h>
#include <string.h>

#include "agent/env/registry.h"
#include "agent/rollout/rollout_internal.h"
#include "core/files/file.h"

#define LIST_MAX ((uint64_t)1 << 24)

dm_status dm_rollout_assignments_open(dm_rollout_assignments *a, const dm_rollout_options *o, dm_error *err)
{
    *a = (dm_rollout_assignments){.env = o->env};
    if (!o->from)
        return DM_OK;
    dm_status s = dm_episodes_read(&a->source, &o->from, 1, err);
    if (s == DM_OK)
        s = dm_file_sha256(o->from, a->source_sha256, err);
    if (s == DM_OK && a->source.n == 0)
        s = dm_fail(err, DM_ERR_INPUT, "%s: has no episode to continue", o->from);
    if (s != DM_OK)
        return s;
    for (size_t i = 1; i < a->source.n && !o->env; i++)
        if (strcmp(a->source.episode[i].env, a->source.episode[0].env) != 0)
            return dm_fail(err, DM_ERR_INPUT,
                           "%s: episode '%s' is of another environment than '%s'; all must be of one", o->from,
                           a->source.episode[i].id, a->source.episode[0].id);
    if (!a->env)
        a->env = a->source.episode[0].env;
    if (!o->env && dm_env_is_command(a->env))
        return dm_fail(err, DM_ERR_INPUT, "%s: a command that a file names, '%.100s', is not run; --env names it",
                       o->from, a->env);
    return DM_OK;
}

static dm_status reserve(dm_rollout_assignments *a, uint64_t n, uint64_t samples, dm_error *err)
{
    const uint64_t room = n > LIST_MAX / samples ? 0 : n * samples + 1;
    if (!room || room > SIZE_MAX / sizeof *a->list || !(a->list = malloc((size_t)room * sizeof *a->list)))
        return dm_fail(err, DM_ERR_MEMORY, "%llu times %llu episodes are more than a file may have or memory holds",
                       (unsigned long long)n, (unsigned long long)samples);
    return DM_OK;
}

static dm_status make_tasks(dm_rollout_assignments *a, const dm_rollout_options *o, const dm_env *env, dm_error *err)
{
    const int64_t all = env->tasks[o->split];

    if (all == 0)
        return dm_fail(err, DM_ERR_ARGUMENT, "%s has no tasks in split %s", a->env, dm_env_split_names[o->split]);
    if (o->first >= all || o->tasks > all - o->first)
        return dm_fail(err, DM_ERR_ARGUMENT, "tasks %lld to %lld are asked for; split %s of %s has 0 to %lld",
                       (long long)o->first, (long long)(o->first + (o->tasks ? o->tasks - 1 : 0)),
                       dm_env_split_names[o->split], a->env, (long long)(all - 1));
    const int64_t tasks = o->tasks ? o->tasks : all - o->first;
    const dm_status s = reserve(a, (uint64_t)tasks, (uint64_t)o->samples, err);
    for (int64_t i = 0; s == DM_OK && i < tasks * o->samples; i++)
        a->list[a->n++] = (dm_rollout_assignment){.split = (dm_env_split)o->split,
                                                  .task = o->first + i / o->samples,
                                                  .sample = i % o->samples,
                                                  .seed = o->env_seed};
    return s;
}

/* Samples of a continuation are numbered on from those of its source: names stay different. */
static void add_continuations(dm_rollout_assignments *a, const dm_rollout_options *o, const dm_episode *source,
                              int64_t given)
{
    for (int64_t k = 0; k < o->samples; k++)
        a->list[a->n++] = (dm_rollout_assignment){.split = source->split,
                                                  .task = source->task,
                                                  .sample = source->sample * o->samples + k,
                                                  .seed = source->seed,
                                                  .source = source,
                                                  .given = given};
}

static dm_status make_continuations(dm_rollout_assignments *a, const dm_rollout_options *o, dm_error *err)
{
    uint64_t points = 0;

    for (size_t i = 0; i < a->source.n; i++) {
        const dm_episode *e = &a->source.episode[i];
        if (e->sample > INT64_MAX / o->samples - 1)
            return dm_fail(err, DM_ERR_INPUT, "%s: episode '%s' has sample %lld, which is too large", o->from, e->id,
                           (long long)e->sample);
        points += o->continue_at < 0 ? e->turns : (uint64_t)o->continue_at < e->turns;
    }
    if (points == 0)
        return dm_fail(err, DM_ERR_INPUT, "%s: no episode has more than %lld turns", o->from,
                       (long long)(o->continue_at < 0 ? 0 : o->continue_at));
    const dm_status s = reserve(a, points, (uint64_t)o->samples, err);
    for (size_t i = 0; s == DM_OK && i < a->source.n; i++) {
        const dm_episode *e = &a->source.episode[i];
        for (int64_t t = 0; t < (int64_t)e->turns; t++)
            if (o->continue_at < 0 || t == o->continue_at)
                add_continuations(a, o, e, t);
    }
    return s;
}

dm_status dm_rollout_assignments_make(dm_rollout_assignments *a, const dm_rollout_options *o, const dm_env *env,
                                      dm_error *err)
{
    return o->from ? make_continuations(a, o, err) : make_tasks(a, o, env, err);
}

void dm_rollout_assignments_close(dm_rollout_assignments *a)
{
    free(a->list);
    dm_episodes_close(&a->source);
    *a = (dm_rollout_assignments){0};
}

uint64_t dm_rollout_assignment_name(dm_text *name, const dm_rollout_assignments *a, size_t index)
{
    const dm_rollout_assignment *x = &a->list[index];
    char hex[DM_SHA256_HEX], first[17] = {0};
    dm_sha256 h;

    dm_text_print(name, "%s", a->env);
    const size_t begin = name->size;
    dm_text_print(name, "/%s/%lld/%llu/%lld", dm_env_split_names[x->split], (long long)x->task,
                  (unsigned long long)x->seed, (long long)x->sample);
    if (x->source)
        dm_text_print(name, "@%lld", (long long)x->given);
    if (name->failed)
        return 0;
    dm_sha256_init(&h);
    dm_sha256_update(&h, name->data + begin, name->size - begin);
    dm_sha256_finish(&h, hex);
    memcpy(first, hex, 16);
    return strtoull(first, NULL, 16);
}
