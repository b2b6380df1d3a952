#!/usr/bin/env python3
"""ScienceWorld (Wang et al. 2022) for dmpo: dmpo rollout --env 'cmd:python3 agent/adapters/scienceworld_env.py' ...

Needs the package scienceworld (1.2.3 is the one tried) and Java. Texts are those of the data in the authors' form that
was made of this simulator, so that a model trained on that data finds what it knows: no simplifications, 12 types of
task, instruction and observations alike. A task is a type and a variation. The splits are the simulator's own: train, dev
(seen) and test (unseen), one variation of each type in turn. The score is the simulator's, divided by 100; a failed
episode, -100 there, has 0.
"""

import java_env
from protocol import Refusal, serve

TYPES = (
    "boil", "melt", "use-thermometer", "power-component", "test-conductivity", "find-non-living-thing", "find-plant",
    "find-animal", "chemistry-mix", "chemistry-mix-paint-secondary-color", "lifespan-longest-lived",
    "identify-life-stages-2",
)

INSTRUCTION = """\
You act in a text simulation of a science lab with several rooms. Each message gives an observation. \
Reply with exactly one action on one line:
Action: <command>

Commands: look around, look at X, look in X, examine X, read X, open X, close X, go to PLACE, pick up X, drop X, \
move X to Y, pour X into Y, mix X, use X on Y, activate X, deactivate X, connect X to Y, disconnect X, put down X, \
inventory, task, wait, wait1, focus on X. To an ambiguous request, reply with an option number.
A door must be open before you go through it. \
Focus only on what the task names: a wrong focus ends the episode."""


def simulator():
    return java_env.start("scienceworld", "scienceworld", "ScienceWorldEnv", taskName="")


class ScienceWorld(java_env.JavaEnvironment):
    name = "scienceworld"
    instruction = INSTRUCTION
    at_once = 4  # each is half a gigabyte of Java
    pattern = r"sciworld-(.+)-v(\d+)(?:-r\d+)?$"

    def __init__(self, settings):
        java_env.prepare_java("512m")
        ours = simulator()
        self.server = ours.server
        self.jvm = ours._gateway.jvm
        self.gold_runs = {}
        self.random = getattr(getattr(self.jvm.scala.util, "Random$"), "MODULE$")
        splits = {"train": [], "seen": [], "unseen": []}
        for kind in TYPES:
            self.server.load(kind, 0, "", False)
            splits["train"].append([(kind, v) for v in self.server.getVariationsTrain()])
            splits["seen"].append([(kind, v) for v in self.server.getVariationsDev()])
            splits["unseen"].append([(kind, v) for v in self.server.getVariationsTest()])
        super().__init__(ours, settings, splits)

    def task_of(self, found):
        kind, variation = found[1], int(found[2])
        if kind not in TYPES or variation >= self.server.getTaskMaxVariations(kind):
            raise Refusal("--tasks: there is no variation %d of a task %s" % (variation, kind))
        return kind, variation

    def load(self, task, expert):
        # Not ScienceWorldEnv.step, which lists every possible action after each one: that takes longer than the step.
        if expert:
            self.gold = self.gold_run(task)
        self.server.load(task[0], task[1], "", False)
        self.server.reset()
        observation = self.server.step("look around")
        return self.server.getTaskDescription().replace("Task Description:", "", 1).strip(), observation

    def gold_run(self, task):
        """The simulator's own solution. Which of several it finds depends on those that the Java machine has found before:
        each is found by a machine of its own."""
        if task not in self.gold_runs:
            other = simulator()
            other.server.load(task[0], task[1], "", True)
            self.gold_runs[task] = list(other.server.getGoldActionSequence())
            java_env.stop(other)
        return self.gold_runs[task]

    def act(self, action):
        observation = self.server.step(action)
        score = int(round(100 * self.server.getScore()))
        return observation, max(score, 0) / 100, bool(self.server.getCompleted()) or score < 0

    def possible(self):
        # Listing them draws from the generator that moves the animals. Asking must not change what happens next.
        before = self.random_state()
        actions = list(self.server.getValidActionObjectCombinations())
        self.random.setSeed(before ^ 0x5DEECE66D)  # which setSeed takes off again
        return actions

    def random_state(self):
        """Of java.util.Random, which tells it only when written as an object: the long before the last byte."""
        out = self.jvm.java.io.ByteArrayOutputStream()
        self.jvm.java.io.ObjectOutputStream(out).writeObject(self.random.self())
        return int.from_bytes(out.toByteArray()[-9:-1], "big")


if __name__ == "__main__":
    chosen = java_env.options("ScienceWorld as an environment of dmpo", 60)
    serve(lambda: ScienceWorld(chosen))
