#!/bin/sh
# A run made by one program is proved by another, and the other way round, within 512 MiB: such as x86-64 with AVX-512
# here and AArch64 under qemu there.
# usage: HERE="build/dmpo" THERE="qemu-aarch64 -L /usr/aarch64-linux-gnu OTHER/dmpo" tests/tools/verify_across.sh
# Ends with "verify_across: N passed, N failed".
set -u

work=$(mktemp -d "${TMPDIR:-/tmp}/across.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
case=$(cd "$(dirname "$0")/../golden/llama-tied-gqa" && pwd)

# one MAKER VERIFIER NAME OPTION...
one() {
    maker=$1 verifier=$2 name=$3
    shift 3
    # shellcheck disable=SC2086 # commands are lists of words
    if $maker train --model "$case/model" --data "$case/case.json" --eval-data "$case/case.json" --batch 2 --steps 12 \
        --lr 1e-3 --checkpoint-every 4 --keep-checkpoints --output "$work/$name" --quiet "$@" >/dev/null &&
        $verifier verify "$work/$name" --memory 512MiB --quiet >"$work/out" &&
        grep -q '12 computed again, 12 of them proved' "$work/out"; then
        passed=$((passed + 1))
        printf '%s: %s\n' "$name" "$(sed -n 's/^steps  *//p' "$work/out")"
    else
        failed=$((failed + 1))
        printf 'failed: %s\n' "$name"
        cat "$work/out"
    fi
}

one "$HERE" "$THERE" here-there
one "$THERE" "$HERE" there-here
one "$HERE" "$THERE" adapter-here-there --lora-rank 4 --objective sft
printf 'verify_across: %d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
