#!/bin/sh
# Lines of sources end within 120 columns, and documents, manual pages and help hold none of the phrases that
# CONTRIBUTING.md rules out. Lines of text may be longer in C, where clang-format leaves them, and commands in scripts.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

# wide FILE...: the lines that are too long
wide() {
    LC_ALL=C awk 'length > 120 && (FILENAME ~ /[.][ch]$/ ? !/".*"[,;)}]*$/ : /^ *#/) {
             print FILENAME ":" FNR ": over 120 columns" }' "$@"
}

phrases() { # phrases FILE...
    grep -niE 'in front of|(is|are) none of|for who |nobody|(is|are|was|were|been|be) (told|heard)' "$@" /dev/null
}

none() { # none COMMAND ARG...: it prints nothing
    "$@" >"$work/found"
    cat "$work/found"
    [ ! -s "$work/found" ]
}

# ---- the checks themselves ----

awk 'BEGIN { for (i = 0; i < 118; i++) s = s "x"; print "/* " s; print "f(\"" s "\");"; print "# " s }' >"$work/wide.c"
check "a long line is found, a long text is not" test "$(wide "$work/wide.c")" = "$work/wide.c:1: over 120 columns"
cp "$work/wide.c" "$work/wide.sh"
check "a long command is not, a long comment fits" test "$(wide "$work/wide.sh")" = ""
printf 'DESTDIR=DIR is heard.\nThe host is honoured.\n' >"$work/sample"
check "a phrase is found" test "$(phrases "$work/sample" | wc -l)" -eq 1

# ---- the tree ----

cd "$SRC" || exit 1
find core simd io model agent cli tests bench include \( -name '*.[ch]' -o -name '*.sh' \) ! -name unicode_tables.c >"$work/files"
check "there are sources" test "$(wc -l <"$work/files")" -gt 100
# shellcheck disable=SC2046 # a list of names
check "columns" none wide configure Makefile .ci/run $(cat "$work/files")
check "documents" none phrases README.md CONTRIBUTING.md docs/*.md docs/man/*.1

dmpo --help >"$work/help"
commands=$(sed -n 's/^  \([a-z]*\)  .*/\1/p' "$work/help")
check "there are commands" test "$(echo "$commands" | wc -l)" -gt 10
for command in $commands; do dmpo "$command" --help; done >>"$work/help"
check "help" none phrases "$work/help"

finish style
