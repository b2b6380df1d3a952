#!/bin/sh
# dmpo play: by hand from a pipe, by the expert, what it lists, its records, what it refuses, Ctrl-C.
# shellcheck disable=SC1091,SC2154 # tests/tools/check.sh
set -u

. "$SRC/tests/tools/check.sh"

play() { # play INPUT ARGS...: INPUT is printf's
    # shellcheck disable=SC2059 # it is a format
    printf "$1" >"$work/in"
    shift
    dmpo play "$@" <"$work/in" >"$out" 2>"$err"
}

lacks() { ! grep -F -e "$1" "$out"; }
last() { [ "$(tail -n 1 "$out")" = "$1" ] || { echo "  the last line is '$(tail -n 1 "$out")', not '$1'" && false; }; }
count() { grep -c -e "$1" "$out"; }

# ---- by hand ----

check "actions from a pipe" play 'look\nAction: inventory\n' --env home
check "the instruction" has "Interact with a house"
check "the task" has "Your task is to: "
check "the first observation" has "Observation: You are in a "
check "actions are repeated" has "Action: look"
check "with or without \"Action: \"" [ "$(count '^Action: inventory$')" = 1 ]
check "observations" has "Observation: You carry nothing."
check "turns and score" has "[turn 2 of 20, score 0]"
check "the end of the input" last "not done: score 0 after 2 turns"
cp "$out" "$work/first"
check "again" play 'look\nAction: inventory\n' --env home
check "is the same" cmp -s "$out" "$work/first"
check "another task" play '' --env home --task 1
check "is another one" [ "$(sed -n 3p "$out")" != "$(sed -n 3p "$work/first")" ]
check "another seed" play '' --env home --seed 18446744073709551615
check "is another house" [ "$(sed -n 3,5p "$out")" != "$(sed -n 3,5p "$work/first")" ]
check "an unseen task" play '' --env home --split unseen
check "is another one" [ "$(sed -n 3p "$out")" != "$(sed -n 3p "$work/first")" ]

check "commands" play '/help\n\n  \n/actions\n/expert\n/quit\nlook\n' --env home
check "/help" has "/actions: the possible actions"
check "/actions" has "  inventory"
check "/expert" has "expert: go to "
check "these are no turns, and /quit ends" last "not done: score 0 after 0 turns"
check "/quit without a line end" play '/quit' --env home
check "ends" last "not done: score 0 after 0 turns"

# What the expert says, typed: the task is done by hand.
: >"$work/typed"
turns=0
while [ $turns -lt 20 ] && grep -q '^not done' "$out"; do
    turns=$((turns + 1))
    { cat "$work/typed" && echo /expert; } >"$work/in"
    dmpo play --env home --task 5 <"$work/in" >"$out" 2>"$err"
    sed -n 's/^expert: //p' "$out" >>"$work/typed"
    dmpo play --env home --task 5 <"$work/typed" >"$out" 2>"$err"
done
check "the expert's advice leads to the end" last "done: score 1 after $turns turns"
check "and is what the expert does" dmpo play --env home --task 5 --expert >"$work/expert"
grep -v '^\[' "$out" >"$work/by-hand"
check "word by word" cmp -s "$work/by-hand" "$work/expert"
check "no action is read after the end" play "$(sed 's/$/\\n/' "$work/typed" | tr -d '\n')look\n" --env home --task 5
check "it ended" last "done: score 1 after $turns turns"

check "the turn limit" play "$(awk 'BEGIN { for (i = 0; i < 30; i++) printf "look\\n" }')" --env home
check "ends the episode" last "done: score 0 after 20 turns"
check "bytes that are no text" play '\033[31m\377\000x\n\n\303\n' --env home
check "are answered" has "Observation: Nothing happens."
check "a long line" play "$(awk 'BEGIN { for (i = 0; i < 9999; i++) printf "long " }')\n" --env home
check "is answered" has "Observation: Nothing happens."

# ---- records ----

