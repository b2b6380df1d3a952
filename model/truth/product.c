#include "model/truth/product.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simd/kernels/kernels.h"

#define ROWS DM_DOUBLE_ROWS
#define COLUMNS DM_DOUBLE_COLUMNS
#define DEPTH ((size_t)256)      /* of a block: a panel of b stays in the first cache */
#define BLOCK_ROWS ((size_t)256) /* of a block of a: it stays in the second */
#define GROUP ((size_t)8)        /* of terms that share a bound */

/* Elements [first, first + count) along p of line i, to out[0], out[width], ... */
static void put_line(const dm_double_matrix *m, size_t i, size_t first, size_t count, size_t width, double *out)
{
    const double *x = m->x + i * m->row + first * m->column;

    for (size_t p = 0; p < count; p++)
        out[p * width] = x[p * m->column];
}

/* The same of norms of GROUP elements each, of the k that there are. */
static void put_norms(const dm_double_matrix *m, size_t i, size_t first, size_t count, size_t k, size_t width,
                      double *out)
{
    for (size_t p = 0; p < count; p++) {
        const size_t begin = (first + p) * GROUP, end = begin + GROUP < k ? begin + GROUP : k;
        double square = 0;
        for (size_t q = begin; q < end; q++) {
            const double x = m->x[i * m->row + q * m->column];
            square += x * x;
        }
        out[p * width] = sqrt(square);
    }
}

typedef struct packing {
    size_t k; /* the product's own depth */
    bool norms;
} packing;

/* Lines [i, i + width) as a panel: out[p * width + line], 0 beyond the last line. */
static void pack(const packing *how, const dm_double_matrix *m, size_t i, size_t lines, size_t first, size_t count,
                 size_t width, double *out)
{
    if (lines < width)
        memset(out, 0, count * width * sizeof *out);
    if (!how->norms && lines == width && m->row == 1) { /* lines are neighbours */
        for (size_t p = 0; p < count; p++)
            memcpy(out + p * width, m->x + i + (first + p) * m->column, width * sizeof *out);
        return;
    }
    for (size_t l = 0; l < lines; l++)
        if (how->norms)
            put_norms(m, i + l, first, count, how->k, width, out + l);
        else
            put_line(m, i + l, first, count, width, out + l);
}

/* c[i*ldc + j] += what a tile of packed panels gives, rows x cols of it. */
static void tile(const dm_evaluation *e, double *c, size_t ldc, size_t rows, size_t cols, const double *a,
                 const double *b, size_t depth)
{
    double t[ROWS * COLUMNS] = {0};

    for (size_t i = 0; i < rows; i++)
        memcpy(t + i * COLUMNS, c + i * ldc, cols * sizeof *t);
    e->tile(t, a, b, depth);
    for (size_t i = 0; i < rows; i++)
        memcpy(c + i * ldc, t + i * COLUMNS, cols * sizeof *t);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* With right(j, p) = b(p, j). */
static void multiply(const dm_evaluation *e, const packing *how, double *c, size_t m, size_t n,
                     const dm_double_matrix *a, const dm_double_matrix *right, double *panels)
{
    const size_t k = how->norms ? (how->k + GROUP - 1) / GROUP : how->k;
    double *left = panels, *panel = panels + BLOCK_ROWS * DEPTH;

    for (size_t p = 0; p < k; p += DEPTH) {
        const size_t depth = least(DEPTH, k - p);
        for (size_t i = 0; i < m; i += BLOCK_ROWS) {
            const size_t end = least(i + BLOCK_ROWS, m);
            for (size_t r = i; r < end; r += ROWS)
                pack(how, a, r, least(ROWS, end - r), p, depth, ROWS, left + (r - i) * depth);
            for (size_t j = 0; j < n; j += COLUMNS) {
                pack(how, right, j, least(COLUMNS, n - j), p, depth, COLUMNS, panel);
                for (size_t r = i; r < end; r += ROWS)
                    tile(e, c + r * n + j, n, least(ROWS, end - r), least(COLUMNS, n - j), left + (r - i) * depth,
                         panel, depth);
            }
        }
    }
}

bool dm_product(const dm_evaluation *e, double *value, double *size, size_t m, size_t n, size_t k, dm_double_matrix a,
                dm_double_matrix b)
{
    const dm_double_matrix right = {b.x, b.column, b.row};
    double *panels = malloc((BLOCK_ROWS + COLUMNS) * DEPTH * sizeof *panels);

    if (!panels) {
        *e->failed = true;
        return false;
    }
    multiply(e, &(packing){k, false}, value, m, n, &a, &right, panels);
    if (size)
        multiply(e, &(packing){k, true}, size, m, n, &a, &right, panels);
    free(panels);
    return true;
}
