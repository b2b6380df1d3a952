#!/bin/sh
# Fuzzes with libFuzzer, ASAN and UBSAN, from anywhere; needs clang.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]   each target (default: all) for so long; new inputs go to
#                                           build-fuzz/found/TARGET, what crashes to build-fuzz/crash-TARGET-*
#   tests/fuzz/run.sh merge [TARGET...]     makes each corpus smaller and puts what was found into it
#   tests/fuzz/run.sh coverage [TARGET...]  lines of each parser that the corpora run (with llvm-profdata, llvm-cov);
#                                           those that say that memory or a file failed are counted apart, for
#                                           tests/faults reaches them; SHOW=1 lists what is left
#
# CC, LLVM_PROFDATA and LLVM_COV name other versions. With SEED a run depends on nothing but the code, the corpus and
# the seed, whatever the directory, the machine and its speed: a longer one begins as a shorter one does. It reads the
# corpus alone and keeps nothing that it finds; RUNS=N ends it after N runs at the latest.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
corpus=$root/tests/fuzz/corpus
: "${CC:=clang}" "${LLVM_PROFDATA:=llvm-profdata}" "${LLVM_COV:=llvm-cov}"
[ ! -w /dev/shm ] || : "${TMPDIR:=/dev/shm}"
SRC=$root
export TMPDIR SRC
what=${1:?usage: tests/fuzz/run.sh SECONDS, merge or coverage, and targets}
shift
if [ $# -eq 0 ]; then
    cd "$corpus"
    set -- *
fi

build() { # build DIR CFLAGS GOAL CONFIGURE-OPTIONS
    mkdir -p "$root/$1"
    cd "$root/$1"
    # shellcheck disable=SC2086 # options are words
    [ -f config.mk ] || CC=$CC CFLAGS=$2 "$root/configure" --disable-shared --disable-avx2 --disable-neon $4 >/dev/null
    make -j"$(nproc 2>/dev/null || echo 2)" SRC="$root" B=. "$3" | grep -v '^  ' || :
}

build_fuzz() {
    build build-fuzz "-fsanitize=fuzzer-no-link -fno-sanitize-coverage=stack-depth -g" fuzz \
        --enable-sanitize=address,undefined
}

# What reads outside data, as the source files that do nothing else but little.
parsers='io/json.c io/json_get.c io/json_parse.c io/npy.c io/safetensors.c io/safetensors_read.c io/gguf.c io/gguf_get.c
    io/gguf_parts.c io/tokenizer/added.c io/tokenizer/tokenizer_extra.c io/tokenizer/tokenizer_gguf.c
    io/tokenizer/tokenizer_llama2c.c io/tokenizer/tokenizer_load.c io/tokenizer/tokenizer_pieces.c
    io/tokenizer/tokenizer_pipeline.c io/tokenizer/tokenizer_sp.c io/data/dataset*.c io/data/template_open.c
    io/data/template_render.c io/data/template_spans.c io/jinja/*.c model/formats/adapter.c model/formats/llama2c.c
    model/formats/source_gguf.c model/formats/source_gguf_config.c model/formats/source_llama2c.c
    model/formats/tensors.c model/network/config.c model/network/config_ends.c model/network/config_layers.c
    model/network/config_rope.c model/train/checkpoint.c agent/env/message.c agent/experiment/recipe*.c
    agent/report/report_data.c agent/report/report_metrics.c agent/rollout/episode.c'

case $what in
coverage)
    CCACHE_DISABLE=1
    export CCACHE_DISABLE # paths in the program's map are as the compiler has them
    build build-fuzz-coverage "-fprofile-instr-generate -fcoverage-mapping -O1 -g" tests/fuzz ""
    rm -f ./*.raw
    for target; do
        LLVM_PROFILE_FILE=$target.raw tests/fuzz "$target" "$corpus/$target"/* >/dev/null
    done
    "$LLVM_PROFDATA" merge -o all.data ./*.raw
    "$LLVM_COV" export tests/fuzz -format=lcov -instr-profile=all.data >all.lcov
    cd "$root"
    # shellcheck disable=SC2086 # names and patterns
    for file in $parsers; do
        awk -v name="$file" -v show="${SHOW-}" '
            FNR == NR { line[FNR] = $0; next }
            /^SF:/ { here = substr($0, length($0) - length(name)) == "/" name }
            here && /^DA:/ {
                split(substr($0, 4), at, ",")
                if (at[2] > 0) { reached++; next }
                if (line[at[1]] ~ /ERR_MEMORY|ERR_FILE|no_memory|fail_memory|no memory/) { failing++; next }
                left++
                if (show) printf "%s:%d: %s\n", name, at[1], line[at[1]]
            }
            END { printf "%-40s %4d lines reached, %3d of failing calls, %3d left: %.1f %%\n", name, reached, failing, left,
                  100 * reached / (reached + left) }' "$file" build-fuzz-coverage/all.lcov
    done
    ;;
merge)
    build_fuzz
    for target; do
        mkdir -p "found/$target" "small/$target"
        DMPO_FUZZ=$target "$PWD/fuzz" -merge=1 -max_len=16384 "$PWD/small/$target" "$corpus/$target" "$PWD/found/$target" 2>&1 |
            sed -n "s/^MERGE-OUTER: \([0-9].* new files.*\)/$target: \1/p"
        cp "small/$target"/* "$corpus/$target/"
    done
    ;;
*)
    build_fuzz
    for target; do
        # In the order of names, not of the directory; and what is compared, addresses too, does not get into inputs.
        if [ -n "${SEED-}" ]; then
            printf '%s\n' "$corpus/$target"/* | LC_ALL=C sort | paste -s -d , - | tr -d '\n' >"inputs-$target"
            set -- -seed="$SEED" -use_cmp=0 ${RUNS:+-runs=$RUNS} -seed_inputs="@$PWD/inputs-$target"
        else
            mkdir -p "found/$target"
            set -- "$PWD/found/$target" "$corpus/$target"
        fi
        DMPO_FUZZ=$target "$PWD/fuzz" -max_total_time="$what" -max_len=16384 -timeout=30 -rss_limit_mb=2048 \
            -print_final_stats=1 -artifact_prefix="$PWD/crash-$target-" "$@" >"log-$target" 2>&1 || {
            grep -h 'ERROR\|SUMMARY\|not so' "log-$target"
            echo "$target: see build-fuzz/log-$target"
            exit 1
        }
        sed -n "s/^stat::number_of_executed_units: */$target runs: /p" "log-$target"
    done
    ;;
esac
