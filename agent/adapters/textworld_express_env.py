#!/usr/bin/env python3
"""TextWorldExpress (Jansen and Cote 2022) for dmpo: --env 'cmd:python3 agent/adapters/textworld_express_env.py'

Needs the package textworld-express (1.1.0 is the one tried) and Java. Texts are those of the data in the authors' form
that was made of this simulator, so that a model trained on that data finds what it knows: seven settings of games,
instruction and observations alike. A task is a setting and a game's number. The splits are the simulator's own folds:
train, dev (seen) and test (unseen), one game of each setting in turn. The score is the simulator's; below 0 is 0.
"""

import json

import java_env
from protocol import Refusal, serve

FOLDS = {"train": "train", "seen": "dev", "unseen": "test"}

SETTINGS = {
    "cook1": ("cookingworld", "numLocations=1, numIngredients=1, numDistractorItems=2, includeDoors=0, "
                              "limitInventorySize=0"),
    "cook3": ("cookingworld", "numLocations=3, numIngredients=2, numDistractorItems=3, includeDoors=0, "
                              "limitInventorySize=0"),
    "coin": ("coin", "numLocations=5, numDistractorItems=0, includeDoors=1, limitInventorySize=0"),
    "twc": ("twc", "numLocations=1, numItemsToPutAway=2, includeDoors=0, limitInventorySize=0"),
    "mapreader": ("mapreader", "numLocations=6, maxDistanceApart=3, maxDistractorItemsPerLocation=1, includeDoors=0, "
                               "limitInventorySize=0"),
    "sorting": ("sorting", ""),
    "arithmetic": ("arithmetic", ""),
}

INSTRUCTION = """\
You play a short text game. Each message gives you an observation. Reply with exactly one action on one line:
Action: <command>

Commands, where the game offers them: look around, inventory, task, examine X, read X, open X, close X, \
open door to DIR, close door to DIR, move DIR, take X, put X in Y, slice X, dice X, chop X, cook X in Y, eat X, \
prepare meal, eat meal. DIR is north, south, east or west.
Use the names that the game shows. \
Reach the goal in few steps: a spoiled ingredient or a wrong item in the answer box can end the game."""

COIN_WALKS = 10  # The expert for the coin walks at random: the shortest of so many walks is taken.


class TextWorldExpress(java_env.JavaEnvironment):
    name = "textworld-express"
    instruction = INSTRUCTION
    at_once = 8  # each is a quarter of a gigabyte of Java
    pattern = r"twx-([^-]+)-(train|dev|test)-s(\d+)(?:-r\d+)?$"

    def __init__(self, settings):
        java_env.prepare_java("256m")
        simulator = java_env.start("textworld_express", "textworld-express", "TextWorldExpressEnv")
        self.server = simulator.server
        self.jvm = simulator._gateway.jvm
        seeds = {"train": list(self.server.getSeedsTrain()), "dev": list(self.server.getSeedsDev()),
                 "test": list(self.server.getSeedsTest())}
        super().__init__(simulator, settings, {
            split: [[(setting, fold, seed) for seed in seeds[fold]] for setting in SETTINGS]
            for split, fold in FOLDS.items()})

    def task_of(self, found):
        if found[1] not in SETTINGS:
            raise Refusal("--tasks: there is no setting %s; known: %s" % (found[1], ", ".join(SETTINGS)))
        return found[1], found[2], int(found[3])

    def load(self, task, expert):
        setting, fold, seed = task
        self.server.load(*SETTINGS[setting])
        if expert and setting == "coin":
            walks = [self.walk(fold, seed, k) for k in range(COIN_WALKS)]
            self.gold = min(filter(None, walks), key=len, default=None)
        first = self.server.generateNewGameJSON(seed, fold, expert and setting != "coin")
        if expert and setting != "coin":
            self.gold = list(self.server.getGoldActionSequence())
        while self.gold and self.gold[0] == "look around":  # which repeats the first observation
            del self.gold[0]
        return self.server.getTaskDescription().strip(), self.read(first)[0]

    def walk(self, fold, seed, number):
        """The simulator's expert for the coin, with a random generator of ours: its own is another one each time."""
        self.server.generateNewGameJSON(seed, fold, False)
        agent = self.jvm.textworldexpress.goldagent.CoinGoldAgent(self.server.game())
        path = agent.mkGoldPath(self.jvm.scala.util.Random(number))
        return list(path._2) if path._1 else None

    def read(self, text):
        told = json.loads(text)
        score = told["score"]
        self.valid = told["validActions"]
        return told["observation"], min(max(score, 0), 1), told["tasksuccess"] or told["taskfailure"] or score >= 1

    def act(self, action):
        return self.read(self.server.stepJSON(action))

    def possible(self):
        return self.valid


if __name__ == "__main__":
    chosen = java_env.options("TextWorldExpress as an environment of dmpo", 40)
    serve(lambda: TextWorldExpress(chosen))
