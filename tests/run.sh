#!/bin/sh
# run.sh PROGRAM...: runs every test program and shell test, shows the output of those that fail, sums up.
# A program ends with "name: N passed, N failed" (", N skipped" may follow); one that crashes, says nothing
# countable or checks nothing counts as one failure. EXEC_WRAPPER precedes programs of a cross build.
# TEST_JOBS: how many run at once (1).
set -u

wrapper=${EXEC_WRAPPER-}
if [ "$wrapper" = missing ]; then
    echo "tests: these programs are for another machine; install qemu or give configure --exec-wrapper=COMMAND" >&2
    exit 1
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/test-output.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
workers=
trap 'kill $workers 2>/dev/null; exit 1' HUP INT TERM

# test_one NUMBER OF PROGRAM: its line, and what it said if it failed; the counts go to a file
test_one() {
    out=$work/$1/output
    name=$(basename "$3")
    start=$(date +%s)
    status=0
    case $3 in
    *.sh) sh "$3" >"$out" 2>&1 </dev/null || status=$? ;;
    *) $wrapper "$3" >"$out" 2>&1 </dev/null || status=$? ;;
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
    echo "$p $f $s" >"$work/$1/counts"
    { # in one piece: another worker may be printing
        printf '[%2d/%d] %-20s %7d passed, %d failed' "$1" "$2" "$name" "$p" "$f"
        [ "$s" = 0 ] || printf ', %d skipped' "$s"
        printf '  (%d s)%s\n' "$seconds" "${problem:+  $problem}"
        if [ "$f" != 0 ]; then
            sed 's/^/    /' "$out"
        elif [ "$s" != 0 ]; then
            sed -n 's/^skipped: /    skipped: /p' "$out"
        fi
    } >"$work/$1/line"
    cat "$work/$1/line"
}

# Takes the next free number: a directory can be made only once.
worker() {
    number=0
    for program in "$@"; do
        number=$((number + 1))
        mkdir "$work/$number" 2>/dev/null || continue
        [ ! -t 1 ] || printf '[%2d/%d] %-20s ...\r' "$number" "$#" "$(basename "$program")"
        test_one $number $# "$program"
    done
}

jobs=${TEST_JOBS:-1}
while [ "$jobs" -gt 1 ]; do
    worker "$@" &
    workers="$workers $!"
    jobs=$((jobs - 1))
done
worker "$@"
wait

passed=0 failed=0 skipped=0 number=0
while [ $number -lt $# ]; do
    number=$((number + 1))
    p=0 f=1 s=0 # a worker that died
    [ ! -f "$work/$number/counts" ] || read -r p f s <"$work/$number/counts"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
printf '%d passed, %d failed' "$passed" "$failed"
[ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" = 0 ]
