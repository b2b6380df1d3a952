/* Environments by name. A new one is a row of dm_env_classes, in registry.c. */
#ifndef DM_AGENT_ENV_REGISTRY_H
#define DM_AGENT_ENV_REGISTRY_H

#include <stdbool.h>

#include "agent/env/env.h"

/* The built-in ones, terminated by NULL. */
extern const dm_env_class *const dm_env_classes[];

/* Opens an environment, which the caller closes with dm_env_close. specification: a built-in one's name ("home"), or
 * "cmd:PROGRAM ARGUMENTS" (agent/env/protocol.h). An unknown name is DM_ERR_ARGUMENT and lists the known ones. */
dm_status dm_env_open(dm_env **env, const char *specification, dm_error *err);

/* Whether opening the specification would run a program. One that comes from a data file must not be opened: data are
 * not trusted. */
bool dm_env_is_command(const char *specification);

#endif
