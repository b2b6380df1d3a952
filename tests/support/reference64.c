#include "tests/support/reference64.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dmpo.h"

static const double pi64 = 3.14159265358979323846;

double *f64_alloc(size_t n)
{
    double *p = calloc(n + 1, sizeof *p);

    if (!p) {
        perror("calloc");
        exit(2);
    }
    return p;
}

void f64_linear(double *y, const double *x, const double *w, const double *b, size_t rows, size_t out, size_t in)
{
    for (size_t t = 0; t < rows; t++)
        for (size_t o = 0; o < out; o++) {
            double sum = b ? b[o] : 0;
            for (size_t i = 0; i < in; i++)
                sum += x[t * in + i] * w[o * in + i];
            y[t * out + o] = sum;
        }
}

void f64_rmsnorm(double *y, const double *x, const double *w, size_t rows, size_t n, double eps)
{
    f64_offset_rmsnorm(y, x, w, rows, n, eps, 0);
}

void f64_offset_rmsnorm(double *y, const double *x, const double *w, size_t rows, size_t n, double eps, double offset)
{
    for (size_t t = 0; t < rows; t++) {
        double square = 0;
        for (size_t i = 0; i < n; i++)
            square += x[t * n + i] * x[t * n + i];
        for (size_t i = 0; i < n; i++)
            y[t * n + i] = x[t * n + i] / sqrt(square / (double)n + eps) * (offset + w[i]);
    }
}

/* angle of pair i at position p (Su et al. 2021; Llama 3's scaling as in its reference code, YaRN's as in its paper) */
static double f64_angle(const dm_config *c, dm_rope_use use, size_t p, size_t i)
{
    const double theta = use == DM_ROPE_LOCAL ? c->rope_local_theta : c->rope_theta;
    const double f = pow(theta, -2.0 * (double)i / (double)c->head_dim), wave = 2 * pi64 / f;

    if (use == DM_ROPE_LOCAL)
        return (double)p * f;
    if (c->rope == DM_ROPE_YARN) {
        /* the pair that turns beta times within the original length, and how far this one is between the two */
        const double at[2] = {log(c->rope_original / (2 * pi64 * c->rope_fast)) / log(theta) * c->head_dim / 2,
                              log(c->rope_original / (2 * pi64 * c->rope_slow)) / log(theta) * c->head_dim / 2};
        const double low = fmax(c->rope_whole ? floor(at[0]) : at[0], 0);
        const double high = fmin(c->rope_whole ? ceil(at[1]) : at[1], c->head_dim - 1);
        const double far = fmin(fmax(((double)i - low) / (high - low), 0), 1);
        return (double)p * (f * (1 - far) + f / c->rope_factor * far);
    }

    if (c->rope == DM_ROPE_LINEAR)
        return (double)p * f / c->rope_factor;
    if (c->rope == DM_ROPE_LLAMA3) {
        const double low = c->rope_original / c->rope_low, high = c->rope_original / c->rope_high;
        const double smooth = (c->rope_original / wave - c->rope_low) / (c->rope_high - c->rope_low);
        const double scale = wave < high ? 1 : wave > low ? 1 / c->rope_factor : (1 - smooth) / c->rope_factor + smooth;
        return (double)p * f * scale;
    }
    return (double)p * f;
}

void f64_rope(const dm_config *c, dm_rope_use use, double *x, size_t rows, size_t heads)
{
    const size_t half = use == DM_ROPE_NONE ? 0 : c->head_dim / 2;
    const double scale = use == DM_ROPE_MAIN && c->rope == DM_ROPE_YARN ? c->rope_attention : 1;

    for (size_t t = 0; t < rows; t++)
        for (size_t h = 0; h < heads; h++)
            for (size_t i = 0; i < half; i++) {
                double *a = x + (t * heads + h) * 2 * half + i, *b = a + half;
                const double angle = f64_angle(c, use, t, i), x0 = *a * scale, x1 = *b * scale;
                *a = x0 * cos(angle) - x1 * sin(angle);
                *b = x1 * cos(angle) + x0 * sin(angle);
            }
}

