/* GGUF files made by hand, field by field, so that each field can be broken. */
#ifndef DM_TESTS_SUPPORT_GGUF_TOOL_H
#define DM_TESTS_SUPPORT_GGUF_TOOL_H

#include <stddef.h>
#include <stdint.h>

#include "io/json.h"

enum { K_U8, K_I8, K_U16, K_I16, K_U32, K_I32, K_F32, K_BOOL, K_STRING, K_ARRAY, K_U64, K_I64, K_F64 };
enum { T_F32 = 0, T_F16 = 1, T_Q4_1 = 3, T_Q8_0 = 8, T_IQ2_XS = 17, T_BF16 = 30 };

/* What a number in the header is. */
typedef enum field_kind { F_COUNT, F_LENGTH, F_KIND, F_DIMS, F_SHAPE, F_TYPE, F_OFFSET, F_OTHER } field_kind;

typedef struct field {
    field_kind kind;
    size_t at, size;
} field;

typedef struct gguf_file {
    dm_text bytes;
    field fields[4096];
    size_t n_fields;
    size_t data; /* bytes of tensor data asked for so far */
} gguf_file;

void g_number(gguf_file *f, field_kind kind, uint64_t x, size_t size);
void g_begin(gguf_file *f, uint32_t version, uint64_t tensors, uint64_t keys);
void g_text(gguf_file *f, const char *s);
void g_key(gguf_file *f, const char *key, uint32_t kind);
void g_u32(gguf_file *f, const char *key, uint32_t x);
void g_f32(gguf_file *f, const char *key, float x);
void g_string(gguf_file *f, const char *key, const char *x);
void g_array(gguf_file *f, const char *key, uint32_t kind, uint64_t n);

/* rows 0: a vector of cols. bytes: of its data; offsets are multiples of 32. */
void g_tensor(gguf_file *f, const char *name, uint64_t rows, uint64_t cols, uint32_t type, size_t bytes);

/* Pads the header and puts `size` bytes after it. */
void g_data(gguf_file *f, const void *data, size_t size);
void g_free(gguf_file *f);
void g_set(char *bytes, const field *f, uint64_t x);
uint64_t g_get(const char *bytes, const field *f);

/* Writes a whole file without the cost of making it durable: there are thousands. */
void g_put(const char *path, const void *data, size_t size);

#endif
