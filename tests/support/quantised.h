/* Stored weights for tests: blocks with chosen kinds of scales, and an element's value computed another way than the
 * kernels do it, one at a time and in double, where products and sums of these small numbers are exact. */
#ifndef DM_TESTS_SUPPORT_QUANTISED_H
#define DM_TESTS_SUPPORT_QUANTISED_H

#include <stddef.h>
#include <stdint.h>

#include "core/numbers/dtype.h"

#define STORED_TYPES 13
extern const dm_dtype stored_types[STORED_TYPES];

/* Element i of a row. */
float stored_value(dm_dtype type, const void *row, size_t i);

/* What scales (of plain types: elements) are. */
typedef enum stored_fill {
    STORED_USUAL,     /* 2^-8 to 1, of both signs */
    STORED_SUBNORMAL, /* f16 subnormals and zeros of both signs */
    STORED_FINITE,    /* any finite number */
    STORED_ANY,       /* any bits */
    STORED_FILLS
} stored_fill;

/* n elements (whole blocks). random(ctx) gives 32 bits. */
void stored_random(void *row, dm_dtype type, size_t n, stored_fill fill, uint32_t (*random)(void *), void *ctx);

#endif
