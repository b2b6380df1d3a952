#include "agent/env/registry.h"

#include <stdlib.h>
#include <string.h>

#include "agent/env/protocol.h"
#include "io/json.h"

/* The built-in environments: agent/env/NAME/ defines dm_env_NAME. */
#define ENVIRONMENTS(X)                                                                                                \
    X(home)                                                                                                            \
    X(shop)                                                                                                            \
    X(lab)

#define DECLARE(name) extern const dm_env_class dm_env_##name;
#define ADDRESS(name) &dm_env_##name,
ENVIRONMENTS(DECLARE)
const dm_env_class *const dm_env_classes[] = {ENVIRONMENTS(ADDRESS) NULL};

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
    const dm_status s = dm_fail(err, DM_ERR_ARGUMENT, "environment '%s' is not one of: %scmd:PROGRAM ARGUMENTS",
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

bool dm_env_is_command(const char *specification)
{
    return strncmp(specification, "cmd:", 4) == 0;
}
