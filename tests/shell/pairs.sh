#!/bin/sh
# dmpo pairs as its users have it: files in and out, options, figures, refusals; a failure leaves nothing.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

same() { [ "$1" = "$2" ] || { printf '  %s\n  instead of\n  %s\n' "$1" "$2" && false; }; }

# episode POLICY TASK SAMPLE REWARD ACTION ACTION: an episode of two turns
episode() {
    printf '{"id": "e/train/%s/0/%s", "env": "e", "split": "train", "task": %s, "seed": 0, "sample": %s, ' "$2" "$3" "$2" "$3"
    printf '"policy": "%s", "model": null, "temperature": 0, "sampling_seed": 0, "replayed": 0, "reward": %s, ' "$1" "$4"
    printf '"done": true, "end": "done", "scores": [0, %s], "logps": [null, null], "tokens": [0, 0], ' "$4"
    printf '"conversations": [{"from": "human", "value": "Play."}, {"from": "gpt", "value": "OK"}, '
    printf '{"from": "human", "value": "Task %s."}, {"from": "gpt", "value": "Action: %s"}, ' "$2" "$5"
    printf '{"from": "human", "value": "Observation: %s"}, {"from": "gpt", "value": "Action: %s"}], ' "$5" "$6"
    printf '"final": "Observation: end"}\n'
}

{ episode expert 0 0 1 go take && episode expert 1 0 1 go open; } >"$work/expert.jsonl"
{ episode model 0 0 0.5 go drop && episode model 1 0 1 wait open; } >"$work/a.jsonl"
{ episode model 0 1 0 wait wait && episode model 1 1 0.25 go eat; } >"$work/b,c.jsonl"
{ episode model 2 0 0 go eat && episode model 0 2 0 sit sit | head -c 100; } >"$work/d.jsonl" # its last line is not whole

# ---- made ----

check "two files" works pairs --expert "$work/expert.jsonl" --explored "$work/a.jsonl" --output "$work/one.jsonl"
check "one pair" same "$(wc -l <"$work/one.jsonl" | tr -d ' ')" 1
check "its sides" grep -q '^{"id": "e/train/0/0: expert 0 > model 0", "prompt": .*"chosen": .*"Action: take".*"rejected": .*"Action: drop"' \
    "$work/one.jsonl"
check "its scores" grep -q '"chosen_score": 1, "rejected_score": 0.5}$' "$work/one.jsonl"
check "the tie is reported" has "1      with rewards that differ by no more than the margin"
check "a name with a comma" works pairs --expert "$work/expert.jsonl" --explored "$work/b,c.jsonl" --output "$work/two.jsonl"
check "two pairs" same "$(wc -l <"$work/two.jsonl" | tr -d ' ')" 2
check "a list of files" works pairs --json --expert "$work/expert.jsonl" --explored "$work/a.jsonl,$work/d.jsonl" \
    --output "$work/three.json"
check "the same pair, in a list" same "$(sed '1d;$d' "$work/three.json")" "$(cat "$work/one.jsonl")"
check "brackets around it" same "$(sed -n '1p;$p' "$work/three.json" | tr -d '\n')" "[]"
check "figures: counts" has '"pairs": 1,'
check "figures: candidates" has '"candidates": 3,'
check "figures: dropped" has '"dropped": {"unmatched": 1, "tie": 1},'
check "figures: turns" has '"chosen_turns": {"mean": 2, "max": 2},'
check "figures: bytes" has '"rejected_bytes": {"mean": 37, "max": 37},'
check "figures: rewards" has '"rejected_reward": 0.5,'
check "figures: shared turns" has '"shared_turns": {"mean": 1, "max": 1}}'

cat "$work/a.jsonl" "$work/b,c.jsonl" >"$work/all.jsonl"
check "among" works pairs --explored "$work/all.jsonl" --among --form step --output "$work/among.jsonl"
check "the best against the worst" same "$(sed 's/", "prompt.*//' "$work/among.jsonl" | tr '\n' ' ')" \
    '{"id": "e/train/0/0: model 0 > model 1 {"id": "e/train/1/0: model 0 > model 1 '
check "sft" works pairs --expert "$work/expert.jsonl" --explored "$work/a.jsonl" --form sft --output "$work/sft.jsonl"
check "its runs" same "$(sed 's/", "conv.*//' "$work/sft.jsonl" | tr '\n' ' ')" \
    '{"id": "e/train/0/0: expert 0 {"id": "e/train/1/0: expert 0 {"id": "e/train/1/0: model 0 '
