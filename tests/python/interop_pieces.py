#!/usr/bin/env python3
"""Compares our tokenizers of the Llama-2 and SentencePiece kind with the tokenizers library and sentencepiece.

    python3 tests/python/interop_pieces.py BUILD_DIR

The vocabularies are trained on the spot with sentencepiece. Opt-in: not part of `make test`.
"""
import glob
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tools")]
import sentencepiece  # noqa: E402
from hard_corpus import Random, corpus  # noqa: E402
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers  # noqa: E402
from transformers.convert_slow_tokenizer import generate_merges  # noqa: E402

import interop_tokenizer as base  # noqa: E402
from interop_tokenizer import TOKENIZER, check, compare, encode, run  # noqa: E402

TEXT = "日本語のテキスト caffè naïve ελληνικά 中文 {'a': [1, 2]}\n\tx = y**2  # ok " * 20


def train(work, name, **options):
    """Path of a SentencePiece model trained on our own documentation."""
    source = os.path.join(work, "text")
    if not os.path.exists(source):
        root = os.path.join(HERE, "..", "..")
        with open(source, "w", encoding="utf-8") as out:
            for path in sorted(glob.glob(os.path.join(root, "docs", "*.md")) + glob.glob(os.path.join(root, "io", "*.h"))):
                out.write(open(path, encoding="utf-8").read())
            out.write(TEXT)
    prefix = os.path.join(work, name)
    settings = dict(model_type="bpe", vocab_size=1400, byte_fallback=True, normalization_rule_name="identity",
                    remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.9995,
                    minloglevel=2)
    sentencepiece.SentencePieceTrainer.train(input=source, model_prefix=prefix, **{**settings, **options})
    return prefix + ".model"


def library_tokenizers(model):
    """(name, tokenizer) in the forms that the Llama-2 and Mistral families have, all of one SentencePiece vocabulary."""
    processor = sentencepiece.SentencePieceProcessor(model_file=model)
    vocabulary = {processor.id_to_piece(i): i for i in range(processor.vocab_size())}
    scores = {processor.id_to_piece(i): processor.get_score(i) for i in range(processor.vocab_size())}
    merges = generate_merges(vocabulary, {p: s for p, s in scores.items() if not processor.is_control(vocabulary[p])})
    plain = {p: i for p, i in vocabulary.items() if not processor.is_byte(i)}
    holes = {p: i for p, i in vocabulary.items() if p not in ("<0xC3>", "<0xE6>", "é", "日")}
    strange = [AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True), AddedToken("<lr>", lstrip=True, rstrip=True),
               AddedToken("word", single_word=True), AddedToken("wo"), AddedToken("word2", normalized=False),
               AddedToken("a b", normalized=True), AddedToken("b a", normalized=False), AddedToken("▁x", normalized=True),
               AddedToken("\n\n", special=True), AddedToken("[INST]", special=True, rstrip=True), AddedToken("<|x|>", special=True)]
    legacy = lambda: normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])  # noqa: E731
    meta = pre_tokenizers.Metaspace

    def make(name, normalizer=None, pre=None, added=(), vocab=vocabulary, strip=True, decoder=None, **options):
        options = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, **options}
        kept = [m for m in merges if all(p in vocab for p in (*m, m[0] + m[1]))]
        t = Tokenizer(models.BPE(vocab=vocab, merges=kept, **options))
        if normalizer:
            t.normalizer = normalizer
        if pre:
            t.pre_tokenizer = pre
        parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        t.decoder = decoder or decoders.Sequence(parts + ([decoders.Strip(" ", 1, 0)] if strip else []))
        t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in ("<unk>", "<s>", "</s>")])
        for a in added:
            (t.add_special_tokens if a.special else t.add_tokens)([a])
        return name, t

    return [
        make("legacy", legacy()),
        make("legacy-ignore", legacy(), ignore_merges=True),
        make("replace-only", normalizers.Replace(" ", "▁"), strip=False),
        make("first", None, meta("▁", "first", False)),
        make("always", None, meta("▁", "always", False)),
        make("always-split", None, meta("▁", "always", True)),
        make("first-split", None, meta("▁", "first", True)),
        make("never-split", None, meta("▁", "never", True), strip=False),
        make("nfc-legacy", normalizers.Sequence([normalizers.NFC(), normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])),
        make("unknown-fused", legacy(), vocab=plain, byte_fallback=False),
        make("unknown-apart", legacy(), vocab=plain, byte_fallback=False, fuse_unk=False),
        make("unknown-none", None, meta("▁", "always", True), vocab=plain, byte_fallback=False, unk_token=None),
        make("bytes-missing", legacy(), vocab=holes),
        make("bytes-missing-apart", legacy(), vocab=holes, fuse_unk=False),
        make("added-legacy", legacy(), None, strange),
        make("added-first", None, meta("▁", "first", False), strange),
        make("added-always", None, meta("▁", "always", True), strange),
    ]


