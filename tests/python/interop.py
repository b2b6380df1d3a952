#!/usr/bin/env python3
"""Our models, tokenizers and training steps against transformers and PyTorch.

    BUILD=DIR SRC=DIR python3 tests/python/interop.py [NAME...]

Needs torch, transformers, tokenizers, numpy, safetensors, peft and gguf, and BUILD with `make all tests` done (libdmpo.so
included). NAME runs those groups only: models, trained, steps, tokenizer, tensorboard (skipped without that package),
second, quant, lora, files. One line a figure; ends with "interop: N passed, N failed".
"""
import ctypes
import itertools
import json
import math
import os
import re
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import second_math
import torch
from safetensors.torch import load_file
from transformers import (AutoConfig, AutoModelForCausalLM, AutoTokenizer, LlamaConfig, MistralConfig, Qwen2Config,
                          Qwen3Config)
from transformers.utils import logging

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
SRC = os.path.abspath(os.environ.get("SRC", "."))
LOGIT_LIMIT = 1e-4   # absolute, of logits of a few units
LOSS_LIMIT = 1e-5    # relative
NORM_LIMIT = 2e-5    # relative
DELTA_LIMIT = 2e-3   # relative, a tensor; AdamW divides by the gradient, so rounding of tiny ones shows
passed = failed = 0


def check(ok, message):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print("FAILED:", message)


def figure(what, error, limit):
    print(f"{what:<76} {error:.2e} (limit {limit:.0e})")
    check(error <= limit, f"{what}: {error} is above {limit}")  # false for NaN


def dmpo(*args):
    r = subprocess.run([os.path.join(BUILD, "dmpo"), *map(str, args), "--threads", "2"], capture_output=True,
                       encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"dmpo {' '.join(map(str, args))}: status {r.returncode}: {r.stderr.strip()[-800:]}")
    return r.stdout


# ---- our side through libdmpo.so ----

class Error(ctypes.Structure):  # dmpo_error
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 1024)]


class Sampling(ctypes.Structure):  # dmpo_sampling
    _fields_ = [("size", ctypes.c_size_t), ("temperature", ctypes.c_double), ("top_k", ctypes.c_int64), ("top_p", ctypes.c_double),
                ("seed", ctypes.c_uint64), ("episode", ctypes.c_uint64), ("max_tokens", ctypes.c_int64),
                ("stop", ctypes.POINTER(ctypes.c_int32)), ("n_stop", ctypes.c_size_t)]


class Request(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("slot", ctypes.c_size_t), ("ids", ctypes.POINTER(ctypes.c_int32)), ("n", ctypes.c_size_t),
                ("sampling", ctypes.POINTER(Sampling)), ("out", ctypes.POINTER(ctypes.c_int32)),
                ("logps", ctypes.POINTER(ctypes.c_float)), ("end", ctypes.POINTER(ctypes.c_int32)),
                ("n_out", ctypes.c_size_t), ("reused", ctypes.c_size_t)]


class Engine:
    def __init__(self):
        names = sorted(n for n in os.listdir(BUILD) if n.startswith("libdmpo.so."))
        if not names:
            raise RuntimeError(f"{BUILD}: no libdmpo.so; configure without --disable-shared")
        self.lib = ctypes.CDLL(os.path.join(BUILD, names[-1]))
        self.lib.dmpo_model_vocabulary.restype = ctypes.c_size_t
        self.handle = ctypes.c_void_p()
        self.call("dmpo_engine_open", ctypes.byref(self.handle), None, 2)

    def call(self, name, *args):
        error = Error()
        if getattr(self.lib, name)(*args, ctypes.byref(error)):
            raise RuntimeError(f"{name}: {error.message.decode()}")

    def close(self):
        self.lib.dmpo_engine_close(ctypes.byref(self.handle))


