/* The opened file of io/gguf.h, shared by the checks at opening and the getters of metadata. */
#ifndef DM_IO_GGUF_INTERNAL_H
#define DM_IO_GGUF_INTERNAL_H

#include "io/gguf.h"
#include "io/json.h"

/* Kinds of metadata values, by their numbers in files. */
enum {
    DM_GGUF_U8,
    DM_GGUF_I8,
    DM_GGUF_U16,
    DM_GGUF_I16,
    DM_GGUF_U32,
    DM_GGUF_I32,
    DM_GGUF_F32,
    DM_GGUF_BOOL,
    DM_GGUF_STRING,
    DM_GGUF_ARRAY,
    DM_GGUF_U64,
    DM_GGUF_I64,
    DM_GGUF_F64,
    DM_GGUF_KINDS
};

typedef struct dm_gguf_pair {
    size_t key;        /* offset in `text` */
    uint32_t kind;     /* of the value */
    uint32_t element;  /* kind of an array's elements */
    uint64_t count;    /* elements of an array, bytes of a string */
    size_t value;      /* offset in the file: of the number, the string's bytes or the array's first element */
    size_t begin, end; /* of the whole value in the file, with the lengths that it begins with */
    size_t text;       /* offset in `text` of a string value */
} dm_gguf_pair;

struct dm_gguf {
    char *path;
    dm_input in;
    unsigned char *head; /* the file's beginning, up to where it was parsed: pages (core/numbers/block.h) */
    size_t head_size;
    uint64_t alignment;
    dm_text text; /* keys, string values and tensor names, each followed by a NUL */
    dm_gguf_pair *pairs;
    size_t n_pairs;
    dm_gguf_tensor *tensors;
    size_t n_tensors;
    const dm_gguf_tensor **by_name; /* sorted by name */
    dm_gguf **parts;                /* [n_parts] of a model in several files: the others, whose tensors are here, too */
    size_t n_parts;
};

/* Bytes of a kind of number; 0 for strings, arrays and unknown kinds. */
size_t dm_gguf_kind_size(uint32_t kind);
const char *dm_gguf_kind_name(uint32_t kind);

static inline uint32_t dm_gguf_load32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t dm_gguf_load64(const unsigned char *p)
{
    return dm_gguf_load32(p) | (uint64_t)dm_gguf_load32(p + 4) << 32;
}

#endif
