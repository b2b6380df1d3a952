#!/usr/bin/env python3
"""Figures of every training method, in float64 and from the papers: tests/golden-methods/*.json, for tests/unit/model/loss/test_methods.c.

    python3 tests/tools/methods_golden.py [DIR]        (default: tests/golden-methods; same bytes every time)

Needs torch. A file is training data (its "pairs", pre-tokenized) with log-probabilities made up for every token, those
of observations too, and "cases": a method's options, its loss over some pairs and, by automatic differentiation, the
derivative by the policy's log-probability of each action token. Nothing here is shared with the engine: each loss is
written as its paper has it, on whole trajectories with masks, where the engine gets the data form that trains it.
"""
import json
import os
import random
import sys

import torch

torch.set_default_dtype(torch.float64)
rng = random.Random(20240625)
POLICY, FIRST, SECOND = "logps", "reference_logps", "reference2_logps"


# ---- trajectories ----

def log_probability(mean):
    """Exact in f32."""
    return -round(rng.uniform(0.1, 2 * mean) * 4096) / 4096


def trajectory(prompt, turns, observation=2, like=None, shared=0):
    """prompt: ids. turns: lengths. The first `shared` turns and what stands between are those of `like`."""
    ids, spans = list(prompt), []
    for t, n in enumerate(turns):
        if t:
            ids += [rng.randrange(50, 90) for _ in range(observation)]
        spans.append([len(ids), len(ids) + n])
        ids += [rng.randrange(10, 50) for _ in range(n)]
    side = {"ids": ids, "turns": spans}
    common = 0
    if like:
        common = like["turns"][shared - 1][1] + observation if shared else len(prompt)
        ids[:common] = like["ids"][:common]
        while common < min(len(ids), len(like["ids"])) and ids[common] == like["ids"][common]:
            common += 1  # by chance
    for key, mean in ((POLICY, 1.2), (FIRST, 1.0), (SECOND, 1.1)):
        x = [log_probability(mean) for _ in ids]
        x[:common] = like[key][:common] if like else []
        side[key] = x
    return side


def actions(side, turns=None):
    """Positions of the action tokens, of some turns."""
    return [i for t, (a, b) in enumerate(side["turns"]) if turns is None or t in turns for i in range(a, b)]


def tensors(pairs):
    """The policy's log-probabilities of both sides as leaves, in place of the lists."""
    return [{s: torch.tensor(p[s][POLICY], requires_grad=True) for s in ("chosen", "rejected")} for p in pairs]


def total(x, side, key=None, turns=None):
    """Sum over the action tokens: of the tensor x, or of a reference."""
    x = x if key is None else torch.tensor(side[key])
    return x[actions(side, turns)].sum()


# ---- the papers' losses; x: tensors(pairs) ----

def nll(pairs, x):
    """SFT, and RFT on the trajectories that succeeded: mean over all action tokens."""
    return -sum(total(x[i]["chosen"], p["chosen"]) for i, p in enumerate(pairs)) / sum(
        len(actions(p["chosen"])) for p in pairs)


def dpo(pairs, x, beta, reference=FIRST, turns=(None, None)):
    """arXiv 2305.18290; y is what the agent said. turns: which ones count, of chosen and rejected."""
    loss = 0
    for i, p in enumerate(pairs):
        h = [total(x[i][s], p[s], None, k) - total(None, p[s], reference, k)
             for s, k in zip(("chosen", "rejected"), turns)]
        loss -= torch.nn.functional.logsigmoid(beta * (h[0] - h[1]))
    return loss / len(pairs)


def phi(gamma, t, n):
    """arXiv 2406.14868, equations 14 and 15."""
    return gamma ** t * (1 - gamma ** (n - t)) / (1 - gamma ** n)


def phi_of(side, gamma, by):
    """For each action token, in order."""
    if by == "turn":
        return [phi(gamma, t, len(side["turns"])) for t, (a, b) in enumerate(side["turns"]) for _ in range(a, b)]
    n = len(actions(side))
    return [phi(gamma, i, n) for i in range(n)]


