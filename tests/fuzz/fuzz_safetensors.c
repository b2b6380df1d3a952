/* safetensors: every tensor of an accepted file is read. And an index: what it names is there beside two shards. */
#include <stdlib.h>
#include <string.h>

#include "io/safetensors.h"
#include "tests/fuzz/targets.h"

static void read_all(const dm_st *st, size_t size)
{
    dm_error err;

    for (size_t i = 0; i < dm_st_count(st); i++) {
        const dm_st_tensor *t = dm_st_at(st, i);
        FUZZ_CHECK(t->end <= size && t->begin <= t->end && dm_st_find(st, t->name) == t);
        FUZZ_CHECK(strncmp(dm_st_path(st, t), fuzz_directory(), strlen(fuzz_directory())) == 0);
        if (t->type == DM_DTYPE_COUNT)
            continue;
        double *out = malloc((size_t)t->count * sizeof *out + 1); /* the range is in the file, so the count is small */
        FUZZ_CHECK(out != NULL);
        (void)dm_st_read_f64(st, t, out, &err);
        if (t->count)
            (void)dm_st_read_f32(st, t, (float *)(void *)out, &err);
        FUZZ_CHECK(dm_st_read_stored(st, t, out, &err) == DM_OK);
        free(out);
        bool same;
        FUZZ_CHECK(dm_st_same(st, t, t, &same, &err) == DM_OK && same);
    }
    const char *value = dm_st_metadata(st, "format");
    if (value)
        fuzz_touch(value, strlen(value) + 1);
}

void fuzz_safetensors(const uint8_t *data, size_t size)
{
    dm_st *st;
    dm_error err;

    if (dm_st_open(&st, fuzz_file("fuzzed.safetensors", data, size), &err) == DM_OK)
        read_all(st, size);
    dm_st_close(&st);
}

static void put_shard(const char *file, const char *tensor)
{
    static const float numbers[] = {1, 2};
    const dm_st_out out = {.name = tensor, .type = DM_F32, .dims = 1, .shape = {2}, .data = numbers};
    dm_error err;

    FUZZ_CHECK(dm_st_write(fuzz_file(file, (const uint8_t *)"", 0), &out, 1, NULL, 0, NULL, &err) == DM_OK);
}

void fuzz_index(const uint8_t *data, size_t size)
{
    static bool there;
    dm_st *st;
    dm_error err;

    if (!there) {
        put_shard("a.safetensors", "x");
        put_shard("b.safetensors", "y");
        there = true;
    }
    (void)fuzz_file("model.safetensors.index.json", data, size);
    if (dm_st_open(&st, fuzz_directory(), &err) == DM_OK)
        read_all(st, 4096);
    dm_st_close(&st);
}
