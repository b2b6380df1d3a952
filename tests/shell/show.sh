#!/bin/sh
# dmpo show: what it prints of items of every form, against tests/data/show; weights and log-probabilities against dmpo
# score. After a change that is meant, copy what is named here from the test's directory: it prints the difference.
# Needs awk and sed; DMPO_TEST_FAST=1 takes fewer golden cases.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
expected=$SRC/tests/data/show

like() { # like NAME FILE: FILE is tests/data/show/NAME
    cmp -s "$expected/$1" "$2" || { diff "$expected/$1" "$2" | head -20 | sed 's/^/  /' && false; }
}

cp "$expected/data.jsonl" "$work/data.jsonl"
cd "$work" || exit 1
check "tokenizer train" works tokenizer train --quiet --output tokenizer --vocabulary 300 data.jsonl
for seed in 0 1; do
    check "init $seed" works init --output "model$seed" --tokenizer tokenizer --hidden 32 --layers 1 --heads 2 \
        --intermediate 64 --std 0.1 --seed $seed
done

# ---- each output of a pair; a side that is cut ----

pair="show data.jsonl --model model0 --reference model1 --max-length 90"
# shellcheck disable=SC2086 # a list of words
{
    check "a pair" works $pair
    check "as expected" like pair.txt "$out"
    check "--tokens" works $pair --tokens
    check "as expected" like tokens.txt "$out"
    check "--json" works $pair --json
    check "as expected" like pair.json "$out"
    check "--html" works $pair --html page.html
    check "prints nothing" test ! -s "$out"
    check "--colour" works $pair --colour --no-logps
    check "without colours it is the same text" works $pair --no-logps --colour
}
sed '1,/^<main>$/d' page.html >main.html
check "the page as expected" like page.html main.html
check "the page is whole" grep -q '^</html>$' page.html
check "no script" test "$(grep -c '<script' page.html)" = 0
check "markup of the data is text" test "$(grep -c '<b>' page.html)" = 0
check "no control character reaches the page" test "$(LC_ALL=C tr -d '\n' <page.html | LC_ALL=C grep -c '[[:cntrl:]]')" = 0
sed "s/$(printf '\033')\[[0-9;]*m//g" "$out" >plain.txt
check "colours were there" test "$(grep -c "$(printf '\033')" "$out")" -gt 10
# shellcheck disable=SC2086
check "without --colour" works $pair --no-logps
check "colours change nothing but the colour" cmp plain.txt "$out"
check "no control character reaches the terminal" test "$(LC_ALL=C tr -d '\n' <"$out" | LC_ALL=C grep -c '[[:cntrl:]]')" = 0
check "quotes keep a forged token apart from a real one" test "$(grep -c '<|end|>$' "$expected/tokens.txt")" = 6

# ---- the other forms ----

for item in 7 'item 3' 3 same; do
    check "item $item" works show data.jsonl --model model0 --no-logps --item "$item"
    cat "$out"
done >forms.txt
check "conversations, a label and equal sides" like forms.txt forms.txt
check "tool calls in a template that has them" works show data.jsonl --model model0 --no-logps --item call \
    --template "$expected/tools.jinja"
sed 's/^template  .*tools.jinja$/template      tools.jinja/' "$out" >tools.txt
check "as expected" like tools.txt tools.txt
refuses 1 'item "call": messages' show data.jsonl --model model0 --item call
check "token ids without a model" works show data.jsonl --item 1
cp "$out" ids.txt
check "their tokens" works show data.jsonl --item 6 --tokens
cat "$out" >>ids.txt
check "as expected" like ids.txt ids.txt
check "the first item by default, from a pipe" test "$(dmpo show - --model model0 --no-logps <data.jsonl | sed -n 2p)" = \
    'item          item 0, kitchen'
check "sft imitates the chosen side" works show data.jsonl --model model0 --no-logps --objective sft
check "and says so" has 'none trained: sft imitates the chosen side'

# ---- what is refused ----

