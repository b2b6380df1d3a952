#!/usr/bin/env python3
"""Traces of seeded mistakes for tests/shell/bugs.sh: tests/data/bugs/NAME.safetensors and expected.txt.

    python3 tests/tools/bug_traces.py DMPO [DIR]        (needs torch; DMPO: the command)

The port of docs/examples/port runs one step of a tiny model with each of its mistakes planted. Of every trace the tensors
around the first operation that is wrong are kept: its inputs and outputs, and those of the operation before it.
A line of expected.txt is the mistake, the operation, and the name that `dmpo check` must give it (-: none).
"""
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
PORT = os.path.join(HERE, "..", "..", "docs", "examples", "port")
GOLDEN = os.path.join(HERE, "..", "golden")
sys.path.insert(0, PORT)
import step  # noqa: E402

CASES = {"llama": "llama-tied-gqa", "mistral": "mistral-window", "gemma3": "gemma3", "qwen2": "qwen2-bias",
         "qwen3": "qwen3-qknorm"}
WHERE = {"window_plus_one": "mistral", "window_ignored": "mistral", "norm_without_one": "gemma3",
         "embedding_unscaled": "gemma3", "gelu_exact": "gemma3", "bias_missing": "qwen2", "gelu_grad_by_erf": "gemma3",
         "bias_grad_mean": "qwen2"}
SHAPE = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             head_dim=4, vocab_size=24, sliding_window=3)


def tiny(name, out, seed=7, sides=((9, 8), (9, 8)), scale=0.4):
    """A case of that architecture: pairs with sides of so many tokens, random weights."""
    generator = torch.Generator().manual_seed(seed)
    source = os.path.join(GOLDEN, CASES[name])
    config = json.load(open(os.path.join(source, "model", "config.json")))
    config.update({k: v for k, v in SHAPE.items() if k != "sliding_window" or config.get(k)})
    if config.get("layer_types"):
        config["layer_types"] = config["layer_types"][:1] + config["layer_types"][-1:]
    c, width = config, config["head_dim"]
    old = step.read_safetensors(os.path.join(source, "model", "model.safetensors"))
    shapes = {"q_proj": (c["num_attention_heads"] * width, c["hidden_size"]), "embed_tokens": (c["vocab_size"], c["hidden_size"]),
              "k_proj": (c["num_key_value_heads"] * width, c["hidden_size"]), "gate_proj": (c["intermediate_size"], c["hidden_size"]),
              "o_proj": (c["hidden_size"], c["num_attention_heads"] * width), "down_proj": (c["hidden_size"], c["intermediate_size"])}
    shapes.update(v_proj=shapes["k_proj"], up_proj=shapes["gate_proj"], lm_head=shapes["embed_tokens"])
    for which in ("model", "reference"):
        weights = {}
        for key in sorted(old):
            if re.search(r"layers\.([2-9])", key):
                continue
            module = key.split(".")[-2]
            shape = shapes.get(module, (width if module in ("q_norm", "k_norm") else c["hidden_size"],))
            shape = shape[:1] if key.endswith("bias") else shape
            plus = 1.0 if "norm" in key and c["model_type"] != "gemma3_text" else 0.0
            weights[key] = torch.randn(shape, generator=generator) * scale + plus
        os.makedirs(os.path.join(out, which), exist_ok=True)
        write(os.path.join(out, which, "model.safetensors"), weights, {})
    json.dump(config, open(os.path.join(out, "model", "config.json"), "w"))
    pick = lambda n: torch.randint(3, c["vocab_size"], (n,), generator=generator).tolist()
    side = lambda n: dict(ids=[1] + pick(n), turns=[[3, 5], [6, n]])
    json.dump(dict(pairs=[dict(chosen=side(a), rejected=side(b)) for a, b in sides]),
              open(os.path.join(out, "case.json"), "w"))


def write(path, tensors, metadata):
    kinds = {torch.float32: "F32", torch.float64: "F64", torch.int32: "I32"}
    header, data, at = {"__metadata__": metadata} if metadata else {}, [], 0
    for name, t in tensors.items():
        raw = t.contiguous().numpy().tobytes()
        header[name] = dict(dtype=kinds[t.dtype], shape=list(t.shape), data_offsets=[at, at + len(raw)])
        data.append(raw)
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + b"".join(data))


def options_of(bug):
    return ["--lora", "2"] if bug.startswith("lora") else ["--method", "sft"] if bug.startswith("sft") else []


def check(dmpo, path):
    run = subprocess.run([dmpo, "check", "--json", "--all", path], capture_output=True, text=True)
    if run.returncode > 1 or not run.stdout:
        sys.exit(f"{path}: {run.stderr}")
    return json.loads(run.stdout)["operations"]


def prune(path, operations, out):
    """Keeps the tensors around the first operation that is wrong."""
    first = next(i for i, o in enumerate(operations) if o["verdict"] == "wrong")
    keep = {n for o in operations[max(0, first - 1):first + 1] for n in o["inputs"] + o["outputs"]}
    raw = open(path, "rb").read()
    header = json.loads(raw[8:8 + struct.unpack("<Q", raw[:8])[0]])
    manifest = json.loads(header["__metadata__"]["manifest"])
    manifest.pop("tensors", None)
    kinds = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32}
    base, kept = 8 + struct.unpack("<Q", raw[:8])[0], {}
    for name, t in header.items():
        if name != "__metadata__" and name.split("/", 1)[1] in keep:
            a, b = t["data_offsets"]
            kept[name] = torch.frombuffer(bytearray(raw[base + a:base + b]), dtype=kinds[t["dtype"]]).reshape(t["shape"])
    write(out, kept, dict(manifest=json.dumps(manifest, separators=(",", ":"))))
    return operations[first]


def main():
    dmpo, out = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, "..", "data", "bugs")
    os.makedirs(out, exist_ok=True)
    source = open(os.path.join(PORT, "step.py")).read()
    bugs = sorted(set(re.findall(r'bug\("(\w+)"\)', source)), key=source.index)
    torch.set_num_threads(1)
    lines = []
    with tempfile.TemporaryDirectory() as work:
        for name in CASES:
            tiny(name, os.path.join(work, name))
        for bug in bugs:
            step.BUGS.clear()
            trace = os.path.join(work, "trace.safetensors")
            sys.argv = ["step.py", os.path.join(work, WHERE.get(bug, "llama")), trace, "--bug", bug]
            sys.argv += options_of(bug)
            step.main()
            operations = check(dmpo, trace)
            if not any(o["verdict"] == "wrong" for o in operations):
                sys.exit(f"{bug}: nothing is wrong")
            wrong = prune(trace, operations, os.path.join(out, bug + ".safetensors"))
            lines.append(f"{bug} {wrong['operation']} {(wrong['explained_by'] or ['-'])[0]}\n")
            print(lines[-1], end="")
    open(os.path.join(out, "expected.txt"), "w").write("".join(lines))


if __name__ == "__main__":
    main()
