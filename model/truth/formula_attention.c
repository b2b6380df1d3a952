/* Causal attention over a packed sequence and its derivative, in double, with what rounding of the scores does. */
#include <string.h>

#include "core/numbers/numeric.h"
#include "model/truth/running.h"

/* The keys that a row sees, as packed rows: its branch's prefix, then its own branch up to itself. */
typedef struct seen {
    size_t *key; /* [n] */
    size_t n;
} seen;

static const dm_attention_segment *segment_of(const dm_pack *p, size_t row)
{
    for (size_t i = 0; i < p->n_segments; i++)
        if (row >= p->segments[i].begin && row < p->segments[i].end)
            return &p->segments[i];
    return NULL;
}

static void see(const dm_evaluation *e, size_t row, seen *s)
{
    const dm_config *c = e->g->o.config;
    const dm_pack *p = &dm_eval_item(e)->pack;
    const dm_attention_segment *g = segment_of(p, row);
    const double wider = dm_knob_of(e, DM_KNOB_WINDOW), later = dm_knob_of(e, DM_KNOB_MASK);
    const size_t window = !c->windowed[e->op->layer] || wider >= 1000 ? 0 : c->window + (size_t)(ptrdiff_t)wider;

    s->n = 0;
    if (!g)
        return;
    if (dm_knob_of(e, DM_KNOB_SEGMENTS) > 0) {
        for (s->n = 0; s->n <= row; s->n++)
            s->key[s->n] = s->n;
        return;
    }
    const size_t position = g->prefix + (row - g->begin), length = g->prefix + (g->end - g->begin);
    size_t end = position + 1;
    if (later < 0 && position > 0)
        end--;
    else if (later > 0)
        end = (double)end + later < (double)length ? end + (size_t)later : length;
    for (size_t at = 0; at < end; at++)
        if (window == 0 || at > position || position - at < window)
            s->key[s->n++] = at < g->prefix ? at : g->begin + (at - g->prefix);
}

static size_t kv_head(const dm_evaluation *e, size_t hq)
{
    const dm_config *c = e->g->o.config;

    return dm_knob_of(e, DM_KNOB_GROUPS) == 1 ? hq % c->kv_heads : hq / (c->heads / c->kv_heads);
}

typedef struct head {                 /* one row of scores; arrays of the longest row */
    double *s, *delta, *delta_likely; /* scores, and bounds of their errors */
    double *p, *off, *off_likely;     /* probabilities, and bounds of their relative errors */
    double *length;                   /* of keys [rows, kv_heads] */
    double *k, *v;                    /* keys and values, a row for each dimension [kv_heads, head_dim, rows] */
    double *size;                     /* of what a score is the sum of */
    double *sum;                      /* [4, head_dim]: of a row, with magnitudes and bounds (double_share) */
    double *w;                        /* [4, rows]: what its keys count in them */
    double max, lse;
    dm_both max_off, lse_off;
} head;

static void transpose(double *out, const double *x, size_t rows, size_t cols)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < cols; j++)
            out[j * rows + i] = x[i * cols + j];
}

static bool place_head(const dm_evaluation *e, head *h, seen *s, size_t rows)
{
    double **const lists[] = {&h->s, &h->delta, &h->delta_likely, &h->p, &h->off, &h->off_likely, &h->size};
    bool fine = true;

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        fine &= (*lists[i] = dm_eval_scratch(e, rows)) != NULL;
    const dm_config *c = e->g->o.config;
    h->length = dm_eval_scratch(e, rows * c->kv_heads);
    h->sum = dm_eval_scratch(e, 4 * (size_t)c->head_dim);
    h->w = dm_eval_scratch(e, 4 * rows);
    for (size_t i = 0; i < rows * c->kv_heads && h->length; i++) {
        const double *k = e->in[1] + i * c->head_dim;
        h->length[i] = sqrt(dm_dot(k, k, c->head_dim).value);
    }
    s->key = calloc(rows ? rows : 1, sizeof *s->key);
    if (!s->key)
        *e->failed = true;
    h->k = dm_eval_scratch(e, rows * c->kv_heads * c->head_dim);
    h->v = dm_eval_scratch(e, rows * c->kv_heads * c->head_dim);
    if (h->k && h->v) {
        transpose(h->k, e->in[1], rows, (size_t)c->kv_heads * c->head_dim);
        transpose(h->v, e->in[2], rows, (size_t)c->kv_heads * c->head_dim);
    }
    return fine && s->key && h->length && h->sum && h->w && h->k && h->v;
}

