#!/usr/bin/env python3
"""Adapters that dmpo trained, opened by PEFT and transformers, and adapters that PEFT wrote, opened by dmpo.

    BUILD=DIR SRC=DIR python3 tests/python/interop_lora.py [BUILD]

Adapters that dmpo wrote for llama.cpp, opened by the gguf package. Needs torch, transformers, peft, safetensors, gguf. One line a figure; ends with "interop_lora: N passed, N failed".
"""
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BUILD", "build"))
SRC = os.path.abspath(os.environ.get("SRC", os.path.join(os.path.dirname(__file__), "..", "..")))
LIMIT = 1e-4  # absolute, of a turn's log-probability, tens of nats: f32 against f64
CASES = {
    "llama-tied-gqa": ["--lora-rank", "5"],
    "mistral-window": ["--lora-rank", "2", "--lora-targets", "q,k,v,o", "--lora-alpha", "3"],
    "qwen2-bias": ["--lora-rank", "8", "--lora-stabilised"],
    "qwen3-qknorm": ["--lora-rank", "1", "--lora-targets", "gate,up,down"],
}
passed = failed = 0


def check(ok, message):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED:", message)


def dmpo(*args):
    r = subprocess.run([os.path.join(BUILD, "dmpo"), *map(str, args), "--threads", "2", "--quiet"],
                       capture_output=True, encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"dmpo {' '.join(map(str, args))}: status {r.returncode}: {r.stderr.strip()[-800:]}")
    return r.stdout


def base_of(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation="eager")


def turn_logps(model, side):
    with torch.no_grad():
        logp = model(torch.tensor([side["ids"]])).logits[0].log_softmax(-1)
    return [sum(logp[i - 1, side["ids"][i]].item() for i in range(begin, end)) for begin, end in side["turns"]]


def compare(what, model, adapter, base, data):
    """dmpo score of adapter and base against their models."""
    lines = [json.loads(l) for l in dmpo("score", "--model", adapter, "--reference", base, "--data", data).splitlines()]
    sides = [p[s] for p in json.load(open(data))["pairs"] for s in ("chosen", "rejected")]
    check(len(lines) == len(sides) > 0, f"{what}: {len(lines)} trajectories")
    for key, context in (("logp", None), ("reference_logp", model.disable_adapter())):
        with context or torch.no_grad():
            worst = max(abs(t[key] - w) for l, s in zip(lines, sides) for t, w in zip(l["turns"], turn_logps(model, s)))
        print(f"{what + ' ' + key:<60} {worst:.2e} (limit {LIMIT:.0e})")
        check(worst <= LIMIT, f"{what}: {key} is off by {worst}")


def compare_gguf(what, model, adapter, work):
    """The GGUF adapter's products beside PEFT's: every change of a weight, the rows of q and k in llama.cpp's order."""
    from gguf import GGUFReader
    path, config = os.path.join(work, "adapter.gguf"), model.get_base_model().config
    dmpo("convert", adapter, "--output", path)
    reader = GGUFReader(path)
    fields = {k: f.contents() for k, f in reader.fields.items()}
    check(fields["general.type"] == "adapter" and fields["adapter.type"] == "lora", f"{what}: {fields}")
    tensors = {t.name: torch.from_numpy(t.data.copy()).double() for t in reader.tensors}
    names = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
             "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj"}
    worst, changed = 0, 0
    for name in sorted(n for n in tensors if n.endswith(".lora_a")):
        _, layer, part, _, _ = name.split(".")
        a, b = tensors[name], tensors[name[:-1] + "b"]
        got = b @ a * (fields["adapter.lora.alpha"] / b.shape[1])
        module = model.get_submodule(f"base_model.model.model.layers.{layer}.{names[part]}")
        want = module.get_delta_weight("default")
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(part)
        if heads and fields["general.architecture"] == "llama":
            want = want.reshape(heads, 2, -1, want.shape[1]).swapaxes(1, 2).reshape(want.shape)
        worst, changed = max(worst, (got - want).abs().max().item()), max(changed, want.abs().max().item())
    check(len(tensors) == 2 * sum(hasattr(m, "lora_A") for m in model.modules()), f"{what}: {len(tensors)} tensors")
    print(f"{what + ' in GGUF':<60} {worst:.2e} of {changed:.2e} (limit 1e-6)")
    check(worst <= 1e-6 < changed, f"{what}: GGUF off by {worst}")


def main():
    torch.manual_seed(0)
    for case, options in CASES.items():
        base, data = (os.path.join(SRC, "tests/golden", case, n) for n in ("model", "case.json"))
        with tempfile.TemporaryDirectory() as work:
            ours, theirs = os.path.join(work, "ours"), os.path.join(work, "theirs")
            dmpo("train", "--model", base, "--data", data, "--output", ours, "--steps", 6, "--batch", 3, "--lr", 0.01,
                 *options)
            opened = PeftModel.from_pretrained(base_of(base), ours)
            compare(f"{case}: dmpo's", opened, ours, base, data)
            if case != "mistral-window":  # which llama.cpp has no form for
                compare_gguf(f"{case}: dmpo's", opened, ours, work)
            model = get_peft_model(base_of(base), LoraConfig(r=3, lora_alpha=7, bias="none", lora_dropout=0.0,
                                                             target_modules="all-linear", task_type="CAUSAL_LM"))
            for p in model.parameters():
                if p.requires_grad:
                    p.data = (torch.randn(p.shape) * 0.1).bfloat16().double()
            model.bfloat16().save_pretrained(theirs)  # exact: they were rounded
            compare(f"{case}: PEFT's, bf16", PeftModel.from_pretrained(base_of(base), theirs).double(), theirs, base, data)
    print(f"interop_lora: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
