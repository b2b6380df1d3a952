/* Every fuzz target on its corpus (tests/fuzz/corpus/NAME/), on beginnings of each of its files, and on copies with a
 * few bytes changed, the same ones every time. What is wrong ends the program; a sanitizer's build sees more.
 * DMPO_TEST_FAST=1 changes fewer. With arguments: TARGET FILE...: these alone, unchanged. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/files/file.h"
#include "core/files/path.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/check.h"

#define INPUT_BYTES ((size_t)1 << 20)

static uint32_t state;

static uint32_t below(size_t n)
{
    state = state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)state * n) >> 32);
}

/* A copy of the exact size, so that a byte read past it is seen. */
static void run(const fuzz_target *t, const char *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data, size);
    t->run(copy, size);
    free(copy);
}

static void change(char *data, size_t size)
{
    static const char values[] = {0, '"', '{', ']', ',', '9', '-', '\\', (char)0x80, (char)0xFF};

    for (uint32_t n = 1 + below(3); n > 0; n--) {
        const uint32_t at = below(size);
        switch (below(4)) {
        case 0:
            data[at] = (char)(data[at] ^ (1 << below(8)));
            break;
        case 1: /* a stretch of it stands elsewhere, too */
            memmove(data + at, data + below(at + 1), below(size - at < 16 ? size - at : 16));
            break;
        default:
            data[at] = values[below(sizeof values)];
            break;
        }
    }
}

static void replay(const fuzz_target *t, const char *path, unsigned inputs)
{
    char *data, *copy;
    size_t size;
    dm_error err = {0};

    if (!CK_MSG(dm_file_read(path, INPUT_BYTES, &data, &size, &err) == DM_OK, "%s", err.message))
        return;
    run(t, data, size);
    copy = malloc(size + 1);
    FUZZ_CHECK(copy != NULL);
    state = (uint32_t)size;
    for (unsigned i = 0; size > 0 && i < inputs; i++) {
        if (i % 8 == 0) {
            run(t, data, below(size));
            continue;
        }
        memcpy(copy, data, size);
        change(copy, size);
        run(t, copy, size);
    }
    free(copy);
    free(data);
}

static void replay_all(const fuzz_target *t, const char *corpus, unsigned inputs)
{
    dm_path dir, file;
    size_t files = 0;
    DIR *d = dm_path_in(&dir, corpus, t->name, NULL) == DM_OK ? opendir(dir.text) : NULL;

    for (const struct dirent *e; d && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.' && CK(dm_path_in(&file, dir.text, e->d_name, NULL) == DM_OK)) {
            replay(t, file.text, inputs);
            files++;
        }
    if (d)
        closedir(d);
    CK_MSG(files > 0, "%s: no corpus", dir.text);
}

int main(int argc, char **argv)
{
    const char *source = getenv("SRC"), *fast = getenv("DMPO_TEST_FAST");
    dm_path corpus;

    if (!CK(dm_path_in(&corpus, source ? source : ".", "tests/fuzz/corpus", NULL) == DM_OK))
        return ck_done("fuzz");
    for (const fuzz_target *t = fuzz_targets; t->name; t++)
        if (argc < 2)
            replay_all(t, corpus.text, fast && *fast ? 10 : 100);
        else if (strcmp(t->name, argv[1]) == 0)
            for (int i = 2; i < argc; i++)
                replay(t, argv[i], 0);
    return ck_done("fuzz");
}
