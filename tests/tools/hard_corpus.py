#!/usr/bin/env python3
"""Texts that are hard to tokenize, the same on every run: corpus() gives more than 10,000.

    python3 tests/tools/hard_corpus.py > texts.jsonl        a JSON string a line

Every Unicode block (each 128 code points of the planes in use, alone and between other characters), combining marks,
emoji with modifiers, flags and joiners, code, numbers, white space runs, words of up to 20,000 characters, control
characters, what looks like a special token, scripts mixed. All are valid Unicode: invalid UTF-8 is tested apart.
"""
import json
import sys

SPECIALS = ["<s>", "</s>", "<unk>", "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>",
            "<|start_header_id|>", "<|end_header_id|>", "<|user|>", "<|assistant|>", "<|system|>", "[INST]", "[/INST]", "<<SYS>>",
            "<</SYS>>", "<0x41>", "<0x0A>", "<0xFF>", "▁", "▁▁", "<|", "|>", "<repo_name>", "<file_sep>", "<empty_output>"]
WORDS = ["the", "Action", "look around", "don't", "I'll", "IT'S", "naïve", "e\u0301te\u0301", "straße", "İstanbul", "ﬁne", "Ǆ", "ſ", "x'S",
         "日本語", "ひらがな", "한국어", "ภาษาไทย", "हिन्दी", "العربية", "עברית", "русский", "ελληνικά", "ქართული", "አማርኛ", "தமிழ்",
         "မြန်မာ", "ខ្មែរ", "𝔘𝔫𝔦", "𐍈𐌰", "🙂", "½", "①", "Ⅳ", "٣٤", "百", "_id", "foo_bar", "HTTPServer", "a1b2", "…", "—", "“q”", "№"]
EMOJI = ["👩‍👩‍👧‍👦", "👨🏽‍🚀", "👍🏿", "🏳️‍🌈", "🇩🇪🇫🇷🇯🇵", "☃️", "1️⃣", "#️⃣", "🧑🏻‍❤️‍💋‍🧑🏾", "😀", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "👁️‍🗨️", "❤️‍🔥", "\u200d", "\ufe0f", "🏽", "🇦", "🫠"]
SPACES = [" ", "  ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003", "\u2028", "\u2029", "\u202f",
          "\u3000", "\u200b", "\u180e", "\ufeff", "   ", "\n\n\n", "\t\t", " \n "]
MARKS = ["\u0300", "\u0301", "\u0308", "\u0323", "\u0327", "\u0338", "\u0345", "\u05b0", "\u064b", "\u093c", "\u0e31", "\u1161", "\u11a8", "\u20d0",
         "\u3099", "\ufe20", "\U0001d165"]
CODE = ["for (int i = 0; i < n; i++) {\n\tx[i] += 1;\r\n}\n", "def f(x):\n    return x**2  # ok\n", "{\"a\": [1, 2.5e-3, null], \"b\": \"\\u00e9\"}",
        "SELECT * FROM t WHERE a<>'b' AND c>=10;", "<div class=\"a\">&nbsp;</div>", "#include <stdio.h>\n", "a->b::c<T>&&d||!e?f:g;",
        "\\frac{1}{2}\\sum_{i=0}^{n} x_i", "if [ $# -eq 0 ]; then echo \"$@\" >&2; fi", "0xDEADBEEF 0b1010 1_000_000 1e10 .5", "/usr/lib/x86_64-linux-gnu",
        "https://a.b/c?d=e&f=%20#g", "git@github.com:a/b.git", "// TODO: x\n/* y */", "~!@#$%^&*()_+`-={}|[]\\:\";'<>?,./", "C:\\Users\\x\\n"]
NUMBERS = ["0", "7", "12", "123", "1234", "12345", "3.14159", "1,000,000", "1e-5", "0x1F", "²³", "½¾", "٣٤٥", "१२३", "一二三", "ⅣⅤ", "①②③", "𝟘𝟙𝟚", "1st", "v2.0.1",
           "2024-01-31", "+1 (555) 010-9999", "00:00:01", "$5.00", "50%", "1234567890" * 8]


class Random:
    """Ours, so that no version of Python changes the texts."""

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % n

    def choice(self, items):
        return items[self.below(len(items))]

    def some(self, items, low, high):
        return [self.choice(items) for _ in range(low + self.below(high - low + 1))]


def blocks(rnd):
    out = []
    for begin in range(0, 0x110000, 0x80):
        plane = begin >> 16
        if plane in (0, 1, 2, 3, 14) or begin % 0x2000 == 0:
            codes = [c for c in range(begin, begin + 0x80) if not 0xD800 <= c < 0xE000]
            if not codes:
                continue
            out.append("".join(map(chr, rnd.some(codes, 8, 32))))
            glue = ["", "", " ", "a", "1", "'s", ".", "\n", "\u0301", "▁", "-"]
            out.append("".join(chr(rnd.choice(codes)) + rnd.choice(glue) for _ in range(12)))
    return out


def long_words(rnd):
    out = [c * n for c in ["x", " ", "\n", "=", "1", "é", "▁", "🙂", "\u0301", "\t", "日", "a ", " a", "\x00"] for n in (50, 300, 2000)]
    out += ["ab" * 10000, "the" * 5000, "a" * 20000, " " * 9999 + "x", "e\u0301" * 3000, "".join(rnd.some("acgt", 20000, 20000))]
    out += ["".join(rnd.some("abcdefghij", 500, 3000)) for _ in range(30)]
    out += ["".join(rnd.some(["the", "ing", "er", "an", "x", "日", "é"], 200, 2000)) for _ in range(30)]
    return out


def corpus(specials=()):
    """specials: further texts that look like tokens."""
    rnd = Random(20240131)
    lookalikes = SPECIALS + list(specials)
    out = ["", " ", "  ", "\n", "a", " a", "a ", "▁", "▁a", " ▁ ", "\x00", "\x7f"]
    out += [chr(c) for c in range(0x100)] + [" " + chr(c) + "x" for c in range(0x100)]
    out += WORDS + EMOJI + SPACES + MARKS + CODE + NUMBERS + lookalikes
    out += blocks(rnd) + long_words(rnd)
    controls = [chr(c) for c in list(range(0x20)) + list(range(0x7F, 0xA0))] + ["\u202e", "\u2066", "\ufff9", "\U000e0001"]
    pools = [EMOJI + [" ", "a"], SPACES + ["a", "."], SPACES, MARKS + ["a", "e", "가", "क", " "], CODE + NUMBERS, NUMBERS + [" ", ",", "."],
             controls + ["a", " "], lookalikes + ["a", " ", "\n"], lookalikes + WORDS, WORDS, [w + " " for w in WORDS], WORDS + SPACES + EMOJI + NUMBERS,
             [" " + w for w in WORDS] + ["'s", "'", "'LL", "'ſ"], list("aAbstre'1٣ \t\n\r\u00a0\u0301\u0323é.,!-ſ中か가ᄀ\u1161\u11a8😀_½\u0903क\u093c\u0345")]
    for pool in pools:
        out += ["".join(rnd.some(pool, 2, 24)) for _ in range(450)]
    return out


def main():
    for text in corpus():
        sys.stdout.write(json.dumps(text) + "\n")


if __name__ == "__main__":
    main()
