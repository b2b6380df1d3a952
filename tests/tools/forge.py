#!/usr/bin/env python3
"""Forged runs against dmpo verify, and disputes against dmpo diff: what docs/transcript.md promises.

    BUILD=DIR python3 tests/tools/forge.py [odds] [dispute] [damage]

odds     200 copies of a run with a checkpoint after every step, in each of which some steps claim another loss, with
         every hash made anew; each is verified with a sample. The share that is caught has to be what the odds say,
         within four standard deviations.
dispute  two runs of 10,000 steps that part in the middle: comparisons, and whose leaf the machine gives.
damage   every file of runs (full, LoRA, learnt), of what other commands wrote and of an experiment's stages: a bit
         flipped at every byte (FLIPS, 200: at so many places of a longer file), cut, longer, empty, removed, exchanged
         with its neighbour. Each has to be noticed.

Minutes of one core. Needs nothing but Python. Ends with "forge: N passed, N failed".
"""
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))
import transcript  # noqa: E402

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
passed = failed = 0


def check(ok, message):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(("" if ok else "FAILED: ") + message, flush=True)


def dmpo(*args):
    return subprocess.run([os.path.join(BUILD, "dmpo"), *map(str, args), "--quiet"], capture_output=True, text=True)


def make_inputs(work, pairs):
    g = random.Random(1)
    side = lambda n: {"ids": [g.randrange(3, 40) for _ in range(n)], "turns": [[4, n]]}
    with open(os.path.join(work, "pairs.jsonl"), "w") as f:
        for i in range(pairs):
            f.write(json.dumps({"id": f"pair {i}", "chosen": side(9), "rejected": side(7)}) + "\n")
    dmpo("init", "--output", os.path.join(work, "model"), "--vocab", 40, "--hidden", 8, "--layers", 1, "--heads", 2,
         "--intermediate", 16)


def train(work, name, *options):
    out = os.path.join(work, name)
    done = dmpo("train", "--model", os.path.join(work, "model"), "--data", os.path.join(work, "pairs.jsonl"),
                "--output", out, "--batch", 1, "--lr", 1e-3, "--threads", 1, *options)
    check(done.returncode == 0, f"{name} is trained {done.stderr}")
    return out


def forge(run, steps):
    """these steps claim another loss; chain, root, metrics.jsonl and run.json are made to agree"""
    path = lambda name: os.path.join(run, name)
    data = open(path("transcript.bin"), "rb").read()
    _, records = transcript.read(data)
    data, losses = data[:transcript.HEAD], {}
    for r in records:
        if r[0] in steps:
            losses[r[0]] = r[3] * 1.25
            r = r[:3] + (losses[r[0]],) + r[4:]
        data += transcript.record(data[-32:], *r)
    lines = []
    for line in open(path("metrics.jsonl")):
        x = json.loads(line)
        if x["kind"] == "train" and x["step"] in losses:
            x["loss"] = losses[x["step"]]
            line = json.dumps(x) + "\n"
        lines.append(line)
    open(path("metrics.jsonl"), "w").writelines(lines)
    open(path("transcript.bin"), "wb").write(data)
    text = open(path("run.json"), "rb").read()
    about = json.loads(text)
    digest = lambda name: hashlib.sha256(open(path(name), "rb").read()).hexdigest()
    for old, new in [(about["transcript_sha256"], transcript.root(transcript.leaves(data)).hex())] + [
            (about["files"][name], digest(name)) for name in ("transcript.bin", "metrics.jsonl")]:
        text = text.replace(old.encode(), new.encode())
    open(path("run.json"), "wb").write(transcript.seal(text))


