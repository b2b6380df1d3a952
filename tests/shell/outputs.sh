#!/bin/sh
# Outputs: nothing is replaced without --overwrite, an input never; two processes never write one output; a damaged
# checkpoint is passed over. DMPO_RACES: how many pairs of processes compete (default 3).
# shellcheck disable=SC1091,SC2016,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
cd "$work" || exit 1
data=$SRC/tests/data/demo

run() { dmpo "$@" --quiet >out 2>err </dev/null; }
sum() { [ ! -e "$1" ] || find "$1" -type f ! -name run.json ! -name metrics.jsonl -exec cksum {} + | sort; }

# refused TEXT OUTPUT COMMAND ARGS...: status 1 and one line with the text; the output is as it was
refused() {
    text=$1 output=$2
    shift 2
    before=$(sum "$output")
    status=0
    run "$@" --output "$output" || status=$?
    [ "$status" = 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q -e "$text" err && [ "$(sum "$output")" = "$before" ] && return
    echo "  dmpo $*: status $status, not 1 with '$text': $(cat err)"
    return 1
}

# writes OUTPUT COMMAND ARGS...: works in a new place, is refused in one that is taken, and replaces it when asked to
writes() {
    output=$1
    shift
    check "dmpo $1 writes: $(cat err)" run "$@" --output "$output"
    check "dmpo $1 replaces nothing unasked" refused "already.*--overwrite replaces it" "$output" "$@"
    check "dmpo $1 --overwrite: $(cat err)" run "$@" --output "$output" --overwrite
    check "dmpo $1 leaves nothing beside" [ -z "$(find . -name '*.tmp-*')" ]
}

: >err
sed -n 1,8p "$data/sft.jsonl" >sft.jsonl
sed -n 1,4p "$data/pairs.jsonl" >pairs.jsonl
writes tokenizer tokenizer train --vocabulary 400 sft.jsonl
writes model init --tokenizer tokenizer --hidden 16 --intermediate 32 --layers 1 --heads 2
writes model.gguf convert model
writes copy convert model --to hf
writes model.bin convert model --type f32
writes scores.jsonl score --model model --data pairs.jsonl
writes made.jsonl pairs --from-pairs pairs.jsonl
train="train --model model --data pairs.jsonl --batch 2 --lr 1e-3 --checkpoint-every 1"
# shellcheck disable=SC2086 # words of a command
{
    writes trained $train --steps 2
    cp -R trained base
    mkdir theirs && echo mine >theirs/notes
    check "not even with --resume" refused "already exists" theirs $train --steps 2 --resume
    check "train into its model" refused "is an input" model $train --overwrite
    check "whatever it is called" refused "is an input" ./trained/../model $train --overwrite
    check "a cache is only another cache's" refused "is not a --reference-cache" nothing $train --reference-cache sft.jsonl
}
ln -s model linked
for force in "" --overwrite; do
    check "convert into its input" refused "is an input" linked convert model $force
    check "score into its data" refused "is an input" pairs.jsonl score --model model --data pairs.jsonl $force
    check "pairs into an input" refused "is an input" pairs.jsonl pairs --from-pairs made.jsonl,./pairs.jsonl $force
    check "tokenizer into its data" refused "is an input" sft.jsonl tokenizer train sft.jsonl $force
    check "init into its tokenizer" refused "is an input" tokenizer init --tokenizer ./tokenizer/ $force
done
check "experiment into another's directory" refused "already exists" theirs experiment quick
check "their notes are there" [ "$(cat theirs/notes)" = mine ]
mkdir empty && : >empty.jsonl
check "an empty directory is free" run init --tokenizer tokenizer --hidden 16 --layers 1 --heads 2 --output empty
check "so is an empty file" run pairs --from-pairs pairs.jsonl --output empty.jsonl

# ---- messages about models ----

mkdir pickle && cp model/config.json pickle && : >pickle/pytorch_model.bin
cp -R model pointer
printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 1\n' "$(printf '%064d' 0)" >pointer/model.safetensors
says() { ! run score --model "$1" --data pairs.jsonl && [ "$(wc -l <err)" -eq 1 ] && grep -q -e "$2" err; }
check "a pickle: $(cat err)" says pickle 'pickle/pytorch_model.bin: .*save the model as model.safetensors'
check "a pointer: $(cat err)" says pointer 'pointer/model.safetensors: is a Git LFS pointer, not the weights'

# ---- checkpoints ----

# stopped: a run of two steps whose checkpoints are both there, to be continued to twenty-four
flip() { # flip FILE: one bit of a byte in its middle
    size=$(wc -c <"$1")
    byte=$(od -An -j $((size / 2)) -N 1 -t u1 "$1" | tr -d ' ')
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\$(printf %o $((byte ^ 1)))" | dd of="$1" bs=1 seek=$((size / 2)) conv=notrunc 2>/dev/null
}
# shellcheck disable=SC2086
{
    check "twenty-four steps" run $train --steps 24 --output whole
    ${EXEC_WRAPPER-} "$BUILD/dmpo" $train --steps 24 --output stopped >out 2>err &
    job=$!
    tries=0
    until [ -d stopped/checkpoint.old ] || [ $tries -ge 200 ] || ! kill -0 $job 2>/dev/null; do
        sleep 0.02 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
    kill -KILL $job 2>/dev/null
    wait $job 2>/dev/null
    rm -rf stopped/checkpoint.new # a whole third one, when the signal came just before its last rename
}
same() { cmp -s whole/model.safetensors "$1/model.safetensors"; }
if [ -d stopped/checkpoint.old ] && [ -d stopped/checkpoint ]; then
    for file in state.json model.safetensors optimizer.safetensors; do
        rm -rf again && cp -R stopped again
        flip again/checkpoint/$file
        # shellcheck disable=SC2086
        check "$file damaged: goes on" dmpo $train --steps 24 --output again --resume >out 2>err
        check "$file damaged: it is named: $(cat err)" grep -q "passed over: again/checkpoint/" err
        check "$file damaged: the other is taken: $(cat err)" grep -q "resumed after step [0-9]* of 24, from checkpoint.old" err
        check "$file damaged: the same weights" same again
    done
    rm -rf again && cp -R stopped again
    flip again/checkpoint/state.json
    flip again/checkpoint.old/model.safetensors
    # shellcheck disable=SC2086
    check "none whole" refused "no other is whole" again $train --steps 24 --resume
else
    skip "a run that is faster than a signal: no checkpoint to damage"
fi
# A flipped bit in the cache of the reference: computed again.
# shellcheck disable=SC2086
{
    check "a cache" run $train --steps 1 --output cached --reference-cache cache
    cp cache sound
    flip cache
    check "damaged" run $train --steps 1 --output cached2 --reference-cache cache
    check "is made again" cmp cache sound
}

# ---- two processes at once ----

both() { # both COMMAND ARGS...: two at once; their statuses go to $first and $second
    # shellcheck disable=SC2086
    ${EXEC_WRAPPER-} "$BUILD/dmpo" "$@" --quiet >out1 2>err1 </dev/null &
    one=$!
    # shellcheck disable=SC2086
    ${EXEC_WRAPPER-} "$BUILD/dmpo" "$@" --quiet >out2 2>err2 </dev/null &
    two=$!
    first=0 second=0
    wait $one || first=$?
    wait $two || second=$?
}
refusal() { [ "$1" = 0 ] || { [ "$(wc -l <"$2")" -eq 1 ] && grep -q -e 'is writing it; wait' -e 'already' "$2"; }; }
dmpo rollout --env home --policy expert --tasks 200 --quiet --output expert.jsonl >out
i=0
while [ $i -lt "${DMPO_RACES-3}" ]; do
    i=$((i + 1))
    rm -rf race race.jsonl race.jsonl.run.json
    # shellcheck disable=SC2086
    both $train --steps 24 --checkpoint-every 12 --output race --resume
    check "train, pair $i: one at least is done" [ "$first" = 0 -o "$second" = 0 ]
    check "train, pair $i: the other is refused: $(cat err1 err2)" refusal "$first" err1
    check "train, pair $i: the other is refused: $(cat err1 err2)" refusal "$second" err2
    check "train, pair $i: the same weights" same race
    both rollout --env home --policy expert --tasks 200 --output race.jsonl
    check "rollout, pair $i: one at least is done: $(cat err1 err2)" [ "$first" = 0 -o "$second" = 0 ]
    check "rollout, pair $i: the other is refused: $(cat err1)" refusal "$first" err1
    check "rollout, pair $i: the other is refused: $(cat err2)" refusal "$second" err2
    check "rollout, pair $i: the same episodes" cmp race.jsonl expert.jsonl
    rm -rf race
    both convert model --output race
    check "convert, pair $i: one is done" [ "$((first + second))" = 1 ]
    check "convert, pair $i: the other is refused: $(cat err1 err2)" eval 'refusal "$first" err1 && refusal "$second" err2'
done

# ---- closed standard streams: no data file gets their numbers ----

closed() { # closed WHAT STREAMS: the run's episodes and metrics are the usual ones, whichever streams are closed
    rm -rf closed closed.jsonl*
    eval "dmpo rollout --env home --policy expert --tasks 12 --output closed.jsonl $2" >closed.out
    cmp -s closed.jsonl some.jsonl
}
dmpo rollout --env home --policy expert --tasks 12 --quiet --output some.jsonl >out
check "closed standard error" closed error '2>&-'
check "closed standard output" closed output '2>err >&-'
check "closed standard input" closed input '2>err <&-'
check "all of them closed" closed all '<&- >&- 2>&-'
# shellcheck disable=SC2086
check "train with a closed standard error" eval "dmpo $train --steps 2 --output closed 2>&- >out"
check "its metrics are lines of JSON" [ "$(grep -c -v '^{' closed/metrics.jsonl)" = 0 ]

# ---- signals: what is half-written goes away ----

# A shell that began with SIGHUP ignored (nohup) cannot give it back to what it starts.
hup=HUP
[ -z "$(sh -c 'kill -HUP $$; echo ignored')" ] || { hup= && skip "SIGHUP is ignored here"; }
for signal in TERM $hup; do
    rm -rf cut*
    # shellcheck disable=SC2086
    ${EXEC_WRAPPER-} "$BUILD/dmpo" init --hidden 512 --layers 8 --vocab 30000 \
        --output cut >out 2>err &
    job=$!
    tries=0
    until [ -e cut.tmp-dmpo/model.safetensors.tmp-dmpo ] || [ $tries -ge 400 ] || ! kill -0 $job 2>/dev/null; do
        sleep 0.02 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
    kill -"$signal" $job
    status=0
    wait $job 2>/dev/null || status=$?
    check "$signal ends init: $status" [ $status -gt 128 ]
    check "$signal: nothing half-written is left" [ -z "$(find . -name '*.tmp-dmpo')" ]
    [ ! -e cut ] || check "$signal: what is there is whole" dmpo info cut >out
done

# ---- a hung environment answers a signal at once ----

cat >hang.sh <<'CHILD'
while read -r line; do
    case $line in
    *hello*) echo '{"version": 1, "name": "t", "instruction": "Play.", "tasks": {"train": 7}, "max_turns": 3}' ;;
    *) echo $$ >hung.pid; exec sleep 600 ;;
    esac
done
CHILD
for signals in TERM $hup "TERM TERM"; do
    rm -f hung*
    # shellcheck disable=SC2086
    ${EXEC_WRAPPER-} "$BUILD/dmpo" rollout --env 'cmd:exec sh hang.sh' --policy random --output hung.jsonl >out 2>err &
    job=$!
    tries=0
    until [ -s hung.pid ] || [ $tries -ge 200 ]; do
        sleep 0.05 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
    begin=$(date +%s)
    for signal in $signals; do kill -"$signal" $job 2>/dev/null; done
    status=0
    wait $job 2>/dev/null || status=$?
    check "$signals: the run ends" [ $status != 0 ]
    check "$signals: within seconds" [ $(($(date +%s) - begin)) -le 10 ]
    tries=0 # a killed process is there until its parent has asked for its status
    while kill -0 "$(cat hung.pid)" 2>/dev/null && [ $tries -lt 10 ]; do sleep 1 && tries=$((tries + 1)); done
    check "$signals: and its environment with it" [ $tries -lt 10 ]
done

finish outputs
