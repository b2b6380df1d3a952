#!/bin/sh
# Every command with every call failing: tests/faults/run.sh [STRIDE [COMMAND...]]
#
# STRIDE 1: every file, memory and process call of a short run of every command fails, stops halfway, or ends the
# process (tests/faults/driver.c says what must hold then); 3, 3+1 and 3+2 do as much in three runs. "ci": every call of
# convert, a sample of the others'. Env: BUILD, SRC, CC as `make test` sets them. Linux with glibc; elsewhere it says
# that it is skipped.
set -u

SRC=${SRC-$(cd "$(dirname "$0")/../.." && pwd)} BUILD=${BUILD-$SRC/build} CC=${CC-cc}
stride=${1-1}
[ $# -eq 0 ] || shift
only=" $* "
work=$(mktemp -d "${TMPDIR:-/tmp}/dmpo-faults.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

if ! echo '#include <features.h>
#if !defined __linux__ || !defined __GLIBC__
#error
#endif' | $CC -E - >"$work/probe" 2>&1; then
    echo "skipped: the shim needs Linux and glibc"
    echo "faults: 0 passed, 0 failed, 1 skipped"
    exit 0
fi
$CC -O1 -shared -fPIC -Wall -Wextra -o "$work/shim.so" "$SRC/tests/faults/shim.c" -ldl &&
    $CC -O1 -Wall -Wextra -o "$work/driver" "$SRC/tests/faults/driver.c" || exit 1
cd "$work" || exit 1

# ---- what the commands read ----

demo=$SRC/tests/data/demo
mkdir in out
sed -n 1,6p "$demo/sft.jsonl" >in/sft.jsonl
sed -n 1,4p "$demo/pairs.jsonl" >in/pairs.jsonl
sed -n 1,2p "$demo/heldout.jsonl" >in/heldout.jsonl
cat >in/short.jsonl <<'PAIR'
{"id": "one", "prompt": [{"role": "user", "content": "go"}], "chosen": [{"role": "assistant", "content": "yes"}], "rejected": [{"role": "assistant", "content": "no"}]}
PAIR
export DMPO_THREADS=1 TMPDIR="$work/out"
command=$BUILD/dmpo
quietly() { "$command" "$@" --quiet >setup.out 2>setup.err || { cat setup.err && exit 1; }; }
quietly tokenizer train --vocabulary 300 --output in/tokenizer in/sft.jsonl
quietly init --tokenizer in/tokenizer --hidden 16 --intermediate 32 --layers 1 --heads 2 --output in/model
quietly convert in/model --output in/model.gguf
quietly init --tokenizer in/tokenizer --hidden 16 --intermediate 32 --layers 1 --heads 2 --positions 8 --output in/short
for lr in 1e-3 2e-3; do
    quietly train --model in/model --data in/short.jsonl --steps 2 --batch 1 --lr $lr --output in/run-$lr
    quietly trace --model in/run-$lr --data in/short.jsonl --batch 1 --output in/trace-$lr
done
(cd out && quietly train --model ../in/model --data ../in/pairs.jsonl --steps 1 --batch 2 --lora-rank 2 --output ../in/adapter) ||
    exit 1
quietly rollout --env home --policy expert --tasks 3 --output in/expert.jsonl
quietly rollout --env home --policy random --tasks 3 --output in/random.jsonl
cat >in/recipe.json <<'RECIPE'
{"name": "tiny", "title": "A test", "seeds": [3], "environments": [{"env": "home"}],
 "expert": {"tasks": 1}, "tokenizer": {"vocabulary": 260},
 "model": {"hidden": 4, "intermediate": 4, "layers": 1, "heads": 1, "positions": 1024},
 "sft": {"lr": 0.01, "batch": 1, "steps": 1},
 "explore": {"tasks": 1, "temperature": 1, "max-turns": 1, "max-tokens": 2},
 "train": {"lr": 0.001, "batch": 1, "steps": 1},
 "evaluate": {"splits": ["seen"], "tasks": 1, "max-turns": 1, "max-tokens": 2},
 "methods": [{"name": "SFT", "kind": "sft"}, {"name": "DMPO", "kind": "preference"}]}
RECIPE
quietly experiment in/recipe.json --output in/experiment
cp "$SRC/tests/tools/env_child.sh" in/env.sh
echo "put the mug on the desk" >in/said

# ---- every command ----

passed=0 failed=0
faults() { # faults NAME SAMPLE [first] [stages] [measures] -- ARGS...: SAMPLE is the stride of "ci"
    name=$1 every=$2
    shift 2
    case $only in "  " | *" $name "*) ;; *) return ;; esac
    [ "$stride" = ci ] || every=$stride
    words=
    while [ "$1" != -- ]; do words="$words $1" && shift; done
    shift
    # shellcheck disable=SC2086 # words
    if ./driver "$work/shim.so" "$name" "$every" $words -- "$command" "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
}
train="--batch 2 --lr 1e-3 --steps 2 --checkpoint-every 1 --resume"
# shellcheck disable=SC2086 # words
{
    faults convert 1 -- convert ../in/model --output model.gguf --quiet
    faults convert-hf 40 -- convert ../in/model.gguf --to hf --output model --quiet
    faults convert-llama2c 40 -- convert ../in/short --type f32 --output model.bin --quiet
    faults merge 60 -- convert --merge ../in/adapter --output model --quiet
    faults init 40 -- init --tokenizer ../in/tokenizer --hidden 16 --intermediate 32 --layers 1 --heads 2 \
        --output model --quiet
    faults tokenizer 60 -- tokenizer train --vocabulary 300 --output tokenizer --quiet ../in/sft.jsonl
    faults encode 60 -- tokenizer encode --tokenizer ../in/model --quiet
    faults train 60 measures -- train --model ../in/model --data ../in/pairs.jsonl --eval-data ../in/heldout.jsonl $train \
        --reference-cache cache --output run --quiet
    faults lora 60 measures -- train --model ../in/model --data ../in/pairs.jsonl --lora-rank 2 $train --output run --quiet
    faults plan 60 measures -- plan --model ../in/model --data ../in/pairs.jsonl --quiet
    faults score 60 -- score --model ../in/model --data ../in/pairs.jsonl --output scores.jsonl --quiet
    faults generate 60 -- generate --model ../in/model --prompt "put the mug" --max-tokens 4 --quiet
    faults chat 60 -- chat --model ../in/model --quiet
    faults info 60 -- info ../in/model --json --quiet
    faults info-gguf 60 -- info ../in/model.gguf --quiet
    faults info-data 60 -- info ../in/pairs.jsonl --quiet
    faults show 60 -- show ../in/short.jsonl --model ../in/model --tokens --quiet
    faults play 60 -- play --env home --task 3 --expert --quiet
    faults rollout 60 -- rollout --env home --policy random --tasks 2 --output episodes.jsonl --quiet
    faults rollout-model 60 measures -- rollout --env home --policy model --model ../in/model --max-tokens 4 --tasks 2 --output episodes.jsonl \
        --quiet
    faults rollout-program 60 -- rollout --env "cmd:exec sh ../in/env.sh normal" --policy random --tasks 2 \
        --output episodes.jsonl --quiet
    faults learn 60 measures -- learn --env home --model ../in/model --rounds 2 --tasks 2 --samples 2 --max-turns 2 --max-tokens 4 \
        --kl 0.05 --eval-tasks 1 --checkpoint-every 1 --resume --output run --quiet
    faults trace 60 -- trace --model ../in/model --data ../in/short.jsonl --batch 1 --output trace --quiet
    faults check 60 measures -- check ../in/trace-1e-3 --quiet
    faults compare 60 measures -- compare ../in/trace-1e-3 ../in/trace-2e-3 --html page.html --overwrite --quiet
    faults golden 60 -- golden make --model ../in/model --data ../in/short.jsonl --output case --quiet
    faults verify 60 measures -- verify ../in/run-1e-3 --model ../in/model --data ../in/short.jsonl --quiet
    faults diff 60 -- diff ../in/run-1e-3 ../in/run-1e-3 --model ../in/model --data ../in/short.jsonl --quiet
    faults eval 60 -- eval ../in/expert.jsonl ../in/random.jsonl --quiet
    faults pairs 60 -- pairs --expert ../in/expert.jsonl --explored ../in/random.jsonl --output pairs.jsonl --quiet
    faults report 60 -- report ../in/experiment --output report --svg --quiet
    faults experiment 60 first measures -- experiment ../in/recipe.json --output experiment --jobs 1 --quiet
    faults experiment-stages 2000 stages measures -- experiment ../in/recipe.json --output experiment --jobs 1 --quiet
    faults html 60 -- show ../in/short.jsonl --model ../in/model --html page.html --quiet
    faults pairs-data 60 -- pairs --from-pairs ../in/pairs.jsonl --output pairs.jsonl --quiet
}

echo "faults: $passed passed, $failed failed"
[ "$failed" = 0 ]