def check_decode(name, directory, t, ids):
    """Whole texts: what our decoder gives, without the space that encoding put in front."""
    for want, line in zip(ids, run(TOKENIZER, "--text", directory, lines=ids)):
        check(json.loads(line) == t.decode(want, skip_special_tokens=False),
              f"{name}: decode of {want[:20]}: {line[:80]} {t.decode(want, skip_special_tokens=False)[:80]!r}")


def check_library_tokenizers(work, model):
    rnd = Random(5)
    texts = corpus()
    pieces = ["<l>", "<r>", "<lr>", "word", "wo", "word2", "a b", "b a", "▁a▁b", "▁x", " x", "\n\n", "\n", "[INST]", "<|x|>", "a", "_", " ", "  ", "▁",
              "\u2003", "é", "<s>", "</s>", "1", "-"]
    added = ["".join(rnd.some(pieces, 1, 14)) for _ in range(4000)]
    for name, t in library_tokenizers(model):
        directory = os.path.join(work, name)
        os.makedirs(directory)
        t.save(os.path.join(directory, "tokenizer.json"))
        some = texts if name in ("legacy", "first") else texts[::4]
        some = some + (added if name.startswith("added") else [])
        compare(name, directory, some, t)
        again = directory + "-again"
        run(TOKENIZER, "--save", directory, again)
        second = Tokenizer.from_file(os.path.join(again, "tokenizer.json"))
        for text in some[::9]:
            first_ids = t.encode(text, add_special_tokens=False).ids
            check(second.encode(text, add_special_tokens=False).ids == first_ids, f"{name} written again: {text[:80]!r}")
            check(second.decode(first_ids) == t.decode(first_ids), f"{name} written again: decode {text[:80]!r}")
        check_decode(name, directory, t, [t.encode(x, add_special_tokens=False).ids for x in some[::3]])
        t.encode_special_tokens = True
        if not name.startswith("added"):
            compare(name + "-text", directory, texts[::9], t, "text")


def kinds(processor):
    """GGUF's token types, which are SentencePiece's."""
    p = processor
    return [2 if p.is_unknown(i) else 3 if p.is_control(i) else 5 if p.is_unused(i) else 6 if p.is_byte(i) else 1
            for i in range(p.vocab_size())]


