/* .npy and .npz: values and shapes of what numpy wrote, refusals; every prefix of a file is refused or read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "io/npy.h"
#include "tests/support/check.h"

static char *file(const char *name, size_t *size)
{
    const char *src = getenv("SRC");
    char path[1024], *data = NULL;
    dm_error err = {0};

    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/npy/%s", src ? src : ".", name);
    CK_MSG(dm_file_read(path, 1 << 20, &data, size, &err) == DM_OK, "%s", err.message);
    return data;
}

static dm_status on_entry(void *context, const char *name, const void *bytes, size_t size, dm_error *err)
{
    dm_npy a;
    const dm_status s = dm_npy_parse(&a, bytes, size, name, err);

    if (s == DM_OK)
        snprintf((char *)context + strlen(context), 64, "%s:%c%zu:%llu ", name, a.kind, a.size,
                 (unsigned long long)a.count);
    return s;
}

static void array(const char *name, unsigned dims, uint64_t first, double last)
{
    size_t size = 0;
    char *data = file(name, &size);
    dm_npy a;
    dm_error err = {0};

    if (data && CK_MSG(dm_npy_parse(&a, data, size, name, &err) == DM_OK, "%s", err.message)) {
        CK(a.dims == dims && (dims == 0 || a.shape[0] == first));
        CK(dm_npy_value(&a, a.count - 1) == last);
    }
    for (size_t n = 0; data && n < size; n++)
        CK(dm_npy_parse(&a, data, n, name, &err) != DM_OK);
    free(data);
}

int main(void)
{
    size_t size = 0;
    char seen[256] = "", *data;
    dm_error err = {0};

    array("f4.npy", 2, 2, 5);
    array("f8f.npy", 2, 3, 5); /* as its bytes lie: the transposed array */
    array("f2.npy", 0, 0, 1);
    if ((data = file("two.npz", &size)) != NULL) {
        CK_MSG(dm_npz_each(data, size, "two.npz", on_entry, seen, &err) == DM_OK, "%s", err.message);
        CK_MSG(strcmp(seen, "a.npy:i8:3 b.npy:f8:0 ") == 0, "%s", seen);
    }
    free(data);
    if ((data = file("packed.npz", &size)) != NULL)
        CK(dm_npz_each(data, size, "packed.npz", on_entry, seen, &err) == DM_ERR_UNSUPPORTED);
    free(data);
    return ck_done("npy");
}
