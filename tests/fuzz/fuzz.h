/* Fuzz targets: readers of what comes from outside, each a function of any bytes that aborts where something accepted
 * is not as the reader promises. replay.c runs them on their corpora (a program of make test), libfuzzer.c under
 * libFuzzer (tests/fuzz/run.sh). */
#ifndef DM_TESTS_FUZZ_FUZZ_H
#define DM_TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fuzz_target {
    const char *name; /* of its corpus, too */
    void (*run)(const uint8_t *data, size_t size);
    bool binary; /* with lengths in it, which libfuzzer.c keeps true when it changes what they count */
} fuzz_target;

extern const fuzz_target fuzz_targets[]; /* the last one has no name */

#define FUZZ_CHECK(truth) ((truth) ? (void)0 : fuzz_abort(__FILE__, __LINE__, #truth))
void fuzz_abort(const char *file, int line, const char *what);

/* For readers that want a path: a file of this process with these bytes, and the directory it is in, gone at exit.
 * Paths stay until the next call with the same name. */
const char *fuzz_file(const char *name, const uint8_t *data, size_t size);
const char *fuzz_directory(void);
/* Makes it the current directory, so that these paths are the same in every process. */
void fuzz_enter_directory(void);

/* Reads every byte, so that a sanitizer sees what is not there. */
void fuzz_touch(const void *data, size_t size);

#endif
