#!/usr/bin/env python3
"""Replays the runs of a data file in the authors' form through an adapter: replay_runs.py [--differ N] FILE ADAPTER...

Every message must be the adapter's, byte for byte: instruction, task and first observation, each observation; the last
score must be the file's (1 for a run without). Prints how many runs are equal, the first few differences, and what it
took. Exit status 1 if more than N (0) differ.
"""

import json
import resource
import subprocess
import sys
import time


class Adapter:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.seconds = {"hello": 0.0, "reset": 0.0, "step": 0.0}
        self.asked = {"hello": 0, "reset": 0, "step": 0}

    def ask(self, kind, **members):
        begin = time.monotonic()
        self.process.stdin.write(json.dumps({"type": kind, **members}).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        self.seconds[kind] += time.monotonic() - begin
        self.asked[kind] += 1
        reply = json.loads(line) if line else {"error": "no answer"}
        if "error" in reply:
            sys.exit("%s: %s" % (kind, reply["error"]))
        return reply


def runs(item):
    """(prompt, turns, score) of each run of an item."""
    if "conversations" in item:
        yield item["conversations"][:3], item["conversations"][3:], 1.0
    else:
        yield item["prompt"], item["chosen"], item["chosen_score"]
        yield item["prompt"], item["rejected"], item["rejected_score"]


def difference(adapter, instruction, task, run):
    prompt, turns, score = run
    first = adapter.ask("reset", split="train", task=task, seed=0, expert=False, actions=False)
    pairs = [(prompt[0]["value"], instruction),
             (prompt[2]["value"], first["task"] + "\n\nObservation: " + first["observation"])]
    for i in range(0, len(turns), 2):
        said = adapter.ask("step", action=turns[i]["value"].removeprefix("Action: "))
        if i + 1 < len(turns):
            pairs.append((turns[i + 1]["value"], "Observation: " + said["observation"]))
    pairs.append((score, round(said["score"], 4)))
    if score == 1:
        pairs.append((True, said["done"]))
    return next(((i, want, got) for i, (want, got) in enumerate(pairs) if want != got), None)


def main():
    arguments, differ = sys.argv[1:], 0
    if arguments[0] == "--differ":
        arguments, differ = arguments[2:], int(arguments[1])
    path, command = arguments[0], arguments[1:]
    with open(path, encoding="utf-8") as f:
        items = json.load(f)
    # A task is what the id says without the number of the pair; the adapter has each once.
    task = {}
    for item in items:
        task.setdefault(item["id"].rsplit("-r", 1)[0] if "prompt" in item else item["id"], len(task))
    adapter = Adapter([*command, "--tasks", "train=" + path])
    hello = adapter.ask("hello", version=1)
    if hello["tasks"]["train"] != len(task):
        sys.exit("%d tasks, not %d" % (hello["tasks"]["train"], len(task)))
    equal = total = 0
    for item in items:
        name = item["id"].rsplit("-r", 1)[0] if "prompt" in item else item["id"]
        for run in runs(item):
            found = difference(adapter, hello["instruction"], task[name], run)
            total += 1
            equal += found is None
            if found and total - equal <= 3:
                print("%s: message %d is %.200r, not %.200r" % (item["id"], found[0], found[2], found[1]))
    adapter.process.stdin.close()
    status = adapter.process.wait(10)
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print("%d of %d runs equal; hello %.1f s, reset %.2f s, %.0f steps/s, %.0f MiB, exit status %d" % (
        equal, total, adapter.seconds["hello"], adapter.seconds["reset"] / adapter.asked["reset"],
        adapter.asked["step"] / adapter.seconds["step"], used, status))
    return total - equal > differ or status != 0


if __name__ == "__main__":
    sys.exit(main())
