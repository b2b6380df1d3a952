/* libFuzzer's entry point; driver.c calls it too, where there is no libFuzzer. */
#ifndef DM_TESTS_FUZZ_FUZZ_H
#define DM_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* For readers that want a path: writes the input to a file of this process and returns its name. */
const char *fuzz_file(const uint8_t *data, size_t size);

#endif
