#!/bin/sh
# Builds the fuzz targets into DIR (default build/fuzz) with ASAN and UBSAN, from anywhere:
#   tests/fuzz/build.sh [DIR]                     then   DIR/json tests/fuzz/corpus/json
# With clang's libFuzzer where the compiler has it; else with driver.c, which takes files:
#   CC=gcc tests/fuzz/build.sh [DIR]              then   DIR/json tests/fuzz/corpus/json/*
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=${1:-$root/build/fuzz}
: "${CC:=clang}"
mkdir -p "$dir"
flags="-std=c11 -D_POSIX_C_SOURCE=200809L -ffp-contract=off -g -O1 -I$root"
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"
echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n);
int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return (int)(d == 0) * (int)n * 0; }' >"$dir/probe.c"
# $flags and $sanitize are lists.
# shellcheck disable=SC2086
if $CC $flags $sanitize -fsanitize=fuzzer -o "$dir/probe" "$dir/probe.c" 2>/dev/null; then
    engine=-fsanitize=fuzzer
    main=
else
    engine=
    main=$root/tests/fuzz/driver.c
fi
rm -f "$dir/probe" "$dir/probe.c"
for target in json safetensors gguf dataset message tokenizer; do
    more=
    [ $target != message ] || more="$root/agent/env/message.c $root/agent/env/env.c"
    # shellcheck disable=SC2086
    $CC $flags $sanitize $engine -o "$dir/$target" "$root/tests/fuzz/fuzz_$target.c" "$root/tests/fuzz/fuzz_file.c" $main \
        "$root"/core/dtype.c "$root"/core/error.c "$root"/core/file.c "$root"/core/path.c "$root"/core/text.c "$root"/core/input.c "$root"/core/output.c "$root"/core/sha256*.c "$root"/core/block.c "$root"/core/narrow.c "$root"/io/*.c "$root"/io/*/*.c $more -lm -pthread ${EXTRA_SOURCES:-}
    echo "$dir/$target"
done
