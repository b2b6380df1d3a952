#include "tests/support/check.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define SHOWN 50 /* failures printed; all are counted */

unsigned long ck_failed;
static unsigned long passed, skipped;

bool ck_result(bool ok, const char *file, int line, const char *fmt, ...)
{
    if (ok) {
        passed++;
        return true;
    }
    ck_failed++;
    if (ck_failed > SHOWN)
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

void ck_skip(const char *why)
{
    skipped++;
    printf("skipped: %s\n", why);
}

void *ck_alloc(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);

    if (!p) {
        perror("malloc");
        exit(2);
    }
    return p;
}

int ck_done(const char *name)
{
    if (ck_failed > SHOWN)
        printf("... and %lu more failures\n", ck_failed - SHOWN);
    printf("%s: %lu passed, %lu failed", name, passed, ck_failed);
    if (skipped > 0)
        printf(", %lu skipped", skipped);
    putchar('\n');
    return ck_failed > 0;
}