static void free_head(head *h, seen *s)
{
    double *const lists[] = {h->s, h->delta, h->delta_likely, h->p, h->off, h->off_likely, h->length, h->sum,
                             h->k, h->v,     h->size,         h->w};

    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        free(lists[i]);
    free(s->key);
}

/* Score j less the maximum, its exponential, their sum and the quotient may each be stored. What they err by, and an
 * error delta_j of the score, changes exponential j by a factor exp(c_j) and the sum by exp(sum_k p_k c_k).
 *
 * The sum has n terms; where it is made block by block, what was summed is rescaled by an exponential once in at least
 * 4 keys, which adds no more than 2 n roundings. */
static void softmax(const dm_evaluation *e, head *h, size_t n)
{
    const double u = e->r.acc, stored = e->r.out;
    double sum = 0, mean = 0, mean_likely = 0;

    h->lse = h->max = 0;
    h->lse_off = h->max_off = dm_nothing_more;
    if (n == 0) /* a mistaken mask's; then sums are 0, too */
        return;
    h->max = h->s[0];
    h->max_off = (dm_both){h->delta[0], h->delta_likely[0]};
    for (size_t j = 1; j < n; j++) {
        h->max = h->s[j] > h->max ? h->s[j] : h->max;
        h->max_off.sound = fmax(h->max_off.sound, h->delta[j]);
        h->max_off.likely = fmax(h->max_off.likely, h->delta_likely[j]);
    }
    for (size_t j = 0; j < n; j++)
        h->p[j] = h->s[j] - h->max;
    e->exp(h->p, h->p, n);
    for (size_t j = 0; j < n; j++)
        sum += h->p[j];
    for (size_t j = 0; j < n; j++) {
        const double distance = h->max - h->s[j], own = distance * (u + stored) + dm_exponential(distance) * u + stored;
        h->p[j] /= sum;
        h->off[j] = h->delta[j] + own;
        h->off_likely[j] = h->delta_likely[j] + own;
        mean += h->p[j] * h->off[j];
        mean_likely += h->p[j] * h->off_likely[j];
    }
    h->lse = h->max + dm_log(sum);
    if (!e->sound)
        return;
    const dm_both g = dm_gamma(e, 3 * (double)n);
    mean += g.sound + stored;
    mean_likely += g.likely + stored;
    for (size_t j = 0; j < n; j++) {
        h->off[j] = dm_growth(h->off[j] + mean + stored + DM_FUNCTION * u);
        h->off_likely[j] = dm_growth(h->off_likely[j] + mean_likely + stored + DM_FUNCTION * u);
    }
    h->lse_off = (dm_both){expm1(mean), expm1(mean_likely)};
}

/* How many keys from the j-th have neighbouring rows: they are taken together. */
static size_t run_of(const seen *s, size_t j)
{
    size_t n = 1;

    while (j + n < s->n && s->key[j + n] == s->key[j] + n)
        n++;
    return n;
}

/* x with each key (or value) of a head that the row sees. */
static void dots(const dm_evaluation *e, const double *x, const double *keys, const seen *s, double *value,
                 double *size)
{
    const size_t d = e->g->o.config->head_dim, rows = dm_eval_in(e, 0)->rows;

    for (size_t j = 0, n; j < s->n; j += n) {
        n = run_of(s, j);
        e->dots(value + j, size + j, x, keys + s->key[j], rows, d, n);
    }
}

/* Adds the rows of x that the row sees, `row` apart, each times its four weights w [4, rows] (double_share). */
static void share(const dm_evaluation *e, double *sum, size_t stride, const double *x, size_t row, const seen *s,
                  const double *w)
{
    for (size_t j = 0, n; j < s->n; j += n) {
        n = run_of(s, j);
        e->share(sum, stride, x + s->key[j] * row, row, e->g->o.config->head_dim, w + j, dm_eval_in(e, 0)->rows, n);
    }
}

