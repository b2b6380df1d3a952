#!/bin/sh
# Writes what the tables of options say into the documents: OPTIONS of the manual pages, and README's table. make docs
# runs it; tests/shell/options.sh compares.
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

for page in "$root"/docs/man/dmpo-*.1; do
    command=${page##*/dmpo-}
    "$dmpo" "${command%.1}" --help=man >"$part"
    replace "$page" '^[.]SH OPTIONS$' '^[.]SH '
done
"$dmpo" train --help=man | sed '1,/^[.]SS For every command$/d' >"$part"
replace "$root/docs/man/dmpo.1" '^[.]SS For every command$' '^[.]SH '
"$dmpo" train --help=markdown | sed 1d >"$part"
replace "$root/README.md" '^[|] option [|] value [|] default [|] meaning [|]$' '^$'