class Model:
    """A model directory as libdmpo opens it."""

    def __init__(self, engine, path, max_length):
        self.engine, self.handle = engine, ctypes.c_void_p()
        engine.call("dmpo_model_open", ctypes.byref(self.handle), engine.handle, os.fsencode(path),
                    ctypes.c_size_t(1), ctypes.c_size_t(max_length))
        self.vocabulary = engine.lib.dmpo_model_vocabulary(self.handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.lib.dmpo_model_close(ctypes.byref(self.handle))

    def run(self, name, ids, shape):
        out = torch.full(shape, math.nan)
        given = (ctypes.c_int32 * len(ids))(*ids)
        self.engine.call(name, self.handle, given, ctypes.c_size_t(len(ids)),
                         ctypes.cast(out.data_ptr(), ctypes.POINTER(ctypes.c_float)))
        return out

    def logits(self, ids):
        return self.run("dmpo_model_logits", ids, (len(ids), self.vocabulary))

    def logprobs(self, ids):
        return self.run("dmpo_model_logprobs", ids, (len(ids) - 1,))

    def generate(self, ids, count, temperature=0.0, top_k=0, top_p=1.0, seed=0, episode=0):
        given, out = (ctypes.c_int32 * len(ids))(*ids), (ctypes.c_int32 * count)()
        sampling = Sampling(ctypes.sizeof(Sampling), temperature, top_k, top_p, seed, episode, count)
        request = Request(size=ctypes.sizeof(Request), ids=given, n=len(ids), sampling=ctypes.pointer(sampling), out=out)
        self.engine.call("dmpo_model_generate", self.handle, ctypes.byref(request), ctypes.c_size_t(1), None, None)
        return list(out)[:request.n_out]


def random_ids(seed, count, vocabulary):
    return torch.randint(0, vocabulary, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def theirs(path):
    """As anybody would load it; every tensor must be found and none left over."""
    model, info = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    check(not any(info.values()), f"{path}: transformers reports {info}")
    return model.eval()


def draw(logits, temperature, top_k, top_p, seed, episode, position):
    """docs/numerics.md, section 10"""
    order = sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:top_k]
    weights = [float(second_math.f32(second_math.exp((logits[i] - logits[order[0]]) / temperature))) for i in order]
    whole = list(itertools.accumulate(weights))
    kept = next(i for i in range(len(whole)) if i + 1 == len(whole) or not whole[i] < top_p * whole[-1])
    v = second_math.philox(seed, 3, episode, position)
    u = float((v[1] << 32 | v[0]) >> 11) * 2.0 ** -53 * whole[kept]
    return order[next((i for i in range(kept + 1) if u < whole[i]), kept)]


def compare(engine, name, path, length, limit=LOGIT_LIMIT):
    model = theirs(path)
    ids = random_ids(length, length, model.config.vocab_size)
    with torch.no_grad():
        want = model(torch.tensor([ids])).logits[0]
    with Model(engine, path, length + 24) as ours:
        figure(f"{name}: logits", (ours.logits(ids) - want).abs().max().item(), limit)
        logp = want[:-1].log_softmax(-1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        figure(f"{name}: log-probabilities", (ours.logprobs(ids) - logp).abs().max().item(), limit)
        with torch.no_grad():  # the same ids unless two logits are as close as the limit
            answer = ours.generate(ids, 16)
            after = model(torch.tensor([ids + answer])).logits[0, length - 1:-1]
        lead = (after.max(-1).values - after.gather(1, torch.tensor(answer)[:, None])[:, 0]).max().item()
        figure(f"{name}: greedy answer is the largest logit, short by", lead, limit)
        drawn = ours.generate(ids, 8, 0.9, 50, 0.8, 2 ** 33 + 7, 5)
        want = [draw(ours.logits(ids + drawn[:i])[-1].tolist(), 0.9, 50, 0.8, 2 ** 33 + 7, 5, length + i)
                for i in range(8)]
        check(drawn == want, f"{name}: drew {drawn}, by docs/numerics.md it is {want}")


# ---- models that transformers made ----

LLAMA3_ROPE = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
SIZES = dict(hidden_size=48, intermediate_size=100, num_hidden_layers=3, num_attention_heads=6, vocab_size=203,
             max_position_embeddings=512, initializer_range=0.15, bos_token_id=1, eos_token_id=2)


def made_models():
    """(name, configuration, stored type, bytes a shard or None, a sequence's length)"""
    f32, bf16, f16 = torch.float32, torch.bfloat16, torch.float16
    linear = {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}
    return [
        ("llama-mha-untied", LlamaConfig(**SIZES, num_key_value_heads=6, tie_word_embeddings=False), f32, None, 70),
        ("llama-gqa-tied", LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=True), f32, None, 70),
        ("llama-mqa-head-dim", LlamaConfig(**SIZES, num_key_value_heads=1, head_dim=14, rms_norm_eps=1e-3), f32, None,
         300),
        ("llama-rope-llama3", LlamaConfig(**SIZES, num_key_value_heads=3, rope_parameters=LLAMA3_ROPE), f32, None,
         300),
        ("llama-rope-linear", LlamaConfig(**SIZES, num_key_value_heads=3, rope_parameters=linear), f32, None, 300),
        ("llama-shards-bf16", LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=False), bf16, "30KB", 70),
        ("llama-shards-f16", LlamaConfig(**SIZES, num_key_value_heads=2, tie_word_embeddings=True), f16, "30KB", 70),
        ("mistral-window", MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=17), f32, None, 300),
        ("mistral-no-window", MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=None), bf16, None, 70),
        ("qwen2-untied-shards", Qwen2Config(**SIZES, num_key_value_heads=2, tie_word_embeddings=False), f32, "50KB",
         70),
        ("qwen2-tied", Qwen2Config(**SIZES, num_key_value_heads=6, tie_word_embeddings=True), f16, None, 70),
        ("qwen2-window", Qwen2Config(**SIZES, num_key_value_heads=2, use_sliding_window=True, sliding_window=9,
                                     max_window_layers=1), f32, None, 300),
        ("qwen3-tied", Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=16, tie_word_embeddings=True), f32, None,
         70),
        ("qwen3-untied-bf16", Qwen3Config(**SIZES, num_key_value_heads=3, head_dim=8, tie_word_embeddings=False),
         bf16, "40KB", 70),
        ("qwen3-window", Qwen3Config(**SIZES, num_key_value_heads=2, head_dim=16, use_sliding_window=True,
                                     sliding_window=5, max_window_layers=2), f32, None, 70),
    ]


