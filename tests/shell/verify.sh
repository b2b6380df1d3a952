#!/bin/sh
# dmpo verify of whole directories: what is honest is proved, on another number of threads and in scalar, too; one
# flipped bit in any file is found; a file that is gone, or of no run; inputs that moved, and inputs that are others.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
case=$SRC/tests/golden/llama-tied-gqa
cp -R "$case/model" "$work/model"
cp "$case/case.json" "$work/data.json"
chmod -R u+w "$work"

run() { # run NAME OPTION...
    name=$1
    shift
    works train --model "$work/model" --data "$work/data.json" --eval-data "$work/data.json" --batch 2 --steps 4 \
        --lr 1e-4 --checkpoint-every 2 --keep-checkpoints --output "$work/$name" --quiet "$@"
}

refuted() { # refuted TEXT ARGS...: verify says that, and ends with 1
    text=$1 status=0
    shift
    dmpo verify "$@" >"$out" 2>"$err" </dev/null || status=$?
    [ "$status" = 1 ] && has "$text"
}

# flip FILE BYTE: its lowest bit
flip() {
    byte=$(dd if="$1" bs=1 skip="$2" count=1 2>/dev/null | od -An -tu1 | tr -d ' ')
    other=$(printf '\\%03o' $((byte % 2 ? byte - 1 : byte + 1)))
    # shellcheck disable=SC2059 # the byte is an escape
    printf "$other" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

check "a run" run whole --tensorboard
: >"$work/whole/run.json.tmp-dmpo" # what a killed run left
check "a run that goes on" run whole --tensorboard --resume
check "does not count it as its own" test "$(grep -c tmp-dmpo "$work/whole/run.json")" = 0
check "it is proved" works verify "$work/whole" --quiet
check "every step" has "4 computed again, 4 of them proved"
check "and the model" has "the model is that of the last step"
check "one step, on three threads, in scalar" works verify "$work/whole" --sample 1 --seed 1 --threads 3 --isa scalar --quiet
check "the odds are said" has "1 forged of 4 steps go unnoticed with a chance of at most 0.75"

(cd "$work/whole" && find . -type f) >"$work/files"
while read -r file; do
    size=$(wc -c <"$work/whole/$file")
    for at in 0 $((size / 2)) $((size - 1)); do
        flip "$work/whole/$file" "$at"
        if dmpo verify "$work/whole" --sample 1 --quiet >"$out" 2>"$err"; then
            check "$file: byte $at is flipped and not found" false
        else
            check "$file: byte $at" test "$?" = 1
        fi
        flip "$work/whole/$file" "$at"
    done
done <"$work/files"
check "as it was" works verify "$work/whole" --sample 1 --quiet

cp "$work/whole/run.json" "$work/run.json"
echo >>"$work/whole/run.json"
check "a line more in run.json" refuted "run.json: its own checksum differs" "$work/whole" --sample 1
echo '{}' >"$work/whole/run.json"
check "another run.json" refuted "run.json: is no record of dmpo train or dmpo learn" "$work/whole"
cp "$work/run.json" "$work/whole/run.json"
mv "$work/whole/checkpoint/state.json" "$work/state.json"
check "a checkpoint without its record" refuted "checkpoint/state.json: is missing" "$work/whole" --sample 1
mv "$work/state.json" "$work/whole/checkpoint/state.json"
cp "$work/files" "$work/whole/notes"
check "a file of somebody's is named" works verify "$work/whole" --sample 1 --quiet
check "and is no refutation" has "notes: is not of this run"
rm "$work/whole/notes"
mv "$work/whole/config.json" "$work/config.json"
check "a file that is gone" refuted "config.json: is missing" "$work/whole"
mv "$work/config.json" "$work/whole/config.json"

mv "$work/data.json" "$work/moved.json"
check "data that moved" works verify "$work/whole" --sample 1 --data "$work/moved.json" --eval-data "$work/moved.json" --quiet
sed "s/\[1, 71, /[1, 72, /" "$work/moved.json" >"$work/data.json"
check "other data" refuted "other data than run.json names" "$work/whole"
cp "$work/moved.json" "$work/data.json"

differ() { # differ ARGS: status 1
    status=0
    dmpo diff --quiet "$@" >"$out" 2>"$err" </dev/null || status=$?
    [ "$status" = 1 ]
}
check "the same again" run again
check "does not differ" works diff "$work/whole" "$work/again" --quiet
check "by bisection" has "2 comparisons of leaves, of 4 steps"
check "another gamma" run gamma --gamma 0.3
check "differs" differ "$work/whole" "$work/gamma"
check "the option is named" has "gamma                  0.7 | 0.3"
check "and the first operation" has "first operation        step.0/item.0/phi.chosen, element"
check "both are true" has "gamma: this machine gives the same for step 1"
check "another learning rate after a step" run later --schedule linear --warmup-steps 1
check "differs there" differ "$work/whole" "$work/later"
check "in the third step, from a checkpoint" has "first step             3"
check "in what it does to the weights" has "learning rate"

check "episodes" works rollout --env home --policy expert --tasks 3 --output "$work/episodes" --quiet
check "are made again" works verify "$work/episodes" --quiet -- rollout --env home --policy expert --tasks 3 \
    --output "$work/episodes"
check "and are the same" has "2 files are what dmpo rollout makes"
flip "$work/episodes" 1000
echo >>"$work/episodes.run.json"
check "a record beside them that is longer" refuted "episodes.run.json: is not what its command makes" \
    "$work/episodes" -- rollout --env home --policy expert --tasks 3 --output "$work/episodes"
check "a flipped bit in them" refuted "episodes: is not what its command makes" "$work/episodes" -- rollout --env home \
    --policy expert --tasks 3 --output="$work/episodes"
check "a command that fails" refuted "fails here with status 2" "$work/episodes" -- rollout --nothing
refuses 2 'is no command that can be run again' verify "$work/episodes" -- nothing

mkdir "$work/temporary"
mkdir "$work/temporary/dmpo-scratch-999999999-killed" "$work/temporary/dmpo-scratch-$$-living"
echo x >"$work/temporary/dmpo-scratch-999999999-killed/model.safetensors"
TMPDIR=$work/temporary
export TMPDIR
check "with what a killed one left" works verify "$work/gamma" --quiet
check "only what lives is there" [ "$(ls "$work/temporary")" = "dmpo-scratch-$$-living" ]
unset TMPDIR

check "an adapter" run adapter --lora-rank 2
check "is proved" works verify "$work/adapter" --sample 2 --quiet
check "a run without" run none --no-transcript
check "is not refuted, and not proved" refuted "nothing refuted, but not all could be checked" "$work/none"
mkdir "$work/none/empty" && refuses 1 'run.json: is missing' verify "$work/none/empty" --quiet

finish verify
