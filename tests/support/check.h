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

#include <stdbool.h>
#include <stddef.h>

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

extern unsigned long ck_failed;

bool ck_result(bool ok, const char *file, int line, const char *fmt, ...) DM_PRINTF(4, 5);
void ck_skip(const char *why);
int ck_done(const char *name);

/* Memory that no check can do without: ends the program when there is none. */
void *ck_alloc(size_t bytes);

/* Both are expressions: true when the check passed. */
#define CK(cond) ck_result((cond), __FILE__, __LINE__, "%s", #cond)
#define CK_MSG(cond, ...) ck_result((cond), __FILE__, __LINE__, __VA_ARGS__)

#endif
