#!/usr/bin/env python3
"""Forged runs against dmpo verify, and disputes against dmpo diff: what docs/transcript.md promises.

    BUILD=DIR python3 tests/tools/forge.py [odds] [dispute]

odds     200 copies of a run with a checkpoint after every step, in each of which some steps claim another loss, with
         every hash made anew; each is verified with a sample. The share that is caught has to be what the odds say,
         within four standard deviations.
dispute  two runs of 10,000 steps that part in the middle: comparisons, and whose leaf the machine gives.

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


def main():
    for name in sys.argv[1:] or ["odds", "dispute"]:
        with tempfile.TemporaryDirectory() as work:
            make_inputs(work, 20)
            {"odds": odds, "dispute": dispute}[name](work)
    print(f"forge: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
