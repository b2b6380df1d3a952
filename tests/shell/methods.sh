#!/bin/sh
# dmpo train with kto, with two references and with --tensorboard: the same weights from any number of threads, from
# run.json and from a cache; one line for what is wrong.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
case=$SRC/tests/golden/llama-tied-gqa
set -- --data "$case/case.json" --eval-data "$case/case.json" --reference "$case/reference" --batch 2 --epochs 2 --lr 1e-3

# train NAME OPTION...: results go to NAME.txt, messages to NAME.log, the model to NAME
train() {
    name=$1
    shift
    dmpo train --model "$case/model" --output "$work/$name" "$@" >"$work/$name.all" 2>"$work/$name.log" || {
        sed 's/^/  /' "$work/$name.log"
        return 1
    }
    grep -v '^peak memory' "$work/$name.all" >"$work/$name.txt"
}
planned() { dmpo plan --model "$case/model" "$@" 2>/dev/null | grep -q '^peak resident memory'; }
same() { cmp "$work/$1.txt" "$work/$2.txt"; }
differ() { ! cmp -s "$work/$1.txt" "$work/$2.txt"; }

# everything METHOD OPTION...
everything() {
    method=$1
    shift
    check "$method" train "$method" "$@" --threads 1
    check "$method: it trains" grep -q '^held-out loss' "$work/$method.txt"
    for threads in 2 3; do
        check "$method: $threads threads" train "$method-$threads" "$@" --threads $threads
        check "$method: $threads threads, the same weights" same "$method" "$method-$threads"
    done
    check "$method: from run.json" train "$method-again" --config "$work/$method/run.json"
    check "$method: from run.json, the same weights" same "$method" "$method-again"
    check "$method: a cache is made" train "$method-first" "$@" --reference-cache "$work/$method.cache"
    check "$method: a cache is read" train "$method-second" "$@" --reference-cache "$work/$method.cache"
    check "$method: it was read" grep -q 'read from the cache' "$work/$method-second.log"
    check "$method: cached, the same weights" same "$method" "$method-second"
    check "$method: with TensorBoard's file" train "$method-events" "$@" --tensorboard
    check "$method: with it, the same weights" same "$method" "$method-events"
    check "$method: it is there" test -s "$work/$method-events/events.out.tfevents.dmpo"
    check "$method: and elsewhere it is not" test ! -e "$work/$method/events.out.tfevents.dmpo"
    check "$method: plan" planned "$@"
}

everything dpo "$@" --objective dpo
everything kto "$@" --objective kto
everything mrpo "$@" --objective dpo --reference2 "$case/model"
everything mrpo-dmpo "$@" --objective dmpo --reference2 "$case/model" --alpha-mode fixed --alpha 0.25 \
    --alpha-pairing crossed --trust-region 0.5
check "kto says its divergence" grep -q '"kl": 0\.[0-9]' "$work/kto/metrics.jsonl"
check "dpo has none" sh -c "! grep -q '\"kl\"' '$work/dpo/metrics.jsonl'"

# What each option decides.
check "mrpo is not dpo" differ dpo mrpo
check "weights of kto" train weights "$@" --objective kto --undesirable-weight 1.5
check "they matter" differ kto weights
check "alpha" train alpha "$@" --objective dpo --reference2 "$case/model" --alpha-mode fixed
check "it matters" differ mrpo alpha
check "alpha's pairing" train crossed "$@" --objective dpo --reference2 "$case/model" --alpha-pairing crossed
check "it matters" differ mrpo crossed
# A region of nothing is the first reference alone; a weight of 1 in a region without limit, the second.
check "a region of nothing" train nothing "$@" --objective dpo --reference2 "$case/model" --trust-region 0
held_out() { sed -n 's/^held-out loss *\([0-9.]*\) .*/\1/p' "$work/$1.txt"; }
check "is dpo" test "$(held_out nothing)" = "$(held_out dpo)"
check "the second alone" train second "$@" --objective dpo --reference2 "$case/model" --alpha-mode fixed --alpha 1 \
    --trust-region 1e9
check "dpo with it" train first "$@" --objective dpo --reference "$case/model"
check "are one" test "$(held_out second)" = "$(held_out first)"

