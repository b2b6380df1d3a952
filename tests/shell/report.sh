#!/bin/sh
# dmpo report of a real experiment: by itself and at the experiment's end, the same from another run with other jobs,
# elsewhere, with charts; what is refused.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
cd "$work" || exit 1

cat >recipe.json <<'END'
{"name": "tiny", "title": "A tiny one", "seeds": [1, 2],
 "environments": [{"env": "home"}],
 "expert": {"tasks": 6}, "tokenizer": {"vocabulary": 400},
 "model": {"hidden": 16, "intermediate": 32, "layers": 1, "heads": 2, "positions": 1024},
 "sft": {"lr": 0.01, "batch": 2, "epochs": 1},
 "explore": {"tasks": 6, "temperature": 1, "max-turns": 3, "max-tokens": 8},
 "train": {"lr": 0.001, "batch": 2, "epochs": 1},
 "evaluate": {"tasks": 4, "splits": ["unseen"], "max-turns": 3, "max-tokens": 8},
 "methods": [
  {"name": "expert", "kind": "expert", "evaluate": {"max-turns": 0}},
  {"name": "SFT", "kind": "sft"},
  {"name": "DPO", "kind": "preference", "train": {"objective": "dpo"}},
  {"name": "DMPO", "kind": "preference", "sweep": {"gamma": [0.5, 0.9]}}],
 "examples": ["DPO"]}
END

says() { grep -q -e "$2" "$1"; }
# What is not of this machine and run: everything before the last section.
rest() { sed '/This run/,$d' "$1"; }
same_rest() { rest "$1" >a.rest && rest "$2" >b.rest && test -s a.rest && cmp a.rest b.rest; }

check "an experiment" dmpo experiment recipe.json --output one --jobs 2 --quiet >one.out
for file in report.html report.md results.csv; do
    check "it leaves $file" test -s "one/$file"
    cp "one/$file" "kept.$file"
done
check "a row for each evaluation" test "$(wc -l <one/results.csv)" = 11
check "the expert is there" says one/report.md '^| expert | 1.000'
check "a difference to SFT" says one/report.md 'unseen: to SFT'
check "the sweep" says one/report.html 'Mean reward in home by gamma'
check "an example" says one/report.html 'The pair with the widest margin'
check "its scores are known" says one/report.html '<th scope="col" class="num">score</th>'
check "the curves" says one/report.html '<title id="[td][0-9]*">Training loss in home</title>'
check "the recipe, verbatim" says one/report.md '^ "explore": {"tasks": 6, "temperature": 1, "max-turns": 3'
check "nothing half-written" test -z "$(find one -name 'report.tmp*')"

check "the command" dmpo report one >report.out
check "names the page" test "$(cat report.out)" = one/report.html
for file in report.html report.md results.csv; do
    check "$file is the experiment's" cmp "one/$file" "kept.$file"
done

if [ -z "${DMPO_TEST_FAST-}" ]; then
    check "another run" dmpo experiment recipe.json --output two/deeper --jobs 1 --threads 2 --quiet >two.out
    check "has the same page" same_rest one/report.html two/deeper/report.html
    check "the same Markdown" same_rest one/report.md two/deeper/report.md
    check "the same table" cmp one/results.csv two/deeper/results.csv
fi

check "elsewhere, with charts" dmpo report one --output else/where --svg --json >json.out
check "names the files" says json.out '"markdown": "else/where/report.md"'
check "the page is the same" cmp else/where/report.html one/report.html
links=$(sed -n 's/^!\[.*\](\(charts\/.*\.svg\))$/\1/p' else/where/report.md)
check "charts are linked" test "$(echo "$links" | wc -l)" -ge 5
for link in $links; do
    check "$link is there" says "else/where/$link" '^</svg>$'
done

bad() { # bad STATUS TEXT ARGS...
    want=$1 text=$2
    shift 2
    status=0
    dmpo report "$@" >bad.out 2>bad.err || status=$?
    if [ "$status" = "$want" ] && [ ! -s bad.out ] && [ "$(wc -l <bad.err)" -eq 1 ] && grep -qF -e "$text" bad.err; then
        return 0
    fi
    cat bad.err
    return 1
}
check "no directory" bad 2 'no directory given'
check "no such directory" bad 1 'nowhere' nowhere
mkdir -p stages broken && printf '{"name": "n",\n "evaluations": [{}]}\n' >broken/results.json
check "a directory without results" bad 1 'dmpo experiment RECIPE --output stages writes it' stages
check "broken results" bad 1 'broken/results.json:2:18: "env" is missing' broken
subject='"env": "e", "method": "m", "kind": "k", "seed": 1'
for row in "{$subject, \"stage\": \"s\", \"metrics\": \"stages/../../secret/metrics.jsonl\"}" \
    "{$subject, \"stage\": \"s\", \"metrics\": \"/etc/passwd\"}"; do
    echo "{\"name\": \"n\", \"trainings\": [$row]}" >broken/results.json
    check "a path that leaves stages/" bad 1 '"metrics" must be a path that begins with stages/, without ..' broken
done
for member in env method kind; do
    row=$(echo "{$subject}" | sed "s/\"$member\": \"[emk]\"/\"$member\": \"\"/")
    echo "{\"name\": \"n\", \"evaluations\": [$row]}" >broken/results.json
    check "a row without a name: $member" bad 1 "\"$member\" is empty" broken
done
check "leave nothing" test "$(ls broken)" = results.json
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod a-w locked
    check "a directory that cannot be written" bad 1 'locked' one --output locked
fi

finish report
