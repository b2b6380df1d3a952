#include "simd/attention_internal.h"

#include <string.h>

size_t dm_attention_longest(const dm_attention *a)
{
    size_t longest = 0;
    for (size_t i = 0; i < a->n_segments; i++)
        longest = dm_max(longest, a->segments[i].prefix + (a->segments[i].end - a->segments[i].begin));
    return longest;
}

dm_attention_sequence dm_attention_sequence_of(const dm_attention *a, size_t segment)
{
    const dm_attention_segment *s = &a->segments[segment];
    const size_t length = s->prefix + (s->end - s->begin);
    return (dm_attention_sequence){
        .prefix = s->prefix,
        .begin = s->begin,
        .length = length,
        .first = s->prefix + (s->first - s->begin),
        .window = a->window == 0 || a->window > length ? length : a->window,
        .ldq = a->heads * a->head_dim,
        .ldk = a->kv_heads * a->head_dim,
        .q_base = a->q_bases ? a->q_bases[segment] : a->q_base,
    };
}

dm_range dm_attention_sequence_share(const dm_attention_sequence *s, size_t width, unsigned part, unsigned parts)
{
    const size_t skip = dm_attention_sequence_low(s, s->first) / width * width;
    const dm_range r = dm_range_split(s->length - skip, width, part, parts);
    return (dm_range){skip + r.begin, skip + r.end};
}

/* ---- packing ---- */

void dm_attention_pack_scores(const dm_gemm_kernel *g, const dm_attention_sequence *s, float *dst, const float *src,
                              size_t head_dim, dm_range r, size_t width)
{
    size_t j = r.begin;

    if (j < s->prefix) {
        const size_t whole = r.end <= s->prefix ? r.end : j + (s->prefix - j) / width * width;
        g->pack(dst + j * head_dim, src + j * s->ldk, whole - j, head_dim, s->ldk, 1, width);
        j = whole;
        if (j < r.end && j < s->prefix) { /* the panel in which the own rows begin */
            float *panel = dst + j * head_dim;
            g->pack(panel, src + j * s->ldk, s->prefix - j, head_dim, s->ldk, 1, width);
            for (size_t i = s->prefix - j; i < dm_min(width, r.end - j); i++)
                for (size_t d = 0; d < head_dim; d++)
                    panel[d * width + i] = src[dm_attention_sequence_row(s, j + i) * s->ldk + d];
            j += width;
        }
    }
    if (j < r.end)
        g->pack(dst + j * head_dim, src + dm_attention_sequence_row(s, j) * s->ldk, r.end - j, head_dim, s->ldk, 1,
                width);
}

void dm_attention_pack_sums(const dm_gemm_kernel *g, const dm_attention_sequence *s, float *dst, const float *src,
                            size_t head_dim, dm_range r, size_t width)
{
    for (size_t j = r.begin; j < r.end;) {
        const size_t end = j < s->prefix ? dm_min(r.end, s->prefix) : r.end;
        for (size_t c = 0; c < head_dim; c += width)
            g->pack(dst + c * s->length + j * width, src + dm_attention_sequence_row(s, j) * s->ldk + c,
                    dm_min(width, head_dim - c), end - j, 1, s->ldk, width);
        j = end;
    }
}

/* ---- products ---- */

void dm_attention_band_scores(const dm_gemm_kernel *g, const dm_attention_sequence *s, const float *x,
                              const float *keys, size_t head_dim, dm_range rows, float *strip, size_t width,
                              size_t column)
{
    for (size_t j = column; j < rows.end; j += g->nr)
        for (size_t p = rows.begin; p < rows.end; p += g->mr) {
            const size_t i = p - rows.begin, m = dm_min(g->mr, rows.end - p);
            if (p + m > j && j + g->nr > dm_attention_sequence_low(s, p))
                g->micro(m, g->nr, head_dim, x + i * head_dim, keys + j * head_dim, strip + i * width + (j - column),
                         width, 1);
        }
}

void dm_attention_band_tile(const dm_gemm_kernel *g, size_t m, size_t n, ptrdiff_t first, ptrdiff_t last, size_t t0,
                            size_t t1, const float *a, const float *b, float *c, size_t ldc)
{
    const ptrdiff_t top = (ptrdiff_t)m - 1, begin = (ptrdiff_t)t0;
    const ptrdiff_t end = (ptrdiff_t)t1 < last + top + 1 ? (ptrdiff_t)t1 : last + top + 1;

    for (ptrdiff_t t = begin > first ? begin : first, next; t < end; t = next) {
        const ptrdiff_t i0 = t > last ? t - last : 0, i1 = t < first + top ? t - first : top;
        next = t + 1;
        if (i0 == 0 && i1 == top) /* all rows, up to the step that is the first row's last */
            next = end < last + 1 ? end : last + 1;
        g->micro((size_t)(i1 - i0 + 1), n, (size_t)(next - t), a + (t - begin) * (ptrdiff_t)g->mr + i0,
                 b + (t - begin) * (ptrdiff_t)g->nr, c + (size_t)i0 * ldc, ldc, 0);
    }
}

void dm_attention_band_sums(const dm_gemm_kernel *g, const dm_attention_sequence *s, float *pack, const float *strip,
                            size_t width, size_t column, const float *keys, size_t head_dim, dm_range rows, float *out,
                            size_t ldo)
{
    for (size_t p = rows.begin; p < rows.end; p++)
        memset(out + (p - rows.begin) * ldo, 0, head_dim * sizeof(float));
    for (size_t t0 = dm_attention_sequence_low(s, rows.begin), t1; t0 < rows.end; t0 = t1) {
        t1 = dm_min(t0 + g->kc, rows.end);
        g->pack(pack, strip + (t0 - column), rows.end - rows.begin, t1 - t0, width, 1, g->mr);
        for (size_t c = 0; c < head_dim; c += g->nr)
            for (size_t p = rows.begin; p < rows.end; p += g->mr) {
                const size_t i = p - rows.begin;
                dm_attention_band_tile(g, dm_min(g->mr, rows.end - p), dm_min(g->nr, head_dim - c),
                                       (ptrdiff_t)p - (ptrdiff_t)s->window + 1, (ptrdiff_t)p, t0, t1,
                                       pack + i * (t1 - t0), keys + c * s->length + t0 * g->nr, out + i * ldo + c, ldo);
            }
    }
}
