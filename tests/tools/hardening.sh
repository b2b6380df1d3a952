#!/bin/sh
# What the hardening flags cost: tests/tools/hardening.sh [ROUNDS]. Builds the command with and without them, runs both
# in turn, and prints the median of the ratios of their processor times, with over without, for each of four tasks.
# docs/security.md has a result.
set -eu
SRC=${SRC-$(cd "$(dirname "$0")/../.." && pwd)}
rounds=${1-11}
work=$(mktemp -d "${TMPDIR:-/tmp}/hardening.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

for kind in with without; do
    mkdir "$work/$kind"
    cd "$work/$kind"
    "$SRC/configure" --disable-shared >/dev/null
    [ $kind = with ] || sed -i 's/^\(HARDEN_[A-Z]*\) *=.*/\1 =/' config.mk
    make -j2 dmpo >/dev/null
done
cd "$work"
grep -q '^HARDEN_FLAGS = .*stack-protector' with/config.mk

demo=$SRC/tests/data/demo
export DMPO_THREADS=1
with/dmpo tokenizer train --vocabulary 1000 --output tok "$demo/sft.jsonl" --quiet >out
with/dmpo init --tokenizer tok --hidden 128 --intermediate 256 --layers 2 --heads 4 --output model --quiet >out
with/dmpo convert model --output model.gguf --quiet >out
i=0
while [ $i -lt 320 ]; do
    cat "$demo/sft.jsonl"
    i=$((i + 1))
done >many.jsonl

text() { "$1/dmpo" tokenizer encode --tokenizer tok <many.jsonl; }
gguf() {
    n=0
    while [ $n -lt 200 ]; do
        "$1/dmpo" info model.gguf
        n=$((n + 1))
    done
}
json() { "$1/dmpo" info many.jsonl; }
step() {
    "$1/dmpo" train --model model --data "$demo/pairs.jsonl" --batch 28 --steps 1 --output "run-$1" --overwrite --quiet
}

# spent FUNCTION KIND: seconds of the processor for it, those of its children
spent() (
    "$1" "$2" >out 2>err
    times >used
    awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, "m"); s += 60 * t[1] + t[2] } print s }' used
)

for task in text gguf json step; do
    i=0
    while [ $i -lt "$rounds" ]; do
        echo "$(spent $task with) $(spent $task without)"
        i=$((i + 1))
    done | awk '{ print $1 / $2, $1, $2 }' | sort -n | awk -v task=$task '
        { ratio[NR] = $1; seconds += $2 }
        END { printf "%s: %.3f times the time (%.3f to %.3f in %d pairs, %.2f s each)\n", task, ratio[int((NR + 1) / 2)],
              ratio[1], ratio[NR], NR, seconds / NR }'
done
