#!/usr/bin/env python3
"""Losses of `dmpo train` against TRL's own source, on the same log-probabilities.

    BUILD=DIR SRC=DIR python3 tests/python/trl_losses.py [BUILD]

Two small models, policy and reference, score the pairs of tests/data/demo; these sums go into DPOTrainer's (and for
simpo CPOTrainer's) loss in float64, and the result is compared with the evaluation before training. Every loss_type
that the installed TRL lists must be compared here or be in LEFT_OUT. Needs torch and trl 1.x. One line a figure; ends
with "trl_losses: N passed, N failed".
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from types import SimpleNamespace
from unittest import mock

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import trl
from trl import DPOTrainer

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BUILD", "build"))
SRC = os.path.abspath(os.environ.get("SRC", os.path.join(os.path.dirname(__file__), "..", "..")))
LIMIT = 1e-6  # relative
PAIRS = 8

# loss_type, its other settings, the options of dmpo train
CASES = [
    ("sigmoid", {}, []),
    ("sigmoid", {"beta": 2.0}, ["--beta", 2]),
    ("hinge", {}, ["--link", "hinge"]),
    ("ipo", {}, ["--link", "ipo", "--length-normalised"]),
    ("exo_pair", {"label_smoothing": 1e-3}, ["--link", "exo-pair", "--label-smoothing", 1e-3]),
    ("nca_pair", {}, ["--link", "nca-pair"]),
    ("robust", {"label_smoothing": 0.1}, ["--link", "robust", "--label-smoothing", 0.1]),
    ("bco_pair", {}, ["--link", "bco-pair"]),
    ("sppo_hard", {}, ["--link", "sppo-hard"]),
    ("apo_zero", {}, ["--link", "apo-zero"]),
    ("apo_down", {}, ["--link", "apo-down"]),
    ("discopop", {}, ["--link", "discopop"]),
    ("discopop", {"discopop_tau": 0.5}, ["--link", "discopop", "--discopop-temperature", 0.5]),
    ("sigmoid_norm", {}, ["--length-normalised"]),
    ("sft", {}, ["--objective", "sft"]),
    ("sigmoid,bco_pair", {"loss_weights": [0.8, 0.2]}, ["--link-mix", "sigmoid:0.8,bco-pair:0.2"]),
    ("hinge,apo_zero,sppo_hard", {"loss_weights": [1.0, 0.5, 0.001]},
     ["--link-mix", "hinge:1,apo-zero:0.5,sppo-hard:0.001"]),
]
LEFT_OUT = {"aot", "aot_unpaired"}  # of the order of a batch's scores, not of a pair: docs/losses.md
passed = failed = 0


def check(ok, message):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print("ok    " if ok else "FAILED", message)


def dmpo(*args):
    r = subprocess.run([os.path.join(BUILD, "dmpo"), *map(str, args), "--threads", "1"], capture_output=True,
                       encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"dmpo {' '.join(map(str, args))}: status {r.returncode}: {r.stderr.strip()[-800:]}")
    return r.stdout


class Pairs:
    """Sums of log-probabilities as `dmpo score` prints them, with their numbers of tokens."""

    def __init__(self, lines):
        rows = [json.loads(line) for line in lines]
        sides = {which: [r for r in rows if r["side"] == which] for which in ("chosen", "rejected")}
        self.n = torch.tensor([r["action_tokens"] for r in sides["chosen"] + sides["rejected"]])
        self.logp = [r["logp"] for r in sides["chosen"] + sides["rejected"]]
        self.reference = {which: torch.tensor([r["reference_logp"] for r in sides[which]], dtype=torch.float64)
                          for which in sides}
        self.chosen, self.rejected = (torch.tensor([r["logp"] for r in sides[which]], dtype=torch.float64)
                                      for which in ("chosen", "rejected"))
        longest = int(self.n.max())
        self.mask = (torch.arange(longest + 1) >= 1) & (torch.arange(longest + 1) <= self.n[:, None])
        self.tokens = torch.zeros(len(self.n), longest, dtype=torch.float64)
        for row, (n, logp) in enumerate(zip(self.n.tolist(), self.logp)):
            self.tokens[row, :n] = logp / n  # TRL reads sums and means only


def trl_loss(pairs, loss_type, beta=0.1, label_smoothing=0.0, loss_weights=None, discopop_tau=0.05):
    """DPOTrainer._compute_loss itself, with a model that returns these log-probabilities."""
    rows = pairs.tokens.shape
    outputs = SimpleNamespace(log_probs=pairs.tokens, entropy=torch.zeros(rows), mean_logits=torch.zeros(rows),
                              is_top1=torch.zeros(rows, dtype=torch.bool), aux_loss=None)
    types = loss_type.split(",")
    trainer = mock.MagicMock()
    trainer.configure_mock(
        loss_types=types, loss_weights=loss_weights or [1.0] * len(types), beta=beta, label_smoothing=label_smoothing,
        f_divergence_type="reverse_kl", ld_alpha=None, use_weighting=False, aux_loss_enabled=False,
        precompute_ref_logps=True, args=SimpleNamespace(discopop_tau=discopop_tau),
        accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics=defaultdict(lambda: defaultdict(list)), _total_train_tokens=0)
    trainer.model.training = False
    inputs = {"input_ids": torch.zeros_like(pairs.mask, dtype=torch.long), "completion_mask": pairs.mask.long(),
              "attention_mask": pairs.mask.long(), "ref_chosen_logps": pairs.reference["chosen"],
              "ref_rejected_logps": pairs.reference["rejected"]}
    return float(DPOTrainer._compute_loss(trainer, lambda **ignored: outputs, inputs, False))


def simpo_loss(pairs, beta, margin):
    from trl.experimental.cpo import CPOTrainer

    trainer = SimpleNamespace(alpha=0.0, beta=beta, loss_type="simpo", simpo_gamma=margin, label_smoothing=0.0,
                              accelerator=SimpleNamespace(device="cpu"))
    chosen, rejected = pairs.n.chunk(2)
    return float(CPOTrainer.cpo_loss(trainer, pairs.chosen / chosen, pairs.rejected / rejected)[0].mean())


def compare(name, options, want, out):
    run = os.path.join(out, re.sub(r"\W", "_", name))
    reference = [] if "simpo" in options or "sft" in options else ["--reference", f"{out}/reference"]
    if "--objective" not in options:
        options = ["--objective", "dpo", *options]
    dmpo("train", "--model", f"{out}/policy", *reference, "--data", f"{out}/pairs.jsonl", "--eval-data",
         f"{out}/pairs.jsonl", "--output", run, "--steps", 1, "--batch", 1, "--lr", 1e-9, "--quiet", *options)
    with open(f"{run}/run.json", encoding="utf-8") as f:
        got = json.load(f)["before"]["loss"]
    check(abs(got - want) <= LIMIT * max(1, abs(want)), f"{name}: {got:.10g}, TRL {want:.10g}")


def listed():
    """The loss types in the source of the installed TRL."""
    with open(sys.modules[DPOTrainer.__module__].__file__, encoding="utf-8") as f:
        return set(re.findall(r'if loss_type == "(\w+)"', f.read()))


def main():
    print("trl", trl.__version__)
    known = {name for case in CASES for name in case[0].split(",")} | LEFT_OUT
    check(listed() <= known, f"every loss_type of TRL is known: {sorted(listed() - known) or 'yes'}")
    with tempfile.TemporaryDirectory() as out:
        with open(f"{SRC}/tests/data/demo/pairs.jsonl", encoding="utf-8") as f, open(
                f"{out}/pairs.jsonl", "w", encoding="utf-8") as few:
            few.writelines(f.readlines()[:PAIRS])
        dmpo("tokenizer", "train", "--output", f"{out}/tokenizer", "--vocabulary", 400, f"{out}/pairs.jsonl")
        for seed, name in ((1, "policy"), (2, "reference")):
            dmpo("init", "--tokenizer", f"{out}/tokenizer", "--hidden", 32, "--intermediate", 64, "--layers", 1,
                 "--heads", 2, "--positions", 4096, "--std", 0.2, "--seed", seed, "--output", f"{out}/{name}")
        pairs = Pairs(dmpo("score", "--model", f"{out}/policy", "--reference", f"{out}/reference", "--data",
                           f"{out}/pairs.jsonl", "--quiet").splitlines())
        for loss_type, settings, options in CASES:
            name = f"{loss_type} {' '.join(f'{k}={v}' for k, v in settings.items())}".strip()
            compare(name, options, trl_loss(pairs, loss_type, **settings), out)
        compare("simpo", ["--link", "simpo", "--beta", 2.0, "--simpo-margin", 1.0], simpo_loss(pairs, 2.0, 1.0), out)
    print(f"trl_losses: {passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()
