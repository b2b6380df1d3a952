#include "model/network/ops.h"

#include <string.h>

/* One context for all tasks: the fields a task does not use stay zero. */
typedef struct op {
    const dm_kernels *k;
    float *y, *z;
    const float *x, *w, *u, *inv;
    uint16_t *halves;
    const uint16_t *stored;
    const int32_t *ids;
    const uint32_t *position;
    size_t rows, n, heads;
    float eps; /* or a factor */
    int flag;
} op;

static void run(const dm_engine *e, dm_task_fn fn, op *o)
{
    const size_t each = o->n * (o->heads ? o->heads : 1);

    o->k = &e->k;
    dm_pool_run_sized(e->pool, o->rows ? o->rows * each : each, fn, o);
}

static void gather(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->rows, 1, part, parts);
    for (size_t t = r.begin; t < r.end; t++)
        memcpy(o->y + t * o->n, o->x + (size_t)o->ids[t] * o->n, o->n * sizeof(float));
}

void dm_op_gather(const dm_engine *e, float *x, const float *table, const int32_t *ids, size_t rows, size_t n)
{
    run(e, gather, &(op){.y = x, .x = table, .ids = ids, .rows = rows, .n = n});
}

static void scatter_add(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 16, part, parts); /* columns: rows may repeat an id */
    for (size_t t = 0; t < o->rows; t++)
        o->k->add(o->y + (size_t)o->ids[t] * o->n + r.begin, o->x + t * o->n + r.begin, r.end - r.begin);
}

void dm_op_scatter_add(const dm_engine *e, float *dtable, const float *dx, const int32_t *ids, size_t rows, size_t n)
{
    run(e, scatter_add, &(op){.y = dtable, .x = dx, .ids = ids, .rows = rows, .n = n});
}

static void rmsnorm(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->rows, 1, part, parts);
    for (size_t t = r.begin; t < r.end; t++) {
        const float inv = o->k->rmsnorm(o->y + t * o->n, o->x + t * o->n, o->w, o->n, o->eps);
        if (o->z)
            o->z[t] = inv;
    }
}

void dm_op_rmsnorm(const dm_engine *e, float *y, float *inv, const float *x, const float *w, size_t rows, size_t n,
                   float eps)
{
    run(e, rmsnorm, &(op){.y = y, .z = inv, .x = x, .w = w, .rows = rows, .n = n, .eps = eps});
}

static void rmsnorm_dw(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range c = dm_range_split(o->n, 16, part, parts);
    o->k->rmsnorm_dw(o->z + c.begin, o->u + c.begin, o->x + c.begin, o->inv, o->rows, o->n, c.end - c.begin);
}

static void rmsnorm_dx(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->rows, 1, part, parts);
    for (size_t t = r.begin; t < r.end; t++)
        o->k->rmsnorm_dx(o->y + t * o->n, o->u + t * o->n, o->x + t * o->n, o->w, o->inv[t], o->n, o->flag);
}

void dm_op_rmsnorm_backward(const dm_engine *e, float *dx, float *dw, const float *dy, const float *x, const float *w,
                            const float *inv, size_t rows, size_t n, bool add)
{
    op o = {.y = dx, .z = dw, .u = dy, .x = x, .w = w, .inv = inv, .rows = rows, .n = n, .flag = add};
    if (dw)
        run(e, rmsnorm_dw, &o); /* first: dx may be dy */
    run(e, rmsnorm_dx, &o);
}

static void bias(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->rows, 1, part, parts);
    for (size_t t = r.begin; t < r.end; t++)
        o->k->add(o->y + t * o->n, o->x, o->n);
}

void dm_op_bias(const dm_engine *e, float *y, const float *b, size_t rows, size_t n)
{
    run(e, bias, &(op){.y = y, .x = b, .rows = rows, .n = n});
}

static void bias_backward(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range c = dm_range_split(o->n, 16, part, parts);
    o->k->column_sum(o->y + c.begin, o->x + c.begin, o->rows, o->n, c.end - c.begin);
}

void dm_op_bias_backward(const dm_engine *e, float *db, const float *dy, size_t rows, size_t n)
{
    run(e, bias_backward, &(op){.y = db, .x = dy, .rows = rows, .n = n});
}

static void rope(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->rows, 1, part, parts);
    for (size_t t = r.begin; t < r.end; t++) {
        const size_t at = o->position[t] * (o->n / 2);
        for (size_t h = 0; h < o->heads; h++)
            o->k->rope(o->y + (t * o->heads + h) * o->n, o->x + at, o->w + at, o->n, o->flag);
    }
}

void dm_op_rope(const dm_engine *e, float *x, const float *cos, const float *sin, const uint32_t *position, size_t rows,
                size_t heads, size_t head_dim, bool inverse)
{
    run(e, rope,
        &(op){.y = x,
              .x = cos,
              .w = sin,
              .position = position,
              .rows = rows,
              .heads = heads,
              .n = head_dim,
              .flag = inverse});
}

static void to_bf16(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    o->k->to_bf16(o->halves + r.begin, o->x + r.begin, r.end - r.begin);
}

void dm_op_to_bf16(const dm_engine *e, uint16_t *y, const float *x, size_t n)
{
    run(e, to_bf16, &(op){.halves = y, .x = x, .n = n});
}

static void from_bf16(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    o->k->from_bf16(o->y + r.begin, o->stored + r.begin, r.end - r.begin);
}

void dm_op_from_bf16(const dm_engine *e, float *y, const uint16_t *x, size_t n)
{
    run(e, from_bf16, &(op){.y = y, .stored = x, .n = n});
}

static void zero(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    memset(o->y + r.begin, 0, (r.end - r.begin) * sizeof(float));
}

void dm_op_zero(const dm_engine *e, float *y, size_t n)
{
    run(e, zero, &(op){.y = y, .n = n});
}

static void add(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    o->k->add(o->y + r.begin, o->x + r.begin, r.end - r.begin);
}

void dm_op_add(const dm_engine *e, float *y, const float *x, size_t n)
{
    run(e, add, &(op){.y = y, .x = x, .n = n});
}

static void scale(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    o->k->scale(o->y + r.begin, o->eps, r.end - r.begin);
}

void dm_op_scale(const dm_engine *e, float *y, float a, size_t n)
{
    run(e, scale, &(op){.y = y, .eps = a, .n = n});
}

static void glu(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    (o->flag ? o->k->geglu : o->k->swiglu)(o->y + r.begin, o->x + r.begin, o->u + r.begin, r.end - r.begin);
}

void dm_op_glu(const dm_engine *e, bool geglu, float *h, const float *gate, const float *up, size_t n)
{
    run(e, glu, &(op){.y = h, .x = gate, .u = up, .n = n, .flag = geglu});
}

static void glu_backward(void *ctx, unsigned part, unsigned parts)
{
    const op *o = ctx;
    const dm_range r = dm_range_split(o->n, 1024, part, parts);
    float *gate = o->y + r.begin, *up = o->z + r.begin;
    (o->flag ? o->k->geglu_backward : o->k->swiglu_backward)(gate, up, o->x + r.begin, gate, up, r.end - r.begin);
}

void dm_op_glu_backward(const dm_engine *e, bool geglu, float *gate, float *up, const float *dh, size_t n)
{
    run(e, glu_backward, &(op){.y = gate, .z = up, .x = dh, .n = n, .flag = geglu});
}
