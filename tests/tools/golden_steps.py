"""What arch_golden.py and lora_golden.py share: losses from docs/losses.md, their gradients, and torch's AdamW steps, in
float64. Not a program by itself."""
import torch


def token_logps(model, side):
    """Log-probabilities of the action tokens, turn after turn."""
    logp = model(torch.tensor([side["ids"]])).logits[0].log_softmax(-1)
    return torch.stack([logp[i - 1, side["ids"][i]] for begin, end in side["turns"] for i in range(begin, end)])


def phi(loss, side):
    if loss["method"] == "dpo":
        return torch.ones(sum(e - b for b, e in side["turns"]))
    lengths = [e - b for b, e in side["turns"]]
    if loss["method"] == "dmpo-token":
        lengths = [1] * sum(lengths)
    g, turns = loss["gamma"], len(lengths)
    return torch.cat([torch.full((n,), g**t * (1 - g ** (turns - t)) / (1 - g**turns)) for t, n in enumerate(lengths)])


def loss_of(loss, pairs, logps, references):
    if loss["method"] == "sft":
        chosen = torch.cat([l[0] for l in logps])
        return -chosen.sum() / len(chosen)
    total = 0
    for p, l, r in zip(pairs, logps, references):
        score = [(phi(loss, p[s]) * (l[i] - r[i])).sum() for i, s in enumerate(("chosen", "rejected"))]
        total = total - torch.nn.functional.logsigmoid(loss["beta"] * (score[0] - score[1]))
    return total / len(pairs)


def norm_of(parameters):
    return torch.sqrt(sum((p.grad**2).sum() for p in parameters)).item()


def steps_of(model, trained, pairs, references, losses, gradients, training):
    """Losses with gradient norms, the gradients of those named, then AdamW steps. Fills the pairs' log-probabilities.
    Returns (entries of losses, history of steps, tensors)."""
    logps = lambda: [[token_logps(model, p[s]) for s in ("chosen", "rejected")] for p in pairs]
    expected, entries = {}, []
    for loss in losses:
        model.zero_grad()
        now = logps()
        value = loss_of(loss, pairs, now, references)
        value.backward()
        entries.append(dict(loss, loss=value.item(), grad_norm=norm_of(trained.values())))
        if loss["name"] in gradients:
            expected.update({f"grad.{loss['name']}.{n}": p.grad.clone() for n, p in trained.items()})
    for p, l, r in zip(pairs, now, references):
        for i, s in enumerate(("chosen", "rejected")):
            p[s]["logps"], p[s]["reference_logps"] = l[i].tolist(), r[i].tolist()

    optimizer = torch.optim.AdamW(trained.values(), lr=0, betas=training["betas"], eps=training["eps"],
                                  weight_decay=training["weight_decay"])
    loss, history = next(l for l in losses if l["name"] == training["loss"]), []
    for step in range(training["steps"]):
        model.zero_grad()
        value = loss_of(loss, pairs, logps(), references)
        value.backward()
        norm, lr = norm_of(trained.values()), training["lr"] * min(1, (step + 1) / training["warmup_steps"])
        for p in trained.values():
            p.grad *= min(1, training["max_grad_norm"] / norm)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        history.append(dict(loss=value.item(), grad_norm=norm, lr=lr))
    expected.update({f"trained.{n}": p.detach().clone() for n, p in trained.items()})
    return entries, history, dict(sorted(expected.items()))
