#!/bin/sh
# A long run: tests/tools/soak.sh [STEPS [EPISODES]]. Env: BUILD (holds dmpo), SRC. Needs /proc (Linux).
#
# STEPS (10000) of a tiny model with a checkpoint every 100, stopped (SIGTERM) and killed (SIGKILL) in turn twenty times
# and resumed, end in the weights of the run that nobody disturbed; EPISODES (86400: one a second for a day) of an
# environment in another process. Memory, descriptors and disk (but for files with a record of every step) are sampled
# all the while: what they take in the last quarter is not more than in the second. A machine that is too fast for 40
# samples does four times as much.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

SRC=${SRC-$(cd "$(dirname "$0")/../.." && pwd)} BUILD=${BUILD-$SRC/build}
steps=${1-10000} episodes=${2-86400}
pause=0.2
[ "$steps" -ge 10000 ] || pause=0.05
. "$SRC/tests/tools/check.sh"
if [ ! -r /proc/self/status ]; then
    skip "no /proc here"
    finish soak
    exit
fi
cd "$work" || exit 1
for word in one two three four; do
    echo "{\"id\": \"$word\", \"prompt\": [{\"role\": \"user\", \"content\": \"say $word\"}]," \
        "\"chosen\": [{\"role\": \"assistant\", \"content\": \"$word\"}]," \
        "\"rejected\": [{\"role\": \"assistant\", \"content\": \"no\"}]}"
done >pairs.jsonl
dmpo tokenizer train --vocabulary 300 --output tokenizer --quiet "$SRC/tests/data/demo/sft.jsonl" >out
dmpo init --tokenizer tokenizer --hidden 16 --intermediate 32 --layers 1 --heads 2 --output model --quiet >out
export DMPO_THREADS=1

# sample PID OUTPUT FILE: a line of seconds, memory in KiB, descriptors, bytes on disk, until the process ends
sample() {
    while kill -0 "$1" 2>/dev/null; do
        memory=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null)
        files=$(find "/proc/$1/fd" -mindepth 1 2>/dev/null | wc -l)
        disk=$(find "$2" -type f ! -name transcript.bin ! -name '*.jsonl' -exec cat {} + 2>/dev/null | wc -c)
        [ -z "$memory" ] || [ "$files" = 0 ] || echo "$(date +%s) $memory $files $disk" >>"$3"
        sleep "$pause" 2>/dev/null || sleep 1
    done
}
# flat FILE COLUMN ROOM WHAT: the most of the last quarter is at most ROOM above the most of the second
flat() {
    awk -v column="$2" -v room="$3" -v what="$4" '
        { x[NR] = $column }
        END {
            for (i = 1; i <= NR; i++) {
                if (i > NR / 4 && i <= NR / 2 && x[i] > early) early = x[i]
                if (i > 3 * NR / 4 && x[i] > late) late = x[i]
            }
            printf "%s: %d in the second quarter, %d in the last, %d samples\n", what, early, late, NR
            exit !(NR >= 8 && late <= early + room)
        }' "$1"
}

train() { # train OUTPUT: starts it; $job
    # shellcheck disable=SC2086 # the wrapper is a list of words
    ${EXEC_WRAPPER-} "$BUILD/dmpo" train --model model --data pairs.jsonl --batch 1 --lr 1e-4 --steps "$steps" \
        --checkpoint-every 100 --resume --quiet --output "$1" >out 2>err &
    job=$!
}
# enough FILE: it has the samples that flat asks for, and a run is long enough to be stopped twenty times
enough() { [ -f "$1" ] && [ "$(wc -l <"$1")" -ge 40 ]; }
while :; do
    train whole
    sample $job whole whole.samples
    wait $job
    if [ ! -f whole/model.safetensors ] || enough whole.samples || [ "$steps" -ge 1000000 ]; then break; fi
    steps=$((steps * 4))
    rm -rf whole whole.samples
done
check "the undisturbed run: $(cat err)" [ -f whole/model.safetensors ]
begin=$(sed -n 1s/\ .*//p whole.samples) end=$(sed -n '$s/ .*//p' whole.samples)
check "its memory" flat whole.samples 2 512 "memory of a run (KiB)"
check "its descriptors" flat whole.samples 3 2 "descriptors of a run"
check "its disk" flat whole.samples 4 65536 "disk of a run (bytes)"

part=$(wc -l <whole.samples | awk -v pause=$pause '{ print $1 * pause / 20 }')
i=0 resumed=0
while [ $i -lt 20 ]; do
    i=$((i + 1))
    train cut
    sample $job cut cut.samples &
    watcher=$!
    sleep "$part" 2>/dev/null || sleep 1
    if [ $((i % 2)) = 0 ]; then kill -TERM $job 2>/dev/null; else kill -KILL $job 2>/dev/null; fi
    wait $job 2>/dev/null && break
    resumed=$((resumed + 1))
    wait $watcher
done
train cut
wait $job
check "the resumed run: $(cat err)" cmp whole/model.safetensors cut/model.safetensors
check "nothing is left of it" [ -z "$(find cut -name '*.tmp-*' -o -name checkpoint.new)" ]
echo "$steps steps in $((end - begin)) s; $resumed times stopped or killed, and resumed; the same weights"

cat >game.sh <<'CHILD'
while read -r line; do
    case $line in
    *'"hello"'*) echo '{"version": 1, "name": "g", "instruction": "Play.", "tasks": {"train": 100}, "max_turns": 3}' ;;
    *'"reset"'*) echo '{"task": "t", "observation": "o", "score": 0, "done": false, "actions": ["a", "b"]}' ;;
    *) echo '{"observation": "p", "score": 0.5, "done": false, "actions": ["a", "b"]}' ;;
    esac
done
CHILD
while :; do
    # shellcheck disable=SC2086 # the wrapper is a list of words
    ${EXEC_WRAPPER-} "$BUILD/dmpo" rollout --env 'cmd:exec sh game.sh' --policy random --tasks 100 \
        --samples $((episodes / 100)) --quiet --output episodes.jsonl >out 2>err &
    job=$!
    sample $job episodes.jsonl rollout.samples
    if ! wait $job || enough rollout.samples || [ "$episodes" -ge 1000000 ]; then break; fi
    episodes=$((episodes * 4))
    rm -f episodes.jsonl rollout.samples
done
check "the rollout: $(cat err)" [ "$(wc -l <episodes.jsonl)" -eq $((episodes / 100 * 100)) ]
check "its memory" flat rollout.samples 2 512 "memory of a rollout (KiB)"
check "its descriptors" flat rollout.samples 3 2 "descriptors of a rollout"
echo "$((episodes / 100 * 100)) episodes in $(($(sed -n '$s/ .*//p' rollout.samples) - $(sed -n 1s/\ .*//p rollout.samples))) s"
check "no program is left" [ -z "$(pgrep -f 'sh game.sh' 2>/dev/null)" ]

finish soak
