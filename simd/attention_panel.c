#include "simd/attention_internal.h"

#define COLUMNS 16 /* that softmax takes at a time */

void dm_attention_panel_scores(const dm_gemm_kernel *g, const float *x, const float *keys, size_t head_dim,
                               dm_range rows, float *panel)
{
    for (size_t j = 0; j < rows.end; j += g->mr)
        g->micro(dm_min(g->mr, rows.end - j), g->nr, head_dim, keys + j * head_dim, x, panel + j * g->nr, g->nr, 1);
}

void dm_attention_panel_softmax(const dm_kernels *k, dm_range rows, float *panel, float scale)
{
    const size_t nr = k->gemm.nr, n = rows.end - rows.begin;

    for (size_t c = 0; c < n; c += COLUMNS) {
        const size_t lanes = dm_min(COLUMNS, n - c), full = rows.begin + c + 1;
        k->softmax_columns(panel + c, nr, lanes, full, full + lanes - 1, scale);
    }
}

void dm_attention_panel_softmax_backward(const dm_kernels *k, dm_range rows, float *ds, const float *p, float scale)
{
    const size_t nr = k->gemm.nr, n = rows.end - rows.begin;

    for (size_t c = 0; c < n; c += COLUMNS) {
        const size_t lanes = dm_min(COLUMNS, n - c), full = rows.begin + c + 1;
        k->softmax_columns_backward(ds + c, p + c, nr, lanes, full, full + lanes - 1, scale);
    }
}

/* All rows see the keys before the first row; of the others each sees those up to its own. */
void dm_attention_panel_sums(const dm_kernels *k, const dm_attention_sequence *s, const float *panel, const float *keys,
                             size_t head_dim, dm_range rows, float *sums, float *out, size_t ldo)
{
    const size_t mr = k->gemm.mr, nr = k->gemm.nr, n = rows.end - rows.begin, before = rows.begin;

    for (size_t c = 0; c < head_dim; c += mr) {
        const size_t m = dm_min(mr, head_dim - c);
        const float *a = keys + c * s->length;
        if (before > 0)
            k->gemm.micro(m, nr, before, a, panel, sums, nr, 1);
        k->lanes(m, n, a + before * mr, panel + before * nr, sums, nr, before == 0);
        for (size_t i = 0; i < n; i++)
            for (size_t l = 0; l < m; l++)
                out[i * ldo + c + l] = sums[l * nr + i];
    }
}
