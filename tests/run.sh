#!/bin/sh
# run.sh PROGRAM...: runs every test program and shell test, shows the output of those that fail, sums up.
# A program ends with "name: N passed, N failed" (", N skipped" may follow); one that crashes, says nothing
# countable or checks nothing counts as one failure. EXEC_WRAPPER stands before programs of a cross build.
set -u

wrapper=${EXEC_WRAPPER-}
if [ "$wrapper" = missing ]; then
    echo "tests: these programs are for another machine; install qemu or give configure --exec-wrapper=COMMAND" >&2
    exit 1
fi
out=$(mktemp "${TMPDIR:-/tmp}/test-output.XXXXXX") || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 1' HUP INT TERM

passed=0 failed=0 skipped=0 number=0
for program in "$@"; do
    number=$((number + 1))
    name=$(basename "$program")
    [ ! -t 1 ] || printf '[%2d/%d] %-20s ...' "$number" "$#" "$name"
    start=$(date +%s)
    status=0
    case $program in
    *.sh) sh "$program" >"$out" 2>&1 </dev/null || status=$? ;;
    *) $wrapper "$program" >"$out" 2>&1 </dev/null || status=$? ;;
    esac
    seconds=$(($(date +%s) - start))
    counts=$(tail -n 1 "$out" |
        sed -n 's/^.*: \([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed\(, \([0-9][0-9]*\) skipped\)\{0,1\}$/\1 \2 0\4/p')
    problem=
    p=0 f=0 s=0
    if [ -n "$counts" ]; then
        p=${counts%% *} s=${counts##* }
        f=${counts#* } f=${f%% *}
        s=$((${s#0} + 0))
    else
        problem="no count at the end"
    fi
    if [ $((p + f + s)) = 0 ] && [ -z "$problem" ]; then problem="checked nothing"; fi
    if [ "$status" != 0 ] && [ "$f" = 0 ]; then problem="exit status $status"; fi
    if [ -n "$problem" ]; then f=$((f + 1)); fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ ! -t 1 ] || printf '\r'
    printf '[%2d/%d] %-20s %7d passed, %d failed' "$number" "$#" "$name" "$p" "$f"
    [ "$s" = 0 ] || printf ', %d skipped' "$s"
    printf '  (%d s)%s\n' "$seconds" "${problem:+  $problem}"
    if [ "$f" != 0 ]; then
        sed 's/^/    /' "$out"
    elif [ "$s" != 0 ]; then
        sed -n 's/^skipped: /    skipped: /p' "$out"
    fi
done

printf '%d passed, %d failed' "$passed" "$failed"
[ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" = 0 ]
