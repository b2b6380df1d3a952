/* One width of the kernel gemm_rows, for simd/kernels/gemm/k_triangular.c. The includer defines what a register is:
 * ROWS_NAME, ROWS_V (type), ROWS_VL (lanes), ROWS_NV (registers across) and rows_load, loadn, storen, set1, fma. */

/* m is a constant at every call; 1 <= n <= ROWS_VL * ROWS_NV. */
static inline __attribute__((always_inline)) void ROWS_TILE(const size_t m, size_t n, size_t k, const float *a,
                                                            size_t step, const float *b, float *c, size_t ldc,
                                                            ptrdiff_t late)
{
    const ptrdiff_t depth = (ptrdiff_t)k, all = late + (ptrdiff_t)m - 1; /* from step `all` on, every row takes part */
    ROWS_V acc[GEMM_MR][ROWS_NV], y[ROWS_NV];
    size_t at[ROWS_NV], width[ROWS_NV]; /* where the registers are in a row of C: never beyond it */
    ptrdiff_t p = late > 0 ? late : 0;

    for (size_t j = 0; j < ROWS_NV; j++) {
        at[j] = j * ROWS_VL < n ? j * ROWS_VL : n;
        width[j] = n - at[j] < ROWS_VL ? n - at[j] : ROWS_VL;
    }
#define ROW(i)                                                                                                         \
    for (size_t j = 0; i < m && j < ROWS_NV; j++)                                                                      \
        acc[i][j] = rows_loadn(c + i * ldc + at[j], width[j]);
    GEMM_ROWS(ROW)
#undef ROW
    while (p < depth) {
        const ptrdiff_t panel = p / GEMM_NR, next = (panel + 1) * GEMM_NR, end = next < depth ? next : depth;
        const float *const first = a + panel * (ptrdiff_t)step, *const at_p = first - panel * GEMM_NR;
        const float *const ahead = first + m * GEMM_NR; /* the rows that follow are read next */

        for (; p < all && p < end; p++) {
            for (size_t j = 0; j < ROWS_NV; j++)
                y[j] = rows_load(b + p * GEMM_NR + (ptrdiff_t)(j * ROWS_VL));
#define ROW(i)                                                                                                         \
    if (i < m && (ptrdiff_t)i <= p - late) {                                                                           \
        const ROWS_V x = rows_set1(at_p + i * GEMM_NR + p);                                                            \
        for (size_t j = 0; j < ROWS_NV; j++)                                                                           \
            acc[i][j] = rows_fma(x, y[j], acc[i][j]);                                                                  \
    }
            GEMM_ROWS(ROW)
#undef ROW
        }
        for (; p < end; p++) {
            __builtin_prefetch(ahead + p % GEMM_NR * 16);
            for (size_t j = 0; j < ROWS_NV; j++)
                y[j] = rows_load(b + p * GEMM_NR + (ptrdiff_t)(j * ROWS_VL));
#define ROW(i)                                                                                                         \
    if (i < m) {                                                                                                       \
        const ROWS_V x = rows_set1(at_p + i * GEMM_NR + p);                                                            \
        for (size_t j = 0; j < ROWS_NV; j++)                                                                           \
            acc[i][j] = rows_fma(x, y[j], acc[i][j]);                                                                  \
    }
            GEMM_ROWS(ROW)
#undef ROW
        }
    }
#define ROW(i)                                                                                                         \
    for (size_t j = 0; i < m && j < ROWS_NV; j++)                                                                      \
        rows_storen(c + i * ldc + at[j], acc[i][j], width[j]);
    GEMM_ROWS(ROW)
#undef ROW
}
