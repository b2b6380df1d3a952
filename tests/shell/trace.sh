#!/bin/sh
# Traces: what `trace` records, `check` finds sound, of the engine and in double; one changed value is found, and what
# is missing is bridged. Selection, layers, statistics, steps; compare; golden; refusals.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

golden=$SRC/tests/golden
record() { # record CASE FILE [OPTIONS]
    name=$1 file=$2
    shift 2
    dmpo trace --model "$golden/$name/model" --reference "$golden/$name/reference" --data "$golden/$name/case.json" \
        --quiet --output "$work/$file" --overwrite "$@"
}
judge() { dmpo check "$work/$1" >"$work/out" 2>&1; }
# Without --all what is proved for less is not computed in double: the report is the same but for the sound operations.
bad() { sed -e '/^sound /d' -e '/^verdict /d' -e 's/ MB in .*//'; }
same() {
    dmpo check "$work/$1" | bad >"$work/less" && [ -s "$work/less" ] &&
        dmpo check --all "$work/$1" | bad | cmp -s - "$work/less"
}
ends() { # ends STATUS COMMAND...
    want=$1 status=0
    shift
    "$@" || status=$?
    [ "$status" = "$want" ]
}
says() { grep -q -e "$1" "$work/out"; }

for case in llama-tied-gqa gemma3; do
    check "$case is recorded" record $case f32 --batch 2
    check "$case is sound" judge f32
    check "all of it" says ' 0 suspicious, 0 wrong, 0 not decidable, 0 not checked; 0 judged through'
done
check "two steps of kto" record qwen3-qknorm kto --objective kto --batch 2 --steps 0:1
check "they are sound" judge kto
check "an adapter is recorded" record smollm3-nope lora --reference "$golden/smollm3-nope/model" --lora-rank 2 --batch 1
check "it is sound" judge lora
for file in f32 kto lora; do
    check "$file is judged alike in float and in double" same "$file"
done
check "in double" record llama-yarn-bias f64 --precision f64 --batch 1
check "it is sound" judge f64

# The trace's own bits do not depend on threads, and the run's not on being traced.
record mistral-window one --threads 1
record mistral-window two --threads 2
check "the same bytes on any number of threads" cmp "$work/one" "$work/two"

check "without intermediates" record llama-tied-gqa part --select '*[!d]' --batch 1
check "it is bridged" judge part
check "and says so" says 'judged through recomputed tensors'
check "layers" record llama-tied-gqa layers --layers 1:1 --batch 1
check "are judged" judge layers
check "statistics" record llama-tied-gqa few --statistics
check "are small" test "$(wc -c <"$work/few")" -lt "$(($(wc -c <"$work/two") / 2))"

# A byte in the middle of the data: some operation is wrong, and the exit status says it.
size=$(wc -c <"$work/two")
cp "$work/two" "$work/broken"
printf '\177' | dd of="$work/broken" bs=1 seek=$((size / 2 / 4 * 4 + 3)) conv=notrunc 2>/dev/null
check "a changed value is found" ends 1 judge broken
check "alike in float and in double" same broken
check "it is named" says '^first wrong operation: step 0, '

# Two traces: the engine against the truth, and against the broken one.
record gemma3 f64 --precision f64 --batch 2
record gemma3 f32 --batch 2
check "f32 is f64, rounded" dmpo compare --truth "$work/f64" "$work/f32" "$work/f64" >"$work/out"
check "nothing diverges" says ' 0 diverge; 0 are not in B, 0 have another size there$'
check "the same is the same" dmpo compare --html "$work/heat.html" "$work/two" "$work/one" >"$work/out"
check "there is a heat map" grep -q '<table>' "$work/heat.html"
check "asked, it is" dmpo compare --html "$work/heat.html" --overwrite "$work/two" "$work/one" >"$work/out"
check "the broken one diverges" ends 1 dmpo compare "$work/two" "$work/broken" >"$work/out"
check "it is said where" says '^first divergence: step 0, '

# A case of our own has the loss of the committed one, which another program computed.
check "a golden case is made" dmpo golden make --model "$golden/qwen2-bias/model" --reference "$golden/qwen2-bias/reference" \
    --data "$golden/qwen2-bias/case.json" --output "$work/case" --steps 1 --quiet
check "its loss" grep -q '"loss": 0\.82859681962923' "$work/case/case.json"
check "its models are models" dmpo info "$work/case/model" >/dev/null

refused() { # refused TEXT COMMAND...
    text=$1
    shift
    ! "$@" 2>"$work/err" && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q -e "$text" "$work/err"
}
check "a heat map that is there" refused "heat.html: already exists" \
    dmpo compare --html "$work/heat.html" "$work/two" "$work/one"
check "statistics are nothing to judge" refused "few: no operation has its output in it; nothing was judged" \
    dmpo check "$work/few"
check "another file is nothing to compare" refused "holds no tensor of A's with A's size; nothing was compared" \
    dmpo compare "$work/two" "$golden/gemma3/model/model.safetensors"
check "no manifest" refused 'no "manifest"' dmpo check "$golden/gemma3/model/model.safetensors"
check "steps that are not there" refused 'has steps 0 to' record gemma3 f32 --steps 999999
check "a range" refused 'is not A:B' record gemma3 f32 --layers 2:1
check "no output" refused 'no output given' dmpo trace --model "$golden/gemma3/model" --data "$golden/gemma3/case.json"
check "its own input" refused 'is an input' dmpo trace --model "$golden/gemma3/model" \
    --data "$golden/gemma3/case.json" --output "$golden/gemma3/case.json" --overwrite

finish trace
