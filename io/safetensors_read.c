/* Tensor data as f32 or f64, converted on the way through a small buffer. */
#include <math.h>
#include <string.h>

#include "core/numbers/half.h"
#include "io/safetensors_internal.h"

enum { CHUNK = 4096 }; /* elements converted at a time */

static uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t load64(const unsigned char *p)
{
    return load32(p) | (uint64_t)load32(p + 4) << 32;
}

static double load_f64(const unsigned char *p)
{
    return dm_f64_from_bits(load64(p));
}

static uint16_t load16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

/* bytes: n elements of `type` as stored, little-endian. */
static void convert_f32(dm_dtype type, const unsigned char *bytes, size_t n, float *out)
{
    switch (type) {
    case DM_F32:
        for (size_t i = 0; i < n; i++)
            out[i] = dm_f32_from_bits(load32(bytes + 4 * i));
        break;
    case DM_F16:
        for (size_t i = 0; i < n; i++)
            out[i] = dm_f16_to_float(load16(bytes + 2 * i));
        break;
    case DM_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = dm_bf16_to_float(load16(bytes + 2 * i));
        break;
    default: /* DM_F64 */
        for (size_t i = 0; i < n; i++)
            out[i] = (float)load_f64(bytes + 8 * i);
        break;
    }
}

static void convert_f64(dm_dtype type, const unsigned char *bytes, size_t n, double *out)
{
    float x;

    for (size_t i = 0; i < n; i++)
        switch (type) {
        case DM_F64:
            out[i] = load_f64(bytes + 8 * i);
            break;
        case DM_I64:
            out[i] = (double)(int64_t)load64(bytes + 8 * i);
            break;
        case DM_I32:
            out[i] = (double)(int32_t)load32(bytes + 4 * i);
            break;
        case DM_U8:
            out[i] = (double)bytes[i];
            break;
        default:
            convert_f32(type, bytes + dm_dtype_size(type) * i, 1, &x);
            out[i] = (double)x;
            break;
        }
}

static dm_status fail_nonfinite(const dm_st *st, const dm_st_tensor *t, uint64_t element, double x, dm_error *err)
{
    return dm_fail(err, DM_ERR_NONFINITE, "%s: tensor \"%.200s\": element %llu of %llu is %s", dm_st_path(st, t),
                   t->name, (unsigned long long)element, (unsigned long long)t->count, isnan(x) ? "NaN" : "infinite");
}

static dm_status fail_type(const dm_st *st, const dm_st_tensor *t, dm_error *err)
{
    return dm_fail(err, DM_ERR_UNSUPPORTED,
                   "%s: tensor \"%.200s\": weights of type %.20s are not read (F32, F16, BF16 and "
                   "F64 are)",
                   dm_st_path(st, t), t->name, t->type_name);
}

dm_status dm_st_read_f32(const dm_st *st, const dm_st_tensor *t, float *out, dm_error *err)
{
    unsigned char bytes[CHUNK * 8];
    const size_t size = dm_dtype_size(t->type);

    if (t->type > DM_F64)
        return fail_type(st, t, err);
    for (uint64_t done = 0; done < t->count;) {
        const size_t n = t->count - done < CHUNK ? (size_t)(t->count - done) : CHUNK;
        const dm_status s = dm_input_read(&st->files[t->file].in, bytes, n * size, t->begin + done * size, err);
        if (s != DM_OK)
            return s;
        convert_f32(t->type, bytes, n, out + done);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(out[done + i]))
                return fail_nonfinite(st, t, done + i, (double)out[done + i], err);
        done += n;
    }
    return DM_OK;
}

dm_status dm_st_read_stored(const dm_st *st, const dm_st_tensor *t, void *out, dm_error *err)
{
    return dm_input_read(&st->files[t->file].in, out, (size_t)(t->end - t->begin), t->begin, err);
}

dm_status dm_st_same(const dm_st *st, const dm_st_tensor *a, const dm_st_tensor *b, bool *same, dm_error *err)
{
    unsigned char x[CHUNK], y[CHUNK];
    const uint64_t size = a->end - a->begin;
    dm_status s;

    *same = strcmp(a->type_name, b->type_name) == 0 && a->dims == b->dims && b->end - b->begin == size &&
            memcmp(a->shape, b->shape, a->dims * sizeof *a->shape) == 0;
    for (uint64_t done = 0; *same && done < size; done += CHUNK) {
        const size_t n = size - done < CHUNK ? (size_t)(size - done) : CHUNK;
        if ((s = dm_input_read(&st->files[a->file].in, x, n, a->begin + done, err)) != DM_OK ||
            (s = dm_input_read(&st->files[b->file].in, y, n, b->begin + done, err)) != DM_OK)
            return s;
        *same = memcmp(x, y, n) == 0;
    }
    return DM_OK;
}

dm_status dm_st_read_f64(const dm_st *st, const dm_st_tensor *t, double *out, dm_error *err)
{
    unsigned char bytes[CHUNK * 8];
    const size_t size = dm_dtype_size(t->type);

    if (t->type >= DM_DTYPE_COUNT)
        return fail_type(st, t, err);
    for (uint64_t done = 0; done < t->count;) {
        const size_t n = t->count - done < CHUNK ? (size_t)(t->count - done) : CHUNK;
        const dm_status s = dm_input_read(&st->files[t->file].in, bytes, n * size, t->begin + done * size, err);
        if (s != DM_OK)
            return s;
        convert_f64(t->type, bytes, n, out + done);
        for (size_t i = 0; i < n; i++)
            if (!isfinite(out[done + i]))
                return fail_nonfinite(st, t, done + i, out[done + i], err);
        done += n;
    }
    return DM_OK;
}
