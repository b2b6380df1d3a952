#!/usr/bin/env python3
"""Renders chat templates of others and compares with transformers: text, ids and the agent's turns.

    tests/python/interop_templates.py [PATH ...]     (needs transformers; build/tests/jinja and build/tests/template)

PATH is a template (.jinja), a tokenizer_config.json, a GGUF file, a Python source whose strings are templates, or a
directory that is searched for all of them. Without a PATH, the packages that this Python has are searched. Each
template renders twelve conversations, with and without generation prompt; ids are those of a tokenizer with the
template's markers as special tokens. Turns are compared with {% generation %} masks, or else with where the ids with
generation prompt of the messages before a turn end. It prints one line for each template that is not equal and a
summary; the exit status is 1 where something differs without a word.
"""
import ast
import collections
import json
import os
import re
import struct
import subprocess
import sys
import sysconfig
import tempfile

from transformers.utils.chat_template_utils import _alias_reasoning_fields, _compile_jinja_template

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
TOOL, TEMPLATE_TOOL = os.path.join(BUILD, "tests/jinja"), os.path.join(BUILD, "tests/template")
DATE = "2026-11-30 13:05:09"

SYSTEM = {"role": "system", "content": "Be brief."}


def user(text):
    return {"role": "user", "content": text}


def agent(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, number="call00001"):
    return {"id": number, "type": "function", "function": {"name": name, "arguments": arguments}}


TOOLS = [
    {"type": "function", "function": {"name": "look", "description": "Looks at a \"thing\", it's nice.", "parameters": {
        "type": "object", "properties": {"thing": {"type": "string", "description": "what", "enum": ["door", "key"]},
                                         "n": {"type": "integer", "default": 3}, "deep": {"type": "array", "items": {"type": "number"}}},
        "required": ["thing"]}, "return": {"type": "string"}}},
    {"type": "function", "function": {"name": "go", "description": "Goes.", "parameters": {"type": "object", "properties": {}}}},
]

CALLS = [user("What is here?"), agent("", tool_calls=[call("look", {"thing": "door", "n": 2})]),
         {"role": "tool", "name": "look", "content": "{\"open\": true}", "tool_call_id": "call00001"}, agent("It is open.")]
THOUGHT = agent("<think>\nA door, hm.\n</think>\n\nAction: open")

CONVERSATIONS = {
    "one": ([user("Hi")], None),
    "two": ([user("Hi"), agent("Hello.")], None),
    "system": ([SYSTEM, user(" Rules\n"), agent("OK"), user("Go. 你好 é"), agent(" Action: go ")], None),
    "turns": ([user("a"), agent("b"), user("c"), agent("d\n\ne"), user("f")], None),
    "thoughts": ([user("a"), THOUGHT, user("c"), THOUGHT], None),
    "reasoning": ([user("a"), agent("b", reasoning_content="Because.\n"), user("c"), agent("d", reasoning_content="So.")], None),
    "calls": (CALLS, TOOLS),
    "calls, system": ([SYSTEM] + CALLS + [user("And?"), agent("No.")], TOOLS),
    "null content": ([user("x"), agent(None, tool_calls=[call("go", {})]), {"role": "tool", "content": "ok", "tool_call_id": "call00001"},
                      agent("done")], TOOLS),
    "text arguments": ([user("x"), agent("Well.", tool_calls=[call("look", "{\"thing\": \"key\"}")]),
                        {"role": "tool", "name": "look", "content": "1", "tool_call_id": "call00001"}, agent("ok")], TOOLS),
    "two calls": ([user("x"), agent("", tool_calls=[call("go", {"x": 1.5}), call("look", {"thing": "é\n"}, "call00002")]),
                   {"role": "tool", "name": "go", "content": "a", "tool_call_id": "call00001"},
                   {"role": "tool", "name": "look", "content": "b", "tool_call_id": "call00002"}, agent("ok")], TOOLS),
    "tools unused": ([SYSTEM, user("<|im_end|> 'x' \"y\""), agent("{{ no }} {% raw %}")], TOOLS),
}


def strings_of_gguf(path):
    """The chat templates of a GGUF file's metadata."""
    with open(path, "rb") as f:
        if f.read(4) != b"GGUF":
            return
        f.read(4)
        _, n = struct.unpack("<QQ", f.read(16))
        sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

        def text():
            return f.read(struct.unpack("<Q", f.read(8))[0])

        def value(kind):
            if kind == 8:
                return text()
            if kind == 9:
                inner, count = struct.unpack("<IQ", f.read(12))
                return [value(inner) for _ in range(count)] if inner in (8, 9) else f.seek(sizes[inner] * count, 1)
            return f.read(sizes[kind])

        for _ in range(n):
            key = text().decode()
            v = value(struct.unpack("<I", f.read(4))[0])
            if key.startswith("tokenizer.chat_template") and isinstance(v, bytes):
                yield v.decode()


