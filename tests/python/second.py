#!/usr/bin/env python3
"""A second implementation of docs/numerics.md: initial weights, SFT, DMPO and RLOO steps in numpy, the same bits as
dmpo.

    BUILD=DIR python3 tests/python/second.py

Written from that page, section by section, and as slow as that sounds. Needs numpy; sections 1 to 3 are in
tests/python/second_math.py, section 7 in tests/python/second_loss.py. Ends with "second: N passed, N failed".
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy as np

import transcript
from second_loss import Batch, pair_loss, rloo_loss, score, sft_loss
from second_math import (cos, dot, exp32, expm1, f32, f64, fma32, fold, hexf, lanes16_max, lanes16_sum, log, log32,
                         normal, power, product, shuffled, sigmoid32, sin)

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
passed = failed = 0


def check(ok, message):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    if not ok:
        print("FAILED:", message)


# ---- files ----

def read_safetensors(path):
    data = open(path, "rb").read()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    return {k: np.frombuffer(data[8 + size:][slice(*v["data_offsets"])], "<f4").reshape(v["shape"]).copy()
            for k, v in header.items()}


def same_bits(what, ours, theirs):
    check(ours.keys() == theirs.keys(), f"{what}: tensors {sorted(ours)} and {sorted(theirs)}")
    for k in ours:
        differ = int((ours[k].view(np.uint32) != theirs[k].view(np.uint32)).sum())
        check(differ == 0, f"{what}: {k}: {differ} of {ours[k].size} elements have other bits")


# ---- 4. a model in memory ----

def is_gemma(c):
    return c["model_type"] == "gemma3_text"


def tensor_names(c):
    names = ["model.embed_tokens.weight"]
    for i in range(c["num_hidden_layers"]):
        own = ["input_layernorm.weight"] + [f"self_attn.{x}_proj.weight" for x in "qkv"]
        if c["model_type"] == "qwen2":
            own += [f"self_attn.{x}_proj.bias" for x in "qkv"]
        if c["model_type"] in ("qwen3", "gemma3_text"):
            own += [f"self_attn.{x}_norm.weight" for x in "qk"]
        own += ["self_attn.o_proj.weight", "post_attention_layernorm.weight"]
        own += ["pre_feedforward_layernorm.weight"] if is_gemma(c) else []
        own += [f"mlp.{x}_proj.weight" for x in ("gate", "up", "down")]
        own += ["post_feedforward_layernorm.weight"] if is_gemma(c) else []
        names += [f"model.layers.{i}.{x}" for x in own]
    return names + ["model.norm.weight"] + ([] if c["tie_word_embeddings"] else ["lm_head.weight"])


def initial_weights(c, shapes, seed, std):
    w = {}
    for i, name in enumerate(tensor_names(c)):
        w[name] = np.full(shapes[name], 0 if name.endswith("bias") or is_gemma(c) else 1, f32)
        if len(shapes[name]) == 2:
            w[name].ravel()[:] = [f32(normal(seed, 1, i, j) * std) for j in range(w[name].size)]
    return w


def rope_tables(c, positions, local=False):
    pi, d = hexf("0x1.921fb54442d18p1"), c["head_dim"]
    scaling = {} if local else c.get("rope_scaling") or {}
    theta = float(c["rope_local_base_freq" if local else "rope_theta"])
    tables = np.zeros((2, positions, d // 2), f32)
    for i in range(d // 2):
        plain = frequency = 1 / power(theta, 2.0 * i / d)
        if scaling.get("rope_type") == "linear":
            frequency = plain / scaling["factor"]
        elif scaling.get("rope_type") == "llama3":
            wave, length = (2 * pi) / plain, float(scaling["original_max_position_embeddings"])
            low, high, factor = scaling["low_freq_factor"], scaling["high_freq_factor"], scaling["factor"]
            if wave > length / low:
                frequency = plain / factor
            elif wave >= length / high:
                smooth = (length / wave - low) / (high - low)
                frequency = ((1 - smooth) * plain) / factor + smooth * plain
        for p in range(positions):
            tables[:, p, i] = cos(p * frequency), sin(p * frequency)
    return tables


# ---- 5. a training item as one packed sequence ----

class Pack:
    def __init__(self, sides):
        ids = [s["ids"] for s in sides]
        shared = 0
        while len(ids) == 2 and shared < min(map(len, ids)) and ids[0][shared] == ids[1][shared]:
            shared += 1
        turn = [{i: t for t, (b, e) in enumerate(s["turns"]) for i in range(b, e)} for s in sides]
        self.turns = [len(s["turns"]) for s in sides]
        self.ids, self.position = ids[0][:shared], list(range(shared))
        self.segments = [(list(range(shared)), 0)] if shared else []  # rows of the logical sequence, its first query
        self.entry_row, self.target = [], []
        self.entry_of, self.turn_of = [[] for _ in sides], [[] for _ in sides]
        for i in range(shared):
            self.add_entry([s for s in range(len(sides)) if i in turn[s]], i, i - 1, ids[0][i], turn)
        for s in range(len(sides)):
            begin = len(self.ids)
            row = lambda i: i if i < shared else begin + i - shared
            for i in range(shared, len(ids[s])):
                self.add_entry([s] if i in turn[s] else [], i, row(i - 1), ids[s][i], turn)
                self.ids, self.position = self.ids + [ids[s][i]], self.position + [i]
            if begin < len(self.ids):
                self.segments.append((list(range(shared)) + list(range(begin, len(self.ids))), shared))

    def add_entry(self, sides, i, row, target, turn):
        for s in sides:
            self.entry_of[s].append(len(self.target))
            self.turn_of[s].append(turn[s][i])
        if sides:
            self.entry_row.append(row)
            self.target.append(target)


# ---- 6. and 8.: forward and backward ----

def rmsnorm(x, w, eps):
    inv = f32(1) / np.sqrt(dot(x, x) / f32(x.shape[-1]) + eps)
    return (x * inv[..., None]) * w, inv


def rmsnorm_backward(dw, dy, x, w, inv):
    """adds to dw, returns r"""
    flat = lambda a: a.reshape(-1, a.shape[-1])
    for dyt, xt, i in zip(flat(dy), flat(x), inv.ravel()):
        dw[:] = fma32(dyt, xt * i, dw)
    a = dy * w
    c = dot(a, x) * ((inv * inv) * inv) / f32(x.shape[-1])
    return fma32(-c[..., None], x, a * inv[..., None])


def rope(x, tables, position, sign):
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    c, s = tables[0][position][:, None], sign * tables[1][position][:, None]
    return np.concatenate([fma32(-b, s, a * c), fma32(a, s, b * c)], -1)


class Attention:
    """One head and segment; its query rows are aligned so that column 0 is each one's first visible key."""

    def __init__(self, rows, first, window, scale, q, k, v):
        n = len(rows)
        self.rows, self.queries = np.array(rows), np.arange(first, n)
        self.low = np.maximum(0, self.queries - (window or n) + 1)
        self.seen = self.queries + 1 - self.low
        self.column = np.arange(self.seen.max())
        self.visible = self.column < self.seen[:, None]
        self.key = self.rows[np.where(self.visible, self.low[:, None] + self.column, 0)]
        self.own = self.rows[first:]
        self.q, self.k, self.v = q[self.own], k, v
        self.scale = scale
        s = np.where(self.visible, self.scores(self.q, k) * self.scale, f32(-np.inf))
        e = np.where(self.visible, exp32(s - lanes16_max(s)[:, None]), f32(0))  # + 0 changes no sum of these
        self.p = e * (f32(1) / fold(lanes16_sum(e), np.add))[:, None]

    def scores(self, x, keys):
        acc = np.zeros(self.visible.shape, f32)
        for d in range(x.shape[1]):
            acc = fma32(x[:, d:d + 1], keys[:, d][self.key], acc)
        return acc

    def weighted(self, weights, values):
        acc = np.zeros((len(self.own), values.shape[1]), f32)
        for j in self.column:
            now = fma32(weights[:, j:j + 1], values[self.key[:, j]], acc)
            acc = np.where(self.visible[:, j:j + 1], now, acc)
        return acc

    def backward(self, dout, dk, dv):
        """adds to dk and dv, returns dq"""
        dout = dout[self.own]
        dp, d = self.scores(dout, self.v), np.zeros(len(self.own), f32)
        for r, n in enumerate(self.seen):
            d[r] = dot(self.p[r, :n], dp[r, :n])
        ds = (self.p * (dp - d[:, None])) * self.scale
        for r, n in enumerate(self.seen):
            keys = self.key[r, :n]
            dk[keys] = fma32(ds[r, :n, None], self.q[r], dk[keys])
            dv[keys] = fma32(self.p[r, :n, None], dout[r], dv[keys])
        return self.weighted(ds, self.k)


