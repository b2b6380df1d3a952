/* The smallest test frame that can fail: count, report, and end with one line that tests/run.sh reads.
 *
 *     CK(size == 3);                               counts, and prints the expression when it is false
 *     CK_MSG(got == want, "got %d, want %d", ...)  the same with the values
 *     ck_skip("no AVX-512 here");                  what this machine cannot check
 *     return ck_done("arena");                     "arena: N passed, N failed", exit status 0 or 1
 *
 * One program is one source with a main; checks run on its main thread. */
#ifndef DM_TESTS_SUPPORT_CHECK_H
#define DM_TESTS_SUPPORT_CHECK_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include "core/error.h"

/* What a sanitizer changes in the program under test: memory use, address space. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define CK_ASAN 1
#elif __has_feature(thread_sanitizer)
#define CK_TSAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define CK_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define CK_TSAN 1
#endif
#ifndef CK_ASAN
#define CK_ASAN 0
#endif
#ifndef CK_TSAN
#define CK_TSAN 0
#endif
#define CK_SANITIZED (CK_ASAN || CK_TSAN)

static unsigned long ck_passed, ck_failed, ck_skipped;

#define CK_SHOWN 50 /* failures printed; all are counted */

static inline bool ck_result(bool ok, const char *file, int line, const char *fmt, ...) DM_PRINTF(4, 5);

static inline bool ck_result(bool ok, const char *file, int line, const char *fmt, ...)
{
    if (ok) {
        ck_passed++;
        return true;
    }
    ck_failed++;
    if (ck_failed > CK_SHOWN)
        return false;
    va_list args;
    va_start(args, fmt);
    printf("%s:%d: ", file, line);
    vprintf(fmt, args);
    putchar('\n');
    va_end(args);
    fflush(stdout);
    return false;
}

static inline void ck_skip(const char *why)
{
    ck_skipped++;
    printf("skipped: %s\n", why);
}

static inline int ck_done(const char *name)
{
    if (ck_failed > CK_SHOWN)
        printf("... and %lu more failures\n", ck_failed - CK_SHOWN);
    printf("%s: %lu passed, %lu failed", name, ck_passed, ck_failed);
    if (ck_skipped > 0)
        printf(", %lu skipped", ck_skipped);
    putchar('\n');
    return ck_failed > 0;
}

/* Both are expressions: true when the check passed. */
#define CK(cond) ck_result((cond), __FILE__, __LINE__, "%s", #cond)
#define CK_MSG(cond, ...) ck_result((cond), __FILE__, __LINE__, __VA_ARGS__)

#endif
