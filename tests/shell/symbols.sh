#!/bin/sh
# What libdmpo offers to a program: include/dmpo.symbols, and nothing else that the program's names could meet.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

nm=$(setting NM)
if [ -z "$nm" ]; then
    skip "configure found no nm, which lists the symbols"
    finish symbols
    exit
fi
committed=$SRC/include/dmpo.symbols

# Names of functions and data; a sanitizer adds names that begin with two underscores.
names() { LC_ALL=C "$nm" -g --defined-only "$@" | sed -n 's/^[0-9a-fA-F]* *[A-Z] //p' | grep -v '^__' | LC_ALL=C sort -u; }
same_names() { diff "$committed" "$work/names"; }

if [ "$(setting SHARED)" = yes ]; then
    names -D "$BUILD"/libdmpo.so.* >"$work/names"
    check "libdmpo.so exports what include/dmpo.symbols lists; if the change is meant, run: make symbols" same_names
fi
names "$BUILD/libdmpo.a" >"$work/names"
if [ -n "$(setting OBJCOPY)" ]; then
    check "libdmpo.a offers what include/dmpo.symbols lists; if the change is meant, run: make symbols" same_names
else
    skip "configure found no objcopy that hides the names of libdmpo.a"
    grep -v '^dmpo_\|^dm_' "$work/names" >"$work/others"
    check "names in libdmpo.a begin with dm_ or dmpo_: $(tr '\n' ' ' <"$work/others")" test ! -s "$work/others"
fi

finish symbols
