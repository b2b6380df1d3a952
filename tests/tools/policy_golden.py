#!/usr/bin/env python3
"""Writes tests/golden-policy/cases.json: losses and gradients of policy-gradient methods, from the papers' formulas.

Independent of the engine: each loss is written as its paper prints it, in 60-digit decimal arithmetic, and its gradient is
a central difference with a step of 1e-20. Sources: RLOO arXiv 2402.14740 (equation 4), GRPO 2402.03300 (equations 3, 4),
Dr. GRPO 2503.20783 (section 3.2), DAPO 2503.14476 (equation 8), GSPO 2507.18071 (equations 5, 7), GiGPO 2505.10978
(equations 3, 6, 7). PPO: 1707.06347 (equation 7), its value clip as in the authors' code, GAE 1506.02438 (equation 16, as the
sum it is defined by), by turns 2512.17008.

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


# ---- PPO: a trajectory is a list of turns, a turn its tokens' (logp, old), with a reward; values are of its states ----

def gae(rewards, values, discount, lam):
    following = values[1:] + [D(0)]
    delta = [r + discount * after - v for r, v, after in zip(rewards, values, following)]
    return [sum((discount * lam) ** k * d for k, d in enumerate(delta[t:])) for t in range(len(delta))]


def whitened(advantages, eps):
    flat = [a for row in advantages for a in row]
    m, v = mean(flat), std(flat) ** 2
    return [[(a - m) / (v + eps).sqrt() for a in row] for row in advantages]


def ppo_turn(batch, low, high, beta):
    turns = [turn for t in batch for turn in t]
    return -sum(surrogate(sum(lp - old for lp, old in tokens).exp(), a, low, high) for tokens, a in turns) / len(turns)


def value_loss(v, old, target, clip):
    free = (v - target) ** 2 / 2
    kept = (min(max(v, old - clip), old + clip) - target) ** 2 / 2
    return max(free, kept) if clip else free


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


def ppo_case(name, by_turn, discount, lam, clip, lengths):
    discount, lam = D(discount), D(lam)
    logp = [[[f32(random.uniform(-3, -0.1)) for _ in range(n)] for n in turns] for turns in lengths]
    old = [[[f32(x + random.uniform(-0.3, 0.3)) for x in turn] for turn in t] for t in logp]
    reward = [[random.choice([0, 0.25, 1]) for _ in t] for t in lengths]
    steps = [len(t) if by_turn else sum(t) for t in lengths]
    value = [[random.uniform(-1, 1) for _ in range(n)] for n in steps]
    now = [[v + random.uniform(-0.3, 0.3) for v in row] for row in value]
    rewards = [[D(r) for r in row] if by_turn else
               [D(r) if k + 1 == n else D(0) for r, n in zip(row, turns) for k in range(n)]
               for row, turns in zip(reward, lengths)]
    a = [gae(r, [D(v) for v in row], discount, lam) for r, row in zip(rewards, value)]
    target = [[x + D(v) for x, v in zip(row, values)] for row, values in zip(a, value)]
    white = whitened(a, D("1e-8"))
    h = D(10) ** -20

    def value_slope(v, o, t):
        return float((value_loss(v + h, o, t, D(clip)) - value_loss(v - h, o, t, D(clip))) / (2 * h))

    out = {"name": name, "by_turn": by_turn, "discount": float(discount), "lambda": float(lam), "value_clip": float(clip),
           "logp": logp, "old": old, "reward": reward, "value": value, "now": now,
           "advantages": [[float(x) for x in row] for row in white],
           "targets": [[float(x) for x in row] for row in target],
           "value_losses": [[float(value_loss(D(v), D(o), t, D(clip))) for v, o, t in zip(*rows)]
                            for rows in zip(now, value, target)],
           "value_slopes": [[value_slope(D(v), D(o), t) for v, o, t in zip(*rows)] for rows in zip(now, value, target)]}
    batch = [[([(D(x), D(o)) for x, o in zip(turn, before)], white[i][k])
              for k, (turn, before) in enumerate(zip(logp[i], old[i]))] for i in range(len(lengths))] if by_turn else [
             [(D(x), D(o), D(0), advantage) for (x, o), advantage in
              zip([(x, o) for turn, before in zip(logp[i], old[i]) for x, o in zip(turn, before)], white[i])]
             for i in range(len(lengths))]
    if by_turn:
        def moved(i, k, j, by):
            b = [[(list(tokens), x) for tokens, x in t] for t in batch]
            b[i][k][0][j] = (b[i][k][0][j][0] + by, b[i][k][0][j][1])
            return ppo_turn(b, D("0.2"), D("0.2"), D(0))

        out["loss"] = float(ppo_turn(batch, D("0.2"), D("0.2"), D(0)))
        out["gradient"] = [[float((moved(i, k, j, h) - moved(i, k, j, -h)) / (2 * h))
                            for k in range(len(t)) for j in range(t[k])] for i, t in enumerate(lengths)]
    else:
        out["loss"] = float(dapo(batch, D("0.2"), D("0.2"), D(0)))
        out["gradient"] = gradient(dapo, batch, D("0.2"), D("0.2"), D(0))
    return out


cases = [case(name, rewards, lengths, spread)
         for name in METHODS
         for rewards, lengths, spread in (([1, 0, 0.25, 0], [3, 1, 4, 2], 0.6), ([0.5, 0.1], [5, 2], 0.05))]
cases = {"groups": cases, "ppo": [ppo_case("ppo", False, "1", "0.95", "0", [[3, 2], [1]]),
                                  ppo_case("ppo clipped", False, "0.9", "0.5", "0.2", [[2, 1, 1], [3, 2]]),
                                  ppo_case("ppo-turn", True, "0.99", "0.9", "0", [[3, 2, 1], [2, 4]]),
                                  ppo_case("ppo-turn clipped", True, "0.5", "1", "0.1", [[2], [1, 1, 3]])]}
print(json.dumps(cases, indent=0))
