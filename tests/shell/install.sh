#!/bin/sh
# make install as a packager does it: into DESTDIR, pkg-config's flags compile a program against the static and the
# shared library, and docs/examples/ in a folder of their own; uninstall leaves no file.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
dest=$work/dest

# Without the jobs of the make that runs this test, but with what its command line sets: else all is built again.
MAKEFLAGS=$(printf '%s' "${MAKEFLAGS-}" | sed -n 's/^.*-- / -- /p')
export MAKEFLAGS
build() { # the makefile of an in-tree build is the source one
    if [ -f "$BUILD/Makefile" ]; then
        (cd "$BUILD" && "${MAKE:-make}" "$@")
    else
        (cd "$SRC" && "${MAKE:-make}" B="$BUILD" "$@")
    fi
}

libdir=$(setting libdir)
check "make install" build DESTDIR="$dest" install >"$work/log" 2>&1
[ "$failed" = 0 ] || cat "$work/log"

pc=$dest$libdir/pkgconfig/dmpo.pc
check "dmpo.pc is there" test -f "$pc"
check "the command is there" test -x "$dest$(setting bindir)/dmpo"
check "the header is there" test -f "$dest$(setting includedir)/dmpo.h"
# shellcheck disable=SC2016 # the file itself contains ${prefix}
check "dmpo.pc can be moved" grep -q '^libdir=${prefix}' "$pc"

# What dmpo.pc says, with its paths below DESTDIR: as pkg-config reads it, or this script where there is none.
if command -v pkg-config >/dev/null 2>&1; then
    package() {
        PKG_CONFIG_LIBDIR=$dest$libdir/pkgconfig PKG_CONFIG_PATH='' PKG_CONFIG_SYSROOT_DIR=$dest \
            PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config "$@" dmpo
    }
    check "pkg-config accepts dmpo.pc" package --validate
    cflags=$(package --cflags) libs=$(package --libs) static=$(package --static --libs) version=$(package --modversion)
else
    field() { sed -n "s|^$1[:=] *||p" "$pc"; }
    expand() {
        text=$(field "$1")
        for name in libdir includedir prefix; do
            value=$(field $name)
            case $value in /*) value=$dest$value ;; esac
            text=$(printf '%s' "$text" | sed "s|\${$name}|$value|g")
        done
        printf '%s' "$text"
    }
    cflags=$(expand Cflags) libs=$(expand Libs) static="$(expand Libs) $(field Libs.private)" version=$(field Version)
fi
static=$(printf '%s' "$static" | sed "s|-ldmpo|$dest$libdir/libdmpo.a|")
check "it gives the version of the header" grep -q "^#define DMPO_VERSION .*\"$version\"" "$dest$(setting includedir)/dmpo.h"

cat >"$work/hello.c" <<'END'
#include <dmpo.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
    puts(dmpo_version());
    return strcmp(dmpo_version(), DMPO_VERSION) != 0;
}
END

# The compiler and every list of flags are words; a sanitized library needs its run-time.
# shellcheck disable=SC2046,SC2086
compile() {
    ${CC:-cc} $(setting CFLAGS) $(setting SANITIZE) $cflags "$work/hello.c" -o "$work/$1" $2 \
        $(setting LDFLAGS) >"$work/log" 2>&1 || { cat "$work/log" && false; }
}
# shellcheck disable=SC2086
prints_version() { [ "$(LD_LIBRARY_PATH="$dest$libdir" ${EXEC_WRAPPER-} "$work/$1")" = "$version" ]; }

check "a program compiles with the static library" compile static "$static"
check "it prints the version" prints_version static
if [ "$(setting SHARED)" = yes ]; then
    check "libdmpo.so is a link" test -L "$dest$libdir/libdmpo.so"
    check "a program compiles with the shared library" compile shared "$libs"
    # Before 1.0 a minor version may change what a program needs.
    case $version in 0.*) abi=${version%.*} ;; *) abi=${version%%.*} ;; esac
    LC_ALL=C tr '\0' '\n' <"$work/shared" >"$work/strings"
    check "it needs libdmpo.so.$abi" grep -qaxF "libdmpo.so.$abi" "$work/strings"
    check "it prints the version" prints_version shared
fi

# ---- the examples, in a folder that has nothing else of the project ----

mkdir "$work/alone"
cp "$SRC"/docs/examples/*.c "$work/alone/"
cd "$work/alone" || exit 1
installed() { # the command that is installed; paths are of this folder
    # shellcheck disable=SC2086
    ${EXEC_WRAPPER-} "$dest$(setting bindir)/dmpo" "$@" >"$work/log" 2>&1 || { cat "$work/log" && false; }
}
printf 'the cat sat on the mat\n' >words
printf '%s\n' '{"prompt": [{"role": "user", "content": "go"}], "chosen": [{"role": "assistant", "content": "the mat"}],' \
    ' "rejected": [{"role": "assistant", "content": "cat"}]}' | tr -d '\n' >pairs.jsonl
check "a tokenizer" installed tokenizer train --output tokenizer --vocabulary 300 --template chatml words
check "a model" installed init --output model --tokenizer tokenizer --hidden 16 --intermediate 32 --layers 1 --heads 2

# shellcheck disable=SC2046,SC2086 # lists of words
as_c() {
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror $(setting CFLAGS) $(setting SANITIZE) $cflags "$1.c" -o "$1" $static \
        $(setting LDFLAGS) >"$work/log" 2>&1 || { cat "$work/log" && false; }
}
# shellcheck disable=SC2046,SC2086
as_cxx() {
    ${CC:-cc} -x c++ -std=c++17 -Wall -Wextra -Werror $cflags -fsyntax-only "$1.c" >"$work/log" 2>&1 ||
        { cat "$work/log" && false; }
}
echo 'int main() { return 0; }' >probe.cc
cxx=no
${CC:-cc} -x c++ -fsyntax-only probe.cc >/dev/null 2>&1 && cxx=yes
[ "$cxx" = yes ] || skip "${CC:-cc} compiles no C++"
# shellcheck disable=SC2086
example() { # example NAME ARGUMENT...: its output in NAME.out
    name=$1
    shift
    ${EXEC_WRAPPER-} "./$name" "$@" >"$name.out" 2>"$work/log" || { cat "$work/log" && false; }
}
for name in score train stream; do
    check "docs/examples/$name.c compiles as C" as_c $name
    [ "$cxx" = no ] || check "and as C++" as_cxx $name
done
check "score runs" example score model pairs.jsonl
check "it prints both sides" test "$(grep -c ' turn 0: [0-9]* tokens, log p = -[0-9.]*$' score.out)" = 2
check "train runs" example train model trained
check "it prints five steps" test "$(grep -c '^step [1-5] of 5: loss 0[.][0-9]*, margin' train.out)" = 5
check "and writes the model" grep -q "$(sed -n 's/^weights //p' train.out)" trained/checkpoint/state.json
check "stream runs" example stream model hello
check "it prints a line" test "$(wc -l <stream.out)" -ge 1
if example score nowhere pairs.jsonl 2>/dev/null >&2; then check "score refuses a model that is not there" false; fi
cd "$work" || exit 1

check "make uninstall" build DESTDIR="$dest" uninstall >"$work/log" 2>&1
left=$(find "$dest" ! -type d)
check "uninstall leaves nothing: $left" test -z "$left"

finish install
