#!/usr/bin/env python3
"""Expected figures of a report, computed apart from agent/report*.c: reads tests/data/report/results.json and the files
that it names, writes expected.csv (all of results.csv) and expected.md (lines of report.md, in their order) beside it.

    python3 tests/tools/report_golden.py            only the standard library
"""
import json
import math
import os

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "report")
SPLITS = ("train", "seen", "unseen")


def quantile(freedom):
    """Student's t exceeded with probability 1/40: Simpson's rule over the density, then bisection."""
    c = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def inside(t, n=4000):
        f = lambda x: c * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
        step = t / n
        return 2 * step / 3 * sum((1 if k in (0, n) else 4 if k % 2 else 2) * f(k * step) for k in range(n + 1))

    low, high = 0.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < 0.95 else (low, middle)
    return low


def mean(x):
    return math.fsum(x) / len(x)


def deviation(x):
    return math.sqrt(math.fsum((v - mean(x)) ** 2 for v in x) / (len(x) - 1))


def half(x):
    return quantile(len(x) - 1) * deviation(x) / math.sqrt(len(x))


def number(x, decimals, sign=False):
    digits = f"{abs(x):.{decimals}f}"
    return ("\u2212" if x < 0 and float(digits) != 0 else "+" if sign else "") + digits


def value(x, sign=False):
    """Its text, and whether its interval is on one side of zero."""
    m, h = mean(x), half(x)
    return f"{number(m, 3, sign)} \u00b1{h:.3f}", abs(m) > h


def jsonl(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def subject(e):
    return e["env"], e["setting"], e["method"], json.dumps(e["x"])


def text(x):
    return f"{x:g}" if isinstance(x, (int, float)) else x


def csv(results):
    out = ["env,setting,method,kind,sweep,x,seed,split,samples,n,mean,sd,low,high,success,turns"]
    for e in results["evaluations"]:
        r, (key, x) = e["rewards"], next(iter((e["x"] or {"": ""}).items()))
        figures = [mean(r), deviation(r), mean(r) - half(r), mean(r) + half(r), e["success"], e["turns"]]
        out.append(",".join([e["env"], e["setting"] or "", e["method"], e["kind"], key, text(x), str(e["seed"]),
                             e["split"], str(e["samples"]), str(len(r))] + [f"{v:.6f}" for v in figures]))
    return out


def result_rows(results, swept):
    """Rows of the table of methods, or of the sweep's."""
    cells, order = {}, []
    for e in results["evaluations"]:
        if subject(e) not in order:
            order.append(subject(e))
        cells.setdefault((subject(e), e["split"]), []).append(e)

    def by_seed(s, split):
        return {e["seed"]: mean(e["rewards"]) for e in cells.get((s, split), [])}

    def difference(s, base, split):
        a, b = by_seed(s, split), by_seed(base, split)
        return [a[k] - b[k] for k in a if k in b]

    rows = [s for s in order if (s[3] != "null") == swept]
    splits = [k for k in SPLITS if any((s, k) in cells for s in rows)]
    trained = [s for s in rows if cells[(s, splits[-1])][0]["kind"] not in ("expert", "random", "best-of-n")]
    best = {}
    for k in splits:
        rewards = [mean(list(by_seed(s, k).values())) for s in trained if by_seed(s, k)]
        shares = [mean([e["success"] for e in cells[(s, k)]]) for s in trained if (s, k) in cells]
        best[k] = (number(max(rewards), 3) if max(rewards) > min(rewards) else None,
                   number(100 * max(shares), 1) if max(shares) > min(shares) else None)
    out, group = [], None
    for s in sorted(rows, key=lambda s: (s[1] is not None, ["noisy", "clean"].index(s[1]) if s[1] else 0)):
        if s[1] != group:
            group = s[1]
            out.append(f"| **{group}** |" + " |" * (4 * len(splits) + swept))
        line = [s[2]] + ([text(next(iter(json.loads(s[3]).values())))] if swept else [])
        for k in splits:
            reward, _ = value(list(by_seed(s, k).values()))
            share = number(100 * mean([e["success"] for e in cells[(s, k)]]), 1)
            line.append(f"**{reward}**" if s in trained and reward.split()[0] == best[k][0] else reward)
            line.append(f"**{share}**" if s in trained and share == best[k][1] else share)
            for base in (("toy", None, "SFT", "null"), ("toy", s[1], "DPO", "null")):
                x = difference(s, base, k) if base[2] != s[2] else []
                shown, sure = value(x, True) if x else ("", False)
                line.append(f"**{shown}**" if sure else shown)
        out.append("| " + " | ".join(line) + " |")
    return out


def pair_rows(results):
    rows = [p for p in results["pairs"] if p["statistics"]]
    s = [p["statistics"] for p in rows]
    figures = [number(mean([p["pairs"] for p in rows]), 1), number(mean([sum(x["dropped"].values()) for x in s]), 1)]
    for side in ("chosen", "rejected"):
        figures += [number(mean([x[side + "_turns"]["mean"] for x in s]), 2),
                    number(mean([x[side + "_reward"] for x in s]), 3)]
    figures.append(number(mean([x["shared_turns"]["mean"] for x in s]), 2))
    return [f"| DPO | noisy | {' | '.join(figures)} |", "| DPO | clean |" + "  |" * 7]


def example_rows(results):
    """Turns of each pair: the widest margin, the median, the narrowest."""
    scores = jsonl(results["examples"][0]["scores"])
    pairs = jsonl(results["examples"][0]["pairs"])
    episodes = jsonl("stages/toy-explore-s1-111111111111/episodes.jsonl")
    gamma = 0.5
    joined = sorted(zip(pairs, scores[::2], scores[1::2]), key=lambda x: x[2]["reward"] - x[1]["reward"])
    out = []
    for pair, *sides in joined:
        for side, line in zip(("chosen", "rejected"), sides):
            actions = [m["value"] for m in pair[side] if m["from"] == "gpt"]
            known, total = [], len(line["turns"])
            for e in episodes:
                own = [m["value"] for m in e["conversations"][3:] if m["from"] == "gpt"]
                n = 0
                while n < min(len(own), len(actions)) and own[n] == actions[n]:
                    n += 1
                if e["id"].startswith(pair["id"].split(":")[0] + "/") and n > len(known):
                    known = e["scores"][:n]
            for t, action in enumerate(actions):
                words = action.removeprefix("Action: ").replace("|", "\\|").replace("\a", "\u2407")
                code = f"`` {words} ``" if words.endswith("`") else f"`{words}`"
                cells = [str(t), code]
                if t < total:
                    turn = line["turns"][t]
                    phi = gamma ** t * (1 - gamma ** (total - t)) / (1 - gamma ** total)
                    cells += [number(phi, 3), number(turn["logp"] - turn["reference_logp"], 2, True)]
                else:
                    cells += ["cut", ""]
                if known:
                    cells.append(number(known[t], 2) if t < len(known) else "")
                out.append("| " + " | ".join(cells) + " |")
    return out


def main():
    with open(os.path.join(HERE, "results.json"), encoding="utf-8") as f:
        results = json.load(f)
    for name, lines in (("expected.csv", csv(results)),
                        ("expected.md", result_rows(results, False) + result_rows(results, True) + pair_rows(results) +
                         example_rows(results))):
        with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")


main()
