/* Opening a model of any form, and reading its tensors row by row. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "core/numbers/half.h"
#include "model/formats/adapter.h"
#include "model/formats/hf_directory.h"
#include "model/formats/llama2c.h"
#include "model/formats/source_internal.h"

/* ---- opening ---- */

/* *kind: -1 when it is neither. Fails when it cannot be read. */
static dm_status find_kind(int *kind, const char *path, dm_error *err)
{
    static const char magic[] = "GGUF";
    unsigned char head[DM_LLAMA2C_HEADER];
    dm_config config;
    dm_input in;
    size_t begin, size;
    int version;
    bool known = false;
    const dm_status s = dm_llama2c_head(&in, head, &size, path, err);

    *kind = -1;
    if (s != DM_OK)
        size = 0;
    if (size >= 4 && memcmp(head, magic, 4) == 0)
        *kind = DM_SOURCE_GGUF;
    else if (dm_llama2c_header(&config, &version, &begin, &known, head, size, path, NULL) != DM_OK || known)
        *kind = DM_SOURCE_LLAMA2C;
    dm_input_close(&in);
    return s;
}

int dm_source_file_kind(const char *path)
{
    int kind;
    find_kind(&kind, path, NULL);
    return kind;
}

static dm_status open_file(dm_source *s, bool empty, dm_error *err)
{
    bool known = false;

    s->kind = DM_SOURCE_GGUF;
    int kind;
    const dm_status readable = find_kind(&kind, s->path, err);
    if (readable != DM_OK)
        return readable;
    if (kind == DM_SOURCE_GGUF)
        return dm_source_open_gguf(s, err);
    s->kind = DM_SOURCE_LLAMA2C;
    const dm_status status = empty ? DM_OK : dm_source_open_llama2c(s, &known, err);
    if (status != DM_OK || known)
        return status;
    return dm_fail(err, DM_ERR_INPUT,
                   "%s: is not a model: must be a directory with config.json and model.safetensors, a GGUF file or a "
                   "llama2.c file",
                   s->path);
}

static dm_status open_any(dm_source *s, dm_error *err)
{
    struct stat st;

    if (stat(s->path, &st) != 0)
        return dm_fail(err, DM_ERR_FILE, "%s: cannot open: %s", s->path, strerror(errno));
    if (S_ISREG(st.st_mode))
        return open_file(s, st.st_size == 0, err);
    if (!S_ISDIR(st.st_mode))
        return dm_fail(err, DM_ERR_FILE, "%s: is neither a directory nor a regular file", s->path);
    s->kind = DM_SOURCE_HF;
    return dm_source_open_hf(s, err);
}

static dm_status open_base(dm_source **out, const char *path, dm_error *err)
{
    dm_source *s = calloc(1, sizeof *s);

    *out = NULL;
    if (s)
        s->path = strdup(path);
    if (!s || !s->path) {
        free(s);
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to open it", path);
    }
    dm_kernels_init(&s->kernels, dm_isa_best()); /* every level widens to the same bits */
    const dm_status status = open_any(s, err);
    if (status != DM_OK)
        dm_source_close(&s);
    *out = s;
    return status;
}

dm_status dm_source_open(dm_source **out, const char *path, dm_error *err)
{
    return dm_source_open_on(out, path, NULL, err);
}

dm_status dm_source_open_on(dm_source **out, const char *path, const char *base, dm_error *err)
{
    dm_path named;
    dm_lora_options options;
    dm_status s;

    *out = NULL;
    if (!dm_adapter_is(path))
        return base
                   ? dm_fail(err, DM_ERR_ARGUMENT, "%s: is not an adapter, which `base` is for; leave `base` out", path)
                   : open_base(out, path, err);
    if (base && dm_adapter_is(base))
        return dm_fail(err, DM_ERR_ARGUMENT, "%s: is an adapter, too; `base` must be a whole model", base);
    if ((s = dm_adapter_config(&options, base ? NULL : &named, path, err)) != DM_OK ||
        (s = open_base(out, base ? base : named.text, err)) != DM_OK)
        return s;
    if (!((*out)->adapter = strdup(path))) {
        dm_source_close(out);
        return dm_fail(err, DM_ERR_MEMORY, "%s: no memory to open it", path);
    }
    return DM_OK;
}

