#!/bin/sh
# dmpo convert: models go to GGUF and llama2.c and come back with every bit; what a form cannot say is refused.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
cd "$work" || exit 1

# refuses STATUS TEXT ARGS...: one line on standard error that says TEXT, and leaves nothing
refuses() {
    want=$1 text=$2
    shift 2
    status=0
    dmpo "$@" >"$out" 2>"$err" </dev/null || status=$?
    left=$(find . -name 'new*' -o -name '*.tmp-*')
    if [ "$status" = "$want" ] && [ "$(wc -l <"$err")" -eq 1 ] && [ ! -s "$out" ] && [ -z "$left" ] &&
        grep -qF -e "$text" "$err"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: dmpo $*: status $status, not $want with '$text' in one line; left: $left"
        sed 's/^/  /' "$err"
    fi
}

size() { wc -c <"$1" | tr -d ' '; }

check "a tokenizer" works tokenizer train "$SRC/tests/data/demo/pairs.jsonl" --vocabulary 400 \
    --split qwen2 --output tokenizer --template chatml
check "another" works tokenizer train "$SRC/tests/data/demo/pairs.jsonl" --vocabulary 400 --split gpt2 \
    --output tokenizer2 --template llama2

# ---- there and back: weights, configuration, tokenizer and template, byte for byte ----

# round_trip NAME: the model NAME through GGUF, and that GGUF once more
round_trip() {
    mkdir -p back
    rm -f "$1.gguf"
    check "$1 to GGUF" works convert "$1" --output "$1.gguf"
    check "$1 from GGUF" works convert "$1.gguf" --output "back/$1"
    for file in model.safetensors config.json tokenizer.json tokenizer_config.json; do
        [ ! -f "$1/$file" ] || check "$1: $file comes back" cmp "$1/$file" "back/$1/$file"
    done
    check "$1 to GGUF again" works convert "back/$1" --output "back/$1.gguf"
    check "$1: the GGUF file comes back" cmp "$1.gguf" "back/$1.gguf"
}

small="--hidden 24 --intermediate 56 --layers 3 --heads 6 --std 0.5 --positions 64"
# shellcheck disable=SC2086 # lists of words
{
    check "init" works init --output llama-gqa --tokenizer tokenizer $small --kv-heads 2
    check "init" works init --output llama-mha --tokenizer tokenizer2 $small --no-tied --eps 1e-6 --rope-theta 500000
    check "init" works init --output mistral --tokenizer tokenizer2 $small --kv-heads 3 --arch mistral
    check "init" works init --output qwen2 --tokenizer tokenizer $small --kv-heads 1 --arch qwen2
    check "init" works init --output qwen2-untied --vocab 77 $small --arch qwen2 --no-tied
    check "init" works init --output qwen3 --tokenizer tokenizer $small --kv-heads 2 --arch qwen3 --head-dim 10
    check "init" works init --output gemma3 --tokenizer tokenizer $small --kv-heads 2 --arch gemma3_text --window 7
    check "init" works init --output smollm3 --tokenizer tokenizer $small --layers 5 --kv-heads 2 --arch smollm3
}
for model in llama-gqa llama-mha qwen2 qwen2-untied qwen3 gemma3 smollm3; do
    round_trip "$model"
done
check "mistral to GGUF" works convert mistral --output mistral.gguf
check "mistral from GGUF" works convert mistral.gguf --output back/mistral
check "mistral: the weights come back" cmp mistral/model.safetensors back/mistral/model.safetensors

# Biases and norms that are not all 0 and 1; RoPE scaling. Written by us first, for the headers are others'.
for case in llama-tied-gqa llama-untied-mha qwen2-bias qwen3-qknorm smollm3-nope llama-yarn-bias; do
    check "$case" works convert "$SRC/tests/golden/$case/model" --output "first/$case"
    check "$case by its GGUF" works convert "first/$case" --output "$case.gguf"
    check "$case from GGUF" works convert "$case.gguf" --output "$case"
    check "$case: the weights come back" cmp "first/$case/model.safetensors" "$case/model.safetensors"
    round_trip "$case"
