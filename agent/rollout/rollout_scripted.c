/* Players that need no model: an environment's expert, and chance. */
#include "agent/rollout/rollout_internal.h"
#include "core/numbers/philox.h"

static const char *scripted_action(dm_rollout_run *r, const dm_rollout_flight *f)
{
    const dm_env_class *class = f->env->class;
    const int64_t turn = (int64_t)f->episode.turns;
    uint64_t counter = (uint64_t)turn << 32; /* far from the other turns' */
    const char *const *actions = NULL;
    size_t n;

    if (r->o->player == DM_ROLLOUT_PLAYER_EXPERT) {
        const char *action = class->expert ? class->expert(f->env) : NULL;
        if (!action)
            r->s = dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s: the environment has no expert's action for turn %lld",
                           f->episode.id, (long long)turn + 1);
        return action;
    }
    n = class->admissible ? class->admissible(f->env, &actions) : 0;
    if (n == 0) {
        r->s = dm_fail(r->err, DM_ERR_UNSUPPORTED, "%s: the environment does not say what is possible in turn %lld",
                       f->episode.id, (long long)turn + 1);
        return NULL;
    }
    return actions[dm_random_below((uint32_t)n, r->o->seed, DM_RNG_EXPLORE, f->stream, &counter)];
}

dm_status dm_rollout_scripted(dm_rollout_run *r)
{
    dm_rollout_flight *f = &r->flight[0];

    while (r->s == DM_OK && !dm_rollout_report(r, NULL) && dm_rollout_flight_claim(r, f)) {
        r->s = dm_rollout_flight_begin(r, f);
        while (r->s == DM_OK && !f->episode.end) {
            const char *action = scripted_action(r, f);
            dm_text words = {0};
            if (!action)
                break;
            dm_text_print(&words, "Action: %s", action);
            r->s = words.failed ? dm_rollout_no_memory(r) : dm_rollout_flight_turn(r, f, words.data, words.size, NULL);
            dm_text_free(&words);
            dm_rollout_report(r, NULL);
        }
        if (r->s == DM_OK)
            r->s = dm_rollout_flight_finish(r, f);
    }
    return r->s;
}
