#!/bin/sh
# --resume of a run that is finished already: nothing is trained, and the results are those of the run itself. Of a run
# whose options, items or model changed: refused.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
case=$SRC/tests/golden/llama-tied-gqa
cp -R "$case/model" "$work/model"
chmod -R u+w "$work/model"

# train NAME OPTION...: its results, but for what differs between two processes, go to NAME.txt
train() {
    name=$1
    shift
    dmpo train --model "$work/model" --data "$case/case.json" --eval-data "$case/case.json" \
        --batch 2 --epochs 2 --lr 1e-4 --output "$work/out" "$@" >"$work/$name.all" 2>"$work/$name.log" || return 1
    grep -v '^peak memory' "$work/$name.all" >"$work/$name.txt"
}

for objective in dmpo sft kto; do
    rm -rf "$work/out"
    check "$objective: a run" train first --objective $objective
    cp "$work/out/metrics.jsonl" "$work/metrics"
    sed -n '/"before"/,$s/, "checksum".*/}/; /"before"/,$p' "$work/out/run.json" >"$work/before-and-after"
    check "$objective: resumed when finished" train again --objective $objective --resume
    check "$objective: the same results" cmp "$work/first.txt" "$work/again.txt"
    check "$objective: they hold an evaluation" grep -q '^held-out loss' "$work/again.txt"
    check "$objective: no metrics line is added" cmp "$work/metrics" "$work/out/metrics.jsonl"
    sed -n '/"before"/,$s/, "checksum".*/}/; /"before"/,$p' "$work/out/run.json" >"$work/resumed"
    check "$objective: run.json says the same" cmp "$work/before-and-after" "$work/resumed"
done

refused() { ! train "$@" --objective sft --resume && grep -q 'the checkpoint belongs to a run with other' "$work/$1.log"; }
check "another learning rate is refused" refused lr --lr 2e-4
check "other shards are refused" refused shards --shards 2
check "another precision is refused" refused precision --precision bf16
check "other items are refused" refused items --max-length 20
sed 's/"rms_norm_eps": [^,]*/"rms_norm_eps": 0.25/' "$case/model/config.json" >"$work/model/config.json"
check "another configuration is refused" refused config

finish resume