def write_gguf(path, processor, types, **more):
    import gguf
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list([processor.id_to_piece(i).encode() for i in range(processor.vocab_size())])
    w.add_token_scores([processor.get_score(i) for i in range(processor.vocab_size())])
    w.add_token_types(types)
    w.add_bos_token_id(processor.bos_id())
    for key, value in more.items():
        w.add_bool("tokenizer.ggml." + key, value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def write_llama2c(path, processor):
    """As llama2.c's tokenizer.py does."""
    import struct
    tokens = []
    for i in range(processor.vocab_size()):
        piece = processor.id_to_piece(i)
        piece = {processor.bos_id(): "\n<s>\n", processor.eos_id(): "\n</s>\n"}.get(i, piece)
        tokens.append((piece.replace("▁", " ").encode(), processor.get_score(i)))
    with open(path, "wb") as f:
        f.write(struct.pack("I", max(len(t) for t, _ in tokens)))
        for t, score in tokens:
            f.write(struct.pack("fI", score, len(t)) + t)


def unused_model(model):
    """The model with every third piece unused: of two fields with the same number, the later holds."""
    def varint(data, at):
        value = shift = 0
        while True:
            byte = data[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value, at

    def encoded(value):
        out = b""
        while value > 127:
            out, value = out + bytes([value & 127 | 128]), value >> 7
        return out + bytes([value])

    data, out, at, n = open(model, "rb").read(), b"", 0, 0
    while at < len(data):
        key, at = varint(data, at)
        size, at = varint(data, at)
        body, at = data[at:at + size], at + size
        if key >> 3 == 1:
            n += 1
            body += b"\x18\x05" if n > 260 and n % 3 == 0 else b""
        out += encoded(key) + encoded(len(body)) + body
    path = model.replace(".model", "-unused.model")
    open(path, "wb").write(out)
    return path


def check_sentencepiece(work):
    """Our reading of SentencePiece vocabularies, in every container, against sentencepiece itself."""
    texts = corpus()
    named = [x for x in texts if not any(s in x for s in ("<s>", "</s>", "<unk>"))]
    variants = {
        "plain": {}, "no-prefix": {"add_dummy_prefix": False}, "squeezed": {"remove_extra_whitespaces": True},
        "squeezed-no-prefix": {"remove_extra_whitespaces": True, "add_dummy_prefix": False},
        "unknown": {"byte_fallback": False}, "whole": {"split_by_whitespace": False, "split_by_unicode_script": False, "split_digits": False},
        "small": {"vocab_size": 420, "character_coverage": 0.98}, "user": {"user_defined_symbols": ["<tool>", "wor", "日本", "  ", "ing"]},
    }
    for name, options in variants.items():
        model = train(work, name, **options)
        p = sentencepiece.SentencePieceProcessor(model_file=model)
        want = p.encode(named, num_threads=1)
        bad = [(t, g, w) for t, g, w in zip(named, encode(model, named), want) if g != w]
        check(not bad, f"{name}: {len(bad)} of {len(named)} texts differ from sentencepiece: {bad[:2]}")
        base.passed += len(named)
        if name != "unknown":  # sentencepiece shows an unknown character as " ⁇ "
            for ids, line in zip(want, run(TOKENIZER, "--text", model, lines=want)):
                check(json.loads(line) == p.decode(ids), f"{name}: decode {ids[:20]}: {line[:60]} {p.decode(ids)[:60]!r}")
        if name == "plain":
            some = unused_model(model)
            want = sentencepiece.SentencePieceProcessor(model_file=some).encode(named)
            check(encode(some, named) == want, "a model with unused pieces differs from sentencepiece")
        if name == "user":
            continue
        prefix, squeeze = "no-prefix" not in name, "squeezed" in name
        path = os.path.join(work, name + ".gguf")
        write_gguf(path, p, kinds(p), add_space_prefix=prefix, remove_extra_whitespaces=squeeze)
        check(encode(path, texts, "text") == p.encode(texts), f"{name}: GGUF differs from sentencepiece")
        again = os.path.join(work, name + "-again.bin")
        if not prefix or squeeze:
            continue
        path = os.path.join(work, name + ".bin")
        write_llama2c(path, p)
        sized = f"{path}:{p.vocab_size()}"
        check(encode(sized, texts, "text") == p.encode(texts), f"{name}: tokenizer.bin differs from sentencepiece")
        run(TOKENIZER, "--save", sized, again)
        check(open(again, "rb").read() == open(path, "rb").read(), f"{name}: tokenizer.bin written again is not the same")
        run(TOKENIZER, "--save", model, again)
        check(open(again, "rb").read() == open(path, "rb").read(), f"{name}: tokenizer.bin of the model is not the same")
        check_conversion(work, name, model, p, texts)


def check_conversion(work, name, model, processor, texts):
    """tokenizer.json written of a SentencePiece model is what transformers makes of it."""
    directory = os.path.join(work, name + "-converted")
    run(TOKENIZER, "--save", model, directory)
    converted = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
    n = processor.vocab_size()
    vocabulary = {processor.id_to_piece(i): i for i in range(n)}
    skip = [processor.id_to_piece(i) for i in range(n) if processor.is_control(i) or processor.is_unknown(i) or processor.is_byte(i)]
    merges = generate_merges(vocabulary, {processor.id_to_piece(i): processor.get_score(i) for i in range(n)}, skip)
    ours = json.load(open(os.path.join(directory, "tokenizer.json"), encoding="utf-8"))["model"]
    check([tuple(m) for m in ours["merges"]] == merges, f"{name}: merges differ from transformers'")
    check(ours["vocab"] == vocabulary, f"{name}: vocabulary differs")
    compare(name + "-converted", directory, texts[::5], converted)
    differ = sum(a != converted.encode(x, add_special_tokens=False).ids for a, x in zip(processor.encode(texts[::5]), texts[::5])
                 if "<" not in x)
    print(f"{name}: tokenizer.json and sentencepiece themselves differ in {differ} of {len(texts[::5])} texts")


# TinyLlama-1.1B-Chat-v1.0's template, as published.
ZEPHYR = ("{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n"
          "{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
          "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}")


def template_text(environment, name, talk, generation):
    messages = [{"role": r, "content": t} for r, t in talk]
    if name == "vicuna":
        return base.vicuna_text(talk, generation)
    if name == "plain":
        return base.plain_text(talk, generation)
    source = {"zephyr": ZEPHYR, "chatml": base.PUBLISHED["qwen2"]}.get(name) or base.PUBLISHED[name]
    if name == "chatml":
        source = source.replace("loop.first and messages[0]['role'] != 'system'", "false")
    return environment.from_string(source).render(messages=messages, bos_token="<s>", eos_token="</s>",
                                                  add_generation_prompt=generation)


def check_templates(work, model):
    """A conversation has the ids of its text encoded as a whole, as transformers' apply_chat_template does."""
    import jinja2
    from transformers import AutoTokenizer
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    markers = ["<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|agent|>", "<|end|>", "[INST]", "[/INST]"]
    tokenizers = [(n, t) for n, t in library_tokenizers(model) if n in ("legacy", "first", "always", "always-split", "replace-only")]
    for form, library in tokenizers:
        for special in (False, True):
            if special:
                library.add_special_tokens([AddedToken(m, special=True, normalized=False) for m in markers])
            for name in ("llama2", "mistral", "vicuna", "zephyr") + (("chatml", "plain") if special else ()):
                directory = os.path.join(work, f"template-{form}-{special}-{name}")
                os.makedirs(directory)
                library.save(os.path.join(directory, "tokenizer.json"))
                saved = directory + "-saved"
                run(base.TEMPLATE, "--save", directory, name, saved)
                theirs = AutoTokenizer.from_pretrained(saved)
                for generation in (False, True):
                    talks = base.conversations()
                    if generation:
                        talks = [c[:-1] for c in talks]
                    ours = run(base.TEMPLATE, "--render", directory, name, str(int(generation)), lines=talks)
                    again = run(base.TEMPLATE, "--render", saved, "auto", str(int(generation)), lines=talks)
                    check(ours == again, f"{name}, {form}: the saved template is not recognised as the same")
                    for talk, line in zip(talks, ours):
                        ids, spans = line.split("|")
                        ids, spans = [int(x) for x in ids.split()], [int(x) for x in spans.split()]
                        text = template_text(environment, name, talk, generation)
                        want = library.encode(text, add_special_tokens=False).ids
                        check(ids == want, f"{name} ({form}, {special}): {text!r}\n  ours   {[library.id_to_token(i) for i in ids]}"
                              f"\n  theirs {[library.id_to_token(i) for i in want]}")
                        messages = [{"role": r, "content": t} for r, t in talk]
                        jinja = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
                        check(jinja == text, f"{name}: saved jinja gives {jinja!r}, not {text!r}")
                        got = theirs.apply_chat_template(messages, add_generation_prompt=generation, return_dict=False)
                        check(got == want, f"{name} ({form}, {special}): transformers gives {got}, the library {want}")
                        words = [t for r, t in talk if r == "assistant"]
                        check(len(spans) == 2 * len(words), f"{name}: {spans} for {len(words)} turns")
                        for begin, end in zip(spans[::2], spans[1::2]):
                            check(library.id_to_token(ids[end - 1]) in ("</s>", "<|im_end|>", "<|end|>"),
                                  f"{name} ({form}): span [{begin}, {end}) does not end with an end of turn")


def main():
    with tempfile.TemporaryDirectory() as work:
        model = train(work, "bpe")
        check_templates(work, model)
        check_library_tokenizers(work, model)
        check_sentencepiece(work)
    print(f"interop_pieces: {base.passed} passed, {base.failed} failed")
    return 1 if base.failed else 0


if __name__ == "__main__":
    sys.exit(main())
