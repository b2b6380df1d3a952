#include "model/formats/source_check.h"

#include <stdio.h>
#include <string.h>

dm_source_found dm_source_found_st(const dm_st *st, const dm_st_tensor *t)
{
    dm_source_found f = {.name = t->name, .path = dm_st_path(st, t), .dims = t->dims};

    memcpy(f.shape, t->shape, sizeof f.shape);
    return f;
}

static void shape_text(char buf[256], unsigned dims, const uint64_t *shape)
{
    size_t used = (size_t)snprintf(buf, 256, "[");

    for (unsigned i = 0; i < dims; i++)
        used += (size_t)snprintf(buf + used, 256 - used, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    snprintf(buf + used, 256 - used, "]");
}

dm_status dm_source_check_shape(const dm_tensor *t, const char *name, const dm_source_found *found, const char *where,
                                const char *by, dm_error *err)
{
    uint64_t shape[2];
    char want[256], got[256];

    dm_tensor_shape(t, shape);
    shape_text(want, t->dims, shape);
    if (!found)
        return dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" is missing, by %s there must be one of shape %s", where,
                       name, by, want);
    if (found->dims == t->dims && memcmp(found->shape, shape, t->dims * sizeof *shape) == 0)
        return DM_OK;
    shape_text(got, found->dims, found->shape);
    return dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" has shape %s, by %s it must be %s", found->path, name, got, by,
                   want);
}

dm_status dm_source_fail_extra(const dm_source_found *found, const dm_config *c, const char *by, dm_error *err)
{
    char shape[256];

    shape_text(shape, found->dims, found->shape);
    return dm_fail(err, DM_ERR_INPUT, "%s: tensor \"%s\" of shape %s is not one of this model's, by %s (%s)",
                   found->path, found->name, shape, by, dm_arch_name(c->arch));
}
