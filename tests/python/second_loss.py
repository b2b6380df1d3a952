"""Section 7 of docs/numerics.md, the loss, for tests/python/second.py: φ, scores, links, SFT and RLOO."""
import numpy as np

from second_math import expm1, f32, log1p, log_sigmoid, power, sigmoid


def phi(gamma, t, turns):
    if turns == 1:
        return 1.0
    rest = lambda n: -expm1(n * log1p(gamma - 1))
    return power(gamma, float(t)) * (rest(turns - t) / rest(turns))


def total(values):
    """In order; sum() of newer Pythons compensates."""
    t = 0.0
    for x in values:
        t += x
    return t


def score(o, pack, logp, reference, side):
    """s of a side and the weight of each of its action tokens"""
    n = len(pack.entry_of[side])
    t_of, turns = (pack.turn_of[side], pack.turns[side]) if o["objective"] == "dmpo" else (range(n), n)
    weights = [phi(o["gamma"], t, turns) for t in t_of]
    parts = zip(weights, pack.entry_of[side], reference[side])
    return total(weight * (float(logp[e]) - float(ref)) for weight, e, ref in parts), weights


class Batch:
    """What kto-pair knows of all scores of a batch, [(s_w, s_l), ...]."""

    def __init__(self, beta, scores):
        self.n, self.beta = len(scores), beta
        self.mean = [total(s[i] for s in scores) / self.n for i in (0, 1)]
        self.k = [m if m > 0 else 0.0 for m in self.mean]
        self.slope = lambda x: sigmoid(x) * sigmoid(-x)
        self.a = total(self.slope(beta * (s[0] - self.k[1])) for s in scores)
        self.b = total(self.slope(beta * (self.k[0] - s[1])) for s in scores)

    def link(self, s):
        x_w, x_l = self.beta * (s[0] - self.k[1]), self.beta * (self.k[0] - s[1])
        d_w, d_l = -self.slope(x_w), self.slope(x_l)
        d_w = d_w - self.b / self.n if self.mean[0] >= 0 else d_w
        d_l = d_l + self.a / self.n if self.mean[1] >= 0 else d_l
        each = self.beta / (2 * self.n)
        return (sigmoid(-x_w) + sigmoid(-x_l)) / 2, d_w * each, d_l * each


def link(o, s, batch):
    """loss, dL/ds of both sides"""
    beta, e, h = o["beta"], o["label-smoothing"], s[0] - s[1]
    m = beta * h
    if o["link"] == "kto-pair":
        return batch.link(s)
    if o["link"] == "hinge":
        loss, d = (0.0, 0.0) if m >= 1 else (1 - m, -beta)
    elif o["link"] == "ipo":
        x = h - 1 / (2 * beta)
        loss, d = x * x, 2 * x
    elif o["link"] == "robust":
        loss = (-(1 - e) * log_sigmoid(m) + e * log_sigmoid(-m)) / (1 - 2 * e)
        d = (-beta * ((1 - e) * sigmoid(-m) + e * sigmoid(m))) / (1 - 2 * e)
    else:
        loss = -(1 - e) * log_sigmoid(m) - e * log_sigmoid(-m)
        d = beta * (e * sigmoid(m) - (1 - e) * sigmoid(-m))
    return loss, d / batch.n, -(d / batch.n)


def pair_loss(o, logp, pack, reference, batch):
    """loss, and the coefficient of each entry"""
    sides = [score(o, pack, logp, reference, side) for side in (0, 1)]
    loss, d_w, d_l = link(o, [s for s, _ in sides], batch)
    c = o["sft-weight"] / len(pack.entry_of[0])
    loss -= c * total(float(logp[e]) for e in pack.entry_of[0])
    coef = np.zeros(len(pack.target), np.float64)
    for side, slope, constant in ((0, d_w, -c / batch.n), (1, d_l, 0.0)):
        for weight, e in zip(sides[side][1], pack.entry_of[side]):
            coef[e] += slope * weight + constant
    return loss, coef.astype(f32)


def sft_loss(logp, pack, tokens):
    return -total(float(logp[e]) for e in pack.entry_of[0]), np.full(len(pack.target), f32(-1 / tokens))


def rloo_loss(logp, pack, advantage, n):
    """of one of n trajectories; advantage: of each action token, None where the policy did not choose it"""
    loss, coef = 0.0, np.zeros(len(pack.target), np.float64)
    for e, a in zip(pack.entry_of[0], advantage):
        if a is not None:
            loss -= 1 / n * (a * float(logp[e]))
            coef[e] -= 1 / n * a
    return loss, coef.astype(f32)
