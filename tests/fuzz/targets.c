#include "tests/fuzz/targets.h"

#define TARGET(name, binary) {#name, fuzz_##name, binary},
const fuzz_target fuzz_targets[] = {FUZZ_TARGETS(TARGET){NULL, NULL, false}};
