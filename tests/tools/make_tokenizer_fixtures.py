#!/usr/bin/env python3
"""Writes tests/data/tokenizer-NAME.json and tokenizer-NAME-cases.json with the tokenizers library.

    python3 tests/tools/make_tokenizer_fixtures.py

The tokenizers are trained by the library on this repository's headers; a case is [text, ids], the ids the library's.
"""
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import interop_tokenizer as interop  # noqa: E402

NAMES = {"llama3-ignore": 330, "added-nfc": 330, "smollm": 330}  # and vocabulary


def main():
    rnd = random.Random(7)
    texts = [t for t in interop.corpus()[:44] if len(t) < 200]
    pool = "aAbs'1٣ \t\n\r\u00a0\u0301\u0323é.-ſ中か가ᄀ\u1161😀½\u0903"
    texts += ["".join(rnd.choice(pool) for _ in range(rnd.randint(4, 24))) for _ in range(40)]
    texts.append("".join(rnd.choice("inest") for _ in range(300)))  # a word long enough for the heap
    pieces = ["<l>", "<r>", "<lr>", "word", "wo", "word2", "cafe\u0301", "na\u00efve", "e\u0301x", "  ", " ", "\n\n", "[INST]",
              "<|x|>", "a", "_", "\u0301", "<|im_start|>"]
    added = ["".join(rnd.choice(pieces) for _ in range(10)) for _ in range(40)]
    for name, t in interop.library_tokenizers(NAMES):
        if name not in NAMES:
            continue
        path = os.path.join(HERE, "..", "data", "tokenizer-" + name)
        with open(path + ".json", "w", encoding="utf-8") as f:
            f.write(t.to_str(pretty=False) + "\n")
        cases = [[x, t.encode(x, add_special_tokens=False).ids] for x in texts + (added if "added" in name else [])]
        with open(path + "-cases.json", "w", encoding="utf-8") as f:
            f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases) + "\n]\n")


main()
