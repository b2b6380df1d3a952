#!/usr/bin/env python3
"""A GGUF adapter of `dmpo convert` in llama.cpp itself: log-probabilities of 119 tokens, with and without it.

    python3 tests/python/llama_cpp_adapter.py BUILD_DIR

Needs numpy and llama-cpp-python (whose build of llama.cpp takes some minutes; $LLAMA_CPP_LIB_PATH names another one).
Opt-in, no part of `make test`. llama.cpp computes attention with 16-bit intermediates: tokens agree to about 1e-3.
"""
import ctypes
import json
import os
import subprocess
import sys
import tempfile

import llama_cpp as lib
import numpy as np

DMPO = os.path.join(os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build"), "dmpo")
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "demo", "sft.jsonl")
IDS = [int(i) for i in np.random.default_rng(1).integers(5, 500, 120)]


def dmpo(*args):
    return subprocess.run((DMPO, *args, "--quiet"), check=True, capture_output=True, encoding="utf-8").stdout


def theirs(model, adapter=None):
    options = lib.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = 512
    options.type_k = options.type_v = 0  # float32
    context = lib.llama_init_from_model(model, options)
    if adapter:
        loaded = (lib.llama_adapter_lora_p_ctypes * 1)(lib.llama_adapter_lora_init(model, adapter.encode()))
        assert loaded[0] and lib.llama_set_adapters_lora(context, loaded, 1, (ctypes.c_float * 1)(1.0)) == 0
    batch = lib.llama_batch_init(len(IDS), 0, 1)
    batch.n_tokens = len(IDS)
    for i, token in enumerate(IDS):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, i, 1, 0, 1
    assert lib.llama_decode(context, batch) == 0
    size = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    x = np.ctypeslib.as_array(lib.llama_get_logits(context), shape=(len(IDS), size)).astype(np.float64)
    x -= x.max(-1, keepdims=True)
    x -= np.log(np.exp(x).sum(-1, keepdims=True))
    lib.llama_free(context)
    return x[np.arange(len(IDS) - 1), IDS[1:]]


def ours(model):
    with open("ids.jsonl", "w") as out:
        out.write(json.dumps({"ids": IDS, "turns": [[1, len(IDS)]]}) + "\n")
    item = json.loads(dmpo("score", "--model", model, "--data", "ids.jsonl", "--token"))
    return np.array([p for turn in item["turns"] for p in turn["logps"]])


with tempfile.TemporaryDirectory() as work:
    os.chdir(work)
    dmpo("tokenizer", "train", "--vocabulary", "520", "--output", "tokenizer", DATA)
    dmpo("init", "--tokenizer", "tokenizer", "--hidden", "64", "--intermediate", "192", "--layers", "2", "--heads", "4",
         "--std", "0.1", "--output", "base")
    dmpo("train", "--model", "base", "--data", DATA, "--objective", "sft", "--lora-rank", "4", "--steps", "10", "--lr", "1e-2",
         "--batch", "4", "--output", "adapter")
    dmpo("convert", "base", "--type", "f32", "--output", "base.gguf")
    dmpo("convert", "adapter", "--output", "adapter.gguf")
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(b"base.gguf", lib.llama_model_default_params())
    failed = 0
    pairs = {"base": (ours("base"), theirs(model)), "adapter": (ours("adapter"), theirs(model, "adapter.gguf"))}
    for name, (a, b) in pairs.items():
        worst = np.abs(a - b).max()
        failed += not worst < 5e-3
        print(f"{name}: log-probability {a.sum():.3f}, llama.cpp {b.sum():.3f}, worst token {worst:.1e}")
    failed += not abs(pairs["base"][0].sum() - pairs["adapter"][0].sum()) > 0.5  # the adapter does something
    print(f"{3 - failed} passed, {failed} failed")
    sys.exit(failed > 0)
