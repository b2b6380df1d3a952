#!/usr/bin/env python3
"""Honest traces, of which `dmpo check` must call none wrong, and what fixed tolerances say of them and of mistakes.

    python3 tests/tools/honest_traces.py DMPO [COUNT]        (needs torch; DMPO: the command; default 1000)

Tiny models of five architectures with random weights, run by the port of docs/examples/port in float64, float32, with
inputs of products rounded as by TF32, in bfloat16 and float16, with subnormal numbers flushed, and in double precision
against which the two rules of thumb are judged: cosine above 0.999, relative error below 1e-3, for every tensor.
Prints a table; ends with status 1 when an honest trace is called wrong.
"""
import json
import os
import subprocess
import sys
import tempfile

import torch

import bug_traces
from bug_traces import step


class Rounded(torch.autograd.Function):
    """x W^T with inputs of 11 bits, as TF32 has them, forward and backward."""

    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return low(x) @ low(w).t()

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return low(g) @ low(w), low(g).t() @ low(x)


def low(x):
    bits = (x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF
    return bits.view(torch.float32)


def tf32_linear(x, w, b=None):
    y = Rounded.apply(x, w)
    return y if b is None else y + b


def run(case, out, options, bug=()):
    step.BUGS.clear()
    sys.argv = ["step.py", case, out] + options + [x for b in bug for x in ("--bug", b)]
    step.main()


def verdict(dmpo, path):
    got = subprocess.run([dmpo, "check", "--json", path], capture_output=True, text=True)
    if got.returncode > 1 or not got.stdout:
        sys.exit(f"{path}: {got.stderr}")
    return json.loads(got.stdout)


def rules(path, truth):
    """Whether each rule of thumb rejects a trace."""
    import struct
    def tensors(p):
        raw = open(p, "rb").read()
        size = struct.unpack("<Q", raw[:8])[0]
        kinds = dict(F32=torch.float32, F64=torch.float64, BF16=torch.bfloat16, F16=torch.float16, I32=torch.int32)
        return {n: torch.frombuffer(bytearray(raw[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]]),
                                    dtype=kinds[t["dtype"]]).double()
                for n, t in json.loads(raw[8:8 + size]).items() if n != "__metadata__" and t["data_offsets"][0] < t["data_offsets"][1]}
    a, b, cosine, relative = tensors(path), tensors(truth), False, False
    for name in a.keys() & b.keys():
        x, y = a[name], b[name]
        if y.norm() == 0 or x.numel() != y.numel():
            continue
        cosine |= not (x @ y / (x.norm() * y.norm()) > 0.999)
        relative |= not ((x - y).norm() / y.norm() < 1e-3)
    return cosine, relative


def main():
    dmpo, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    torch.set_num_threads(1)
    plain, kinds = step.F.linear, ["f64", "f32", "tf32", "bf16", "f16", "flushed"]
    dtype = dict(f64="float64", f32="float32", tf32="float32", bf16="bfloat16", f16="float16", flushed="float32")
    table = {k: [0] * 7 for k in kinds}
    names = list(bug_traces.CASES)
    bugs = [l.split()[0] for l in open(os.path.join(bug_traces.HERE, "..", "data", "bugs", "expected.txt"))]
    with tempfile.TemporaryDirectory() as work:
        trace, truth, case = (os.path.join(work, n) for n in ("trace", "truth", "case"))
        seed = 0
        while sum(t[0] for t in table.values()) < count:
            seed += 1
            name = names[seed % len(names)]
            bug_traces.SHAPE.update(intermediate_size=12 + 4 * (seed % 5), vocab_size=20 + seed % 13)
            bug_traces.tiny(name, case, seed)
            method = ["--method", ["dmpo", "dpo", "sft"][seed % 3]] + (["--lora", "2"] if seed % 4 == 0 else [])
            run(case, truth, method + ["--dtype", "float64"])
            for kind in kinds:
                torch.set_flush_denormal(kind == "flushed")
                step.F.linear = tf32_linear if kind == "tf32" else plain
                run(case, trace, method + ["--dtype", dtype[kind]] + (["--inputs", "tf32"] if kind == "tf32" else []))
                step.F.linear = plain
                torch.set_flush_denormal(False)
                v, (cosine, relative), row = verdict(dmpo, trace), rules(trace, truth), table[kind]
                for i, n in enumerate([1, v["wrong"] > 0, v["suspicious"] > 0, v["not_decidable"] > 0, cosine, relative]):
                    row[i] += bool(n)
                row[6] += v["sound"]
                if v["wrong"]:
                    print(kind, name, seed, method, v["first_wrong"], flush=True)
        print(f"{'traces':10} {'number':>7} {'wrong':>6} {'suspicious':>11} {'not decidable':>14} {'cosine':>7} {'1e-3':>5} {'sound operations':>17}")
        for k, r in table.items():
            print(f"{k:10} {r[0]:7} {r[1]:6} {r[2]:11} {r[3]:14} {r[4]:7} {r[5]:5} {r[6]:17}")
        missed = [0, 0, 0]
        for bug in bugs:
            bug_traces.SHAPE.update(intermediate_size=20, vocab_size=24)
            bug_traces.tiny(bug_traces.WHERE.get(bug, "llama"), case)
            more = ["--lora", "2"] if bug.startswith("lora") else ["--method", "sft"] if bug.startswith("sft") else []
            run(case, truth, more + ["--dtype", "float64"])
            run(case, trace, more, [bug])
            cosine, relative = rules(trace, truth)
            for i, found in enumerate((verdict(dmpo, trace)["wrong"] > 0, cosine, relative)):
                missed[i] += not found
        print(f"{len(bugs)} mistakes, missed: check {missed[0]}, cosine {missed[1]}, 1e-3 {missed[2]}")
    sys.exit(any(r[1] for r in table.values()))


main()