def make_model(path, config, dtype=torch.float32, shard=None, seed=0):
    """save_pretrained of a random model; norms and biases are random too, as after training."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.dim() == 1:
                p.copy_(torch.randn_like(p) * 0.2 + (0.0 if name.endswith("bias") else 1.0))
    model.to(dtype).save_pretrained(path, **({"max_shard_size": shard} if shard else {}))
    return path


def check_models(engine, work):
    for name, config, dtype, shard, length in made_models():
        path = make_model(os.path.join(work, name), config, dtype, shard)
        shards = sum(n.endswith(".safetensors") for n in os.listdir(path))
        check((shards > 1) == (shard is not None), f"{name}: {shards} weight files")
        compare(engine, name, path, length)
        older = AutoConfig.from_pretrained(path).to_dict()  # the keys as transformers 4 wrote them
        rope = older.pop("rope_parameters")
        older["rope_theta"] = rope.pop("rope_theta")
        older["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        with Model(engine, path, 40) as m:
            want = m.logits(list(range(40)))
        with open(os.path.join(path, "config.json"), "w") as f:
            json.dump(older, f)
        with Model(engine, path, 40) as m:
            got = m.logits(list(range(40)))
        check(torch.equal(got, want), f"{name}: rope_theta and rope_scaling give other logits")


# ---- models that we made and trained ----

def conversations(count):
    """Talks of a small agent, of one kind for the tokenizer and another for training."""
    rooms, things = ["kitchen", "cellar", "garden", "hall"], ["lamp", "key", "apple", "book", "rope"]
    talks = []
    for i in range(count):
        talk = [("human", f"Find the {things[i % 5]} and don't stop.\n\nIt's {i} o'clock."), ("gpt", "OK")]
        for t in range(2 + i % 3):
            seen = f"You're in the {rooms[(i + t) % 4]}.\n\tA {things[(i + 2 * t) % 5]} is here — 数{t}."
            talk += [("human", "Observation: " + seen),
                     ("gpt", f"Thought: look further.\nAction: go to {rooms[(i * t) % 4]}")]
        talks.append(talk)
    return talks


def pair_of(talk, other):
    form = lambda t: [{"from": r, "value": v} for r, v in t]
    rejected = [("gpt", "Action: wait"), talk[2], ("gpt", other[-1][1])]
    return {"prompt": form(talk[:3]), "chosen": form(talk[3:]), "rejected": form(rejected)}


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False)
    return path


def check_trained(engine, work):
    talks = conversations(24)
    data = write_json(os.path.join(work, "pairs.json"), [pair_of(a, b) for a, b in zip(talks, talks[1:])])
    shapes = {"plain": ["--arch", "llama", "--kv-heads", 2], "llama2": ["--arch", "mistral", "--window", 11],
              "llama3": ["--arch", "llama", "--no-tied"], "mistral": ["--arch", "mistral", "--kv-heads", 1],
              "chatml": ["--arch", "qwen2", "--no-tied"], "vicuna": ["--arch", "qwen3", "--head-dim", 24]}
    for i, (template, shape) in enumerate(shapes.items()):
        base = os.path.join(work, "own-" + template)
        tokenizer, model, out = base + "-tokenizer", base + "-model", base + "-trained"
        split = "qwen2" if template == "chatml" else ["gpt2", "llama3"][i % 2]  # transformers forces it on qwen2 models
        dmpo("tokenizer", "train", "--output", tokenizer, data, "--template", template, "--vocabulary", 480, "--split",
             split)
        dmpo("init", "--output", model, "--tokenizer", tokenizer, "--hidden", 64, "--intermediate", 96, "--layers", 2,
             "--heads", 4, "--std", 0.1, "--seed", i, *shape)
        dmpo("train", "--model", model, "--data", data, "--output", out, "--steps", 4, "--batch", 4, "--lr", 2e-3,
             "--warmup-steps", 0, "--quiet")
        compare(engine, f"init {' '.join(map(str, shape))}", model, 60)
        compare(engine, f"trained {' '.join(map(str, shape))}", out, 60)
        before, after = (load_file(os.path.join(d, "model.safetensors")) for d in (model, out))
        change = distance(after, before)
        check(change > 1e-3, f"{template}: training moved the weights by {change}")
        check_chat(template, out, talks)


def distance(a, b):
    return math.sqrt(sum((a[k] - b[k]).double().square().sum().item() for k in a))


def check_chat(template, path, talks):
    """The tokenizer and chat template in a trained model's directory, as AutoTokenizer understands them."""
    library = AutoTokenizer.from_pretrained(path)
    vocabulary = AutoConfig.from_pretrained(path).vocab_size
    check(len(library) == vocabulary, f"{template}: AutoTokenizer has {len(library)} ids, the model {vocabulary}")
    texts = [v for talk in talks for _, v in talk]
    texts += ["", " ", "  a\n\n", "don't 12345 x1", "é e\u0301 日本 👍🏽", "</s><|im_end|>"]
    tool = os.path.join(BUILD, "tests", "tokenizer")
    same = [library.encode(t, add_special_tokens=False) for t in texts]
    ours = subprocess.run([tool, "--encode", path, "all"], input="".join(json.dumps(t) + "\n" for t in texts),
                          capture_output=True, encoding="utf-8", check=True).stdout.split("\n")[:-1]
    check([[int(i) for i in line.split()] for line in ours] == same, f"{template}: ids differ from AutoTokenizer's")
    roles = {"human": "user", "gpt": "assistant"}
    for generation in (0, 1):
        some = [[[roles[r], v] for r, v in talk[:len(talk) - generation]] for talk in talks]
        lines = subprocess.run([os.path.join(BUILD, "tests", "template"), "--render", path, "auto", str(generation)],
                               input="".join(json.dumps(t) + "\n" for t in some), capture_output=True, encoding="utf-8",
                               check=True).stdout.split("\n")[:-1]
        for talk, line in zip(some, lines, strict=True):
            messages = [{"role": r, "content": v} for r, v in talk]
            want = library.apply_chat_template(messages, add_generation_prompt=bool(generation), return_dict=False)
            ids = [int(x) for x in line.split("|")[0].split()]
            check(ids == want, f"{template}: {ids} rendered by us, {want} by apply_chat_template")


