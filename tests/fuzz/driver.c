/* Runs a fuzz target without libFuzzer: on each file named, on every beginning of it, and with each of its bytes
 * changed to a few values (the first 4096 bytes). The sanitizers judge. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

int main(int argc, char **argv)
{
    static const uint8_t values[] = {0, '"', '{', ']', ',', '9', 0x80, 0xFF};
    static uint8_t data[1 << 20];
    unsigned long runs = 0;

    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (!f) {
            perror(argv[i]);
            return 1;
        }
        const size_t size = fread(data, 1, sizeof data, f), part = size < 4096 ? size : 4096;
        fclose(f);
        LLVMFuzzerTestOneInput(data, size);
        for (size_t n = 0; n < part; n++, runs++) {
            uint8_t *copy = malloc(n + 1); /* of the exact size, so that a read behind it is seen */
            if (!copy)
                return 1;
            memcpy(copy, data, n);
            LLVMFuzzerTestOneInput(copy, n);
            free(copy);
        }
        for (size_t at = 0; at < part; at++)
            for (size_t v = 0; v < sizeof values; v++, runs++) {
                const uint8_t old = data[at];
                data[at] = values[v];
                LLVMFuzzerTestOneInput(data, size);
                data[at] = old;
            }
    }
    printf("%lu inputs\n", runs);
    return 0;
}
