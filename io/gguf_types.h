/* GGML's type numbers: our type for each, and the name and size of the others, for messages and checks. */
#ifndef DM_IO_GGUF_TYPES_H
#define DM_IO_GGUF_TYPES_H

#include "core/numbers/dtype.h"

typedef struct dm_gguf_type {
    const char *name; /* NULL: the number is unused */
    dm_dtype type;    /* DM_DTYPE_COUNT: not one of ours */
    unsigned short block, size;
} dm_gguf_type;

/* The type with this number; name NULL if there is none. */
dm_gguf_type dm_gguf_type_of(uint32_t number);

/* GGML's number of one of our types. */
uint32_t dm_gguf_type_number(dm_dtype type);

#endif
