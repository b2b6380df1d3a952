#!/usr/bin/env python3
"""GRPO on whole episodes, playing and learning, of dmpo and of TRL's GRPOTrainer, side by side in one run.

    BUILD=DIR python3 bench/peers/grpo.py [--model DIR] [--rounds 3] [--tasks 8] [--samples 8] [--threads 2]
                                          [--repeat 1]

In each round both play the first --tasks tasks of `home`, --samples episodes of each at temperature 1, up to the
environment's limit of turns and 64 tokens a turn, and learn from them with one update of AdamW, without a reference
model. The model (hidden 64, 2 layers, 4 heads) is trained by SFT on 150 expert runs, unless --model names one. TRL
plays through its rollout_func: Hugging Face's generate, one call a turn, batched over all episodes that still run;
`dmpo play` in a pipe is the environment, started before the clock runs. TRL's first round warms up and isn't counted.
What TRL's sampling says about a token is compared with a forward pass over the episodes of one more round.
Needs torch, transformers, datasets and trl. JSON lines on stdout, a table on stderr.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from common import contestant, dmpo, DMPO, peak_mib, report

MAX_TOKENS, LIMIT = 64, 2048
UNITS = {"episodes_per_second": "", "sampled_tokens_per_second": "", "playing_share": "", "learning_share": "",
         "environment_share": "", "mean_turns": "", "peak_mib": "MiB", "mean_mismatch": "", "max_mismatch": "",
         "equal_share": ""}


def make_model(directory):
    """An SFT model of 600 steps."""
    runs, tokenizer, start, model = (os.path.join(directory, x) for x in ("expert.jsonl", "tokenizer", "start", "sft"))
    dmpo("rollout", "--env", "home", "--policy", "expert", "--tasks", 150, "--output", runs)
    dmpo("tokenizer", "train", "--output", tokenizer, "--vocabulary", 768, runs)
    dmpo("init", "--tokenizer", tokenizer, "--heads", 4, "--hidden", 64, "--intermediate", 192, "--layers", 2,
         "--positions", LIMIT, "--seed", 1, "--std", 0.1, "--output", start)
    dmpo("train", "--model", start, "--data", runs, "--adam-beta2", 0.95, "--batch", 4, "--lr", 0.004, "--objective",
         "sft", "--seed", 1, "--steps", 600, "--output", model)
    return model


class Game:
    """An episode of home: `dmpo play` in a pipe."""

    def __init__(self, task):
        self.process = subprocess.Popen([DMPO, "play", "--env", "home", "--task", str(task)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, encoding="utf-8")
        self.first, self.reward, self.done, lines = None, 0.0, False, self.read("Observation: ")
        self.first = [{"role": "user", "content": lines[0]}, {"role": "assistant", "content": "OK"},
                      {"role": "user", "content": "\n".join(lines[2:])}]

    def read(self, *ends):
        lines = []
        while not lines or not lines[-1].startswith(ends):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"dmpo play ended after {lines}")
            lines.append(line.rstrip("\n"))
        return lines

    def step(self, words):
        """Plays the action in the agent's words and returns the next message."""
        action = words.rpartition("Action:")[2].split("\n")[0].strip() if "Action:" in words else ""
        self.process.stdin.write("Action: " + (action or "nothing") + "\n")
        self.process.stdin.flush()
        _, *seen, last = self.read("[turn ", "done: ")  # the first line repeats the action
        self.done = last.startswith("done: ")
        self.reward = float(last.split("score ")[1].split()[0].rstrip("]"))
        if self.done:
            self.process.communicate()
        return "\n".join(seen)


