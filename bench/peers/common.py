"""What the comparisons in this folder share: the machine's name, peak memory, and one way of reporting."""
import json
import os
import resource
import statistics
import subprocess
import sys

DMPO = os.path.join(os.environ.get("BUILD", "build"), "dmpo")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        lines = [x.split(":", 1) for x in f.read().split("\n\n")[0].splitlines() if ":" in x]
    info = {k.strip(): v.strip() for k, v in lines}
    return f"{info.get('model name', 'unknown')}, family {info.get('cpu family')}, model {info.get('model')}"


def peak_mib():
    """The largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def dmpo(*arguments):
    """Runs the command and returns what it prints."""
    command = [DMPO, *map(str, arguments), "--quiet"]
    r = subprocess.run(command, capture_output=True, encoding="utf-8")
    if r.returncode:
        sys.exit(f"{' '.join(command[:2])}: {r.stderr.strip()[-500:]}")
    return r.stdout


def contestant(script, name, *arguments):
    """Runs a contestant of `script` in a process of its own; the last line that it prints is its result."""
    command = [sys.executable, os.path.abspath(script), "--contestant", name, *map(str, arguments)]
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    if r.returncode:
        sys.exit(f"{os.path.basename(script)}: {name}: {r.stderr.strip()[-2000:]}")
    return json.loads(r.stdout.splitlines()[-1])


def report(bench, rounds, units, base="dmpo", **facts):
    """A JSON line on stdout and a line of a table on stderr for each contestant.

    rounds: {contestant: [what each of its runs measured]}; units: {figure: unit}. Figures are medians over the runs,
    with the smallest and largest value; `times` is the median, over rounds, of a figure over `base`'s of that round.
    """
    for name, runs in rounds.items():
        line, text = dict(bench=bench, contestant=name, machine=machine(), rounds=len(runs), **facts), []
        for key, unit in units.items():
            values = [r[key] for r in runs if r.get(key) is not None]
            if not values:
                continue
            middle = statistics.median(values)
            line[key] = dict(median=middle, low=min(values), high=max(values))
            text.append(f"{key} {middle:.4g} {unit} ({min(values):.4g}-{max(values):.4g})".replace("  ", " "))
            pairs = [(r[key], b[key]) for r, b in zip(runs, rounds[base]) if r.get(key) is not None and b.get(key)]
            if pairs and name != base:
                line[key]["times"] = round(statistics.median(a / b for a, b in pairs), 4)
                text[-1] += f" x{line[key]['times']:.3g}"
        print(json.dumps(line), flush=True)
        print(f"{name:<16} " + ", ".join(text), file=sys.stderr, flush=True)
