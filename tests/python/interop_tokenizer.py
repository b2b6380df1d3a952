#!/usr/bin/env python3
"""Compares our tokenizers and chat templates with the tokenizers library, transformers and jinja2.

    python3 tests/python/interop_tokenizer.py BUILD_DIR

Uses BUILD_DIR/tests/tokenizer and BUILD_DIR/tests/template as tools. Opt-in: not part of `make test`.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
TOKENIZER = os.path.join(BUILD, "tests", "tokenizer")
TEMPLATE = os.path.join(BUILD, "tests", "template")
REST = r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)" + REST
QWEN2 = LLAMA3.replace("{1,3}", "")
ASCII = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
passed = failed = 0


def check(ok, message):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        if failed <= 40:
            print("FAILED:", message)


def run(*args, lines=None):
    text = None if lines is None else "".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines)
    r = subprocess.run(args, input=text, capture_output=True, encoding="utf-8")
    if r.returncode != 0:
        raise RuntimeError(f"{' '.join(args[:3])}: {r.stderr.strip()[:500]}")
    return r.stdout.split("\n")[:-1]


def encode(directory, texts, mode="all"):
    return [[int(i) for i in line.split()] for line in run(TOKENIZER, "--encode", directory, mode, lines=texts)]


def corpus():
    """Texts that are hard to cut: every block, marks, white space, contractions, digits, long runs."""
    rnd = random.Random(1)
    texts = [
        "", " ", "  ", "\n", " \n ", "\n\n  \n x", "a", " a", "a ", "Hello, world!", "I'll we've IT'S 'S 'ſ x'LL don'T",
        "they're'd'm 'tis 's s's ''s '' ' s", "1 12 123 1234 12345 3.14159 1,000,000 ①②③ ½ ٣٤٥ ⅣⅤ 百", "x1y22z333w4444",
        "é e\u0301 \u1e9b\u0323 \u212b \u0041\u030a \ufb01 가각 \u1100\u1161\u11a8 क\u093c \u0958", "a\u0315\u0300\u05ae\u0062",
        "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ☃️ 😀😀", "中文字符，测试。日本語のテキスト ภาษาไทย العربية עברית हिन्दी",
        "for (int i = 0; i < n; i++) {\n\tx[i] += 1;\r\n\r\n}\n\n\n", "\t\ttab\t \ttab", "\u00a0nbsp\u3000ideo\u2028line\u2029",
        "\u0085nel \u001c\u001dsep\u180e", "end  \n", "end \r\n \t", "...!!!\n\n???", " ...\r\n x", "a\u200bb\u200db\ufeff",
        "<|im_start|>user\nhi<|im_end|>\n", "[INST] x [/INST] y </s><s>", "\x00\x01\x7f", "ſ 'ſ'ſa K Å",
        "x" * 2000, " " * 1500, "ab" * 1500, "\n" * 700, "a\u0301" * 600, "\u0301\u0323" * 300, "1" * 500, "=-" * 900,
        "".join(rnd.choice("ab") for _ in range(3000)), "".join(rnd.choice("aeiou \n") for _ in range(5000)),
    ]
    for block in range(0, 0x110000, 0x80):
        codes = [c for c in range(block, block + 0x80) if not 0xD800 <= c < 0xE000]
        if not codes or (block >= 0x40000 and block % 0x8000):
            continue
        chars = [chr(c) for c in rnd.sample(codes, min(len(codes), 24))]
        texts.append("".join(c + rnd.choice(["", " ", "a", "1", "\u0301", "\n", "'s", "."]) for c in chars))
    pool = "aAbstre'1٣ \t\n\r\u00a0\u0301\u0323é.,!-ſ中か가ᄀ\u1161\u11a8😀_½\u0903क\u093c\u0345"
    for _ in range(3000):
        texts.append("".join(rnd.choice(pool) for _ in range(rnd.randint(1, 40))))
    return texts


def samples():
    """Text to train on: this repository's own words and some that repeat."""
    rnd = random.Random(2)
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    texts = []
    for folder in ("io", "core"):
        for name in sorted(os.listdir(os.path.join(root, folder))):
            if name.endswith(".h"):
                texts.append(open(os.path.join(root, folder, name), encoding="utf-8").read())
    texts += ["I'll go; they've 12345 things, don't we? " * 3, "caffè naïve e\u0301le\u0300ve 中文中文 ٣٤٥ 가각나 👍🏽👍🏽 " * 4]
    texts += [" ".join(rnd.choice(["look", "take", "apple", "1", "22", "go to", "<x>"]) for _ in range(200))]
    return texts


