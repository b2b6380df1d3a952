#!/bin/sh
# Writes what the tables of options say into the documents: OPTIONS of the manual pages of train, plan, score and show, and
# README's table. make docs runs it; tests/shell/options.sh compares.
# usage: docs/options.sh DMPO DIRECTORY-OF-README-AND-DOCS
set -eu
dmpo=$1 root=$2
part=$(mktemp) whole=$(mktemp)
trap 'rm -f "$part" "$whole"' EXIT

# replace FILE BEGIN END: puts $part after the line that matches BEGIN, in place of the lines before one that matches END
replace() {
    awk -v part="$part" -v begin="$2" -v end="$3" '
        inside && $0 ~ end { inside = 0 }
        !inside { print }
        $0 ~ begin { while ((getline line < part) > 0) print line; inside = 1 }' "$1" >"$whole"
    cmp -s "$whole" "$1" || cat "$whole" >"$1"
}

for command in train plan score show; do
    "$dmpo" "$command" --help=man >"$part"
    replace "$root/docs/man/dmpo-$command.1" '^[.]SH OPTIONS$' '^[.]SH [A-NP-Z]'
done
"$dmpo" train --help=markdown | sed 1d >"$part"
replace "$root/README.md" '^[|] option [|] value [|] default [|] meaning [|]$' '^$'
