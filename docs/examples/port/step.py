#!/usr/bin/env python3
"""A DMPO training step in PyTorch, as somebody's port might have it: reads a golden case, runs its step, writes a trace.

    python3 step.py tests/golden/llama-tied-gqa port.safetensors [--method dmpo] [--device cuda] [--bug NAME]
    dmpo check port.safetensors

Llama, Mistral, Qwen2, Qwen3, Gemma 3 and SmolLM3; full training or --lora RANK; --dtype float64, float32, bfloat16,
float16. The two sides of a pair are rows one after the other. --bug NAME plants a mistake: a name that the code below asks for.
"""
import argparse
import json
import math
import os
import struct

import torch
import torch.nn.functional as F

from trace import Trace

BUGS = set()  # the mistakes that are planted


def bug(name):
    return name in BUGS


class Instead(torch.autograd.Function):
    """`value`, with the gradient that autograd gives `other`: how a mistake of a derivative alone is planted."""

    @staticmethod
    def forward(ctx, value, other):
        return value.clone()

    @staticmethod
    def backward(ctx, g):
        return None, g


def hooked(x, change):
    """x, whose gradient from here on is change(gradient)."""
    x = x.view_as(x)
    if x.requires_grad:
        x.register_hook(change)
    return x


def read_safetensors(path):
    kinds = {"F32": torch.float32, "F64": torch.float64, "BF16": torch.bfloat16, "F16": torch.float16}
    raw = open(path, "rb").read()
    size = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = torch.frombuffer(bytearray(raw[8 + size + a:8 + size + b]), dtype=kinds[t["dtype"]]).reshape(t["shape"])
    return out


# ---- the model ----

