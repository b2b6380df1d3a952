#!/bin/sh
# Broken inputs: each fails with one line on standard error that says what is wrong, exit status 1 (2: wrong usage), and
# leaves nothing half-written behind. A row is: STATUS, a text of the message, the command. Files are broken with sed,
# dd and printf. DMPO_TEST_FAST=1 cuts files at every 7th byte instead of every one.
set -u

work=$(mktemp -d "${TMPDIR:-/tmp}/broken-test.XXXXXX") || exit 1
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work" || exit 1
passed=0 failed=0 skipped=0
stride=${DMPO_TEST_FAST:+7}
stride=${stride:-1}
nl='
'

# shellcheck disable=SC2086 # the wrapper is a list of words
dmpo() { ${EXEC_WRAPPER-} "$BUILD/dmpo" "$@"; }

skip() {
    skipped=$((skipped + 1))
    echo "skipped: $1"
}

# bad STATUS TEXT COMMAND ARGS...: fails so; no file appears in out/ or beside it
bad() {
    want=$1 text=$2
    shift 2
    rm -rf out
    status=0
    dmpo "$@" >stdout 2>stderr </dev/null || status=$?
    left=$(find . -name 'out*' -o -name '*.tmp-*' -o -name '*.new')
    if [ "$status" = "$want" ] && [ "$(wc -l <stderr)" -eq 1 ] && [ ! -s stdout ] && [ -z "$left" ] &&
        [ "$(wc -c <stderr)" -lt 1200 ] && grep -q '^dmpo' stderr && grep -qF -e "$text" stderr; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: dmpo $*"
        echo "  status $status, expected $want with '$text' in one line${left:+; left over: $left}; stderr:"
        sed 's/^/    /' stderr
    fi
}

