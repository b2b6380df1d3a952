#!/usr/bin/env python3
"""A DMPO step with LoRA beside the quantised base, of dmpo and of PEFT with transformers, side by side in one run.

    BUILD=DIR python3 bench/peers/lora.py --model SmolLM2.gguf --data PAIRS [--rounds 1] [--steps 3] [--batch 2]
                                          [--rank 8] [--max-length 512] [--threads 2] [--memory 512MiB]

PAIRS are preference pairs in the form of docs/data.md, the first ones that are no longer than --max-length; rank
--rank on all projections, AdamW, --batch pairs a step. The contestants, in turns, each in a process of its own:
    dmpo         the base as it is stored
    dmpo-memory  the same under --memory
    dmpo-bf16    --precision bf16
    peft         the base in f32, dequantised from the same file
    autocast     the same under torch.autocast in bf16
PEFT begins with the adapter that dmpo made and gets what is fast and small: reference log-probabilities cached, logits
only where an action token is predicted, a pair at a time. Its text goes through the file's template in jinja2 and the
tokenizers library. Losses must agree with dmpo's. The first step warms up and isn't counted.
Needs torch, transformers, peft, gguf, tokenizers, jinja2. JSON lines on stdout, a table on stderr.
"""
import argparse
import json
import os
import statistics
import sys
import tempfile
import time

from common import contestant, dmpo, peak_mib, report

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tests", "python"))
GAMMA, BETA, RATE = 0.7, 0.1, 1e-4
LIMITS = {"dmpo": 1e-3, "dmpo-memory": 1e-3, "dmpo-bf16": 0.05, "autocast": 0.05}  # of a loss, to peft's
UNITS = {"step": "s", "tokens_per_second": "", "peak_mib": "MiB"}


class Text:
    """Ids of a conversation and the weight of each predicted token."""

    def __init__(self, path):
        import jinja2.sandbox
        from smollm2 import Checkpoint
        c = Checkpoint(path)
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(c.fields["tokenizer.chat_template"])
        self.library = c.tokenizer()

    def side(self, prompt, turns):
        """(ids, phi): phi[i] weights the prediction of ids[i + 1], 0 where it is no action."""
        roles = {"human": "user", "gpt": "assistant", "system": "system"}
        talk = [{"role": roles[m["from"]], "content": m["value"]} for m in prompt + turns]
        text = self.template.render(messages=talk)
        spans = [(len(self.template.render(messages=talk[:i])) + len("<|im_start|>assistant\n"),
                  len(self.template.render(messages=talk[:i + 1])) - 1)
                 for i in range(len(prompt), len(talk)) if talk[i]["role"] == "assistant"]
        e = self.library.encode(text, add_special_tokens=False)
        phi, n = [0.0] * (len(e.ids) - 1), len(spans)
        for t, (begin, end) in enumerate(spans):
            for i in range(1, len(e.ids)):
                if begin <= e.offsets[i][0] < end:
                    phi[i - 1] = GAMMA**t * (1 - GAMMA ** (n - t)) / (1 - GAMMA**n)
        return e.ids, phi

    def pair(self, item):
        return [self.side(item["prompt"], item[s]) for s in ("chosen", "rejected")]


# ---- PEFT, in its own process ----

def score(model, pair):
    """The weighted sum of log-probabilities of each side."""
    import torch
    length = max(len(ids) for ids, _ in pair)
    ids = torch.tensor([x + [0] * (length - len(x)) for x, _ in pair])
    attention = torch.tensor([[1] * len(x) + [0] * (length - len(x)) for x, _ in pair])
    phi = torch.tensor([x + [0.0] * (length - 1 - len(x)) for _, x in pair])
    mask, base = phi != 0, model.get_base_model()
    hidden = base.model(ids, attention_mask=attention, use_cache=False).last_hidden_state[:, :-1][mask]
    logp = base.lm_head(hidden).float().log_softmax(-1).gather(1, ids[:, 1:][mask][:, None])[:, 0] * phi[mask]
    return logp.new_zeros(2).index_add(0, mask.nonzero()[:, 0], logp)


def run_peft(a):
    import torch
    import peft
    import transformers
    torch.set_num_threads(a.threads)
    directory, name = os.path.split(os.path.abspath(a.model))
    base = transformers.AutoModelForCausalLM.from_pretrained(directory, gguf_file=name, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, a.adapter, is_trainable=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE, weight_decay=0.0)
    with open(a.data, encoding="utf-8") as f:
        pairs = json.load(f)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=a.contestant == "autocast")
    with torch.no_grad(), autocast, model.disable_adapter():
        references = [score(model, p) for p in pairs]
    seconds, losses = [], []
    for first in range(0, len(pairs), a.batch):
        start, loss = time.perf_counter(), 0.0
        for p, r in zip(pairs[first:first + a.batch], references[first:]):
            with autocast:
                lp = score(model, p)
            one = -torch.nn.functional.logsigmoid(BETA * ((lp[0] - r[0]) - (lp[1] - r[1]))) / a.batch
            one.backward()
            loss += one.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        losses.append(loss)
    tokens = [sum(len(ids) for p in pairs[i:i + a.batch] for ids, _ in p) for i in range(0, len(pairs), a.batch)]
    print(json.dumps(dict(result(seconds, losses, tokens), peak_mib=peak_mib(), versions=f"peft {peft.__version__}, "
                          f"transformers {transformers.__version__}, torch {torch.__version__}")))


