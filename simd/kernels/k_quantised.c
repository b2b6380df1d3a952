/* A few rows against stored weights that are read once (generation): C[m x n] (+)= A[m x k] * W[n x k]^T. Lanes are
 * rows of W, that is, columns of C: words of 16 rows are turned around in registers, and a word has codes of four
 * columns. Pieces of 32 columns, as in simd/kernels/k_widen.c; the chain of every element as in
 * simd/kernels/gemm/gemm_kernel.h. */
#include "simd/kernels/vec.h"

#include <stdbool.h>

#if defined(DM_SIMD_SCALAR)

/* Without registers to turn words around in, nothing is gained over widening a piece first. */
void DM_K_INIT(quantised)(dm_kernels *k)
{
    k->skinny_quantised = NULL;
}

#else

#define PIECE 32

/* Groups of 16 rows of W that one row of A is multiplied with, to hide the latency of fma. */
#define GROUPS 2
_Static_assert(GROUPS *VF == DM_GEMM_QUANTISED_MIN, "a call has at least that many rows of W");

/* Rows of A taken together. */
#if defined(DM_SIMD_AVX512)
#define ROWS 8
#else
#define ROWS 4
#endif

/* 32 codes of 16 rows: a byte each, four to a word; or nibbles, low ones first, eight to a word. The value is
 * (code - offset) * d + m. */
typedef struct piece {
    vi words[8];
    vf d[2], m[2]; /* of the first and of the last 16 */
} piece;

/* How 16 or 32 numbers lie: what is compiled once. */
typedef enum family { HALVES, BRAIN_HALVES, BYTES, NIBBLES, FIVE_BITS, Q4_K, Q5_K, Q6_K, Q2_K, Q3_K } family;

/* What types of a family may differ in. */
typedef struct layout {
    family family;
    unsigned char block, codes; /* bytes of a block; where its codes begin */
    bool has_min;
    float offset;
} layout;

static const layout layouts[DM_DTYPE_COUNT] = {
    [DM_F16] = {.family = HALVES},           [DM_BF16] = {.family = BRAIN_HALVES},
    [DM_Q8_0] = {BYTES, 34, 2, false, 128},  [DM_Q4_0] = {NIBBLES, 18, 2, false, 8},
    [DM_Q4_1] = {NIBBLES, 20, 4, true, 0},   [DM_Q5_0] = {FIVE_BITS, 22, 6, false, 16},
    [DM_Q5_1] = {FIVE_BITS, 24, 8, true, 0}, [DM_Q4_K] = {Q4_K, 144, 16, true, 0},
    [DM_Q5_K] = {Q5_K, 176, 48, true, 0},    [DM_Q6_K] = {Q6_K, 210, 128, false, 32},
    [DM_Q2_K] = {Q2_K, 84, 16, true, 0},     [DM_Q3_K] = {Q3_K, 110, 32, false, 4},
};

/* What the pieces of a block of 256 share. */
typedef struct block {
    vf d, m;
    vi scale[4], minimum[2]; /* a byte each */
    vi codes[8], top[8];
} block;

/* 16 rows of W: row i at p + i * stride. */
typedef struct rows {
    const uint8_t *p;
    size_t stride;
} rows;

DM_INLINE vi word_at(rows w, size_t at)
{
    return vi_rows4(w.p + at, w.stride);
}

DM_INLINE void words_at(vi words[4], rows w, size_t at)
{
    vi_rows16(words, w.p + at, w.stride);
}

DM_INLINE void eight_words_at(vi words[8], rows w, size_t at)
{
    words_at(words, w, at);
    words_at(words + 4, w, at + 16);
}

DM_INLINE vi each_byte(vi a, uint32_t mask)
{
    return vi_and(a, vi_set1(mask * 0x01010101u));
}

DM_INLINE vf low_f16(vi a)
{
    return vf_of_f16(vh_of_vi(vi_and(a, vi_set1(0xffff))));
}

DM_INLINE vf high_f16(vi a)
{
    return vf_of_f16(vh_of_vi(vi_shr(a, 16)));
}

/* Byte `at` of each word as a number. */
DM_INLINE vf byte(vi a, size_t at, float offset)
{
    const vi code = vi_and(vi_shr(a, 8 * (unsigned)at), vi_set1(255));

    return vf_sub(vi_float(vi_or(code, vi_set1(0x4b000000))), vf_set1(0x1p23f + offset));
}

/* ---- blocks of 32 ---- */