def compare(name, directory, texts, reference, mode="all"):
    got = encode(directory, texts, mode)
    check(len(got) == len(texts), f"{name}: {len(got)} lines for {len(texts)} texts")
    for text, ids in zip(texts, got):
        want = reference.encode(text, add_special_tokens=False).ids
        check(ids == want, f"{name}: {text[:80]!r}\n  ours   {ids[:40]}\n  theirs {want[:40]}")


def library_tokenizers(sizes=None):
    """(name, tokenizer) trained with the library; sizes: of the vocabulary, by name."""
    def make(name, pre, normalizer=None, added=(), **model):
        t = Tokenizer(models.BPE(**model))
        if normalizer:
            t.normalizer = normalizer
        t.pre_tokenizer = pre
        t.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=(sizes or {}).get(name, 900), special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
        t.train_from_iterator(samples(), trainer)
        for a in added:
            (t.add_special_tokens if a.special else t.add_tokens)([a])
        return name, t

    byte = pre_tokenizers.ByteLevel
    def split(regex, behavior="isolated", invert=False):
        return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), behavior, invert),
                                        byte(add_prefix_space=False, use_regex=False)])
    strange = [AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True), AddedToken("<lr>", lstrip=True, rstrip=True),
               AddedToken("word", single_word=True), AddedToken("wo"), AddedToken("word2", normalized=False),
               AddedToken("caf\u00e9", normalized=True), AddedToken("nai\u0308ve", normalized=True),
               AddedToken("e\u0301x", normalized=False), AddedToken("  ", normalized=False), AddedToken("\n\n", special=True),
               AddedToken("[INST]", special=True, rstrip=True), AddedToken("<|x|>", special=True, lstrip=True)]
    return [
        make("gpt2", byte(add_prefix_space=False)),
        make("gpt2-prefix", byte(add_prefix_space=True)),
        make("llama3", split(LLAMA3)),
        make("llama3-ignore", split(LLAMA3), ignore_merges=True),
        make("qwen2-nfc", split(QWEN2), normalizers.NFC()),
        make("llama3-ascii", split(ASCII + REST)),
        make("qwen2-ascii", split(ASCII + REST.replace("{1,3}", ""), "removed", True)),
        make("smollm", pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte(add_prefix_space=False)])),
        make("digits-prefix", pre_tokenizers.Sequence([pre_tokenizers.Digits(False), byte(add_prefix_space=True)])),
        make("added-nfc", split(LLAMA3), normalizers.NFC(), strange),
        make("added-plain", byte(add_prefix_space=False), None, strange),
    ]


def check_library_tokenizers(work):
    rnd = random.Random(3)
    texts = corpus()
    pieces = ["<l>", "<r>", "<lr>", "word", "wo", "word2", "caf\u00e9", "cafe\u0301", "na\u00efve", "nai\u0308ve", "e\u0301x", "\u00e9x",
              "  ", " ", "\n\n", "\n", "[INST]", "<|x|>", "a", "_", "\u0301", "x", "\u2003", "é", "1", "-"]
    added = ["".join(rnd.choice(pieces) for _ in range(rnd.randint(1, 14))) for _ in range(4000)]
    for name, t in library_tokenizers():
        directory = os.path.join(work, name)
        os.makedirs(directory)
        t.save(os.path.join(directory, "tokenizer.json"))
        some = texts + (added if name.startswith("added") else [])
        compare(name, directory, some, t)
        again = directory + "-again"
        run(TOKENIZER, "--save", directory, again)
        second = Tokenizer.from_file(os.path.join(again, "tokenizer.json"))
        for text in some[:400] + some[-400:]:
            check(second.encode(text, add_special_tokens=False).ids == t.encode(text, add_special_tokens=False).ids,
                  f"{name} written again: {text[:80]!r}")
        check_decode(name, directory, t, texts)


