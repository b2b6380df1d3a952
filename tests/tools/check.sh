# The frame of a shell test, what tests/support/check.h is for C: `. "$SRC/tests/tools/check.sh"`, then checks, then
# `finish NAME`. $work is a directory that is removed at the end. Not a test by itself.
# shellcheck shell=sh

passed=0 failed=0 skipped=0
check() { # check WHAT COMMAND...
    what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $what"
    fi
}

skip() { # skip WHY: what this machine cannot check
    skipped=$((skipped + 1))
    echo "skipped: $1"
}

work=$(mktemp -d "${TMPDIR:-/tmp}/dmpo-test.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# shellcheck disable=SC2086 # the wrapper is a list of words
dmpo() { ${EXEC_WRAPPER-} "$BUILD/dmpo" "$@"; }

# ---- a command's output: works, has and refuses leave it in $out, its messages in $err ----

out=$work/out err=$work/err

works() { # works ARGS...: status 0
    dmpo "$@" >"$out" 2>"$err" </dev/null || { sed 's/^/  /' "$err" && false; }
}

has() { # has TEXT: the output holds it
    grep -qF -e "$1" "$out" || { echo "  no '$1' in:" && sed 's/^/  /' "$out" "$err" && false; }
}

# refuses STATUS TEXT COMMAND ARGS...: that status, one line of that command on standard error that says TEXT, no output
refuses() {
    want=$1 text=$2 status=0
    shift 2
    dmpo "$@" >"$out" 2>"$err" </dev/null || status=$?
    if [ "$status" = "$want" ] && [ "$(wc -l <"$err")" -eq 1 ] && [ ! -s "$out" ] && grep -q "^dmpo $1: " "$err" &&
        grep -qF -e "$text" "$err"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: dmpo $*: status $status, not $want with '$text' in one line:"
        sed 's/^/  /' "$err"
    fi
}

setting() { sed -n "s/^$1 = //p" "$BUILD/config.mk"; } # of configure

finish() {
    printf '%s: %d passed, %d failed' "$1" "$passed" "$failed"
    [ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
    printf '\n'
    [ "$failed" = 0 ]
}
