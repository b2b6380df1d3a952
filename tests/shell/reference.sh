#!/bin/sh
# The reference policy: its cache is used only for what it was made of, and one of another shape is refused.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
case=$SRC/tests/golden/llama-tied-gqa

# train NAME OPTION...: one step; messages go to NAME.log, the weights' hash to NAME.txt
train() {
    name=$1
    shift
    dmpo train --data "$case/case.json" --steps 1 --batch 2 --lr 1e-3 --output "$work/out" --overwrite \
        "$@" >"$work/$name.all" 2>"$work/$name.log" || return 1
    grep '^weights' "$work/$name.all" >"$work/$name.txt"
}
cached() { grep -q 'read from the cache' "$work/$1.log"; }
computed() { grep -q '^reference policy' "$work/$1.log"; }

cp -R "$case/model" "$work/other"
chmod -R u+w "$work/other"
sed 's/"rms_norm_eps": [^,]*/"rms_norm_eps": 0.25/' "$case/model/config.json" >"$work/other/config.json"
check "another configuration" sh -c "! cmp -s '$case/model/config.json' '$work/other/config.json'"

with_cache="--reference-cache $work/cache"
# shellcheck disable=SC2086 # an option and its value
{
    check "without a cache" train plain --model "$case/model"
    check "a cache is made" train first --model "$case/model" $with_cache
    check "it was computed" computed first
    check "a cache is read" train second --model "$case/model" $with_cache
    check "it was read" cached second
    check "the same weights" cmp "$work/plain.txt" "$work/second.txt"
    check "a cache of other lengths" train shorter --model "$case/model" $with_cache --max-length 20
    check "is computed again" computed shorter
    train again --model "$case/model" $with_cache
    check "a cache of another configuration" train config --model "$work/other" $with_cache
    check "is computed again" computed config
    check "other weights come out" sh -c "! cmp -s '$work/plain.txt' '$work/config.txt'"
}

refused() { ! train other --model "$case/model" --reference "$work/other"; }
check "a reference of another shape is refused" refused
check "the message names the key" grep -q 'rms_norm_eps differs' "$work/other.log"
check "in one line" test "$(grep -c '^dmpo train: ' "$work/other.log")" = 1

finish reference
