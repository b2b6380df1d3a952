#!/usr/bin/env python3
"""Golden cases of LoRA adapters: tests/golden-lora/*, in the layout of tests/golden (test_golden.c runs both).

    python3 tests/tools/lora_golden.py [DIR]        (default: tests/golden-lora; same bytes every time)

Needs torch, transformers, peft, safetensors. Model, adapter, log-probabilities, gradients and AdamW steps are
transformers', PEFT's and torch's in float64 throughout, as in arch_golden.py; only the losses are written in
golden_steps.py, from docs/losses.md. The policy is a random adapter on the base of a golden case, the reference that
base with the adapter switched off.
"""
import json
import os
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.numpy import load_file
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

from golden_steps import steps_of, token_logps

FLOAT32 = torch.float32
torch.float32 = torch.float = torch.float64  # transformers casts to these by name: norms, RoPE, softmax
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "llama-all": ("llama-tied-gqa", dict(r=4, lora_alpha=6, target_modules=ALL)),
    "qwen2-stabilised": ("qwen2-bias", dict(r=3, lora_alpha=2, target_modules=["q_proj", "v_proj", "down_proj"],
                                            use_rslora=True)),
    "qwen3-some": ("qwen3-qknorm", dict(r=17, lora_alpha=8, target_modules=["k_proj", "o_proj", "up_proj"])),
    "gemma3-all": ("gemma3", dict(r=3, lora_alpha=5, target_modules=ALL)),
}
LOSSES = [
    dict(name="dmpo", method="dmpo", link="sigmoid", gamma=0.7, beta=0.1, label_smoothing=0.0),
    dict(name="dpo", method="dpo", link="sigmoid", gamma=1.0, beta=0.1, label_smoothing=0.0),
    dict(name="sft", method="sft"),
]
TRAINING = dict(loss="dmpo", steps=5, max_grad_norm=0.5, warmup_steps=2, lr=0.002, betas=[0.9, 0.999], eps=1e-8,
                weight_decay=0.01)


def saved_name(name):
    return name.replace(".default.weight", ".weight")


def make(case, base, options, out):
    where = os.path.join(GOLDEN, base)
    adapter = os.path.join(out, "model")
    pairs = [{s: {k: p[s][k] for k in ("ids", "turns")} for s in ("chosen", "rejected")}
             for p in json.load(open(os.path.join(where, "case.json")))["pairs"]]
    os.makedirs(adapter, exist_ok=True)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(os.path.join(where, "model")),
                                             attn_implementation="eager").double()
    weights = {k: torch.from_numpy(v) for k, v in load_file(os.path.join(where, "model", "model.safetensors")).items()}
    left = model.load_state_dict(weights, strict=False)
    assert not left.unexpected_keys and left.missing_keys in ([], ["lm_head.weight"])
    model.tie_weights()
    torch.manual_seed(sum(map(ord, case)))
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", bias="none", lora_dropout=0.0, **options))
    for p in model.parameters():
        if p.requires_grad:  # exact in f32
            p.data = (torch.randn(p.shape) * 0.2).to(FLOAT32).double()
    model.save_pretrained(adapter)
    os.unlink(os.path.join(adapter, "README.md"))
    tensors = load_file(os.path.join(adapter, "adapter_model.safetensors"))
    save_file({k: torch.from_numpy(v).to(FLOAT32).contiguous() for k, v in sorted(tensors.items())},
              os.path.join(adapter, "adapter_model.safetensors"), {"format": "pt"})
    path = os.path.join(adapter, "adapter_config.json")
    config = json.load(open(path))
    config["base_model_name_or_path"] = f"../../../golden/{base}/model"
    config["target_modules"] = options["target_modules"]
    json.dump(config, open(path, "w"), indent=1, sort_keys=True)

    trained = {saved_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad(), model.disable_adapter():
        references = [[token_logps(model, p[s]) for s in ("chosen", "rejected")] for p in pairs]
    names = [x["name"] for x in LOSSES]
    entries, history, expected = steps_of(model, trained, pairs, references, LOSSES, names, TRAINING)
    save_file(expected, os.path.join(out, "expected.safetensors"))
    case = dict(case=case, reference=f"../../golden/{base}/model", pairs=pairs, losses=entries,
                training=dict(TRAINING, history=history))
    json.dump(case, open(os.path.join(out, "case.json"), "w"), indent=1)


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "golden-lora")
    for case, (base, options) in CASES.items():
        make(case, base, options, os.path.join(out, case))
        print(case)


main()
