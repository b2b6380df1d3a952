"""What the two simulators on the Java virtual machine have in common: options, gold runs, starting and stopping Java."""

import argparse
import os
import re
import subprocess

from protocol import SPLITS, Refusal, answer, in_turn, task_ids


def options(description, max_turns):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--max-turns", type=int, default=max_turns, metavar="N",
                        help="an episode ends after as many actions (default %(default)s)")
    parser.add_argument("--tasks", action="append", default=[], metavar="SPLIT=FILE",
                        help="tasks of the split train, seen or unseen: those that FILE, training data in the authors' "
                             "form, has runs of, in its order (default: all that the simulator has)")
    return parser.parse_args()


def prepare_java(memory):
    """The order of objects and some readings follow Java's identity hashes: -XX:hashCode=2 makes these constant. What
    the user has put into JAVA_TOOL_OPTIONS comes last and wins."""
    ours = "-XX:+UnlockExperimentalVMOptions -XX:hashCode=2 -XX:+UseSerialGC -Xmx" + memory
    os.environ["JAVA_TOOL_OPTIONS"] = (ours + " " + os.environ.get("JAVA_TOOL_OPTIONS", "")).strip()


def start(module, package, name, **arguments):
    """module.name(**arguments), with what may be missing said in words."""
    try:
        return getattr(__import__(module), name)(**arguments)
    except ImportError as e:
        raise Refusal("Python package %s cannot be imported (%s): pip install %s" % (package, e, package)) from e
    except FileNotFoundError as e:
        raise Refusal("Java cannot be started (%s): install a Java 8 or later, its command java on the PATH" % e) from e


def stop(simulator):
    java = simulator._gateway.java_process
    try:
        simulator.close()
        java.wait(1)
    except (OSError, subprocess.TimeoutExpired):
        java.kill()
        java.wait()


class JavaEnvironment:
    """An episode at a time. Subclasses have `pattern`, of an id in data files, and load, act, gold and possible."""

    def __init__(self, simulator, settings, all_tasks):
        self.simulator = simulator
        self.max_turns = settings.max_turns
        self.tasks = {split: in_turn(all_tasks[split]) for split in SPLITS}
        for choice in settings.tasks:
            split, _, path = choice.partition("=")
            if split not in SPLITS or not path:
                raise Refusal("--tasks %s: must be SPLIT=FILE with a split of %s" % (choice, ", ".join(SPLITS)))
            self.tasks[split] = self.from_file(path)

    def from_file(self, path):
        try:
            ids = task_ids(path)
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise Refusal("--tasks: %s is no training data with ids: %s" % (path, e)) from e
        found = [re.match(self.pattern, i) for i in ids]
        if not all(found):
            raise Refusal("--tasks: %s: id %r is not one of %s" % (path, ids[found.index(None)], self.name))
        return list(dict.fromkeys(self.task_of(m) for m in found))

    def reset(self, split, task, seed, expert, actions):
        # A task is one world; there is nothing left for the seed to decide.
        del seed
        self.taken = []
        self.wants_actions = actions
        self.gold = None
        description, observation = self.load(self.tasks[split][task], expert)
        return self.reply(observation, 0.0, False, description)

    def step(self, action):
        self.taken.append(action)
        return self.reply(*self.act(action))

    def reply(self, observation, score, done, description=None):
        n = len(self.taken)
        on_path = self.gold is not None and not done and n < len(self.gold) and self.gold[:n] == self.taken
        return answer(observation.strip(), score, done, description, self.gold[n] if on_path else None,
                      self.possible() if self.wants_actions and not done else None)

    def close(self):
        stop(self.simulator)