# ---- training steps ----

GAMMA, BETA = 0.7, 0.1


def phi(t, turns):
    return GAMMA**t * (1 - GAMMA ** (turns - t)) / (1 - GAMMA**turns)


def trajectory(seed, vocabulary, turns, prefix=()):
    """Pre-tokenized: observations of 3 to 9 tokens and actions of 2 to 6."""
    g = torch.Generator().manual_seed(seed)
    draw = lambda low, high: torch.randint(low, high + 1, (), generator=g).item()
    ids, spans = list(prefix), []
    for _ in range(turns):
        ids += [draw(0, vocabulary - 1) for _ in range(draw(3, 9))]
        begin = len(ids)
        ids += [draw(0, vocabulary - 1) for _ in range(draw(2, 6))]
        spans.append([begin, len(ids)])
    return {"ids": ids, "turns": spans}


def token_logps(model, t):
    """log p of the action tokens, and each one's turn"""
    ids = torch.tensor(t["ids"])
    logp = model(ids[None]).logits[0, :-1].log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    at = [(i, turn) for turn, (b, e) in enumerate(t["turns"]) for i in range(b, e)]
    return logp[torch.tensor([i - 1 for i, _ in at])], [turn for _, turn in at]


def score(model, t):
    logp, turns = token_logps(model, t)
    weight = torch.tensor([phi(turn, len(t["turns"])) for turn in turns], dtype=logp.dtype)
    return (logp * weight).sum()