class Player:
    """TRL's rollout function."""

    def __init__(self, tokenizer):
        self.tokenizer, self.spent = tokenizer, []

    def __call__(self, prompts, trainer):
        import torch
        games = [Game(p) for p in prompts]
        t = self.tokenizer
        start, environment, sampled, turns = time.perf_counter(), 0.0, 0, 0
        prompt = [list(t.apply_chat_template(g.first, add_generation_prompt=True)["input_ids"]) for g in games]
        completion, mask, logps = ([[] for _ in games] for _ in range(3))
        model, alive = trainer.accelerator.unwrap_model(trainer.model), list(range(len(games)))
        training = model.training
        model.eval()
        while alive:
            batch = t.pad({"input_ids": [prompt[i] + completion[i] for i in alive]}, padding_side="left",
                          return_tensors="pt")
            with torch.no_grad():
                out = model.generate(**batch, max_new_tokens=MAX_TOKENS, do_sample=True, temperature=1.0, top_k=0,
                                     top_p=1.0, eos_token_id=t.eos_token_id, pad_token_id=t.pad_token_id,
                                     return_dict_in_generate=True, output_logits=True)
                new = out.sequences[:, batch["input_ids"].shape[1]:]
                said = [x.log_softmax(-1).gather(1, new[:, [k]])[:, 0] for k, x in enumerate(out.logits)]
                said = torch.stack(said, 1)
            for i, ids, lp in zip(alive, new.tolist(), said.tolist()):
                n = ids.index(t.eos_token_id) + 1 if t.eos_token_id in ids else len(ids)
                before = time.perf_counter()
                message = games[i].step(t.decode(ids[:n], skip_special_tokens=True))
                environment += time.perf_counter() - before
                completion[i] += ids[:n]
                mask[i] += [1] * n
                logps[i] += lp[:n]
                sampled, turns = sampled + n, turns + 1
                if not games[i].done:
                    end = [] if ids[n - 1] == t.eos_token_id else [t.eos_token_id]
                    more = end + list(t.apply_chat_template([{"role": "user", "content": message}],
                                                            add_generation_prompt=True)["input_ids"])
                    completion[i] += more
                    mask[i] += [0] * len(more)
                    logps[i] += [0.0] * len(more)
            alive = [i for i in alive if not games[i].done and len(prompt[i]) + len(completion[i]) + MAX_TOKENS < LIMIT]
        for g in games:
            g.process.kill()
        model.train(training)
        self.spent.append(dict(playing=time.perf_counter() - start, environment=environment, sampled=sampled,
                               turns=turns, episodes=len(games), start=start))
        return dict(prompt_ids=prompt, completion_ids=completion, logprobs=logps, env_mask=mask,
                    score=[g.reward for g in games])


def mismatch(trainer, player, prompts):
    """exp(recomputed - sampled) - 1 over one round's sampled tokens: mean and largest size, share that is exactly 0."""
    import torch
    r, gap = player(prompts, trainer), []
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    for p, c, m, said in zip(r["prompt_ids"], r["completion_ids"], r["env_mask"], r["logprobs"]):
        with torch.no_grad():
            logp = model(torch.tensor([p + c])).logits[0, len(p) - 1:-1].log_softmax(-1)
        again = logp.gather(1, torch.tensor(c)[:, None])[:, 0]
        gap.append(((again - torch.tensor(said)).double().expm1().abs())[torch.tensor(m) == 1])
    gap = torch.cat(gap)
    return dict(mean_mismatch=gap.mean().item(), max_mismatch=gap.max().item(),
                equal_share=(gap == 0).double().mean().item())


