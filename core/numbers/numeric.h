/* The compiler settings that the numerics contract needs. Included by every source that computes. */
#ifndef DM_CORE_NUMBERS_NUMERIC_H
#define DM_CORE_NUMBERS_NUMERIC_H

#include <float.h>

#ifdef __FAST_MATH__
#error "fast math breaks the numerics contract: build without -ffast-math and -Ofast"
#endif

#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0
#error "this target computes float in a wider format; on 32-bit x86 that is the x87 unit"
#endif

#endif
