#!/usr/bin/env python3
"""A whole diarization in torch, as plain as can be: what earshot is compared with, and what it has to agree with.

usage: bench/reference_diarize.py --segmentation pytorch_model.bin --campplus campplus_cn_en_common.pt -o OUT.rttm FILE.wav
       [--threads 2] [--step 1]

segmentation-3.0 over windows of 10 s, CAM++ over the frames in which each of a window's speakers is alone, centroid linkage cut at
0.90, one cluster a slot, as many clusters a frame as there speak. The wav is 16 kHz, mono, 16 bits. Needs numpy and torch; the
two checkpoints are what `tools/fetch-models --test` keeps below sources/.
"""
import argparse
import itertools
import math
import struct
import sys
import types

import numpy as np
import torch
import torch.nn.functional as F

WINDOW, FRAMES, ROWS = 160000, 589, 998
POWERSET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.uint8)


# ---- files

def weights(path):
    """Tensors of a checkpoint. What it says of its training names classes of a package that is not needed: they are stood in for."""
    class Inert:
        def __init__(self, *_):
            pass

        def __setstate__(self, _):
            pass

    class StandIn(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (Inert,), {})

    for name in ("pyannote", "pyannote.audio", "pyannote.audio.core", "pyannote.audio.core.model", "pyannote.audio.core.task"):
        sys.modules.setdefault(name, StandIn(name))
    d = torch.load(path, map_location="cpu")
    d = d.get("state_dict", d)
    return {k: v.float() for k, v in d.items() if torch.is_tensor(v)}


