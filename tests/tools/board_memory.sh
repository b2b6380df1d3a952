#!/bin/sh
# board_memory.sh [LENGTH...]: the table of docs/arm.md: what full fine-tuning of five shapes needs, by `dmpo plan`, in
# MiB. For each length (256 512 1024) two pairs of two runs that long, 30 % of them actions in 7 turns, with nothing in
# common; four threads, the scalar kernels. Three figures: everything kept, the smallest --memory that works, and the
# smallest with one pair a step.
# MODEL: a model of at least 500 ids; one more row for a LoRA adapter of rank 8 beside it.
# DMPO: the command (build/dmpo). Takes 1 GiB of disk in TMPDIR for a moment.
set -eu

dmpo=${DMPO:-$(dirname "$0")/../../build/dmpo}
[ $# -gt 0 ] || set -- 256 512 1024
work=$(mktemp -d "${TMPDIR:-/tmp}/board-memory.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

pair() { # pair LENGTH: token ids 1 to 499, different in the two runs from the second one on
    awk -v n="$1" 'function run(first,   i, t) {
        printf "{\"ids\": [1"
        for (i = 1; i < n; i++) printf ", %d", 1 + (first + i * 7) % 499
        printf "], \"turns\": ["
        for (t = 0; t < 7; t++) printf "%s[%d, %d]", t ? ", " : "", (t + 0.7) * n / 7, (t + 1) * n / 7
        printf "]}"
    }
    BEGIN { printf "{\"chosen\": "; run(1); printf ", \"rejected\": "; run(2); print "}" }'
}

lengths=$*
for n in "$@"; do { pair "$n" && pair "$n"; } >"$work/$n.jsonl"; done

head='| shape | parameters |' rule='| --- | --- |'
for n in "$@"; do
    head="$head $n | least | of one |" rule="$rule --- | --- | --- |"
done
printf '%s\n%s\n' "$head" "$rule"

# row NAME PARAMETER-OF-THE-PLAN OPTION...: the figures for every length
row() {
    name=$1 count=$2 figures='' parameters=''
    shift 2
    for n in $lengths; do
        for batch in 2 1; do
            "$dmpo" plan "$@" --data "$work/$n.jsonl" --batch $batch --threads 4 --isa scalar --json >"$work/plan.$batch"
        done
        for key in total.2 smallest.2 smallest.1; do
            bytes=$(sed -n "s/.*\"${key%.*}\": \([0-9]*\).*/\1/p" "$work/plan.${key#*.}")
            figures="$figures $(((bytes + 1048575) / 1048576)) |"
        done
        parameters=$(sed -n "s/.*\"$count\": \([0-9]*\).*/\1/p" "$work/plan.1")
    done
    printf '| %s | %s |%s\n' "$name" "$parameters" "$figures"
}

# name, then what dmpo init takes
while read -r name hidden intermediate layers heads kv vocab; do
    "$dmpo" init --output "$work/model" --hidden "$hidden" --intermediate "$intermediate" --layers "$layers" \
        --heads "$heads" --kv-heads "$kv" --vocab "$vocab" --positions 2048 --quiet >/dev/null
    row "$name" parameters --model "$work/model"
    rm -rf "$work/model"
done <<'END'
260K 64 172 5 8 4 512
15M 288 768 6 6 6 32000
42M 512 1376 8 8 8 32000
110M 768 2048 12 12 12 32000
135M 576 1536 30 9 3 49152
END
if [ -n "${MODEL-}" ]; then row "LoRA beside $(basename "$MODEL")" trained --model "$MODEL" --lora-rank 8; fi
