#!/usr/bin/env python3
"""earshot beside faster-whisper and whisper.cpp on the same file and machine: wall time and peak memory, alternately, medians.

usage: bench/compare_asr.py --earshot build/gcc/earshot --models build/models --whisper FOLDER [--file FILE] [--runs 5]
                            [--whisper-cpp WHISPER-CLI --ggml MODEL]

FOLDER is the CTranslate2 folder that the pack whisper-base was converted from; the Python that runs this needs the package
faster-whisper. Each run is a process of its own, model loading included: greedy, temperature 0, no previous text, no word
times, 2 threads. whisper.cpp (its program and the file bench/make_ggml.py wrote) runs where it is named. Without --file a recording of about five minutes is joined from those that come with packages.
Prints a table in Markdown, and the commit and machine it was made on.
"""
import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PEER = """
import sys
from faster_whisper import WhisperModel
model = WhisperModel(sys.argv[1], device="cpu", compute_type=sys.argv[2], cpu_threads=int(sys.argv[4]), num_workers=1)
segments, info = model.transcribe(sys.argv[3], language="en", beam_size=1, best_of=1, temperature=0.0, condition_on_previous_text=False,
                                  word_timestamps=False, vad_filter=False)
print(sum(len(s.text.split()) for s in segments))
"""


def run(command, threads):
    """Seconds, peak KiB and output of a command."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    began = time.monotonic()
    p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    out, err = p.communicate()
    seconds = time.monotonic() - began
    if p.returncode:
        raise SystemExit(f"{command[0]} failed: {err.strip()[-400:]}")
    return seconds, out


def measured(command, threads):
    """Runs through a small parent of its own, so that the peak is that of this child alone."""
    code = ("import json,resource,subprocess,sys,time\nt=time.monotonic()\np=subprocess.run(sys.argv[1:],capture_output=True,text=True)\n"
            "print(json.dumps([p.returncode,time.monotonic()-t,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,p.stdout,p.stderr[-400:]]))")
    _, out = run([sys.executable, "-c", code, *command], threads)
    rc, seconds, peak, stdout, stderr = json.loads(out)
    if rc:
        raise SystemExit(f"{command[0]} failed: {stderr.strip()}")
    return seconds, peak, stdout.strip()


def five_minutes(folder):
    """Sentences of an audiobook and a telephone call, joined and repeated to 300 s."""
    pocketsphinx = "/usr/share/pocketsphinx/test/data/librivox"
    parts = sorted(os.path.join(pocketsphinx, f) for f in os.listdir(pocketsphinx) if f.endswith(".wav"))
    target = os.path.join(folder, "five-minutes.wav")
    inputs, graph = [], ""
    for i, part in enumerate(parts):
        inputs += ["-i", part]
        graph += f"[{i}:a]"
    graph += f"concat=n={len(parts)}:v=0:a=1,aloop=loop=-1:size=2000000000,atrim=0:300[a]"
    run(["ffmpeg", "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[a]", "-ar", "16000", "-ac", "1", target], 1)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--earshot", default="build/gcc/earshot")
    parser.add_argument("--models", default="build/models")
    parser.add_argument("--asr", default="whisper-base")
    parser.add_argument("--whisper", required=True)
    parser.add_argument("--file")
    parser.add_argument("--whisper-cpp")
    parser.add_argument("--ggml")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = o.file or five_minutes(folder)
        duration = float(run(["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file], 1)[1])

        def earshot():
            library = os.path.join(folder, "library")
            shutil.rmtree(library, ignore_errors=True)
            seconds, peak, out = measured([o.earshot, "ingest", "-L", library, "--models", o.models, "--asr", o.asr, "--threads", str(o.threads),
                                           "--language", "en", "--temperature", "0", "--words", "off", "--sequential", file], o.threads)
            said = run([o.earshot, "show", "-L", library, "--text", os.path.basename(file)], o.threads)[1]
            return seconds, peak, str(len(said.split()))

        def peer(compute):
            return measured([sys.executable, "-c", PEER, o.whisper, compute, file, str(o.threads)], o.threads)

        programs = {"earshot": earshot, "faster-whisper fp32": lambda: peer("float32"), "faster-whisper int8": lambda: peer("int8")}
        if o.whisper_cpp:
            def whisper_cpp():
                seconds, peak, out = measured([o.whisper_cpp, "-m", o.ggml, "-f", file, "-t", str(o.threads), "-l", "en", "-bs", "1", "-bo", "1", "-nf",
                                               "-mc", "0", "-np", "-ng"], o.threads)
                said = " ".join(line.split("]", 1)[1] for line in out.splitlines() if line.startswith("[") and "]" in line)
                return seconds, peak, str(len(said.split()))

            programs["whisper.cpp"] = whisper_cpp
        results = {name: [] for name in programs}
        for i in range(o.runs):
            for name, program in programs.items():
                results[name].append(program())
                print(f"run {i + 1}, {name}: {results[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    print(f"commit {commit}, {platform.machine()}, {os.cpu_count()} cores, {duration:.0f} s of sound, median of {o.runs}, load {os.getloadavg()[0]:.1f}\n")
    print("| program | seconds | fastest | × real time | peak MiB | words |\n|---|---|---|---|---|---|")
    for name, rows in results.items():
        s = statistics.median(r[0] for r in rows)
        print(f"| {name} | {s:.1f} | {min(r[0] for r in rows):.1f} | {duration / s:.1f} | {max(r[1] for r in rows) / 1024:.0f} | {rows[0][2]} |")


main()
