#!/bin/sh
# The examples of docs/protocol.md as they stand there, and the commands that play environments in another process: a
# killed rollout is continued, a program that is gone or talks nonsense is one line, no data file has a command run.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"
cd "$work" || exit 1
cp "$SRC/tests/tools/env_child.sh" .

block() { # block LANGUAGE: the document's
    # shellcheck disable=SC2016 # the fence
    sed -n '/^```'"$1"'$/,/^```$/p' "$SRC/docs/protocol.md" | sed '/^```/d'
}

plays() { # plays COMMAND: the expert solves task 3, and chance plays the split
    dmpo play --quiet --json --env "cmd:$1" --task 3 --expert >episode 2>texts </dev/null &&
        grep -q '"reward": 1, "done": true' episode && grep -q 'Reach ten.' episode &&
        dmpo rollout --quiet --overwrite --env "cmd:$1" --policy random --output played.jsonl >out 2>err &&
        [ "$(wc -l <played.jsonl)" -eq 5 ]
}

block sh >count.sh
check "the example in shell" test -s count.sh
check "plays" plays "exec sh count.sh"
cp played.jsonl shell.jsonl
if command -v python3 >out 2>&1; then
    block python >count.py
    check "plays: Python" plays "exec python3 count.py"
    sed 's/python3 count.py/sh count.sh/g' played.jsonl >python.jsonl
    check "both play alike" cmp shell.jsonl python.jsonl
else
    skip "no python3 here"
fi

# ---- killed, and continued ----

env="cmd:exec sh env_child.sh normal"
rollout() { # rollout FILE: 100 episodes
    exec ${EXEC_WRAPPER-} "$BUILD/dmpo" rollout --quiet --env "$env" --policy random --samples 20 --output "$1"
}
(rollout whole.jsonl) >out 2>&1
check "a run in one piece" test "$(wc -l <whole.jsonl)" -eq 100
(rollout killed.jsonl) >out 2>&1 &
pid=$!
while [ ! -s killed.jsonl ] && kill -0 $pid 2>/dev/null; do :; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
check "nothing is lost" test -s killed.jsonl
check "it was killed in the middle" test "$(wc -l <killed.jsonl)" -lt 100
(rollout killed.jsonl) >out 2>&1
check "continued, it is the same" cmp whole.jsonl killed.jsonl

# ---- nothing that an environment has started outlives us ----

# It starts a program in a session of its own, and hangs at the first reset.
cat >escape.sh <<'CHILD'
while read -r line; do
    case $line in
    *hello*)
        setsid sh -c 'echo $$ >escaped.pid; exec sleep 600' >/dev/null 2>&1 </dev/null &
        while [ ! -s escaped.pid ]; do :; done
        echo '{"version": 1, "name": "t", "instruction": "Play.", "tasks": {"train": 7}, "max_turns": 3}'
        ;;
    *reset*)
        [ "$1" != hang ] || { echo $$ >hung.pid && exec sleep 600; }
        echo '{"task": "t", "observation": "o", "score": 1, "done": true}'
        ;;
    esac
done
CHILD
gone() { # gone PID: within ten seconds
    tries=0
    while kill -0 "$1" 2>/dev/null && ! grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || return 1
        sleep 0.1 2>/dev/null || sleep 1
    done
}
if command -v setsid >out 2>&1 && [ -r /proc/self/environ ]; then
    dmpo play --quiet --env 'cmd:exec sh escape.sh end' --expert >out 2>err </dev/null
    check "a session of its own ends with us" gone "$(cat escaped.pid)"
    rm escaped.pid
    (exec ${EXEC_WRAPPER-} "$BUILD/dmpo" rollout --quiet --env 'cmd:exec sh escape.sh hang' --policy random \
        --output escape.jsonl) >out 2>err &
    pid=$!
    while [ ! -s hung.pid ] && kill -0 $pid 2>/dev/null; do sleep 0.05 2>/dev/null || sleep 1; done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    check "killed: its environment ends" gone "$(cat hung.pid)"
    check "killed: what that had started ends" gone "$(cat escaped.pid)"
else
    skip "no setsid or no /proc here"
fi

# ---- refused ----

# refuses STATUS TEXT COMMAND...: one line that says TEXT
refuses() {
    want=$1 text=$2 status=0
    shift 2
    dmpo "$@" >out 2>err </dev/null || status=$?
    if [ "$status" = "$want" ] && [ "$(grep -c '^dmpo ' err)" -eq 1 ] && grep -qF -e "$text" err; then return 0; fi
    sed 's/^/  /' err
    return 1
}

check "a program that is not there" refuses 1 "it ended with status 127 (sh: not found)" play --env "cmd:./nosuch" --expert
check "no command" refuses 2 "needs a command" play --env cmd: --expert
check "nonsense" refuses 1 "the answer was: 'hello'" play --env "cmd:exec sh env_child.sh hello hello" --expert
check "an error in words" refuses 1 "it reports: out of order" play \
    --env "cmd:exec sh env_child.sh reset '{\"error\": \"out of order\"}'" --expert
check "a limit that is not a number" env DMPO_ENV_STEP=soon sh -c \
    "${EXEC_WRAPPER-} '$BUILD/dmpo' play --env 'cmd:true' --expert 2>&1 | grep -q 'DMPO_ENV_STEP is .soon., must be seconds'"

sed 's/"env": "[^"]*"/"env": "cmd:touch ran"/' whole.jsonl >hostile.jsonl
check "continuing a file" refuses 1 "a command that a file names, 'cmd:touch ran', is not run" rollout --from hostile.jsonl \
    --continue-at 1 --policy random --output x.jsonl
check "did not run its command" test ! -e ran
check "with --env it may" dmpo rollout --quiet --from whole.jsonl --env "$env" --continue-at 1 --policy random \
    --output continued.jsonl >out 2>&1

finish protocol-examples
