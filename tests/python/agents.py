#!/usr/bin/env python3
"""The trained tokens of five sets of agents' data, each in its own form, against transformers' {% generation %} masks.

    python3 tests/python/agents.py [BUILD]        (needs transformers)

tests/data/agents/data.jsonl has an item as ToolBench, Hermes function calling, APIGen-MT, AgentInstruct and Toucan
write theirs. Here each is written once more, by hand, as what transformers' apply_chat_template takes. Opt-in.
"""
import json
import os
import subprocess
import sys
import tempfile

from transformers import AutoTokenizer

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("BUILD", "build"))
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "agents")
DMPO = os.path.join(BUILD, "dmpo")

ITEMS = {x["id"]: x for x in map(json.loads, open(os.path.join(DATA, "data.jsonl")))}


def said(item, *roles):
    """The texts of an item's messages with these roles."""
    values = [m.get("value", m.get("content")) for m in ITEMS[item].get("conversations", ITEMS[item].get("messages"))]
    assert len(values) == len(roles)
    return [{"role": role, "content": text} for role, text in zip(roles, values)]


def call(function, **arguments):
    return {"role": "assistant", "content": None,
            "tool_calls": [{"type": "function", "function": {"name": function, "arguments": arguments}}]}


def with_calls(messages, **calls):
    """Messages number `mN` are calls instead."""
    return [calls.get(f"m{i}", m) for i, m in enumerate(messages)]


def tools(item):
    return json.loads(ITEMS[item]["tools"])


# messages, tools, which of the agent's messages are not trained
CASES = {
    "toolbench": (said("toolbench", "system", "user", "assistant", "tool", "assistant"), None, ()),
    "hermes": (said("hermes", "system", "user", "assistant", "tool", "assistant"), tools("hermes"), ()),
    "apigen-mt": ([{"role": "system", "content": ITEMS["apigen-mt"]["system"]}] + with_calls(
        said("apigen-mt", "user", "assistant", "user", "assistant", "tool", "assistant", "tool", "assistant"),
        m3=call("find_user", name="Ada", strict=True), m5=call("cancel", order="W7")), tools("apigen-mt"), ()),
    "agent-instruct": (said("agent-instruct", "user", "assistant", "user", "assistant", "user", "assistant"), None, (0,)),
    "toucan": (with_calls(said("toucan", "system", "user", "assistant", "tool", "assistant"),
                          m2=call("get_weather", city="Oslo")), tools("toucan"), ()),
}


def dmpo(*args):
    r = subprocess.run([DMPO, *args], capture_output=True, encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"dmpo {' '.join(args[:2])}: {r.stderr.strip()}")
    return r.stdout


def runs(mask):
    """[begin, end) of each stretch of ones."""
    edges = [i for i in range(len(mask) + 1) if (i > 0 and mask[i - 1]) != (i < len(mask) and mask[i])]
    return list(zip(edges[::2], edges[1::2]))


def main():
    failed = 0
    template, data = os.path.join(DATA, "template.jinja"), os.path.join(DATA, "data.jsonl")
    with tempfile.TemporaryDirectory() as work:
        directory, model = os.path.join(work, "tokenizer"), os.path.join(work, "model")
        dmpo("tokenizer", "train", "--quiet", "--output", directory, "--vocabulary", "300", "--template", "chatml", data)
        dmpo("init", "--quiet", "--output", model, "--tokenizer", directory, "--hidden", "32", "--layers", "1", "--heads", "2")
        tokenizer = AutoTokenizer.from_pretrained(directory)
        for name, (messages, functions, untrained) in CASES.items():
            out = tokenizer.apply_chat_template(messages, tools=functions, chat_template=open(template).read(),
                                                tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
            want = list(out["assistant_masks"])
            for i, (begin, end) in enumerate(runs(want)):
                if i in untrained:
                    want[begin:end] = [0] * (end - begin)
            side = json.loads(dmpo("show", data, "--item", name, "--model", model, "--no-logps", "--template", template,
                                   "--json"))["sides"][0]
            ids = [t["id"] for t in side["token"]]
            mask = [int(t["weight"] > 0) for t in side["token"]]
            # what follows the last trained token is no part of a trajectory
            ok = ids == list(out["input_ids"])[:len(ids)] and mask == want[:len(ids)] and not any(want[len(ids):])
            print(f"{name}: {len(ids)} tokens, {sum(mask)} trained{'' if ok else ': DIFFERS'}")
            failed += not ok
    print(f"agents: {len(CASES) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
