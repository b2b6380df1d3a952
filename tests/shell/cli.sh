#!/bin/sh
# The command as its users have it: usage, manual pages, score, generate and info, broken inputs, Ctrl-C.
# Needs awk and sed; DMPO_TEST_FAST=1 takes fewer golden cases and threads.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

same() { # two texts; the difference is shown
    [ "$1" = "$2" ] || { printf '  %s\n  instead of\n  %s\n' "$1" "$2" && false; }
}

# ---- usage ----

status=0
dmpo >"$out" 2>"$err" || status=$?
check "no command: status 2" [ "$status" = 2 ]
check "no command: usage on standard error" grep -q '^usage: dmpo COMMAND' "$err"
check "dmpo --help" works --help
commands=$(sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p' "$out")
check "--help lists the commands that have a page" same "$(echo "$commands" | sort | tr '\n' ' ')" \
    "$(cd "$SRC/docs/man" && echo dmpo-*.1 | sed 's/dmpo-\([a-z]*\)[.]1/\1/g') "
check "dmpo --version" works --version
check "the version is the header's" has "$(sed -n 's/^#define DMPO_VERSION "\(.*\)"$/\1/p' "$SRC/include/dmpo.h")"
status=0
dmpo nosuch >"$out" 2>"$err" || status=$?
check "an unknown command: status 2" [ "$status" = 2 ]
check "an unknown command is named" grep -q "unknown command 'nosuch'" "$err"

# ---- help that must agree with what the command takes ----

check "train --help" works train --help
objectives=$(sed -n 's/^  --objective NAME *the method: \([^[]*\) \[.*/\1/p' "$out" | sed 's/ or /, /; s/,//g')
check "train --help lists objectives" [ "$(echo "$objectives" | wc -w)" -ge 5 ]
check "dmpo --help" works --help
for objective in $objectives; do
    check "dmpo --help names the objective $objective" grep -q "^  train .*[ :]$objective\(,\|$\)" "$out"
done

dmpo tokenizer train --template nosuch --output "$work/none" "$0" 2>"$err"
templates=$(sed -n 's/.*--template takes //p' "$err")
check "templates are listed" [ "$(echo "$templates" | wc -w)" -ge 7 ]
for command in $commands; do
    dmpo "$command" --help >"$out"
    grep -q '^  --template ' "$out" || continue
    check "$command --help lists the templates" has "$templates"
done
check "convert --help" works convert --help
check "convert shows the default version by name" grep -q '^  --version N .*\[auto\]$' "$out"
for command in train score generate; do
    check "$command --help" works "$command" --help
    check "$command --help says which forms a model may have" \
        grep -q 'Hugging Face directory, GGUF or llama2.c file, or adapter\|directory, GGUF or llama2.c file, or adapter' "$out"
done

# ---- every command has the options of all (what pages say of options: options.sh) ----

for command in $commands; do
    check "dmpo.1 names $command" grep -q "^\\\\fB$command\\\\fR$" "$SRC/docs/man/dmpo.1"
    refuses 2 "did you mean 'threads'" "$command" --thraeds 2
    action=
    [ "$command" != tokenizer ] || action=encode
    # shellcheck disable=SC2086 # one word or none
    refuses 2 "--threads 300 is out of range" "$command" $action --threads 300
    refuses 1 "nosuch.json" "$command" --config "$work/nosuch.json"
done

# ---- score: the golden cases ----

# Numbers of every "logps" and "reference_logps" list, in order; the list's name before each.
lists() {
    awk '{
        while (match($0, /"(reference_)?logps": \[[^]]*\]/)) {
            list = substr($0, RSTART, RLENGTH)
            $0 = substr($0, RSTART + RLENGTH)
            name = list ~ /^"reference/ ? "reference" : "policy"
            sub(/^[^[]*\[/, "", list)
            sub(/\]/, "", list)
            n = split(list, x, /, */)
            for (i = 1; i <= n; i++) print name, x[i]
        }
    }' "$1" | grep "^$2"
}