DM_INLINE void one_scale(piece *x, vf d, vf m)
{
    x->d[0] = x->d[1] = d;
    x->m[0] = x->m[1] = m;
}

/* Four words of nibbles to eight of bytes; bits 4j .. 4j + 3 of `bits` go above the nibbles of word j: copies 7 bits
 * apart put each into its byte. */
DM_INLINE void add_fifth_bits(vi words[8], vi bits)
{
    for (size_t j = 0; j < 4; j++)
        words[4 + j] = vi_shr(words[j], 4);
    for (size_t j = 0; j < 8; j++) {
        const vi four = vi_and(vi_shr(bits, 4 * (unsigned)j), vi_set1(15));
        words[j] = vi_or(each_byte(words[j], 15), each_byte(vi_mul(four, vi_set1(0x02040810)), 16));
    }
}

DM_INLINE void load32(piece *x, family f, const layout *l, rows w)
{
    const vi head = word_at(w, 0);

    one_scale(x, low_f16(head), l->has_min ? high_f16(head) : vf_set1(-0.0f));
    if (f == BYTES) {
        eight_words_at(x->words, w, l->codes);
        for (size_t j = 0; j < 8; j++)
            x->words[j] = vi_xor(x->words[j], vi_set1(0x80808080)); /* unsigned, 128 larger */
        return;
    }
    words_at(x->words, w, l->codes);
    if (f == FIVE_BITS)
        add_fifth_bits(x->words, word_at(w, l->codes - 4u));
}

/* ---- blocks of 256, an eighth at a time in order ---- */

/* Eight scales and eight minima of 6 bits in 12 bytes. */
DM_INLINE void open_k(block *b, family f, rows w)
{
    vi head[4];

    words_at(head, w, 0);
    b->d = low_f16(head[0]);
    b->m = high_f16(head[0]);
    b->scale[0] = each_byte(head[1], 63);
    b->minimum[0] = each_byte(head[2], 63);
    b->scale[1] = vi_or(each_byte(head[3], 15), each_byte(vi_shr(head[1], 2), 48));
    b->minimum[1] = vi_or(each_byte(vi_shr(head[3], 4), 15), each_byte(vi_shr(head[2], 2), 48));
    if (f == Q5_K)
        eight_words_at(b->top, w, 16);
}

DM_INLINE void load_k(piece *x, const block *b, family f, size_t pair, size_t odd)
{
    const size_t at = pair % 2 * 2 + odd;
    const vf scale = byte(b->scale[pair / 2], at, 0), minimum = byte(b->minimum[pair / 2], at, 0);

    one_scale(x, vf_mul(b->d, scale), vf_neg(vf_mul(b->m, minimum)));
    for (size_t j = 0; j < 8 && f == Q5_K; j++)
        x->words[j] = vi_or(each_byte(vi_shr(b->codes[j], 4 * (unsigned)odd), 15),
                            vi_shl(each_byte(vi_shr(b->top[j], (unsigned)(2 * pair + odd)), 1), 4));
}

/* Types with a scale for each 16. */
DM_INLINE void open_16(block *b, family f, rows w)
{
    if (f == Q2_K) {
        const vi head = word_at(w, 80);
        b->d = low_f16(head);
        b->m = high_f16(head);
        words_at(b->scale, w, 0);
    } else if (f == Q3_K) {
        vi s[4]; /* eight bytes with two low nibbles each, four with the upper two bits, the last bits of the block */
        words_at(s, w, 94);
        const vi low = vi_or(vi_shr(s[0], 16), vi_shl(s[1], 16)), high = vi_or(vi_shr(s[1], 16), vi_shl(s[2], 16));
        const vi upper = vi_or(vi_shr(s[2], 16), vi_shl(s[3], 16));
        b->d = high_f16(s[3]);
        b->scale[0] = vi_or(each_byte(low, 15), vi_shl(each_byte(upper, 3), 4));
        b->scale[1] = vi_or(each_byte(high, 15), vi_shl(each_byte(vi_shr(upper, 2), 3), 4));
        b->scale[2] = vi_or(each_byte(vi_shr(low, 4), 15), vi_shl(each_byte(vi_shr(upper, 4), 3), 4));
        b->scale[3] = vi_or(each_byte(vi_shr(high, 4), 15), vi_shl(each_byte(vi_shr(upper, 6), 3), 4));
        eight_words_at(b->codes, w, 0);
    } else {
        b->d = high_f16(word_at(w, 206));
        words_at(b->scale, w, 192);
        for (size_t j = 0; j < 4; j++)
            b->scale[j] = vi_xor(b->scale[j], vi_set1(0x80808080)); /* unsigned, 128 larger */
    }
}

