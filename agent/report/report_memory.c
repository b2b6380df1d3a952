/* Memory of a report, and what its readers ask of names and paths. */
#include <stdio.h>
#include <string.h>

#include "agent/report/report_internal.h"
#include "core/file.h"

dm_status dm_report_no_memory(dm_error *err)
{
    return dm_fail(err, DM_ERR_MEMORY, "no memory for the report");
}

void *dm_report_alloc(dm_report *r, size_t n, size_t size)
{
    return n > SIZE_MAX / 2 / size ? NULL : dm_block_alloc(&r->blocks, (n ? n : 1) * size);
}

const char *dm_report_copy(dm_report *r, const char *text)
{
    const size_t size = strlen(text) + 1;
    char *copy = dm_report_alloc(r, size, 1);
    return copy ? memcpy(copy, text, size) : NULL;
}

bool dm_report_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool dm_report_same_subject(const dm_report_subject *a, const dm_report_subject *b)
{
    return dm_report_same(a->env, b->env) && dm_report_same(a->setting, b->setting) &&
           dm_report_same(a->method, b->method) && dm_report_same(a->sweep, b->sweep) && dm_report_same(a->x, b->x);
}

dm_status dm_report_path(const dm_report *r, char *out, size_t size, const char *path, dm_error *err)
{
    if (strncmp(path, "stages/", 7) == 0)
        return dm_path_join(out, size, r->dir, path, err);
    if ((size_t)snprintf(out, size, "%s", path) >= size)
        return dm_fail(err, DM_ERR_FILE, "the path %.100s... is too long", path);
    return DM_OK;
}
