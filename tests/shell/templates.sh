#!/bin/sh
# Chat templates of a user's choice: a file, variables, and what is saved with the output, of a whole model and of an
# adapter, so that the output is used as it was trained. What cannot be used is refused by name.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
cd "$work" || exit 1

cat >data.jsonl <<'EOF'
{"messages": [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c d"}, {"role": "user", "content": "e"}, {"role": "assistant", "content": "f g"}]}
EOF
# Thoughts are put before the last answer only, unless they are switched off.
cat >own.jinja <<'EOF'
{%- for m in messages -%}
    {{- '<|user|>' if m.role == 'user' else '<|agent|>' -}}
    {%- if m.role == 'assistant' and loop.last and thinking | default(true) -%}{{- '<think></think>' -}}{%- endif -%}
    {{- m.content + ('<|end|>' if m.role == 'assistant' else '') -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|agent|>' -}}{%- endif -%}
EOF
check "a tokenizer" dmpo tokenizer train --template plain --vocabulary 300 --output tok data.jsonl
check "a model" dmpo init --tokenizer tok --hidden 16 --layers 1 --heads 2 --output model
sed 's/"chat_template": .*/"chat_template": "{{ strftime_now(\\"%Y\\") }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"/' \
    model/tokenizer_config.json >config && cp config model/tokenizer_config.json

tokens() { # tokens MODEL OPTION...: of the trajectory
    model=$1
    shift
    dmpo score --model "$model" --data data.jsonl --quiet "$@" 2>err | sed -n 's/.*"tokens": \([0-9]*\), "action_tokens": \([0-9]*\),.*/\1 \2/p'
}
refused() { # refused TEXT COMMAND...
    text=$1
    shift
    ! "$@" >out 2>err && grep -qF "$text" err
}
trained() { dmpo train --data data.jsonl --objective sft --steps 1 --batch 1 "$@" >out 2>err; }
says() { grep -q "$1" err; }

check "a template asks for a date" refused 'with --template-option date=YYYY-MM-DD' dmpo score --model model --data data.jsonl
check "and gets one" test -n "$(tokens model --template-option date=2026-11-30)"
check "a template in a file" test "$(tokens model --template own.jinja)" = "$(tokens model --template ./own.jinja)"
thinking=$(tokens model --template own.jinja) plain=$(tokens model --template own.jinja --template-option thinking=false)
check "a variable changes the rendering" test "$thinking" != "$plain"
check "no such template" refused 'unknown template "nowhere"' dmpo score --model model --data data.jsonl --template nowhere
check "no variable" refused 'must be NAME=VALUE' dmpo score --model model --data data.jsonl --template own.jinja --template-option x
echo '{% include "x" %}' >bad.jinja
check "a statement that is not known" refused 'bad.jinja: line 1: the statement {% include %} is not supported' \
    dmpo score --model model --data data.jsonl --template bad.jinja

check "training says that history is rendered otherwise" trained --model model --template own.jinja --output thinks
check "it does" says 'renders earlier turns otherwise'
check "training with a variable" trained --model model --template own.jinja --template-option thinking=false --output out1
check "nothing is rendered otherwise" sh -c '! grep -q otherwise err'
check "the output has the template" test "$(tokens thinks)" = "$thinking"
check "and the variable" test "$(tokens out1)" = "$plain"
check "its end of turn is eos" grep -q '"eos_token": *"<|end|>"' out1/tokenizer_config.json
end=$(dmpo info out1 | sed -n 's/^end of turn id *//p')
check "config.json has it" grep -q "\"eos_token_id\": *$end" out1/config.json
check "training an adapter" trained --model model --template own.jinja --template-option thinking=false --lora-rank 2 --output ad
check "the adapter has the template" test "$(tokens ad)" = "$plain"
check "merging it" dmpo convert --merge ad --output merged
check "the merged model has it" test "$(tokens merged)" = "$plain"
check "as a GGUF file" dmpo convert merged --output merged.gguf
check "it has it, too" test "$(tokens merged.gguf)" = "$plain"

finish templates
