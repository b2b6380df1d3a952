#!/bin/sh
# dmpo rollout and dmpo eval as commands: a run that is killed or interrupted continues, environments that fail,
# run.json, messages, and the tables. What is in the file, tests/unit/agent/rollout/test_rollout.c checks.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
out=$work/out err=$work/err

run() { dmpo "$@" >"$out" 2>"$err"; }
says() { grep -q -- "$1" "$out"; }
warns() { grep -q -- "$1" "$err"; }

# refuses STATUS TEXT ARGUMENT...: that exit status, and one line with TEXT
refuses() {
    wanted=$1 text=$2
    shift 2
    status=0
    run "$@" --quiet || status=$?
    check "dmpo $*: status $wanted, not $status" [ "$status" = "$wanted" ]
    check "dmpo $*: says '$text', not '$(cat "$err")'" warns "$text"
    check "dmpo $*: one line" [ "$(wc -l <"$err")" -eq 1 ]
}

# ---- players without a model; a run's options as a file ----

check "the expert plays" run rollout --env home --split seen --policy expert --tasks 12 --output "$work/expert.jsonl"
check "all of it" [ "$(wc -l <"$work/expert.jsonl")" -eq 12 ]
check "a summary" says '^mean reward  *1$'
check "again: nothing to do" run rollout --env home --split seen --policy expert --tasks 12 --output "$work/expert.jsonl"
check "it says so" says '^played now  *0$'
check "its run.json" run rollout --config "$work/expert.jsonl.run.json" --output "$work/again.jsonl" --json
check "gives the same" cmp -s "$work/expert.jsonl" "$work/again.jsonl"
check "a summary as JSON" says '"episodes": 12'
check "at random" run rollout --env home --split seen --policy random --tasks 12 --samples 2 --output "$work/random.jsonl"
refuses 1 '"samples": 2 there, "samples": 3 now' rollout --env home --split seen --policy random --tasks 12 --samples 3 \
    --output "$work/random.jsonl"
refuses 2 '--samples 0 is out of range; legal: 1 to' rollout --samples 0
refuses 2 '--max-tokens 0 is out of range; legal: 1 to' rollout --max-tokens 0
refuses 2 '--at-once 257 is out of range; legal: 0 to 256' rollout --at-once 257
refuses 2 '--first -1 is out of range; legal: from 0' rollout --first -1
refuses 2 'no environment given' rollout --policy expert --output "$work/x"
refuses 2 'who plays' rollout --env home --output "$work/x"
refuses 2 'is not one of' rollout --env palace --policy expert --output "$work/x"
refuses 2 'split seen of home has 0 to' rollout --env home --split seen --first 100000 --policy expert --output "$work/x"
refuses 2 "is neither a number of turns" rollout --from "$work/expert.jsonl" --continue-at two --policy expert --output "$work/x"
refuses 2 "is for the episodes of --from" rollout --env home --continue-at 2 --policy expert --output "$work/x"
refuses 1 'no regular file' rollout --env home --policy expert --output "$work"
check "nothing was begun" [ ! -e "$work/x" ]

# ---- environments that fail ----

# A button that is pressed once. Tasks that are listed in the file "bad" end the process; where there is no file "open",
# tasks from 4 on wait for it.
cat >"$work/env.sh" <<'CHILD'
cd "$1" || exit 1
while read -r line; do
    case $line in
    *hello*) echo '{"version": 1, "name": "t", "instruction": "Play.", "tasks": {"train": 7, "seen": 0, "unseen": 0}, "max_turns": 3}' ;;
    *reset*)
        task=${line#*\"task\": }
        task=${task%%,*}
        grep -q "$task" bad && exit 1
        while [ "$task" -ge 4 ] && [ -d "$1" ] && [ ! -e open ]; do sleep 1; done
        echo "{\"task\": \"Task $task\", \"observation\": \"A button.\", \"score\": 0, \"done\": false, \"expert\": \"press\"}"
        ;;
    *press*) echo '{"observation": "It beeps.", "score": 0.5, "done": true}' ;;
    *) echo '{"observation": "Nothing happens.", "score": 0, "done": false}' ;;
    esac