def check_decode(name, directory, t, texts):
    ids = [t.encode(x, add_special_tokens=False).ids for x in texts]
    for want, line in zip(ids, run(TOKENIZER, "--decode", directory, lines=ids)):
        check(json.loads(line) == t.decode(want, skip_special_tokens=False), f"{name}: decode of {want[:20]}")


def check_trained(work):
    texts = corpus()
    for split in ("gpt2", "llama3", "qwen2"):
        for digits in ("0", "1"):
            name = f"trained-{split}-{digits}"
            directory = os.path.join(work, name)
            run(TOKENIZER, "--train", directory, split, digits, "1200", "<|user|>", "<|im_start|>", "<|im_end|>", "</s>",
                lines=samples())
            t = Tokenizer.from_file(os.path.join(directory, "tokenizer.json"))
            compare(name, directory, texts, t)
            check_decode(name, directory, t, texts)
            t.encode_special_tokens = True
            compare(name + "-text", directory, texts, t, "text")


# The families' templates as published on Hugging Face (the parts that render plain conversations).
PUBLISHED = {
    "qwen2": (
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
        "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if loop.index0 == 0 and system_message != false %}"
        "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
        "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"),
    "llama3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
        "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"),
    "llama3.1": (
        "{{- bos_token }}\n{%- set date_string = \"26 Jul 2024\" %}\n{%- if messages[0]['role'] == 'system' %}\n"
        "    {%- set system_message = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n"
        "{%- else %}\n    {%- set system_message = \"\" %}\n{%- endif %}\n"
        "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
        "{{- \"Cutting Knowledge Date: December 2023\\n\" }}\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n"
        "{{- system_message }}\n{{- \"<|eot_id|>\" }}\n{%- for message in messages %}\n"
        "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + "
        "'<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n"
        "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"),
    "mistral": (
        "{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set system_message = messages[0][\"content\"] %}\n"
        "    {%- set loop_messages = messages[1:] %}\n{%- else %}\n    {%- set loop_messages = messages %}\n{%- endif %}\n"
        "{{- bos_token }}\n{%- for message in loop_messages %}\n    {%- if message[\"role\"] == \"user\" %}\n"
        "        {%- if loop.first and system_message is defined %}\n"
        "            {{- \" [INST] \" + system_message + \"\\n\\n\" + message[\"content\"] + \" [/INST]\" }}\n"
        "        {%- else %}\n            {{- \" [INST] \" + message[\"content\"] + \" [/INST]\" }}\n        {%- endif %}\n"
        "    {%- elif message[\"role\"] == \"assistant\" %}\n        {{- \" \" + message[\"content\"] + eos_token}}\n"
        "    {%- endif %}\n{%- endfor %}\n"),
}
VICUNA = ("A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
          "and polite answers to the user's questions.")


def vicuna_text(messages, generation):
    """FastChat's Conversation.get_prompt for SeparatorStyle.ADD_COLON_TWO, sep " ", sep2 "</s>"."""
    system, turns = VICUNA, messages
    if messages[0][0] == "system":
        system, turns = messages[0][1], messages[1:]
    text = system + " "
    for i, (role, message) in enumerate(turns):
        text += {"user": "USER", "assistant": "ASSISTANT"}[role] + ": " + message + [" ", "</s>"][i % 2]
    return "<s>" + text + ("ASSISTANT:" if generation else "")


def plain_text(messages, generation):
    text = ""
    for role, message in messages:
        text += {"system": "<|system|>", "user": "<|user|>", "assistant": "<|agent|>"}[role] + message
        text += "<|end|>" if role == "assistant" else ""
    return text + ("<|agent|>" if generation else "")


