#!/usr/bin/env python3
"""Model files of others against the gguf package, transformers and a reader of llama2.c's format in numpy.

    BUILD=DIR SRC=DIR python3 tests/python/interop_models.py [BUILD]

Needs what tests/python/interop.py needs. Ends with "interop_models: N passed, N failed".
"""
import json
import os
import struct
import sys
import tempfile

import gguf
import interop
import numpy as np
import sentencepiece as spm
import torch
from gguf import GGMLQuantizationType as T
from interop import Engine, Model, check, dmpo, figure, made_models, make_model, random_ids, theirs
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

NAMES = {"input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
         "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "model.embed_tokens": "token_embd",
         "model.norm": "output_norm", "lm_head": "output"}


def gguf_name(name):
    stem, end = name.rsplit(".", 1)
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.{end}"
    layer, stem = stem.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[stem]}.{end}"


def heads_of(config, name):
    """The heads whose rows GGUF's llama models and llama2.c have in pairs."""
    if config["model_type"] not in ("llama", "mistral"):
        return 0
    return config["num_attention_heads"] if ".q_proj." in name else \
        config["num_key_value_heads"] if ".k_proj." in name else 0


def pairs(w, heads):
    """llama.cpp's permute"""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape) if heads else w


def same_bits(a, b):
    a, b = np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32)
    return a.shape == b.shape and np.array_equal(a.view(np.uint32), b.view(np.uint32))


def read_config(path):
    with open(os.path.join(path, "config.json")) as f:
        return json.load(f)


# ---- files that the gguf package writes, read by us ----

READ = [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K, T.Q2_K, T.Q3_K]
SCALES = {T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.Q2_K: [80, 82], T.Q3_K: [108]}  # where the K-quants have f16 numbers