void f64_attention(double *out, const double *q, const double *k, const double *v, const size_t *row_of, size_t n,
                   size_t heads, size_t kv_heads, size_t d, size_t window, double scalar)
{
    double *p = f64_alloc(n);

    for (size_t h = 0; h < heads; h++) {
        const size_t kv = h / (heads / kv_heads);
        for (size_t i = 0; i < n; i++) {
            const size_t at = ((row_of ? row_of[i] : i) * heads + h) * d;
            const size_t low = window && i >= window ? i - window + 1 : 0;
            double sum = 0;
            for (size_t j = low; j <= i; j++) {
                const double *key = k + ((row_of ? row_of[j] : j) * kv_heads + kv) * d;
                double s = 0;
                for (size_t x = 0; x < d; x++)
                    s += q[at + x] * key[x];
                sum += p[j] = exp(s / sqrt(scalar));
            }
            for (size_t x = 0; x < d; x++) {
                double y = 0;
                for (size_t j = low; j <= i; j++)
                    y += p[j] / sum * v[((row_of ? row_of[j] : j) * kv_heads + kv) * d + x];
                out[at + x] = y;
            }
        }
    }
    free(p);
}

void f64_swiglu(double *h, const double *gate, const double *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
}

void f64_geglu(double *h, const double *gate, const double *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const double g = gate[i], z = sqrt(2 / pi64) * (g + 0.044715 * g * g * g);
        h[i] = 0.5 * g * (1 + tanh(z)) * up[i];
    }
}

