#include "model/truth/proof.h"

#include <float.h>
#include <stdatomic.h>
#include <string.h>

#include "core/arena.h"
#include "model/truth/formula_internal.h"
#include "simd/kernels/kernels.h"

/* What is proved. v: what dm_formula_eval makes of an element, s: the bound of its terms' magnitudes that it takes, by
 * norms of GROUP terms; v', s': the same in float, every sum as chains of `chain` terms whose results are added up.
 * With u = 2^-24, an FMA or a sum errs by a factor 1 + d, |d| <= u, or, when it is subnormal, by 2^-150. So
 *
 *     |v - v'| <= loss s + least       loss = (chain + chains) u / (1 - ...)  (Higham 2002, section 4.2; s >= sum |t|)
 *     |s - s'| <= spread s' + least    terms are not negative
 *
 * Both bounds of dm_put_terms, a (s) + b |v| + c, grow with s and |v|. The probable one is the smaller. It is taken at
 * the least s and |v| that s' and v' allow, and the error at its largest: |got - v'| + |v - v'|. If that is within the
 * bound, so is |got - v|. SLACK is more than the double operations here and there err by.
 *
 * Nothing that float cannot hold is proved: NaN fails the comparison; an infinite s' or v' makes the sum of the sound
 * bounds infinite, and that is not below the sum of |v|. */
#define GROUP ((size_t)8)
#define DEPTH ((size_t)256) /* of a block; chains are no longer */
#define LINES ((size_t)576) /* rows and columns of a block, at most, but for a tile's last ones */
#define SLACK 0x1p-30
#define UNIT 0x1p-24

typedef struct proof {
    const dm_evaluation *e;
    const double *got;
    dm_kernels kernels;
    size_t m, n, mr, nr; /* of the output, a tile */
    size_t chain;
    double terms, stages, loss, spread, least;
    atomic_bool doubt, no_memory;
    double of_values[DM_THREADS_MAX], of_bounds[DM_THREADS_MAX]; /* sums over a thread's elements */
} proof;

/* One thread's. Panels have a tile's lines side by side; sums lie tile by tile. */
typedef struct space {
    float *left, *right, *left_norms, *right_norms, *value, *size, *tile;
    float *lines;             /* [lines of a panel, DEPTH] */
    double *more, *more_size; /* [columns] that are added to the products of a row */
    size_t rows, cols;        /* of a block */
} space;

/* What an element is held against: |got - v'| <= by_size s' + by_value |v'| + constant. */
typedef struct limits {
    double by_size, by_value, constant;
    double sound_by_size, sound_by_value, sound_constant; /* at most the sound bound, in the same terms */
} limits;

static size_t up(size_t n, size_t grain)
{
    return (n + grain - 1) / grain * grain;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static limits limits_of(const proof *p, double stages)
{
    const dm_evaluation *e = p->e;
    const dm_terms t = dm_terms_of(e, p->terms, 2, stages);
    const double out = e->r.out, loss = p->loss * (1 + p->spread);
    const double likely = t.g.likely * (1 + out) + t.share, sound = t.g.sound * (1 + out) + t.share;

    return (limits){.by_size = likely * (1 - p->spread) * (1 - SLACK) - loss * (1 + out),
                    .by_value = out * (1 - SLACK),
                    .constant = t.lost * (1 - SLACK) - (2 + likely) * 2 * p->least,
                    .sound_by_size = sound * (1 + p->spread) + out * loss,
                    .sound_by_value = out,
                    .sound_constant = t.lost + (1 + sound) * 2 * p->least};
}

/* ---- panels ---- */

/* The norm of a group whose squares float does not hold; false: nor does it hold the norm. */
static bool exact_norm(const float *x, size_t count, size_t width, float *out)
{
    double square = 0;

    for (size_t q = 0; q < count; q++)
        square += (double)x[q * width] * (double)x[q * width];
    const double norm = sqrt(square);
    *out = (float)norm;
    return norm == 0 || (norm >= FLT_MIN && norm < (double)FLT_MAX);
}

static bool put_norms(const float *panel, size_t depth, size_t width, float *norms)
{
    bool fine = true;

    for (size_t p = 0; p < depth; p += GROUP, norms += width) {
        const size_t count = least(GROUP, depth - p);
        const float *x = panel + p * width;
        float squares[DM_GEMM_NR_MAX] = {0};
        for (size_t q = 0; q < count; q++)
            for (size_t l = 0; l < width; l++)
                squares[l] += x[q * width + l] * x[q * width + l];
        for (size_t l = 0; l < width; l++)
            norms[l] = sqrtf(squares[l]);
        for (size_t l = 0; l < width; l++)
            if (!(squares[l] > 0x1p-100f && squares[l] < FLT_MAX))
                fine &= exact_norm(x + l, count, width, &norms[l]);
    }
    return fine;
}

static void to_floats(float *restrict out, const double *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)x[i];
}