/* Scores and probabilities of one row and head. */
static void score_row(const dm_evaluation *e, size_t row, size_t hq, const seen *s, head *h)
{
    const dm_config *c = e->g->o.config;
    const size_t d = c->head_dim, q_width = c->heads * d, rows = dm_eval_in(e, 0)->rows;
    const size_t kv = kv_head(e, hq);
    const double *q = e->in[0] + row * q_width + hq * d, scale = dm_scale_of(e);
    const double cap = dm_knob_of(e, DM_KNOB_SOFTCAP);
    const dm_both g = dm_gamma(e, (double)d + 3);
    const double length = sqrt(dm_dot(q, q, d).value), root = sqrt((double)d / scale);

    /* q and k may be scaled by the root of the scale first; product, scaled product and what a mask is added to are
     * stored */
    dots(e, q, h->k + kv * d * rows, s, h->s, h->size);
    for (size_t j = 0; j < s->n; j++) {
        const double scaled_lost = e->r.least * (root * (h->length[s->key[j] * c->kv_heads + kv] + length) + 3);
        const double size = h->size[j] * scale, value = h->s[j] * scale;
        const double more =
            (2 * e->r.in * (1 + e->r.in) + 2 * e->r.out) * size + 3 * e->r.out * fabs(value) + scaled_lost * scale;
        h->s[j] = cap > 0 ? cap * tanh(value / cap) : value;
        h->delta[j] = g.sound * size + more;
        h->delta_likely[j] = g.likely * size + more;
    }
    softmax(e, h, s->n);
}

/* n elements from `at` of output o: sums that share added up. */
static void put_sums(const dm_evaluation *e, size_t o, size_t at, const double *s, size_t stride, size_t n,
                     double terms, double stages)
{
    const dm_terms t = dm_terms_of(e, terms, 2, stages);

    for (size_t i = 0; i < n; i++)
        dm_put_terms(e, o, at + i, (dm_total){s[i], s[stride + i]}, &t,
                     (dm_both){s[2 * stride + i], s[3 * stride + i]});
}

void dm_compute_attention(const dm_evaluation *e, size_t begin, size_t end)
{
    const dm_config *c = e->g->o.config;
    const size_t d = c->head_dim, q_width = c->heads * d, k_width = c->kv_heads * d;
    const size_t rows = dm_eval_in(e, 0)->rows;
    head h = {0};
    seen s = {0};

    if (!place_head(e, &h, &s, rows)) {
        free_head(&h, &s);
        return;
    }
    for (size_t t = begin; t < end; t++) {
        see(e, t, &s);
        for (size_t hq = 0; hq < c->heads; hq++) {
            const size_t kv = kv_head(e, hq);
            memset(h.sum, 0, 4 * d * sizeof *h.sum);
            score_row(e, t, hq, &s, &h);
            for (size_t j = 0; j < s.n; j++) {
                const double p = h.p[j], lost = 2 * e->r.least;
                h.w[j] = h.w[rows + j] = p;
                h.w[2 * rows + j] = p * h.off[j] + lost;
                h.w[3 * rows + j] = p * h.off_likely[j] + lost;
            }
            share(e, h.sum, d, e->in[2] + kv * d, k_width, &s, h.w);
            put_sums(e, 0, t * q_width + hq * d, h.sum, d, d, (double)s.n, 1);
            dm_put(e, 1, t * c->heads + hq, (dm_total){h.max, fabs(h.max)}, 1, 0, 0, h.max_off);
            dm_put(e, 2, t * c->heads + hq, (dm_total){h.lse, fabs(h.max) + fabs(h.lse - h.max)}, DM_FUNCTION, 0, 1,
                   h.lse_off);
        }
    }
    free_head(&h, &s);
}

/* ---- backward ---- */

typedef struct slopes { /* of one row and head: dP, dS and bounds of dS's error */
    double *dp, *dp_size, *ds, *ds_size, *off, *off_likely;
} slopes;

