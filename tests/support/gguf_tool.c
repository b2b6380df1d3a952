#include "tests/support/gguf_tool.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "io/json.h"
#include "tests/support/check.h"

void g_number(gguf_file *f, field_kind kind, uint64_t x, size_t size)
{
    char bytes[8];
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(unsigned char)(x >> 8 * i);
    if (f->n_fields < sizeof f->fields / sizeof *f->fields)
        f->fields[f->n_fields++] = (field){kind, f->bytes.size, size};
    dm_text_add(&f->bytes, bytes, size);
}

void g_begin(gguf_file *f, uint32_t version, uint64_t tensors, uint64_t keys)
{
    memset(f, 0, sizeof *f);
    dm_text_add(&f->bytes, "GGUF", 4);
    g_number(f, F_OTHER, version, 4);
    g_number(f, F_COUNT, tensors, 8);
    g_number(f, F_COUNT, keys, 8);
}

void g_text(gguf_file *f, const char *s)
{
    g_number(f, F_LENGTH, strlen(s), 8);
    dm_text_add(&f->bytes, s, strlen(s));
}

void g_key(gguf_file *f, const char *key, uint32_t kind)
{
    g_text(f, key);
    g_number(f, F_KIND, kind, 4);
}

void g_u32(gguf_file *f, const char *key, uint32_t x)
{
    g_key(f, key, K_U32);
    g_number(f, F_OTHER, x, 4);
}

void g_f32(gguf_file *f, const char *key, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    g_key(f, key, K_F32);
    g_number(f, F_OTHER, bits, 4);
}

void g_string(gguf_file *f, const char *key, const char *x)
{
    g_key(f, key, K_STRING);
    g_text(f, x);
}

void g_array(gguf_file *f, const char *key, uint32_t kind, uint64_t n)
{
    g_key(f, key, K_ARRAY);
    g_number(f, F_KIND, kind, 4);
    g_number(f, F_LENGTH, n, 8);
}

void g_tensor(gguf_file *f, const char *name, uint64_t rows, uint64_t cols, uint32_t type, size_t bytes)
{
    g_text(f, name);
    g_number(f, F_DIMS, rows ? 2 : 1, 4);
    g_number(f, F_SHAPE, cols, 8);
    if (rows)
        g_number(f, F_SHAPE, rows, 8);
    g_number(f, F_TYPE, type, 4);
    g_number(f, F_OFFSET, f->data, 8);
    f->data += (bytes + 31) / 32 * 32;
}

void g_data(gguf_file *f, const void *data, size_t size)
{
    while (!f->bytes.failed && f->bytes.size % 32)
        dm_text_add(&f->bytes, "", 1);
    dm_text_add(&f->bytes, data, size);
}

void g_free(gguf_file *f)
{
    dm_text_free(&f->bytes);
}

void g_set(char *bytes, const field *f, uint64_t x)
{
    for (size_t i = 0; i < f->size; i++)
        bytes[f->at + i] = (char)(unsigned char)(x >> 8 * i);
}

uint64_t g_get(const char *bytes, const field *f)
{
    uint64_t x = 0;
    for (size_t i = 0; i < f->size; i++)
        x |= (uint64_t)(unsigned char)bytes[f->at + i] << 8 * i;
    return x;
}

void g_put(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    CK_MSG(f && fwrite(data, 1, size, f) == size && fclose(f) == 0, "cannot write %s", path);
}
