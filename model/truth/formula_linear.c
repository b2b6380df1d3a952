/* Products with weights: forward, data gradient, weight gradient; adapters; the embedding. */
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/truth/formula_internal.h"
#include "model/truth/product.h"
#include "model/truth/proof.h"

static dm_double_matrix rows_of(const double *x, size_t cols)
{
    return (dm_double_matrix){x, cols, 1};
}

static dm_double_matrix columns_of(const double *x, size_t cols)
{
    return (dm_double_matrix){x, 1, cols};
}

/* Where rows [begin, end) of the first output's sums go, zeroed; magnitudes only where bounds are wanted. */
static double *sums(const dm_evaluation *e, double *const *list, size_t begin, size_t end)
{
    const size_t n = dm_eval_out(e, 0)->cols;

    if (!list)
        return NULL;
    memset(list[0] + begin * n, 0, (end - begin) * n * sizeof(double));
    return list[0] + begin * n;
}

void dm_compute_linear(const dm_evaluation *e, size_t begin, size_t end)
{
    const double *x = e->in[0], *w = e->in[1], *bias = e->op->n_in > 2 ? e->in[2] : NULL;
    const double *us = e->op->n_in > 3 ? e->in[3] : NULL, *b = e->op->n_in > 3 ? e->in[4] : NULL;
    const size_t k = dm_eval_in(e, 0)->cols, n = dm_eval_out(e, 0)->cols, r = us ? dm_eval_in(e, 3)->cols : 0;
    const int wrong = (int)dm_knob_of(e, DM_KNOB_WEIGHT);
    double *value = sums(e, e->out, begin, end), *size = sums(e, e->size, begin, end);
    /* the product, and the sum with the bias when an adapter's follows */
    const dm_terms terms = dm_terms_of(e, (double)(k + r + 1), 2, (bias != NULL) + (us != NULL));

    if (!dm_product(e, value, size, end - begin, n, k, rows_of(x + begin * k, k),
                    wrong == 1 && n == k ? rows_of(w, k) : columns_of(w, k)))
        return;
    for (size_t t = begin; t < end; t++)
        for (size_t j = 0; j < n; j++) {
            dm_total y = {e->out[0][t * n + j], e->size ? e->size[0][t * n + j] : 0};
            dm_both scaled = {0, 0};
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
            dm_put_terms(e, 0, t * n + j, y, &terms, scaled);
        }
}

