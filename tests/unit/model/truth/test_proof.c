/* The proof in float that a product is sound, against the verdict in double: what is proved is within every bound, with
 * errors just below and above them and with numbers that float cannot hold; what an honest engine makes is proved. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/truth/proof.h"
#include "simd/kernels/kernels.h"
#include "tests/support/check.h"

#define MOST ((size_t)96 * 700)

typedef struct product { /* out = x W^T + bias */
    size_t m, n, k;
    double *x, *w, *bias, *got, *out, *sound, *likely, *size;
} product;

static uint64_t state = 1;

static double uniform(void) /* -1 .. 1 */
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int64_t)state * 0x1p-63;
}

static size_t below(size_t n)
{
    return (size_t)((uniform() + 1) / 2 * (double)n) % n;
}

/* What the float sum of one chain gives, as the engine and others make it. */
static double honest(const product *p, size_t i, size_t j)
{
    float sum = 0;

    for (size_t q = 0; q < p->k; q++)
        sum = fmaf((float)p->x[i * p->k + q], (float)p->w[j * p->k + q], sum);
    return sum + (float)(p->bias ? p->bias[j] : 0);
}

/* Whether it is proved; `fine` becomes what the bounds say. */
static bool proved(const product *p, bool *fine)
{
    dm_node nodes[] = {{.rows = p->m, .cols = p->k},
                       {.rows = p->n, .cols = p->k},
                       {.rows = 1, .cols = p->n},
                       {.rows = p->m, .cols = p->n}};
    uint32_t links[] = {0, 1, p->bias ? 2 : DM_NODE_NONE, DM_NODE_NONE, DM_NODE_NONE, 3};
    const dm_graph g = {.nodes = nodes, .links = links};
    const dm_op op = {.formula = DM_FORMULA_LINEAR, .n_in = 5, .out = 5, .n_out = 1};
    const double *in[] = {p->x, p->w, p->bias, NULL, NULL};
    double *out[] = {p->out}, *sound[] = {p->sound}, *likely[] = {p->likely}, *size[] = {p->size}, all = 0, bound = 0;
    bool failed = false;
    dm_evaluation e = {.g = &g,
                       .op = &op,
                       .in = in,
                       .r = {.acc = 0x1p-24, .out = 0x1p-24, .flush = 0x1p-126, .least = 0x1p-126, .lambda = 9.5},
                       .failed = &failed};
    const bool said = dm_product_proved(&e, p->got, NULL);
    e.out = out;
    e.sound = sound;
    e.likely = likely;
    e.size = size;
    dm_formula_eval(&e, NULL);
    *fine = true;
    for (size_t i = 0; i < p->m * p->n; i++) {
        *fine &= fabs(p->got[i] - p->out[i]) <= p->likely[i];
        all += fabs(p->out[i]);
        bound += p->sound[i];
    }
    *fine &= bound < all;
    CK(!failed);
    return said;
}

/* Inputs of magnitude 2^exponent, the result as an engine makes it. */
static void fill(product *p, int exponent)
{
    for (size_t i = 0; i < p->m * p->k; i++)
        p->x[i] = (float)ldexp(uniform(), exponent);
    for (size_t i = 0; i < p->n * p->k; i++)
        p->w[i] = (float)uniform();
    for (size_t i = 0; i < p->n && p->bias; i++)
        p->bias[i] = (float)uniform();
    for (size_t i = 0; i < p->m * p->n; i++)
        p->got[i] = honest(p, i / p->n, i % p->n);
}

static void errors(product *p)
{
    static const double shares[] = {0.4, 0.999999, 1.000001, 1.1, 5};
    bool fine;

    CK_MSG(proved(p, &fine) && fine, "%zu x %zu x %zu is not proved", p->m, p->n, p->k);
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++)
        for (int sign = -1; sign <= 1; sign += 2) {
            const size_t at = below(p->m * p->n);
            const double kept = p->got[at];
            p->got[at] = p->out[at] + sign * shares[s] * p->likely[at];
            const bool said = proved(p, &fine);
            CK_MSG(fine == (shares[s] < 1) && (!said || fine), "an error of %g of the bound: %d", shares[s], said);
            CK_MSG(said || shares[s] > 0.5, "a small error is not proved");
            p->got[at] = kept;
        }
}