def dmpo_loss(policy, reference, batch):
    """The authors' loss: -log sigmoid(beta * difference of the weighted log-ratios), mean over the pairs."""
    total = 0
    for pair in batch:
        with torch.no_grad():
            ref = score(reference, pair["chosen"]) - score(reference, pair["rejected"])
        total = total - torch.nn.functional.logsigmoid(
            BETA * (score(policy, pair["chosen"]) - score(policy, pair["rejected"]) - ref))
    return total / len(batch)


def sft_loss(policy, _, batch):
    logps = [token_logps(policy, t)[0] for t in batch]
    return -torch.cat(logps).mean()


def torch_steps(path, loss_of, data, batch, options):
    """(metrics of each step, weights after) by PyTorch in f64 from the stored weights."""
    policy = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    reference = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=options["lr"], weight_decay=options["weight-decay"], eps=1e-8)
    steps, warmup, metrics = options["steps"], options["warmup-steps"], []
    for s in range(steps):
        lr = options["lr"]
        if s < warmup:
            lr *= (s + 1) / warmup
        elif options["schedule"] == "cosine":
            lr *= (1 + math.cos(math.pi * (s - warmup) / (steps - warmup))) / 2
        for group in optimizer.param_groups:
            group["lr"] = lr
        begin = s * batch % len(data)
        loss = loss_of(policy, reference, data[begin:begin + batch])
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(policy.parameters(), options["max-grad-norm"])
        optimizer.step()
        metrics.append((loss.item(), norm.item(), lr))
    return metrics, policy.state_dict()


def compare_steps(name, path, out, objective, data, batch, options):
    loss_of = sft_loss if objective == "sft" else dmpo_loss
    want, weights = torch_steps(path, loss_of, data, batch, options)
    file = write_json(out + ".json", data)
    flags = [x for k, v in options.items() for x in (f"--{k}", v)]
    dmpo("train", "--model", path, "--data", file, "--output", out, "--objective", objective, "--beta", BETA, "--gamma",
         GAMMA, "--no-shuffle", "--batch", batch, "--quiet", *flags)
    lines = [json.loads(line) for line in open(os.path.join(out, "metrics.jsonl"))]
    check([m["step"] for m in lines] == list(range(1, len(want) + 1)), f"{name}: steps {[m['step'] for m in lines]}")
    figure(f"{name}: loss", max(abs(m["loss"] - w[0]) / abs(w[0]) for m, w in zip(lines, want)), LOSS_LIMIT)
    figure(f"{name}: grad_norm", max(abs(m["grad_norm"] - w[1]) / w[1] for m, w in zip(lines, want)), NORM_LIMIT)
    figure(f"{name}: lr", max(abs(m["lr"] - w[2]) / w[2] for m, w in zip(lines, want)), 1e-12)
    clipped = sum(w[1] > options["max-grad-norm"] for w in want)
    check(clipped > 0 or options["max-grad-norm"] > 10, f"{name}: no step was clipped")
    before, after = theirs(path).double().state_dict(), theirs(out).double().state_dict()
    worst = 0.0
    for key, w in weights.items():
        delta = (w - before[key]).norm().item()
        check(delta > 0, f"{name}: {key} was not trained")
        worst = max(worst, (after[key] - w).norm().item() / delta)
    figure(f"{name}: weights, the worst tensor", worst, DELTA_LIMIT)