/* Lines [first, first + lines) of a matrix, steps [begin, begin + depth), as panels of `width` lines with their norms;
 * lines past the last are 0. */
static bool pack(const proof *by, const space *s, const double *x, size_t row, size_t column, size_t first,
                 size_t lines, size_t begin, size_t depth, size_t width, float *out, float *norms)
{
    bool fine = true;

    for (size_t i = 0; i < lines; i += width, out += width * depth, norms += width * up(depth, GROUP) / GROUP) {
        const size_t count = least(width, lines - i);
        const double *from = x + (first + i) * row + begin * column;
        if (row == 1) { /* lines are neighbours */
            if (count < width)
                memset(out, 0, width * depth * sizeof *out);
            for (size_t p = 0; p < depth; p++)
                to_floats(out + p * width, from + p * column, count);
        } else { /* steps are */
            for (size_t l = 0; l < count; l++)
                to_floats(s->lines + l * depth, from + l * row, depth);
            by->kernels.gemm.pack(out, s->lines, count, depth, depth, 1, width);
        }
        fine &= put_norms(out, depth, width, norms);
    }
    return fine;
}

/* ---- products ---- */

/* Adds a tile's products to the sums, chain by chain. */
static void add_tile(const proof *p, const space *s, float *sum, const float *a, const float *b, size_t depth,
                     size_t chain)
{
    for (size_t q = 0; q < depth; q += chain) {
        p->kernels.gemm.micro(p->mr, p->nr, least(chain, depth - q), a + q * p->mr, b + q * p->nr, s->tile, p->nr, 1);
        p->kernels.add(sum, s->tile, p->mr * p->nr);
    }
}

static bool multiply(const proof *p, const space *s, size_t i, size_t rows, size_t j, size_t cols)
{
    const size_t mr = p->mr, nr = p->nr, tiles = up(rows, mr) / mr;
    dm_factor f;
    bool fine = true;

    memset(s->value, 0, up(rows, mr) * up(cols, nr) * sizeof *s->value);
    memset(s->size, 0, up(rows, mr) * up(cols, nr) * sizeof *s->size);
    for (size_t at = 0; dm_factor_of(p->e, at, &f); at++)
        for (size_t begin = 0; begin < f.k; begin += DEPTH) {
            const size_t depth = least(DEPTH, f.k - begin), groups = up(depth, GROUP) / GROUP;
            fine &= pack(p, s, f.a, f.a_row, f.a_column, i, rows, begin, depth, mr, s->left, s->left_norms);
            fine &= pack(p, s, f.b, f.b_column, f.b_row, j, cols, begin, depth, nr, s->right, s->right_norms);
            for (size_t c = 0; c < up(cols, nr) / nr && fine; c++)
                for (size_t r = 0; r < tiles; r++) {
                    const size_t to = (c * tiles + r) * mr * nr;
                    add_tile(p, s, s->value + to, s->left + r * mr * depth, s->right + c * nr * depth, depth, p->chain);
                    add_tile(p, s, s->size + to, s->left_norms + r * mr * groups, s->right_norms + c * nr * groups,
                             groups, DEPTH);
                }
        }
    return fine;
}

/* ---- the comparison ---- */

typedef struct totals {
    double values, sizes;
} totals;

static bool within(const limits *l, const double *got, const float *value, const float *size, const double *more,
                   const double *more_size, size_t n, totals *t)
{
    double values = 0, sizes = 0;
    size_t fine = 0;

    for (size_t j = 0; j < n; j++) {
        const double v = (double)value[j] + more[j], s = (double)size[j] + more_size[j], magnitude = fabs(v);
        fine += fabs(got[j] - v) <= l->by_size * s + l->by_value * magnitude + l->constant;
        values += magnitude;
        sizes += s;
    }
    t->values += values;
    t->sizes += sizes;
    return fine == n;
}

static bool judge(proof *p, const space *s, size_t i, size_t rows, size_t j, size_t cols, unsigned part)
{
    const dm_evaluation *e = p->e;
    const size_t mr = p->mr, nr = p->nr, tiles = up(rows, mr) / mr;
    const limits common = limits_of(p, p->stages);
    bool fine = true;

    for (size_t r = 0; r < rows && fine; r++) {
        const double stages = dm_factor_more(e, i + r, j, cols, s->more, s->more_size);
        const limits l = stages > 0 ? limits_of(p, p->stages + stages) : common;
        totals t = {0, 0};
        for (size_t c = 0; c < cols; c += nr) {
            const size_t from = (c / nr * tiles + r / mr) * mr * nr + r % mr * nr;
            fine &= within(&l, p->got + (i + r) * p->n + j + c, s->value + from, s->size + from, s->more + c,
                           s->more_size + c, least(nr, cols - c), &t);
        }
        const double count = (double)cols, loss = p->loss * (1 + p->spread) * t.sizes + 2 * p->least * count;
        p->of_values[part] += t.values - loss;
        p->of_bounds[part] += l.sound_by_size * t.sizes + l.sound_by_value * t.values + l.sound_constant * count;
    }
    return fine;
}

