#!/usr/bin/env python3
"""Writes tests/golden-policy/cases.json: losses and gradients of policy-gradient methods, from the papers' formulas.

Independent of the engine: each loss is written as its paper prints it, in 60-digit decimal arithmetic, and its gradient is
a central difference with a step of 1e-20. Sources: RLOO arXiv 2402.14740 (equation 4), GRPO 2402.03300 (equations 3, 4),
Dr. GRPO 2503.20783 (section 3.2), DAPO 2503.14476 (equation 8), GSPO 2507.18071 (equations 5, 7), GiGPO 2505.10978
(equations 3, 6, 7).

    python3 tests/tools/policy_golden.py > tests/golden-policy/cases.json
"""
import json
import random
import struct
from decimal import Decimal as D
from decimal import getcontext

getcontext().prec = 60
random.seed(3)


def f32(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def mean(x):
    return sum(x) / D(len(x))


def std(x):
    m = mean(x)
    return (sum((a - m) ** 2 for a in x) / D(len(x) - 1)).sqrt()


# ---- advantages ----

def grpo_advantages(rewards):
    return [(r - mean(rewards)) / std(rewards) for r in rewards]


def dr_grpo_advantages(rewards):
    return [r - mean(rewards) for r in rewards]


def rloo_advantages(rewards):
    return [r - mean(rewards[:i] + rewards[i + 1:]) for i, r in enumerate(rewards)]


# ---- losses: a batch of trajectories, each a list of (logp, old, reference, advantage) ----

def k3(logp, ref):
    ratio = (ref - logp).exp()
    return ratio - (ref - logp) - 1


def surrogate(ratio, a, low, high):
    return min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)


def grpo(batch, low, high, beta):
    total = D(0)
    for t in batch:
        total += sum(surrogate((lp - old).exp(), a, low, high) - beta * k3(lp, ref) for lp, old, ref, a in t) / len(t)
    return -total / len(batch)


def dapo(batch, low, high, beta):
    tokens = sum(len(t) for t in batch)
    return -sum(surrogate((lp - old).exp(), a, low, high) - beta * k3(lp, ref)
                for t in batch for lp, old, ref, a in t) / tokens


def dr_grpo(batch, low, high, beta):
    return -sum(surrogate((lp - old).exp(), a, low, high) - beta * k3(lp, ref)
                for t in batch for lp, old, ref, a in t) / len(batch)


def gspo(batch, low, high, beta):
    total = D(0)
    for t in batch:
        s = (sum(lp - old for lp, old, _, _ in t) / len(t)).exp()
        total += surrogate(s, t[0][3], low, high) - beta * sum(k3(lp, ref) for lp, _, ref, _ in t) / len(t)
    return -total / len(batch)


def rloo(batch, low, high, beta):
    return -sum(t[0][3] * sum(lp for lp, _, _, _ in t) - beta * sum(k3(lp, ref) for lp, _, ref, _ in t)
                for t in batch) / len(batch)


METHODS = {
    "grpo": (grpo, grpo_advantages, "mean-std", "token", "mean", "0.2", "0.2", "0.04"),
    "dr-grpo": (dr_grpo, dr_grpo_advantages, "mean", "token", "sum", "0.2", "0.2", "0"),
    "dapo": (dapo, grpo_advantages, "mean-std", "token", "token", "0.2", "0.28", "0"),
    "gspo": (gspo, grpo_advantages, "mean-std", "sequence", "mean", "0.0003", "0.0004", "0"),
    "gspo wide": (gspo, grpo_advantages, "mean-std", "sequence", "mean", "0.5", "0.5", "0.01"),
    "rloo": (rloo, rloo_advantages, "leave-one-out", "none", "sum", "0.2", "0.2", "0.05"),
}


def gradient(loss, batch, *args):
    h = D(10) ** -20
    out = []
    for i, t in enumerate(batch):
        row = []
        for k in range(len(t)):
            value = []
            for sign in (1, -1):
                moved = [list(u) for u in batch]
                lp, old, ref, a = t[k]
                moved[i][k] = (lp + sign * h, old, ref, a)
                value.append(loss(moved, *args))
            row.append(float((value[0] - value[1]) / (2 * h)))
        out.append(row)
    return out


def case(name, rewards, lengths, spread):
    loss, advantages, baseline, ratio, aggregate, low, high, beta = METHODS[name]
    a = advantages([D(r) for r in rewards])
    raw = [[[f32(random.uniform(-4, -0.1)) for _ in range(n)] for n in lengths] for _ in range(1)][0]
    old = [[f32(x + random.uniform(-spread, spread)) for x in t] for t in raw]
    ref = [[f32(x + random.uniform(-0.5, 0.5)) for x in t] for t in raw]
    batch = [[(D(lp), D(o), D(r), a[i]) for lp, o, r in zip(raw[i], old[i], ref[i])] for i in range(len(lengths))]
    args = (D(low), D(high), D(beta))
    return {"name": name, "baseline": baseline, "ratio": ratio, "aggregate": aggregate, "clip_low": float(low),
            "clip_high": float(high), "kl": float(beta), "rewards": rewards, "advantages": [float(x) for x in a],
            "logp": raw, "old": old, "reference": ref, "loss": float(loss(batch, *args)),
            "gradient": gradient(loss, batch, *args)}


cases = [case(name, rewards, lengths, spread)
         for name in METHODS
         for rewards, lengths, spread in (([1, 0, 0.25, 0], [3, 1, 4, 2], 0.6), ([0.5, 0.1], [5, 2], 0.05))]
print(json.dumps(cases, indent=0))
