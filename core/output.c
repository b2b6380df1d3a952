#include "core/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/durable.h"
#include "core/file.h"

#define SUFFIX 32 /* ".tmp-" and a process number */

dm_status dm_output_open(dm_output *o, const char *path, dm_error *err)
{
    const size_t size = strlen(path) + SUFFIX;

    *o = (dm_output){.path = path, .temporary = malloc(size), .fd = -1};
    if (!o->temporary)
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to write it", path);
    snprintf(o->temporary, size, "%s.tmp-%ld", path, (long)getpid());
    o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (o->fd < 0) {
        const dm_status s = dm_fail(err, DM_ERR_FILE, "%s: cannot create %s: %s", path, o->temporary, strerror(errno));
        free(o->temporary);
        o->temporary = NULL;
        return s;
    }
    dm_sha256_init(&o->hash);
    return DM_OK;
}

dm_status dm_output_add(dm_output *o, const void *data, size_t size, dm_error *err)
{
    dm_sha256_update(&o->hash, data, size);
    for (size_t done = 0; done < size;) {
        const ssize_t n = write(o->fd, (const char *)data + done, size - done);
        if (n < 0 && errno != EINTR)
            return dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->path, strerror(errno));
        done += n > 0 ? (size_t)n : 0;
    }
    return DM_OK;
}

dm_status dm_output_close(dm_output *o, dm_status status, char hex[DM_SHA256_HEX], dm_error *err)
{
    if (!o->temporary) /* never opened */
        return status;
    if (status == DM_OK && fsync(o->fd) != 0)
        status = dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->path, strerror(errno));
    if (close(o->fd) != 0 && status == DM_OK)
        status = dm_fail(err, DM_ERR_FILE, "%s: cannot write: %s", o->path, strerror(errno));
    if (status == DM_OK)
        status = dm_rename_durable(o->temporary, o->path, err);
    if (status != DM_OK)
        unlink(o->temporary);
    else if (hex)
        dm_sha256_finish(&o->hash, hex);
    free(o->temporary);
    o->temporary = NULL;
    return status;
}