/* A quarter of a half: two bits of each of the half's 32 bytes and, of Q6_K, nibbles of 32 of its 64 bytes, of Q3_K one
 * bit of each of the block's 32 bytes; two scales. */
DM_INLINE void load_16(piece *x, const block *b, family f, rows w, size_t half, size_t quarter)
{
    const vi scales = b->scale[half * 2 + quarter / 2];
    const size_t at = quarter % 2 * 2;
    vi words[8];

    if (f == Q6_K)
        eight_words_at(words, w, half * 64 + quarter % 2 * PIECE);
    for (size_t i = 0; i < 2; i++) {
        if (f == Q2_K) {
            x->d[i] = vf_mul(b->d, byte(each_byte(scales, 15), at + i, 0));
            x->m[i] = vf_neg(vf_mul(b->m, byte(each_byte(vi_shr(scales, 4), 15), at + i, 0)));
        } else {
            x->d[i] = vf_mul(b->d, byte(scales, at + i, f == Q6_K ? 128 : 32));
            x->m[i] = vf_set1(-0.0f);
        }
    }
    for (size_t j = 0; j < 8; j++) {
        const vi bits = each_byte(vi_shr(b->top[j], 2 * (unsigned)quarter), 3);
        if (f == Q6_K)
            x->words[j] = vi_or(each_byte(vi_shr(words[j], (unsigned)quarter / 2 * 4), 15), vi_shl(bits, 4));
        else if (f == Q3_K)
            x->words[j] = vi_or(bits, vi_shl(each_byte(vi_shr(b->codes[j], (unsigned)(4 * half + quarter)), 1), 2));
        else
            x->words[j] = bits;
    }
}

/* ---- products ---- */

/* What a call works on; m and groups are constants wherever it is inlined. */
typedef struct work {
    size_t m, groups, k;
    rows w[GROUPS];
    const float *a[ROWS];
} work;

DM_INLINE void multiply(const work *x, vf *acc, vf value, size_t column)
{
    for (size_t i = 0; i < x->m; i++)
        acc[i] = vf_fma(vf_set1(x->a[i][column]), value, acc[i]);
}

/* Four columns, of a word that has codes at `bit` of its bytes. Put below the point of the power of two whose last
 * place is the code's, a code is a float after one subtraction. */
DM_INLINE void multiply_word(const work *x, vf *acc, vi word, unsigned bit, uint32_t mask, float offset, vf d, vf m,
                             size_t column)
{
    const vi mask0 = vi_set1(mask << bit), mask1 = vi_set1(mask << (bit + 8));
    const vi one0 = vi_set1((127u + 23 - bit) << 23), one1 = vi_set1((127u + 15 - bit) << 23);
    const vf zero0 = vf_add(vi_float(one0), vf_set1(offset)), zero1 = vf_add(vi_float(one1), vf_set1(offset));
    const vi high = vi_shr(word, 16);

    multiply(x, acc, vf_fma(vf_sub(vi_float(vi_or(vi_and(word, mask0), one0)), zero0), d, m), column);
    multiply(x, acc, vf_fma(vf_sub(vi_float(vi_or(vi_and(word, mask1), one1)), zero1), d, m), column + 1);
    multiply(x, acc, vf_fma(vf_sub(vi_float(vi_or(vi_and(high, mask0), one0)), zero0), d, m), column + 2);
    multiply(x, acc, vf_fma(vf_sub(vi_float(vi_or(vi_and(high, mask1), one1)), zero1), d, m), column + 3);
}

/* 16 columns; which: of d. Four words by hand: in a loop, products of 2 to 8 rows of A take a fifth (Q4_0, Q4_1) and a
 * tenth (Q6_K) longer with AVX2. */
DM_INLINE void multiply_words(const work *x, vf acc[][ROWS], const piece *p, size_t first, unsigned bit, uint32_t mask,
                              float offset, size_t which, size_t column)
{
#define WORD(j)                                                                                                        \
    for (size_t g = 0; g < x->groups; g++)                                                                             \
        multiply_word(x, acc[g], p[g].words[first + j], bit, mask, offset, p[g].d[which], p[g].m[which],               \
                      column + 4 * j);
    WORD(0)
    WORD(1)
    WORD(2)
    WORD(3)
#undef WORD
}

