#!/bin/sh
# Every file of this project that README.md, CONTRIBUTING.md, docs/ and the manual pages name exists: a path that begins
# with one of the top folders, with * as in a shell. Placeholders (NAME, FAMILY) are not paths.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

exists() { # exists PATTERN: a file or a folder
    # shellcheck disable=SC2086 # * is meant
    for found in "$SRC"/$1; do
        [ -e "$found" ] && return
    done
    return 1
}

paths_of() {
    awk '{ for (s = $0; match(s, /[A-Za-z0-9_.*\/-]+/); s = substr(s, RSTART + RLENGTH))
               print substr(s, RSTART, RLENGTH) }' "$1" | sed 's/\.$//' | grep -v -e NAME -e FAMILY -e FOLDER |
        grep -E '^((core|simd|io|model|agent|cli|include|tests|bench|docs|\.ci)/|(README|CONTRIBUTING|CHANGELOG)\.md$)' |
        LC_ALL=C sort -u
}

# The check itself: a path that is there, one that is not, a placeholder, the end of a sentence.
# shellcheck disable=SC2016 # backquotes are Markdown's
printf 'See core/error.h, `tests/shell/*.sh`, README.md and docs/nosuch.md (agent/NAME.c is a placeholder).\n' >"$work/sample"
check "paths are found" test "$(paths_of "$work/sample" | tr '\n' ' ')" = \
    'README.md core/error.h docs/nosuch.md tests/shell/*.sh '
check "a path that is there exists" exists core/error.h
check "a pattern exists" exists 'tests/shell/*.sh'
if exists docs/nosuch.md; then check "a path that is not there does not exist" false; fi

for page in README.md CONTRIBUTING.md docs/*.md docs/man/*.1 tests/data/demo/README.md; do
    for file in "$SRC"/$page; do
        paths_of "$file" >"$work/paths"
        while read -r path; do
            check "${file#"$SRC"/} names $path, which is not there" exists "$path"
        done <"$work/paths"
    done
done

finish docs