class Model:
    def __init__(self, config, weights, lora=None):
        self.c, self.w, self.lora = config, weights, lora
        self.type = config["model_type"]
        self.heads, self.kv = config["num_attention_heads"], config["num_key_value_heads"]
        self.dim = config.get("head_dim") or config["hidden_size"] // self.heads
        self.eps = config["rms_norm_eps"]

    def frequencies(self, layer):
        c, rope = self.c, dict(self.c.get("rope_parameters") or {}, **(self.c.get("rope_scaling") or {}))
        local = self.type == "gemma3_text" and self.window(layer)
        if self.type == "gemma3_text":
            rope = rope["sliding_attention" if local else "full_attention"]
        theta = rope.get("rope_theta") or c.get("rope_theta") or 10000.0
        if bug("rope_theta"):
            theta *= 10
        index = torch.arange(0, self.dim, 2, dtype=torch.float64)
        f = theta ** (-index / self.dim)
        kind, scale = rope.get("rope_type", rope.get("type", "default")), 1.0
        if kind == "linear":
            f = f / rope["factor"]
        elif kind == "llama3":
            wave = 2 * math.pi / f
            original, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
            smooth = ((original / wave - low) / (high - low)).clamp(0, 1)
            f = (1 - smooth) * f / rope["factor"] + smooth * f
        elif kind == "yarn":
            turning = lambda n: self.dim * math.log(rope["original_max_position_embeddings"] / (n * 2 * math.pi)) / (2 * math.log(theta))
            low, high = max(math.floor(turning(rope["beta_fast"])), 0), min(math.ceil(turning(rope["beta_slow"])), self.dim - 1)
            ramp = ((torch.arange(self.dim // 2, dtype=torch.float64) - low) / max(high - low, 0.001)).clamp(0, 1)
            f = f / rope["factor"] * ramp + f * (1 - ramp)
            scale = rope.get("attention_factor") or 0.1 * math.log(rope["factor"]) + 1
        return f, scale

    def window(self, layer):
        types = self.c.get("layer_types")
        if types:
            return self.c["sliding_window"] if types[layer] == "sliding_attention" else 0
        return (self.c.get("sliding_window") or 0) if self.type == "mistral" else 0

    def rope_at(self, layer):
        every = self.c.get("no_rope_layers")
        return self.type != "smollm3" or (every[layer] if every else (layer + 1) % 4 != 0)

    def norm(self, name, x):
        w = self.w[name]
        if self.type == "gemma3_text" and not bug("norm_without_one"):
            w = 1 + w
        if bug("eps_outside_root"):
            return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + self.eps) * w
        if bug("norm_sum"):
            return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) + self.eps) * w
        if bug("norm_biased"):
            return x * torch.rsqrt(x.pow(2).sum(-1, keepdim=True) / (x.shape[-1] - 1) + self.eps) * w
        if bug("norm_centred"):
            x = x - x.mean(-1, keepdim=True)
        if bug("norm_axis"):
            return x * torch.rsqrt(x.pow(2).mean(0, keepdim=True) + self.eps) * w
        inverse = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        y = x * inverse * w
        if bug("norm_dx_without_mean"):
            y = Instead.apply(y, x * inverse.detach() * w)
        if bug("norm_dx_without_weight"):
            y = Instead.apply(y, x * inverse * w.detach() / w.detach() + x.detach() * inverse.detach() * w)
        if bug("norm_dx_inverse_squared"):
            y = Instead.apply(y, (x * inverse - x.detach() * inverse * (1 - 1 / inverse.detach())) * w)
        if bug("norm_dw_without_rms"):
            y = Instead.apply(y, x * inverse * w.detach() + x.detach() * w)
        if bug("norm_dw_from_output"):
            y = Instead.apply(y, x * inverse * w.detach() + y.detach() * w)
        if bug("norm_dw_mean"):
            y = Instead.apply(y, x * inverse * w.detach() + (x * inverse).detach() * w / len(x))
        return y

    def linear(self, t, name, module, x, raw=None):
        w, b = self.w[name + ".weight"], self.w.get(name + ".bias")
        if bug("dw_transposed") and w.shape[0] == w.shape[1]:
            w = hooked(w, lambda g: g.t())
        if bug("dw_mean_over_rows"):
            w = hooked(w, lambda g: g / len(x))
        if bug("bias_grad_mean") and b is not None:
            b = hooked(b, lambda g: g / len(x))
        if bug("weight_not_transposed") and w.shape[0] == w.shape[1]:
            w = w.t()
        y = F.linear(x, w, None if bug("bias_missing") else b)
        if bug("dw_from_norm_input") and raw is not None:
            y = Instead.apply(y, F.linear(x, w.detach(), b) + F.linear(raw.detach(), w))
        if bug("dx_without_up_projection") and module == "up_proj":
            y = Instead.apply(y, F.linear(x.detach(), w, b))
        if bug("dw_without_first_row"):
            y = Instead.apply(y, F.linear(x, w.detach(), b) + F.linear(F.pad(x.detach()[1:], (0, 0, 1, 0)), w))
        if bug("dx_transposed") and w.shape[0] == w.shape[1]:
            y = Instead.apply(y, F.linear(x, w.detach().t(), b) + F.linear(x.detach(), w))
        if self.lora and module in self.lora["targets"]:
            a, b2 = (self.w[f"base_model.model.{name}.lora_{k}.weight"] for k in "AB")
            scale = self.lora["alpha"] / self.lora["r"]
            if bug("lora_scale_squared"):
                scale *= scale
            if bug("lora_scale_stale"):
                scale = self.lora["alpha"] / (2 * self.lora["r"])
            if bug("lora_scale_missing"):
                scale = 1.0
            if bug("lora_db_unscaled"):
                b2 = hooked(b2, lambda g: g / scale)
            if bug("lora_da_unscaled"):
                a = hooked(a, lambda g: g / scale)
            low = x @ a.t()
            if bug("lora_dx_left_out"):
                low = Instead.apply(low, x.detach() @ a.t())
            low = t.keep(name + ".lora_A.out", low * scale, low)
            y = y + low @ b2.t()
        return t.keep(name + ".out", y)

    def turn(self, x, position, layer):
        """Rotates [rows, heads, dim]."""
        f, scale = self.frequencies(layer)
        if bug("position_from_one"):
            position = position + 1
        angle = position.double()[:, None] * f
        if bug("rope_sign"):
            angle = -angle
        cos, sin = (scale * angle.cos()).to(x)[:, None], (scale * angle.sin()).to(x)[:, None]
        if bug("rope_interleaved"):
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)

        def rotated(x, cos, sin):
            a, b = x[..., :self.dim // 2], x[..., self.dim // 2:]
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        y = rotated(x, cos, sin)
        if bug("rope_grad_not_inverted"):
            y = Instead.apply(y, rotated(x, cos, -sin))
        if bug("rope_grad_left_out"):
            y = Instead.apply(y, x)
        if bug("rope_grad_position_from_one"):
            later = angle + f
            y = Instead.apply(y, rotated(x, *((scale * g).to(x)[:, None] for g in (later.cos(), later.sin()))))
        return y

    def attention(self, t, name, q, k, v, mask):
        group, qkv = self.heads // self.kv, (q, k, v)
        if bug("gqa_order"):
            k, v = k.repeat(1, group, 1), v.repeat(1, group, 1)
        else:
            repeat = lambda x: x.repeat_interleave(group, 1)
            first = lambda x: torch.where((torch.arange(self.heads) % group == 0).to(x.device)[:, None], repeat(x), repeat(x).detach())
            modulo = lambda x: x.repeat(1, group, 1)
            mean = lambda x: repeat(x) / group
            k = repeat(k) if not bug("gqa_dk_of_one_head") else Instead.apply(repeat(k), first(k))
            v = repeat(v) if not bug("gqa_dv_of_one_head") else Instead.apply(repeat(v), first(v))
            if bug("gqa_grad_order"):
                k, v = (Instead.apply(repeat(x), modulo(x)) for x in qkv[1:])
            if bug("gqa_grad_mean"):
                k, v = (Instead.apply(repeat(x), mean(x)) for x in qkv[1:])
        scale = (self.c.get("query_pre_attn_scalar") or self.dim) ** -0.5
        if bug("scale_missing"):
            scale = 1.0
        if bug("scale_twice"):
            scale *= scale
        if bug("scale_hidden"):
            scale = self.c["hidden_size"] ** -0.5
        s = torch.einsum("qhd,khd->hqk", q, k) * scale
        if bug("dq_unscaled"):
            s = Instead.apply(s, torch.einsum("qhd,khd->hqk", q, k.detach()) + torch.einsum("qhd,khd->hqk", q.detach(), k) * scale)
        if bug("dk_unscaled"):
            s = Instead.apply(s, torch.einsum("qhd,khd->hqk", q.detach(), k) + torch.einsum("qhd,khd->hqk", q, k.detach()) * scale)
        if bug("dk_transposed"):
            s = Instead.apply(s, torch.einsum("qhd,khd->hqk", q, k.detach()) * scale +
                              torch.einsum("qhd,khd->hkq", q.detach(), k) * scale)
        if bug("softcap"):
            s = 50 * torch.tanh(s / 50)
        s = s.masked_fill(~mask, float("-inf"))
        t.put(name + ".attn.max", s.max(-1).values.t())
        t.put(name + ".attn.lse", s.logsumexp(-1).t())
        p = s.softmax(-1)
        if bug("softmax_grad_without_sum"):
            p = Instead.apply(p, s.masked_fill(~mask, 0) * p.detach())
        if bug("softmax_grad_diagonal"):
            p = Instead.apply(p, s.masked_fill(~mask, 0) * (p * (1 - p)).detach())
        if bug("softmax_grad_without_p"):
            p = Instead.apply(p, s.masked_fill(~mask, 0))
        if bug("softmax_without_max"):
            e = s.half().exp().to(s)
            p = e / e.sum(-1, keepdim=True)
        out = torch.einsum("hqk,khd->qhd", p, v)
        if bug("dv_transposed"):
            out = Instead.apply(out, torch.einsum("hqk,khd->qhd", p, v.detach()) + torch.einsum("hkq,khd->qhd", p.detach(), v))
        if bug("dv_of_scores"):
            out = Instead.apply(out, torch.einsum("hqk,khd->qhd", p, v.detach()) +
                                torch.einsum("hqk,khd->qhd", s.masked_fill(~mask, 0).detach(), v))
        return t.keep(name + ".attn.out", out.flatten(1))

    def layer(self, t, i, x, position, segment):
        name, rows = f"model.layers.{i}", len(x)
        sandwich = self.type == "gemma3_text"
        order = torch.arange(rows)
        mask = (segment[:, None] == segment[None]) & (order[None] <= order[:, None])
        if bug("mask_sees_next"):
            mask = (segment[:, None] == segment[None]) & (order[None] <= order[:, None] + 1)
        if bug("mask_without_self"):
            mask = mask & ((order[None] < order[:, None]) | (position[:, None] == 0))
        if bug("segments_leak"):
            mask = order[None] <= order[:, None]
        window = self.window(i)
        if window:
            window += bug("window_plus_one")
            if not bug("window_ignored"):
                mask = mask & (order[:, None] - order[None] < window)
        mask = mask.to(x.device)
        attn = name + ".self_attn"
        n = t.keep(name + ".input_layernorm.out", self.norm(name + ".input_layernorm.weight", x))
        qkv = {k: self.linear(t, f"{attn}.{k}_proj", k + "_proj", n, x) for k in "qkv"}
        for k in "qk":
            if attn + f".{k}_norm.weight" in self.w:
                heads = self.norm(attn + f".{k}_norm.weight", qkv[k].view(rows, -1, self.dim))
                qkv[k] = t.keep(f"{attn}.{k}_norm.out", heads.flatten(1))
            if self.rope_at(i):
                qkv[k] = t.keep(f"{attn}.{k}_rope.out", self.turn(qkv[k].view(rows, -1, self.dim), position, i).flatten(1))
        heads = [qkv[k].view(rows, -1, self.dim) for k in "qkv"]
        att = self.attention(t, attn, *heads, mask)
        o = self.linear(t, attn + ".o_proj", "o_proj", att)
        if sandwich:
            o = t.keep(name + ".post_attention_layernorm.out", self.norm(name + ".post_attention_layernorm.weight", o))
        if bug("residual_bfloat16"):
            x, o = x.bfloat16().to(x), o.bfloat16().to(o)
        mid = t.keep(name + ".mid", (n if bug("residual_from_norm") else x) + o)
        pre = ".pre_feedforward_layernorm" if sandwich else ".post_attention_layernorm"
        n = t.keep(name + pre + ".out", self.norm(name + pre + ".weight", mid))
        gate = self.linear(t, name + ".mlp.gate_proj", "gate_proj", n)
        up = self.linear(t, name + ".mlp.up_proj", "up_proj", n)
        if bug("gate_up_swapped"):
            gate, up = up, gate
        act = F.silu(gate) if (not sandwich) ^ bug("wrong_activation") else F.gelu(gate, approximate="tanh")
        if bug("silu_grad_without_x"):
            act = Instead.apply(act, gate * torch.sigmoid(gate).detach())
        if bug("silu_grad_sigmoid"):
            act = Instead.apply(act, torch.sigmoid(gate))
        if bug("silu_grad_sign"):
            act = Instead.apply(act, 2 * gate * torch.sigmoid(gate).detach() - F.silu(gate))
        if bug("gelu_grad_by_erf"):
            act = Instead.apply(act, F.gelu(gate))
        if bug("glu_grad_without_up"):
            act = Instead.apply(act, act / up.detach())
        if bug("gelu_exact"):
            act = F.gelu(gate)
        h = t.keep(name + ".mlp.act.out", act * up)
        if bug("glu_grad_dup_from_gate"):
            h = t.keep(name + ".mlp.act.out", Instead.apply(act * up, act * up.detach() + gate.detach() * up))
        if bug("glu_grads_swapped"):
            s = torch.sigmoid(gate).detach()
            slope = (s * (1 + gate * (1 - s)) * up).detach()
            h = t.keep(name + ".mlp.act.out", Instead.apply(act * up, act.detach() * gate + slope * up))
        down = self.linear(t, name + ".mlp.down_proj", "down_proj", h)
        if sandwich:
            down = t.keep(name + ".post_feedforward_layernorm.out", self.norm(name + ".post_feedforward_layernorm.weight", down))
        if bug("residual_grad_left_out"):
            mid = mid.detach()
        if bug("residual_grad_twice"):
            mid = Instead.apply(mid, 2 * mid)
        return t.keep(name + ".out", mid + down)

    def __call__(self, t, ids, position, segment, rows, targets):
        """Log-probabilities of the targets after the given rows."""
        t.put("ids", ids.int())
        t.put("position", position.int())
        table = self.w["model.embed_tokens.weight"]
        x = table[ids]
        if bug("embedding_grad_overwritten"):  # of a token that occurs twice the last row counts
            last = torch.tensor([int(r) not in ids[i + 1:].tolist() for i, r in enumerate(ids)], device=x.device)
            x = torch.where(last[:, None], x, x.detach())
        if bug("embedding_gradient_dropped"):
            x = x.detach().requires_grad_(x.requires_grad)
        if bug("embedding_grad_mean"):
            count = torch.bincount(ids.cpu(), minlength=len(table)).to(x)[ids]
            x = Instead.apply(x, x / count[:, None])
        if self.type == "gemma3_text" and not bug("embedding_unscaled"):
            x = x * self.c["hidden_size"] ** 0.5
        x = t.keep("model.embed_tokens.out", x)
        for i in range(self.c["num_hidden_layers"]):
            x = self.layer(t, i, x, position, segment)
        x = t.keep("model.rows", x[rows])
        n = t.keep("model.norm.out", self.norm("model.norm.weight", x))
        head = self.w["model.embed_tokens.weight" if self.c["tie_word_embeddings"] else "lm_head.weight"]
        if bug("tied_gradient_dropped"):
            head = head.detach()
        logits = t.keep("lm_head.out", n @ head.t())
        if bug("label_shift"):
            targets = ids[rows]
        logp = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
        chosen = logits.gather(1, targets[:, None])[:, 0]
        if bug("logits_grad_without_label"):
            logp = Instead.apply(logp, -logits.logsumexp(-1))
        if bug("logits_grad_without_softmax"):
            logp = Instead.apply(logp, chosen)
        if bug("logits_grad_label_shift"):
            wrong = ids[rows]
            logp = Instead.apply(logp, logits.log_softmax(-1).gather(1, wrong[:, None])[:, 0])
        if bug("logits_grad_probability"):  # of p(target), not of its logarithm
            logp = Instead.apply(logp, logits.softmax(-1).gather(1, targets[:, None])[:, 0])
        if bug("logits_grad_mean"):
            logp = Instead.apply(logp, logp / len(rows))
        return t.keep("logp", logp)


class Item:
    """Names a trace's tensors after their item."""

    def __init__(self, trace, i):
        self.trace, self.prefix = trace, f"item.{i}/"

    def put(self, name, tensor):
        self.trace.put(self.prefix + name, tensor)

    def keep(self, name, tensor, source=None):
        return self.trace.keep(self.prefix + name, tensor, source)


class Silence:
    def put(self, name, tensor):
        pass

    def keep(self, name, tensor, source=None):
        return tensor


# ---- the loss ----

def phi(loss, turns, n):
    """A weight for every token of a side."""
    out, count = torch.zeros(n, dtype=torch.float64), len(turns)
    for t, (begin, end) in enumerate(turns):
        if loss["objective"] == "dmpo":
            g = loss["gamma"]
            w = g ** t * (1 - g ** (count - t)) / (1 - g ** count) if g not in (0, 1) else (count - t) / count
            if bug("phi_without_gamma_t"):
                w = (1 - g ** (count - t)) / (1 - g ** count)
            if bug("phi_from_one"):
                w = g ** (t + 1) * (1 - g ** (count - t)) / (1 - g ** count)
        else:
            w = 1.0
        if bug("first_turn_dropped") and t == 0:
            continue
        if bug("mean_over_tokens"):
            w /= end - begin
        if bug("mean_over_turns"):
            w /= count
        out[begin:end - bug("end_of_turn_left_out")] = w
    if bug("prompt_counted"):
        out[1:turns[0][0]] = 1.0
    return out


def rows_of(pair, sft, device):
    """Both sides one after the other: ids, positions, segments, rows that predict, their targets, and for each side the
    predictions of its action tokens with their places in the side."""
    ids, position, segment, rows, targets, sides = [], [], [], [], [], []
    for s, side in enumerate(("chosen",) if sft else ("chosen", "rejected")):
        begin, mine = len(ids), []
        ids += pair[side]["ids"]
        position += range(len(pair[side]["ids"]))
        segment += [s] * len(pair[side]["ids"])
        for a, b in pair[side]["turns"]:
            for i in range(a, b):
                mine.append((len(rows), i))
                rows.append(begin + i - 1)
                targets.append(pair[side]["ids"][i])
        sides.append(mine)
    return *(torch.tensor(x, device=device) for x in (ids, position, segment, rows, targets)), sides


def train_step(a, case, config, weights, reference, path):
    torch.manual_seed(0)
    loss = dict(objective=a.method, beta=0.1, gamma=0.7)
    if a.method in ("sft", "dpo"):
        loss["gamma"] = 0.7
    optimizer = dict(beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, max_grad_norm=100.0 if bug("clip_raises") else 0.5,
                     clip_eps=1e-6)
    dtype, device = getattr(torch, a.dtype), a.device
    names = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}
    precision = dict(compute=names[a.dtype], accumulate="f64" if a.dtype == "float64" else "f32")
    if a.inputs:
        precision["inputs"] = a.inputs
    lora = dict(r=a.lora, alpha=2.0 * a.lora, targets=["q_proj", "v_proj", "down_proj"]) if a.lora else None
    weights = {k: v.to(device, dtype).requires_grad_(not lora) for k, v in weights.items()}
    if lora:
        for i in range(config["num_hidden_layers"]):
            for m in lora["targets"]:
                name = f"model.layers.{i}.{'mlp' if m == 'down_proj' else 'self_attn'}.{m}"
                out, inn = weights[name + ".weight"].shape
                for k, shape in (("A", (a.lora, inn)), ("B", (out, a.lora))):
                    w = (torch.randn(shape) * 0.2).to(device, dtype)
                    weights[f"base_model.model.{name}.lora_{k}.weight"] = w.requires_grad_()
    trained = {k: v for k, v in weights.items() if v.requires_grad}
    sft = a.method == "sft"
    pairs = case["pairs"][:a.items]
    trace = Trace(config, pairs, loss, optimizer, lr=a.lr, precision=precision, lora=lora, writer="PyTorch port")
    for name, w in weights.items():
        trace.put(name, w)
    policy, base = Model(config, weights, lora), Model(config, {k: v.to(device, dtype) for k, v in reference.items()})
    scores, kept, sizes = [], [], sum(b - x for p in pairs for x, b in p["chosen"]["turns"])
    for i, pair in enumerate(pairs):
        t = Item(trace, i)
        *inputs, sides = rows_of(pair, sft, device)
        if bug("accumulation_overwritten"):  # the last item's gradient of the weights is all that stays
            last = i == len(pairs) - 1
            policy.w = weights if last else {k: hooked(w, torch.zeros_like) for k, w in weights.items()}
        logp = policy(t, *inputs)
        with torch.no_grad():
            ref = base(Silence(), *inputs)
        score = [torch.zeros((), dtype=torch.float64, device=device)] * 4
        weight_at = torch.zeros(2, len(logp), dtype=torch.float64, device=device)
        for s, mine in enumerate(sides):
            side = ("chosen", "rejected")[s]
            at, tokens = torch.tensor([m[0] for m in mine], device=device), [m[1] for m in mine]
            weight = phi(loss, pair[side]["turns"], len(pair[side]["ids"])).to(device)
            t.put("phi." + side, weight)
            l = logp[at].double()
            if bug("coef_without_phi"):
                l = Instead.apply(l, (l * (weight[tokens] > 0) / weight[tokens].clamp(min=1e-9)))
            if bug("coef_mean_over_tokens"):
                l = Instead.apply(l, l / len(l))
            if bug("coef_rejected_dropped") and s == 1:
                l = l.detach()
            r = torch.zeros_like(l) if sft else ref[at].double()
            if not sft:
                t.put("reference_logp." + side, ref[at])
            score[s], score[2 + s] = (weight[tokens] * (l - r)).sum(), l.sum()
            if bug("reference_left_out"):
                score[s] = (weight[tokens] * l).sum()
        kept.append(score)
        scores.append(torch.stack(score))
        t.put("score", scores[-1])
    trace_loss(a, trace, loss, kept, sizes)
    value = loss_of(a, loss, kept, sizes)
    trace.put("loss", value.reshape(1))
    value.backward()
    finish(a, trace, trained, optimizer)
    trace.save(path)


