#include "agent/rollout/eval.h"

#include <math.h> /* sqrt (exact) and NAN only */
#include <stdlib.h>
#include <string.h>

#include "agent/rollout/student.h"

/* ---- estimates ---- */

dm_estimate dm_estimate_of(const double *x, size_t n)
{
    dm_estimate e = {.mean = NAN, .half = NAN, .n = n};
    double squares;

    e.mean = dm_mean_of(x, n, &squares);
    if (n >= 2)
        e.half = dm_t_quantile(n - 1) * sqrt(squares / (double)(n - 1) / (double)n);
    return e;
}

/* ---- tasks ---- */

static int by_task(const dm_episode *a, const dm_episode *b)
{
    const int env = strcmp(a->env, b->env);
    if (env)
        return env;
    if (a->split != b->split)
        return a->split < b->split ? -1 : 1;
    if (a->task != b->task)
        return a->task < b->task ? -1 : 1;
    return a->seed < b->seed ? -1 : a->seed > b->seed;
}

/* Total: episodes of one task stay in their order. */
static int by_task_and_place(const void *a, const void *b)
{
    const dm_episode *x = *(const dm_episode *const *)a, *y = *(const dm_episode *const *)b;
    const int task = by_task(x, y);
    return task ? task : x < y ? -1 : x > y;
}

/* As the rewards: the mean over a task's samples, then over the tasks. */
static void score_by_turn(dm_eval *e, const dm_episode *const *x)
{
    for (size_t turn = 1; turn <= e->turn_limit; turn++) {
        double sum = 0;
        for (size_t t = 0, i = 0; t < e->tasks; i += e->task[t++].samples) {
            double scores = 0;
            for (size_t k = i; k < i + e->task[t].samples; k++)
                scores += turn < x[k]->turns ? x[k]->turn[turn - 1].score : x[k]->reward;
            sum += scores / (double)e->task[t].samples;
        }
        e->by_turn[turn] = sum / (double)e->tasks;
    }
}

static void count(dm_eval *e, const dm_episode *x)
{
    for (size_t k = 0; k < DM_EPISODE_ENDS; k++)
        e->end[k] += strcmp(x->end, dm_episode_end_names[k]) == 0;
    e->turns += (double)x->turns;
    for (size_t t = 0; t < x->turns; t++)
        e->tokens += (double)x->turn[t].tokens;
    e->turn_limit = x->turns > e->turn_limit ? x->turns : e->turn_limit;
}

static dm_eval_task score_task(const dm_episode *const *x, size_t n)
{
    dm_eval_task s = {.first = x[0], .best = x[0]->reward, .worst = x[0]->reward, .samples = n};
    for (size_t i = 0; i < n; i++) {
        const double reward = x[i]->reward;
        s.reward += reward;
        s.success += reward >= 1;
        s.best = reward > s.best ? reward : s.best;
        s.worst = reward < s.worst ? reward : s.worst;
    }
    s.reward /= (double)n;
    s.success /= (double)n;
    return s;
}

static dm_estimate estimate(const dm_eval *e, size_t field, double *x)
{
    for (size_t i = 0; i < e->tasks; i++)
        memcpy(&x[i], (const char *)&e->task[i] + field, sizeof *x);
    return dm_estimate_of(x, e->tasks);
}

static dm_status no_memory(size_t n, dm_error *err)
{
    return dm_fail(err, DM_ERR_MEMORY, "no memory for the statistics of %zu episodes", n);
}

/* sorted: the episodes, task by task; x: room for as many numbers. */
static dm_status make(dm_eval *e, const dm_episode *const *sorted, double *x, dm_error *err)
{
    const size_t n = e->episodes;

    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && by_task(sorted[i], sorted[next]) == 0; next++)
            ;
        e->task[e->tasks++] = score_task(sorted + i, next - i);
        e->fewest = i == 0 || next - i < e->fewest ? next - i : e->fewest;
        e->most = next - i > e->most ? next - i : e->most;
    }
    for (size_t i = 0; i < n; i++)
        count(e, sorted[i]);
    e->turns /= (double)n;
    e->tokens /= (double)n;
    if (!(e->by_turn = calloc(e->turn_limit + 1, sizeof *e->by_turn)))
        return no_memory(n, err);
    score_by_turn(e, sorted);
    e->reward = estimate(e, offsetof(dm_eval_task, reward), x);
    e->success = estimate(e, offsetof(dm_eval_task, success), x);
    e->best = estimate(e, offsetof(dm_eval_task, best), x);
    e->worst = estimate(e, offsetof(dm_eval_task, worst), x);
    return DM_OK;
}

dm_status dm_eval_make(dm_eval *out, const dm_episodes *episodes, dm_error *err)
{
    const size_t n = episodes->n;
    dm_status s;

    *out = (dm_eval){.episodes = n};
    if (n == 0)
        return dm_fail(err, DM_ERR_INPUT, "no episode to make statistics of");
    const dm_episode **sorted = calloc(n, sizeof *sorted);
    double *x = malloc(n * sizeof *x);
    out->task = malloc(n * sizeof *out->task);
    if (!sorted || !x || !out->task) {
        s = no_memory(n, err);
    } else {
        for (size_t i = 0; i < n; i++)
            sorted[i] = &episodes->episode[i];
        qsort(sorted, n, sizeof *sorted, by_task_and_place);
        s = make(out, sorted, x, err);
    }
    free(sorted);
    free(x);
    if (s != DM_OK)
        dm_eval_free(out);
    return s;
}

void dm_eval_free(dm_eval *e)
{
    free(e->by_turn);
    free(e->task);
    *e = (dm_eval){0};
}

dm_status dm_eval_difference(dm_estimate *out, const dm_eval *a, const dm_eval *b, dm_error *err)
{
    double *x = malloc((a->tasks + 1) * sizeof *x);
    size_t n = 0;

    if (!x)
        return no_memory(a->tasks, err);
    for (size_t i = 0, j = 0; i < a->tasks && j < b->tasks;) {
        const int order = by_task(a->task[i].first, b->task[j].first);
        if (order == 0)
            x[n++] = a->task[i].reward - b->task[j].reward;
        i += order <= 0;
        j += order >= 0;
    }
    *out = dm_estimate_of(x, n);
    free(x);
    return DM_OK;
}
