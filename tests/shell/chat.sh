#!/bin/sh
# dmpo chat from a pipe: its answers are generate's, what is known is used again, commands, saved and loaded
# conversations, a full context, what it refuses, signals. In a terminal: tests/unit/cli/test_chat_terminal.c.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
out=$work/out err=$work/err
demo=$SRC/tests/data/demo

# A model that talks without end: random weights, and a temperature that finds every token as good as any other.
model=$work/model
dmpo tokenizer train --output "$work/tokenizer" --vocabulary 400 "$demo/sft.jsonl" --quiet >/dev/null &&
    dmpo init --output "$model" --tokenizer "$work/tokenizer" --hidden 32 --intermediate 64 --layers 2 --heads 2 \
        --quiet >/dev/null || exit 1

chat() { # chat INPUT ARGS...: INPUT is printf's
    # shellcheck disable=SC2059 # it is a format
    printf "$1" >"$work/in"
    shift
    dmpo chat --model "$model" --temperature 3 --max-tokens 12 "$@" <"$work/in" >"$out" 2>"$err"
}

shown() { echo "  $1 in:" && sed 's/^/  /' "$out" "$err" && false; }
has() { grep -qF -e "$1" "$out" || shown "no '$1'"; }
says() { grep -qF -e "$1" "$err" || shown "no '$1'"; }
silent() { [ ! -s "$err" ] || shown "something"; }
lines() { [ "$(wc -l <"$out")" -eq "$1" ] || shown "not $1 lines"; }
field() { sed -n "$2s/.*\"$1\": \"\{0,1\}\([a-z0-9.]*\).*/\1/p" "$out"; } # of the JSON in line $2

ends() { # ends TEXT INPUT ARGS...: the input ends with status 1 and one line that says TEXT
    text=$1 status=0
    shift
    chat "$@" || status=$?
    check "'$text': status 1" [ "$status" = 1 ]
    check "'$text'" [ "$(grep -c '^dmpo chat: ' "$err")" = 1 ]
    check "'$text'" says "$text"
}

refuses() { # refuses STATUS TEXT ARGS...: one line on standard error that says TEXT, nothing on standard output
    want=$1 text=$2 status=0
    shift 2
    dmpo chat "$@" >"$out" 2>"$err" </dev/null || status=$?
    check "$*: status $want" [ "$status" = "$want" ]
    check "$*: one line" [ "$(wc -l <"$err")" -eq 1 ]
    check "$*: no output" [ ! -s "$out" ]
    check "$*" says "$text"
}

# ---- answers ----

check "two messages" chat 'Look around.\nGo on\n' --quiet
check "no prompts, no notes" silent
check "two answers" lines 2
cp "$out" "$work/two"
check "again" chat 'Look around.\nGo on' --quiet
check "is the same; the last line needs no end" cmp -s "$out" "$work/two"
check "CR LF" chat 'Look around.\r\n\r\n  \r\nGo on\r\n' --quiet
check "is the same, and blank lines are nothing" cmp -s "$out" "$work/two"
for isa in "--isa scalar" "--threads 1" "--threads 3"; do
    # shellcheck disable=SC2086 # two words
    check "$isa" chat 'Look around.\nGo on\n' --quiet $isa
    check "$isa: the same" cmp -s "$out" "$work/two"
done
check "generate" dmpo generate --model "$model" --temperature 3 --max-tokens 12 --prompt 'Look around.' --quiet >"$work/one"
head -n 1 "$work/two" >"$out"
check "says the same" cmp -s "$out" "$work/one"
check "another seed" chat 'Look around.\n' --quiet --seed 1
check "another answer" [ "$(cat "$out")" != "$(cat "$work/one")" ]
check "nothing said" chat ''
check "nothing said: nothing answered" lines 0
check "only /quit is heard" chat '/quit\nLook around.\n'
check "only /quit is heard: no answer" lines 0

# ---- what is known ----