/* ---- threads ---- */

/* How many lines a block has: all about the same, and each thread as many blocks. */
static size_t lines_of(size_t n, size_t grain, unsigned threads)
{
    const size_t blocks = up((n + LINES - 1) / LINES, threads);

    return up((n + blocks - 1) / blocks, grain);
}

static bool place(proof *p, space *s, unsigned parts)
{
    const bool tall = p->m >= p->n;
    const size_t rows = lines_of(p->m, p->mr, tall ? parts : 1), cols = lines_of(p->n, p->nr, tall ? 1 : parts);
    const size_t sums = rows * cols, groups = DEPTH / GROUP;
    const size_t floats = (rows + cols) * (DEPTH + groups) + 2 * sums + p->mr * p->nr + DM_GEMM_NR_MAX * DEPTH;
    void *memory = NULL;

    *s = (space){.rows = rows, .cols = cols};
    if (posix_memalign(&memory, DM_ALIGN, floats * sizeof(float)) == 0) {
        float *at = memory;
        s->left = at;
        s->right = s->left + rows * DEPTH;
        s->value = s->right + cols * DEPTH;
        s->size = s->value + sums;
        s->left_norms = s->size + sums;
        s->right_norms = s->left_norms + rows * groups;
        s->tile = s->right_norms + cols * groups;
        s->lines = s->tile + p->mr * p->nr;
    }
    s->more = calloc(2 * cols, sizeof *s->more);
    s->more_size = s->more ? s->more + cols : NULL;
    if (!s->left || !s->more)
        atomic_store(&p->no_memory, true);
    return s->left && s->more;
}

static void part(void *context, unsigned at, unsigned parts)
{
    proof *p = context;
    space s;
    const bool placed = place(p, &s, parts);
    const size_t down = up(p->m, s.rows) / s.rows, across = up(p->n, s.cols) / s.cols;

    if (placed)
        for (size_t b = at; b < down * across && !atomic_load(&p->doubt); b += parts) {
            const size_t i = b / across * s.rows, j = b % across * s.cols;
            const size_t rows = least(s.rows, p->m - i), cols = least(s.cols, p->n - j);
            if (!multiply(p, &s, i, rows, j, cols) || !judge(p, &s, i, rows, j, cols, at))
                atomic_store(&p->doubt, true);
        }
    free(s.left);
    free(s.more);
}

bool dm_product_proved(const dm_evaluation *e, const double *got, dm_pool *pool)
{
    const dm_node *out = dm_eval_out(e, 0);
    dm_factor f;
    size_t longest = 0, steps = 0, chains = 0, n = 0;

    if (e->r.acc < 0x1p-25 || !dm_factor_of(e, 0, &f)) /* float is no better than what is judged */
        return false;
    proof *p = calloc(1, sizeof *p);
    if (!p) {
        *e->failed = true;
        return false;
    }
    for (; dm_factor_of(e, n, &f); n++)
        longest = f.k > longest ? f.k : longest;
    for (p->chain = 8; p->chain < DEPTH && p->chain * p->chain < longest;)
        p->chain *= 2;
    for (size_t i = 0; i < n && dm_factor_of(e, i, &f); i++) {
        steps += f.k;
        chains += f.k / DEPTH * (DEPTH / p->chain) + (f.k % DEPTH + p->chain - 1) / p->chain;
    }
    p->e = e;
    p->got = got;
    p->m = out->rows;
    p->n = out->cols;
    dm_kernels_init(&p->kernels, dm_isa_best());
    p->mr = p->kernels.gemm.mr;
    p->nr = p->kernels.gemm.nr;
    dm_factor_terms(e, &p->terms, &p->stages);
    const double nu = (double)(p->chain + chains + 2) * UNIT;
    /* a norm: 8 squares, their sums, a root; a product of norms, and the sums */
    const double of_size = (double)(2 * (GROUP + 2) + DEPTH / GROUP + chains + 4) * UNIT;
    p->loss = nu / (1 - nu) * (1 + SLACK);
    p->spread = of_size / (1 - of_size);
    p->least = (double)(2 * steps + 2 * chains) * 0x1p-149;
    bool proved = nu < 0.25 && of_size < 0.25 && limits_of(p, p->stages).by_size > 0;
    if (proved) {
        if (pool)
            dm_pool_run(pool, part, p);
        else
            part(p, 0, 1);
        double values = 0, bounds = 0;
        for (unsigned i = 0; i < DM_THREADS_MAX; i++) {
            values += p->of_values[i];
            bounds += p->of_bounds[i];
        }
        *e->failed |= atomic_load(&p->no_memory);
        proved = !atomic_load(&p->doubt) && !*e->failed && bounds * (1 + SLACK) < values;
    }
    free(p);
    return proved;
}
