#!/usr/bin/env python3
"""Honest traces, of which `dmpo check` must call none wrong, and what fixed tolerances say of them and of mistakes.

    python3 tests/tools/honest_traces.py DMPO [COUNT [FIRST]]        (needs torch; DMPO: the command; default 1000 from 1)

Models of five architectures with random shapes, weights, items and objectives (seed FIRST and on), run by the port of
docs/examples/port in float64, float32, with inputs of products rounded as by TF32, in bfloat16 and float16, with
subnormal numbers flushed, with PyTorch's fused kernels for norms and attention, and with a fifth of the activations left
out; and in double precision against which the two rules of thumb are judged: cosine above 0.999, relative error below
1e-3, for every tensor.
Prints a table; ends with status 1 when an honest trace is called wrong or suspicious.
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import zlib

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


def wide_norm(self, name, x):
    """As published models have it: the squares of float16 numbers may be too large for float16."""
    w = self.w[name].float()
    x32 = x.float()
    x32 = x32 * torch.rsqrt(x32.pow(2).mean(-1, keepdim=True) + self.eps)
    return (x32 * (1 + w if self.type == "gemma3_text" else w)).to(x)


def fused_norm(self, name, x):
    w = self.w[name]
    return step.F.rms_norm(x, x.shape[-1:], 1 + w if self.type == "gemma3_text" else w, self.eps)


def fused_attention(self, t, name, q, k, v, mask):
    """Neither maximum nor log-sum-exp is to be had of it."""
    scale = (self.c.get("query_pre_attn_scalar") or self.dim) ** -0.5
    q, k, v = (x.transpose(0, 1)[None] for x in (q, k, v))
    out = step.F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=True)
    return t.keep(name + ".attn.out", out[0].transpose(0, 1).flatten(1))


def put_some(self, name, tensor):
    """Leaves out a fifth of the activations."""
    if not name.startswith("item.") or name.endswith("ids") or zlib.crc32(f"{name} {list(tensor.shape)}".encode()) % 5:
        PUT(self, name, tensor)


def arithmetic(kind):
    """Turns the port to that kind."""
    step.Trace.put = put_some if kind == "parts" else PUT
    torch.set_flush_denormal(kind == "flushed")
    step.F.linear = tf32_linear if kind == "tf32" else LINEAR
    step.Model.norm = fused_norm if kind.startswith("fused") else wide_norm if kind == "f16" else NORM
    step.Model.attention = fused_attention if kind.startswith("fused") else ATTENTION


def shape(draw):
    """A model's shape, and the lengths of its items."""
    dim, kv, group = draw.choice((4, 8, 16)), draw.choice((1, 2, 3)), draw.choice((1, 2, 4))
    bug_traces.SHAPE.update(hidden_size=8 * draw.randint(2, 12), intermediate_size=4 * draw.randint(3, 60), head_dim=dim,
                            num_attention_heads=kv * group, num_key_value_heads=kv, vocab_size=draw.randint(20, 400),
                            num_hidden_layers=2, sliding_window=draw.randint(2, 12))
    return [(draw.randint(7, 60), draw.randint(7, 60)) for _ in range(draw.randint(1, 3))]


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


LINEAR, NORM, ATTENTION, PUT = step.F.linear, step.Model.norm, step.Model.attention, step.Trace.put
KINDS = dict(f64="float64", f32="float32", tf32="float32", bf16="bfloat16", f16="float16", flushed="float32",
             fused="float32", fused_bf16="bfloat16", parts="float32")
COLUMNS = "traces", "wrong", "suspicious", "not decidable", "cosine", "1e-3", "sound operations"


def honest(dmpo, count, first, work):
    """A table of COLUMNS for each kind."""
    trace, truth, case = (os.path.join(work, n) for n in ("trace", "truth", "case"))
    table, names, seed = {k: [0] * len(COLUMNS) for k in KINDS}, list(bug_traces.CASES), first
    while sum(t[0] for t in table.values()) < count:
        draw = random.Random(seed)
        name, sides, scale = names[seed % len(names)], shape(draw), draw.choice((0.02, 0.1, 0.4))
        bug_traces.tiny(name, case, seed, sides, scale)
        method = ["--items", str(len(sides)), "--method", draw.choice(("dmpo", "dpo", "sft"))]
        method += ["--lora", "3"] if draw.random() < 0.25 else []
        arithmetic("f64")
        run(case, truth, method + ["--dtype", "float64"])
        for kind in list(KINDS)[:count - sum(t[0] for t in table.values())]:
            arithmetic(kind)
            run(case, trace, method + ["--dtype", KINDS[kind]] + (["--inputs", "tf32"] if kind == "tf32" else []))
            arithmetic("f64")
            v, (cosine, relative), row = verdict(dmpo, trace), rules(trace, truth), table[kind]
            for i, n in enumerate([1, v["wrong"], v["suspicious"], v["not_decidable"], cosine, relative]):
                row[i] += n > 0
            row[6] += v["sound"]
            if v["wrong"] or v["suspicious"]:
                print(kind, name, seed, method, v["first_wrong"], flush=True)
        seed += 1
    return table


def mistakes(dmpo, work):
    """How many mistakes there are, and of these how many `check`, the cosine and the relative error miss."""
    trace, truth, case = (os.path.join(work, n) for n in ("trace", "truth", "case"))
    names = [l.split()[0] for l in open(os.path.join(bug_traces.HERE, "..", "data", "bugs", "expected.txt"))]
    missed = [0, 0, 0]
    bug_traces.SHAPE.update(SMALL)
    for name in names:
        bug_traces.tiny(bug_traces.WHERE.get(name, "llama"), case)
        options = bug_traces.options_of(name)
        run(case, truth, options + ["--dtype", "float64"])
        run(case, trace, options, [name])
        for i, found in enumerate((verdict(dmpo, trace)["wrong"] > 0, *rules(trace, truth))):
            missed[i] += not found
    return [len(names)] + missed


SMALL = dict(bug_traces.SHAPE)


def main():
    dmpo, count, first = sys.argv[1], *(int(x) for x in sys.argv[2:4] + ["1000", "1"][len(sys.argv) - 2:])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as work:
        table = honest(dmpo, count, first, work)
        print(" | ".join(("arithmetic",) + COLUMNS))
        for kind, row in table.items():
            print(" | ".join(str(x) for x in [kind] + row))
        print("%d mistakes, missed: check %d, cosine %d, 1e-3 %d" % tuple(mistakes(dmpo, work)))
    sys.exit(any(r[1] or r[2] for r in table.values()))


main()
