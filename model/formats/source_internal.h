/* An opened source, shared by its kinds. */
#ifndef DM_MODEL_FORMATS_SOURCE_INTERNAL_H
#define DM_MODEL_FORMATS_SOURCE_INTERNAL_H

#include "core/files/input.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "model/formats/llama2c.h"
#include "model/formats/source.h"
#include "model/formats/source_check.h"
#include "simd/kernels/kernels.h"

/* Where a tensor of the layout is. */
typedef struct dm_source_tensor {
    dm_dtype type;
    unsigned heads;         /* its rows are in RoPE's pairs (2i, 2i + 1) in each of so many heads; 0: as they are */
    float shift;            /* added to every element: GGUF holds 1 + some norms */
    const dm_st_tensor *st; /* of a directory */
    const dm_input *in;     /* of a GGUF file: the one, of several, that has it */
    uint64_t offset;        /* of a file: where its data begins */
} dm_source_tensor;

struct dm_source {
    dm_source_kind kind;
    char *path;
    char *adapter; /* directory; NULL: none */
    dm_config config;
    dm_param_layout layout;
    dm_source_tensor *tensors; /* [layout.n], in the layout's order */
    dm_st *st;
    dm_gguf *gguf;
    dm_input in; /* of llama2.c */
    dm_kernels kernels;
};

/* The kinds: each fills config, layout, tensors and what they point into. On failure dm_source_close cleans up. */
dm_status dm_source_open_hf(dm_source *s, dm_error *err);
dm_status dm_source_open_gguf(dm_source *s, dm_error *err);
dm_status dm_source_open_llama2c(dm_source *s, bool *known, dm_error *err); /* *known false: no such file */

/* What metadata says of the model (model/formats/source_gguf_config.c). */
dm_status dm_source_gguf_config(dm_config *out, const dm_gguf *g, dm_error *err);

#endif
