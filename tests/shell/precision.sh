#!/bin/sh
# --precision bf16 in every command that takes it: other numbers than f32's, the same ones on every instruction set and
# for any number of threads, also of an adapter over quantised weights; less memory.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
case=$SRC/tests/golden/llama-tied-gqa
vocabulary=$(sed -n 's/.*"vocab_size": *\([0-9]*\).*/\1/p' "$case/model/config.json")
{
    dmpo init --output "$work/plain" --vocab "$vocabulary" --hidden 64 --intermediate 96 --layers 2 --heads 4 --std 0.3
    dmpo convert "$work/plain" --output "$work/model.gguf" --type q8_0
} >"$work/log" 2>&1

adapter() { # adapter NAME OPTION...: trains one over the quantised weights
    name=$1
    shift
    dmpo train --model "$work/model.gguf" --data "$case/case.json" --lora-rank 3 --steps 2 --batch 2 --lr 1e-3 \
        --output "$work/$name" --quiet "$@" >"$work/log" 2>&1 || cat "$work/log"
}
scores() { # scores NAME OPTION...
    name=$1
    shift
    dmpo score --model "$work/model.gguf" --data "$case/case.json" --quiet "$@" >"$work/$name" 2>"$work/log" ||
        cat "$work/log"
}
differ() { ! cmp -s "$1" "$2"; }
activations() { # activations PRECISION: bytes of the plan
    dmpo plan --model "$work/plain" --data "$case/case.json" --no-recompute --json --precision "$1" |
        sed -n 's/.*"activations": *\([0-9]*\).*/\1/p'
}

adapter f32
adapter bf16 --precision bf16
adapter scalar --precision bf16 --isa scalar --threads 3
weights=adapter_model.safetensors
check "an adapter in bf16 is another one" differ "$work/f32/$weights" "$work/bf16/$weights"
check "an adapter in bf16 has the same bits in scalar code" cmp "$work/bf16/$weights" "$work/scalar/$weights"
check "run.json names the precision" grep -q '"precision": "bf16"' "$work/bf16/run.json"

scores f32.jsonl
scores bf16.jsonl --precision bf16
scores scalar.jsonl --precision bf16 --isa scalar --threads 3
check "scores in bf16 are others" differ "$work/f32.jsonl" "$work/bf16.jsonl"
check "scores in bf16 are the same in scalar code" cmp "$work/bf16.jsonl" "$work/scalar.jsonl"
scores cached.jsonl --reference "$work/plain" --reference-cache "$work/cache"
scores again.jsonl --reference "$work/plain" --reference-cache "$work/cache" --precision bf16
scores want.jsonl --reference "$work/plain" --precision bf16
check "a cache of f32 is not taken for bf16" cmp "$work/want.jsonl" "$work/again.jsonl"

f32=$(activations f32) bf16=$(activations bf16)
check "activations take less memory (${bf16:-?} of ${f32:-?} bytes)" test "${bf16:-1}" -lt "${f32:-0}"
refuses 2 "not one of: f32, bf16" score --model "$work/plain" --data "$case/case.json" \
    --precision f16

finish precision
