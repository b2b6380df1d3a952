#include "agent/env/env.h"

#include <stdlib.h>
#include <string.h>

#include "agent/env/protocol.h"
#include "io/json.h"

const char *const dm_env_split_names[DM_ENV_SPLITS + 1] = {"train", "seen", "unseen", NULL};

const dm_env_class *const dm_env_classes[] = {
    &dm_env_home,
    &dm_env_shop,
    &dm_env_lab,
    NULL,
};

static const dm_env_class *find(const char *name, size_t size)
{
    for (size_t i = 0; dm_env_classes[i]; i++)
        if (strlen(dm_env_classes[i]->name) == size && memcmp(dm_env_classes[i]->name, name, size) == 0)
            return dm_env_classes[i];
    return size == strlen(dm_env_cmd.name) && memcmp(dm_env_cmd.name, name, size) == 0 ? &dm_env_cmd : NULL;
}

static dm_status unknown(const char *specification, dm_error *err)
{
    dm_text names = {0};
    for (size_t i = 0; dm_env_classes[i]; i++)
        dm_text_print(&names, "%s, ", dm_env_classes[i]->name);
    const dm_status s = dm_fail(err, DM_ERR_ARGUMENT, "environment '%s' is none of: %scmd:PROGRAM ARGUMENTS",
                                specification, names.failed || !names.data ? "" : names.data);
    dm_text_free(&names);
    return s;
}

dm_status dm_env_open(dm_env **env, const char *specification, dm_error *err)
{
    const size_t name = strcspn(specification, ":");
    const char *arguments = specification[name] ? specification + name + 1 : NULL;
    const dm_env_class *class = find(specification, name);

    *env = NULL;
    if (!class)
        return unknown(specification, err);
    if (!(*env = calloc(1, class->size)))
        return dm_fail(err, DM_ERR_MEMORY, "no memory for an environment");
    (*env)->class = class;
    const dm_status s = class->open(*env, arguments, err);
    if (s != DM_OK)
        dm_env_close(env);
    return s;
}

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