def templates_in(path):
    name = os.path.basename(path)
    try:
        if name.endswith((".jinja", ".jinja2")):
            yield open(path, newline="").read()
        elif name.endswith(".gguf"):
            yield from strings_of_gguf(path)
        elif name == "tokenizer_config.json" or "chat_template" in name and name.endswith(".json"):
            t = json.load(open(path)).get("chat_template")
            for v in [t] if isinstance(t, str) else [x["template"] for x in t or []]:
                yield v
        elif name.endswith(".py"):
            source = open(path).read()
            if "messages" in source and "{%" in source:
                for node in ast.walk(ast.parse(source)):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "{%" in node.value and "messages" in node.value:
                        yield node.value
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError):
        return


def find(paths):
    seen = {}
    for top in paths:
        files = [top] if os.path.isfile(top) else [os.path.join(d, f) for d, _, fs in os.walk(top) for f in sorted(fs)]
        for path in files:
            for i, t in enumerate(templates_in(path)):
                if t not in seen:
                    seen[t] = f"{path}#{i}" if i else path
    return seen


class Clock:
    """datetime.now() as the date that both sides are given."""
    @staticmethod
    def now():
        import datetime
        return datetime.datetime.fromisoformat(DATE)


def variables_of(messages, tools, prompt, thinking):
    v = {"messages": _alias_reasoning_fields([{k: x for k, x in m.items() if x is not None} for m in messages]), "tools": tools, "documents": None,
         "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    if thinking is not None:
        v["enable_thinking"] = thinking
    return v


MARKERS = re.compile(r"<\|[^|<>\s'\"{}]+\|>|<｜[^｜\s]+｜>|\[/?[A-Z_]{3,}\]|<(?:start_of_turn|end_of_turn|bos|eos|start_of_image)>|<\|[a-z_]+>|</?s>")


def tokenizer_of(source, where):
    """A directory with a byte-level tokenizer whose special tokens are the template's markers, and that template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    special = sorted(set(MARKERS.findall(source)) | {"<s>", "</s>", "<unk>", "<pad>"})
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.train_from_iterator([json.dumps(CONVERSATIONS) + source], trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    t.add_tokens([AddedToken(x, special=False, normalized=False) for x in ("<think>", "</think>", "<tool_call>", "</tool_call>")])
    fast = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
                                   chat_template=source)
    fast.save_pretrained(where)
    return fast


def reference_turns(fast, messages, tools, ids, options):
    """The agent's turns; None for one that cannot be told."""
    ends = set(i for i, t in fast.added_tokens_decoder.items() if t.special)
    if re.search(r"\{%-?\s*generation\s*-?%\}", fast.chat_template):
        mask = fast.apply_chat_template(messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True, **options)["assistant_masks"]
        edges = [i for i in range(len(mask) + 1) if (i > 0 and mask[i - 1]) != (i < len(mask) and mask[i])]
        return list(zip(edges[::2], edges[1::2]))
    turns = []
    for i, m in enumerate(messages):
        if m["role"] != "assistant":
            continue
        try:
            before = fast.apply_chat_template(messages[:i], tools=tools, add_generation_prompt=True, return_dict=False, **options)
        except Exception:
            return None
        if ids[:len(before)] != before:
            return None
        turns.append(len(before))
    return turns


def compare_ids(templates, constructs):
    """Prints and counts what differs."""
    count, different = collections.Counter(), 0
    for source, where in templates.items():
        with tempfile.TemporaryDirectory() as directory:
            fast = tokenizer_of(source, directory)
            lines, wants = [], []
            for name, (messages, tools) in CONVERSATIONS.items():
                for prompt in (False, True):
                    if prompt and messages[-1]["role"] == "assistant":
                        continue
                    lines.append(json.dumps({"messages": messages, "tools": tools, "prompt": prompt}))
                    try:
                        ids = fast.apply_chat_template(messages, tools=tools, add_generation_prompt=prompt, return_dict=False)
                        wants.append((name, messages, tools, prompt, ids))
                    except Exception as e:
                        wants.append((name, messages, tools, prompt, e))
            run = subprocess.run([TEMPLATE_TOOL, "--conversations", directory, "date=" + DATE], input="\n".join(lines).encode(), capture_output=True)
            if run.returncode:
                print(f"DIFFERENT: {where}: {run.stderr.decode()}")
                different += 1
                continue
            said = set()
            for (name, messages, tools, prompt, want), line in zip(wants, run.stdout.decode().splitlines()):
                got = json.loads(line)
                if "error" in got:
                    kind = "both refuse" if isinstance(want, Exception) else "refused"
                    if kind == "refused":
                        constructs[re.sub(r"line \d+: |message \d+: |/tmp/[^:]*: ", "", got["error"])] += 1
                elif isinstance(want, Exception):
                    kind = "DIFFERENT"
                elif got["ids"] != want and fast.decode(got["ids"]) == fast.decode(want):
                    kind = "equal text, ids otherwise where a turn begins or data looks like a token"
                else:
                    kind = "equal" if got["ids"] == want else "DIFFERENT"
                if kind == "equal" and not prompt:
                    turns = reference_turns(fast, messages, tools, want, {})
                    ours = list(zip(got["turns"][::2], got["turns"][1::2]))
                    if turns is None:
                        kind = "equal ids, turns without a reference"
                    elif turns and isinstance(turns[0], int):
                        kind = "equal" if [b for b, _ in ours] == turns else "DIFFERENT"
                    else:
                        kind = "equal" if ours == turns else "DIFFERENT"
                count[kind] += 1
                if kind == "DIFFERENT":
                    different += 1
                    if kind not in said:
                        said.add(kind)
                        print(f"DIFFERENT: {where}: {name}: {got.get('error')} want {want if isinstance(want, Exception) else fast.decode(want)!r:.500}\n"
                              f"   got {fast.decode(got['ids'])!r:.500}\n   turns {got['turns']} {[fast.decode(got['ids'][b:e]) for b, e in zip(got['turns'][::2], got['turns'][1::2])]}"
                              f" {reference_turns(fast, messages, tools, want, {}) if not isinstance(want, Exception) and not prompt else ''}"[:2500])
    print(f"{len(templates)} templates, ids and turns: " + ", ".join(f"{n} {k}" for k, n in sorted(count.items())))
    return different


def main():
    import transformers.utils.chat_template_utils as utils
    utils.datetime = Clock
    templates = find(sys.argv[1:] or [sysconfig.get_paths()["purelib"]])
    cases = []
    for source, where in templates.items():
        for name, (messages, tools) in CONVERSATIONS.items():
            for prompt in (False, True):
                for thinking in (None, False) if "enable_thinking" in source else (None,):
                    variables = variables_of(messages, tools, prompt, thinking)
                    try:
                        want = _compile_jinja_template(source).render(**variables)
                    except Exception as e:  # the template's own refusal, or a broken one
                        want = e
                    cases.append((where, f"{name}{', prompt' if prompt else ''}{', no thinking' if thinking is False else ''}", source, variables, want))
    lines = "\n".join(json.dumps({"template": s, "variables": v, "date": DATE}, ensure_ascii=True) for _, _, s, v, _ in cases)
    out = subprocess.run([TOOL, "--render"], input=lines.encode(), capture_output=True, check=True).stdout.decode().splitlines()
    assert len(out) == len(cases)
    count, constructs, verdicts = collections.Counter(), collections.Counter(), {}
    for (where, name, _, _, want), line in zip(cases, out):
        got = json.loads(line)
        text, error = got.get("text"), got.get("error")
        if isinstance(want, Exception):
            kind = "both refuse" if error else "DIFFERENT"
            detail = f"transformers fails ({want}), we give {text!r}" if not error else ""
        elif error:
            kind, detail = "refused", error
            constructs[re.sub(r"line \d+: ", "", error.replace("template: ", ""))] += 1
        else:
            kind = "equal" if text == want else "DIFFERENT"
            detail = f"want {want!r}\n   got {text!r}"
        count[kind] += 1
        if kind in ("refused", "DIFFERENT") and verdicts.get(where) != kind:
            verdicts[where] = kind
            print(f"{kind}: {where}: {name}: {detail[:600]}")
    print(f"{len(templates)} templates, {len(cases)} texts: " + ", ".join(f"{n} {k}" for k, n in sorted(count.items())))
    count["DIFFERENT"] += compare_ids(templates, constructs)
    for construct, n in constructs.most_common():
        print(f"  refused {n} times: {construct}")
    return 1 if count["DIFFERENT"] else 0


if __name__ == "__main__":
    sys.exit(main())