check "options of a file" sh -c "printf '{\"command\": \"pairs\", \"cut\": 0, \"form\": \"segment\", \"min-chosen\": null}' >'$work/config.json'"
check "--config" works pairs --config "$work/config.json" --from-pairs "$work/two.jsonl" --output "$work/cut.jsonl"
check "segments" grep -q '"Observation: go"}\], "chosen": \[{"from": "gpt", "value": "Action: open"}\], "rejected": \[{"from": "gpt", "value": "Action: eat"}\]' \
    "$work/cut.jsonl"
check "the seed decides" works pairs --from-pairs "$work/two.jsonl" --limit 1 --seed 3 --output "$work/limit.jsonl"
cp "$work/limit.jsonl" "$work/again.jsonl"
check "and decides the same again" works pairs --from-pairs "$work/two.jsonl" --limit 1 --seed 3 --output "$work/limit.jsonl" --overwrite
check "byte by byte" cmp "$work/limit.jsonl" "$work/again.jsonl"

# What was made is training data.
for file in one.jsonl two.jsonl three.json cut.jsonl; do
    check "dmpo info $file" sh -c "${EXEC_WRAPPER-} '$BUILD/dmpo' info '$work/$file' >'$out'"
    check "$file is pairs" grep -q '^kind  *pairs' "$out"
done
check "dmpo info sft.jsonl" sh -c "${EXEC_WRAPPER-} '$BUILD/dmpo' info '$work/sft.jsonl' >'$out'"
check "sft.jsonl is conversations" grep -q '^kind  *conversations' "$out"
check "an episode is supervised data as it is" sh -c "${EXEC_WRAPPER-} '$BUILD/dmpo' info '$work/expert.jsonl' >'$out'"
check "its turns" grep -q '^turns  *min 2, median 2, max 2, total 4' "$out"

# ---- refused ----

cp "$work/one.jsonl" "$work/before"
refuses 2 "no output given; --output FILE" pairs --from-pairs "$work/one.jsonl"
refuses 2 "no runs given" pairs --output "$work/refused.jsonl"
refuses 2 "--margin 2 is out of range; legal: 0 to 1" pairs --from-pairs "$work/one.jsonl" --margin 2 --output "$work/refused.jsonl"
refuses 2 "--min-chosen 1.5 is out of range; legal: 0 to 1" pairs --min-chosen 1.5
refuses 2 "--min-edit-distance 2 is out of range; legal: 0 to 1" pairs --min-edit-distance 2
refuses 2 "--cut -2 is out of range; legal: -1 to 1000000000" pairs --cut -2
refuses 2 "--degrade-turns 0 is out of range; legal: 1 to 10000" pairs --degrade-turns 0
refuses 2 "--per-task -1 is out of range; legal: 0 to 1000000000" pairs --per-task -1
refuses 2 "--max-length-ratio 0.5 is out of range; legal: 0 (any) or at least 1" pairs --from-pairs "$work/one.jsonl" --max-length-ratio 0.5 \
    --output "$work/refused.jsonl"
refuses 2 "--form: 'best' is not one of: pairs, sft, step, segment" pairs --form best
refuses 2 "has an empty name among its files" pairs --explored "$work/a.jsonl," --among --output "$work/refused.jsonl"
refuses 2 "needs --invalid-answer TEXT" pairs --from-pairs "$work/one.jsonl" --degrade meaningless --output "$work/refused.jsonl"
refuses 2 "unexpected argument" pairs file.jsonl
refuses 1 "cannot open" pairs --from-pairs "$work/nosuch.json" --output "$work/refused.jsonl"
refuses 1 "no pair is left of 2: 2 with no other run of their task" pairs --explored "$work/b,c.jsonl" --among --output "$work/refused.jsonl"
refuses 1 "no/such/dir" pairs --from-pairs "$work/two.jsonl" --output "$work/no/such/dir/pairs.jsonl"
: >"$work/none.jsonl"
refuses 1 "none.jsonl:1:1: expected a value" pairs --from-pairs "$work/none.jsonl" --output "$work/refused.jsonl"
refuses 1 "already exists; name another --output, or --overwrite replaces it" pairs --from-pairs "$work/two.jsonl" --output "$work/one.jsonl"
for force in "" --overwrite; do
    # shellcheck disable=SC2086 # an option or none
    refuses 1 "is an input of this command" pairs --from-pairs "$work/two.jsonl,$work/one.jsonl" --output "$work/./one.jsonl" $force
done
check "the output is as it was" cmp "$work/one.jsonl" "$work/before"
check "unless it may be overwritten" works pairs --from-pairs "$work/two.jsonl" --output "$work/one.jsonl" --overwrite
if cmp -s "$work/one.jsonl" "$work/before"; then check "which it is" false; fi
for left in "$work"/*.tmp-*; do
    check "$left is not left" [ ! -e "$left" ]
done

finish pairs
