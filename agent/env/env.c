/* What all environments share: the names of the splits, and the checks around a class's functions. */
#include "agent/env/env.h"

#include <stdlib.h>

const char *const dm_env_split_names[DM_ENV_SPLITS + 1] = {"train", "seen", "unseen", NULL};

void dm_env_close(dm_env **env)
{
    if (*env && (*env)->class->close)
        (*env)->class->close(*env);
    free(*env);
    *env = NULL;
}

dm_status dm_env_reset(dm_env *env, dm_env_split split, int64_t task, uint64_t seed, dm_observation *o, dm_error *err)
{
    if (task < 0 || task >= env->tasks[split])
        return dm_fail(err, DM_ERR_ARGUMENT, "task %lld is out of range; %s has %lld tasks in split %s, from 0",
                       (long long)task, env->class->name, (long long)env->tasks[split], dm_env_split_names[split]);
    return env->class->reset(env, split, task, seed, o, err);
}

dm_status dm_env_step(dm_env *env, const char *action, dm_observation *o, dm_error *err)
{
    if (o->done)
        return dm_fail(err, DM_ERR_INTERNAL, "%s: the episode is done and takes no action", env->class->name);
    return env->class->step(env, action, o, err);
}

dm_status dm_env_leave(dm_env *env, dm_error *err)
{
    return env->class->leave ? env->class->leave(env, err) : DM_OK;
}