def conversations():
    rnd = random.Random(4)
    words = ["Action: look around", "OK", "go to 12 places, don't\nfail!", "Observation: You see:\n\ta door\n\tan apple.\n",
             "  spaced  ", "...", "x", "日本語 é", "{\"a\": 1}", "1 + 1 = 2", "Thought: I'll\n\nAction: open door", " lead"]
    out = []
    for n in range(120):
        c = [["system", rnd.choice(words)]] if n % 3 == 0 else []
        for _ in range(rnd.randint(1, 4)):
            c += [["user", rnd.choice(words)], ["assistant", rnd.choice(words)]]
        out.append(c)
    return out


def check_templates(work):
    import jinja2
    from transformers import AutoTokenizer
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    specials = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                "<|eot_id|>", "<|system|>", "<|user|>", "<|agent|>", "<|end|>"]
    names = ["chatml", "qwen2", "llama2", "llama3", "llama3.1", "mistral", "vicuna", "plain"]
    for split in ("gpt2", "llama3", "qwen2"):
        base = os.path.join(work, "template-" + split)
        run(TOKENIZER, "--train", base, split, "1", "1500", *specials, lines=samples())
        library = Tokenizer.from_file(os.path.join(base, "tokenizer.json"))
        for name in names:
            automatic = name in ("qwen2", "llama3.1")
            bos = "<|begin_of_text|>" if name.startswith("llama3") else "<s>"
            config = {"bos_token": bos, "eos_token": {"content": "</s>"}}
            if automatic:
                config["chat_template"] = PUBLISHED[name]
            source = os.path.join(base, name)
            run(TOKENIZER, "--save", base, source)
            json.dump(config, open(os.path.join(source, "tokenizer_config.json"), "w"))
            saved = source + "-saved"
            given = "auto" if automatic else name
            run(TEMPLATE, "--save", source, given, saved)
            theirs = AutoTokenizer.from_pretrained(saved)
            for generation in (False, True):
                talks = conversations()
                if generation:
                    talks = [c[:-1] for c in talks]
                ours = run(TEMPLATE, "--render", source, given, str(int(generation)), lines=talks)
                again = run(TEMPLATE, "--render", saved, "auto", str(int(generation)), lines=talks)
                check(ours == again, f"{name}: the saved template is not recognised as the same")
                for talk, line in zip(talks, ours):
                    ids, spans = line.split("|")
                    ids, spans = [int(x) for x in ids.split()], [int(x) for x in spans.split()]
                    messages = [{"role": r, "content": t} for r, t in talk]
                    if name in PUBLISHED or name == "chatml":
                        source_text = PUBLISHED["qwen2" if name == "chatml" else name]
                        if name == "chatml":
                            source_text = source_text.replace("loop.first and messages[0]['role'] != 'system'", "false")
                        text = environment.from_string(source_text).render(
                            messages=messages, bos_token=bos, eos_token="</s>", add_generation_prompt=generation)
                    else:
                        text = (vicuna_text if name == "vicuna" else plain_text)(talk, generation)
                    want = library.encode(text, add_special_tokens=False).ids
                    check(ids == want, f"{name} ({split}): {text!r}\n  ours   {[library.id_to_token(i) for i in ids]}\n"
                          f"  theirs {[library.id_to_token(i) for i in want]}")
                    jinja = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
                    check(jinja == text, f"{name}: saved jinja gives {jinja!r}, not {text!r}")
                    words = [t for r, t in talk if r == "assistant"]
                    check(len(spans) == 2 * len(words), f"{name}: {spans} for {len(words)} turns")
                    for word, begin, end in zip(words, spans[::2], spans[1::2]):
                        if name.startswith("llama"):
                            word = word.strip()
                        if name in ("llama2", "mistral", "vicuna"):
                            word = " " + word
                        if name == "llama2":
                            word += " "
                        last = library.id_to_token(ids[end - 1])
                        check(library.decode(ids[begin:end - 1], skip_special_tokens=False) == word and
                              last in ("</s>", "<|im_end|>", "<|eot_id|>", "<|end|>"),
                              f"{name}: span [{begin}, {end}) is not {word!r}")


def main():
    with tempfile.TemporaryDirectory() as work:
        check_library_tokenizers(work)
        check_trained(work)
        check_templates(work)
    print(f"interop_tokenizer: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