def loss_of(a, loss, scores, tokens):
    if a.method == "sft":
        return -sum(s[2] for s in scores) / (len(scores) if bug("sft_over_items") else tokens)
    margin = [loss["beta"] * (s[0] - s[1]) for s in scores]
    if bug("loss_grad_without_beta"):
        margin = [Instead.apply(m, m / loss["beta"]) for m in margin]
    if bug("loss_grad_complement"):  # sigmoid(m) for sigmoid(-m)
        margin = [Instead.apply(m, m * (torch.sigmoid(m) / torch.sigmoid(-m)).detach()) for m in margin]
    if bug("loss_grad_rejected_sign"):
        margin = [Instead.apply(m, loss["beta"] * (s[0] + s[1])) for m, s in zip(margin, scores)]
    if bug("sides_swapped"):
        margin = [-m for m in margin]
    if bug("beta_missing"):
        margin = [m / loss["beta"] for m in margin]
    total = sum(-F.logsigmoid(m) for m in margin)
    return total if bug("loss_sum") else total / len(scores)


def trace_loss(a, trace, loss, scores, tokens):
    """dL/ds by autograd on copies of the scores."""
    copies = [[x.detach().clone().requires_grad_() for x in s] for s in scores]
    loss_of(a, loss, copies, tokens).backward()
    grad = lambda x: 0.0 if x.grad is None else x.grad.item()
    which = 2 if a.method == "sft" else 0
    trace.put("score.grad", torch.tensor([[grad(s[which]), 0.0 if which else grad(s[1])] for s in copies], dtype=torch.float64))


