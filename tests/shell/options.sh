#!/bin/sh
# The documents say what the tables of options say: docs/options.sh would change nothing.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

mkdir -p "$work/docs/man"
cp "$SRC/README.md" "$work/"
cp "$SRC"/docs/man/dmpo*.1 "$work/docs/man/"
printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${EXEC_WRAPPER-}" "$BUILD/dmpo" >"$work/dmpo"
chmod +x "$work/dmpo"
check "the documents are written" sh "$SRC/docs/options.sh" "$work/dmpo" "$work"
check "README's table is the library's; if the change is meant, run: make docs" cmp "$work/README.md" "$SRC/README.md"
for page in "$work"/docs/man/*.1; do
    check "OPTIONS of ${page##*/} are the command's; if the change is meant, run: make docs" \
        cmp "$page" "$SRC/docs/man/${page##*/}"
done

# The check itself: a row that was changed by hand does not stay.
sed 's/how strongly the reference holds/how weakly the reference holds/' "$SRC/README.md" >"$work/README.md"
check "a row is found" grep -q 'how weakly' "$work/README.md"
check "and written" sh "$SRC/docs/options.sh" "$work/dmpo" "$work"
check "as the library has it" cmp "$work/README.md" "$SRC/README.md"

# The commands that show what a program can do with the library include dmpo.h and what is the command's own.
for command in train score generate; do
    sed -n 's/^#include "\([^"]*\)".*/\1/p' "$SRC/cli/commands/$command.c" | grep -v -e '^dmpo\.h$' -e '^cli/' >"$work/others"
    check "cli/commands/$command.c includes $(tr '\n' ' ' <"$work/others")" test ! -s "$work/others"
done

finish options
