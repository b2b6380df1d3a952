#!/bin/sh
# What sharing a pair's common beginning gains, on real pairs: tokens computed and time a step, with and without.
#     bench/prefix.sh [FILE...]       default: the demo's pairs, and ../shared/data's where they are
# Env: BUILD (holds dmpo), SRC. JSON lines on stdout, the same as a table on stderr. The model is of the 15m shape with
# a vocabulary of 2,000 trained on the pairs; steps of 8 pairs, with and without in turn, two rounds of five; of each
# round the first step warms up, and what is printed is the median of the others and their range.
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

# spread FILE...: median, least and most of the steps' seconds, the first of each file left out
spread() {
    for metrics; do
        sed -n 's/.*"kind": "train".*"seconds": \([0-9.e-]*\).*/\1/p' "$metrics" | sed 1d
    done | sort -g | awk '{x[NR] = $1} END {print x[int((NR + 1) / 2)], x[1], x[NR]}'
}

text() { "$build/dmpo" info --json | sed -n "s/.*\"$1\": \"\([^\"]*\)\".*/\1/p"; }

member() { sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p"; }

machine=$(text processor)
isa=$(text isa)

for file; do
    name=$(basename "$file")
    rm -rf "$work/model" "$work/tokenizer"
    "$build/dmpo" tokenizer train --quiet --output "$work/tokenizer" --vocabulary 2000 "$file" >/dev/null
    "$build/dmpo" init --quiet --output "$work/model" --tokenizer "$work/tokenizer" --hidden 288 --intermediate 768 \
        --layers 6 --heads 6 --tied >/dev/null
    for share in share-prefix no-share-prefix; do
        "$build/dmpo" plan --model "$work/model" --data "$file" --$share --json >"$work/$share.json"
    done
    for round in 1 2; do
        for share in share-prefix no-share-prefix; do
            "$build/dmpo" train --quiet --model "$work/model" --data "$file" --output "$work/$share.$round" --batch 8 \
                --steps 5 --$share >/dev/null
        done
    done
    tokens=$(member tokens <"$work/share-prefix.json")
    packed=$(member packed_tokens <"$work/share-prefix.json")
    read -r with low high <<EOF
$(spread "$work"/share-prefix.?/metrics.jsonl)
EOF
    read -r without low2 high2 <<EOF
$(spread "$work"/no-share-prefix.?/metrics.jsonl)
EOF
    printf '{"bench":"prefix","machine":"%s","isa":"%s","file":"%s","tokens":%s,"computed":%s,"seconds":%s,"low":%s,"high":%s,' \
        "$machine" "$isa" "$name" "$tokens" "$packed" "$with" "$low" "$high"
    printf '"seconds_without":%s,"low_without":%s,"high_without":%s}\n' "$without" "$low2" "$high2"
    awk "BEGIN { printf \"%-24s %8d tokens, %8d computed (%.0f %%); a step of 8 pairs %.3f s (%.3f-%.3f), without sharing %.3f s (%.3f-%.3f): %.2f x\n\", \
        \"$name\", $tokens, $packed, 100 * $packed / $tokens, $with, $low, $high, $without, $low2, $high2, $without / $with }" >&2
    rm -rf "$work"/*share-prefix.?
done