# refuses STATUS TEXT OPTION...
refuses() {
    want=$1 text=$2 status=0
    shift 2
    dmpo train --model "$case/model" --output "$work/refused" "$@" >"$work/refused.out" 2>"$work/refused.err" || status=$?
    grep -v -e ' items, ' -e '^reading data' "$work/refused.err" >"$work/refused.log"
    check "refused with status $want: $text" test "$status" = "$want"
    check "one line says: $text" test "$(grep -c '^dmpo train: ' "$work/refused.log")" = 1
    check "it says: $text" grep -qF -e "$text" "$work/refused.log"
    check "nothing is left of: $text" test ! -e "$work/refused"
}

refuses 2 "--reference2 is for pairs against two references" "$@" --objective sft --reference2 "$case/model"
refuses 2 "--reference2 is for pairs against two references" "$@" --objective kto --reference2 "$case/model"
refuses 2 "--alpha 1.5 is out of range; legal: 0 to 1" "$@" --reference2 "$case/model" --alpha-mode fixed --alpha 1.5
refuses 2 "--alpha 0.2 is not used by adaptive weights" "$@" --reference2 "$case/model" --alpha 0.2
refuses 2 "--trust-region -1 is out of range; legal: 0 or more" "$@" --reference2 "$case/model" --trust-region -1
refuses 2 "--reference2 names the second one" "$@" --alpha-mode fixed --alpha 0.2
refuses 2 "--desirable-weight -1 is out of range; legal: 0 or more" "$@" --objective kto --desirable-weight -1
refuses 2 "add --objective kto" "$@" --objective dpo --undesirable-weight 2
refuses 2 "kto judges each side by itself" "$@" --objective kto --link ipo
refuses 2 "legal: 0 with kto" "$@" --objective kto --label-smoothing 0.1
refuses 1 "$work/nowhere" "$@" --reference2 "$work/nowhere"
# Pairs, and the same sides one by one with their labels: the same mean over the examples. At the first step policy and
# reference are the same, so the divergence is 0 for both.
for item in "1, 5, 6, 7, 2|1, 5, 6, 8, 9, 2" "1, 9, 6, 4, 2|1, 9, 6, 3, 2" "1, 7, 8, 5, 2|1, 7, 8, 4, 3, 2"; do
    for side in "${item%|*}" "${item#*|}"; do
        count=$(printf '%s' "$side" | tr -cd , | wc -c)
        printf '{"ids": [%s], "turns": [[3, %d]]}\n' "$side" $((count + 1))
    done
done >"$work/sides"
sed -e 'N' -e 's/^\(.*\)\n\(.*\)$/{"chosen": \1, "rejected": \2}/' "$work/sides" >"$work/kto-pairs.jsonl"
awk '{ print "{\"completion\": " $0 ", \"label\": " (NR % 2 ? "true" : "false") "}" }' "$work/sides" >"$work/labelled.jsonl"
first_norm() { sed -n '/"kind": "train", "step": 1,/s/.*"loss": \([^,]*\),.*"grad_norm": \([^,]*\),.*/\1 \2/p' "$work/$1/metrics.jsonl"; }
check "kto on pairs" train kto-pairs --data "$work/kto-pairs.jsonl" --objective kto --batch 3 --steps 1 --undesirable-weight 0.5
check "kto on labelled completions" train kto-labels --data "$work/labelled.jsonl" --objective kto --batch 6 --steps 1 \
    --undesirable-weight 0.5
near() { # within 1e-5 of each other, and not 0
    printf '%s %s\n' "$(first_norm "$1")" "$(first_norm "$2")" | awk '
        function close_to(a, b) { return a > 0 && b > 0 && a - b < 1e-5 * a && b - a < 1e-5 * a }
        NF == 4 && close_to($1, $3) && close_to($2, $4) { fine = 1 } END { exit !fine }'
}
check "their first loss and gradient are the same" near kto-pairs kto-labels
refuses 1 "only the objective kto learns from labelled completions" --objective dpo --data "$work/labelled.jsonl"
refuses 1 "only the objective kto learns from labelled completions" --objective sft --data "$work/labelled.jsonl"

printf '{"ids": [1, 2, 3], "turns": [[2, 3]]}\n' >"$work/single.jsonl"
refuses 1 "preference pairs are needed" --objective kto --data "$work/single.jsonl"
pair='{"chosen": {"ids": [1, 2, 3], "turns": [[2, 3]]}, "rejected": {"ids": [1, 2, 4], "turns": [[2, 3]]}}'
printf '%s\n%s\n' "$pair" "$pair" >"$work/one.jsonl"
refuses 1 "one.jsonl: kto needs items with different prompts" --objective kto --data "$work/one.jsonl"

finish methods
