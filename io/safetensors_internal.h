/* The opened set of io/safetensors.h, shared by the checks and the reader. */
#ifndef DM_IO_SAFETENSORS_INTERNAL_H
#define DM_IO_SAFETENSORS_INTERNAL_H

#include "core/files/input.h"
#include "io/json.h"
#include "io/safetensors.h"

typedef struct dm_st_file {
    char *path;
    dm_input in;
    uint64_t data;       /* where the tensors begin */
    dm_json_doc *header; /* names point into it */
} dm_st_file;

struct dm_st {
    dm_st_file *files;
    size_t n_files;
    dm_st_tensor *tensors;        /* in order of (file, begin) */
    const dm_st_tensor **by_name; /* in order of name */
    size_t n, capacity;
};

#endif