DM_INLINE void multiply_bytes(const work *x, vf acc[][ROWS], const piece *p, float offset, size_t column)
{
    for (size_t half = 0; half < 2; half++)
        multiply_words(x, acc, p, 4 * half, 0, 0xff, offset, half, column + 16 * half);
}

DM_INLINE rows advanced(rows w, size_t bytes)
{
    w.p += bytes;
    return w;
}

/* The lines after these rows, which the next rows will need: rows of W lie one after another. */
DM_INLINE void prefetch(const work *x, size_t at, size_t bytes)
{
    const size_t count = x->groups * VF;
    const uint8_t *next = x->w[0].p + count * x->w[0].stride + at * count;

    for (size_t l = 0; l < count * bytes; l += 64)
        __builtin_prefetch(next + l, 0, 2);
}

DM_INLINE void product32(const work *x, vf acc[][ROWS], family f, const layout *l)
{
    piece p[GROUPS];

    for (size_t c = 0, at = 0; c < x->k; c += PIECE, at += l->block) {
        prefetch(x, at, l->block);
        for (size_t g = 0; g < x->groups; g++)
            load32(&p[g], f, l, advanced(x->w[g], at));
        if (f == NIBBLES) {
            multiply_words(x, acc, p, 0, 0, 15, l->offset, 0, c);
            multiply_words(x, acc, p, 0, 4, 15, l->offset, 1, c + 16);
        } else {
            multiply_bytes(x, acc, p, l->offset, c);
        }
    }
}

DM_INLINE void product_k(const work *x, vf acc[][ROWS], family f, const layout *l)
{
    block b[GROUPS];
    piece p[GROUPS];

    for (size_t c = 0, at = 0; c < x->k; at += l->block) {
        prefetch(x, at, l->block);
        for (size_t g = 0; g < x->groups; g++)
            open_k(&b[g], f, advanced(x->w[g], at));
        for (size_t pair = 0; pair < 4; pair++) {
            for (size_t g = 0; g < x->groups; g++)
                eight_words_at(f == Q5_K ? b[g].codes : p[g].words, advanced(x->w[g], at), l->codes + pair * PIECE);
            for (size_t odd = 0; odd < 2; odd++, c += PIECE) {
                for (size_t g = 0; g < x->groups; g++)
                    load_k(&p[g], &b[g], f, pair, odd);
                for (size_t half = 0; half < 2; half++)
                    if (f == Q5_K)
                        multiply_words(x, acc, p, 4 * half, 0, 31, 0, half, c + 16 * half);
                    else
                        multiply_words(x, acc, p, 4 * half, 4 * (unsigned)odd, 15, 0, half, c + 16 * half);
            }
        }
    }
}

DM_INLINE void product_16(const work *x, vf acc[][ROWS], family f, const layout *l)
{
    block b[GROUPS];
    piece p[GROUPS];

    for (size_t c = 0, at = 0; c < x->k; at += l->block) {
        prefetch(x, at, l->block);
        for (size_t g = 0; g < x->groups; g++)
            open_16(&b[g], f, advanced(x->w[g], at));
        for (size_t half = 0; half < 2; half++) {
            for (size_t g = 0; g < x->groups; g++)
                eight_words_at(b[g].top, advanced(x->w[g], at), l->codes + half * PIECE);
            for (size_t quarter = 0; quarter < 4; quarter++, c += PIECE) {
                for (size_t g = 0; g < x->groups; g++)
                    load_16(&p[g], &b[g], f, advanced(x->w[g], at), half, quarter);
                multiply_bytes(x, acc, p, l->offset, c);
            }
        }
    }
}

/* Words of two numbers each, `columns` of them (at most 8). */
DM_INLINE void multiply_halves(const work *x, vf *acc, family f, rows w, size_t column, size_t columns)
{
    vi words[4];

    words_at(words, w, 0);
    for (size_t j = 0; 2 * j < columns; j++) {
        const vf low = f == HALVES ? low_f16(words[j]) : vi_float(vi_shl(words[j], 16));
        const vf high = f == HALVES ? high_f16(words[j]) : vi_float(vi_and(words[j], vi_set1(0xffff0000)));
        multiply(x, acc, low, column + 2 * j);
        if (2 * j + 1 < columns)
            multiply(x, acc, high, column + 2 * j + 1);
    }
}