def run_trl(a):
    import datasets
    import torch
    import transformers
    import trl
    torch.set_num_threads(a.threads)
    n = a.tasks * a.samples
    tokenizer = transformers.AutoTokenizer.from_pretrained(a.model)
    player, ends = Player(tokenizer), []

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, *_, **__):
            ends.append(time.perf_counter())

    tasks = [str(x) for x in range(a.tasks)]
    config = trl.GRPOConfig(
        output_dir=os.path.join(a.directory, "trl"), per_device_train_batch_size=n, num_generations=a.samples,
        gradient_accumulation_steps=1, max_completion_length=LIMIT, max_steps=a.rounds + 1, learning_rate=1e-6,
        beta=0.0, temperature=1.0, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
        save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant")
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
    trainer = trl.GRPOTrainer(model=model, args=config, processing_class=tokenizer, rollout_func=player,
                              callbacks=[Clock()], reward_funcs=lambda completions, score, **_: score,
                              train_dataset=datasets.Dataset.from_dict({"prompt": tasks}))
    trainer.train()
    kept = player.spent[1:]
    total = sum(e - s["start"] for e, s in zip(ends[1:], kept))
    playing, sampled, episodes = (sum(s[k] for s in kept) for k in ("playing", "sampled", "episodes"))
    peak = peak_mib()
    print(json.dumps(dict(
        episodes_per_second=episodes / total, sampled_tokens_per_second=sampled / total, playing_share=playing / total,
        learning_share=1 - playing / total, environment_share=sum(s["environment"] for s in kept) / total,
        mean_turns=sum(s["turns"] for s in kept) / episodes, peak_mib=peak, versions=f"trl {trl.__version__}, "
        f"transformers {transformers.__version__}, torch {torch.__version__}", **mismatch(trainer, player, tasks))))


def run_dmpo(a):
    output = os.path.join(a.directory, "learn")
    r = json.loads(dmpo("learn", "--env", "home", "--model", a.model, "--output", output, "--rounds", a.rounds,
                        "--tasks", a.tasks, "--pool", a.tasks, "--samples", a.samples, "--batch", a.tasks * a.samples,
                        "--max-tokens", MAX_TOKENS, "--eval-tasks", 0, "--threads", a.threads, "--json", "--overwrite"))
    with open(os.path.join(output, "metrics.jsonl"), encoding="utf-8") as f:
        ratios = [m[k] for m in map(json.loads, f) if m["kind"] == "train" for k in ("ratio/low", "ratio/high")]
    with open(os.path.join(output, "episodes.jsonl"), encoding="utf-8") as f:
        turns = [json.loads(x)["turns"] for x in f]
    s, gap = r["spent"], max(abs(x - 1) for x in ratios)
    total = s["playing_seconds"] + s["learning_seconds"]
    return dict(episodes_per_second=s["episodes"] / total, sampled_tokens_per_second=s["sampled_tokens"] / total,
                playing_share=s["playing_seconds"] / total, learning_share=s["learning_seconds"] / total,
                mean_turns=sum(turns) / len(turns), peak_mib=r["peak_memory"] / 2**20, max_mismatch=gap,
                mean_mismatch=0.0 if gap == 0 else None, equal_share=1.0 if gap == 0 else None)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", help="a directory with a model")
    for name, value, what in (("rounds", 3, "rounds of playing and learning"), ("tasks", 8, "tasks of a round"),
                              ("samples", 8, "episodes of a task"), ("threads", 2, "threads"),
                              ("repeat", 1, "each contestant runs this often, in turns")):
        p.add_argument(f"--{name}", type=int, default=value, help=what)
    p.add_argument("--contestant", help=argparse.SUPPRESS)
    p.add_argument("--directory", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.contestant:
        return run_trl(a)
    with tempfile.TemporaryDirectory() as a.directory:
        a.model = a.model or make_model(a.directory)
        runs = {"dmpo": [], "trl": []}
        for _ in range(a.repeat):
            runs["dmpo"].append(run_dmpo(a))
            runs["trl"].append(contestant(__file__, "trl", "--model", a.model, "--directory", a.directory,
                                          "--rounds", a.rounds, "--tasks", a.tasks, "--samples", a.samples,
                                          "--threads", a.threads))
        report("grpo-peers", runs, UNITS, versions=runs["trl"][0]["versions"], learning_rounds=a.rounds, tasks=a.tasks,
               samples=a.samples, threads=a.threads)


if __name__ == "__main__":
    main()