check "as JSON" chat 'Look around.\nGo on\nGo on\n' --json --quiet
check "as JSON: three objects" lines 3
check "cut" [ "$(field stop 1)" = length ]
check "the first prompt is new" [ "$(field reused 1)" = 0 ]
for i in 2 3; do
    # All but the last token of the answer was computed when it was generated.
    known=$(($(field prompt_tokens $((i - 1))) + $(field tokens $((i - 1))) - 1))
    check "answer $i: $(field reused $i) known" [ "$(field reused $i)" = "$known" ]
    check "answer $i: little is new" [ $(($(field prompt_tokens $i) - known)) -lt 12 ]
done
check "/reset" chat 'Look around.\n/reset\nLook around.\n' --json --quiet
check "/reset: the same prompt" [ "$(field prompt_tokens 1)" = "$(field prompt_tokens 2)" ]
check "/reset: the same answer" [ "$(sed -n '1s/, "stop.*//p' "$out")" = "$(sed -n '2s/, "stop.*//p' "$out")" ]
check "/stats" chat 'Look around.\n/stats\n'
check "/stats: the context" says " of 2048 tokens, 2 messages"
check "/stats: the answer" says "answer   12 tokens at "
check "the cut is reported" says "(cut by --max-tokens 12)"
lone=$(sed -n 's/^context  \([0-9]*\) .*/\1/p' "$err")

# ---- a text that stops ----

chat 'Look around.\n' --quiet # its answer holds "ame mealth", of the tokens "ame", " m", "eal", "th"
check "the answer has the text" has "ame mealth"
head=$(sed 's/ame mealth.*//' "$out")
for stop in 'e m:am' 'ame:' 'lt:ame mea' ' m:ame' 'alth:ame me' 'health:'; do
    want=$head${stop#*:} stop=${stop%%:*}
    [ "$stop" = health ] && want=$(cat "$out")
    check "--stop '$stop'" chat "Look around.\nGo on\n/save! $work/stop.jsonl\n" --quiet --stop "$stop"
    head -n 1 "$out" >"$work/first"
    check "--stop '$stop': up to there" [ "$(cat "$work/first")" = "$want" ]
    check "--stop '$stop': the conversation has what was shown" grep -qF "\"assistant\", \"content\": \"${want%%-*}" "$work/stop.jsonl"
    check "--stop '$stop': and goes on" lines 2
    chat 'Look around.\n' --quiet
done
check "--stop, --json" chat 'Look around.\nGo on\n' --quiet --json --stop 'e m'
check "--stop, --json: how it ended" [ "$(field stop 1)" = text ]
check "--stop, --json: the conversation has less" [ "$(field prompt_tokens 2)" -lt 27 ]
refuses 2 "--stop must not be empty" --model "$model" --stop ''

# ---- commands ----

check "/help" chat '/help\n'
for command in /help /reset /system /retry /save /load /stats /quit; do
    check "/help: $command" says "$command "
done
check "/help is no answer" lines 0

check "--system" chat "Look around.\n/stats\n/save $work/system.jsonl\n" --system "Be brief."
check "--system: more context" [ "$(sed -n 's/^context  \([0-9]*\) .*/\1/p' "$err")" -gt "$lone" ]
check "--system is saved" grep -q '"messages": \[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Look around."}' "$work/system.jsonl"
cp "$out" "$work/system"
check "/system" chat 'Something else\n/system Be brief.\nLook around.\n' --system "Be long."
check "/system begins anew" [ "$(tail -n 1 "$out")" = "$(cat "$work/system")" ]
check "/system without a text" chat '/system\nLook around.\n' --system "Be long."
check "/system without a text: none" cmp -s "$out" "$work/one"

check "/retry" chat 'Look around.\n/retry\n/retry\nGo on\n/stats\n'
check "/retry: other answers" [ "$(sort -u "$out" | wc -l)" -eq 4 ]
check "/retry: they replace each other" says ", 4 messages"
cp "$out" "$work/retry"
check "/retry again" chat 'Look around.\n/retry\n/retry\nGo on\n'
check "/retry: the same ones" cmp -s "$out" "$work/retry"

check "two lines are one message" chat "Look \\\\\\naround.\\\\\\n\\n/save $work/lines.jsonl\\n" --quiet
check "two lines: a line end between them" grep -qF '"content": "Look \u000aaround.\u000a"' "$work/lines.jsonl"
check "// is a /" chat "//help\\n/save $work/slash.jsonl\\n" --quiet
check "// is a message" grep -qF '"content": "/help"' "$work/slash.jsonl"

# ---- files ----

saved=$work/saved.jsonl
check "/save" chat "Look around.\\nGo on\\n/save $saved\\n"
check "/save says so" says "(saved)"
check "/save: one line" [ "$(wc -l <"$saved")" -eq 1 ]
check "it is data" dmpo score --model "$model" --data "$saved" --quiet >"$out" 2>"$err"
check "of two turns" [ "$(grep -o '"begin"' "$out" | wc -l)" -eq 2 ]
check "to train with" dmpo train --objective sft --model "$model" --data "$saved" --output "$work/trained" --steps 1 --quiet >"$out" 2>"$err"
cp "$saved" "$work/copy"
ends "already exists; /save! $saved overwrites it" "Look around.\\n/save $saved\\n"
check "nothing is written over" cmp -s "$saved" "$work/copy"
check "/save!" chat "Look around.\\nGo on\\nGo on\\n/save! $saved\\n"
check "writes over it" [ "$(wc -c <"$saved")" -gt "$(wc -c <"$work/copy")" ]
check "/load and /save" chat "/load $saved\\n/stats\\n/save $work/again.jsonl\\n"
check "/load: messages" says ", 6 messages"
tokens=$(sed -n 's/^context  \([0-9]*\) .*/\1/p' "$err")
sed 's/saved.jsonl/again.jsonl/' "$saved" >"$work/copy"
check "the same file" cmp -s "$work/again.jsonl" "$work/copy"
check "/load and on" chat "/load $saved\\nGo on\\n/retry\\n/stats\\n"
check "/load and on: two answers" lines 2
check "/load and on: messages" says ", 8 messages"
check "/load and /retry" chat "/load $saved\\n/retry\\n/stats\\n"
check "/load and /retry: one answer" lines 1
check "/load and /retry: in place of the last" says ", 6 messages"
check "/load a data file" chat "/load $demo/sft.jsonl\\n/save $work/first.jsonl\\n"
check "the first of many" says "; the file's first conversation"
check "it keeps what is not trained" grep -qF '"train": false}' "$work/first.jsonl"
printf '[{"from": "human", "value": "Look around."}]\n' >"$work/open.json"
check "/load an open question" chat "/load $work/open.json\\n/retry\\n" --seed 1
check "/retry asks it" says "it ends with your message, which /retry asks"
check "/retry asks it: an answer" lines 1
check "no file is left half-written" [ -z "$(find "$work" -name '*.tmp-*')" ]

ends "standard input:1: there is nothing to save yet" "/save $work/none.jsonl\\n"
check "and nothing is" [ ! -e "$work/none.jsonl" ]
ends "/save needs a file name after it" '/save\n'
ends "cannot create" "Look around.\\n/save $work/no/such/file\\n"
ends "cannot open" "/load $work/nosuch\\n"
ends "is not a regular file" "/load $work\\n"
broken() { # broken TEXT CONTENT
    printf '%s\n' "$2" >"$work/broken.json"
    ends "$1" "/load $work/broken.json\\n"
}
broken "must be a conversation" '{"prompt": []}'
broken "must be a conversation" '3'
broken "is empty" '{"messages": []}'
broken "messages[0]: a conversation must begin with a message of the user" '[{"role": "assistant", "content": "a"}]'
broken "messages[1]: a second message of the user in a row" '[{"role": "user", "content": "a"}, {"role": "user", "content": "a"}]'
broken "a tool's result must follow" '[{"role": "tool", "content": "a"}]'
broken "must be a string" '[{"role": "user", "content": 3}]'
broken ":1:" '[{"role": "user", "content": "a"'

# ---- the end of the context ----

check "a long answer" chat 'Look around.\n' --max-length 40 --max-tokens 100 --json
check "ends with the context" [ "$(field stop 1)" = context ]
check "of as many tokens" [ $(($(field prompt_tokens 1) + $(field tokens 1))) = 40 ]
check "says what to do" says "the context of 40 tokens is full: /reset starts a new conversation"
ends "standard input:2: the context is full: of 40 tokens " 'Look around.\nGo on\n' --max-length 40 --max-tokens 100
check "says what to do" says "/reset starts a new conversation, --max-length allows a longer one"
check "the first answer is there" lines 1
ends "the context is full: of 5 tokens 0 are taken" 'Look around.\n' --max-length 5
check "/reset makes room" chat 'Look around.\n/reset\nLook around.\n' --max-length 40 --max-tokens 100
check "/reset makes room: two answers" lines 2
ends "has $tokens tokens, but the context has 20" "/load $saved\\n" --max-length 20

# ---- what is refused ----

ends "standard input:2: unknown command /nosuch; the commands are /help," 'Look around.\n/nosuch x\nGo on\n'
check "the answer before is there, the one after is not" lines 1
ends "/quit takes no argument" '/quit now\n'
ends "there is no message to ask again yet" '/retry\n'
ends "byte 1 is not valid UTF-8" 'a\377\n'
ends "the command contains a NUL" '/help\000\n'
refuses 2 "no model given; --model PATH names it"
refuses 1 "nosuch" --model "$work/nosuch"
refuses 2 "--max-length 1 is out of range" --model "$model" --max-length 1
refuses 2 "--max-tokens 0 is out of range" --model "$model" --max-tokens 0
refuses 2 "temperature" --model "$model" --temperature -1
refuses 2 "top" --model "$model" --top-p 0
refuses 2 "unexpected" --model "$model" hello
refuses 2 "template" --model "$model" --template nosuch
mkdir "$work/bare" && cp "$model/config.json" "$model/model.safetensors" "$work/bare"
refuses 1 "has no tokenizer, which text needs" --model "$work/bare"
status=0
printf 'Look around.\n' | dmpo chat --model "$model" --system "$(printf 'a\377')" >"$out" 2>"$err" || status=$?
check "a system message that is no text: status 1" [ "$status" = 1 ]
check "a system message that is no text" says "the system message: byte 1 is not valid UTF-8"
if [ -w /dev/full ]; then
    status=0
    printf 'Look around.\nGo on\n' | dmpo chat --model "$model" >/dev/full 2>"$err" || status=$?
    check "a full disk: status 1" [ "$status" = 1 ]
    check "a full disk: one line" [ "$(grep -c '^dmpo chat: .*cannot write standard output' "$err")" = 1 ]
fi

# ---- signals ----

mkfifo "$work/fifo"
# shellcheck disable=SC2086 # the wrapper is a list of words
${EXEC_WRAPPER-} "$BUILD/dmpo" chat --model "$model" --temperature 3 --top-k 3 --max-tokens 9999999 --max-length 200000 --threads 1 \
    <"$work/fifo" >"$out" 2>"$err" & # not the function: its process gets the signal
pid=$!
exec 3>"$work/fifo"
echo 'Look around.' >&3
n=0
while [ $n -lt 300 ] && [ ! -s "$out" ]; do
    n=$((n + 1))
    sleep 0.1 2>/dev/null || sleep 1
done
kill -INT $pid
status=0
wait $pid || status=$?
exec 3>&-
check "Ctrl-C: status 1" [ "$status" = 1 ]
check "Ctrl-C is reported" says "stopped after "
check "Ctrl-C: what was said is there" [ "$(wc -c <"$out")" -gt 1 ]

finish chat
