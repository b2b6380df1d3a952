/* Products with weights: forward, data gradient, weight gradient; adapters; the embedding. */
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/truth/formula_internal.h"

/* x times a column of a square matrix: a mistake. */
static dm_total column_dot(const double *x, const double *w, size_t n)
{
    dm_total y = {0, 0};

    for (size_t i = 0; i < n; i++) {
        y.value += x[i] * w[i * n];
        y.size += fabs(x[i] * w[i * n]);
    }
    return y;
}

void dm_compute_linear(const dm_evaluation *e, size_t begin, size_t end)
{
    const double *x = e->in[0], *w = e->in[1], *bias = e->op->n_in > 2 ? e->in[2] : NULL;
    const double *us = e->op->n_in > 3 ? e->in[3] : NULL, *b = e->op->n_in > 3 ? e->in[4] : NULL;
    const size_t k = dm_eval_in(e, 0)->cols, n = dm_eval_out(e, 0)->cols, r = us ? dm_eval_in(e, 3)->cols : 0;

    const int wrong = (int)dm_knob_of(e, DM_KNOB_WEIGHT);

    for (size_t j = 0; j < n; j++) /* a row of W is read once, the rows of x stay in the cache */
        for (size_t t = begin; t < end; t++) {
            dm_both scaled = {0, 0};
            dm_total y = wrong == 1 && n == k ? column_dot(x + t * k, w + j, k) : dm_dot(x + t * k, w + j * k, k);
            if (bias && wrong != 2) {
                y.value += bias[j];
                y.size += fabs(bias[j]);
            }
            if (us && wrong != 3) {
                const dm_total low = dm_dot(us + t * r, b + j * r, r);
                y.value += low.value;
                y.size += low.size;
                /* as scale (x A^T B^T): its product with B and that with the scale are stored, too */
                scaled.sound = scaled.likely = 2 * e->r.out * low.size;
            }
            /* the product, and the sum with the bias when an adapter's follows */
            dm_put(e, 0, t * n + j, y, (double)(k + r + 1), 2, (bias != NULL) + (us != NULL), scaled);
        }
}

/* y = scale * x A^T */
static void scaled(const dm_evaluation *e, size_t begin, size_t end, bool transposed)
{
    const size_t k = dm_eval_in(e, 0)->cols, r = dm_eval_out(e, 0)->cols;
    const double scale = dm_scale_of(e);
    double *column = dm_eval_scratch(e, k);

    for (size_t j = 0; j < r && column; j++) {
        const double *a = e->in[1] + j * k;
        if (transposed) { /* B [k, r] */
            for (size_t i = 0; i < k; i++)
                column[i] = e->in[1][i * r + j];
            a = column;
        }
        for (size_t t = begin; t < end; t++) {
            dm_total y = dm_dot(e->in[0] + t * k, a, k);
            y.value *= scale;
            y.size *= fabs(scale);
            /* the product is stored before it is scaled */
            const double lost = fabs(scale) * e->r.least;
            dm_put(e, 0, t * r + j, y, (double)(k + 2), 2, 1, (dm_both){lost, lost});
        }
    }
    free(column);
}

void dm_compute_lora_down(const dm_evaluation *e, size_t begin, size_t end)
{
    scaled(e, begin, end, false);
}

void dm_compute_lora_dus(const dm_evaluation *e, size_t begin, size_t end)
{
    scaled(e, begin, end, true);
}

/* What rows [begin, end) of an output hold, from s and a of one row at a time. */
static void put_row(const dm_evaluation *e, size_t row, const double *s, const double *a, size_t n, double terms,
                    double stages)
{
    for (size_t i = 0; i < n; i++)
        dm_put(e, 0, row * n + i, (dm_total){s[i], a[i]}, terms, 2, stages, dm_nothing_more);
}

#define DX_ROWS ((size_t)16) /* rows that share each reading of W */

void dm_compute_linear_dx(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t k = dm_eval_out(e, 0)->cols;
    double *s = dm_eval_scratch(e, DX_ROWS * k), *a = dm_eval_scratch(e, DX_ROWS * k);

    for (size_t first = begin; first < end && s && a; first += DX_ROWS) {
        const size_t rows = end - first < DX_ROWS ? end - first : DX_ROWS;
        double terms = 0;
        memset(s, 0, DX_ROWS * k * sizeof *s);
        memset(a, 0, DX_ROWS * k * sizeof *a);
        for (size_t p = 0; p + 1 < e->op->n_in; p += 2) {
            const size_t n = dm_eval_in(e, p)->cols;
            if (dm_knob_of(e, DM_KNOB_INPUT) == (double)(p / 2 + 1))
                continue;
            terms += (double)n;
            for (size_t j = 0; j < n; j++)
                for (size_t t = 0; t < rows; t++)
                    if (dm_knob_of(e, DM_KNOB_WEIGHT) > 0 && n == k) {
                        const dm_total y = dm_dot(e->in[p] + (first + t) * n, e->in[p + 1] + j * k, k);
                        s[t * k + j] += y.value;
                        a[t * k + j] += y.size;
                    } else {
                        dm_axpy(s + t * k, a + t * k, e->in[p][(first + t) * n + j], e->in[p + 1] + j * k, k);
                    }
        }
        for (size_t t = 0; t < rows; t++)
            put_row(e, first + t, s + t * k, a + t * k, k, terms, (double)(e->op->n_in / 2 - 1));
    }
    free(s);
    free(a);
}

