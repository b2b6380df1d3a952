#!/bin/sh
# What README.md says is true: its option table is that of `dmpo train`, the options of configure exist, the commands it
# shows are understood, and its C program compiles without a warning and runs.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
readme=$SRC/README.md

# all REGEX FILE: every match, a line each
all() {
    awk -v regex="$1" '{ for (s = $0; match(s, regex); s = substr(s, RSTART + RLENGTH)) print substr(s, RSTART, RLENGTH) }' \
        "$2"
}

# ---- options ----

dmpo train --help | sed '/^For every command/,$d' | sed -n 's/^  --\([a-z0-9-]*\) .*/\1/p' | sort >"$work/has"
# shellcheck disable=SC2016 # backquotes of the table
sed -n '/^## Options of dmpo train/,/^## /s/^| `--\([a-z0-9-]*\)` |.*/\1/p' "$readme" | sort >"$work/says"
check "dmpo train has options" test -s "$work/has"
check "the table has the options of dmpo train" diff "$work/has" "$work/says"

"$SRC/configure" --help >"$work/configure"
sed -n '/^| option of configure/,/^$/p' "$readme" >"$work/configure-table"
all '--[a-z][a-z0-9-]*' "$work/configure-table" >"$work/configure-options"
check "there are options of configure" test -s "$work/configure-options"
while read -r option; do
    check "configure has $option" grep -q -e "^  $option" "$work/configure"
done <"$work/configure-options"

# ---- commands: every ./dmpo of an indented block is parsed up to --help, after its last option ----

awk '/^    / && match($0, /\.\/dmpo /) { line = substr($0, RSTART); sub(/ [|>].*/, "", line); print line }' "$readme" \
    >"$work/commands"
check "there are commands" test -s "$work/commands"
while read -r line; do
    # shellcheck disable=SC2086 # words are meant
    set -- $line
    shift
    check "understood: $line" dmpo "$@" --help >"$work/help" 2>&1
done <"$work/commands"

# ---- the C program ----

# shellcheck disable=SC2016 # the fence of the block
sed -n '/^```c$/,/^```$/p' "$readme" | sed '/^```/d' >"$work/example.c"
# shellcheck disable=SC2046,SC2086 # lists of words
compile() {
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror $(setting CFLAGS) $(setting SANITIZE) -I"$SRC/include" "$work/example.c" \
        "$BUILD/libdmpo.a" $(setting LDFLAGS) -lm -pthread -o "$work/example"
}
# shellcheck disable=SC2086
run() { (cd "$SRC" && ${EXEC_WRAPPER-} "$work/example" tests/golden/llama-tied-gqa/model tests/golden/llama-tied-gqa/case.json >"$work/output"); }
check "the C program compiles" compile
check "the C program runs" run
check "the C program prints" test -s "$work/output"

finish readme
