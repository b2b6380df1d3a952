#!/bin/sh
# Seeded mistakes of a PyTorch port (docs/examples/port), as traces that tests/tools/bug_traces.py made: `check` finds
# the operation of every one, from the trace alone, and names at least nine of ten.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

all=0 named=0
while read -r bug operation name; do
    dmpo check "$SRC/tests/data/bugs/$bug.safetensors" >"$work/out" 2>&1
    check "$bug ends with status 1" test $? -eq 1
    check "$bug is found at $operation" grep -q -e "^first wrong operation: step 0, $operation (" "$work/out"
    all=$((all + 1))
    [ "$name" = - ] && continue
    named=$((named + 1))
    check "$bug is called $name" grep -q -F -e "explained by: $name (" "$work/out"
done <"$SRC/tests/data/bugs/expected.txt"
check "at least 40 mistakes" test "$all" -ge 40
check "nine of ten have a name: $named of $all" test "$((named * 10))" -ge "$((all * 9))"

finish bugs
