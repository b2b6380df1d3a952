"""The child's side of dmpo's environment protocol (docs/protocol.md): Python 3.8 or later, standard library only.

An environment is an object with
    name, instruction, max_turns, at_once  as in the answer to hello
    tasks                                  of each split a list of what its tasks are
    reset(split, task, seed, expert, actions) -> dict    members of the answer; see answer()
    step(action) -> dict
and, if it has something to shut down, close(). serve(make) makes it when dmpo asks who is there, and answers until
dmpo closes standard input. Refusal(text) is reported to dmpo as it is. Any other exception ends the process with a
traceback on standard error; dmpo then starts another and repeats the episode.
"""

import json
import os
import sys

VERSION = 1
SPLITS = ("train", "seen", "unseen")


class Refusal(Exception):
    """What cannot be done and would not be done by another try: dmpo stops with these words."""


def answer(observation, score, done, task=None, expert=None, actions=None):
    """The members of an answer. task: to a reset only. expert, actions: None where there are none to give."""
    members = {"observation": observation, "score": score, "done": done}
    if task is not None:
        members["task"] = task
    if expert is not None:
        members["expert"] = expert
    if actions is not None:
        members["actions"] = list(actions)
    return members


def hello(environment):
    return {
        "version": VERSION,
        "name": environment.name,
        "instruction": environment.instruction,
        "tasks": {split: len(environment.tasks[split]) for split in SPLITS},
        "max_turns": environment.max_turns,
        "at_once": environment.at_once,
    }


def respond(environment, request):
    kind = request.get("type")
    if kind == "hello":
        return hello(environment)
    if kind == "reset":
        return environment.reset(request["split"], request["task"], request["seed"], request.get("expert", False),
                                 request.get("actions", False))
    if kind == "step":
        return environment.step(request["action"])
    raise Refusal("this environment does not know requests of type %r" % (kind,))


def serve(make):
    # Whatever prints, here or in a process started from here, must not get between the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    environment = None
    try:
        for line in sys.stdin.buffer:
            try:
                if environment is None:
                    environment = make()
                reply = respond(environment, json.loads(line))
            except Refusal as refusal:
                reply = {"error": str(refusal)}
            out.write(json.dumps(reply, ensure_ascii=False, allow_nan=False) + "\n")
            out.flush()
    except BrokenPipeError:
        pass
    finally:
        if hasattr(environment, "close"):
            environment.close()


def task_ids(path):
    """The ids of a data file in the authors' form (a JSON list, or JSON lines), in order."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    items = json.loads(text) if text.lstrip().startswith("[") else [json.loads(t) for t in text.splitlines() if t]
    return [item["id"] for item in items]


def in_turn(lists):
    """One of each list, then the next one of each, until all are used up: any first N are a fair choice."""
    most = max((len(entries) for entries in lists), default=0)
    return [entries[k] for k in range(most) for entries in lists if k < len(entries)]