# Largest difference between two columns of numbers; "lengths differ" when they do.
worst() {
    paste "$1" "$2" | awk 'NF != 4 { bad = 1 } { d = $2 - $4; if (d < 0) d = -d; if (d > most) most = d; n++ }
        END { if (bad || !n) print "lengths differ"; else printf "%.3g\n", most }'
}

within() { awk -v x="$1" -v limit="$2" 'BEGIN { exit !(x ~ /^[0-9.e-]+$/ && x + 0 <= limit) }' || { echo "  $1" && false; }; }

# Mean of -log sigmoid(reward of chosen - reward of rejected): the loss without smoothing.
loss_of() {
    sed -n 's/.*"side": "\([a-z]*\)".*"reward": \([^}]*\)}/\1 \2/p' "$1" | awk '
        $1 == "chosen" { c = $2 }
        $1 == "rejected" { sum += log(1 + exp($2 - c)); n++ }
        END { printf "%.12g\n", sum / n }'
}

cases=$(cd "$SRC/tests/golden" && echo *)
[ -z "${DMPO_TEST_FAST-}" ] || cases="llama-tied-gqa qwen3-qknorm"
for name in $cases; do
    golden=$SRC/tests/golden/$name
    check "score $name" works score --model "$golden/model" --reference "$golden/reference" --data "$golden/case.json" --token
    cp "$out" "$work/scored"
    for who in policy reference; do
        lists "$golden/case.json" $who >"$work/want"
        lists "$work/scored" $who >"$work/got"
        check "$name: $who within 1e-4" within "$(worst "$work/got" "$work/want")" 1e-4
    done
    for objective in dmpo:0.7 dpo:1.0 dmpo-token:0.95; do
        gamma=${objective#*:} objective=${objective%:*}
        want=$(sed 's/.*{"name": "'"$objective"'", *\([^{}]*\).*/\1/; s/.*"loss": \([^,}]*\).*/\1/' "$golden/case.json")
        check "score --objective $objective" works score --quiet --model "$golden/model" --reference "$golden/reference" \
            --data "$golden/case.json" --objective "$objective" --gamma "$gamma" --beta 0.1
        check "$name: rewards of $objective give its loss $want" within \
            "$(awk -v a="$(loss_of "$out")" -v b="$want" 'BEGIN { d = (a - b) / b; print d < 0 ? -d : d }')" 1e-5
    done
done

# ---- a tokenizer, a model, data of every form ----

cat >"$work/sharegpt.json" <<'END'
[{"id": "a", "prompt": [{"from": "human", "value": "You are in a kitchen."}],
  "chosen": [{"from": "gpt", "value": "open door"}, {"from": "human", "value": "It is open."}, {"from": "gpt", "value": "go"}],
  "rejected": [{"from": "gpt", "value": "wait"}]}]
END
sed 's/"from"/"role"/g; s/"value"/"content"/g; s/"human"/"user"/g; s/"gpt"/"assistant"/g' "$work/sharegpt.json" >"$work/trl.json"
tr -d '\n' <"$work/trl.json" | sed 's/^\[//; s/\]$//' >"$work/trl.jsonl"
echo '[{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "é€😀 ok"}]}]' >"$work/sft.json"
echo '{"ids": [1, 7, 8, 2, 9, 2], "turns": [[2, 4], [5, 6]]}' >"$work/ids.jsonl"

check "tokenizer train" works tokenizer train --output "$work/tokenizer" --vocabulary 260 "$work/sft.json"
check "init" works init --output "$work/model" --tokenizer "$work/tokenizer" --hidden 32 --layers 1 --heads 2 \
    --intermediate 64 --std 0.1
check "init, another" works init --output "$work/other" --tokenizer "$work/tokenizer" --hidden 32 --layers 1 --heads 2 \
    --intermediate 64 --std 0.1 --seed 1
check "init, another shape" works init --output "$work/wide" --tokenizer "$work/tokenizer" --hidden 48 --layers 1 --heads 2 \
    --intermediate 64
model=$work/model

# ---- score: data forms, output ----

check "score ShareGPT" works score --model "$model" --data "$work/sharegpt.json"
cp "$out" "$work/scored"
check "two lines" [ "$(wc -l <"$work/scored")" -eq 2 ]
check "chosen has two turns" grep -q '"id": "a", "side": "chosen", .*"turns": \[{[^}]*}, {[^}]*}\], "logp": -' "$work/scored"
check "rejected has one" grep -q '"side": "rejected", .*"turns": \[{[^}]*}\], "logp": -' "$work/scored"
check "no reference, no reward" same "$(grep -c 'reference\|reward' "$work/scored")" 0
check "a summary on standard error" grep -q '^1 items, 2 trajectories' "$err"
for form in trl.json trl.jsonl; do
    check "score $form" works score --quiet --model "$model" --data "$work/$form"
    check "$form has the same numbers" cmp "$out" "$work/scored"
    check "--quiet is" [ ! -s "$err" ]
done
check "score token ids" works score --model "$model" --data "$work/ids.jsonl" --token
check "their line" has '{"id": "item 0", "side": "sft", "tokens": 6, "action_tokens": 3, "turns": [{"begin": 2, "end": 4, "tokens": 2, '
check "their ids" has '"ids": [8, 2], "logps": [-'
check "score --output" works score --quiet --json --model "$model" --data "$work/sharegpt.json" --output "$work/lines.jsonl"
check "--output has the lines" cmp "$work/lines.jsonl" "$work/scored"
check "--json has the summary" has '{"items": 1, "trajectories": 2, '
check "score of the model itself" works score --quiet --model "$model" --reference "$model" --data "$work/sharegpt.json"
check "its reward is zero" same "$(grep -c '"reward": 0}' "$out")" 2
check "a limit cuts whole turns" works score --model "$model" --data "$work/sharegpt.json" --max-length 40
check "one turn is left" grep -q '"side": "chosen", .*"turns": \[{[^}]*}\], ' "$out"
check "the cut is reported" grep -q '1 items cut to --max-length 40' "$err"
{ cat "$work/trl.jsonl" && echo && echo '{"id": "broken", "chosen": [], "rejected": []}'; } >"$work/broken.jsonl"
refuses 1 'item "broken"' score --quiet --model "$model" --data "$work/broken.jsonl"
check "score --skip-invalid" works score --model "$model" --data "$work/broken.jsonl" --skip-invalid
check "the sound item is there" cmp "$out" "$work/scored"
check "the skipped one is reported" grep -q '1 items skipped as invalid' "$err"

# Same bits as training: the reference's log-probabilities, as each of them leaves them in a cache.
check "train with a cache" works train --quiet --model "$model" --reference "$work/other" --data "$work/sharegpt.json" \
    --steps 1 --output "$work/trained" --reference-cache "$work/cache.train"
check "score with a cache" works score --quiet --model "$model" --reference "$work/other" --data "$work/sharegpt.json" \
    --reference-cache "$work/cache.score"
cp "$out" "$work/scored"
check "the same bits" cmp "$work/cache.train" "$work/cache.score"
check "score from the cache" works score --model "$model" --reference "$work/other" --data "$work/sharegpt.json" \
    --reference-cache "$work/cache.train"
check "it was read" grep -q 'read from the cache' "$err"
check "and gives the same lines" cmp "$out" "$work/scored"

# ---- generate: a model that has learnt an answer of one-, two-, three- and four-byte characters ----

check "train the answer" works train --quiet --objective sft --model "$model" --data "$work/sft.json" \
    --output "$work/taught" --lr 0.01 --steps 40 --batch 1 --schedule constant
taught=$work/taught
check "generate" works generate --model "$taught" --prompt hi
check "the answer" same "$(cat "$out")" 'é€😀 ok'
check "the rates" grep -q '^prompt 4 tokens, .*answer 13 tokens' "$err"
printf 'hi\n' >"$work/hi"
echo '[{"from": "human", "value": "hi"}]' >"$work/chat.json"
echo '{"messages": [{"role": "user", "content": "hi"}]}' >"$work/chat2.json"
check "--prompt-file" works generate --model "$taught" --prompt-file "$work/hi"
check "its answer" same "$(cat "$out")" 'é€😀 ok'
check "its last line end is no part of it" grep -q '^prompt 4 tokens' "$err"
for chat in chat chat2; do
    check "--chat $chat.json" works generate --quiet --model "$taught" --chat "$work/$chat.json"
    check "its answer" same "$(cat "$out")" 'é€😀 ok'
done
check "standard input" same "$(dmpo generate --quiet --model "$taught" <"$work/hi")" 'é€😀 ok'
check "--chat -" same "$(dmpo generate --quiet --model "$taught" --chat - <"$work/chat.json")" 'é€😀 ok'
check "--chat-template is --template" works generate --quiet --model "$taught" --prompt hi --chat-template plain
check "--raw" works generate --quiet --model "$taught" --raw --prompt '<|user|>hi<|agent|>'
check "its answer" same "$(cat "$out")" 'é€😀 ok'
check "without --raw that is only text" works generate --json --model "$taught" --prompt '<|user|>hi<|agent|>' --max-tokens 1
check "of so many tokens" has '"prompt_tokens": 21'
# Whatever the number of tokens, no character is cut: what is left of one is a U+FFFD.
n=0
for want in '' '�' 'é' 'é�' 'é�' 'é€' 'é€�' 'é€�' 'é€�' 'é€😀' 'é€😀 ' 'é€😀 o' 'é€😀 ok' 'é€😀 ok'; do
    check "$n tokens" works generate --quiet --model "$taught" --prompt hi --max-tokens $n
    check "$n tokens are whole characters" same "$(cat "$out")" "$want"
    n=$((n + 1))
done
check "generate --json" works generate --quiet --json --model "$taught" --prompt hi
check "its object" grep -q '^{"text": "é€😀 ok", "ids": \[[0-9, ]*, 3\], "logps": \[-.*, "stop": "end", "prompt_tokens": 4, "tokens": 13, ' "$out"
logps_of() { sed 's/.*"logps": \[\([^]]*\)\].*/\1/' "$1"; }
cp "$out" "$work/generated"
check "score the same answer" works score --quiet --token --model "$taught" --data "$work/sft.json"
check "score and generate see the same prompt and the same bits" same "$(logps_of "$out")" "$(logps_of "$work/generated")"
printf '{"model": "%s", "prompt": "hi", "quiet": true}' "$taught" >"$work/config.json"
refuses 2 "unknown option 'quiet'" generate --config "$work/config.json"
printf '{"command": "generate", "model": "%s", "prompt": "hi", "max-tokens": 1, "seed": "5"}' "$taught" >"$work/config.json"
check "generate --config" works generate --quiet --config "$work/config.json" --max-tokens 2
check "the command line wins" same "$(cat "$out")" 'é'
# The answer has a token for each byte: a text that ends it has its beginning and end in any of them.
for stop in 'é:' '€: é' ' o: é€😀' 'k: é€😀 o' 'é€😀 ok: ' 'kk: é€😀 ok' '€o: é€😀 ok'; do
    check "--stop '${stop%%:*}'" works generate --quiet --model "$taught" --prompt hi --stop "${stop%%:*}"
    want=${stop#*:}
    check "--stop '${stop%%:*}': up to there" same "$(cat "$out")" "${want# }"
done
check "--stop, --json" works generate --quiet --json --model "$taught" --prompt hi --stop '€😀'
check "the ids are all that were generated" grep -q '^{"text": "é", "ids": \[[0-9]*\(, [0-9]*\)\{8\}\], .*, "stop": "text", "prompt_tokens": 4, "tokens": 9, ' "$out"
# Every end of a text that config.json and generation_config.json name ends an answer, as the end of turn does.
cp -R "$taught" "$work/ends"
second=$(sed 's/.*"ids": \[[0-9]*, \([0-9]*\),.*/\1/' "$work/generated")
third=$(sed 's/.*"ids": \[[0-9]*, [0-9]*, \([0-9]*\),.*/\1/' "$work/generated")
for ends in "é:[3, $second]" "é€😀 ok:3" "é:[$third, 3, $second]"; do
    printf '{"eos_token_id": %s}' "${ends#*:}" >"$work/ends/generation_config.json"
    check "ends ${ends#*:}" works generate --quiet --json --model "$work/ends" --prompt hi
    check "ends ${ends#*:}: the answer" has "{\"text\": \"${ends%%:*}\", "
    check "ends ${ends#*:}: how it ended" has '"stop": "end"'
    check "ends ${ends#*:}: a chat's, too" same "$(echo hi | dmpo chat --quiet --model "$work/ends")" "${ends%%:*}"
done
refuses 2 "--stop must not be empty" generate --model "$taught" --prompt hi --stop ''
check "generate --json, cut" works generate --quiet --json --model "$taught" --prompt hi --max-tokens 4
check "it says so" has '"text": "é�", '
check "it says how it ended" has '"stop": "length"'

# Drawn tokens: the same for every instruction set and number of threads, others for another seed.
drawn() {
    dmpo generate --quiet --json --model "$model" --prompt hi --max-tokens 40 --temperature 1.5 --top-k 200 --top-p 0.98 "$@" |
        sed 's/, "logp":.*//'
}
drawn --seed 7 >"$work/drawn"
check "tokens are drawn" grep -q '"ids": \[[0-9, ]*\], "logps": \[' "$work/drawn"
check "the tokens are those of every machine" same \
    "$(sed 's/.*"ids": \[\([^]]*\)\].*/\1/' "$work/drawn" | cut -d, -f1-12)" "114, 57, 4, 73, 162, 177, 60, 155, 80, 112, 85, 47"
drawn --seed 8 >"$work/got"
check "another seed, another text" [ "$(cat "$work/got")" != "$(cat "$work/drawn")" ]
isas=$(dmpo info --json | sed -n 's/.*"isas_usable": \[\(.*\)\].*/\1/p' | tr -d '",')
check "instruction sets are known" [ -n "$isas" ]
threads="1 2 3 8"
[ -z "${DMPO_TEST_FAST-}" ] || threads="1 3"
for isa in $isas; do
    for count in $threads; do
        drawn --seed 7 --isa "$isa" --threads "$count" >"$work/got"
        check "the same with $isa, $count threads" cmp "$work/got" "$work/drawn"
    done
done

# ---- info ----

check "info" works info --isa scalar --threads 2
check "its isa" grep -q '^isa  *scalar$' "$out"
check "its threads" grep -q '^threads  *2$' "$out"
check "info of a model" works info "$taught"
for line in 'architecture *llama' 'layers *1' 'hidden *32' 'vocabulary *260' 'parameters *18656' 'dtype *F32' 'template *plain' \
    'tokenizer ids *260' 'end of turn *<|end|>'; do
    check "it says $line" grep -q "^$line\$" "$out"
done
check "init's and info's hash agree" works init --json --output "$work/again" --tokenizer "$work/tokenizer" --hidden 32 \
    --layers 1 --heads 2 --intermediate 64 --std 0.1
hash=$(sed 's/.*"weights_sha256": "\([0-9a-f]*\)".*/\1/' "$out")
check "info --json of a model" works info --json "$model"
check "its hash" has "\"weights_sha256\": [{\"name\": \"model.safetensors\", \"bytes\": "
check "is that of the file" has "\"sha256\": \"$hash\"}]"
check "info of a tokenizer" works info "$work/tokenizer"
check "it has ids" grep -q '^tokenizer ids *260$' "$out"
mkdir "$work/plainless"
cp "$model/config.json" "$model/model.safetensors" "$model/tokenizer.json" "$work/plainless/"
check "info of a model without a template" works info "$work/plainless"
check "says what to do" grep -q '^template problem .*choose --template' "$out"
check "info of tensors" works info "$model/model.safetensors"
check "it lists them" grep -q '^model.layers.0.self_attn.q_proj.weight *\[32, 32\] F32$' "$out"
check "info of data" works info "$work/sharegpt.json"
check "its kind" grep -q '^kind *pairs$' "$out"
check "its turns" grep -q '^chosen turns *min 2, median 2, max 2, total 2$' "$out"
check "its bytes" grep -q '^rejected bytes *min 28, median 28, max 28, total 28$' "$out"
check "info of data, in tokens" works info --json "$work/sharegpt.json" --model "$model" --max-length 40
check "its tokens" has '"rejected_tokens": {"min": 28, "median": 28, "max": 28, "total": 28}'
check "its cuts" has '"cut_items": 1'
check "info of token ids" works info "$work/ids.jsonl"
check "needs no model" grep -q '^action tokens *min 3, median 3, max 3, total 3$' "$out"
check "info of data with a broken item" works info "$work/broken.jsonl"
check "counts it" grep -q '^invalid items *1$' "$out"

# ---- one line says what is wrong ----

mkdir "$work/empty" "$work/short"
cp "$model/config.json" "$model/tokenizer.json" "$work/short/"
dd if="$model/model.safetensors" of="$work/short/model.safetensors" bs=1000 count=5 2>/dev/null
printf '[{"prompt": [' >"$work/cut.json"
printf '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]' >"$work/answered.json"
printf 'a\377b' >"$work/latin"
golden=$SRC/tests/golden/llama-tied-gqa
data=$work/sharegpt.json

refuses 2 'no model given' score --data "$data"
refuses 2 'no data given' score --model "$model"
refuses 1 'nosuch' score --quiet --model "$work/nosuch" --data "$data"
refuses 1 'nosuch.json' score --quiet --model "$model" --data "$work/nosuch.json"
refuses 1 'cut.json:1:' score --quiet --model "$model" --data "$work/cut.json"
refuses 1 'model.safetensors' score --quiet --model "$work/short" --data "$work/ids.jsonl" --template plain
refuses 1 'wide' score --quiet --model "$model" --reference "$work/wide" --data "$data"
refuses 1 'must be a token id from 0 to 127' score --quiet --model "$golden/model" --data "$SRC/tests/golden/mistral-window/case.json"
refuses 2 'holds text' score --quiet --model "$golden/model" --data "$data"
refuses 2 '--beta 0 is out of range; legal: above 0' score --quiet --model "$model" --reference "$model" --data "$data" --beta 0
refuses 2 '--gamma 1.5 is out of range; legal: 0 to 1' score --quiet --model "$model" --reference "$model" --data "$data" \
    --gamma 1.5
refuses 2 'give --reference PATH' score --model "$model" --data "$data" --gamma 0.5
refuses 2 'give --reference PATH' score --model "$model" --data "$data" --reference-cache "$work/cache"
refuses 2 'is not one of: sft, dmpo' score --model "$model" --data "$data" --objective ppo
refuses 1 'no action is left' score --quiet --model "$model" --data "$data" --max-length 10
refuses 1 'the smallest that works is' score --quiet --model "$model" --data "$data" --memory 1KiB
refuses 1 'cannot create' score --quiet --model "$model" --data "$data" --output "$work/empty/no/file"
check "a failed score leaves nothing" [ -z "$(find "$work" -name '*.tmp-*')" ]

refuses 2 'no model given' generate --prompt hi
refuses 2 'more than one prompt' generate --model "$model" --prompt hi --chat "$work/chat.json"
refuses 2 '--raw uses no chat template' generate --model "$model" --raw --chat "$work/chat.json"
refuses 2 '--top-p 0 is out of range' generate --model "$model" --prompt hi --top-p 0
refuses 2 '--top-k -1 is out of range' generate --model "$model" --prompt hi --top-k -1
refuses 2 '--temperature -1 is out of range' generate --model "$model" --prompt hi --temperature -1
refuses 2 '--max-tokens -1 is out of range' generate --model "$model" --prompt hi --max-tokens -1
refuses 2 'is out of range' generate --model "$model" --prompt hi --max-tokens 99999999999
refuses 2 'not a whole number' generate --model "$model" --prompt hi --max-tokens many
refuses 1 'has no tokenizer' generate --model "$golden/model" --prompt hi
refuses 1 'choose --template' generate --model "$work/plainless" --prompt hi
refuses 1 'model.safetensors' generate --model "$work/short" --raw --prompt hi
refuses 1 'the prompt is empty' generate --model "$model" --raw
refuses 1 'not valid UTF-8' generate --model "$model" --prompt-file "$work/latin"
refuses 1 'not a regular file' generate --model "$model" --prompt-file "$work/empty"
refuses 1 "last message must be the user's" generate --model "$model" --chat "$work/answered.json"
refuses 1 'must be a list of messages' generate --model "$model" --chat "$work/ids.jsonl"
refuses 1 'cut.json:1:' generate --model "$model" --chat "$work/cut.json"
refuses 1 'standard input:1:1' generate --model "$model" --chat -
if [ -c /dev/full ]; then
    for how in '' --json; do
        status=0
        dmpo generate --quiet --model "$taught" --prompt hi $how >/dev/full 2>"$err" || status=$?
        check "a full disk: status 1 $how" [ "$status" = 1 ]
        check "a full disk: one line $how" same "$(sed 's/output.*/output/' "$err")" 'dmpo generate: cannot write standard output'
    done
fi

refuses 1 'neither config.json nor tokenizer.json' info "$work/empty"
check "info of an adapter" works info --json "$SRC/tests/golden-lora/qwen3-some/model"
check "its rank" grep -q "\"rank\": 17" "$out"
check "its targets" grep -q "\"k\", \"o\", \"up\"" "$out"
refuses 1 'nosuch' info "$work/nosuch"
refuses 1 'model.safetensors' info "$work/short"
refuses 1 'cut.json:1:' info "$work/cut.json"
refuses 2 'unexpected argument' info "$model" "$model"
refuses 2 'are for a data file' info "$model" --max-length 10
refuses 2 "must be scalar, avx2, avx512, amx or neon" info --isa mmx
sed 's/"hidden_size": 32/"hidden_size": 34/' "$model/config.json" >"$work/plainless/config.json"
refuses 1 'by config.json it must be' info "$work/plainless"

# ---- Ctrl-C: a clean end in the middle ----

# interrupted WHAT TEXT: waits for TEXT in $err or for output of the last background job, sends it SIGINT, and expects
# status 1 and a last line that says "stopped after".
interrupted() {
    tries=0
    until [ -s "$out" ] || grep -q "$2" "$err" || [ $tries -ge 300 ]; do
        sleep 0.1 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
    kill -INT "$job"
    ( # a program that does not stop must not keep the test
        for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do sleep 1; done
        kill -KILL "$job"
    ) >/dev/null 2>&1 &
    watchdog=$!
    status=0
    wait "$job" || status=$?
    kill "$watchdog" 2>/dev/null
    check "$1: status 1" same "$status" 1
    check "$1: says where it stopped" same "$(tail -n 1 "$err" | sed 's/[0-9][0-9]*/N/g; s/ of N items/ items/')" \
        "dmpo ${1%% *}: stopped after N ${1#* }"
}

# The shell gives a background job no Ctrl-C of its own; the program asks for it.
# shellcheck disable=SC2086
${EXEC_WRAPPER-} "$BUILD/dmpo" generate --model "$model" --raw --prompt a --max-tokens 200000 --threads 1 >"$out" 2>"$err" &
job=$!
interrupted "generate tokens" nosuch
check "what was generated is there, with a line end" same "$(tail -c 1 "$out" | od -An -c | tr -d ' ')" '\n'

awk 'BEGIN {
    for (item = 0; item < 1000; item++) {
        printf "{\"ids\": [1"
        for (i = 1; i < 500; i++) printf ", %d", (i * i + item) % 250
        printf "], \"turns\": [[100, 500]]}\n"
    }
}' >"$work/many.jsonl"
: >"$out"
# shellcheck disable=SC2086
${EXEC_WRAPPER-} "$BUILD/dmpo" score --model "$model" --data "$work/many.jsonl" --output "$work/never" --threads 1 \
    >"$out" 2>"$err" &
job=$!
interrupted "score items" '^scoring'
check "no half-written output" [ -z "$(find "$work" -name 'never*')" ]

finish cli