DM_INLINE void product16(const work *x, vf acc[][ROWS], family f)
{
    const size_t whole = x->k / 8 * 8;
    uint8_t tail[VF][16] = {{0}};

    for (size_t c = 0; c < whole; c += 8) {
        prefetch(x, 2 * c, 16);
        for (size_t g = 0; g < x->groups; g++)
            multiply_halves(x, acc[g], f, advanced(x->w[g], 2 * c), c, 8);
    }
    for (size_t g = 0; g < x->groups && whole < x->k; g++) {
        for (size_t i = 0; i < VF; i++)
            memcpy(tail[i], x->w[g].p + i * x->w[g].stride + 2 * whole, 2 * (x->k - whole));
        multiply_halves(x, acc[g], f, (rows){tail[0], 16}, whole, x->k - whole);
    }
}

DM_INLINE void product(const work *x, vf acc[][ROWS], family f, const layout *l)
{
    if (f == HALVES || f == BRAIN_HALVES)
        product16(x, acc, f);
    else if (f == Q6_K || f == Q2_K || f == Q3_K)
        product_16(x, acc, f, l);
    else if (f == Q4_K || f == Q5_K)
        product_k(x, acc, f, l);
    else
        product32(x, acc, f, l);
}

/* ---- all of W ---- */

/* A call: rows of A (at most m) and all of W and C. */
typedef struct call {
    const layout *layout;
    size_t rows, n, k;
    const float *a;
    size_t lda;
    const uint8_t *w;
    size_t row;
    float *c;
    size_t ldc;
    int first;
} call;

/* The last rows of W are taken together with rows before them that are already done: what comes out for these is not
 * stored again. */
DM_INLINE void columns(const call *t, const family f, const size_t m, const size_t groups)
{
    const size_t width = groups * VF;
    work x = {.m = m, .groups = groups, .k = t->k};

    for (size_t i = 0; i < m; i++)
        x.a[i] = t->a + (i < t->rows ? i : t->rows - 1) * t->lda;
    for (size_t done = 0, j; done < t->n; done = j + width) {
        vf acc[GROUPS][ROWS];
        j = t->n - done < width ? t->n - width : done;
        for (size_t g = 0; g < groups; g++) {
            x.w[g] = (rows){t->w + (j + g * VF) * t->row, t->row};
            for (size_t i = 0; i < m; i++)
                acc[g][i] = t->first || i >= t->rows ? vf_set1(0.0f) : vf_load(t->c + i * t->ldc + j + g * VF);
        }
        product(&x, acc, f, t->layout);
        for (size_t g = 0; g < groups; g++)
            for (size_t i = 0; i < m && i < t->rows; i++) {
                float *to = t->c + i * t->ldc + j + g * VF;
                if (j + g * VF >= done)
                    vf_store(to, acc[g][i]);
                else if (j + (g + 1) * VF > done) {
                    float lanes[VF];
                    const size_t skip = done - (j + g * VF);
                    vf_store(lanes, acc[g][i]);
                    memcpy(to + skip, lanes + skip, (VF - skip) * sizeof *to);
                }
            }
    }
}

#define EACH_FAMILY(X)                                                                                                 \
    X(HALVES) X(BRAIN_HALVES) X(BYTES) X(NIBBLES) X(FIVE_BITS) X(Q4_K) X(Q5_K) X(Q6_K) X(Q2_K) X(Q3_K)

#define INSTANCES(f)                                                                                                   \
    static void one_##f(const call *t)                                                                                 \
    {                                                                                                                  \
        columns(t, f, 1, GROUPS);                                                                                      \
    }                                                                                                                  \
    static void some_##f(const call *t)                                                                                \
    {                                                                                                                  \
        if (ROWS > 4 && t->rows > 4)                                                                                   \
            columns(t, f, ROWS, 1);                                                                                    \
        else                                                                                                           \
            columns(t, f, 4, 1);                                                                                       \
    }
EACH_FAMILY(INSTANCES)

static void skinny(dm_dtype type, size_t m, size_t n, size_t k, const float *a, size_t lda, const void *w, size_t row,
                   float *c, size_t ldc, int first)
{
    static void (*const instances[][2])(const call *) = {
#define PAIR(f) [f] = {one_##f, some_##f},
        EACH_FAMILY(PAIR)};
    const layout *l = &layouts[type];

    for (size_t i = 0; i < m; i += ROWS) {
        const call t = {l, m - i < ROWS ? m - i : ROWS, n, k, a + i * lda, lda, w, row, c + i * ldc, ldc, first};
        instances[l->family][t.rows > 1](&t);
    }
}

void DM_K_INIT(quantised)(dm_kernels *k)
{
    k->skinny_quantised = skinny;
}

#endif