# good COMMAND ARGS...: what the broken files are made from is itself fine
good() {
    status=0
    rm -rf out
    dmpo "$@" >stdout 2>stderr </dev/null || status=$?
    if [ "$status" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: dmpo $*: status $status"
        sed 's/^/    /' stderr
    fi
}

# ---- what is not broken ----

printf '%s\n' '{"id": "a", "chosen": {"ids": [1, 2, 3, 4], "turns": [[2, 4]]}, "rejected": {"ids": [1, 2, 5], "turns": [[2, 3]]}}' >ids.json
sed -n 1p "$SRC/tests/data/demo/pairs.jsonl" >pairs.jsonl
sed -n 1p "$SRC/tests/data/demo/sft.jsonl" >sft.jsonl
good tokenizer train --output tok --vocabulary 300 pairs.jsonl
good init --output model --tokenizer tok --hidden 8 --intermediate 12 --layers 1 --heads 2 --positions 64
good init --output bare --vocab 300 --hidden 8 --intermediate 12 --layers 1 --heads 2
train="train --quiet --output out --steps 1 --batch 1"
# shellcheck disable=SC2086
{
    good $train --model model --data pairs.jsonl
    good $train --model bare --data ids.json
    rm -rf out
}

# These take the rest of a command from their arguments: what is broken comes last.
data() { # data STATUS TEXT FILE
    # shellcheck disable=SC2086
    bad "$1" "$2" $train --model model --data "$3"
}
option() { # option STATUS TEXT OPTION...
    status=$1 text=$2
    shift 2
    # shellcheck disable=SC2086
    bad "$status" "$text" $train --model bare --data ids.json "$@"
}
model() { # model TEXT DIR
    # shellcheck disable=SC2086
    bad 1 "$1" $train --model "$2" --data ids.json
}

# ---- model.safetensors ----

size_of() { wc -c <"$1" | tr -d ' '; }

le64() { # a number as 8 bytes, the lowest first
    n=$1
    for _ in 1 2 3 4 5 6 7 8; do
        # shellcheck disable=SC2059 # the escape is the point
        printf "\\$(printf %03o $((n % 256)))"
        n=$((n / 256))
    done
}

weights=bare/model.safetensors
header=$(od -A n -t u1 -N 8 "$weights" | awk '{ n = 0; for (i = 8; i >= 1; i--) n = n * 256 + $i; print n }')
dd if="$weights" bs=1 skip=8 count="$header" of=header.json 2>/dev/null
tail -c +$((header + 9)) "$weights" >data.bin

copy() { # copy DIR: a model to break
    rm -rf broken
    cp -r "$1" broken
}

# st TEXT SED: the header edited by sed, the data as it was
st() {
    copy bare
    sed "$2" header.json >edited.json
    if cmp -s header.json edited.json; then
        failed=$((failed + 1))
        echo "failed: sed changes nothing: $2"
    fi
    { le64 "$(size_of edited.json)" && cat edited.json data.bin; } >broken/model.safetensors
    model "$1" broken
}

begin=$(sed 's/.*"model.norm.weight":{[^}]*"data_offsets":\[\([0-9]*\),.*/\1/' header.json)
end=$(size_of data.bin)
st 'overlap' "s/\[$begin,/[$((begin - 4)),/; s/\"shape\":\[8\],\"data_offsets\":\[$((begin - 4))/\"shape\":[9],\"data_offsets\":[$((begin - 4))/"
st 'model.norm.weight' "s/\[$begin,/[$((begin + 4)),/"
st 'model.norm.weight' "s/\[$begin,$end\]/[$begin,$((end + 400))]/"
st 'model.norm.weight' "s/\[$begin,$end\]/[$end,$begin]/"
st 'model.norm.weight' 's/"model.norm.weight":{"dtype":"F32"/"model.norm.weight":{"dtype":"I32"/'
st 'model.norm.weight' 's/"model.norm.weight":{"dtype":"F32"/"model.norm.weight":{"dtype":"F16"/'
st '"model.norm.weight" is missing' 's/"model.norm.weight"/"model.nurm.weight"/'
st 'embed_tokens' 's/"shape":\[300,8\]/"shape":[8,300]/'
st 'embed_tokens' 's/"shape":\[300,8\]/"shape":[4294967296,4294967296,300,8]/'
st 'embed_tokens' 's/"shape":\[300,8\]/"shape":[-300,-8]/'
st 'model.safetensors' 's/"model.norm.weight"/"model.layers.0.input_layernorm.weight"/'
st 'model.safetensors' 's/{/[/'
st 'model.safetensors' 's/"dtype"/"dtipe"/'
st 'model.safetensors' 's/"shape"/shape/'

# What a file says is shown escaped: an unknown type, with a quote and controls in it.
copy bare
sed 's/"model.norm.weight":{"dtype":"F32"/"model.norm.weight":{"dtype":"F\\"\\u009b\\u0007"/' header.json >edited.json
{ le64 "$(size_of edited.json)" && cat edited.json data.bin; } >broken/model.safetensors
shown() { # shown TEXT ARGS...
    text=$1
    shift
    if dmpo info broken --tensors "$@" | grep -qF -e "$text"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: info does not show $text"
    fi
}
shown 'F"??'
shown '"dtype": "F\"\u009b\u0007"' --json

raw() { # raw TEXT: broken/model.safetensors was made
    model "$1" broken
}
copy bare
rm broken/model.safetensors
raw 'broken: holds no model.safetensors'
: >broken/model.safetensors
raw 'model.safetensors'
printf 'x' >broken/model.safetensors
raw 'model.safetensors'
{ le64 $((header + end + 1000)) && cat header.json data.bin; } >broken/model.safetensors
raw 'past the end of the file'
{ printf '\377\377\377\377\377\377\377\377' && cat header.json data.bin; } >broken/model.safetensors
raw 'model.safetensors: header length'
{ le64 0 && cat header.json data.bin; } >broken/model.safetensors
raw 'model.safetensors'
{ cat "$weights" && printf 'x'; } >broken/model.safetensors
raw 'belong to no tensor'
head -c 1000 "$weights" | tr '{' '[' >broken/model.safetensors
raw 'model.safetensors'
rm broken/model.safetensors
mkdir broken/model.safetensors
raw 'model.safetensors'
# cut off: in the header's length, in the header, in the data
total=$(size_of "$weights")
for cut in 1 7 8 9 50 $((header + 7)) $((header + 8)) $((header + 9)) $((total - 4)) $((total - 1)); do
    copy bare
    head -c "$cut" "$weights" >broken/model.safetensors
    raw 'model.safetensors'
done

# value TEXT BYTES: the first element of model.norm.weight
value() {
    copy bare
    # shellcheck disable=SC2059
    printf "$2" | dd of=broken/model.safetensors bs=1 seek=$((header + 8 + begin)) conv=notrunc 2>/dev/null
    raw "$1"
}
value 'tensor "model.norm.weight": element 0 of 8 is NaN' '\000\000\300\177'
value 'tensor "model.norm.weight": element 0 of 8 is' '\000\000\200\377'
copy bare
printf '\000\000\300\177' | dd of=broken/model.safetensors bs=1 seek=$((header + 8 + begin)) conv=notrunc 2>/dev/null
# shellcheck disable=SC2086
bad 1 'model.norm.weight' $train --model bare --reference broken --data ids.json

copy bare
mv broken/model.safetensors broken/model-00001-of-00002.safetensors
printf '{"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}' >broken/model.safetensors.index.json
raw 'is missing'
printf '{"weight_map": {"model.norm.weight": "../bare/model.safetensors"}}' >broken/model.safetensors.index.json
raw 'model.safetensors.index.json'
printf '{"weight_map": {"a": "model-00001-of-00002.safetensors"}}' >broken/model.safetensors.index.json
raw 'index.json'

# ---- config.json ----

config() { # config TEXT SED
    copy bare
    sed "$2" bare/config.json >broken/config.json
    if cmp -s bare/config.json broken/config.json; then
        failed=$((failed + 1))
        echo "failed: sed changes nothing: $2"
    fi
    model "$1" broken
}

for key in model_type hidden_size intermediate_size num_hidden_layers num_attention_heads vocab_size; do
    config "\"$key\"" "/\"$key\"/d"
    config "\"$key\"" "s/\"$key\": .*,/\"$key\": [1],/"
done
config '"hidden_size"' 's/"hidden_size": 8/"hidden_size": 0/'
config '"hidden_size"' 's/"hidden_size": 8/"hidden_size": -8/'
config '"hidden_size"' 's/"hidden_size": 8/"hidden_size": 8.5/'
config '"hidden_size"' 's/"hidden_size": 8/"hidden_size": 99999999999999999999/'
config 'by config.json it must be' 's/"hidden_size": 8/"hidden_size": 16/'
config 'by config.json it must be' 's/"intermediate_size": 12/"intermediate_size": 13/'
config 'by config.json it must be' 's/"vocab_size": 300/"vocab_size": 301/'
config 'by config.json' 's/"num_hidden_layers": 1/"num_hidden_layers": 2/'
config 'by config.json' 's/"head_dim": 4/"head_dim": 6/'
config 'by config.json' 's/"tie_word_embeddings": true/"tie_word_embeddings": false/'
config 'num_key_value_heads' 's/"num_key_value_heads": 2/"num_key_value_heads": 3/'
config 'head_dim' 's/"head_dim": 4/"head_dim": 5/'
config 'rms_norm_eps' 's/"rms_norm_eps": .*,/"rms_norm_eps": -1,/'
config 'gpt2' 's/"model_type": "llama"/"model_type": "gpt2"/'
config 'hidden_act' 's/"hidden_act": "silu"/"hidden_act": "gelu"/'
config 'config.json' 's/"hidden_size"/"hidden_size": 8, "hidden_size"/'
copy bare
rm broken/config.json
model 'config.json' broken
: >broken/config.json
model 'config.json' broken
model 'nowhere' nowhere
cut=0
while [ $cut -lt $(($(size_of bare/config.json) - 2)) ]; do
    copy bare
    head -c $cut bare/config.json >broken/config.json
    model 'broken/config.json:' broken
    cut=$((cut + 1 + 2 * stride))
done

# ---- tokenizer ----

good tokenizer train --output big --vocabulary 320 pairs.jsonl
tokenizer() { # tokenizer TEXT [STATUS]: broken/tokenizer.json was made
    # shellcheck disable=SC2086
    bad "${2:-1}" "$1" $train --model broken --data pairs.jsonl
}
copy model
cp big/tokenizer.json broken
tokenizer 'the tokenizer has'
rm broken/tokenizer.json
tokenizer 'a tokenizer and a chat template are needed' 2
: >broken/tokenizer.json
tokenizer 'tokenizer.json'
sed 's/"type": "BPE"/"type": "Unigram"/' model/tokenizer.json >broken/tokenizer.json
tokenizer 'Unigram'
sed 's/"merges"/"murges"/' model/tokenizer.json >broken/tokenizer.json
tokenizer 'merges'
cut=1
while [ $cut -lt $(($(size_of model/tokenizer.json) - 2)) ]; do
    head -c $cut model/tokenizer.json >broken/tokenizer.json
    tokenizer 'broken/tokenizer.json:'
    cut=$((cut + 97 * stride))
done
cp model/tokenizer.json broken
printf '{' >broken/tokenizer_config.json
tokenizer 'tokenizer_config.json:1:'
rm broken/tokenizer_config.json
tokenizer 'tokenizer_config.json'
sed 's/"chat_template": .*/"chat_template": "{{ unheard of }}"/' model/tokenizer_config.json >broken/tokenizer_config.json
tokenizer 'tokenizer_config.json: line 1: "of" where }} should be'

# ---- data ----

# JSON cut off at any byte. The last one is the line's end.
cut=0
while [ $cut -lt $(($(size_of ids.json) - 1)) ]; do
    head -c $cut ids.json >cut.json
    data 1 'cut.json' cut.json
    cut=$((cut + stride))
done
cut=1
while [ $cut -lt $(($(size_of pairs.jsonl) - 1)) ]; do
    head -c $cut pairs.jsonl >cut.jsonl
    data 1 'cut.jsonl' cut.jsonl
    cut=$((cut + 61 * stride))
done

# text TEXT JSON: a data file of that content
text() {
    printf '%s\n' "$2" >text.json
    data 1 "$1" text.json
}
prompt='"prompt": [{"from": "human", "value": "Go."}]'
yes='"chosen": [{"from": "gpt", "value": "a"}]'
no='"rejected": [{"from": "gpt", "value": "b"}]'
text 'text.json:1:' '[{]'
text 'text.json:1:2' '[nope]'
text 'text.json' '"pairs"'
text 'holds no items' '[]'
text 'item 0' '[7]'
text '"chosen" and "rejected" are missing' '[{}]'
text '"rejected" is missing' "[{\"id\": \"x\", $prompt, $yes}]"
text '"chosen" is missing' "[{\"id\": \"x\", $prompt, $no}]"
text '"chosen" is empty' "[{\"id\": \"x\", $prompt, \"chosen\": [], $no}]"
text '"rejected" is empty' "[{\"id\": \"x\", $prompt, $yes, \"rejected\": []}]"
text 'item "x": "prompt" is missing' "[{\"id\": \"x\", $yes, $no}]"
text '"prompt" must be a list' "[{\"id\": \"x\", \"prompt\": 3, $yes, $no}]"
text 'must alternate' "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}], $no}]"
text 'must alternate' "[{\"id\": \"x\", \"prompt\": [{\"from\": \"human\", \"value\": \"Go.\"}, {\"from\": \"human\", \"value\": \"Go.\"}], $yes, $no}]"
text 'the last message must be the agent' "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\", \"value\": \"a\"}, {\"from\": \"human\", \"value\": \"b\"}], $no}]"
text 'the first message after a prompt must be the agent' "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"human\", \"value\": \"a\"}], $no}]"
text "chosen[0]: the agent's message is empty" "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\", \"value\": \"  \"}], $no}]"
text 'unknown "from" "robot"' "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\", \"value\": \"a\"}, {\"from\": \"robot\", \"value\": \"a\"}], $no}]"
text '"value" is missing' "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\"}], $no}]"
text '"value" must be a string' "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\", \"value\": 3}], $no}]"
text 'preference pairs are needed' "[{\"id\": \"x\", \"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}]"
text '"chosen_score" must be a number' "[{\"id\": \"x\", $prompt, $yes, $no, \"chosen_score\": \"high\"}]"
text '"id" must be a string or an integer' "[{\"id\": 1.5, $prompt, $yes, $no}]"
text 'text.json:1:' "[{\"id\": \"x\", \"id\": \"x\", $prompt, $yes, $no}]"
text 'text.json:1:' "[{\"id\": \"\\ud800\", $prompt, $yes, $no}]"
text 'text.json:1:' "[{\"id\": \"a	b\", $prompt, $yes, $no}]"
text 'text.json:1:' "[{\"id\": NaN, $prompt, $yes, $no}]"
text 'text.json:1:' "[{\"id\": 01, $prompt, $yes, $no}]"
text 'text.json:2:' "{\"id\": \"x\", $prompt, $yes, $no}${nl}{\"id\": "
text 'text.json:2:' "[{\"id\": \"x\", $prompt, $yes, $no}]${nl}[]"
text 'text.json:1:' "$(awk 'BEGIN { for (i = 0; i < 100000; i++) printf "[" }')"
# shellcheck disable=SC2059 # bytes
utf8() { # utf8 BYTES: inside of a message's text
    printf "[{\"id\": \"x\", $prompt, \"chosen\": [{\"from\": \"gpt\", \"value\": \"a$1\"}], $no}]\n" >text.json
    data 1 'text.json:1:' text.json
}
utf8 '\377'
utf8 '\303'
utf8 '\300\200'
utf8 '\355\240\200'
utf8 '\364\220\200\200'
utf8 '\000'
printf '\357\273\277[]' >text.json
data 1 'text.json:1:1' text.json

side() { # side TEXT IDS TURNS: chosen as token ids
    text "$1" "[{\"id\": \"x\", \"chosen\": {\"ids\": $2, \"turns\": $3}, \"rejected\": {\"ids\": [1, 2], \"turns\": [[1, 2]]}}]"
}
side 'ids[1] must be a token id from 0 to 299' '[1, 300]' '[[1, 2]]'
side 'ids[1] must be a token id' '[1, -1]' '[[1, 2]]'
side 'ids[1] must be a token id' '[1, 2.5]' '[[1, 2]]'
side '"chosen.turns" is empty' '[1, 2]' '[]'
side 'turns[0] is [0, 1) of 2 tokens' '[1, 2]' '[[0, 1]]'
side 'turns[0] is [1, 1) of 2 tokens: it is empty' '[1, 2]' '[[1, 1]]'
side 'ends after the last token' '[1, 2]' '[[1, 3]]'
side 'turns[1] is [2, 4) of 5 tokens' '[1, 2, 3, 4, 5]' '[[1, 3], [2, 4]]'
side 'must be [begin, end)' '[1, 2]' '[[1]]'
side 'must be a list of token ids' '"1 2"' '[[1, 2]]'

data 1 'nowhere.json: cannot open' nowhere.json
data 1 'model: is not a regular file' model
: >empty.json
data 1 'empty.json' empty.json
printf '\n\n' >empty.json
data 1 'empty.json' empty.json
data 1 'evil?name.json: cannot open' "evil${nl}name.json"
option 1 'no action is left' --max-length 2
option 1 'all 1 items are invalid' --max-length 2 --skip-invalid
option 1 'nowhere.json' --eval-data nowhere.json

# ---- options ----

bad 2 "unknown command 'trian'" trian
option 2 "unknown option '--gama', did you mean 'gamma'?" --gama 1
option 2 "did you mean 'eval-data'?" --evaldata x
option 2 "unknown option '--frobnicate'; dmpo train --help" --frobnicate
option 2 "unknown option '-x'" -x
option 2 "unexpected argument 'extra'" extra
option 2 '--beta needs a value' --beta
option 2 '--shuffle takes no value' --shuffle=yes
option 2 "--beta: 'much' is not a number" --beta much
option 2 "--beta: '' is not a number" --beta=
option 2 "--batch: '1.5' is not a whole number" --batch 1.5
option 2 "--batch: '99999999999999999999' is not a whole number" --batch 99999999999999999999
option 2 "--seed: '-1' is not a whole number from 0" --seed -1
option 2 "--memory: '5 elephants' is not a size" --memory '5 elephants'
option 2 "--objective: 'ppo' is not one of: sft, dmpo, dmpo-token, dpo" --objective ppo
option 2 "--link: 'cosy' is not one of: sigmoid, robust, hinge, ipo, kto-pair, apo-zero, apo-down, nca-pair, sppo-hard" --link cosy
option 2 "--schedule: 'random' is not one of: constant, linear, cosine" --schedule random
for value in 0 -0.1 nan inf; do
    option 2 "--beta $value is out of range; legal: above 0" --beta $value
    option 2 "--lr $value is out of range; legal: above 0" --lr $value
done
option 2 '--gamma 1.01 is out of range; legal: 0 to 1' --gamma 1.01
option 2 '--gamma -0.5 is out of range; legal: 0 to 1' --gamma -0.5
option 2 '--gamma nan is out of range; legal: 0 to 1' --gamma nan
option 2 '--label-smoothing 0.6 is out of range; legal: 0 to 0.5' --label-smoothing 0.6
option 2 '--label-smoothing 0.5 is out of range' --label-smoothing 0.5 --link robust
option 2 '--sft-weight -1 is out of range; legal: 0' --sft-weight -1
option 2 '--adam-beta1 1 is out of range; legal: 0 <= x < 1' --adam-beta1 1
option 2 '--adam-beta2 -1 is out of range; legal: 0 <= x < 1' --adam-beta2 -1
option 2 '--adam-eps 0 is out of range; legal: 1e-30 to 1' --adam-eps 0
option 2 '--weight-decay -1 is out of range; legal: 0 or more' --weight-decay -1
option 2 '--max-grad-norm -1 is out of range; legal: above 0, or 0' --max-grad-norm -1
option 2 '--warmup-ratio 1.5 is out of range; legal: 0 to 1' --warmup-ratio 1.5
option 2 '--warmup-steps -2 is out of range; legal: 0 or more' --warmup-steps -2
option 2 '--batch 0 is out of range; legal: 1 or more' --batch 0
option 2 '--steps -1 is out of range; legal: 1 or more' --steps -1
option 2 '--epochs 0 is out of range; legal: above 0' --epochs 0
option 2 '--max-length 1 is out of range; legal: 2 to 16777216 tokens' --max-length 1
option 2 '--eval-every -1 is out of range; legal: 0 or more' --eval-every -1
option 2 '--checkpoint-every -1 is out of range; legal: 0 or more' --checkpoint-every -1
option 2 '--threads 300 is out of range; legal: 1 to 256' --threads 300
option 2 '--threads -1 is out of range; legal: 1 to 256' --threads -1
option 2 "instruction set 'mmx': must be scalar, avx2, avx512, amx or neon" --isa mmx
option 1 'is too small for this run: the smallest that works is' --memory 1
option 2 "--output: '' is not a directory" --output=
# shellcheck disable=SC2086
bad 2 'unknown template "mine", must be' $train --model model --data pairs.jsonl --template mine
bad 2 'no model given; --model names' train --output out --data ids.json
bad 2 'no data given; --data names' train --output out --model bare
bad 2 'no output given; --output DIR' train --model bare --data ids.json

printf '{"gama": 1}' >config.json
option 2 "config.json:1:10: unknown option 'gama', did you mean 'gamma'?" --config config.json
printf '{"gamma": "much"}' >config.json
option 1 'config.json:1:11: "gamma" must be a number' --config config.json
printf '{"gamma": 1' >config.json
option 1 'config.json:1:12' --config config.json
printf '{"command": "init", "options": {}}' >config.json
option 1 "this file is of 'dmpo init', not of 'dmpo train'" --config config.json
option 1 'nowhere.json: cannot open' --config nowhere.json

bad 2 'the vocabulary is unknown; give --tokenizer DIR or --vocab N' init --output out
bad 2 'no output given' init --vocab 10
bad 2 '--hidden 0 is out of range; legal: 1 to' init --output out --vocab 10 --hidden 0
bad 2 '--kv-heads 5 is out of range; legal: 0 to 4' init --output out --vocab 10 --kv-heads 5
bad 2 'num_key_value_heads' init --output out --vocab 10 --heads 4 --kv-heads 3
bad 2 'head_dim' init --output out --vocab 10 --head-dim 5
bad 2 '--std 0 is out of range' init --output out --vocab 10 --std 0
bad 2 '--vocab 299 is out of range; legal: 300 to' init --output out --vocab 299 --tokenizer tok
bad 1 'nowhere' init --output out --tokenizer nowhere
bad 2 "unknown action 'trian'; legal: train, encode, decode" tokenizer trian
bad 2 'an argument is missing' tokenizer
bad 2 'no data given' tokenizer train --output out
bad 2 '--vocabulary 10 is out of range; legal: 257 to 16777216' tokenizer train --output out --vocabulary 10 pairs.jsonl
bad 2 '--min-frequency 0 is out of range; legal: 1' tokenizer train --output out --min-frequency 0 pairs.jsonl
bad 2 'llama2, llama3' tokenizer train --output out --template mine pairs.jsonl
bad 1 'nowhere.json: cannot open' tokenizer train --output out nowhere.json
bad 1 'no message text found' tokenizer train --output out ids.json
read_directory() { # tokenizer ACTION: standard input is a directory
    dmpo tokenizer "$1" --tokenizer tok <. >stdout 2>stderr
    [ $? = 1 ] && grep -q 'cannot read standard input' stderr && [ ! -s stdout ]
}
for action in encode decode; do
    if read_directory $action; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "failed: $action <."; fi
done

# ---- output ----

mkdir locked
chmod 500 locked
: >file
for where in file file/deeper /proc/nowhere; do
    # shellcheck disable=SC2086
    bad 1 "${where%/*}" $train --model bare --data ids.json --output $where
    bad 1 "${where%/*}" init --output $where --vocab 10
    bad 1 "${where%/*}" tokenizer train --output $where pairs.jsonl
done
if (: >locked/probe) 2>/dev/null; then
    rm -f locked/probe
    skip "this user may write everywhere: no directory is unwritable"
else
    bad 1 'locked' init --output locked/model --vocab 10
    # shellcheck disable=SC2086
    bad 1 'locked' $train --model bare --data ids.json --output locked/run
fi

if [ -c /dev/full ]; then
    for command in "plan --model bare --data ids.json" "plan --json --model bare --data ids.json" "--help" "train --help" \
        "init --output full --vocab 10"; do
        status=0
        # shellcheck disable=SC2086
        dmpo $command 2>stderr >/dev/full </dev/null || status=$?
        if [ $status = 1 ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -qF 'cannot write standard output' stderr; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1))
            echo "failed: dmpo $command >/dev/full: status $status"
            sed 's/^/    /' stderr
        fi
    done
else
    skip "no /dev/full here"
fi

# A file that may not grow: as on a full disk, and nothing is left of it.
good init --output large --vocab 3000 --hidden 16 --layers 1 --heads 2
small() { # small TEXT COMMAND...: with files of at most 16 blocks of 512 bytes (bash: 1024)
    text=$1
    shift
    rm -rf out
    status=0
    (
        ulimit -f 16
        dmpo "$@" >/dev/null 2>stderr </dev/null
    ) || status=$?
    left=$(find . -name 'out*' -o -name '*.tmp-*' -o -name '*.new')
    if [ $status = 1 ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -qF -e "$text" stderr && [ -z "$left" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: dmpo $*, file size limited: status $status${left:+, left over: $left}"
        sed 's/^/    /' stderr
    fi
}
small 'cannot write' init --output out --vocab 3000 --hidden 16 --layers 1 --heads 2
small 'cannot write' init --output out --tokenizer big --hidden 16 --layers 1 --heads 2
small 'cannot write' tokenizer train --output out --vocabulary 1000 "$SRC/tests/data/demo/sft.jsonl"

# A run keeps what it has: its metrics, its transcript, and a checkpoint when there is one; never half a file.
rm -rf out
status=0
(
    ulimit -f 16
    # shellcheck disable=SC2086
    dmpo $train --model large --data ids.json >/dev/null 2>stderr </dev/null
) || status=$?
left=$(cd out && find . ! -name metrics.jsonl ! -name transcript.bin ! -name .)
if [ $status = 1 ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -q 'cannot write' stderr && [ -z "$left" ]; then
    passed=$((passed + 1))
else
    failed=$((failed + 1))
    echo "failed: dmpo train, file size limited: status $status, left over: $left"
    sed 's/^/    /' stderr
fi

# ---- checkpoints ----

# shellcheck disable=SC2086
good $train --model bare --data ids.json --output run
resume() { # resume TEXT OPTION...
    text=$1
    shift
    # shellcheck disable=SC2086
    bad 1 "$text" $train --model bare --data ids.json --output run --resume "$@"
}
resume 'belongs to a run with other options, model or data' --lr 0.5
resume 'belongs to a run with other options, model or data' --seed 1
size=$(wc -c <run/checkpoint/model.safetensors)
printf 'x' | dd of=run/checkpoint/model.safetensors bs=1 seek=$((size - 100)) conv=notrunc 2>/dev/null
resume 'checkpoint/model.safetensors: the checksum differs'
rm run/checkpoint/model.safetensors
resume 'checkpoint/model.safetensors: cannot open'
head -c 40 run/checkpoint/state.json >state && mv state run/checkpoint/state.json
resume 'state.json:1:41'
rm run/checkpoint/state.json
resume 'state.json: cannot open'

printf 'broken: %d passed, %d failed' "$passed" "$failed"
[ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" = 0 ]
