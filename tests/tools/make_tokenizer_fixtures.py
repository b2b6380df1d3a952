#!/usr/bin/env python3
"""Writes tests/data/tokenizer-NAME.json and tokenizer-NAME-cases.json with the tokenizers library.

    python3 tests/tools/make_tokenizer_fixtures.py [bytes|pieces]

The tokenizers are trained by the library on this repository's headers, those of Llama-2's kind (tokenizer-pieces-*, and
the SentencePiece model tokenizer-pieces.model) by sentencepiece; a case is [text, ids], the ids the library's.
"""
import json
import os
import random
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "python"), HERE]
import interop_tokenizer as interop  # noqa: E402

NAMES = {"llama3-ignore": 330, "added-nfc": 330, "smollm": 330}  # and vocabulary


def write_cases(path, cases):
    with open(path + "-cases.json", "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases) + "\n]\n")


def make_bytes():
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
        write_cases(path, [[x, t.encode(x, add_special_tokens=False).ids] for x in texts + (added if "added" in name else [])])


def make_pieces():
    import interop_pieces as pieces
    import sentencepiece
    from hard_corpus import Random
    from tokenizers import AddedToken
    rnd = Random(11)
    texts = [t for t in interop.corpus()[:44] if len(t) < 200 and "<s>" not in t]
    texts += ["".join(rnd.some(list("aAbs'1٣ \t\n\r\u00a0\u0301é.-中か😀½▁  the"), 4, 24)) for _ in range(50)]
    texts += ["the " * 60, " " * 70, "".join(rnd.some("inest", 300, 300))]
    added = ["".join(rnd.some(["<l>", "<r>", "<lr>", "word", "wo", "word2", "a b", "b a", "▁x", " x", "  ", " ", "\n\n", "[INST]", "<|x|>", "a", "_", "<s>"],
                              10, 10)) for _ in range(50)]
    path = os.path.join(HERE, "..", "data", "tokenizer-pieces")
    text = "\n".join(interop.samples())
    with open(path + ".model", "wb") as f:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(text.split("\n")), model_writer=f, model_type="bpe", vocab_size=460, byte_fallback=True,
            normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
            character_coverage=0.99, minloglevel=2)
    p = sentencepiece.SentencePieceProcessor(model_file=path + ".model")
    write_cases(path, [[x, p.encode(x)] for x in texts])
    for name, t in pieces.library_tokenizers(path + ".model"):
        if name not in ("legacy", "added-legacy", "added-first", "bytes-missing-apart"):
            continue
        if name == "legacy":
            t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in
                                  ("<|system|>", "<|user|>", "<|agent|>", "<|end|>", "<|im_start|>", "<|im_end|>")])
        with open(f"{path}-{name}.json", "w", encoding="utf-8") as f:
            f.write(t.to_str(pretty=False) + "\n")
        write_cases(f"{path}-{name}", [[x, t.encode(x, add_special_tokens=False).ids] for x in texts + (added if "added" in name else [])])


for what in sys.argv[1:] or ["bytes", "pieces"]:
    {"bytes": make_bytes, "pieces": make_pieces}[what]()