def check_steps(_, work):
    once = {"steps": 1, "lr": 1e-3, "warmup-steps": 0, "schedule": "constant", "weight-decay": 0.0,
            "max-grad-norm": 1.0}
    more = {"steps": 4, "lr": 1e-3, "warmup-steps": 2, "schedule": "cosine", "weight-decay": 0.1,
            "max-grad-norm": 0.3}
    rest = dict(SIZES, num_key_value_heads=2)
    configs = {"llama": LlamaConfig(**rest, tie_word_embeddings=True, rope_parameters=LLAMA3_ROPE),
               "mistral": MistralConfig(**rest, sliding_window=13), "qwen2": Qwen2Config(**rest),
               "qwen3": Qwen3Config(**rest, head_dim=8)}
    for name, config in configs.items():
        path = make_model(os.path.join(work, "step-" + name), config)
        v = config.vocab_size
        prefix = random_ids(9, 11, v)
        pairs = [{"chosen": trajectory(2 * i, v, 1 + i, prefix[:i * 4]),
                  "rejected": trajectory(2 * i + 1, v, 4 - i, prefix[:i * 4])} for i in range(4)]
        pairs[3]["rejected"]["ids"][:20] = pairs[3]["chosen"]["ids"][:20]  # the common part reaches into turns
        for objective, data in (("dmpo", pairs), ("sft", [p["chosen"] for p in pairs])):
            base = os.path.join(work, f"{name}-{objective}")
            compare_steps(f"{name} {objective}, one step", path, base + "-1", objective, data, 4, once)
            compare_steps(f"{name} {objective}, 4 steps, warm-up, cosine, decay", path, base + "-4", objective, data, 2,
                          more)


# ---- TensorBoard's own reader ----

def check_tensorboard(_, work):
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        print("skipped: tensorboard is not installed")
        return
    case, out = os.path.join(SRC, "tests", "golden", "llama-tied-gqa"), os.path.join(work, "out")
    dmpo("train", "--model", os.path.join(case, "model"), "--reference", os.path.join(case, "reference"), "--data",
         os.path.join(case, "case.json"), "--eval-data", os.path.join(case, "case.json"), "--objective", "kto",
         "--batch", 2, "--steps", 5, "--lr", 1e-3, "--eval-every", 2, "--output", out, "--tensorboard")
    with open(os.path.join(out, "metrics.jsonl")) as f:
        lines = [json.loads(line) for line in f]
    read = EventAccumulator(out)
    read.Reload()
    tags, expected = read.Tags()["scalars"], {}
    for line in lines:
        for key, value in line.items():
            if key in ("kind", "step", "tokens", "action_tokens") or value is None:
                continue
            if line["kind"] == "eval" and key in ("lr", "grad_norm"):
                continue
            expected.setdefault(f"{line['kind']}/{key}", []).append((line["step"], value))
    check(sorted(tags) == sorted(expected), f"tensorboard: tags {sorted(tags)}, must be {sorted(expected)}")
    worst = 0.0
    for tag, values in expected.items():
        got = [(e.step, e.value) for e in read.Scalars(tag)]
        check([s for s, _ in got] == [s for s, _ in values], f"tensorboard: {tag}: steps {got}")
        worst = max([worst] + [abs(g - w) / max(abs(w), 1e-30) for (_, g), (_, w) in zip(got, values)])
    figure("tensorboard: scalars against metrics.jsonl", worst, 6e-8)  # they are f32


# ---- tests of their own ----

def check_program(name, work):
    r = subprocess.run([sys.executable, os.path.join(SRC, "tests", "python", name + ".py"), BUILD], capture_output=True,
                       encoding="utf-8", cwd=work, env=dict(os.environ, BUILD=BUILD))
    print(r.stdout.strip() or r.stderr.strip()[-800:])
    check(r.returncode == 0 and re.search(name + r": [1-9]\d* passed, 0 failed$", r.stdout.strip()),
          f"tests/python/{name}.py ended with status {r.returncode}: {r.stderr.strip()[-800:]}")


def check_tokenizer(_, work):
    check_program("interop_tokenizer", work)
    check_program("interop_pieces", work)


def check_quant(_, work):
    check_program("interop_quant", work)


def check_files(_, work):
    check_program("interop_models", work)


def check_lora(_, work):
    check_program("interop_lora", work)


def check_second(_, work):
    check_program("second", work)


def main():
    groups = {"models": check_models, "trained": check_trained, "steps": check_steps, "tokenizer": check_tokenizer,
              "tensorboard": check_tensorboard, "second": check_second, "quant": check_quant,
              "lora": check_lora, "files": check_files}
    unknown = [n for n in sys.argv[1:] if n not in groups]
    if unknown:
        sys.exit(f"interop: no group '{unknown[0]}'; legal: {', '.join(groups)}")
    logging.disable_progress_bar()
    torch.set_num_threads(1)  # small models; idle threads would spin
    engine = Engine()
    for name in sys.argv[1:] or groups:
        with tempfile.TemporaryDirectory() as work:
            try:
                groups[name](engine, work)
            except Exception as e:  # one broken group must not hide the others
                check(False, f"{name}: {type(e).__name__}: {e}")
    engine.close()
    print(f"interop: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