void dm_compute_linear_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t k = dm_eval_out(e, 0)->cols, n = dm_eval_out(e, 0)->rows;
    const bool transposed = dm_knob_of(e, DM_KNOB_WEIGHT) > 0 && n == k;
    double *s = dm_eval_scratch(e, k), *a = dm_eval_scratch(e, k);

    for (size_t j = begin; j < end && s && a; j++) {
        double terms = 0;
        memset(s, 0, k * sizeof *s);
        memset(a, 0, k * sizeof *a);
        for (size_t p = dm_first_item(e, 2); p + 1 < e->op->n_in; p += 2) {
            const size_t rows = dm_eval_in(e, p)->rows;
            terms += (double)rows;
            for (size_t t = 0; t < rows && !transposed; t++)
                dm_axpy(s, a, e->in[p][t * n + j], e->in[p + 1] + t * k, k);
            for (size_t t = 0; t < rows && transposed; t++)
                dm_axpy(s, a, e->in[p + 1][t * k + j], e->in[p] + t * n, n);
        }
        put_row(e, j, s, a, k, terms, (double)(e->op->n_in / 2 - 1));
    }
    free(s);
    free(a);
}

void dm_compute_bias_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t n = dm_eval_out(e, 0)->cols;

    (void)begin;
    (void)end;
    for (size_t j = 0; j < n; j++) {
        dm_total y = {0, 0};
        double terms = 0;
        for (size_t p = dm_first_item(e, 1); p < e->op->n_in; p++) {
            const size_t rows = dm_eval_in(e, p)->rows;
            terms += (double)rows;
            for (size_t t = 0; t < rows; t++) {
                y.value += e->in[p][t * n + j];
                y.size += fabs(e->in[p][t * n + j]);
            }
        }
        dm_put(e, 0, j, y, terms, 0, (double)(e->op->n_in - 1), dm_nothing_more);
    }
}

void dm_compute_embed(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_pack *p = &dm_eval_item(e)->pack;
    const size_t d = dm_eval_out(e, 0)->cols;
    const double scale = dm_scale_of(e);

    for (size_t t = begin; t < end; t++)
        for (size_t i = 0; i < d; i++) {
            const double y = scale * e->in[0][(size_t)p->ids[t] * d + i];
            if (scale == 1)
                dm_put_exact(e, 0, t * d + i, y);
            else
                dm_put(e, 0, t * d + i, (dm_total){y, fabs(y)}, 1, 0, 1, dm_nothing_more); /* the scale is stored */
        }
}

/* A row of the table: the gradients of its tokens, and of the head when that is the same table. */
void dm_compute_embed_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t d = dm_eval_out(e, 0)->cols, vocab = dm_eval_out(e, 0)->rows, items = e->g->o.n_items;
    const double scale = dm_scale_of(e);
    const int without = (int)dm_knob_of(e, DM_KNOB_INPUT);
    double *s = dm_eval_scratch(e, d), *a = dm_eval_scratch(e, d);

    for (size_t j = begin; j < end && s && a; j++) {
        double terms = 0, tokens = 0;
        memset(s, 0, d * sizeof *s);
        memset(a, 0, d * sizeof *a);
        for (size_t k = dm_first_item(e, 1); k < items && without != 2; k++) {
            const dm_pack *p = &e->g->items[k].pack;
            terms += (double)p->rows;
            size_t n = 0, seen = 0;
            for (size_t t = 0; t < p->rows; t++)
                n += (size_t)p->ids[t] == j;
            for (size_t t = 0; t < p->rows; t++) {
                if ((size_t)p->ids[t] != j || (without == 3 && ++seen < n))
                    continue;
                dm_axpy(s, a, scale / (without == 4 ? (double)n : 1), e->in[k] + t * d, d);
                tokens += scale == 1 ? 1 : 2;
            }
        }
        for (size_t k = dm_first_item(e, 1); k < items && e->op->tied && without != 1; k++) {
            const double *dy = e->in[items + 2 * k], *x = e->in[items + 2 * k + 1];
            const size_t rows = dm_eval_in(e, items + 2 * k)->rows;
            terms += (double)rows;
            for (size_t t = 0; t < rows; t++)
                dm_axpy(s, a, dy[t * vocab + j], x + t * d, d);
        }
        /* shares are stored and added one after the other, the tokens' even row by row */
        put_row(e, j, s, a, d, terms, tokens + (double)items * (e->op->tied ? 2 : 1));
    }
    free(s);
    free(a);
}