done
check "llama3 scaling comes back" grep -q '"original_max_position_embeddings": 32' back/llama-untied-mha/config.json

check "init" works init --output plain --vocab 90 --hidden 24 --intermediate 56 --layers 3 --heads 6 --std 0.5 --positions 64 \
    --kv-heads 3 --no-tied
check "init" works init --output tied --vocab 90 --hidden 24 --intermediate 56 --layers 3 --heads 2 --std 0.5 --positions 50
for model in plain tied first/llama-tied-gqa; do
    for version in 0 1; do
        name=$(basename $model).$version
        check "$model to llama2.c $version" works convert $model --output "$name.bin" --version $version
        check "$model from llama2.c $version" works convert "$name.bin" --output "$name"
        check "$name: the weights come back" cmp $model/model.safetensors "$name/model.safetensors"
        check "$model to llama2.c $version again" works convert "$name" --output "$name.again.bin" --version $version
        check "$name: the llama2.c file comes back" cmp "$name.bin" "$name.again.bin"
    done
    check "$model through both" works convert "$(basename $model).0.bin" --output "$(basename $model).both.gguf"
    check "$model from both" works convert "$(basename $model).both.gguf" --output "$(basename $model).both"
    check "$model: the weights come back from both" cmp $model/model.safetensors \
        "$(basename $model).both/model.safetensors"
done
check "the default version is 0" works convert plain --output default.bin
check "the default version is 0" cmp default.bin plain.0.bin
check "forms by name" works convert plain --output named --to gguf
check "forms by name" cmp -n 4 named plain.both.gguf

# ---- the same model, whatever the form ----

check "a directory speaks" works generate --model llama-gqa --temperature 0 --prompt "look" --max-tokens 12
cp "$out" text
check "its GGUF file speaks" works generate --model llama-gqa.gguf --temperature 0 --prompt "look" --max-tokens 12
check "the same words" cmp text "$out"

# ---- smaller types ----

for type in f16 bf16; do
    check "$type" works convert llama-gqa --output "$type" --type $type
    check "$type: a smaller file" [ $(($(size $type/model.safetensors) * 2 - $(size llama-gqa/model.safetensors))) -lt 8000 ]
    check "$type by GGUF" works convert $type --output "$type.gguf" --type $type
    check "$type from GGUF" works convert $type.gguf --output "back/$type" --type $type
    check "$type: the weights come back" cmp $type/model.safetensors back/$type/model.safetensors
done
check "f16 is said" grep -q '"torch_dtype": "float16"' f16/config.json
check "init" works init --output wide --tokenizer tokenizer --hidden 64 --intermediate 96 --layers 2 --heads 4
check "q8_0" works convert wide --output wide.gguf --type q8_0
check "q8_0: a smaller file" [ $(($(size wide.gguf) * 3)) -lt "$(size wide/model.safetensors)" ]
check "q8_0 is read" works convert wide.gguf --output wide.hf
check "q8_0 is not what it was" [ "$(cmp -s wide/model.safetensors wide.hf/model.safetensors && echo same)" = "" ]
check "q8_0 again" works convert wide.hf --output wide2.gguf --type q8_0
check "q8_0 by another" works convert wide.gguf --output wide3.gguf --type q8_0 --json
check "JSON" grep -q '^{"output": "wide3.gguf", "form": "gguf", "type": "q8_0", "weights_sha256": "[0-9a-f]*"}$' "$out"

# ---- what dmpo info says of them ----

check "info of a GGUF file" works info wide.gguf --tensors
for text in "form                   gguf" "name                   wide" "template               chatml" \
    "Q8_0 x 15" "F32 x 5" "memory run" "memory train" "memory recomputed" "blk.1.attn_output.weight" "[64, 96] Q8_0" \
    "tokenizer pre          qwen2" "model sha256           $(sha256sum wide.gguf | cut -c1-64)"; do
    check "info of a GGUF file: $text" has "$text"
