#!/bin/sh
# An environment for tests/unit/agent/env/test_protocol.c, well-behaved or not: env_child.sh MODE [ARGUMENT...]. Not a
# test by itself.
# The game: a number begins at the task's; "add N" adds N; with 10 and above it is won. Other actions change nothing.
set -u
mode=$1 argument=${2-}

hello='{"version": 1, "name": "count", "instruction": "Count to ten.", "tasks": {"train": 5, "unseen": 2}, "max_turns": 6, "at_once": 3}'
number=0 steps=0 expert=true actions=true

# answer MEMBERS: with the state's
answer() {
    if [ "$number" -lt 10 ]; then
        state='"score": 0.'$number', "done": false'
        [ "$expert" = false ] || state=$state', "expert": "add 2"'
        [ "$actions" = false ] || state=$state', "actions": ["add 1", "add 2"]'
    else
        state='"score": 1, "done": true, "actions": [], "expert": null'
    fi
    echo "{$1\"observation\": \"The number is $number.\", $state}"
}

say() {
    printf '%s\n' "$1"
}

hang() {
    sleep 1000
}

# once FILE: true the first time
once() {
    [ ! -e "$1" ] && : >"$1"
}

case $mode in
start-hang) hang ;;
start-die) exit 7 ;;
start-kill) kill -9 $$ ;;
start-close) exec >&- && hang ;;
start-early) echo "starting ..." ;;
start-flood) read -r line && tr '\0' x </dev/zero ;;
start-lines) while echo "$hello"; do :; done ;;
start-blank) while echo; do :; done ;;
esac

while read -r line; do
    case $line in
    *'"type": "hello"'*)
        [ "$mode" = hello ] && hello=$argument
        [ "$mode" = change ] && ! once "$argument" && hello='{"version": 1, "name": "other", "instruction": "?", '\
'"tasks": {"train": 1}, "max_turns": 6}'
        say "$hello"
        ;;
    *'"type": "reset"'*)
        number=${line#*'"task": '}
        number=${number%%,*} steps=0
        case $mode in
        wanted)
            expert=${line#*'"expert": '} expert=${expert%%,*}
            actions=${line#*'"actions": '} actions=${actions%\}}
            answer '"task": "Count.", '
            ;;
        reset) say "$argument" ;;
        reset-hang) hang ;;
        reset-die) exit 3 ;;
        *) answer '"task": "Count.", ' ;;
        esac
        ;;
    *'"action": "add '*)
        number=$((number + $(echo "$line" | sed 's/.*"add \([0-9]*\)".*/\1/'))) steps=$((steps + 1))
        case $mode-$steps in
        step-2) say "$argument" && continue ;;
        step-hang-2) hang ;;
        step-die-2 | change-2 | random-2) exit 4 ;;
        step-close-2) exec >&- && hang ;;
        step-hang-once-2) once "$argument" && hang ;;
        step-die-once-2) once "$argument" && exit 4 ;;
        random-1) once "$argument" || number=$((number + 1)) ;;
        step-lines-2) while echo '{}'; do :; done ;;
        step-flood-2) tr '\0' x </dev/zero ;;
        step-twice-2) echo "$(answer '')
$(answer '')" && continue ;;
        esac
        answer ''
        if [ "$mode-$steps" = step-late-2 ]; then
            sleep 0.2 2>/dev/null || sleep 1
            answer ''
        fi
        ;;
    *)
        answer '"reward": 0, "unknown": [], '
        ;;
    esac
done

case $mode in
end) : >"$argument" ;; # it was asked to end
end-stubborn)
    trap '' TERM
    echo $$ >"$argument"
    hang
    ;;
esac