class Network:
    def __init__(self, config, weights, positions):
        self.c, self.w = config, weights
        self.gemma, self.eps = is_gemma(config), f32(config["rms_norm_eps"])
        both = [rope_tables(config, positions)] + ([rope_tables(config, positions, True)] if self.gemma else [])
        self.tables = [both[-1 if self.gemma and self.window(i) else 0] for i in range(config["num_hidden_layers"])]
        self.scale = f32(1 / np.sqrt(f64(config["query_pre_attn_scalar" if self.gemma else "head_dim"])))
        self.head = "model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"

    def window(self, layer):
        types = self.c.get("layer_types")
        inside = types[layer] == "sliding_attention" if types else self.c["model_type"] == "mistral"
        return self.c.get("sliding_window") if inside else None

    def norm(self, name):
        return self.w[name] + f32(1) if self.gemma else self.w[name]

    def ffn_norm(self, p):
        return p + ("pre_feedforward" if self.gemma else "post_attention") + "_layernorm.weight"

    def after(self, a, key, x, name):
        """Gemma 3: the norm after half a layer, of what is added to the residual"""
        if not self.gemma:
            return x
        a[key + "_raw"] = x
        y, a[key + "_inv"] = rmsnorm(x, self.norm(name), self.eps)
        return y

    def after_backward(self, a, key, dx, name, dw):
        return rmsnorm_backward(dw[name], dx, a[key + "_raw"], self.norm(name), a[key + "_inv"]) if self.gemma else dx

    def gate(self, g):
        """(sigmoid's value, what multiplies it in its derivative)"""
        if not self.gemma:
            return sigmoid32(g), g
        c1, c3, c3x3 = (f32(hexf(x)) for x in ("0x1.988454p0", "0x1.2444f2p-4", "0x1.b6676cp-3"))
        c = np.minimum(f32(16), np.maximum(f32(-16), g))
        return sigmoid32(c * fma32(c3, c * c, c1)), c * fma32(c3x3, c * c, c1)

    def heads(self, x, name, pack, tables):
        """projection, bias, norm and RoPE of q or k: [rows, heads, D], and what the backward needs"""
        raw = product(x, self.w[name + "_proj.weight"].T)
        if name + "_proj.bias" in self.w:
            raw = raw + self.w[name + "_proj.bias"]
        raw = raw.reshape(len(raw), -1, self.c["head_dim"])
        y, inv, norm = raw, None, name + "_norm.weight"
        if norm in self.w:
            y, inv = rmsnorm(raw, self.norm(norm), self.eps)
        return rope(y, tables, pack.position, f32(1)), raw, inv

    def forward(self, pack):
        c, w = self.c, self.w
        group = c["num_attention_heads"] // c["num_key_value_heads"]
        x, self.saved = w["model.embed_tokens.weight"][pack.ids], []
        x = x * f32(np.sqrt(f64(c["hidden_size"]))) if self.gemma else x
        for i in range(c["num_hidden_layers"]):
            p = f"model.layers.{i}."
            a = dict(x=x)
            a["n1"], a["inv1"] = rmsnorm(x, self.norm(p + "input_layernorm.weight"), self.eps)
            a["q"], a["q_raw"], a["q_inv"] = self.heads(a["n1"], p + "self_attn.q", pack, self.tables[i])
            a["k"], a["k_raw"], a["k_inv"] = self.heads(a["n1"], p + "self_attn.k", pack, self.tables[i])
            v = product(a["n1"], w[p + "self_attn.v_proj.weight"].T)
            v = v + w[p + "self_attn.v_proj.bias"] if p + "self_attn.v_proj.bias" in w else v
            v = v.reshape(len(v), -1, c["head_dim"])
            att = np.zeros_like(a["q"])
            a["cells"] = {}
            for s, (rows, first) in enumerate(pack.segments):
                for h in range(c["num_attention_heads"]):
                    cell = Attention(rows, first, self.window(i), self.scale, a["q"][:, h], a["k"][:, h // group],
                                     v[:, h // group])
                    a["cells"][s, h] = cell
                    att[cell.own, h] = cell.weighted(cell.p, cell.v)
            att = att.reshape(len(att), -1)
            if i + 1 == c["num_hidden_layers"]:
                att, x = att[pack.entry_row], x[pack.entry_row]
            o = product(att, w[p + "self_attn.o_proj.weight"].T)
            a["att"], a["mid"] = att, x + self.after(a, "o", o, p + "post_attention_layernorm.weight")
            a["n2"], a["inv2"] = rmsnorm(a["mid"], self.norm(self.ffn_norm(p)), self.eps)
            a["g"] = product(a["n2"], w[p + "mlp.gate_proj.weight"].T)
            a["u"] = product(a["n2"], w[p + "mlp.up_proj.weight"].T)
            a["h"] = (a["g"] * self.gate(a["g"])[0]) * a["u"]
            down = product(a["h"], w[p + "mlp.down_proj.weight"].T)
            x = a["mid"] + self.after(a, "down", down, p + "post_feedforward_layernorm.weight")
            self.saved.append(a)
        self.x = x
        self.y, self.inv = rmsnorm(x, self.norm("model.norm.weight"), self.eps)
        self.logits = product(self.y, w[self.head].T)
        top, lanes = np.full(len(x), -np.finfo(f32).max, f32), np.zeros((len(x), 16), f32)
        for begin in range(0, c["vocab_size"], 2048):
            chunk = self.logits[:, begin:begin + 2048]
            m = lanes16_max(chunk)
            larger = m > top
            lanes = np.where(larger[:, None], lanes * exp32(np.where(larger, top - m, f32(0)))[:, None], lanes)
            top = np.where(larger, m, top)
            lanes = lanes16_sum(exp32(chunk - top[:, None]), lanes)
        self.top, self.log_sum = top, log32(fold(lanes, np.add))
        return (self.logits[np.arange(len(x)), pack.target] - top) - self.log_sum

    def backward(self, pack, coef, dw):
        c, w = self.c, self.w
        outer = lambda name, dy, x: dw.__setitem__(name, product(dy.T, x, dw[name]))
        l = -(coef[:, None] * exp32((self.logits - self.top[:, None]) - self.log_sum[:, None]))
        at = np.arange(len(coef)), pack.target
        l[at] = l[at] + coef
        dy = product(l, w[self.head])
        outer(self.head, l, self.y)
        dx = rmsnorm_backward(dw["model.norm.weight"], dy, self.x, self.norm("model.norm.weight"), self.inv)
        for i in reversed(range(c["num_hidden_layers"])):
            p, a = f"model.layers.{i}.", self.saved[i]
            d = self.after_backward(a, "down", dx, p + "post_feedforward_layernorm.weight", dw)
            outer(p + "mlp.down_proj.weight", d, a["h"])
            dh, (s, t) = product(d, w[p + "mlp.down_proj.weight"]), self.gate(a["g"])
            du = dh * (a["g"] * s)
            dg = (dh * a["u"]) * (s * fma32(t, f32(1) - s, f32(1)))
            outer(p + "mlp.gate_proj.weight", dg, a["n2"])
            outer(p + "mlp.up_proj.weight", du, a["n2"])
            dn = product(du, w[p + "mlp.up_proj.weight"], product(dg, w[p + "mlp.gate_proj.weight"]))
            name = self.ffn_norm(p)
            dx = dx + rmsnorm_backward(dw[name], dn, a["mid"], self.norm(name), a["inv2"])
            dx = self.attention_backward(pack, i, dx, dw, outer)
        dx = dx * f32(np.sqrt(f64(c["hidden_size"]))) if self.gemma else dx
        for t, row in zip(pack.ids, dx):
            dw["model.embed_tokens.weight"][t] = dw["model.embed_tokens.weight"][t] + row

    def attention_backward(self, pack, i, dx, dw, outer):
        c, w, p, a = self.c, self.w, f"model.layers.{i}.", self.saved[i]
        group = c["num_attention_heads"] // c["num_key_value_heads"]
        d = self.after_backward(a, "o", dx, p + "post_attention_layernorm.weight", dw)
        outer(p + "self_attn.o_proj.weight", d, a["att"])
        datt = product(d, w[p + "self_attn.o_proj.weight"])
        if i + 1 == c["num_hidden_layers"]:
            narrow, datt = (dx, datt), np.zeros((len(pack.ids), datt.shape[1]), f32)
            dx = np.zeros((len(pack.ids), dx.shape[1]), f32)
            for e, row in enumerate(pack.entry_row):
                dx[row], datt[row] = dx[row] + narrow[0][e], datt[row] + narrow[1][e]
        datt = datt.reshape(len(datt), -1, c["head_dim"])
        dq, dk, dv = np.zeros_like(a["q"]), np.zeros_like(a["k"]), np.zeros_like(a["k"])
        for s, h in a["cells"]:  # segments, in one the heads
            cell = a["cells"][s, h]
            dq[cell.own, h] = cell.backward(datt[:, h], dk[:, h // group], dv[:, h // group])
        d = {}
        for x, dy in (("q", dq), ("k", dk)):
            dy, name = rope(dy, self.tables[i], pack.position, f32(-1)), p + f"self_attn.{x}_norm.weight"
            d[x] = rmsnorm_backward(dw[name], dy, a[x + "_raw"], self.norm(name), a[x + "_inv"]) if name in w else dy
        d["v"] = dv
        dn = None
        for x in "qkv":
            dy, name = d[x].reshape(len(dx), -1), p + f"self_attn.{x}_proj."
            outer(name + "weight", dy, a["n1"])
            if name + "bias" in w:
                for row in dy:
                    dw[name + "bias"] = dw[name + "bias"] + row
            dn = product(dy, w[name + "weight"], dn)
        name = p + "input_layernorm.weight"
        return dx + rmsnorm_backward(dw[name], dn, a["x"], self.norm(name), a["inv1"])


# ---- 9. optimizer ----

def train(o, config, weights, items, each=lambda *step: None):
    """losses and gradient norms of each step; weights and moments change; calls `each` after a step"""
    sft, rloo = (o["objective"] == x for x in ("sft", "rloo"))
    sides = lambda item: [item["chosen"]] + ([] if sft or rloo else [item["rejected"]])
    net = Network(config, weights, max(len(s["ids"]) for item in items for s in sides(item)))
    packs = [Pack(sides(item)) for item in items]
    logps = [net.forward(p) for p in packs]
    reference = [[l[e] for e in p.entry_of] for l, p in zip(logps, packs)]
    names = tensor_names(config)
    m, v = ({k: np.zeros_like(weights[k]) for k in names} for _ in range(2))
    per_epoch, metrics = -(-len(items) // o["batch"]), []
    for step in range(o["steps"]):
        order = shuffled(len(items), o["seed"], step // per_epoch)
        batch = order[step % per_epoch * o["batch"]:][:o["batch"]]
        loss, shards = 0.0, min(o.get("shards", 1), len(batch))
        sums = [{k: np.zeros_like(weights[k]) for k in names} for _ in range(shards)]
        tokens = sum(len(packs[i].entry_of[0]) for i in batch)
        if not sft and not rloo:
            logps = [net.forward(packs[i]) for i in batch]
            scores = [[score(o, packs[i], l, reference[i], side)[0] for side in (0, 1)] for i, l in zip(batch, logps)]
            known = Batch(o["beta"], scores)
        for j, i in enumerate(batch):
            logp = net.forward(packs[i])
            one, coef = (sft_loss(logp, packs[i], tokens) if sft else
                         rloo_loss(logp, packs[i], items[i]["advantage"], len(batch)) if rloo else
                         pair_loss(o, logp, packs[i], reference[i], known))
            loss += one
            net.backward(packs[i], coef, sums[j % shards])
        for w in (1 << k for k in range(8)):
            for s in range(0, shards - w, 2 * w):
                for k in names:
                    sums[s][k] += sums[s + w][k]
        dw = sums[0]
        flat = np.concatenate([np.pad(dw[k].ravel(), (0, -dw[k].size % 16)) for k in names])
        norm = 0.0
        for begin in range(0, len(flat), 4096):
            part = flat[begin:begin + 4096]
            norm += float(dot(part, part))
        norm = float(np.sqrt(norm))
        clip = f32(o["max-grad-norm"] / norm if norm > o["max-grad-norm"] else 1)
        w_steps = o["warmup-steps"]
        r = (step - w_steps) / (o["steps"] - w_steps)
        lr = (o["lr"] * ((step + 1) / w_steps) if step < w_steps else
              o["lr"] * ((1 + cos(hexf("0x1.921fb54442d18p1") * r)) / 2))
        correction = [-expm1((step + 1) * log(b)) for b in (0.9, 0.999)]
        b1, r1, b2, r2, decay, size, ic, eps = map(f32, (0.9, 1 - 0.9, 0.999, 1 - 0.999, 1 - lr * o["weight-decay"],
                                                         lr / correction[0], 1 / np.sqrt(correction[1]), 1e-8))
        for k in names:
            g = dw[k] * clip
            m[k] = fma32(r1, g, b1 * m[k])
            v[k] = fma32(r2, g * g, b2 * v[k])
            weights[k][:] = weights[k] * decay - (size * m[k]) / fma32(np.sqrt(v[k]), ic, eps)
        metrics.append((loss / (tokens if sft else 1 if rloo else len(batch)), norm, lr))
        read = sum(len(s["ids"]) for i in batch for s in sides(items[i]))
        each(step + 1, step // per_epoch, read, *metrics[-1], batch)
    return metrics, m, v


# ---- against dmpo ----

def dmpo(*args):
    subprocess.run([os.path.join(BUILD, "dmpo"), *map(str, args), "--quiet"], check=True, stdout=subprocess.DEVNULL)


def make_items(count, vocabulary):
    """Pairs that share nothing, a beginning, and a beginning that ends inside of a turn."""
    g = np.random.default_rng(1)
    items = []
    for i in range(count):
        common = g.integers(vocabulary, size=[0, 9, 12, 5][i % 4]).tolist()
        sides = []
        for side in (0, 1):
            ids = common + g.integers(vocabulary, size=int(g.integers(9, 25))).tolist()
            turns = [[2, 5], [8, min(14, len(ids))]] + ([[17, len(ids)]] if len(ids) > 18 else [])
            sides.append(dict(ids=ids, turns=turns))
        items.append(dict(id=f"item {i}", chosen=sides[0], rejected=sides[1]))
    return items


def flags_of(options):
    return [x for k, v in options.items() for x in (f"--{k}", v)]


def check_run(name, model, config, items, options, work):
    data, out = os.path.join(work, "items.jsonl"), os.path.join(work, "out-" + name)
    with open(data, "w") as f:
        f.writelines(json.dumps(item) + "\n" for item in items)
    dmpo("train", "--model", model, "--data", data, "--output", out, *flags_of(options))
    compare_run(name, out, model, config, items, options)
    return out


def compare_run(name, out, model, config, items, options, before=b""):
    """before: the digest of a round's episodes"""
    weights = read_safetensors(os.path.join(model, "model.safetensors"))
    theirs = open(os.path.join(out, "transcript.bin"), "rb").read()
    values = lambda: np.concatenate([np.pad(weights[k].ravel(), (0, -weights[k].size % 16))
                                     for k in tensor_names(config)]).astype("<f4").tobytes()
    ours = transcript.Writer(options["steps"], theirs[32:64], values())  # the identity is dmpo's own
    ids = [item["id"] for item in items]
    metrics, m, v = train(options, config, weights, items, lambda *step: ours.add(*step, ids, values(), before))
    check(ours.data == theirs, f"{name}: another transcript")
    check(not transcript.problems(out), f"{name}: {transcript.problems(out)}")
    same_bits(f"{name}, weights", weights, read_safetensors(os.path.join(out, "model.safetensors")))
    moments = {"exp_avg." + k: x for k, x in m.items()} | {"exp_avg_sq." + k: x for k, x in v.items()}
    same_bits(f"{name}, moments", moments, read_safetensors(os.path.join(out, "checkpoint", "optimizer.safetensors")))
    for line, ours in zip(open(os.path.join(out, "metrics.jsonl")), metrics, strict=True):
        x = json.loads(line)
        theirs = x["loss"], x["grad_norm"], x["lr"]
        check(theirs == ours, f"{name}, step {x['step']}: loss, grad_norm, lr {theirs} from dmpo, {ours} from here")


# ---- a round of learning while acting ----

GAME = """import json, sys
for line in sys.stdin:
    request = json.loads(line)
    score = sum(request.get("action", "").encode()) % 8 / 8
    if request["type"] == "hello":
        print(json.dumps({"version": 1, "name": "sum", "instruction": "Say it.", "max_turns": 2,
                          "tasks": {"train": 8}}))
    else:
        print(json.dumps({"task": "Now.", "observation": "More.", "score": score, "done": False, "expert": "go on"}))
    sys.stdout.flush()
"""


def items_of_round(episodes, model, samples, most):
    """What docs/losses.md says of the round's file; which tokens an episode has is what dmpo show says"""
    lines = [json.loads(line) for line in open(episodes)]
    items = []
    for i, episode in enumerate(lines):
        shown = json.loads(subprocess.run([os.path.join(BUILD, "dmpo"), "show", episodes, "--model", model, "--item",
                                           str(i), "--json"], check=True, capture_output=True).stdout)["sides"][0]
        turns = [[t["begin"], t["end"]] for t in shown["turns"]]
        group = [e["reward"] for e in lines[i // samples * samples:][:samples]]
        alone = 0.0 if len(set(group)) == 1 else episode["reward"] - (sum(group) - episode["reward"]) / (samples - 1)
        items.append(dict(id=episode["id"], chosen=dict(ids=[t["id"] for t in shown["token"]], turns=turns),
                          advantage=[alone if k < most else None for b, e in turns for k in range(e - b)]))
    return items


def check_round(work):
    game, expert, tokens, new, model, out = (os.path.join(work, x) for x in
                                             ("game.py", "expert.jsonl", "tokens", "new", "agent", "learnt"))
    open(game, "w").write(GAME)
    env = f"cmd:{sys.executable} {game}"
    dmpo("rollout", "--env", env, "--policy", "expert", "--tasks", 8, "--output", expert)
    dmpo("tokenizer", "train", "--vocabulary", 280, "--output", tokens, expert)
    dmpo("init", "--output", new, "--tokenizer", tokens, "--hidden", 20, "--intermediate", 34, "--layers", 1,
         "--heads", 2, "--std", 0.1)
    dmpo("train", "--objective", "sft", "--model", new, "--data", expert, "--output", model, "--lr", 0.01, "--batch", 4,
         "--steps", 40)
    options = {"objective": "rloo", "batch": 3, "lr": 1e-2, "warmup-steps": 1, "schedule": "cosine",
               "weight-decay": 0.1, "max-grad-norm": 0.5, "seed": 5}
    play = {"env": env, "rounds": 1, "tasks": 2, "samples": 4, "passes": 2, "max-tokens": 7, "eval-tasks": 0}
    dmpo("learn", "--model", model, "--output", out, *flags_of(options | play))
    episodes = os.path.join(out, "episodes.jsonl")
    items = items_of_round(episodes, model, play["samples"], play["max-tokens"])
    check(any(a for item in items for a in item["advantage"]), "all rewards are equal")
    compare_run("a round", out, model, json.load(open(os.path.join(model, "config.json"))), items,
                options | {"steps": play["passes"] * -(-len(items) // 3)}, transcript.sha(open(episodes, "rb").read()))


def main():
    common = {"batch": 2, "lr": 1e-2, "warmup-steps": 1, "schedule": "cosine", "weight-decay": 0.1,
              "max-grad-norm": 0.5, "seed": 77, "steps": 3}
    seed, std = 2 ** 40 + 5, 0.3
    sft = dict(common, objective="sft")
    pairs = dict(common, objective="dmpo", link="sigmoid", beta=0.3, gamma=0.6)
    pairs |= {"sft-weight": 0, "label-smoothing": 0}
    token_wise = dict(pairs, objective="dmpo-token", gamma=0.99) | {"sft-weight": 0.2}
    sharded = dict(pairs, batch=4, shards=3)
    links = [dict(pairs, link=name, steps=2) | {"label-smoothing": e} for name, e in
             (("sigmoid", 0.1), ("robust", 0.2), ("hinge", 0), ("ipo", 0), ("kto-pair", 0))]
    llama3 = dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=24)
    half = dict(use_sliding_window=True, sliding_window=7, layer_types=["full_attention", "sliding_attention"])
    linear = dict(rope_scaling=dict(rope_type="linear", factor=2.0))
    cases = [("qwen2", [pairs, sharded], ["--vocab", 2100, "--kv-heads", 1], dict(half, rope_scaling=llama3)),
             ("qwen3", [token_wise], ["--vocab", 67, "--kv-heads", 2, "--no-tied"], {}),
             ("mistral", links, ["--vocab", 50, "--window", 6], linear),
             ("gemma3_text", [pairs], ["--vocab", 60, "--kv-heads", 2, "--window", 6],
              dict(linear, layer_types=["sliding_attention", "full_attention"], rope_local_base_freq=100.0,
                   query_pre_attn_scalar=11))]
    with tempfile.TemporaryDirectory() as work:
        check_round(work)
        for arch, runs, shape, changes in cases:
            model = os.path.join(work, arch)
            dmpo("init", "--output", model, "--arch", arch, "--hidden", 20, "--intermediate", 34, "--layers", 2,
                 "--heads", 4, "--head-dim", 6, "--std", std, "--seed", seed, *shape)
            path = os.path.join(model, "config.json")
            config = json.load(open(path)) | changes
            json.dump(config, open(path, "w"))
            theirs = read_safetensors(os.path.join(model, "model.safetensors"))
            shapes = {k: x.shape for k, x in theirs.items()}
            same_bits(f"{arch}, initial weights", initial_weights(config, shapes, seed, std), theirs)
            items = make_items(4, config["vocab_size"])
            tuned = check_run(arch + "-sft", model, config, items, sft, work)
            for o in runs:
                check_run(f"{arch}-{o['objective']}-{o['link']}-{o.get('shards', 1)}", tuned, config, items, o, work)
    print(f"second: {passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
