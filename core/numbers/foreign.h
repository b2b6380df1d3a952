/* A build may compute exp, log and sigmoid of f32 by another library (configure --with-sleef), to compare its speed and
 * errors with the engine's own. Its results are outside of the numerics contract and say so wherever they are kept. */
#ifndef DM_CORE_NUMBERS_FOREIGN_H
#define DM_CORE_NUMBERS_FOREIGN_H

#include <stddef.h>

#include "config.h"

#if HAVE_SLEEF
#include <sleef.h>
#define DM_FOREIGN_MATH "sleef"
#else
#define DM_FOREIGN_MATH ((const char *)NULL) /* the engine's own */
#endif

#endif
