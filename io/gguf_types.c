#include "io/gguf_types.h"

#include <stddef.h>

#define OTHER DM_DTYPE_COUNT

static const dm_gguf_type types[] = {
    [0] = {"F32", DM_F32, 1, 4},        [1] = {"F16", DM_F16, 1, 2},        [2] = {"Q4_0", DM_Q4_0, 32, 18},
    [3] = {"Q4_1", DM_Q4_1, 32, 20},    [6] = {"Q5_0", DM_Q5_0, 32, 22},    [7] = {"Q5_1", DM_Q5_1, 32, 24},
    [8] = {"Q8_0", DM_Q8_0, 32, 34},    [9] = {"Q8_1", OTHER, 32, 40},      [10] = {"Q2_K", DM_Q2_K, 256, 84},
    [11] = {"Q3_K", DM_Q3_K, 256, 110}, [12] = {"Q4_K", DM_Q4_K, 256, 144}, [13] = {"Q5_K", DM_Q5_K, 256, 176},
    [14] = {"Q6_K", DM_Q6_K, 256, 210}, [15] = {"Q8_K", OTHER, 256, 292},   [16] = {"IQ2_XXS", OTHER, 256, 66},
    [17] = {"IQ2_XS", OTHER, 256, 74},  [18] = {"IQ3_XXS", OTHER, 256, 98}, [19] = {"IQ1_S", OTHER, 256, 50},
    [20] = {"IQ4_NL", OTHER, 32, 18},   [21] = {"IQ3_S", OTHER, 256, 110},  [22] = {"IQ2_S", OTHER, 256, 82},
    [23] = {"IQ4_XS", OTHER, 256, 136}, [24] = {"I8", OTHER, 1, 1},         [25] = {"I16", OTHER, 1, 2},
    [26] = {"I32", DM_I32, 1, 4},       [27] = {"I64", DM_I64, 1, 8},       [28] = {"F64", DM_F64, 1, 8},
    [29] = {"IQ1_M", OTHER, 256, 56},   [30] = {"BF16", DM_BF16, 1, 2},     [34] = {"TQ1_0", OTHER, 256, 54},
    [35] = {"TQ2_0", OTHER, 256, 66},   [39] = {"MXFP4", OTHER, 32, 17},
};

#define COUNT (sizeof types / sizeof *types)

dm_gguf_type dm_gguf_type_of(uint32_t number)
{
    return number < COUNT && types[number].name ? types[number] : (dm_gguf_type){NULL, OTHER, 0, 0};
}

uint32_t dm_gguf_type_number(dm_dtype type)
{
    uint32_t n = 0;

    while (n < COUNT && (!types[n].name || types[n].type != type))
        n++;
    return n;
}
