#!/bin/sh
# What sharing a pair's common beginning gains, on real pairs: tokens computed and time a step, with and without.
#     bench/prefix.sh [FILE...]       default: the demo's pairs, and ../shared/data's where they are
# Env: BUILD (holds dmpo), SRC. JSON lines on stdout, the same as a table on stderr. The model is of the 15m shape with a
# vocabulary of 2,000 trained on the pairs; steps of 8 pairs, the median of 7, with and without in turn.
set -eu

build=$(cd "${BUILD:-build}" && pwd -P)
src=$(cd "${SRC:-.}" && pwd -P)
work=$(mktemp -d "${TMPDIR:-/tmp}/dmpo-prefix.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

if [ $# = 0 ]; then
    set -- "$src/tests/data/demo/pairs.jsonl"
    for file in "$src"/../shared/data/*_pref.json; do
        [ ! -f "$file" ] || set -- "$@" "$file"
    done
fi

median() { sed -n 's/.*"kind": "train".*"seconds": \([0-9.e-]*\).*/\1/p' "$1" | sort -g | awk '{x[NR] = $1} END {print x[int((NR + 1) / 2)]}'; }

member() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p"; }

for file; do
    name=$(basename "$file")
    rm -rf "$work/model" "$work/tokenizer"
    "$build/dmpo" tokenizer train --quiet --output "$work/tokenizer" --vocabulary 2000 "$file" >/dev/null
    "$build/dmpo" init --quiet --output "$work/model" --tokenizer "$work/tokenizer" --hidden 288 --intermediate 768 \
        --layers 6 --heads 6 --tied >/dev/null
    for share in share-prefix no-share-prefix; do
        "$build/dmpo" train --quiet --model "$work/model" --data "$file" --output "$work/$share" --batch 8 --steps 7 \
            --$share >/dev/null
        "$build/dmpo" plan --model "$work/model" --data "$file" --$share --json >"$work/$share.json"
    done
    tokens=$(member tokens <"$work/share-prefix.json")
    packed=$(member packed_tokens <"$work/share-prefix.json")
    with=$(median "$work/share-prefix/metrics.jsonl")
    without=$(median "$work/no-share-prefix/metrics.jsonl")
    printf '{"bench":"prefix","file":"%s","tokens":%s,"computed":%s,"seconds":%s,"seconds_without":%s}\n' "$name" \
        "$tokens" "$packed" "$with" "$without"
    awk "BEGIN { printf \"%-24s %8d tokens, %8d computed (%.0f %%); a step of 8 pairs %.3f s, without sharing %.3f s (%.2f x)\n\", \
        \"$name\", $tokens, $packed, 100 * $packed / $tokens, $with, $without, $without / $with }" >&2
done
