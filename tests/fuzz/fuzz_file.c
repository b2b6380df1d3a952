#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/files/file.h"
#include "tests/fuzz/fuzz.h"

static char directory[96];
static bool entered;

static void remove_directory(void)
{
    (void)dm_dir_remove(directory, NULL);
}

const char *fuzz_directory(void)
{
    if (!directory[0]) {
        const char *temporary = getenv("TMPDIR");
        const char *in = temporary && strlen(temporary) < 64 ? temporary : "/tmp";
        snprintf(directory, sizeof directory, "%s/dm-fuzz-%ld", in, (long)getpid());
        FUZZ_CHECK(dm_dir_create(directory, NULL) == DM_OK);
        atexit(remove_directory);
    }
    return entered ? "." : directory;
}

void fuzz_enter_directory(void)
{
    FUZZ_CHECK(chdir(fuzz_directory()) == 0);
    entered = true;
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    static struct {
        const char *name;
        char path[160];
    } known[32];
    size_t i = 0;

    while (known[i].name && strcmp(known[i].name, name) != 0)
        i++;
    FUZZ_CHECK(i < sizeof known / sizeof *known - 1);
    if (!known[i].name) {
        known[i].name = name;
        snprintf(known[i].path, sizeof known[i].path, "%s/%s", fuzz_directory(), name);
    }
    /* not emptied first: some file systems flush a file that was */
    const int fd = open(known[i].path, O_WRONLY | O_CREAT, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size && ftruncate(fd, (off_t)size) == 0 && close(fd) == 0);
    return known[i].path;
}

void fuzz_abort(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

void fuzz_touch(const void *data, size_t size)
{
    static volatile unsigned sum;

    for (size_t i = 0; i < size; i++)
        sum = sum + ((const unsigned char *)data)[i];
}