def wav(path):
    d = open(path, "rb").read()
    at = 12
    while at + 8 <= len(d):
        tag, n = d[at:at + 4], struct.unpack("<I", d[at + 4:at + 8])[0]
        if tag == b"data":
            return np.frombuffer(d[at + 8:at + 8 + n // 2 * 2], "<i2").astype(np.float32) / np.float32(32768)
        at += 8 + n + (n & 1)
    raise SystemExit(f"{path} is no wav file")


# ---- front end

def mel_matrix(bins=80, lo=20.0, hi=8000.0):
    def mel(f):
        return 1127.0 * np.log(1.0 + f / 700.0)
    step = (mel(hi) - mel(lo)) / (bins + 1)
    m = mel(np.arange(256) * 16000 / 512)
    left = mel(lo) + np.arange(bins)[:, None] * step
    w = np.maximum(0, np.minimum((m - left) / step, (left + 2 * step - m) / step))
    return np.concatenate([w, np.zeros((bins, 1))], 1)


MEL = mel_matrix()
POVEY = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85


def filter_bank(x):
    x = np.asarray(x, np.float64)
    f = np.lib.stride_tricks.sliding_window_view(x, 400)[::160]
    f = f - f.mean(1, keepdims=True)
    f = np.concatenate([f[:, :1] * 0.03, f[:, 1:] - 0.97 * f[:, :-1]], 1) * POVEY
    return np.log(np.maximum(np.abs(np.fft.rfft(f, 512)) ** 2 @ MEL.T, 1.1920928955078125e-07)).astype(np.float32)


# ---- networks

class Segmentation:
    def __init__(self, sd):
        self.sd = sd
        low, band = (sd[f"sincnet.conv1d.0.filterbank.{n}_hz_"].double().view(-1) for n in ("low", "band"))
        f1 = 50 + low.abs()
        f2 = torch.clamp(f1 + 50 + band.abs(), 50, 8000)
        m = torch.arange(251, dtype=torch.float64) - 125
        w = 0.54 - 0.46 * torch.cos(2 * math.pi * (125 - m.abs()) / 250)
        a, b = 2 * math.pi * f2[:, None] * m / 16000, 2 * math.pi * f1[:, None] * m / 16000
        den = 2 * math.pi * (f2 - f1)[:, None] * m / 16000
        den[:, 125] = 1
        c, s = w * (torch.sin(a) - torch.sin(b)) / den, w * (torch.cos(b) - torch.cos(a)) / den
        c[:, 125], s[:, 125] = 1, 0
        self.sinc = torch.cat([c, s])[:, None, :].float()
        self.lstm = torch.nn.LSTM(60, 128, num_layers=4, bidirectional=True, batch_first=True)
        self.lstm.load_state_dict({k[5:]: v for k, v in sd.items() if k.startswith("lstm.")})

    @torch.no_grad()
    def __call__(self, x):
        sd = self.sd

        def norm(v, n):
            return F.instance_norm(v, weight=sd[n + ".weight"], bias=sd[n + ".bias"], eps=1e-5)
        y = F.conv1d(norm(x[:, None], "sincnet.wav_norm1d"), self.sinc, stride=10).abs()
        for i in range(3):
            if i:
                y = F.conv1d(y, sd[f"sincnet.conv1d.{i}.weight"], sd[f"sincnet.conv1d.{i}.bias"])
            y = F.leaky_relu(norm(F.max_pool1d(y, 3, 3), f"sincnet.norm1d.{i}"), 0.01)
        y = self.lstm(y.transpose(1, 2))[0]
        for i in range(2):
            y = F.leaky_relu(F.linear(y, sd[f"linear.{i}.weight"], sd[f"linear.{i}.bias"]), 0.01)
        return F.linear(y, sd["classifier.weight"], sd["classifier.bias"]).argmax(-1)


class CamPlus:
    def __init__(self, sd):
        self.sd = sd

    def bn(self, x, n):
        sd = self.sd
        return F.batch_norm(x, sd[n + ".running_mean"], sd[n + ".running_var"], sd.get(n + ".weight"), sd.get(n + ".bias"), False, 0, 1e-5)

    def residual(self, x, n, stride):
        sd = self.sd
        u = F.relu(self.bn(F.conv2d(x, sd[n + ".conv1.weight"], stride=(stride, 1), padding=1), n + ".bn1"))
        u = self.bn(F.conv2d(u, sd[n + ".conv2.weight"], padding=1), n + ".bn2")
        if stride != 1:
            x = self.bn(F.conv2d(x, sd[n + ".shortcut.0.weight"], stride=(stride, 1)), n + ".shortcut.1")
        return F.relu(u + x)

    def gated(self, x, n, dilation):
        sd = self.sd
        y = F.conv1d(x, sd[n + ".linear_local.weight"], padding=dilation, dilation=dilation)
        means = torch.empty_like(x)
        for a in range(0, x.shape[-1], 100):
            means[..., a:a + 100] = x[..., a:a + 100].mean(-1, keepdim=True)
        c = F.relu(F.conv1d(x.mean(-1, keepdim=True) + means, sd[n + ".linear1.weight"], sd[n + ".linear1.bias"]))
        return y * torch.sigmoid(F.conv1d(c, sd[n + ".linear2.weight"], sd[n + ".linear2.bias"]))

    @torch.no_grad()
    def __call__(self, rows):
        sd = self.sd
        x = F.relu(self.bn(F.conv2d(rows.transpose(1, 2)[:, None], sd["head.conv1.weight"], padding=1), "head.bn1"))
        for layer in (1, 2):
            x = self.residual(self.residual(x, f"head.layer{layer}.0", 2), f"head.layer{layer}.1", 1)
        x = F.relu(self.bn(F.conv2d(x, sd["head.conv2.weight"], stride=(2, 1), padding=1), "head.bn2"))
        x = F.conv1d(x.reshape(x.shape[0], 320, x.shape[-1]), sd["xvector.tdnn.linear.weight"], stride=2, padding=2)
        x = F.relu(self.bn(x, "xvector.tdnn.nonlinear.batchnorm"))
        for b, (layers, dilation) in enumerate(((12, 1), (24, 2), (16, 2)), 1):
            for i in range(1, layers + 1):
                n = f"xvector.block{b}.tdnnd{i}"
                u = F.conv1d(F.relu(self.bn(x, n + ".nonlinear1.batchnorm")), sd[n + ".linear1.weight"])
                x = torch.cat([x, self.gated(F.relu(self.bn(u, n + ".nonlinear2.batchnorm")), n + ".cam_layer", dilation)], 1)
            x = F.conv1d(F.relu(self.bn(x, f"xvector.transit{b}.nonlinear.batchnorm")), sd[f"xvector.transit{b}.linear.weight"])
        x = F.relu(self.bn(x, "xvector.out_nonlinear.batchnorm"))
        s = torch.cat([x.mean(-1), x.std(-1, unbiased=True)], 1)
        return self.bn(F.linear(s, sd["xvector.dense.linear.weight"][:, :, 0]), "xvector.dense.nonlinear.batchnorm")


# ---- windows, clusters, turns

def windows(x, step):
    full = (len(x) - WINDOW) // step + 1 if len(x) >= WINDOW else 0
    n = full + (1 if len(x) < WINDOW or (len(x) - WINDOW) % step else 0)
    w = np.zeros((n, WINDOW), np.float32)
    for i in range(n):
        s = x[i * step:i * step + WINDOW]
        w[i, :len(s)] = s
    return w


def on_grid(values, step, grid, mean):
    total, n = np.zeros((grid, values.shape[-1])), np.zeros((grid, values.shape[-1]))
    for c, v in enumerate(values):
        a = (2 * step * c + 270) // 540
        ok = ~np.isnan(v)
        total[a:a + FRAMES] += np.where(ok, v, 0)
        n[a:a + FRAMES] += ok
    return total / np.maximum(n, 1e-12) if mean else total


def unit(v):
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12)


def linkage_labels(x, threshold):
    """Greedy centroid linkage over a whole matrix of distances; labels of the clusters below the threshold."""
    n = len(x)
    mean, size, members, top = list(x.astype(np.float64)), [1] * n, [[i] for i in range(n)], [0.0] * n
    d = np.sqrt(np.maximum(((x[:, None].astype(np.float64) - x[None]) ** 2).sum(-1), 0))
    np.fill_diagonal(d, np.inf)
    alive, kept = list(range(n)), []
    for _ in range(n - 1):
        i, j = divmod(int(d.argmin()), n)
        h = d[i, j]
        mean[i] = (mean[i] * size[i] + mean[j] * size[j]) / (size[i] + size[j])
        size[i] += size[j]
        high = max(h, top[i], top[j])
        if high > threshold:
            kept += [m for m, t in ((members[i], top[i]), (members[j], top[j])) if t <= threshold and m]
            members[i] = []
        else:
            members[i] = members[i] + members[j]
        top[i] = high
        alive.remove(j)
        d[j, :] = d[:, j] = np.inf
        for k in alive:
            if k != i:
                d[i, k] = d[k, i] = np.linalg.norm(mean[i] - mean[k])
    kept += [members[i] for i in alive if members[i]]
    label = np.zeros(n, int)
    for c, m in enumerate(kept):
        label[m] = c
    return label


def join_small(x, label, most=12):
    least = min(most, max(1, int(np.rint(0.1 * len(label)))))
    ids, count = np.unique(label, return_counts=True)
    large = ids[count >= least]
    if len(large) == 0:
        return np.zeros(len(label), int)
    centre = {i: unit(x[label == i].mean(0)) for i in ids}
    to = {i: i if i in large else max(large, key=lambda j: float(centre[i] @ centre[j])) for i in ids}
    new = {j: r for r, j in enumerate(large)}
    return np.array([new[to[i]] for i in label])


def assign(active, score):
    """The map of a window's speakers to clusters, no two the same, with the largest sum."""
    ks, best, pick = [k for k in range(3) if active[k]], -1.0, {}
    m = min(len(ks), score.shape[1])
    for chosen in itertools.combinations(ks, m):
        for columns in itertools.permutations(np.argsort(-score[list(chosen)].max(0))[:9] if score.shape[1] > 9 else range(score.shape[1]), m):
            total = sum(score[k, j] for k, j in zip(chosen, columns))
            if total > best + 1e-12:
                best, pick = total, dict(zip(chosen, columns))
    return pick


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--segmentation", required=True)
    p.add_argument("--campplus", required=True)
    p.add_argument("-o", "--output", required=True)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--step", type=float, default=1)
    p.add_argument("file")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    segment, voice = Segmentation(weights(o.segmentation)), CamPlus(weights(o.campplus))
    x, step = wav(o.file), int(round(o.step * 16000))
    w = windows(x, step)
    seg = POWERSET[np.concatenate([segment(torch.from_numpy(w[i:i + 8])).numpy() for i in range(0, len(w), 8)])]
    clean = seg * (seg.sum(-1, keepdims=True) < 2)
    n_clean = clean.sum(1)
    mask = np.where((n_clean > 2)[:, None, :], clean, seg)
    emb = np.full((len(w), 3, 192), np.nan, np.float32)
    for c in range(len(w)):
        if not seg[c].any():
            continue
        rows = filter_bank(w[c])
        for k in range(3):
            taken = rows[mask[c, np.arange(ROWS) * FRAMES // ROWS, k].astype(bool)]
            if len(taken) >= 5:
                emb[c, k] = voice(torch.from_numpy(taken - taken.mean(0))[None])[0].numpy()
    train = [(c, k) for c in range(len(w)) for k in range(3) if n_clean[c, k] >= 0.2 * FRAMES and not np.isnan(emb[c, k]).any()]
    v = np.stack([emb[c, k] for c, k in train])
    label = join_small(unit(v), linkage_labels(unit(v), 0.90), max(1, int(round(12 / o.step))))
    centre = np.stack([v[label == j].mean(0, dtype=np.float64) for j in range(label.max() + 1)])
    score = 1 + unit(np.nan_to_num(emb)) @ unit(centre).T
    grid = int(np.rint((WINDOW + (len(w) - 1) * step) / 270)) + 1
    count = np.rint(on_grid(seg.sum(-1, keepdims=True).astype(float), step, grid, True))[:, 0].astype(int)
    act = np.full((len(w), FRAMES, len(centre)), np.nan)
    for c in range(len(w)):
        for k, j in assign([seg[c, :, k].any() and not np.isnan(emb[c, k]).any() for k in range(3)], score[c]).items():
            act[c, :, j] = np.fmax(act[c, :, j], seg[c, :, k])
    act = on_grid(act, step, grid, False)
    spoken = np.zeros(act.shape, bool)
    for g in range(grid):
        spoken[g, np.argsort(-act[g], kind="stable")[:count[g]]] = True
    turns = []
    for j in range(len(centre)):
        edge = np.flatnonzero(np.diff(np.concatenate([[False], spoken[:, j], [False]]).astype(int)))
        turns += [(a, min(b, grid - 1), j) for a, b in zip(edge[::2], edge[1::2])]
    with open(o.output, "w", encoding="ascii") as f:
        for a, b, j in sorted(turns):
            a, b = (270 * a + 495.5) / 16000, min((270 * b + 495.5) / 16000, len(x) / 16000)
            if a < b:
                f.write(f"SPEAKER mix 1 {a:.3f} {b - a:.3f} <NA> <NA> SPEAKER_{j:02d} <NA> <NA>\n")


main()