def weighted(x, side, key, gamma, by):
    x = x if key is None else torch.tensor(side[key])
    return (torch.tensor(phi_of(side, gamma, by)) * x[actions(side)]).sum()


def dmpo(pairs, x, beta, gamma, by):
    loss = 0
    for i, p in enumerate(pairs):
        h = [weighted(x[i][s], p[s], None, gamma, by) - weighted(None, p[s], FIRST, gamma, by)
             for s in ("chosen", "rejected")]
        loss -= torch.nn.functional.logsigmoid(beta * (h[0] - h[1]))
    return loss / len(pairs)


def mismatched_kl(mismatched):
    """arXiv 2402.01306: max(0, mean of log pi - log pi_ref over prompts with other prompts' outputs); a constant."""
    r = [total(torch.tensor(m[s][POLICY]), m[s]) - total(None, m[s], FIRST) for m in mismatched
         for s in ("chosen", "rejected")]
    return max(0.0, float(sum(r)) / len(r))


def kto(pairs, x, beta, kl, desirable, undesirable):
    """arXiv 2402.01306: mean of lambda_y - v(x, y) over desirable and undesirable trajectories."""
    loss = 0
    for i, p in enumerate(pairs):
        r = {s: total(x[i][s], p[s]) - total(None, p[s], FIRST) for s in ("chosen", "rejected")}
        loss += desirable - desirable * torch.sigmoid(beta * (r["chosen"] - kl))
        loss += undesirable - undesirable * torch.sigmoid(beta * (kl - r["rejected"]))
    return loss / (2 * len(pairs))


def mrpo(pairs, x, beta, alpha, pairing, trust_region, gamma=None):
    """arXiv 2405.16388; alpha None: adaptive. gamma: on DMPO's weighted sums in place of sums. Also says how often the
    second reference was clipped."""
    def of(x, side, key):
        return total(x, side, key) if gamma is None else weighted(x, side, key, gamma, "turn")

    loss, clips = 0, 0
    for i, p in enumerate(pairs):
        sides = ("chosen", "rejected")
        one, two = ({s: float(of(None, p[s], key)) for s in sides} for key in (FIRST, SECOND))
        gap_1, gap_2 = abs(one["chosen"] - one["rejected"]), abs(two["chosen"] - two["rejected"])
        a_2 = gap_2 / (gap_1 + gap_2) if alpha is None else alpha
        w_1, w_2 = (1 - a_2, a_2) if pairing == "own" else (a_2, 1 - a_2)
        mean = {s: abs((one[s] + two[s]) / 2) for s in sides}
        h = {}
        for s in sides:
            e = trust_region * mean[s] / (mean["chosen"] + mean["rejected"])
            second = min(max(two[s], one[s] * (1 + e)), one[s] * (1 - e))
            clips += second != two[s]
            mixture = -torch.log(w_1 * torch.exp(torch.tensor(-one[s])) + w_2 * torch.exp(torch.tensor(-second)))
            h[s] = of(x[i][s], p[s], None) - mixture
        loss -= torch.nn.functional.logsigmoid(beta * (h["chosen"] - h["rejected"]))
    return loss / len(pairs), clips


# ---- cases ----

def case(name, method, paper, options, loss, x, pairs, chosen=None, rejected=None, **more):
    """pairs: the data's. chosen, rejected: positions whose derivatives are listed; the others must have none."""
    loss.backward()
    out = {"name": name, "method": method, "paper": paper, "options": options, "loss": loss.item(), **more}
    for s, positions in (("chosen", chosen), ("rejected", rejected)):
        lists = []
        for i, p in enumerate(pairs):
            at = positions[i] if positions else actions(p[s])
            g = x[i][s].grad
            g = torch.zeros(len(p[s]["ids"])) if g is None else g
            rest = set(range(len(g))) - set(at)
            assert all(float(g[k]) == 0 for k in rest), name  # observations and prompts are masked
            lists.append([float(g[k]) for k in at])
        out[s] = lists
    return out


def stripped(pairs):
    keys = ("ids", "turns", POLICY, FIRST, SECOND)
    return [{"id": p["id"], **{s: {k: p[s][k] for k in keys} for s in ("chosen", "rejected")}} for p in pairs]