/* dS_j = p_j (dP_j - sum_k p_k dP_k) */
static void slope_row(const dm_evaluation *e, size_t row, size_t hq, size_t kv, const seen *s, const head *h, slopes *x)
{
    const dm_config *c = e->g->o.config;
    const size_t d = c->head_dim, q_width = c->heads * d, rows = dm_eval_in(e, 0)->rows;
    const double *dout = e->in[3] + row * q_width + hq * d;
    const dm_both g = dm_gamma(e, (double)(d + s->n) + 8);
    /* dP, its products with P, their sum, the difference, its product with P and that with the scale are stored */
    const double rounded = 2 * e->r.in * (1 + e->r.in) + 5 * e->r.out;
    const double lost = e->r.least * (4 + 1 / dm_scale_of(e) + (double)s->n);
    const int wrong = (int)dm_knob_of(e, DM_KNOB_PROJECTION);
    dm_total mean = {0, 0};
    dm_both mean_off = {0, 0};

    dots(e, dout, h->v + kv * d * rows, s, x->dp, x->dp_size);
    for (size_t j = 0; j < s->n; j++) {
        const double size = h->p[j] * x->dp_size[j];
        mean.value += h->p[j] * x->dp[j];
        mean.size += size;
        mean_off.sound += size * h->off[j];
        mean_off.likely += size * h->off_likely[j];
    }
    for (size_t j = 0; j < s->n; j++) {
        const double p = h->p[j];
        double size = p * (x->dp_size[j] + mean.size);
        x->ds[j] = wrong == 7 ? x->dp[j] : p * (x->dp[j] - (wrong == 1 ? 0 : wrong == 6 ? p * x->dp[j] : mean.value));
        if (wrong == 7)
            size = x->dp_size[j];
        x->ds_size[j] = size;
        x->off[j] = size * (g.sound + rounded + h->off[j]) + p * mean_off.sound + lost;
        x->off_likely[j] = size * (g.likely + rounded + h->off_likely[j]) + p * mean_off.likely + lost;
    }
}

/* What rows of queries, a few at a time, add to their keys' dk and dv. Each sum has its terms row by row. */
#define BLOCK ((size_t)8)
typedef struct block {
    double *k, *v;   /* [4, rows, BLOCK] weights of the block's rows */
    unsigned *seen;  /* [rows] bit t: the block's row t sees this key */
    double *dk, *dv; /* [4, rows, head_dim] as double_share has it */
} block;

static void add_block(const dm_evaluation *e, double *sum, const double *x, const double *w, const unsigned *by)
{
    const size_t rows = dm_eval_in(e, 0)->rows, d = e->g->o.config->head_dim, q_width = e->g->o.config->heads * d;

    for (size_t key = 0; key < rows; key++)
        for (size_t first = 0, n; first < BLOCK; first += n + 1) {
            for (n = 0; first + n < BLOCK && (by[key] >> (first + n) & 1);)
                n++;
            if (n > 0)
                e->share(sum + key * d, rows * d, x + first * q_width, q_width, d, w + key * BLOCK + first,
                         rows * BLOCK, n);
        }
}

/* The weights w [4, rows] of the block's row t. */
static void put_weights(const dm_evaluation *e, size_t t, const seen *s, const double *w, double *to)
{
    const size_t rows = dm_eval_in(e, 0)->rows;

    for (size_t m = 0; m < 4; m++)
        for (size_t j = 0; j < s->n; j++)
            to[(m * rows + s->key[j]) * BLOCK + t] = w[m * rows + j];
}

/* w [4, rows]: the slopes times a number. */
static void times(double *w, const slopes *x, double scale, size_t rows, size_t n)
{
    const double *const from[] = {x->ds, x->ds_size, x->off, x->off_likely};

    for (size_t m = 0; m < 4; m++)
        for (size_t j = 0; j < n; j++)
            w[m * rows + j] = scale * from[m][j];
}

/* One row and head of queries: its dq, its weights in dk and dv. */
static void row_grad(const dm_evaluation *e, size_t t, size_t hq, size_t kv, const seen *s, head *h, slopes *x,
                     block *b)
{
    const dm_config *c = e->g->o.config;
    const size_t d = c->head_dim, q_width = c->heads * d, k_width = c->kv_heads * d, rows = dm_eval_in(e, 0)->rows;
    const int wrong = (int)dm_knob_of(e, DM_KNOB_PROJECTION), groups = (int)dm_knob_of(e, DM_KNOB_GROUPS);
    const size_t first = hq % (c->heads / c->kv_heads) == 0;
    const double scale = dm_scale_of(e), q_scale = wrong == 2 ? 1 : scale, k_scale = wrong == 3 ? 1 : scale;
    const double shared = groups == 5 ? (double)c->kv_heads / c->heads : 1;
    const double dk_scale = k_scale * (groups == 2 ? (double)first : shared),
                 dv_share = groups == 3 ? (double)first : shared;

    score_row(e, t, hq, s, h);
    slope_row(e, t, hq, kv, s, h, x);
    memset(h->sum, 0, 4 * d * sizeof *h->sum);
    times(h->w, x, q_scale, rows, s->n);
    share(e, h->sum, d, e->in[1] + kv * d, k_width, s, h->w);
    /* keys may have been scaled by the root of the scale, the sum is then scaled by it */
    put_sums(e, 0, t * q_width + hq * d, h->sum, d, d, (double)s->n + 2, 2);

    times(h->w, x, dk_scale, rows, s->n);
    if (wrong == 4)
        share(e, b->dk + t * d, rows * d, e->in[0] + hq * d, q_width, s, h->w);
    else
        put_weights(e, t % BLOCK, s, h->w, b->k);
    for (size_t j = 0; j < s->n; j++) {
        const double p = wrong == 8 ? h->s[j] : h->p[j], size = dv_share * fabs(p);
        h->w[j] = dv_share * p;
        h->w[rows + j] = size;
        h->w[2 * rows + j] = size * h->off[j];
        h->w[3 * rows + j] = size * h->off_likely[j];
    }
    if (wrong == 5)
        share(e, b->dv + t * d, rows * d, e->in[3] + hq * d, q_width, s, h->w);
    else
        put_weights(e, t % BLOCK, s, h->w, b->v);
    for (size_t j = 0; j < s->n; j++)
        b->seen[s->key[j]] |= 1u << t % BLOCK;
}

