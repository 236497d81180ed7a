#!/usr/bin/env python3
"""Token ids of random strings beside the reference package: 0 differences are allowed.

usage: tools/soak_tokens.py [--strings 1000000] [--seed 1] [--library build/gcc/libearshot.so] FOLDER...

FOLDER holds a tokenizer.json of BERT's or Qwen2's kind. Both sides read that file: the reference through the package tokenizers,
which is installed into build/soak/venv in the version named below, earshot through its library, so that strings may hold line ends
and zero bytes. The strings come from a seed: words of many scripts, marks in any order, digits, signs, white space of every kind,
control characters, added tokens whole and cut, pieces of the vocabulary itself, long runs, and code points drawn from all of
Unicode. Differences are printed with their string. Then both sides read a megabyte of plain text and tell their tokens per second,
on one thread.
"""
import argparse
import ctypes
import json
import os
import random
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

TOKENIZERS = "tokenizers==0.23.3"
ROOT = Path(__file__).resolve().parent.parent

LATIN = ("the of and measured twice speaker one thinks budget noon rhythm don't I'LL we've it's they'd O'Neill rock'n'roll naïve Ångström "
         "straße œuvre señor İstanbul ISTANBUL Việt đường coöperate résumé e-mail C++ C# .NET foo_bar __init__ x=y+z a/b \\n 50% $19.99 "
         "€5 @user #tag 'ſ 'S 'Re 'VE 'll 'm 'd ''s").split()
OTHER = ("ΑΘΗΝΑ ὈΔΥΣΣΕΎΣ Москва ёлка КИЇВ שלום בְּרֵאשִׁית السَّلَامُ مرحبا สวัสดี नमस्ते हिन्दी বাংলা தமிழ் ქართული Հայ አማርኛ ᏣᎳᎩ ខ្មែរ မြန်မာ བོད་ ᠮᠣᠩ 東京 天气 "
         "カタカナ ひらがな 한국어 값 각 𐍈𐌰 𝔘𝔫𝔦 𝟘𝟙 ﬁ ＦＵＬＬ ǅ ß ẞ ſ K Å ½ ² Ⅷ ⑫ ٣٤٥ १२३ 一二 № ℃ ™ → ∀x∈ℝ “q” ‘s’ «g» — … ‽ 、。「」〇々 😀 👍🏽 👩‍👩‍👧 🏳️‍🌈 🇩🇰 ❤️ 1️⃣").split()
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", " \n ", "\n \n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u2029", "\u1680", "\u202f", "\v",
          "\f", "\x85", "\x1c", "\u180e", "\u200b", ""]
CONTROL = ["\0", "\x01", "\x1b[0m", "\x7f", "\x9f", "\u200d", "\u200e", "\u202e", "\u2060", "\ufeff", "\u00ad", "\ufffd", "\ue000", "\U000e0041", "\U0010ffff"]
SIGNS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
MARKS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.combining(chr(c))]


class Strings:
    def __init__(self, seed, folder):
        self.r = random.Random(f"{seed} {Path(folder).name}")
        with open(Path(folder) / "tokenizer.json", encoding="utf-8") as f:
            file = json.load(f)
        self.added = [t["content"] for t in file.get("added_tokens", [])]
        # Entries as they are written in the file: byte-level ones bring odd characters, which are strings as well.
        self.vocabulary = list(file["model"]["vocab"])

    def point(self):
        low, high = self.r.choice([(0x20, 0x7F), (0xA0, 0x600), (0x600, 0x2000), (0x2000, 0x3100), (0x3100, 0xD800), (0xE000, 0x20000), (0x20000, 0x110000)])
        return chr(self.r.randrange(low, high))

    def piece(self):
        r, kind = self.r, self.r.randrange(16)
        if kind < 4:
            word = r.choice(LATIN)
            return word.upper() if r.random() < 0.1 else word
        if kind < 7:
            return r.choice(OTHER)
        if kind == 7:
            return str(r.randrange(10 ** r.randrange(1, 12)))
        if kind == 8:
            return r.choice(SIGNS) * r.choice([1, 1, 2, 3, 9])
        if kind == 9:
            return r.choice("aeouAEUinqй가अ") + "".join(r.choice(MARKS) for _ in range(r.randrange(1, 5)))
        if kind == 10:
            return r.choice(CONTROL)
        if kind == 11:
            token = r.choice(self.added)
            return token if r.random() < 0.7 else token[:r.randrange(1, len(token) + 1)]
        if kind == 12:
            return r.choice(self.vocabulary)
        if kind == 13:
            return r.choice(["a", "é", "中", "-", "'", "1", "e\u0301", "ß", "\r\n", " "]) * r.choice([2, 5, 20, 99, 100, 101, 300])
        return "".join(self.point() for _ in range(r.randrange(1, 16)))

    def string(self):
        out = []
        for _ in range(self.r.randrange(1, 10)):
            out.append(self.piece())
            out.append(" " if self.r.random() < 0.5 else self.r.choice(SPACES))
        return "".join(out)

    def prose(self, size):
        out, n = [], 0
        while n < size:
            out.append(self.r.choice(LATIN[:40]) if self.r.random() < 0.95 else self.r.choice(OTHER))
            n += len(out[-1]) + 1
        text = " ".join(out)
        return [text[i:i + 400] for i in range(0, len(text), 400)]