def whole():
    """Whole trajectories: everything but the forms that cut them."""
    def pair(name, prompt, chosen, rejected, shared=0):
        c = trajectory(prompt, chosen)
        return {"id": name, "chosen": c, "rejected": trajectory(prompt, rejected, like=c, shared=shared)}

    one, two, three = [1, 5, 6, 7], [1, 5, 8], [1, 5, 6, 7, 7, 2]
    pairs = [pair("a", one, [3, 2, 4], [3, 1, 2, 5], shared=1), pair("b", two, [2], [3, 3]),
             pair("c", two, [4, 1], [4, 2, 3], shared=1), pair("d", three, [2, 2, 2, 1], [5])]
    # The next item whose prompt is another: b and c have one prompt.
    mismatched = []
    for i, j in enumerate([1, 3, 3, 0]):
        m = {"id": pairs[i]["id"]}
        for s in ("chosen", "rejected"):
            p, t = pairs[i][s], pairs[j][s]
            n, b = p["turns"][0][0], t["turns"][0][0]
            m[s] = {"ids": p["ids"][:n] + t["ids"][b:], "turns": [[u - b + n, v - b + n] for u, v in t["turns"]]}
        common = 0
        while common < min(len(m[s]["ids"]) for s in ("chosen", "rejected")) and \
                m["chosen"]["ids"][common] == m["rejected"]["ids"][common]:
            common += 1
        near = 2.4 if i == 3 else 1.0  # of d's the reference thinks more than the policy: no divergence
        for key, mean in ((POLICY, near), (FIRST, 1.7), (SECOND, 1.1)):
            for s in ("chosen", "rejected"):
                m[s][key] = [log_probability(mean) for _ in m[s]["ids"]]
            m["rejected"][key][:common] = m["chosen"][key][:common]
        mismatched.append(m)
    cases = []

    def add(name, method, paper, options, f, among=(0, 1, 2, 3), **more):
        some = [pairs[i] for i in among]
        x = tensors(some)
        loss = f(some, x)
        loss, clips = loss if isinstance(loss, tuple) else (loss, None)
        if clips is not None:
            more["clipped"] = clips
        cases.append(case(name, method, paper, {"among": list(among), **options}, loss, x, some, **more))

    add("sft", "SFT", "arXiv 2406.14868", {"objective": "sft"}, nll)
    add("rft", "RFT", "arXiv 2308.01825", {"objective": "sft"}, nll, among=(0, 3))  # b and c have failed
    add("dpo", "DPO", "arXiv 2305.18290", {"objective": "dpo", "beta": 0.1}, lambda p, x: dpo(p, x, 0.1))
    add("m-dpo", "M-DPO", "arXiv 2409.02392", {"objective": "dpo", "beta": 0.5}, lambda p, x: dpo(p, x, 0.5))
    add("eto iteration 2", "ETO", "arXiv 2403.02502", {"objective": "dpo", "beta": 0.1, "reference": SECOND},
        lambda p, x: dpo(p, x, 0.1, SECOND))
    for gamma in (0.1, 0.7, 0.95):
        add(f"dmpo gamma {gamma}", "DMPO", "arXiv 2406.14868", {"objective": "dmpo", "beta": 0.1, "gamma": gamma},
            lambda p, x, g=gamma: dmpo(p, x, 0.1, g, "turn"))
        add(f"dmpo-token gamma {gamma}", "DMPO token-wise", "arXiv 2406.14868",
            {"objective": "dmpo-token", "beta": 0.3, "gamma": gamma}, lambda p, x, g=gamma: dmpo(p, x, 0.3, g, "token"))
    for among in ((0, 1, 2, 3), (1, 3), (3,)):
        kl = mismatched_kl([mismatched[i] for i in among])
        for beta, d, u in ((0.1, 1, 1), (0.5, 1.5, 0.75)):
            add(f"m-kto beta {beta} among {len(among)}", "M-KTO", "arXiv 2409.02392",
                {"objective": "kto", "beta": beta, "desirable_weight": d, "undesirable_weight": u},
                lambda p, x, b=beta, k=kl, d=d, u=u: kto(p, x, b, k, d, u), among=among, kl=kl)
    assert any(c.get("kl") == 0 for c in cases) and any(c.get("kl", 0) > 0 for c in cases)
    for mode, alpha in (("fixed", 0.3), ("fixed", 0.0), ("fixed", 1.0), ("adaptive", 0.5)):
        for pairing in ("own", "crossed"):
            for region in (0, 0.5, 100):
                add(f"mrpo {mode} {alpha} {pairing} within {region}", "MRPO", "arXiv 2405.16388",
                    {"objective": "dpo", "beta": 0.1, "alpha_mode": mode, "alpha": alpha, "alpha_pairing": pairing,
                     "trust_region": region},
                    lambda p, x, a=None if mode == "adaptive" else alpha, w=pairing, r=region: mrpo(p, x, 0.1, a, w, r))
    clipped = [c["clipped"] for c in cases if "clipped" in c]
    assert min(clipped) == 0 and any(0 < c < 8 for c in clipped)  # of four pairs' sides
    add("mrpo on dmpo's sums", "MRPO", "ours",
        {"objective": "dmpo", "beta": 0.1, "gamma": 0.7, "alpha_mode": "adaptive", "alpha": 0.5, "alpha_pairing": "own",
         "trust_region": 0.5}, lambda p, x: mrpo(p, x, 0.1, None, "own", 0.5, gamma=0.7))
    return {"pairs": stripped(pairs), "mismatched": stripped(mismatched), "cases": cases}