/* The right result but for one element, whose error is twice its bound: nothing that float cannot hold hides it. */
static void one_error(product *p)
{
    const size_t at = below(p->m * p->n);
    bool fine;

    memcpy(p->got, p->out, p->m * p->n * sizeof *p->got);
    p->got[at] += 2 * p->likely[at];
    CK(!proved(p, &fine));
}

/* Numbers that float's sums and norms do not hold, or that are none, in each place. */
static void oddities(product *p)
{
    static const double odd[] = {INFINITY, NAN, 3e38, 1e30, 0x1p-149, 1e-40, 0};
    bool fine;

    for (size_t o = 0; o < sizeof odd / sizeof *odd; o++)
        for (int where = 0; where < 3; where++) {
            double *x = where == 0 ? p->x : where == 1 ? p->w : p->got;
            const size_t at = below(where == 0 ? p->m * p->k : where == 1 ? p->n * p->k : p->m * p->n);
            const double kept = x[at];
            x[at] = (float)odd[o];
            for (int again = 0; again < 2; again++) { /* the second time with the right result */
                const bool said = proved(p, &fine);
                CK_MSG(!said || fine, "%g in place %d is proved", odd[o], where);
                memcpy(p->got, again ? p->got : p->out, p->m * p->n * sizeof *p->got);
            }
            x[at] = kept;
            for (size_t i = 0; i < p->m * p->n; i++)
                p->got[i] = honest(p, i / p->n, i % p->n);
        }
}

/* The first moment, which the first step has none of, is no product. */
static void without_input(const double *x)
{
    dm_node nodes[] = {{.rows = 1, .cols = 1}};
    uint32_t links[] = {DM_NODE_NONE, 0, 0, 0, 0};
    const dm_graph g = {.nodes = nodes, .links = links};
    const dm_op op = {.formula = DM_FORMULA_ADAM_M, .n_in = 4, .out = 4, .n_out = 1};
    const double *in[] = {NULL, x, x, x};
    bool failed = false;
    const dm_evaluation e = {.g = &g, .op = &op, .in = in, .r = {.acc = 0x1p-24}, .failed = &failed};

    CK(!dm_product_proved(&e, x, NULL) && !failed);
}

int main(void)
{
    static const int exponents[] = {-148, -126, -100, -60, 0, 60, 120, 126, 127};
    double *memory = malloc(8 * MOST * sizeof *memory);
    bool fine;

    if (!CK(memory))
        return ck_done("proof");
    memory[0] = 1;
    without_input(memory);
    for (size_t t = 0; t < 8; t++) {
        product p = {.m = 1 + below(96), .n = 1 + below(96), .k = 16 + below(600)};
        p.x = memory;
        p.w = memory + MOST;
        p.bias = t % 2 ? memory + 2 * MOST : NULL;
        p.got = memory + 3 * MOST;
        p.out = memory + 4 * MOST;
        p.sound = memory + 5 * MOST;
        p.likely = memory + 6 * MOST;
        p.size = memory + 7 * MOST;
        fill(&p, 0);
        errors(&p);
        oddities(&p);
        for (size_t i = 0; i < sizeof exponents / sizeof *exponents; i++) {
            fill(&p, exponents[i]);
            const bool said = proved(&p, &fine);
            CK_MSG(!said || fine, "2^%d is proved", exponents[i]);
            CK_MSG(said || exponents[i] < -60 || exponents[i] > 100, "2^%d is not proved", exponents[i]);
            one_error(&p);
        }
    }
    free(memory);
    return ck_done("proof");
}
