#include "core/numbers/dtype.h"

static const struct {
    const char *name;
    unsigned short block, size;
} types[DM_DTYPE_COUNT] = {
    [DM_F32] = {"F32", 1, 4},       [DM_F16] = {"F16", 1, 2},       [DM_BF16] = {"BF16", 1, 2},
    [DM_F64] = {"F64", 1, 8},       [DM_I64] = {"I64", 1, 8},       [DM_I32] = {"I32", 1, 4},
    [DM_U8] = {"U8", 1, 1},         [DM_Q8_0] = {"Q8_0", 32, 34},   [DM_Q4_0] = {"Q4_0", 32, 18},
    [DM_Q4_1] = {"Q4_1", 32, 20},   [DM_Q5_0] = {"Q5_0", 32, 22},   [DM_Q5_1] = {"Q5_1", 32, 24},
    [DM_Q4_K] = {"Q4_K", 256, 144}, [DM_Q5_K] = {"Q5_K", 256, 176}, [DM_Q6_K] = {"Q6_K", 256, 210},
    [DM_Q2_K] = {"Q2_K", 256, 84},  [DM_Q3_K] = {"Q3_K", 256, 110},
};

const char *dm_dtype_name(dm_dtype t)
{
    return t < DM_DTYPE_COUNT ? types[t].name : "unknown";
}

size_t dm_dtype_block(dm_dtype t)
{
    return t < DM_DTYPE_COUNT ? types[t].block : 0;
}

size_t dm_dtype_size(dm_dtype t)
{
    return t < DM_DTYPE_COUNT ? types[t].size : 0;
}