def odds(work):
    steps, runs, g = 40, 200, random.Random(2)
    out = train(work, "honest", "--steps", steps, "--checkpoint-every", 1, "--keep-checkpoints")
    check(dmpo("verify", out, "--threads", 1).returncode == 0, "the honest run is proved")
    for sample, forged in ((4, 1), (10, 1), (10, 4), (20, 2)):
        caught = 0
        for i in range(runs // 4):
            copy = os.path.join(work, "forged")
            shutil.copytree(out, copy)
            forge(copy, set(g.sample(range(1, steps + 1), forged)))
            if i == 0:
                check(not transcript.problems(copy), "a forged run agrees with itself")
            caught += dmpo("verify", copy, "--sample", sample, "--seed", i + 1 + 1000 * sample, "--threads",
                           1).returncode == 1
            shutil.rmtree(copy)
        unseen = math.comb(steps - sample, forged) / math.comb(steps, forged)
        n = runs // 4
        deviation = math.sqrt(unseen * (1 - unseen) / n)
        check(abs(caught / n - (1 - unseen)) <= 4 * deviation,
              f"{forged} forged of {steps} steps, {sample} proved: {caught} of {n} caught, {100 * caught / n:.1f} %; the "
              f"odds say {100 * (1 - unseen):.1f} %")


def dispute(work):
    steps, options = 10000, ("--steps", 10000, "--checkpoint-every", 500, "--keep-checkpoints")
    out = train(work, "ours", *options)
    theirs = os.path.join(work, "theirs")
    shutil.copytree(out, theirs)
    forge(theirs, {6173})
    done = dmpo("diff", out, theirs, "--threads", 1)
    print(done.stdout)
    comparisons = int(done.stdout.split("bisection")[1].split()[0])
    check(comparisons <= 14, f"{comparisons} comparisons of leaves for {steps} steps")
    check("first step             6173\n" in done.stdout, "the step is found")
    check("ours: this machine gives the same for step 6173" in done.stdout and
          "theirs: this machine gives ANOTHER RESULT for step 6173" in done.stdout, "the true one is named")


# ---- damage ----

FLIPS = int(os.environ.get("FLIPS", 200))
RECIPE = {"name": "tiny", "title": "A test", "seeds": [3], "environments": [{"env": "home"}], "expert": {"tasks": 4},
          "tokenizer": {"vocabulary": 300}, "model": {"hidden": 8, "intermediate": 16, "layers": 1, "heads": 2},
          "sft": {"lr": 0.01, "batch": 2, "epochs": 1}, "train": {"lr": 0.001, "batch": 2, "epochs": 1},
          "explore": {"tasks": 4, "temperature": 1, "max-turns": 2, "max-tokens": 4},
          "evaluate": {"tasks": 2, "max-turns": 2, "max-tokens": 4},
          "methods": [{"name": "DMPO", "kind": "preference", "train": {"objective": "dmpo"}}]}


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def files_below(top, ignored):
    return [os.path.join(d, name) for d, _, names in sorted(os.walk(top)) for name in sorted(names)
            if name not in ignored and not name.startswith(".")] if os.path.isdir(top) else [top]


def damage_files(what, top, verify, flips, ignored=()):
    """verify: arguments of dmpo verify; ignored: names that docs/transcript.md says are not compared"""
    def noticed(how, path):
        done = dmpo("verify", *verify)
        if done.returncode != 1:
            unnoticed.append(f"{os.path.relpath(path, top)}, {how}")

    count, unnoticed, g = 0, [], random.Random(3)
    before = dmpo("verify", *verify)
    check(before.returncode == 0, f"{what}: is proved as it is {before.stdout[-300:] if before.returncode else ''}")
    files = files_below(top, ignored)
    for i, path in enumerate(files):
        data = open(path, "rb").read()
        other = open(files[i - 1], "rb").read()
        for at in range(0, len(data), max(1, len(data) // flips)):
            bit = 1 << g.randrange(8)
            write(path, data[:at] + bytes([data[at] ^ bit]) + data[at + 1:])
            noticed(f"byte {at}, bit {bit}", path)
            count += 1
        changes = [("cut", data[:-1]), ("longer", data + b"\n"), ("empty", b"")] + (
            [("exchanged", other)] if other != data else [])
        for how, changed in changes:
            write(path, changed)
            if how == "exchanged":
                write(files[i - 1], data)
            noticed(how, path)
            if how == "exchanged":
                write(files[i - 1], other)
        os.remove(path)
        noticed("removed", path)
        write(path, data)
        count += len(changes) + 1
    check(not unnoticed, f"{what}: {count} kinds of damage in {len(files)} files, {len(unnoticed)} unnoticed"
          + "".join(f"\n    {x}" for x in unnoticed[:20]))


def damage(work):
    inside = lambda name: os.path.join(work, name)
    once = ("--sample", 1, "--seed", 1, "--threads", 1)
    states = ("--steps", 4, "--checkpoint-every", 2, "--keep-checkpoints", "--tensorboard", "--threads", 1)
    for name, more in (("full", ()), ("adapter", ("--lora-rank", 2))):
        run = train(work, name, *states, *more)
        damage_files(name, run, (run, *once), FLIPS)
    play = ("--env", "home", "--max-turns", 2, "--max-tokens", 4)
    for args in (("rollout", "--env", "home", "--policy", "expert", "--tasks", 4, "--output", inside("expert.jsonl")),
                 ("tokenizer", "train", "--vocabulary", 300, "--output", inside("tokenizer"), inside("expert.jsonl")),
                 ("init", "--output", inside("agent"), "--tokenizer", inside("tokenizer"), "--hidden", 8, "--layers", 1,
                  "--heads", 2, "--intermediate", 16),
                 ("learn", *play, "--model", inside("agent"), "--output", inside("learnt"), "--rounds", 2, "--tasks", 2,
                  "--samples", 2, "--batch", 2, "--eval-tasks", 1, "--checkpoint-every", 1, "--keep-checkpoints")):
        done = dmpo(*args)
        check(done.returncode == 0, f"{args[0]} {done.stderr}")
    damage_files("learnt", inside("learnt"), (inside("learnt"), *once), FLIPS // 4)
    for name, command in (
            ("episodes", ("rollout", *play, "--model", inside("agent"), "--tasks", 3, "--temperature", 1)),
            ("pairs", ("pairs", "--expert", inside("expert.jsonl"), "--explored", inside("out-episodes"))),
            ("scores", ("score", "--model", inside("model"), "--data", inside("pairs.jsonl"))),
            ("converted", ("convert", inside("model"), "--to", "gguf")),
            ("made", ("init", "--vocab", 40, "--hidden", 8, "--layers", 1, "--heads", 2, "--intermediate", 16))):
        out = inside("out-" + name)
        command = (*command, "--output", out)
        done = dmpo(*command)
        check(done.returncode == 0, f"{name} {done.stderr}")
        again = ("--threads", 1, out, "--", *command)
        damage_files(name, out, again, FLIPS // 4)
    write(inside("tiny.json"), json.dumps(RECIPE).encode())
    done = dmpo("experiment", inside("tiny.json"), "--output", inside("experiment"))
    check(done.returncode == 0, f"an experiment {done.stderr}")
    damage_files("stages", inside("experiment/stages"), (inside("experiment"),), 1, ("log", "result"))


def main():
    for name in sys.argv[1:] or ["odds", "dispute", "damage"]:
        with tempfile.TemporaryDirectory() as work:
            make_inputs(work, 20)
            {"odds": odds, "dispute": dispute, "damage": damage}[name](work)
    print(f"forge: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
