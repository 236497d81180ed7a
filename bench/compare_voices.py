#!/usr/bin/env python3
"""Times segmentation and CAM++ beside a torch implementation of the same networks, in turns, on windows of 10 s.

    bench/compare_voices.py --bench build/bench/bench_voices --packs FOLDER --nets FOLDER --weights FOLDER [--turns N] [--threads N]

FOLDER of --packs holds segmentation-3.0.pack and campplus.pack, that of --nets the module nets.py (PyanNet and CAMPlus in
torch), that of --weights pyannote-segmentation-3.0/ and campplus/ as safetensors. Python needs numpy and torch. Each turn is a
process of either program; a line says the medians of wall time and of processor time a window, and the ratio of both.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys

TORCH = r'''
import sys, time, json
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from nets import CAMPlus, PyanNet, torch_dict
torch.set_num_threads(int(sys.argv[4]))
kind, n = sys.argv[3], int(sys.argv[5])
r = np.random.default_rng(1)
with torch.no_grad():
    if kind == "segmentation-3.0":
        net = PyanNet(torch_dict(sys.argv[2] + "/pyannote-segmentation-3.0/model.safetensors"))
        x = torch.from_numpy((0.05 * r.standard_normal((n, 160000))).astype(np.float32))
    else:
        net = CAMPlus(torch_dict(sys.argv[2] + "/campplus/model.safetensors"))
        x = torch.from_numpy(r.standard_normal((n, 998, 80)).astype(np.float32))
    wall, busy = [], []
    for i in range(4):
        a, c = time.perf_counter(), time.process_time()
        net(x)
        if i: wall.append((time.perf_counter() - a) / n); busy.append((time.process_time() - c) / n)
print(json.dumps([1e3 * sorted(wall)[1], 1e3 * sorted(busy)[1]]))
'''


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("bench", "packs", "nets", "weights"):
        p.add_argument("--" + name, required=True)
    p.add_argument("--turns", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    for name, n in (("segmentation-3.0", 8), ("campplus", 2)):
        ours, theirs = [], []
        for _ in range(a.turns):
            out = subprocess.run([a.bench, f"{a.packs}/{name}.pack", str(a.threads), str(n), "3"], check=True, capture_output=True, text=True).stdout
            ours.append([float(v) for v in re.search(r"([\d.]+) ms a window, fastest [\d.]+, busy ([\d.]+)", out).groups()])
            out = subprocess.run([sys.executable, "-c", TORCH, a.nets, a.weights, name, str(a.threads), str(n)], check=True, capture_output=True, text=True).stdout
            theirs.append(json.loads(out.splitlines()[-1]))
        us, them = ([statistics.median(v) for v in zip(*t)] for t in (ours, theirs))
        print(f"{name}: {us[0]:.1f} ms a window ({us[1]:.1f} of processors), torch {them[0]:.1f} ({them[1]:.1f}): "
              f"{them[0] / us[0]:.2f} times as fast, {them[1] / us[1]:.2f} by processor time", flush=True)


if __name__ == "__main__":
    main()
