/* Any bytes as a safetensors file; every tensor of an accepted one is read. */
#include <stdlib.h>

#include "io/safetensors.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dm_st *st;
    dm_error err;

    if (dm_st_open(&st, fuzz_file(data, size), &err) != DM_OK)
        return 0;
    for (size_t i = 0; i < dm_st_count(st); i++) {
        const dm_st_tensor *t = dm_st_at(st, i);
        if (t->end > size || t->begin > t->end || dm_st_find(st, t->name) != t)
            abort();
        if (t->type == DM_DTYPE_COUNT)
            continue;
        double *out = malloc(t->count * sizeof *out + 1); /* the range is in the file, so the count is small */
        if (!out)
            abort();
        (void)dm_st_read_f64(st, t, out, &err);
        if (t->count)
            (void)dm_st_read_f32(st, t, (float *)(void *)out, &err);
        free(out);
    }
    dm_st_close(&st);
    return 0;
}