refuses 1 'data.jsonl:2:28: item "broken": "chosen" is empty' show data.jsonl --model model0 --item broken
refuses 2 'has no item "none"; name one of its 7 items by its id, or by its number from 0' show data.jsonl --item none
refuses 2 'data.jsonl: holds text: a tokenizer and a chat template are needed, of a --model that has them' show data.jsonl
refuses 2 '--reference is compared with a policy; give --model' show data.jsonl --item 1 --reference model0
refuses 2 '--html writes a page with everything; leave --json out' show data.jsonl --item 1 --html none --json
refuses 2 'an argument is missing' show --model model0
refuses 1 'nosuch.jsonl' show nosuch.jsonl
refuses 1 'the first turn ends at token' show data.jsonl --model model0 --max-length 5
refuses 1 'nosuch/page.html' show data.jsonl --item 1 --html nosuch/page.html
check "nothing was written" test ! -e none

# ---- the weights are those of training ----

# From show's JSON: beta times the sum of weight * (logp - reference) over each side's tokens.
rewards_of() {
    awk '/"beta": / { beta = $0; sub(/.*"beta": /, "", beta); beta += 0 }
        /"side": / { if (sides++) printf "%.9f\n", beta * s; s = 0 }
        /"turn": / { w = $0; sub(/.*"weight": /, "", w); p = $0; sub(/.*"logp": /, "", p)
                     r = $0; sub(/.*"reference_logp": /, "", r); s += w * (p - r) }
        END { printf "%.9f\n", beta * s }' "$1"
}
near() { # two columns of numbers, equal to 1e-6
    paste "$1" "$2" | awk '{ d = $1 - $2; n++; if (NF != 2 || d > 1e-6 || d < -1e-6) bad = 1 }
        END { exit bad || !n }' || { paste "$1" "$2" | sed 's/^/  /' && false; }
}

cases=$(cd "$SRC/tests/golden" && echo *)
[ -z "${DMPO_TEST_FAST-}" ] || cases="llama-tied-gqa qwen3-qknorm"
for name in $cases; do
    golden=$SRC/tests/golden/$name
    for loss in 'dmpo --gamma 0.7' 'dmpo --gamma 0.9 --phi printed' 'dmpo-token --gamma 0.95' dpo 'dmpo --length-normalised'; do
        # shellcheck disable=SC2086 # a list of words
        {
            check "score $name, $loss" works score --quiet --model "$golden/model" --reference "$golden/reference" \
                --data "$golden/case.json" --beta 0.3 --objective $loss
            sed -n '3,4p' "$out" >scored
            check "show $name, $loss" works show "$golden/case.json" --item 1 --json --model "$golden/model" \
                --reference "$golden/reference" --beta 0.3 --objective $loss
        }
        sed 's/.*"reward": \(.*\)}/\1/' scored >want
        rewards_of "$out" >got
        check "$name, $loss: the weights give the reward" near got want
        grep -o '"reward": [^,]*' "$out" | sed 's/"reward": //' >got
        check "$name, $loss: the reward to the last digit" cmp got want
        sed 's/.*"turns": \[//; s/\].*//' scored | grep -o '"logp": [^,]*, "reference_logp": [^,}]*' >want
        grep '"begin": ' "$out" | grep -o '"logp": [^,]*, "reference_logp": [^,}]*' >got
        check "$name, $loss: every turn to the last digit" cmp got want
    done
done

# ---- items as five sets of agents' data have them (tests/python/agents.py compares the masks with transformers') ----

expected=$SRC/tests/data/agents
cp "$expected/data.jsonl" agents.jsonl
check "tokenizer train" works tokenizer train --quiet --output agents --vocabulary 300 --template chatml agents.jsonl
check "init" works init --output agent --tokenizer agents --hidden 32 --layers 1 --heads 2 --intermediate 64
for item in toolbench hermes apigen-mt agent-instruct toucan; do
    check "$item" works show agents.jsonl --item $item --model agent --no-logps --template "$expected/template.jinja"
    sed '1,/^$/d' "$out"
done >agents.txt
check "trained as expected" like expected.txt agents.txt

finish show
