#!/usr/bin/env python3
"""A DMPO training step of dmpo and of PyTorch, side by side in one run.

    BUILD=DIR python3 bench/peers/step.py [--shapes 260k,15m,135m] [--length 512] [--prefix 0] [--threads 2]
                                          [--rounds 2] [--compile]
                                          [--contestants dmpo,dmpo-bf16,authors,optimised,autocast]

Each step is whole: a pair of --length tokens a side (7 turns, the last 30 % of each the agent's) forward, loss,
backward, clipping, AdamW of every parameter, f32. The contestants, in turns, each in a process of its own:
    dmpo       BUILD/bench/step
    dmpo-bf16  the same with --precision bf16
    authors    as the authors' trainer does it: policy and reference forward, logits for every position
    optimised  reference log-probabilities cached, logits only where an action token is predicted
    autocast   optimised, under torch.autocast in bf16
The sides have nothing in common, but for the first --prefix tokens, which dmpo computes once.
With DMPO_BENCH_CPU set and --threads 1, seconds are processor time: for a machine that others use too.
JSON lines on stdout, a table on stderr; peak memory is the process's, and for PyTorch also what it has above the
imports. The two PyTorch forms are checked to give the same losses. --contestants names those to run (dmpo is always
one), for a machine that is free for a few minutes only.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

SHAPES = {
    "260k": dict(hidden_size=64, intermediate_size=172, num_hidden_layers=5, num_attention_heads=8,
                 num_key_value_heads=4, vocab_size=512),
    "15m": dict(hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6,
                num_key_value_heads=6, vocab_size=32000),
    "135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                 num_key_value_heads=3, vocab_size=49152),
}
TURNS, GAMMA, BETA = 7, 0.7, 0.1
NAMES = ["dmpo", "dmpo-bf16", "authors", "optimised", "autocast"]
clock = time.process_time if os.environ.get("DMPO_BENCH_CPU") else time.perf_counter


# ---- a PyTorch contestant, in its own process ----

def make_pair(torch, length, prefix, vocabulary):
    """ids [2, length]; which tokens are predicted actions and their weight phi [2, length - 1]."""
    ids = torch.randint(0, vocabulary, (2, length), generator=torch.Generator().manual_seed(1))
    ids[1, :prefix] = ids[0, :prefix]
    mask, phi, turn = torch.zeros(2, length, dtype=torch.bool), torch.zeros(2, length), length // TURNS
    for t in range(TURNS):
        begin, end = t * turn + turn * 7 // 10, (t + 1) * turn
        mask[:, begin:end] = True
        phi[:, begin:end] = GAMMA**t * (1 - GAMMA ** (TURNS - t)) / (1 - GAMMA**TURNS)
    return ids, mask[:, 1:], phi[:, 1:]


def scores(model, ids, mask, phi, optimised):
    """The weighted sum of log-probabilities of each side."""
    target = ids[:, 1:]
    if not optimised:
        logp = model(ids, use_cache=False).logits[:, :-1].log_softmax(-1).gather(2, target[..., None])[..., 0]
        return (logp * mask * phi).sum(-1)
    hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1][mask]
    logp = model.lm_head(hidden).log_softmax(-1).gather(1, target[mask][:, None])[:, 0] * phi[mask]
    side = mask.nonzero()[:, 0]
    return logp.new_zeros(2).index_add(0, side, logp)


def contestant(a):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    optimised = a.contestant != "authors"
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=a.contestant == "autocast")
    config = LlamaConfig(**SHAPES[a.shapes], max_position_embeddings=8192, tie_word_embeddings=True)
    policy = LlamaForCausalLM(config)
    reference = None if optimised else LlamaForCausalLM(config)
    if reference:
        reference.load_state_dict(policy.state_dict())
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6, weight_decay=0.0, fused=True)
    ids, mask, phi = make_pair(torch, a.length, a.prefix, config.vocab_size)
    with torch.no_grad(), autocast:
        cached = scores(policy, ids, mask, phi, True) if optimised else None
    run = torch.compile(scores) if a.compile else scores

    def step():
        with torch.no_grad():
            ref = cached if optimised else run(reference, ids, mask, phi, False)
        with autocast:
            lp = run(policy, ids, mask, phi, optimised)
        loss = -torch.nn.functional.logsigmoid(BETA * ((lp[0] - ref[0]) - (lp[1] - ref[1])))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    losses, times = [step()], []
    while len(times) < 3 or sum(times) < a.seconds:
        start = clock()
        losses.append(step())
        times.append(clock() - start)
    print(json.dumps(dict(seconds=times, losses=losses[:4], torch=torch.__version__, imports_mib=imports,
                          peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)))


# ---- the contest ----

def run_torch(a, shape, name):
    command = [sys.executable, os.path.abspath(__file__), "--contestant", name, "--shapes", shape, "--length", a.length,
               "--prefix", a.prefix, "--threads", a.threads, "--seconds", a.seconds] + (["--compile"] if a.compile else [])
    out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, encoding="utf-8", check=True).stdout
    return json.loads(out.splitlines()[-1])


def run_dmpo(a, shape, precision):
    command = [os.path.join(os.environ.get("BUILD", "build"), "bench", "step"), "--shape", shape, "--length", a.length,
               "--prefix", a.prefix, "--threads", a.threads, "--seconds", a.seconds, "--precision", precision]
    out = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8",
                         check=True).stdout
    r = json.loads(out.splitlines()[-1])
    return dict(r, seconds=[r["seconds"]])


def contest(a, shape):
    names, own = a.contestants, {"dmpo": "f32", "dmpo-bf16": "bf16"}
    ours = {}
    seconds, peaks, above, losses = {n: [] for n in names}, dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), {}
    for _ in range(a.rounds):
        for n in names:
            r = run_dmpo(a, shape, own[n]) if n in own else run_torch(a, shape, n)
            seconds[n].append(statistics.median(r["seconds"]))
            peaks[n] = max(peaks[n], r["peak_mib"])
            above[n] = max(above[n], r["peak_mib"] - r.get("imports_mib", 0))
            losses[n] = r.get("losses")
            if n in own:
                ours[n] = r
            else:
                version = r["torch"]
    if "authors" in names and "optimised" in names:
        difference = max(abs(x - y) for x, y in zip(losses["authors"], losses["optimised"]))
        if not difference < 1e-3:
            sys.exit(f"step.py: {shape}: the two PyTorch forms differ in loss by {difference}")
    median = {n: statistics.median(s) for n, s in seconds.items()}
    for n in names:
        line = dict(bench="step-peers", contestant=n, machine=ours["dmpo"]["machine"], isa=ours["dmpo"]["isa"], torch=version,
                    shape=shape, length=a.length, prefix=a.prefix, threads=a.threads, compile=a.compile, rounds=a.rounds,
                    seconds=round(median[n], 5), low=round(min(seconds[n]), 5), high=round(max(seconds[n]), 5),
                    tokens_per_second=round(2 * a.length / median[n], 1), peak_mib=round(peaks[n], 1),
                    above_imports_mib=round(above[n], 1), times_dmpo=round(median[n] / median["dmpo"], 2),
                    memory_times_dmpo=round(peaks[n] / peaks["dmpo"], 2))
        if n in own:
            line.update(share_of_peak=ours[n]["share"], gflops=ours[n]["gflops"])
        print(json.dumps(line), flush=True)
        print(f"{shape:<5} {n:<10} {1e3 * median[n]:9.1f} ms  ({1e3 * min(seconds[n]):.1f}-{1e3 * max(seconds[n]):.1f})"
              f"  {2 * a.length / median[n]:8.0f} tokens/s  {peaks[n]:8.1f} MiB ({above[n]:.1f})"
              f"   x{line['times_dmpo']:.2f} time  x{line['memory_times_dmpo']:.2f} memory"
              + (f"   {100 * ours[n]['share']:.1f} % of peak" if n in own else ""), file=sys.stderr, flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shapes", default="260k,15m,135m")
    p.add_argument("--length", type=int, default=512)
    p.add_argument("--prefix", type=int, default=0, help="tokens that both sides begin with")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=2, help="each contestant runs this often, in turns")
    p.add_argument("--seconds", type=float, default=5, help="budget of a contestant in a round, three steps at least")
    p.add_argument("--compile", action="store_true", help="torch.compile for PyTorch")
    p.add_argument("--contestants", type=lambda x: x.split(","), default=NAMES, help="those to run, in this order")
    p.add_argument("--contestant", choices=["authors", "optimised", "autocast"], help=argparse.SUPPRESS)
    a = p.parse_args()
    unknown = [s for s in a.shapes.split(",") if s not in SHAPES]
    if unknown:
        p.error(f"no shape '{unknown[0]}'; legal: {', '.join(SHAPES)}")
    if a.contestants[0] != "dmpo" or not set(a.contestants) <= set(NAMES):
        p.error(f"--contestants: dmpo first; legal: {', '.join(NAMES)}")
    if a.contestant:
        return contestant(a)
    for shape in a.shapes.split(","):
        contest(a, shape)


if __name__ == "__main__":
    main()