done
CHILD
button="cmd:exec sh '$work/env.sh' '$work'"
: >"$work/bad"
: >"$work/open"
beep() {
    output=$1
    shift
    run rollout --env "$button" --policy expert --output "$work/$output" "$@"
}
check "an environment in another process" beep sound.jsonl
check "all its tasks" [ "$(wc -l <"$work/sound.jsonl")" -eq 7 ]
echo 2 >"$work/bad"
check "one task that fails" beep one.jsonl
check "is noted" warns 'train/2/0/0: the environment failed: '
check "and written" [ "$(grep -c '"end": "environment"' "$work/one.jsonl") $(wc -l <"$work/one.jsonl")" = "1 7" ]
check "with reward 0" grep -q '"task": 2, .*"reward": 0, .*"end": "environment"' "$work/one.jsonl"
printf '2\n3\n4\n' >"$work/bad"
check "three that fail" eval '! beep three.jsonl'
check "stop the run" warns 'the environment failed in 3 episodes in a row, now in .*train/4'
check "at the first of them" [ "$(wc -l <"$work/three.jsonl")" -eq 2 ]
: >"$work/bad"
check "when it is mended" beep three.jsonl
check "they are played" cmp -s "$work/sound.jsonl" "$work/three.jsonl"
refuses 1 'does not say what is possible' rollout --env "$button" --policy random \
    --output "$work/x.jsonl"

# ---- a model, killed and interrupted ----

check "a tokenizer" run tokenizer train --output "$work/tokenizer" --vocabulary 300 "$work/expert.jsonl"
check "a model" run init --output "$work/model" --tokenizer "$work/tokenizer" --hidden 16 --intermediate 32 --layers 1 \
    --heads 2 --std 0.3 --positions 2048

# model OUTPUT OPTION...: in a subshell it is the command itself, which signals then reach
model() {
    output=$1
    shift
    # shellcheck disable=SC2086 # the wrapper is a list of words
    exec ${EXEC_WRAPPER-} "$BUILD/dmpo" rollout --env "$button" --model "$work/model" --temperature 1 --samples 3 \
        --max-tokens 24 --output "$work/$output" "$@"
}

(model whole.jsonl --quiet) >"$out" 2>"$err"
check "a model plays: $(cat "$err")" [ "$(wc -l <"$work/whole.jsonl")" -eq 21 ]
check "tokens are counted" says '^tokens per second'

# Tokens of several letters: a turn's words end with the text that stops it all the same.
(model text.jsonl --quiet --temperature 3 --stop e) >"$out" 2>"$err"
grep -o '{"from": "gpt", "value": "[^"]*"' "$work/text.jsonl" | sed 's/.*"value": "OK"//; s/.*"value": "//; s/"$//; s/\\u00..//g' >"$work/words"
check "turns end with --stop" grep -q 'e$' "$work/words"
check "and not behind it: $(grep 'e.' "$work/words" | head -n 1)" [ "$(grep -c 'e.' "$work/words")" = 0 ]

# stopped SIGNAL FILE: sends it when the file has lines and the environment waits
stopped() {
    rm -f "$work/open"
    (model "$2" --at-once 2) >"$out" 2>"$err" &
    job=$!
    tries=0
    until [ -s "$work/$2" ] || [ $tries -ge 60 ]; do
        sleep 1
        tries=$((tries + 1))
    done
    kill -"$1" $job
    : >"$work/open"
    status=0
    wait $job || status=$?
}
stopped KILL killed.jsonl
check "killed in the middle" [ "$(wc -l <"$work/killed.jsonl")" -lt 21 ]
(model killed.jsonl --quiet) >"$out" 2>"$err"
check "it continues to the same file" cmp -s "$work/whole.jsonl" "$work/killed.jsonl"
stopped TERM ended.jsonl
check "interrupted: status 1, not $status" [ $status = 1 ]
check "it says how to go on: $(tail -n 1 "$err")" warns 'stopped after [0-9]* of 21 episodes; the same command continues there'
(model ended.jsonl --quiet) >"$out" 2>"$err"
check "it continues to the same file, too" cmp -s "$work/whole.jsonl" "$work/ended.jsonl"

# ---- eval ----

check "a table" run eval "$work/random.jsonl" "$work/expert.jsonl"
check "of the expert: 1" says 'expert.jsonl  *12  *12  *1.000 .*100.0 %  .*+1.000 .*done 12$'
check "of chance: 0" says 'random.jsonl  *12  *24  *0.000 .*0.0 %  .*turns 24$'
check "by turn" run eval "$work/expert.jsonl" --by-turn
check "it ends with 1" [ "$(tail -n 1 "$out" | awk '{ print $2 }')" = 1.000 ]
check "as JSON" run eval "$work/expert.jsonl" --json
check "one object" says '^{"files": \[{"file": ".*expert.jsonl", "episodes": 12, "tasks": 12, .*\]}\]}$'
refuses 2 'an argument is missing' eval
refuses 1 'nothing.jsonl: cannot open' eval "$work/nothing.jsonl"
: >"$work/empty.jsonl"
refuses 1 'empty.jsonl: no episode' eval "$work/empty.jsonl"
echo '{}' >"$work/broken.jsonl"
refuses 1 'broken.jsonl:1:1: "id" is missing' eval "$work/broken.jsonl"

finish rollout