void dm_source_close(dm_source **s)
{
    if (!s || !*s)
        return;
    dm_st_close(&(*s)->st);
    dm_gguf_close(&(*s)->gguf);
    dm_input_close(&(*s)->in);
    dm_param_layout_free(&(*s)->layout);
    free((*s)->tensors);
    free((*s)->path);
    free((*s)->adapter);
    free(*s);
    *s = NULL;
}

dm_source_kind dm_source_kind_of(const dm_source *s)
{
    return s->kind;
}

const char *dm_source_path(const dm_source *s)
{
    return s->path;
}

size_t dm_source_files(const dm_source *s)
{
    return s->gguf ? dm_gguf_files(s->gguf) : 1;
}

const char *dm_source_file(const dm_source *s, size_t i)
{
    return s->gguf ? dm_gguf_file(s->gguf, i) : s->path;
}

const char *dm_source_adapter(const dm_source *s)
{
    return s->adapter;
}

const dm_config *dm_source_config(const dm_source *s)
{
    return &s->config;
}

/* ---- tensors ---- */

dm_dtype dm_source_type(const dm_source *s, const char *name)
{
    const dm_tensor *t = dm_param_layout_find(&s->layout, name);
    return t ? s->tensors[t - s->layout.tensors].type : DM_DTYPE_COUNT;
}

static dm_status get(const dm_source *s, const char *name, size_t *i, dm_error *err)
{
    const dm_tensor *t = dm_param_layout_find(&s->layout, name);

    *i = t ? (size_t)(t - s->layout.tensors) : 0;
    return t ? DM_OK
             : dm_fail(err, DM_ERR_INTERNAL, "%s: asked for tensor \"%s\", which %s models do not have", s->path, name,
                       dm_arch_name(s->config.arch));
}

/* Row r of the file as a row of Hugging Face's order: RoPE's pairs (2i, 2i + 1) become (i, i + half). */
static size_t row_of(const dm_source_tensor *t, size_t rows, size_t r)
{
    if (!t->heads)
        return r;
    const size_t dim = rows / t->heads, in_head = r % dim;
    return r - in_head + in_head % 2 * (dim / 2) + in_head / 2;
}

static const dm_input *file_of(const dm_source *s, const dm_source_tensor *t)
{
    return t->in ? t->in : &s->in;
}

static dm_status fail_nonfinite(const dm_source *s, const char *name, size_t row, size_t col, double x, dm_error *err)
{
    return dm_fail(err, DM_ERR_NONFINITE, "%s: tensor \"%s\": row %zu, column %zu is %s", s->path, name, row, col,
                   isnan(x) ? "NaN" : "infinite");
}

static uint16_t load16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A row as f32. Plain types in a file need not be aligned, which the kernel asks for. */
static void widen(const dm_source *s, dm_dtype type, const unsigned char *row, size_t cols, float *out)
{
    switch (type) {
    case DM_F32:
        for (size_t i = 0; i < cols; i++)
            out[i] = dm_f32_from_bits(load32(row + 4 * i));
        break;
    case DM_F16:
        for (size_t i = 0; i < cols; i++)
            out[i] = dm_f16_to_float(load16(row + 2 * i));
        break;
    case DM_BF16:
        for (size_t i = 0; i < cols; i++)
            out[i] = dm_bf16_to_float(load16(row + 2 * i));
        break;
    default:
        s->kernels.widen(out, type, row, 0, cols);
        break;
    }
}

/* Elements that are read and widened at a time: whole blocks of every type. */
enum { PIECE = 4096 };

dm_status dm_source_read_f32(const dm_source *s, const char *name, float *out, dm_error *err)
{
    size_t index;
    dm_input_part part;
    dm_status status = get(s, name, &index, err);

    if (status != DM_OK)
        return status;
    const dm_source_tensor *t = &s->tensors[index];
    if (t->st)
        return dm_st_read_f32(s->st, t->st, out, err);
    const dm_tensor *shape = &s->layout.tensors[index];
    const bool column = t->heads && shape->dims == 1; /* a bias of q or k */
    const size_t rows = column ? shape->cols : shape->rows, cols = column ? 1 : shape->cols;
    dm_input_part_begin(&part, file_of(s, t), t->offset, rows * dm_dtype_bytes(t->type, cols));
    for (size_t r = 0; r < rows; r++) {
        float *to = out + row_of(t, rows, r) * cols;
        for (size_t at = 0, n; at < cols; at += n) {
            const unsigned char *stored;
            n = cols - at < PIECE ? cols - at : PIECE;
            if ((status = dm_input_part_next(&part, (size_t)dm_dtype_bytes(t->type, n), &stored, err)) != DM_OK)
                return status;
            widen(s, t->type, stored, n, to + at);
            for (size_t i = at; i < at + n; i++)
                if (!isfinite(to[i]))
                    return fail_nonfinite(s, name, row_of(t, rows, r), i, (double)to[i], err);
        }
    }
    for (size_t i = 0; t->shift < 0 && i < rows * cols; i++)
        out[i] += t->shift;
    return DM_OK;
}

