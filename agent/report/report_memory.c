/* Memory of a report, and the questions that all its parts ask of names. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent/report/report_data.h"

void *dm_report_alloc(dm_report *r, size_t n, size_t size)
{
    void *p = r->status != DM_OK || n > SIZE_MAX / 2 / size ? NULL : dm_block_alloc(&r->blocks, (n ? n : 1) * size);
    if (!p && r->status == DM_OK)
        r->status = dm_fail(r->err, DM_ERR_MEMORY, "no memory for the report");
    return p;
}

const char *dm_report_format(dm_report *r, const char *fmt, ...)
{
    va_list args, again;

    va_start(args, fmt);
    va_copy(again, args);
    const int size = vsnprintf(NULL, 0, fmt, args);
    char *text = size < 0 ? NULL : dm_report_alloc(r, (size_t)size + 1, 1);
    if (text)
        vsnprintf(text, (size_t)size + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text ? text : "";
}

bool dm_report_is_stages(const char *path)
{
    if (strncmp(path, "stages/", 7) != 0)
        return false;
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (strncmp(p, "..", 2) == 0 && (p[2] == '/' || p[2] == '\0'))
            return false;
    }
    return true;
}

const char *dm_report_path(dm_report *r, const char *path)
{
    const size_t n = strlen(r->dir);
    if (!dm_report_is_stages(path))
        return path;
    return dm_report_format(r, "%s%s%s", r->dir, n && r->dir[n - 1] == '/' ? "" : "/", path);
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

bool dm_report_in_table(const dm_report_row *row, const char *env, const char *sweep)
{
    return strcmp(row->of.env, env) == 0 && dm_report_same(row->of.sweep, sweep);
}

const dm_report_row *dm_report_find_row(const dm_report *r, const char *env, const char *setting, const char *method,
                                        const char *x)
{
    for (size_t i = 0; i < r->rows; i++) {
        const dm_report_subject *s = &r->row[i].of;
        if (dm_report_same(s->env, env) && dm_report_same(s->setting, setting) && dm_report_same(s->method, method) &&
            dm_report_same(s->x, x))
            return &r->row[i];
    }
    return NULL;
}

size_t dm_report_splits(const dm_report *r, const char *env, dm_env_split out[DM_ENV_SPLITS])
{
    size_t n = 0;

    for (size_t k = 0; k < DM_ENV_SPLITS; k++)
        for (size_t i = 0; i < r->rows; i++)
            if (strcmp(r->row[i].of.env, env) == 0 && r->row[i].cell[k].present) {
                out[n++] = (dm_env_split)k;
                break;
            }
    return n;
}