done
check "info of a llama2.c file" works info plain.0.bin
check "info of a llama2.c file" has "form                   llama2c"
check "info of a llama2.c file" has "kv heads               3"
check "info --json" works info llama-untied-mha.gguf --json --tensors
check "info --json" has '"rope": "llama3"'
check "info --json" has '{"name": "rope_freqs.weight", "dtype": "F32", "shape": [4]}'
check "info of a directory" works info f16 --tensors
check "info of a directory" has "model.layers.0.self_attn.k_proj.weight"
check "info of a directory" has "memory run"
head -c 2200 plain.both.gguf >cut.gguf
refuses 1 "cut.gguf: byte" info cut.gguf
refuses 2 "are for a data file" info plain.0.bin --max-length 10
printf 'GGUF' >tiny.gguf
refuses 1 "tiny.gguf: has 4 bytes" info tiny.gguf

# ---- what is refused ----

refuses 2 "no output given" convert plain
refuses 1 "tied.0.bin: already exists; name another --output, or --overwrite replaces it" convert plain --output tied.0.bin
refuses 1 "plain: is an input of this command" convert plain --output plain
refuses 1 "is an input of this command" convert plain --output ./plain/ --overwrite
refuses 2 "--type f16 is not for llama2c" convert plain --output new.bin --type f16
refuses 2 "--type q8_0 is not for hf" convert plain --output new --type q8_0
refuses 2 "--version: '2'" convert plain --output new.bin --version 2
refuses 2 "--version is for llama2c" convert plain --output new.gguf --version 0
refuses 1 "qwen2 models have no form in llama2.c" convert qwen2-untied --output new.bin
refuses 1 "rms_norm_eps 1e-06, rope_theta 500000; llama2.c has 1e-05, 10000" convert llama-mha --output new.bin
refuses 1 "a sliding window of 12 tokens has no form" convert "$SRC/tests/golden/mistral-window/model" --output new.gguf
refuses 1 "a sliding window has no form in llama2.c" convert "$SRC/tests/golden/mistral-window/model" --output new.bin
refuses 1 "nosuch: cannot open" convert nosuch --output new.gguf
refuses 1 "is not a model: must be" convert "$SRC/README.md" --output new.gguf
refuses 1 "nosuch/new.gguf: cannot create" convert plain --output nosuch/new.gguf
refuses 1 "config.json" convert tokenizer/.. --output new.gguf
sed 's/"vocab_size": 90/"vocab_size": 91/' plain/config.json >out.json && cp -r plain torn && cp out.json torn/config.json
refuses 1 "embed_tokens.weight\" has shape [90, 24]" convert torn --output new.gguf

# ---- an adapter, whose base is given ----

cp -R "$SRC/tests/golden-lora/llama-all/model" adapter && cp "$SRC/tests/golden-lora/llama-all/case.json" .
base=$SRC/tests/golden/llama-tied-gqa/model
refuses 1 "neither here nor in the adapter's directory; --base gives its path" convert adapter --output adapter.gguf
refuses 2 "is not an adapter, which --base is for; leave --base out" convert "$base" --base "$base" --output new.gguf
refuses 2 "adapter: is an adapter, not a whole model" convert adapter --base "$base" --output new
check "an adapter as GGUF" works convert adapter --base "$base" --output adapter.gguf
check "merged into it" works convert adapter --base "$base" --merge --output merged
refuses 1 "of an adapter, PEFT's directory is read" convert adapter.gguf --output new
for command in "info adapter" "plan --model adapter --data case.json" "score --model adapter --data case.json" \
    "show case.json --model adapter --logps" "train --model adapter --data case.json --steps 1 --batch 1 --output trained"; do
    # shellcheck disable=SC2086 # words
    check "$command --base" works $command --base "$base"
done
check "what is trained on names it" grep -q "\"base_model_name_or_path\": \"$base\"" trained/adapter_config.json

finish convert