# ---- the optimizer ----

def wide(p):
    return p.dtype if p.dtype == torch.float64 else torch.float32


def finish(a, trace, trained, o):
    """Clips, and takes AdamW's first step (or its second, with --second)."""
    if bug("layer_gradient_scaled"):
        next(p for n, p in trained.items() if "layers.1" in n and p.dim() == 2).grad *= 1.001
    for name, p in trained.items():
        p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        trace.put(name + ".grad", p.grad)
    total = torch.sqrt(sum(p.grad.double().pow(2).sum() for p in trained.values()))
    if bug("norm_without_embedding"):
        total = torch.sqrt(sum(p.grad.double().pow(2).sum() for n, p in trained.items() if "embed" not in n))
    if bug("norm_without_root"):
        total = total ** 2
    if bug("norm_root_mean"):
        total = total / sum(p.numel() for p in trained.values()) ** 0.5
    if bug("norm_of_norms"):
        total = sum(p.grad.double().norm() for p in trained.values())
    limit = o["max_grad_norm"]
    factor = torch.clamp(limit / (total + o["clip_eps"]), max=1.0)
    if bug("clip_raises"):
        factor = limit / (total + o["clip_eps"])
    if bug("clip_by_value"):
        factor = torch.clamp(limit / max(p.grad.abs().max() for p in trained.values()), max=1.0)
    trace.put("grad_norm", total.reshape(1))
    trace.put("clip_factor", factor.reshape(1))
    b1, b2, lr, t = o["beta1"], o["beta2"], a.lr, 1
    for name, p in trained.items():
        with torch.no_grad():
            grad, p = p.grad.to(wide(p)), p.to(wide(p))  # moments and new weights are never 16-bit
            g = grad * (1.0 if bug("clip_not_applied") else factor.to(p))
            if bug("clipped_twice"):
                g = grad * factor.to(p) ** 2
            if bug("gradient_in_bfloat16"):
                g = g.bfloat16().to(p)
            if bug("gradient_sign"):
                g = -g
            if bug("clip_per_tensor"):
                g = grad * min(1.0, limit / grad.norm())
            if bug("decay_coupled"):
                g = g + o["weight_decay"] * p
            m, v = (1 - b1) * g, (1 - b2) * g * g
            if bug("moment_without_one_minus"):
                m = g.clone()
            if bug("betas_swapped"):
                m, v = (1 - b2) * g, (1 - b1) * g * g
            if bug("v_unclipped"):
                v = (1 - b2) * grad * grad
            if bug("v_of_moment"):
                v = (1 - b2) * m * m
            if bug("v_of_magnitude"):
                v = (1 - b2) * g.abs()
            if bug("v_without_one_minus"):
                v = g * g
            if bug("v_mean_over_tensor"):
                v = torch.full_like(g, float((1 - b2) * (g * g).mean()))
            first, second = 1 - b1 ** t, 1 - b2 ** t
            if bug("correction_missing"):
                first = second = 1.0
            if bug("correction_of_m_alone"):
                second = 1.0
            if bug("correction_of_v_alone"):
                first = 1.0
            if bug("corrections_swapped"):
                first, second = second, first
            if bug("correction_late"):
                first, second = 1 - b1 ** (t + 1), 1 - b2 ** (t + 1)
            root = (v / second + o["eps"]).sqrt() if bug("eps_inside_root") else (v / second).sqrt() + o["eps"]
            if bug("eps_before_correction"):
                root = (v.sqrt() + o["eps"]) / second ** 0.5
            if bug("correction_outside_root"):
                root = v.sqrt() / second + o["eps"]
            if bug("root_left_out"):
                root = v / second + o["eps"]
            if bug("eps_twice"):
                root = root + o["eps"]
            w = p * (1 - lr * o["weight_decay"] * (not bug("decay_coupled") and not bug("decay_missing")))
            if bug("decay_without_lr"):
                w = p * (1 - o["weight_decay"])
            if bug("decay_sign"):
                w = p * (1 + lr * o["weight_decay"])
            w = w - lr * (m / first) / root
            if bug("decay_of_update"):
                w = p - lr * (m / first) / root * (1 + o["weight_decay"])
            if bug("learning_rate_twice"):
                w = p * (1 - lr * o["weight_decay"]) - lr * lr * (m / first) / root
            if bug("sign_of_moment"):
                w = p * (1 - lr * o["weight_decay"]) - lr * m.sign()
            if bug("ascent"):
                w = p * (1 - lr * o["weight_decay"]) + lr * (m / first) / root
            trace.put(name + ".exp_avg", m)
            trace.put(name + ".exp_avg_sq", v)
            trace.put(name + ".new", w)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("case")
    a.add_argument("trace")
    a.add_argument("--method", default="dmpo", choices=("dmpo", "dpo", "sft"))
    a.add_argument("--dtype", default="float32", choices=("float64", "float32", "bfloat16", "float16"))
    a.add_argument("--device", default="cpu")
    a.add_argument("--items", type=int, default=2)
    a.add_argument("--lora", type=int, default=0)
    a.add_argument("--lr", type=float, default=1e-3)
    a.add_argument("--inputs", help="what matrix products round their inputs to, for the manifest")
    a.add_argument("--bug", action="append", default=[])
    a = a.parse_args()
    BUGS.update(a.bug)
    case = json.load(open(os.path.join(a.case, "case.json")))
    config = json.load(open(os.path.join(a.case, "model", "config.json")))
    weights, reference = (read_safetensors(os.path.join(a.case, d, "model.safetensors")) for d in ("model", "reference"))
    train_step(a, case, config, weights, reference, a.trace)


if __name__ == "__main__":
    main()
