#!/usr/bin/env python3
"""Golden cases of Gemma 3, SmolLM3, YaRN and Llama's attention_bias: tests/golden/NAME, in the layout of the others.

    python3 tests/tools/arch_golden.py [DIR]        (default: tests/golden; same bytes every time)

Needs torch, transformers, safetensors. Models, log-probabilities, gradients and AdamW steps are transformers' and torch's
in float64 throughout (what transformers casts to float32 on the way is left in float64); only the losses are written
in golden_steps.py, from docs/losses.md.
"""
import json
import os
import sys

import safetensors.torch
import torch

FLOAT32 = torch.float32
torch.float32 = torch.float = torch.float64  # transformers casts to these by name: norms, RoPE, softmax
torch.Tensor.float = torch.Tensor.double

from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, SmolLM3Config  # noqa: E402

from golden_steps import steps_of, token_logps  # noqa: E402

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
SHAPE = dict(vocab_size=96, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
             rms_norm_eps=1e-5)
CASES = {
    "gemma3": Gemma3TextConfig(
        hidden_size=24, intermediate_size=40, num_hidden_layers=6, num_attention_heads=3, num_key_value_heads=1,
        head_dim=8, sliding_window=5, query_pre_attn_scalar=11, tie_word_embeddings=True,
        rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                         "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5000.0}}, **SHAPE),
    "smollm3-nope": SmolLM3Config(
        hidden_size=24, intermediate_size=40, num_hidden_layers=4, num_attention_heads=3, num_key_value_heads=1,
        head_dim=8, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1000.0}, **SHAPE),
    "llama-yarn-bias": LlamaConfig(
        hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=16, attention_bias=True, tie_word_embeddings=False,
        rope_parameters={"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "beta_fast": 4.0, "beta_slow": 0.5,
                         "original_max_position_embeddings": 16}, **SHAPE),
}
LOSSES = [
    dict(name="dmpo", method="dmpo", link="sigmoid", gamma=0.7, beta=0.1, label_smoothing=0.0),
    dict(name="dmpo-token", method="dmpo-token", link="sigmoid", gamma=0.95, beta=0.1, label_smoothing=0.0),
    dict(name="dpo", method="dpo", link="sigmoid", gamma=1.0, beta=0.1, label_smoothing=0.0),
    dict(name="sft", method="sft"),
]
GRADIENTS = ("dmpo", "sft")
TRAINING = dict(loss="dmpo", steps=5, max_grad_norm=0.5, warmup_steps=2, lr=0.001, betas=[0.9, 0.999], eps=1e-8,
                weight_decay=0.01)


def random_pairs(generator, vocab):
    """Three pairs that share a prompt: turns of the agent end with 2."""
    pick = lambda n: torch.randint(3, vocab, (n,), generator=generator).tolist()
    count = lambda low, high: int(torch.randint(low, high, (1,), generator=generator))
    pairs = []
    for _ in range(3):
        prompt, pair = [1] + pick(count(4, 9)), {}
        for side in ("chosen", "rejected"):
            ids, turns = list(prompt), []
            for _ in range(count(2, 4)):
                begin = len(ids)
                ids += pick(count(1, 4)) + [2]
                turns.append([begin, len(ids)])
                ids += pick(count(1, 5))
            pair[side] = dict(ids=ids[:turns[-1][1]], turns=turns)
        pairs.append(pair)
    return pairs


def make_model(config, seed, where):
    """Random weights, exact in f32, and the directory that holds them."""
    generator = torch.Generator().manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").double().eval()
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            plus = 1.0 if "norm" in name and config.model_type != "gemma3_text" else 0.0
            p.copy_((torch.randn(p.shape, generator=generator) * 0.2 + plus).to(FLOAT32).double())
    os.makedirs(where, exist_ok=True)
    weights = {n: p.detach().to(FLOAT32).contiguous() for n, p in sorted(model.named_parameters())}
    safetensors.torch.save_file(weights, os.path.join(where, "model.safetensors"), {"format": "pt"})
    keep = dict(config.to_dict(), architectures=[type(model).__name__], torch_dtype="float32")
    for key in ("transformers_version", "dtype", "_name_or_path", "initializer_range", "use_cache", "attention_dropout",
                "pretraining_tp", "chunk_size_feed_forward", "output_attentions", "output_hidden_states", "return_dict",
                "problem_type", "id2label", "label2id", "is_encoder_decoder", "_sliding_window_pattern"):
        keep.pop(key, None)
    json.dump(keep, open(os.path.join(where, "config.json"), "w"), indent=1, sort_keys=True)
    return model


def make(case, config, out):
    seed = sum(map(ord, case))
    pairs = random_pairs(torch.Generator().manual_seed(seed), config.vocab_size)
    with torch.no_grad():
        reference = make_model(config, seed + 1, os.path.join(out, "reference"))
        references = [[token_logps(reference, p[s]) for s in ("chosen", "rejected")] for p in pairs]
    model = make_model(config, seed, os.path.join(out, "model"))
    trained = dict(model.named_parameters())
    entries, history, expected = steps_of(model, trained, pairs, references, LOSSES, GRADIENTS, TRAINING)
    safetensors.torch.save_file(expected, os.path.join(out, "expected.safetensors"))
    json.dump(dict(case=case, pairs=pairs, losses=entries, training=dict(TRAINING, history=history)),
              open(os.path.join(out, "case.json"), "w"))


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "..", "golden")
    for case, config in CASES.items():
        make(case, config, os.path.join(out, case))
        print(case)


main()