def cut(side, first, turns):
    """A data form: what is after the last of `turns` is dropped, what is before the first one is prompt."""
    spans = side["turns"][first:first + turns]
    n = spans[-1][1]
    return {"ids": side["ids"][:n], "turns": spans, **{k: side[k][:n] for k in (POLICY, FIRST, SECOND)}}


def parts(name, method, paper, shapes):
    """shapes: turns of chosen, of rejected, the first differing turn, how many turns count."""
    full, pairs = [], []
    for i, (chosen, rejected, first, count) in enumerate(shapes):
        prompt = [1, 5, 20 + i]
        c = trajectory(prompt, chosen)
        r = trajectory(prompt, rejected, like=c, shared=first)
        full.append({"chosen": c, "rejected": r})
        pairs.append({"id": f"{name} {i}", "chosen": cut(c, first, count), "rejected": cut(r, first, count)})
    cases = []
    for beta in (0.1, 0.5):
        x = tensors(full)
        counted = [range(first, first + count) for _, _, first, count in shapes]
        loss = sum(dpo([p], [x[i]], beta, turns=(counted[i], counted[i])) for i, p in enumerate(full)) / len(full)
        positions = {s: [actions(p[s], counted[i]) for i, p in enumerate(full)] for s in ("chosen", "rejected")}
        cases.append(case(f"{name} beta {beta}", method, paper,
                          {"among": list(range(len(pairs))), "objective": "dpo", "beta": beta}, loss, x, full,
                          **positions))
    return {"pairs": stripped(pairs), "cases": cases}


def write(path, data):
    def lines(items):
        return "[\n  " + ",\n  ".join(json.dumps(x) for x in items) + "\n ]"
    with open(path, "w") as f:
        f.write("{" + ",\n".join(f' "{k}": {lines(v)}' for k, v in data.items()).lstrip() + "}\n")


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "golden-methods")
    write(os.path.join(out, "whole.json"), whole())
    # Segments of equal turn count from the first differing turn (arXiv 2501.01821).
    write(os.path.join(out, "segment.json"),
          parts("sdpo", "SDPO", "arXiv 2501.01821", [([2, 3, 2, 4], [2, 3, 3], 1, 2), ([3, 1, 2], [3, 2, 2, 2], 1, 1),
                                                     ([2, 2, 3, 1], [2, 2, 1, 4], 2, 2)]))
    # One step after the correct ones (arXiv 2406.18629).
    write(os.path.join(out, "step.json"),
          parts("step-dpo", "Step-DPO", "arXiv 2406.18629", [([2, 3, 4], [2, 3, 2], 2, 1), ([4], [3], 0, 1)]))


if __name__ == "__main__":
    main()