def stored(w, kind, rng):
    """w as blocks of this type; the package does not quantise to K-quants: there the bytes are random, the scales not."""
    if kind not in SCALES:
        return gguf.quants.quantize(w, kind)
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = rng.integers(0, 256, (w.shape[0], w.shape[1] // block, size), dtype=np.uint8)
    for at in SCALES[kind]:
        scale = (rng.standard_normal(out.shape[:2]) * 1e-3).astype(np.float16)
        out[:, :, at:at + 2] = scale.view(np.uint8).reshape(*out.shape[:2], 2)
    return out.reshape(w.shape[0], -1)


def write_gguf(path, arch, kind, version):
    """A model of one layer; the values that its tensors have, by GGUF's names."""
    d, f, vocab, heads, kv = 256, 512, 40, 4, 2
    rng = np.random.default_rng(int(kind))
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(1), w.add_context_length(64), w.add_embedding_length(d), w.add_feed_forward_length(f)
    w.add_head_count(heads), w.add_head_count_kv(kv), w.add_layer_norm_rms_eps(1e-6), w.add_rope_freq_base(5e5)
    shapes = {"token_embd.weight": (vocab, d), "output_norm.weight": (d,), "output.weight": (vocab, d),
              "blk.0.attn_norm.weight": (d,), "blk.0.ffn_norm.weight": (d,), "blk.0.attn_q.weight": (d, d),
              "blk.0.attn_k.weight": (d // 2, d), "blk.0.attn_v.weight": (d // 2, d),
              "blk.0.attn_output.weight": (d, d), "blk.0.ffn_gate.weight": (f, d), "blk.0.ffn_up.weight": (f, d),
              "blk.0.ffn_down.weight": (d, f)}
    if arch == "qwen2":
        shapes |= {"blk.0.attn_q.bias": (d,), "blk.0.attn_k.bias": (d // 2,), "blk.0.attn_v.bias": (d // 2,)}
    values = {}
    for name, shape in shapes.items():
        x = rng.standard_normal(shape).astype(np.float32)
        if len(shape) == 1 or kind == T.F32:
            values[name] = x
            w.add_tensor(name, x)
        else:
            data = stored(x, kind, rng)
            values[name] = gguf.quants.dequantize(data, kind)
            w.add_tensor(name, data, raw_dtype=kind)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()
    if version == 2:  # the same layout under another number
        with open(path, "r+b") as file:
            file.seek(4)
            file.write(struct.pack("<I", 2))
    return values


def check_read(work):
    for arch in ("llama", "qwen2"):
        for kind in READ:
            path = os.path.join(work, f"{arch}-{kind.name}")
            values = write_gguf(path + ".gguf", arch, kind, 2 if kind == T.Q8_0 else 3)
            dmpo("convert", path + ".gguf", "--output", path)
            config, got = read_config(path), load_file(path + "/model.safetensors")
            check(len(got) == len(values), f"{arch} {kind.name}: {len(got)} tensors")
            wrong = [n for n, w in got.items() if not same_bits(pairs(w, heads_of(config, n)), values[gguf_name(n)])]
            check(not wrong, f"{arch} {kind.name}: other values in {wrong}")
            check(config["rms_norm_eps"] == 1e-6 and config["rope_theta"] == 5e5, f"{arch}: {config}")
    print(f"GGUF files of the gguf package: {len(READ)} types have its values, bit for bit")


# ---- files that we write, read by the gguf package and by transformers ----

def check_written(name, path, work):
    config, weights = read_config(path), load_file(path + "/model.safetensors")
    for kind in (T.F32, T.F16, T.BF16, T.Q8_0):
        file = os.path.join(work, f"{name}-{kind.name}.gguf")
        dmpo("convert", path, "--output", file, "--type", kind.name.lower())
        reader = gguf.GGUFReader(file)
        found = {t.name: t for t in reader.tensors}
        extra = set(found) - {gguf_name(n) for n in weights}
        check(extra <= {"rope_freqs.weight"} and len(found) == len(weights) + len(extra),
              f"{name}: tensors {sorted(extra)}")
        for n, w in weights.items():
            t = found[gguf_name(n)]
            want = kind if w.ndim == 2 else T.F32
            if want == T.Q8_0 and w.shape[1] % 32:
                want = T.F16
            w = pairs(w, heads_of(config, n))
            data = gguf.quants.quantize(w, want)
            check(t.tensor_type == want and np.array_equal(np.asarray(t.data).view(np.uint8).reshape(-1),
                                                           np.ascontiguousarray(data).view(np.uint8).reshape(-1)),
                  f"{name} {kind.name}: the bytes of {n} differ from the gguf package's")
        check(reader.fields["general.alignment"].contents() == 32 if "general.alignment" in reader.fields else True,
              f"{name}: alignment")


def check_theirs(engine, name, path, work):
    """The logits of the GGUF file as transformers reads it, and as we do."""
    file = os.path.join(work, name + "-F32.gguf")
    ids = random_ids(5, 60, read_config(path)["vocab_size"])
    with Model(engine, path, 64) as m:
        want = m.logits(ids)
    with Model(engine, file, 64) as m:
        check(torch.equal(m.logits(ids), want), f"{name}: the GGUF file has other logits than the directory")
    back = os.path.join(work, name + "-back")
    dmpo("convert", file, "--output", back)
    with torch.no_grad():
        logits = theirs(back)(torch.tensor([ids])).logits[0]
    figure(f"{name}: GGUF and back: logits of transformers", (logits - want).abs().max().item(), 1e-4)
    if "-rope-" in name or name.startswith("qwen3"):
        return  # transformers does not take scaling from GGUF, nor Qwen3's width of a head
    model = AutoModelForCausalLM.from_pretrained(work, gguf_file=os.path.basename(file), dtype=torch.float32)
    with torch.no_grad():
        logits = model.eval()(torch.tensor([ids])).logits[0]
    figure(f"{name}: GGUF read by transformers: logits", (logits - want).abs().max().item(), 1e-4)


def check_models(engine, work):
    for name, config, dtype, shard, _ in made_models():
        if name.endswith("window") and not name.endswith("no-window"):
            continue
        source, path = os.path.join(work, name + "-made"), os.path.join(work, name)
        make_model(source, config, dtype, shard)
        dmpo("convert", source, "--output", path)
        check_written(name, path, work)
        check_theirs(engine, name, path, work)


# ---- tokenizers ----

TEXTS = ["Hello  world", "It's 12345 o'clock.\n\n\tTabs", "caf\u00e9 \u4f60\u597d \U0001F600\u200d\U0001F680", "", " ",
         "<|im_end|>", "a\u0301 \u1e9b\u0323"]


def check_tokenizers(work):
    for split, digits, want in (("gpt2", False, "gpt-2"), ("gpt2", True, "smollm"), ("llama3", False, "llama-bpe"),
                                ("qwen2", False, "qwen2")):
        base = os.path.join(work, f"tokenizer-{want}")
        dmpo("tokenizer", "train", os.path.join(interop.SRC, "tests/data/demo/pairs.jsonl"), "--output", base + "-t",
             "--split", split, "--vocabulary", 500, "--template", "chatml", *(["--digits"] if digits else []))
        dmpo("init", "--output", base, "--tokenizer", base + "-t", "--hidden", 32, "--intermediate", 64, "--vocab", 520)
        dmpo("convert", base, "--output", base + ".gguf")
        fields = gguf.GGUFReader(base + ".gguf").fields
        check(fields["tokenizer.ggml.pre"].contents() == want, f"{want}: {fields['tokenizer.ggml.pre'].contents()}")
        tokenizer = AutoTokenizer.from_pretrained(base)
        tokens = fields["tokenizer.ggml.tokens"].contents()
        vocabulary = tokenizer.get_vocab()
        check(len(tokens) == 520 and all(tokens[i] == t for t, i in vocabulary.items()), f"{want}: other tokens")
        types = fields["tokenizer.ggml.token_type"].contents()
        special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
        check({i for i, t in enumerate(types) if t == 3} == special, f"{want}: other control tokens")
        check(all(t == 5 for t in types[len(tokenizer):]), f"{want}: the rest is not unused")
        with open(base + "/tokenizer.json") as f:
            merges = [m if isinstance(m, str) else " ".join(m) for m in json.load(f)["model"]["merges"]]
        check(fields["tokenizer.ggml.merges"].contents() == merges, f"{want}: other merges")
        check(fields["tokenizer.chat_template"].contents() == tokenizer.chat_template, f"{want}: another template")
        check(fields["tokenizer.ggml.eos_token_id"].contents() == tokenizer.eos_token_id, f"{want}: another eos")
        dmpo("convert", base + ".gguf", "--output", base + "-back")
        back = AutoTokenizer.from_pretrained(base + "-back")
        check(all(back(t)["input_ids"] == tokenizer(t)["input_ids"] for t in TEXTS), f"{want}: other ids")
        check(back.chat_template == tokenizer.chat_template and back.eos_token == tokenizer.eos_token,
              f"{want}: another template comes back")
    print("GGUF tokenizers: the tokens, types, merges and templates of the tokenizers library")


def check_pieces(work):
    """SentencePiece's tokenizer in a GGUF file and beside a llama2.c file, and back."""
    base = os.path.join(work, "pieces")
    os.mkdir(base)
    with open(os.path.join(interop.SRC, "tests/data/demo/pairs.jsonl")) as f, open(base + ".txt", "w") as out:
        out.writelines(line[:2000] + "\n" for line in f)
    spm.SentencePieceTrainer.train(input=base + ".txt", model_prefix=base + "/tokenizer", vocab_size=600, minloglevel=2,
                                   model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                                   remove_extra_whitespaces=False, max_sentence_length=10000)
    with open(base + "/tokenizer_config.json", "w") as f:
        json.dump({"bos_token": "<s>", "eos_token": "</s>", "chat_template": LLAMA2}, f)
    sp = spm.SentencePieceProcessor(model_file=base + "/tokenizer.model")
    dmpo("init", "--output", base + "-m", "--tokenizer", base, "--hidden", 32, "--intermediate", 64, "--layers", 2,
         "--vocab", 610)
    os.mkdir(base + "-c")
    for file in (base + "-m.gguf", base + "-c/m.bin"):
        dmpo("convert", base + "-m", "--output", file)
        dmpo("convert", file, "--output", file + "-back")
        back = AutoTokenizer.from_pretrained(file + "-back")
        check(all(back(t, add_special_tokens=False)["input_ids"] == sp.encode(t) for t in TEXTS if "<|" not in t),
              f"{file}: other ids")
    fields = gguf.GGUFReader(base + "-m.gguf").fields
    tokens, types = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type"))
    want = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in range(600)]
    check(fields["tokenizer.ggml.model"].contents() == "llama" and len(tokens) == 610, f"pieces: {len(tokens)} tokens")
    check(tokens[:600] == [sp.id_to_piece(i) for i in range(600)] and types == want + [5] * 10,
          "pieces: other tokens or types")
    print("SentencePiece: the same tokens in GGUF and llama2.c files, and back")


# ---- llama2.c ----

def read_llama2c(path, version):
    """The tensors as export.py of llama2.c orders them."""
    with open(path, "rb") as f:
        data = f.read()
    at = 0
    if version == 1:
        assert struct.unpack_from("<Ii", data) == (0x616b3432, 1)
        at = 8
    d, f, n, heads, kv, vocab, positions = struct.unpack_from("<7i", data, at)
    shared = data[at + 28] == 1 if version else vocab > 0
    vocab, hd = abs(vocab), d // heads
    at = 256 if version else 28
    layer = {"attention_norm": (d,), "wq": (heads * hd, d), "wk": (kv * hd, d), "wv": (kv * hd, d),
             "wo": (d, heads * hd), "ffn_norm": (d,), "w1": (f, d), "w2": (d, f), "w3": (f, d)}
    order = [("tok_embeddings", (vocab, d))] + [(k, (n, *s)) for k, s in layer.items()] + [
        ("norm", (d,)), ("cos", (positions, hd // 2)), ("sin", (positions, hd // 2))]
    if version:
        first = ["attention_norm", "ffn_norm"]
        order = [(k, (n, *layer[k])) for k in first] + [("norm", (d,)), ("tok_embeddings", (vocab, d))] + [
            (k, (n, *s)) for k, s in layer.items() if k not in first]
    if not shared:
        order.append(("output", (vocab, d)))
    out = {}
    for name, shape in order:
        count = int(np.prod(shape))
        out[name] = np.frombuffer(data, "<f4", count, at).reshape(shape)
        at += 4 * count
    assert at == len(data)
    return out


def check_llama2c(work):
    names = {"attention_norm": "input_layernorm", "wq": "self_attn.q_proj", "wk": "self_attn.k_proj",
             "wv": "self_attn.v_proj", "wo": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
             "w1": "mlp.gate_proj", "w2": "mlp.down_proj", "w3": "mlp.up_proj"}
    for tied in ("--tied", "--no-tied"):
        path = os.path.join(work, "stories" + tied)
        dmpo("init", "--output", path, "--vocab", 70, "--hidden", 24, "--intermediate", 40, "--layers", 2, "--heads", 3,
             "--kv-heads", 1, "--positions", 30, tied)
        config, weights = read_config(path), load_file(path + "/model.safetensors")
        for version in (0, 1):
            file = f"{path}.{version}.bin"
            dmpo("convert", path, "--output", file, "--version", version)
            got = read_llama2c(file, version)
            want = {"tok_embeddings": weights["model.embed_tokens.weight"], "norm": weights["model.norm.weight"]}
            if tied == "--no-tied":
                want["output"] = weights["lm_head.weight"]
            for theirs_name, ours in names.items():
                full = [f"model.layers.{i}.{ours}.weight" for i in range(2)]
                want[theirs_name] = np.stack([pairs(weights[n], heads_of(config, n)) for n in full])
            wrong = [n for n in want if not same_bits(got[n], want[n])]
            check(not wrong and set(got) - set(want) <= {"cos", "sin"}, f"llama2.c {version} {tied}: {wrong}")
            if version == 0:
                angle = np.outer(np.arange(30), 10000.0 ** (-np.arange(0, 8, 2) / 8))
                check(np.abs(got["cos"] - np.cos(angle)).max() < 1e-6 and np.abs(got["sin"] - np.sin(angle)).max() < 1e-6,
                      "llama2.c: other angles")
    print("llama2.c: versions 0 and 1 as its export.py orders them")


LLAMA2 = ("{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + ' [/INST]' }}"
          "{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}")


def main():
    torch.set_num_threads(1)
    interop.logging.disable_progress_bar()
    engine = Engine()
    for group in (check_read, lambda w: check_models(engine, w), check_tokenizers, check_pieces, check_llama2c):
        with tempfile.TemporaryDirectory() as work:
            group(work)
    engine.close()
    print(f"interop_models: {interop.passed} passed, {interop.failed} failed")
    return 1 if interop.failed else 0


if __name__ == "__main__":
    sys.exit(main())
