#!/bin/sh
# Fuzzes with libFuzzer, ASAN and UBSAN, from anywhere; needs clang.
#
#   tests/fuzz/run.sh SECONDS [TARGET...]   each target (default: all) for so long; new inputs go to
#                                           build-fuzz/found/TARGET, what crashes to build-fuzz/crash-TARGET-*
#   tests/fuzz/run.sh merge [TARGET...]     makes each corpus smaller and puts what was found into it
#   tests/fuzz/run.sh coverage              lines of each parser that its corpus runs (needs llvm-profdata and llvm-cov)
#
# CC, LLVM_PROFDATA and LLVM_COV name other versions; SEED makes a run the same again.
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

# What reads the input of a target: its own files, not what they share.
parsers() {
    case $1 in
    json) echo io/json.c io/json_parse.c ;;
    npy) echo io/npy.c ;;
    safetensors | index) echo io/safetensors.c io/safetensors_read.c ;;
    gguf) echo io/gguf.c io/gguf_get.c io/tokenizer/tokenizer_gguf.c model/formats/source_gguf.c model/formats/source_gguf_config.c ;;
    llama2c) echo model/formats/source_llama2c.c model/formats/llama2c.c ;;
    config) echo model/network/config.c ;;
    adapter) echo model/formats/adapter.c ;;
    tokenizer_json) echo io/tokenizer/tokenizer_load.c io/tokenizer/tokenizer_pipeline.c io/tokenizer/added.c ;;
    tokenizer_model) echo io/tokenizer/tokenizer_sp.c io/tokenizer/tokenizer_pieces.c ;;
    tokenizer_bin) echo io/tokenizer/tokenizer_llama2c.c ;;
    chat_template) echo io/jinja/*.c io/data/template_open.c io/data/template_render.c io/data/template_spans.c ;;
    conversation | dataset) echo io/data/dataset.c io/data/dataset_forms.c ;;
    episodes) echo agent/rollout/episode.c ;;
    recipe) echo agent/experiment/recipe.c ;;
    results) echo agent/report/report_data.c agent/report/report_metrics.c ;;
    message) echo agent/env/message.c ;;
    esac
}

case $what in
coverage)
    build build-fuzz-coverage "-fprofile-instr-generate -fcoverage-mapping -O1 -g" tests/fuzz ""
    for target; do
        LLVM_PROFILE_FILE=$target.raw tests/fuzz "$target" "$corpus/$target"/* >/dev/null
        "$LLVM_PROFDATA" merge -o "$target.data" "$target.raw"
        for file in $(parsers "$target"); do
            "$LLVM_COV" report tests/fuzz -instr-profile="$target.data" "$root/$file" | awk -v t="$target" -v f="$file" \
                '$1 == "TOTAL" { printf "%-16s %-44s %5d lines, %s\n", t, f, $8, $10 }'
        done
    done
    ;;
merge)
    build build-fuzz "-fsanitize=fuzzer-no-link -g" fuzz --enable-sanitize=address,undefined
    for target; do
        mkdir -p "found/$target" "small/$target"
        DMPO_FUZZ=$target ./fuzz -merge=1 -max_len=16384 "small/$target" "$corpus/$target" "found/$target" 2>&1 |
            sed -n "s/^MERGE-OUTER: \([0-9].* new files.*\)/$target: \1/p"
        cp "small/$target"/* "$corpus/$target/"
    done
    ;;
*)
    build build-fuzz "-fsanitize=fuzzer-no-link -g" fuzz --enable-sanitize=address,undefined
    for target; do
        mkdir -p "found/$target"
        DMPO_FUZZ=$target ./fuzz -max_total_time="$what" ${SEED:+-seed=$SEED} -max_len=16384 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
            -artifact_prefix="crash-$target-" "found/$target" "$corpus/$target" >"log-$target" 2>&1 || {
            grep -h 'ERROR\|SUMMARY\|not so' "log-$target"
            echo "$target: see build-fuzz/log-$target"
            exit 1
        }
        sed -n "s/^stat::number_of_executed_units: */$target runs: /p" "log-$target"
    done
    ;;
esac
