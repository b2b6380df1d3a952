/* .npy and .npz: every element of an accepted array is read. */
#include "io/npy.h"
#include "tests/fuzz/targets.h"

static dm_status read_all(void *context, const char *name, const void *bytes, size_t size, dm_error *err)
{
    dm_npy a;
    double sum = 0;

    (void)context;
    if (dm_npy_parse(&a, bytes, size, name, err) != DM_OK)
        return DM_OK;
    FUZZ_CHECK(a.count * a.size <= size);
    for (uint64_t i = 0; i < a.count; i++)
        sum += dm_npy_value(&a, i);
    fuzz_touch(&sum, sizeof sum);
    return DM_OK;
}

void fuzz_npy(const uint8_t *data, size_t size)
{
    dm_error err;

    read_all(NULL, "array", data, size, &err);
    (void)dm_npz_each(data, size, "archive", read_all, NULL, &err);
}