double f64_log_softmax(const double *logits, size_t n, size_t target)
{
    double top = logits[0], sum = 0;

    for (size_t i = 1; i < n; i++)
        top = fmax(top, logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp(logits[i] - top);
    return logits[target] - top - log(sum);
}

typedef struct f64_scratch {
    double *x, *norm, *q, *k, *v, *att, *gate, *up, *delta, *logits;
} f64_scratch;

static f64_scratch f64_scratch_open(const dm_config *c, size_t n)
{
    const size_t d = c->hidden, f = c->intermediate, wide = (size_t)c->heads * c->head_dim;

    return (f64_scratch){f64_alloc(n * d),    f64_alloc(n * d),    f64_alloc(n * wide), f64_alloc(n * wide),
                         f64_alloc(n * wide), f64_alloc(n * wide), f64_alloc(n * f),    f64_alloc(n * f),
                         f64_alloc(n * d),    f64_alloc(c->vocab)};
}

static void f64_scratch_close(f64_scratch *s)
{
    double *all[] = {s->x, s->norm, s->q, s->k, s->v, s->att, s->gate, s->up, s->delta, s->logits};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static const double *f64_tensor(const double *w, const dm_tensor *t)
{
    return t ? w + t->offset : NULL;
}

static double f64_offset(const dm_config *c)
{
    return dm_config_is_gemma(c) ? 1 : 0;
}

static void f64_norm(const dm_config *c, double *y, const double *x, const double *w, size_t rows, size_t n)
{
    f64_offset_rmsnorm(y, x, w, rows, n, c->eps, f64_offset(c));
}

/* Queries or keys of a layer: projection, norm of every head (Qwen3, Gemma 3), RoPE. */
static void f64_queries(const dm_config *c, dm_rope_use use, double *y, const double *x, const double *w,
                        const double *b, const double *norm, size_t n, size_t heads)
{
    f64_linear(y, x, w, b, n, heads * c->head_dim, c->hidden);
    if (norm)
        f64_norm(c, y, y, norm, n * heads, c->head_dim);
    f64_rope(c, use, y, n, heads);
}

static void f64_layer(const dm_config *c, const dm_layer_tensors *o, const double *w, f64_scratch *s, size_t n,
                      size_t window, dm_rope_use use)
{
    const size_t d = c->hidden, f = c->intermediate, dim = c->head_dim;

    f64_norm(c, s->norm, s->x, f64_tensor(w, o->input_norm), n, d);
    f64_queries(c, use, s->q, s->norm, f64_tensor(w, o->projection[DM_PROJECTION_Q]),
                f64_tensor(w, o->bias[DM_PROJECTION_Q]), f64_tensor(w, o->q_norm), n, c->heads);
    f64_queries(c, use, s->k, s->norm, f64_tensor(w, o->projection[DM_PROJECTION_K]),
                f64_tensor(w, o->bias[DM_PROJECTION_K]), f64_tensor(w, o->k_norm), n, c->kv_heads);
    f64_linear(s->v, s->norm, f64_tensor(w, o->projection[DM_PROJECTION_V]), f64_tensor(w, o->bias[DM_PROJECTION_V]), n,
               c->kv_heads * dim, d);
    f64_attention(s->att, s->q, s->k, s->v, NULL, n, c->heads, c->kv_heads, dim, window,
                  c->query_scalar > 0 ? c->query_scalar : (double)dim);
    f64_linear(s->delta, s->att, f64_tensor(w, o->projection[DM_PROJECTION_O]), f64_tensor(w, o->bias[DM_PROJECTION_O]),
               n, d, c->heads * dim);
    if (o->attention_norm)
        f64_norm(c, s->delta, s->delta, f64_tensor(w, o->attention_norm), n, d);
    for (size_t i = 0; i < n * d; i++)
        s->x[i] += s->delta[i];
    f64_norm(c, s->norm, s->x, f64_tensor(w, o->post_norm), n, d);
    f64_linear(s->gate, s->norm, f64_tensor(w, o->projection[DM_PROJECTION_GATE]), NULL, n, f, d);
    f64_linear(s->up, s->norm, f64_tensor(w, o->projection[DM_PROJECTION_UP]), NULL, n, f, d);
    (dm_config_is_gemma(c) ? f64_geglu : f64_swiglu)(s->gate, s->gate, s->up, n * f);
    f64_linear(s->delta, s->gate, f64_tensor(w, o->projection[DM_PROJECTION_DOWN]), NULL, n, d, f);
    if (o->ffn_norm)
        f64_norm(c, s->delta, s->delta, f64_tensor(w, o->ffn_norm), n, d);
    for (size_t i = 0; i < n * d; i++)
        s->x[i] += s->delta[i];
}

void f64_logps(const dm_config *c, const dm_param_layout *l, const double *w, const int32_t *ids, size_t n,
               double *logp)
{
    f64_scratch s = f64_scratch_open(c, n);
    const size_t d = c->hidden;

    for (size_t t = 0; t < n; t++)
        memcpy(s.x + t * d, f64_tensor(w, l->embed) + (size_t)ids[t] * d, d * sizeof(double));
    for (size_t i = 0; dm_config_is_gemma(c) && i < n * d; i++)
        s.x[i] *= sqrt((double)d);
    for (size_t i = 0; i < c->layers; i++)
        f64_layer(c, &l->layers[i], w, &s, n, c->windowed[i] ? c->window : 0, (dm_rope_use)c->rope_use[i]);
    f64_norm(c, s.norm, s.x, f64_tensor(w, l->norm), n, d);
    for (size_t t = 1; t < n; t++) {
        f64_linear(s.logits, s.norm + (t - 1) * d, f64_tensor(w, l->head), NULL, 1, c->vocab, d);
        logp[t] = f64_log_softmax(s.logits, c->vocab, (size_t)ids[t]);
    }
    f64_scratch_close(&s);
}

static double f64_phi(dm_loss_phi form, double gamma, size_t t, size_t T)
{
    const double rest =
        gamma == 1 ? (double)(T - t) / (double)T : (1 - pow(gamma, (double)(T - t))) / (1 - pow(gamma, (double)T));

    return T == 1 ? 1 : form == DM_PHI_PRINTED ? rest : pow(gamma, (double)t) * rest;
}

/* Weighted sum of a side's values. */
static double f64_sum(const dm_loss_options *o, const f64_side *s, const double *x)
{
    double sum = 0;

    for (size_t i = 0; i < s->n; i++) {
        const double phi = o->objective == DM_OBJECTIVE_DPO || o->objective == DM_OBJECTIVE_KTO ? 1
                           : o->objective == DM_OBJECTIVE_DMPO_TOKEN
                               ? f64_phi(o->phi, o->gamma, i, s->n)
                               : f64_phi(o->phi, o->gamma, s->turn_of[i], s->turns);
        sum += phi * x[i];
    }
    return o->length_normalised ? sum / (double)s->n : sum;
}

/* log of the mixture of two references for both sides of a pair (arXiv 2405.16388). */
static void f64_mixture(const dm_loss_options *o, const double one[2], const double two[2], double out[2])
{
    const double gap_1 = fabs(one[0] - one[1]), gap_2 = fabs(two[0] - two[1]);
    const double alpha = o->alpha_mode == DM_ALPHA_FIXED ? o->alpha : gap_2 / (gap_1 + gap_2);
    const double a_2 = o->alpha_pairing == DM_PAIRING_CROSSED ? 1 - alpha : alpha;
    const double size[2] = {fabs(one[0] + two[0]), fabs(one[1] + two[1])};

    for (int i = 0; i < 2; i++) {
        const double band = o->trust_region * size[i] / (size[0] + size[1]);
        const double second = fmin(fmax(two[i], one[i] * (1 + band)), one[i] * (1 - band));
        out[i] = -log((1 - a_2) * exp(-one[i]) + a_2 * exp(-second));
    }
}

/* s of both sides of a pair. */
static void f64_scores(const dm_loss_options *o, const f64_side *chosen, const f64_side *rejected, double s[2])
{
    const f64_side *const side[2] = {chosen, rejected};
    double reference[2], second[2];

    for (int i = 0; i < 2; i++) {
        reference[i] = f64_sum(o, side[i], side[i]->reference);
        second[i] = o->two_references ? f64_sum(o, side[i], side[i]->second) : 0;
    }
    if (o->two_references)
        f64_mixture(o, (const double[2]){reference[0], reference[1]}, second, reference);
    for (int i = 0; i < 2; i++)
        s[i] = f64_sum(o, side[i], side[i]->logp) - reference[i];
}

static double f64_minus_log_sigmoid(double x)
{
    return x > 0 ? log1p(exp(-x)) : log1p(exp(x)) - x;
}

static double f64_link(const dm_loss_options *o, double w, double l)
{
    const double e = o->label_smoothing, m = o->beta * (w - l);
    const double plain = f64_minus_log_sigmoid(m), flipped = f64_minus_log_sigmoid(-m);

    switch (o->link) {
    case DM_LINK_ROBUST:
        return ((1 - e) * plain - e * flipped) / (1 - 2 * e);
    case DM_LINK_HINGE:
        return fmax(0, 1 - m);
    case DM_LINK_IPO:
        return pow(w - l - 1 / (2 * o->beta), 2);
    default:
        return (1 - e) * plain + e * flipped;
    }
}

double f64_batch_loss(const dm_loss_options *o, const f64_side *chosen, const f64_side *rejected, size_t pairs,
                      double kl)
{
    double mean_w = 0, mean_l = 0, loss = 0, s[2];

    for (size_t i = 0; i < pairs; i++) {
        f64_scores(o, &chosen[i], &rejected[i], s);
        mean_w += s[0] / (double)pairs;
        mean_l += s[1] / (double)pairs;
    }
    for (size_t i = 0; i < pairs; i++) {
        double nll = 0;
        f64_scores(o, &chosen[i], &rejected[i], s);
        for (size_t t = 0; t < chosen[i].n; t++)
            nll -= chosen[i].logp[t] / (double)chosen[i].n;
        if (o->objective == DM_OBJECTIVE_KTO) /* lambda - lambda sigmoid, the mean of two examples */
            loss += 0.5 * o->desirable_weight / (1 + exp(o->beta * (s[0] - kl))) +
                    0.5 * o->undesirable_weight / (1 + exp(o->beta * (kl - s[1])));
        else if (o->link == DM_LINK_KTO_PAIR) /* 1 - sigmoid, against the other side's divergence */
            loss += 0.5 / (1 + exp(o->beta * (s[0] - fmax(mean_l, 0)))) +
                    0.5 / (1 + exp(o->beta * (fmax(mean_w, 0) - s[1])));
        else
            loss += f64_link(o, s[0], s[1]);
        loss += o->sft_weight * nll;
    }
    return loss / (double)pairs;
}
