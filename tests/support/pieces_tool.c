#include "tests/support/pieces_tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "core/files/file.h"
#include "io/gguf.h"
#include "tests/support/check.h"
#include "tests/support/gguf_tool.h"

static char work[64], data[400];

const char *in_work(const char *name)
{
    static char path[4][128];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", work, name);
    return path[next];
}

const char *in_data(const char *name)
{
    static char path[640];
    snprintf(path, sizeof path, "%s/%s", data, name);
    return path;
}

void put(const char *path, const void *bytes, size_t size)
{
    unlink(path);
    g_put(path, bytes, size);
}

dm_status open_gguf(dm_tokenizer **t, const char *path, dm_error *err)
{
    dm_gguf *g = NULL;
    dm_status s = dm_gguf_open(&g, path, err);
    *t = NULL;
    if (s == DM_OK)
        s = dm_tokenizer_from_gguf(t, g, err);
    dm_gguf_close(&g);
    return s;
}

void pieces_begin(const char *name)
{
    const char *source = getenv("SRC");
    snprintf(data, sizeof data, "%s/tests/data", source != NULL ? source : ".");
    snprintf(work, sizeof work, "/tmp/dm-test-%s-%ld", name, (long)getpid());
    CK(dm_dir_create(work, NULL) == DM_OK);
}

int pieces_end(const char *name)
{
    CK(dm_dir_remove(work, NULL) == DM_OK);
    return ck_done(name);
}
