/* The values that a query row sees, weighed by their probabilities (generation). Keys are read where they lie, once for
 * every few blocks of columns: what the row's heads see of a key is contiguous. Lanes are columns, so each element is
 * one chain over the keys. */
#include "simd/kernels/vec.h"

/* Taken together: enough chains in flight to hide the latency of fma, few enough for the registers. */
#if defined(DM_SIMD_AVX512)
#define BLOCKS 8
#else
#define BLOCKS 4
#endif

typedef struct block { /* up to 16 columns of one head */
    const float *p, *v;
    float *out;
    size_t m;
} block;

static inline __attribute__((always_inline)) void weigh_blocks(const size_t blocks, const int whole, const block *b,
                                                               size_t ldv, size_t keys, int first)
{
    vf acc[BLOCKS];

    for (size_t i = 0; i < blocks; i++)
        acc[i] = first ? vf_set1(0.0f) : vf_get(b[i].out, whole ? VF : b[i].m);
    for (size_t j = 0; j < keys; j++)
        for (size_t i = 0; i < blocks; i++)
            acc[i] = vf_fma(vf_set1(b[i].p[j]), vf_get(b[i].v + j * ldv, whole ? VF : b[i].m), acc[i]);
    for (size_t i = 0; i < blocks; i++)
        vf_put(b[i].out, acc[i], whole ? VF : b[i].m);
}

/* n blocks, 1 <= n <= BLOCKS. */
static void weigh_some(const block *b, size_t n, size_t ldv, size_t keys, int first)
{
    int whole = n == BLOCKS;

    for (size_t i = 0; i < n; i++)
        whole = whole && b[i].m == VF;
    if (whole) {
        weigh_blocks(BLOCKS, 1, b, ldv, keys, first);
        return;
    }
    for (; n >= 2; n -= 2, b += 2) {
        if (b[0].m == VF && b[1].m == VF)
            weigh_blocks(2, 1, b, ldv, keys, first);
        else
            weigh_blocks(2, 0, b, ldv, keys, first);
    }
    if (n > 0 && b->m == VF)
        weigh_blocks(1, 1, b, ldv, keys, first);
    else if (n > 0)
        weigh_blocks(1, 0, b, ldv, keys, first);
}

static void weigh(float *out, const float *p, size_t ldp, const float *v, size_t ldv, size_t keys, size_t heads,
                  size_t group, size_t d, size_t n, int first)
{
    block b[BLOCKS];
    size_t waiting = 0;

    for (size_t h = 0; h < heads * group; h++)
        for (size_t c = 0; c < n; c += VF) {
            b[waiting++] = (block){p + h * ldp, v + h / group * d + c, out + h * d + c, n - c < VF ? n - c : VF};
            if (waiting == BLOCKS) {
                weigh_some(b, waiting, ldv, keys, first);
                waiting = 0;
            }
        }
    if (waiting > 0)
        weigh_some(b, waiting, ldv, keys, first);
}

void DM_K_INIT(weigh)(dm_kernels *k)
{
    k->weigh = weigh;
}