/* Where a block's f16 scales are. */
static size_t scales_of(dm_dtype type, size_t at[2])
{
    at[0] = type == DM_Q6_K ? 208 : type == DM_Q3_K ? 108 : type == DM_Q2_K ? 80 : 0;
    at[1] = at[0] + 2;
    return type == DM_Q4_1 || type == DM_Q5_1 || type == DM_Q4_K || type == DM_Q5_K || type == DM_Q2_K ? 2 : 1;
}

/* The first number (or block's scale) of a stored row that is not finite, or cols; *bad: which. */
static size_t find_nonfinite(dm_dtype type, const unsigned char *row, size_t cols, double *bad)
{
    const size_t block = dm_dtype_block(type), size = dm_dtype_size(type);
    size_t at[2] = {0, 0};
    const size_t n = type < DM_DTYPE_PLAIN ? 1 : scales_of(type, at);

    for (size_t i = 0; i < cols; i += block, row += size)
        for (size_t k = 0; k < n; k++) {
            const float x = type == DM_F32    ? dm_f32_from_bits(load32(row))
                            : type == DM_BF16 ? dm_bf16_to_float(load16(row))
                                              : dm_f16_to_float(load16(row + at[k]));
            if (!isfinite(x)) {
                *bad = (double)x;
                return i;
            }
        }
    return cols;
}

dm_status dm_source_read_stored(const dm_source *s, const char *name, void *out, dm_error *err)
{
    size_t index;
    dm_input_part part;
    dm_status status = get(s, name, &index, err);

    if (status != DM_OK)
        return status;
    const dm_source_tensor *t = &s->tensors[index];
    if (t->type != DM_F32 && t->type != DM_F16 && t->type != DM_BF16 && t->type < DM_DTYPE_PLAIN)
        return dm_fail(err, DM_ERR_UNSUPPORTED, "%s: tensor \"%s\": type %s is not kept as it is stored", s->path, name,
                       dm_dtype_name(t->type));
    const size_t rows = s->layout.tensors[index].rows, cols = s->layout.tensors[index].cols;
    const size_t bytes = (size_t)dm_dtype_bytes(t->type, cols);
    if (t->st && (status = dm_st_read_stored(s->st, t->st, out, err)) != DM_OK)
        return status;
    dm_input_part_begin(&part, file_of(s, t), t->offset, rows * bytes);
    for (size_t r = 0; r < rows; r++) {
        unsigned char *to = (unsigned char *)out + row_of(t, rows, r) * bytes;
        for (size_t at = 0, n; !t->st && at < bytes; at += n) {
            const unsigned char *stored;
            n = bytes - at < sizeof part.bytes ? bytes - at : sizeof part.bytes;
            if ((status = dm_input_part_next(&part, n, &stored, err)) != DM_OK)
                return status;
            memcpy(to + at, stored, n);
        }
        double bad;
        const size_t i = find_nonfinite(t->type, to, cols, &bad);
        if (i < cols)
            return fail_nonfinite(s, name, row_of(t, rows, r), i, bad, err);
    }
    return DM_OK;
}

/* ---- what is beside the weights ---- */

dm_status dm_source_base_sha256(const dm_source *s, char hex[DM_SHA256_HEX], dm_error *err)
{
    return s->kind == DM_SOURCE_HF ? dm_hf_directory_sha256(s->path, hex, err)
           : s->gguf               ? dm_gguf_sha256(s->gguf, hex, err)
                                   : dm_file_sha256(s->path, hex, err);
}

dm_status dm_source_sha256(const dm_source *s, char hex[DM_SHA256_HEX], dm_error *err)
{
    dm_status status = dm_source_base_sha256(s, hex, err);
    return status == DM_OK && s->adapter ? dm_adapter_sha256(s->adapter, hex, err) : status;
}
