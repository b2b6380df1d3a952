/* A round on several ranks: rank 0 has its file, the others read a copy. */
#include <stdlib.h>
#include <string.h>

#include "agent/online/online.h"
#include "core/files/file.h"
#include "core/ranks.h"
#include "io/json.h"

static dm_status write_copy(dm_online_copy *c, const char *data, size_t size, dm_error *err)
{
    dm_status s = dm_scratch_open(&c->beside, err);
    if (s == DM_OK)
        s = dm_path_in(&c->file, c->beside.path.text, "episodes.jsonl", err);
    return s == DM_OK ? dm_file_write(c->file.text, data, size, err) : s;
}

dm_status dm_online_copy_open(dm_online_copy *c, const char *file, const char **here, dm_error *err)
{
    static const char what[] = "the episodes of a round";
    const dm_ranks *ranks = dm_ranks_here();
    char *data = NULL;
    size_t size = 0;
    uint64_t bytes;
    dm_status s = DM_OK;

    c->beside = (dm_scratch){.fd = -1};
    *here = ranks->self ? c->file.text : file;
    if (ranks->count == 1)
        return DM_OK;
    if (ranks->self == 0 && (s = dm_file_read(file, DM_JSON_BYTES, &data, &size, err)) != DM_OK)
        return s;
    bytes = size;
    s = dm_ranks_share(DM_RANK_STATE, &bytes, sizeof bytes, what, err);
    if (s == DM_OK && ranks->self && !(data = malloc((size_t)bytes + 1)))
        s = dm_fail(err, DM_ERR_MEMORY, "no memory for the episodes of a round");
    if (s == DM_OK)
        s = dm_ranks_share(DM_RANK_WORK, data, (size_t)bytes, what, err);
    if (s == DM_OK && ranks->self)
        s = write_copy(c, data, (size_t)bytes, err);
    free(data);
    return s;
}

void dm_online_copy_close(dm_online_copy *c)
{
    dm_scratch_close(&c->beside);
}