def result(seconds, losses, tokens):
    return dict(step=statistics.median(seconds[1:]), tokens_per_second=sum(tokens[1:]) / sum(seconds[1:]),
                losses=losses, tokens=tokens)


# ---- ours ----

def run_dmpo(a, name):
    output = os.path.join(a.directory, name)
    options = {"dmpo": [], "dmpo-memory": ["--memory", a.memory], "dmpo-bf16": ["--precision", "bf16"]}[name]
    r = json.loads(dmpo("train", "--model", a.adapter, "--reference", a.model, "--data", a.data, "--no-shuffle", "--lr",
                        RATE, "--beta", BETA, "--gamma", GAMMA, "--warmup-steps", 0, "--batch", a.batch, "--epochs", 1,
                        "--max-length", a.max_length, "--threads", a.threads, "--output", output, "--overwrite",
                        "--json", *options))
    with open(os.path.join(output, "metrics.jsonl"), encoding="utf-8") as f:
        steps = [m for m in map(json.loads, f) if m["kind"] == "train"]
    columns = ([m[k] for m in steps] for k in ("seconds", "loss", "tokens"))
    return dict(result(*columns), peak_mib=r["peak_memory"] / 2**20)


def prepare(a):
    """The pairs of the run, and a new adapter: its one step is too small to change it."""
    text, pairs, ids = Text(a.model), [], []
    with open(a.pairs, encoding="utf-8") as f:
        for x in json.load(f):
            pair = text.pair(x) if len(pairs) < a.steps * a.batch else []
            if pair and max(len(side[0]) for side in pair) <= a.max_length:
                pairs.append(x)
                ids.append(pair)
    if len(pairs) < a.steps * a.batch:
        sys.exit(f"lora.py: {a.pairs} has only {len(pairs)} pairs of at most {a.max_length} tokens")
    a.data, a.ids, a.adapter = (os.path.join(a.directory, x) for x in ("pairs.json", "ids.json", "start"))
    for name, content in ((a.data, pairs), (a.ids, ids)):
        with open(name, "w", encoding="utf-8") as f:
            json.dump(content, f)
    dmpo("train", "--model", a.model, "--data", a.data, "--lora-rank", a.rank, "--batch", 1, "--steps", 1, "--lr",
         1e-30, "--warmup-steps", 0, "--max-length", a.max_length, "--threads", a.threads, "--output", a.adapter)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="a GGUF file of SmolLM2")
    p.add_argument("--data", required=True, dest="pairs", help="preference pairs")
    for name, value, what in (("rounds", 1, "each contestant runs this often, in turns"),
                              ("steps", 3, "steps, the first of which warms up"), ("batch", 2, "pairs of a step"),
                              ("rank", 8, "of the adapter"), ("max-length", 512, "tokens of a side"), ("threads", 2, "threads")):
        p.add_argument(f"--{name}", type=int, default=value, help=what)
    p.add_argument("--memory", default="512MiB", help="of the contestant dmpo-memory")
    p.add_argument("--contestant", help=argparse.SUPPRESS)
    p.add_argument("--adapter", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.contestant:
        a.data = a.pairs
        return run_peft(a)
    names = ["dmpo", "dmpo-memory", "dmpo-bf16", "peft", "autocast"]
    with tempfile.TemporaryDirectory() as a.directory:
        prepare(a)
        runs = {n: [] for n in names}
        for _ in range(a.rounds):
            for n in names:
                runs[n].append(run_dmpo(a, n) if n.startswith("dmpo") else
                               contestant(__file__, n, "--model", a.model, "--data", a.ids, "--adapter", a.adapter,
                                          "--batch", a.batch, "--threads", a.threads))
                print(n, runs[n][-1], file=sys.stderr, flush=True)
    want = runs["peft"][0]
    for n, limit in LIMITS.items():
        off = max(abs(x - y) for x, y in zip(runs[n][0]["losses"], want["losses"]))
        if runs[n][0]["tokens"] != want["tokens"] or not off <= limit:
            sys.exit(f"lora.py: {n}: tokens {runs[n][0]['tokens']}, losses {runs[n][0]['losses']}; peft has "
                     f"{want['tokens']}, {want['losses']}")
    report("lora-peers", runs, UNITS, versions=want["versions"], rank=a.rank, steps=a.steps, batch=a.batch,
           max_length=a.max_length, threads=a.threads, memory=a.memory, tokens=want["tokens"], losses=want["losses"])


if __name__ == "__main__":
    main()