/* y = scale * x A^T */
static void scaled(const dm_evaluation *e, size_t begin, size_t end, bool transposed)
{
    const size_t k = dm_eval_in(e, 0)->cols, r = dm_eval_out(e, 0)->cols;
    const double scale = dm_scale_of(e);
    double *column = dm_eval_scratch(e, k);
    const dm_terms terms = dm_terms_of(e, (double)(k + 2), 2, 1);

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
            dm_put_terms(e, 0, t * r + j, y, &terms, (dm_both){lost, lost});
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

/* Bounds of rows [begin, end) of the first output, whose values and magnitudes are there. */
static void put_rows(const dm_evaluation *e, size_t begin, size_t end, double terms, double stages)
{
    const size_t n = dm_eval_out(e, 0)->cols;
    const dm_terms t = dm_terms_of(e, terms, 2, stages);

    for (size_t i = begin * n; i < end * n && e->sound; i++)
        dm_put_terms(e, 0, i, (dm_total){e->out[0][i], e->size[0][i]}, &t, dm_nothing_more);
}

/* Shares are stored and added one after the other. */
void dm_compute_linear_dx(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t k = dm_eval_out(e, 0)->cols;
    double *value = sums(e, e->out, begin, end), *size = sums(e, e->size, begin, end), terms = 0;

    for (size_t p = 0; p + 1 < e->op->n_in; p += 2) {
        const size_t n = dm_eval_in(e, p)->cols;
        const bool transposed = dm_knob_of(e, DM_KNOB_WEIGHT) > 0 && n == k;
        if (dm_knob_of(e, DM_KNOB_INPUT) == (double)(p / 2 + 1))
            continue;
        terms += (double)n;
        if (!dm_product(e, value, size, end - begin, k, n, rows_of(e->in[p] + begin * n, n),
                        transposed ? columns_of(e->in[p + 1], k) : rows_of(e->in[p + 1], k)))
            return;
    }
    put_rows(e, begin, end, terms, (double)(e->op->n_in / 2 - 1));
}

void dm_compute_linear_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t k = dm_eval_out(e, 0)->cols, n = dm_eval_out(e, 0)->rows;
    const bool transposed = dm_knob_of(e, DM_KNOB_WEIGHT) > 0 && n == k;
    double *value = sums(e, e->out, begin, end), *size = sums(e, e->size, begin, end), terms = 0;

    for (size_t p = dm_first_item(e, 2); p + 1 < e->op->n_in; p += 2) {
        const size_t all = dm_eval_in(e, p)->rows, skip = dm_knob_of(e, DM_KNOB_INPUT) == 5 && all ? 1 : 0;
        const double *dy = e->in[p + transposed] + skip * n, *x = e->in[p + !transposed] + skip * k;
        const size_t rows = all - skip;
        terms += (double)rows;
        if (!dm_product(e, value, size, end - begin, k, rows, columns_of(dy + begin, n), rows_of(x, k)))
            return;
    }
    put_rows(e, begin, end, terms, (double)(e->op->n_in / 2 - 1));
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

/* Adds the gradients of token j to columns [first, first + count) of row j; returns how many results on the way may be
 * stored. */
static double add_tokens(const dm_evaluation *e, size_t j, size_t first, size_t count, double *value, double *size)
{
    const size_t d = dm_eval_out(e, 0)->cols;
    const double scale = dm_scale_of(e);
    const int without = (int)dm_knob_of(e, DM_KNOB_INPUT);
    double stages = 0;

    for (size_t k = dm_first_item(e, 1); k < e->g->o.n_items && without != 2; k++) {
        const dm_pack *p = &e->g->items[k].pack;
        size_t n = 0, seen = 0;
        for (size_t t = 0; t < p->rows; t++)
            n += (size_t)p->ids[t] == j;
        for (size_t t = 0; t < p->rows && seen < n; t++) {
            if ((size_t)p->ids[t] != j || (++seen < n && without == 3))
                continue;
            for (size_t i = 0; i < count; i++) {
                const double y = scale / (without == 4 ? (double)n : 1) * e->in[k][t * d + first + i];
                value[i] += y;
                if (size)
                    size[i] += fabs(y);
            }
            stages += scale == 1 ? 1 : 2;
        }
    }
    return stages;
}

static double embed_terms(const dm_evaluation *e)
{
    const size_t items = e->g->o.n_items;
    double terms = 0;

    for (size_t k = 0; k < items; k++)
        terms += (double)e->g->items[k].pack.rows;
    for (size_t k = dm_first_item(e, 1); k < items && e->op->tied && dm_knob_of(e, DM_KNOB_INPUT) != 1; k++)
        terms += (double)dm_eval_in(e, items + 2 * k)->rows;
    return terms;
}

static double embed_stages(const dm_evaluation *e)
{
    return (double)e->g->o.n_items * (e->op->tied ? 2 : 1);
}

/* A row of the table: the gradients of its tokens, and of the head when that is the same table. Shares are stored and
 * added one after the other, the tokens' even row by row. */
void dm_compute_embed_dw(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t d = dm_eval_out(e, 0)->cols, vocab = dm_eval_out(e, 0)->rows, items = e->g->o.n_items;
    double *value = sums(e, e->out, begin, end), *size = sums(e, e->size, begin, end);
    const double terms = embed_terms(e);

    for (size_t k = dm_first_item(e, 1); k < items && e->op->tied && dm_knob_of(e, DM_KNOB_INPUT) != 1; k++) {
        const size_t at = items + 2 * k, rows = dm_eval_in(e, at)->rows;
        if (!dm_product(e, value, size, end - begin, d, rows, columns_of(e->in[at] + begin, vocab),
                        rows_of(e->in[at + 1], d)))
            return;
    }
    for (size_t j = begin; j < end; j++) {
        const double stages = add_tokens(e, j, 0, d, e->out[0] + j * d, e->size ? e->size[0] + j * d : NULL);
        put_rows(e, j, j + 1, terms, stages + embed_stages(e));
    }
}

/* ---- the same as a list of products (model/truth/proof.h) ---- */

bool dm_factor_of(const dm_evaluation *e, size_t f, dm_factor *out)
{
    const size_t n = dm_eval_out(e, 0)->cols, rows = dm_eval_out(e, 0)->rows, items = e->g->o.n_items;
    const size_t at = items + 2 * f;
    size_t k;

    switch (e->op->formula) { /* others may have no first input */
    case DM_FORMULA_LINEAR:
        k = dm_eval_in(e, 0)->cols;
        *out = (dm_factor){e->in[0], e->in[1], k, 1, 1, k, k};
        return f == 0 && (e->op->n_in <= 3 || !e->in[3]); /* an adapter's product has another bound */
    case DM_FORMULA_LINEAR_DX:
        if (2 * f + 1 >= e->op->n_in)
            return false;
        *out = (dm_factor){
            e->in[2 * f], e->in[2 * f + 1], dm_eval_in(e, 2 * f)->cols, 1, n, 1, dm_eval_in(e, 2 * f)->cols};
        return true;
    case DM_FORMULA_LINEAR_DW:
        if (2 * f + 1 >= e->op->n_in)
            return false;
        *out = (dm_factor){e->in[2 * f], e->in[2 * f + 1], 1, rows, n, 1, dm_eval_in(e, 2 * f)->rows};
        return true;
    case DM_FORMULA_EMBED_DW:
        if (!e->op->tied || f >= items)
            return false;
        *out = (dm_factor){e->in[at], e->in[at + 1], 1, rows, n, 1, dm_eval_in(e, at)->rows};
        return true;
    default:
        return false;
    }
}

void dm_factor_terms(const dm_evaluation *e, double *terms, double *stages)
{
    dm_factor f;

    *terms = e->op->formula == DM_FORMULA_LINEAR ? 1 : 0;
    for (size_t i = 0; dm_factor_of(e, i, &f); i++)
        *terms += (double)f.k;
    *stages = e->op->formula == DM_FORMULA_LINEAR ? e->op->n_in > 2 && e->in[2] : (double)(e->op->n_in / 2 - 1);
    if (e->op->formula == DM_FORMULA_EMBED_DW) {
        *terms = embed_terms(e);
        *stages = embed_stages(e);
    }
}

double dm_factor_more(const dm_evaluation *e, size_t row, size_t first, size_t count, double *more, double *size)
{
    const double *bias = e->op->formula == DM_FORMULA_LINEAR && e->op->n_in > 2 ? e->in[2] : NULL;

    for (size_t j = 0; j < count; j++) {
        more[j] = bias ? bias[first + j] : 0;
        size[j] = fabs(more[j]);
    }
    return e->op->formula == DM_FORMULA_EMBED_DW ? add_tokens(e, row, first, count, more, size) : 0;
}
