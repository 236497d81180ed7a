#!/usr/bin/env python3
"""earshot ingest beside the chain that a user would build in Python, on the same sound and machine, alternately.

usage: bench/compare_pipeline.py --earshot build/gcc/earshot --models build/models --whisper FOLDER --chain PYTHON
           [--torch /usr/bin/python3] [--sources FOLDER] [--step 2] [--runs 3] [--seconds 300] [--recording WAV RTTM]...

The chain: bench/reference_chain.py with PYTHON (faster-whisper, then MiniLM in onnxruntime) and bench/reference_diarize.py with
--torch, one process after the other, so that its peak is that of the largest alone. earshot: one `ingest` into a new library, of
all stages. Models are loaded in every run of either. WHISPER is the CTranslate2 folder that the pack --asr was converted from;
FOLDER holds segmentation-3.0, campplus and minilm as `tools/fetch-models --test` keeps them below sources/. The sound is the
recordings joined and repeated to --seconds. Prints time, processors' time and peak memory of each stage and of the whole, their
ratio, and the diarization error of both; earshot's seconds of a stage are those of `bench pipeline`, run once beside the others.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile

from compare_diarize import make_mix, measured, score


def chain(o, here, folder, mix):
    """Stage -> (seconds, peak KiB, seconds of processors)."""
    words = os.path.join(folder, "words.json")
    reference = os.path.join(here, "reference_chain.py")
    threads = ["--threads", str(o.threads)]
    return {
        "who speaks": measured([o.torch, os.path.join(here, "reference_diarize.py"), *threads, "--segmentation",
                                os.path.join(o.sources, "segmentation-3.0", "pytorch_model.bin"), "--campplus",
                                os.path.join(o.sources, "campplus", "campplus_cn_en_common.pt"), "-o", os.path.join(folder, "chain.rttm"), mix],
                               o.threads),
        "words": measured([o.chain, reference, "words", o.whisper, mix, words, *threads, "--compute", o.compute], o.threads),
        "text vectors": measured([o.chain, reference, "vectors", os.path.join(o.sources, "minilm"), words, os.path.join(folder, "v.npy"), *threads],
                                 o.threads),
    }


def common(o):
    return ["--models", o.models, "--asr", o.asr, "--device", "cpu", "--threads", str(o.threads), "--step", o.step, "-q"]


def ingest(o, folder, mix):
    library = os.path.join(folder, "library")
    shutil.rmtree(library, ignore_errors=True)
    found = measured([o.earshot, "ingest", "-L", library, *common(o), mix], o.threads)
    subprocess.run([o.earshot, "export", "-q", "-L", library, "-f", "rttm", "-o", os.path.join(folder, "ours")], check=True)
    return found


def stages(o, mix):
    """earshot's seconds by the chain's stages."""
    out = subprocess.run([o.earshot, "bench", "pipeline", "--json", *common(o), mix], check=True, stdout=subprocess.PIPE, text=True).stdout
    which = {"find speech": "who speaks", "hear voices": "who speaks", "tell them apart": "who speaks", "voices for names": "who speaks",
             "mel and encoder": "words", "decoder": "words", "word alignment": "words", "rest of speech": "words",
             "passages": "text vectors", "text vectors": "text vectors"}
    sums = dict.fromkeys(("who speaks", "words", "text vectors"), 0.0)
    for s in json.loads(out)["stages"]:
        if s["stage"] in which and not s["beside"]:
            sums[which[s["stage"]]] += s["seconds"]
    return sums


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--earshot", default="build/gcc/earshot")
    p.add_argument("--models", default="build/models")
    p.add_argument("--asr", default="whisper-base")
    p.add_argument("--whisper", required=True)
    p.add_argument("--chain", required=True)
    p.add_argument("--torch", default="/usr/bin/python3")
    p.add_argument("--sources")
    p.add_argument("--recording", nargs=2, action="append", metavar=("WAV", "RTTM"))
    p.add_argument("--compute", default="float32", choices=("float32", "int8"))
    p.add_argument("--step", default="2")
    p.add_argument("--seconds", type=float, default=300)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()
    o.sources = o.sources or os.path.join(o.models, "sources")
    call = os.path.join(o.models, "recordings", "sample")
    with tempfile.TemporaryDirectory() as folder:
        mix, reference, duration = make_mix(folder, o.recording or [(call + ".wav", call + ".rttm")], o.seconds)
        theirs, ours = [], []
        for i in range(o.runs):
            ours.append(ingest(o, folder, mix))
            theirs.append(chain(o, here, folder, mix))
            print(f"run {i + 1}: earshot {ours[-1][0]:.1f} s, the chain {sum(s[0] for s in theirs[-1].values()):.1f} s", flush=True)
        parts = stages(o, mix)
        wrong = [100 * score(o.earshot, reference, os.path.join(folder, *f)) for f in (("ours", "mix.rttm"), ("chain.rttm",))]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
    print(f"\ncommit {commit}, {platform.machine()}, {os.cpu_count()} cores, {o.threads} threads, {duration:.0f} s of sound, --step {o.step}, "
          f"faster-whisper {o.compute}, median of {o.runs}, load {os.getloadavg()[0]:.1f}\n")
    print("| stage | earshot s | chain s | ratio | earshot CPU s | chain CPU s | ratio | earshot MiB | chain MiB | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, seconds in parts.items():
        s, peak, cpu = (statistics.median(r[name][k] for r in theirs) for k in range(3))
        print(f"| {name} | {seconds:.2f} | {s:.2f} | {s / seconds if seconds else 0:.2f} | | {cpu:.2f} | | | {peak / 1024:.0f} | |")
    a = [statistics.median(r[k] for r in ours) for k in range(3)]
    b = [statistics.median(sum(s[k] for s in r.values()) for r in theirs) for k in (0, 2)]
    peak = max(s[1] for r in theirs for s in r.values())
    print(f"| whole | {a[0]:.2f} | {b[0]:.2f} | {b[0] / a[0]:.2f} | {a[2]:.2f} | {b[1]:.2f} | {b[1] / a[2]:.2f} | {a[1] / 1024:.0f} | "
          f"{peak / 1024:.0f} | {peak / a[1]:.2f} |")
    print(f"\ndiarization error against the reference: earshot {wrong[0]:.2f} %, the chain {wrong[1]:.2f} %")


if __name__ == "__main__":
    main()
