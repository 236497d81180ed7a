#!/usr/bin/env python3
"""Windows side by side beside one window after the other: the same speech through `ingest` and `ingest --sequential`, alternately.

usage: bench/compare_windows.py --earshot build/gcc/earshot --models build/models/whisper-base.pack [--budget 600M] [--minutes 60]
           [--files 12] [--runs 1] [--seed 1] [--pause 0.4] [--shifted] [--clip WAV TEXT]...

The speech: sentences in an order drawn with --seed, up to --pause seconds of silence after each beside their own, in files of equal
length. They are those of the audiobook that Debian has as pocketsphinx-testdata, with its transcription, and whatever --clip adds.
Speech to text alone: the models are one speech pack, greedy, without word times, a process for each run, models loaded in it; with
--budget windows go side by side with that one, too, which may have more slots. Prints time, processors' time, peak memory, how full
the decoder's steps were while windows waited, and the differences between words: of either way from what was read, of one way from
the other, and with --shifted of --sequential from itself on the same sound that begins 7 s later, which is what shifting windows
changes by itself.
"""
import argparse
import json
import os
import platform
import random
import re
import shutil
import statistics
import struct
import subprocess
import tempfile

from compare_diarize import RATE, measured, wav

BOOK = "/usr/share/pocketsphinx/test/data/librivox"


def sentences(clips):
    out = []
    with open(os.path.join(BOOK, "transcription"), encoding="utf-8") as f:
        for line in f:
            found = re.match(r"<s> (.*) </s> \((.*)\)", line)
            path = os.path.join(BOOK, found.group(2) + ".wav") if found else ""
            if os.path.exists(path):
                out.append((wav(path), found.group(1)))
    return out + [(wav(path), text) for path, text in clips]


def make_files(folder, parts, o):
    """Paths, and what is read in each."""
    draw, files, texts = random.Random(o.seed), [], []
    for i in range(o.files):
        sound, said, order = bytearray(), [], []
        while len(sound) < o.minutes * 60 / o.files * RATE * 2:
            if not order:
                order = draw.sample(range(len(parts)), len(parts))
            raw, text = parts[order.pop()]
            sound += raw + bytes(2 * int(RATE * draw.uniform(0, o.pause)))
            said.append(text)
        files.append(os.path.join(folder, f"part{i:02}.wav"))
        write_wav(files[-1], sound)
        texts.append(" ".join(said))
    return files, texts


def write_wav(path, sound):
    with open(path, "wb") as f:
        f.write(b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16))
        f.write(b"data" + struct.pack("<I", len(sound)) + bytes(sound))


def words(text):
    text = re.sub(r"\bmr\b\.?", "mister", text.lower().replace("-", " "))
    return re.sub(r"[^a-z0-9' ]+", " ", text).split()


def distance(a, b):
    """Words to substitute, insert and delete."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for k, y in enumerate(b, 1):
            before, row[k] = row[k], min(before + (x != y), row[k] + 1, row[k - 1] + 1)
    return row[-1]


def differ(references, others):
    """Percent of the words, over all files."""
    pairs = [(words(a), words(b)) for a, b in zip(references, others)]
    return 100 * sum(distance(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)


def run(o, folder, files, more):
    """Seconds, peak KiB, seconds of processors and fill of a run; and the texts."""
    library, lines = os.path.join(folder, "library"), os.path.join(folder, "lines")
    shutil.rmtree(library, ignore_errors=True)
    command = [o.earshot, "ingest", "--json-lines", "-L", library, "--models", o.models, "--device", "cpu", "--threads", str(o.threads),
               "--language", "en", "--temperature", "0", "--words", "off", *more, *files]
    found = measured(["sh", "-c", '"$@" >"$0"', lines, *command], o.threads)
    with open(lines, encoding="utf-8") as f:
        summary = [e for e in map(json.loads, f) if e["event"] == "summary"][0]
    full = next(s["fill"] for s in summary["stages"] if s["stage"] == "text")
    out = os.path.join(folder, "texts")
    subprocess.run([o.earshot, "export", "-q", "-L", library, "-f", "txt", "-o", out], check=True)
    texts = []
    for path in files:
        with open(os.path.join(out, os.path.splitext(os.path.basename(path))[0] + ".txt"), encoding="utf-8") as f:
            texts.append(f.read())
    shutil.rmtree(out)
    return (*found, full), texts


def slots(o, more):
    out = subprocess.run([o.earshot, "plan", "--models", o.models, "--device", "cpu", "--threads", str(o.threads), *more],
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"(\d+) slots", out).group(1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--earshot", default="build/gcc/earshot")
    p.add_argument("--models", default="build/models/whisper-base.pack")
    p.add_argument("--budget")
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--files", type=int, default=12)
    p.add_argument("--runs", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--pause", type=float, default=0.4)
    p.add_argument("--shifted", action="store_true")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--clip", nargs=2, action="append", default=[], metavar=("WAV", "TEXT"))
    o = p.parse_args()
    ways = {"--sequential": ["--sequential"], f"side by side, {slots(o, [])} slots": []}
    if o.budget:
        ways[f"side by side, {slots(o, ['--budget', o.budget])} slots (--budget {o.budget})"] = ["--budget", o.budget]
    with tempfile.TemporaryDirectory() as folder:
        files, said = make_files(folder, sentences(o.clip), o)
        rows, texts = {way: [] for way in ways}, {}
        for i in range(o.runs):
            for way, more in ways.items():
                found, texts[way] = run(o, folder, files, more)
                rows[way].append(found)
                print(f"run {i + 1}, {way}: {found[0]:.1f} s", flush=True)
        later = []
        for path in files if o.shifted else []:
            later.append(path.replace("part", "later"))
            write_wav(later[-1], bytes(2 * 7 * RATE) + wav(path))
        shifted = run(o, folder, later, ["--sequential"])[1] if later else None
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    print(f"\ncommit {commit}, {platform.machine()}, {os.cpu_count()} cores, {o.threads} threads, {o.minutes:.0f} min of speech in {o.files} files, "
          f"{sum(len(words(t)) for t in said)} words, seed {o.seed}, {os.path.basename(o.models)}, median of {o.runs}, load {os.getloadavg()[0]:.1f}\n")
    print("| way | seconds | CPU seconds | peak MiB | slots at work while windows wait | words unlike what was read | unlike --sequential |")
    print("|---|---|---|---|---|---|---|")
    for way, r in rows.items():
        s, peak, cpu = (statistics.median(x[k] for x in r) for k in range(3))
        print(f"| {way} | {s:.1f} | {cpu:.1f} | {peak / 1024:.0f} | " + (f"{100 * r[-1][3]:.1f} %" if r[-1][3] is not None else "") +
              f" | {differ(said, texts[way]):.2f} % | {differ(texts['--sequential'], texts[way]):.2f} % |")
    if shifted:
        print(f"\n--sequential, the sound 7 s later: {differ(texts['--sequential'], shifted):.2f} % of its words differ")


if __name__ == "__main__":
    main()