/* One head of queries: dq of its rows, its share of dk and dv. */
static void head_grad(const dm_evaluation *e, size_t hq, size_t kv, seen *s, head *h, slopes *x, block *b)
{
    const size_t d = e->g->o.config->head_dim, q_width = e->g->o.config->heads * d, rows = dm_eval_in(e, 0)->rows;
    const int wrong = (int)dm_knob_of(e, DM_KNOB_PROJECTION);

    for (size_t begin = 0; begin < rows; begin += BLOCK) {
        memset(b->seen, 0, rows * sizeof *b->seen);
        for (size_t t = begin; t < begin + BLOCK && t < rows; t++) {
            see(e, t, s);
            row_grad(e, t, hq, kv, s, h, x, b);
        }
        if (wrong != 4)
            add_block(e, b->dk, e->in[0] + begin * q_width + hq * d, b->k, b->seen);
        if (wrong != 5)
            add_block(e, b->dv, e->in[3] + begin * q_width + hq * d, b->v, b->seen);
    }
}

static void group_grad(const dm_evaluation *e, size_t kv, seen *s, head *h, slopes *x, block *b)
{
    const dm_config *c = e->g->o.config;
    const size_t group = c->heads / c->kv_heads, rows = dm_eval_in(e, 0)->rows, d = c->head_dim;

    memset(b->dk, 0, 8 * rows * d * sizeof *b->dk);
    for (size_t i = 0; i < group; i++) {
        const int groups = (int)dm_knob_of(e, DM_KNOB_GROUPS); /* 4: right heads, whose shares go where 1 has them */
        const size_t hq = groups == 1 || groups == 4 ? kv + i * c->kv_heads : kv * group + i;
        head_grad(e, hq, kv_head(e, hq), s, h, x, b);
    }
    /* every head's share is stored, and the sums of them */
    for (size_t t = 0; t < rows; t++) {
        put_sums(e, 1, (t * c->kv_heads + kv) * d, b->dk + t * d, rows * d, d, (double)(rows * group) + 2,
                 (double)group + 1);
        put_sums(e, 2, (t * c->kv_heads + kv) * d, b->dv + t * d, rows * d, d, (double)(rows * group), (double)group);
    }
}

void dm_compute_attention_grad(const dm_evaluation *e, size_t begin, size_t end)
{
    const size_t rows = dm_eval_in(e, 0)->rows, d = e->g->o.config->head_dim;
    head h = {0};
    seen s = {0};
    double *at = dm_eval_scratch(e, 6 * rows + 8 * rows * BLOCK + 8 * rows * d);
    unsigned *sees = calloc(rows + 1, sizeof *sees);

    if (!sees)
        *e->failed = true;
    if (place_head(e, &h, &s, rows) && at && sees) {
        slopes x = {at, at + rows, at + 2 * rows, at + 3 * rows, at + 4 * rows, at + 5 * rows};
        double *w = at + 6 * rows, *sums = w + 8 * rows * BLOCK;
        block b = {w, w + 4 * rows * BLOCK, sees, sums, sums + 4 * rows * d};
        for (size_t kv = begin; kv < end; kv++)
            group_grad(e, kv, &s, &h, &x, &b);
    }
    free(sees);
    free(at);
    free_head(&h, &s);
}
