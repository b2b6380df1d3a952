#!/bin/sh
# The adapters with the real simulators: runs of their data files through them, and dmpo with them. Takes some minutes,
# so only where DMPO_TEST_ADAPTERS names the directory of the data files (sciworld_sft.json, twx_sft.json and
# *_pref.json), and java, python3 and the packages are there. DMPO_TEST_FAST=1 leaves the pairs out.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

missing=
if [ -z "${DMPO_TEST_ADAPTERS-}" ]; then
    missing="DMPO_TEST_ADAPTERS is not set"
elif [ ! -f "$DMPO_TEST_ADAPTERS/sciworld_sft.json" ]; then
    missing="no data in $DMPO_TEST_ADAPTERS"
else
    for program in java python3; do
        command -v $program >"$work/out" 2>&1 || missing="no $program here"
    done
    [ -n "$missing" ] || python3 -c 'import scienceworld, textworld_express' 2>"$work/out" ||
        missing="no Python packages scienceworld and textworld-express here"
fi
if [ -n "$missing" ]; then
    skip "real simulators: $missing"
    finish adapters
    exit
fi
data=$(cd "$DMPO_TEST_ADAPTERS" && pwd)

replay() { # replay FILE ADAPTER [RUNS THAT MAY DIFFER]
    python3 "$SRC/tests/tools/replay_runs.py" --differ "${3-0}" "$data/$1" python3 "$SRC/agent/adapters/$2" >"$work/out" 2>&1
    status=$?
    sed "s/^/$1: /" "$work/out"
    return $status
}

# solves EPISODES FILE: every episode has reward 1 and begins as the file's run does. (Where several ways lead to the
# end, the file's may be another one.)
solves() {
    python3 - "$1" "$2" <<'END'
import json, sys

ours, theirs = [json.loads(line) for line in open(sys.argv[1])], json.load(open(sys.argv[2]))
sys.exit(not (len(ours) == len(theirs) and all(
    a["reward"] == 1 and a["conversations"][:3] == b["conversations"][:3] for a, b in zip(ours, theirs))))
END
}

check "the runs of sciworld_sft.json" replay sciworld_sft.json scienceworld_env.py
check "the runs of twx_sft.json" replay twx_sft.json textworld_express_env.py
if [ -z "${DMPO_TEST_FAST-}" ]; then
    check "the runs of twx_pref.json" replay twx_pref.json textworld_express_env.py
    # Four of these runs look where bees fly. That depends on random numbers, of which the maker of the file used some
    # up by listing possible actions.
    check "the runs of sciworld_pref.json" replay sciworld_pref.json scienceworld_env.py 4
fi

# dmpo itself, on the tasks of some of these runs.
python3 -c 'import json, sys; json.dump(json.load(open(sys.argv[1]))[:5], open(sys.argv[2], "w"))' \
    "$data/sciworld_sft.json" "$work/some.json"
env="cmd:exec python3 '$SRC/agent/adapters/scienceworld_env.py' --tasks train='$work/some.json'"
check "the expert of ScienceWorld" dmpo rollout --quiet --env "$env" --policy expert --output "$work/expert.jsonl"
check "solves the tasks" solves "$work/expert.jsonl" "$work/some.json"

# A Java machine that is killed in the middle of the run: the episodes are the same.
{
    dmpo rollout --quiet --env "$env" --policy random --max-turns 8 --output "$work/undisturbed.jsonl" &&
        dmpo rollout --quiet --env "$env" --policy random --max-turns 8 --output "$work/killed.jsonl" &
} >"$work/out" 2>&1
rollout=$!
until [ -s "$work/killed.jsonl" ] || ! kill -0 $rollout 2>/dev/null; do sleep 0.05; done
java=$(ps -eo pid=,pgid=,args= | awk -v dir="$work" '
    $3 ~ /python3$/ && index($0, dir) { group[$2] = 1 }
    $3 ~ /java$/ { pid[$1] = $2 }
    END { for (p in pid) if (pid[p] in group) print p }')
# shellcheck disable=SC2086 # one process or a list
check "a Java machine to kill" kill -9 $java
check "the run continues" wait $rollout
check "its episodes are the same" cmp "$work/undisturbed.jsonl" "$work/killed.jsonl"

finish adapters