class Earshot:
    def __init__(self, library, folder):
        self.l = ctypes.CDLL(str(library))
        self.l.es_tokenizer_open.argtypes = [ctypes.POINTER(ctypes.c_void_p), ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p]
        self.l.es_tokenizer_ids.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_size_t,
                                            ctypes.POINTER(ctypes.c_size_t), ctypes.c_char_p]
        self.error = ctypes.create_string_buffer(4 + 1024)  # es_error: a code, then the sentence
        self.t = ctypes.c_void_p()
        if self.l.es_tokenizer_open(ctypes.byref(self.t), None, os.fsencode(folder), self.error):
            raise SystemExit(self.error.raw[4:].split(b"\0")[0].decode())
        self.room = (ctypes.c_int32 * (1 << 20))()
        self.n = ctypes.c_size_t()

    def ids(self, text):
        data = text.encode()
        if self.l.es_tokenizer_ids(self.t, data, len(data), self.room, len(self.room), ctypes.byref(self.n), self.error):
            raise SystemExit(self.error.raw[4:].split(b"\0")[0].decode())
        return self.room[:self.n.value]


def rate(function, texts):
    """Tokens per second, the best of five, and how many tokens there are."""
    best, n = None, 0
    for _ in range(5):
        began = time.perf_counter()
        n = sum(len(function(t)) for t in texts)
        spent = time.perf_counter() - began
        best = spent if best is None else min(best, spent)
    return n / best, n


def soak(folder, o):
    from tokenizers import Tokenizer  # in the folder that main() made

    reference = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    reference.no_truncation()
    reference.no_padding()
    ours, strings = Earshot(o.library, folder), Strings(o.seed, folder)
    different = tokens = done = 0
    began = time.monotonic()
    while done < o.strings:
        batch = [strings.string() for _ in range(min(5000, o.strings - done))]
        for text, want in zip(batch, reference.encode_batch(batch, add_special_tokens=False)):
            have = ours.ids(text)
            tokens += len(have)
            if have != want.ids:
                different += 1
                if different <= 10:
                    print(f"  {text!r}\n    earshot   {have}\n    reference {want.ids}", flush=True)
        done += len(batch)
        if done % 100000 == 0:
            print(f"  {done} strings, {different} differences, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    prose = strings.prose(1 << 20)
    mine, n = rate(ours.ids, prose)
    theirs, _ = rate(lambda t: reference.encode(t, add_special_tokens=False).ids, prose)
    print(f"{Path(folder).name}: {done} strings, {tokens} tokens, seed {o.seed}: {different} differences; "
          f"plain text of {n} tokens: earshot {mine:.3g} tokens/s, {TOKENIZERS} {theirs:.3g} tokens/s", flush=True)
    return different


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+")
    parser.add_argument("--strings", type=int, default=1000000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--library", type=Path, default=ROOT / "build/gcc/libearshot.so")
    o = parser.parse_args()
    venv = ROOT / "build/soak/venv"
    if Path(sys.prefix).resolve() != venv.resolve():
        python = venv / "bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", TOKENIZERS], check=True)
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    sys.exit(1 if sum([soak(f, o) for f in o.folder]) else 0)


main()