check "a record" play "$(sed 's/$/\\n/' "$work/typed" | tr -d '\n')" --env home --task 5 --json
check "is one line" [ "$(wc -l <"$out")" -eq 1 ]
check "of a person" has '"id": "home/train/5/0/0", "env": "home", "split": "train", "task": 5, "seed": 0, "sample": 0, "policy": "human"'
check "with the reward" has '"reward": 1, "done": true, "end": "done"'
check "the texts are on standard error" grep -q '^Observation: ' "$err"
sed 's/"policy": "human"/"policy": "expert"/' "$out" >"$work/by-hand"
check "the expert's record" play '' --env home --task 5 --expert --json
check "is the same but for that" cmp -s "$out" "$work/by-hand"
check "and nothing else" [ ! -s "$err" ]
check "it is data" dmpo info "$out" >/dev/null
check "no record of what was not played to its end" play 'look\n' --env home --json
check "of which nothing is written" [ ! -s "$out" ]
check "--quiet" play 'look\n' --env home --json --quiet
check "says nothing" [ ! -s "$err" ]

# ---- lists ----

check "the environments" play '' --list-envs
check "home among them" has "home"
check "its tasks and turns" has "2000 train, 200 seen, 200 unseen tasks; at most 20 turns"
cp "$out" "$work/first"
check "without an environment" play ''
check "is the same" cmp -s "$out" "$work/first"
check "as JSON" play '' --list-envs --json
check "with numbers" has '"tasks": {"train": 2000, "seen": 200, "unseen": 200}, "max_turns": 20}'
# shellcheck disable=SC2013 # names are words
for env in $(sed -n 's/^\([a-z][a-z]*\) .*/\1/p' "$work/first"); do
    check "the expert in $env" play '' --env "$env" --expert --split seen
    check "scores 1" grep -q '^done: score 1 after [0-9]* turns$' "$out"
    check "the tasks of $env" play '' --env "$env" --list-tasks --split unseen
    check "all of them" [ "$(wc -l <"$out")" -eq 200 ]
    check "some of them" play '' --env "$env" --list-tasks --first 198 --tasks 10
    check "as many" [ "$(wc -l <"$out")" -eq 10 ]
    check "these" has "   207  "
    check "words only" lacks "Observation"
    check "as JSON" play '' --env "$env" --list-tasks --first 198 --tasks 1 --json
    check "a line a task" has '{"split": "train", "task": 198, "text": "'
done

# ---- an environment in another process ----

child="cmd:sh '$SRC/tests/tools/env_child.sh' plain"
check "another process" play '/actions\nadd 2\n/expert\n' --env "$child"
check "its task" has "Count."
check "its actions" has "  add 1"
check "its answer" has "Observation: The number is 2."
check "its expert" has "expert: add 2"
check "its expert plays" play '' --env "$child" --expert
check "to the end" last "done: score 1 after 5 turns"
check "its tasks" play '' --env "$child" --list-tasks --split unseen
check "are counted" [ "$(wc -l <"$out")" -eq 2 ]
refuses 2 "has no tasks in split seen" play --env "$child" --split seen

# ---- what is refused ----

refuses 2 "environment 'hom' is not one of: home" play --env hom
refuses 2 "takes no arguments" play --env home:3
refuses 2 "--task 2000 is out of range; legal: 0 to 1999" play --env home --task 2000
refuses 2 "--task -1 is out of range" play --env home --task -1
refuses 2 "--first 200 is out of range; legal: 0 to 199" play --env home --split seen --list-tasks --first 200
refuses 2 "--tasks -1 is out of range" play --env home --list-tasks --tasks -1
refuses 2 "no environment given" play --list-tasks
refuses 2 "no environment given" play --expert
refuses 2 "is not one of: train, seen, unseen" play --env home --split test
refuses 2 "unexpected" play --env home look
if [ -w /dev/full ]; then
    status=0
    dmpo play --env home --expert >/dev/full 2>"$err" || status=$?
    check "a full disk: status 1" [ "$status" = 1 ]
    check "a full disk: one line" [ "$(wc -l <"$err")" -eq 1 ]
fi

# ---- Ctrl-C ----

mkfifo "$work/fifo"
# shellcheck disable=SC2086 # the wrapper is a list of words
${EXEC_WRAPPER-} "$BUILD/dmpo" play --env home <"$work/fifo" >"$out" 2>"$err" & # not the function: its process gets the signal
pid=$!
exec 3>"$work/fifo"
echo look >&3
n=0
while [ $n -lt 100 ] && ! grep -q '^\[turn 1 ' "$out"; do
    n=$((n + 1))
    sleep 0.1 2>/dev/null || sleep 1
done
kill -TERM $pid # background jobs of a shell ignore SIGINT; both are caught in the same way
status=0
wait $pid || status=$?
exec 3>&-
check "Ctrl-C: status 0" [ "$status" = 0 ]
check "Ctrl-C: the score so far" last "not done: score 0 after 1 turn"

finish play
