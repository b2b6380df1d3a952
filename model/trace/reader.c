#include "model/trace/reader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/numbers/half.h"

const dm_st_tensor *dm_trace_find(const dm_st *st, int64_t step, const char *name)
{
    char full[320];

    snprintf(full, sizeof full, "step.%lld/%s", (long long)step, name);
    const dm_st_tensor *t = dm_st_find(st, full);
    return t ? t : dm_st_find(st, name);
}

/* The i-th stored number. A type is known where this is called, so that each has its own loop. */
static inline double number_at(const char *stored, dm_dtype type, size_t i)
{
    float f;
    uint16_t h;

    if (type == DM_F32) {
        memcpy(&f, stored + i * sizeof f, sizeof f);
        return (double)f;
    }
    memcpy(&h, stored + i * sizeof h, sizeof h);
    return (double)(type == DM_BF16 ? dm_bf16_to_float(h) : dm_f16_to_float(h));
}

static uint64_t widen(double *out, const char *stored, dm_dtype type, size_t n)
{
    uint64_t wrong = 0;

    for (size_t i = 0; i < n; i++) {
        out[i] = number_at(stored, type, i);
        wrong += !isfinite(out[i]);
    }
    return wrong;
}

dm_status dm_trace_values(const dm_st *st, const dm_st_tensor *t, double *out, uint64_t *wrong, dm_error *err)
{
    const size_t n = (size_t)t->count;

    *wrong = 0;
    if (t->type != DM_F32 && t->type != DM_F64 && t->type != DM_BF16 && t->type != DM_F16)
        return dm_st_read_f64(st, t, out, err);
    /* stored values lie at the end of `out` and are widened from its begin: each is read before it is overwritten */
    char *stored = (char *)out + n * (sizeof *out - dm_dtype_size(t->type));
    const dm_status s = dm_st_read_stored(st, t, stored, err);
    if (s != DM_OK)
        return s;
    switch (t->type) {
    case DM_F32:
        *wrong = widen(out, stored, DM_F32, n);
        break;
    case DM_BF16:
        *wrong = widen(out, stored, DM_BF16, n);
        break;
    case DM_F16:
        *wrong = widen(out, stored, DM_F16, n);
        break;
    default:
        for (size_t i = 0; i < n; i++)
            *wrong += !isfinite(out[i]);
        break;
    }
    return DM_OK;
}
