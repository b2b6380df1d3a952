#!/bin/sh
# The build itself: flags of the environment and of make's command line are used, a changed one builds everything again,
# and make demo and make test build on all processors, unless make was given -j.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
unset MAKEFLAGS MFLAGS MAKELEVEL
cd "$work" || exit 1
object=./obj/core/error.o

build() { "${MAKE:-make}" "$@" >log 2>&1 || { cat log && false; }; }
up_to_date() { "${MAKE:-make}" -q "$@" $object; }
outdated() { ! up_to_date "$@"; }

configure() { CPPFLAGS=-DDM_A=1 "$SRC/configure" --cc="${CC:-cc}"; }
check "configure takes CPPFLAGS" configure
check "they are compiled with" build V=1 $object
check "as they were written" grep -q -e ' -DDM_A=1 ' log
check "what is built is up to date" up_to_date
cp config.h before.h && touch -r config.h before.h
check "configure once more" configure >log 2>&1
check "and still up to date" up_to_date
check "CFLAGS on the command line make it outdated" outdated CFLAGS=-O0
check "the old ones, too, then" outdated
build $object
check "CPPFLAGS make it outdated" outdated CPPFLAGS=-DDM_B
check "they are used" build V=1 CPPFLAGS=-DDM_B $object
check "as on the command line" grep -q -e ' -DDM_B ' log
check "up to date with the same ones" up_to_date CPPFLAGS=-DDM_B
check "another compiler makes it outdated" outdated CC="env ${CC:-cc}"

# The line that builds: dry runs show it.
jobs_of() { "${MAKE:-make}" -n "$@" TESTS= SHELL_TESTS= 2>&1 | sed -n 's/^.* \(-j[0-9]*\) ready.*$/\1/p'; }
for goal in test demo; do
    found=$(jobs_of $goal)
    check "make $goal builds with -jN: $found" test "${found#-j}" -ge 1
    check "make -j3 $goal with its own" test -z "$(jobs_of -j3 $goal)"
done

finish build
