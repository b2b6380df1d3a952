#include "core/files/path.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

dm_status dm_path_print(dm_path *out, dm_error *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    const int n = vsnprintf(out->text, sizeof out->text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof out->text)
        return dm_fail(err, DM_ERR_FILE, "%.200s...: the path is longer than %d bytes", out->text, DM_PATH_MAX - 1);
    return DM_OK;
}

dm_status dm_path_in(dm_path *out, const char *dir, const char *name, dm_error *err)
{
    const size_t length = strlen(dir);
    const char *slash = length > 0 && dir[length - 1] != '/' ? "/" : "";
    const int n = snprintf(out->text, sizeof out->text, "%s%s%s", dir, slash, name);
    if (n < 0 || (size_t)n >= sizeof out->text)
        return dm_fail(err, DM_ERR_FILE, "%.200s/%.200s: the path is longer than %d bytes", dir, name, DM_PATH_MAX - 1);
    return DM_OK;
}
