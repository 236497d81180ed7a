#!/usr/bin/env python3
"""Remakes model.safetensors and cases.json beside it: an ECAPA-TDNN in the form of TaoRuijie/ECAPA-TDNN with few channels and
seeded weights, its input, the outputs of its blocks and its vector. Needs numpy and torch (1.13 was used); double arithmetic
on f32 weights, written after the paper and the names and shapes of that project's checkpoints."""
import json
import pathlib
import struct

import numpy as np
import torch
import torch.nn.functional as F

C, SQUEEZE, WIDE, ATTENTION, VECTOR = 16, 4, 24, 8, 12
rng = np.random.default_rng(71)
weights = {}


def conv(name, out, into, taps=1):
    shape = (out, into, taps) if taps else (out, into)
    weights[name + ".weight"] = (rng.standard_normal(shape) / np.sqrt(into * max(taps, 1))).astype(np.float32)
    weights[name + ".bias"] = (0.1 * rng.standard_normal(out)).astype(np.float32)


def norm(name, n):
    weights[name + ".weight"] = rng.uniform(0.5, 1.5, n).astype(np.float32)
    weights[name + ".bias"] = (0.2 * rng.standard_normal(n)).astype(np.float32)
    weights[name + ".running_mean"] = (0.2 * rng.standard_normal(n)).astype(np.float32)
    weights[name + ".running_var"] = rng.uniform(0.5, 1.5, n).astype(np.float32)


conv("conv1", C, 80, 5), norm("bn1", C)
for b in (1, 2, 3):
    p = f"layer{b}."
    conv(p + "conv1", C, C), norm(p + "bn1", C), conv(p + "conv3", C, C), norm(p + "bn3", C)
    for i in range(7):
        conv(f"{p}convs.{i}", C // 8, C // 8, 3), norm(f"{p}bns.{i}", C // 8)
    conv(p + "se.se.1", SQUEEZE, C), conv(p + "se.se.3", C, SQUEEZE)
conv("layer4", WIDE, 3 * C)
conv("attention.0", ATTENTION, 3 * WIDE), norm("attention.2", ATTENTION), conv("attention.4", WIDE, ATTENTION)
norm("bn5", 2 * WIDE), conv("fc6", VECTOR, 2 * WIDE, 0), norm("bn6", VECTOR)

sd = {k: torch.from_numpy(v).double() for k, v in weights.items()}
stages = {}


def put(name, x):
    f = x.reshape(-1)
    stages[name] = {"shape": list(x.shape), "mean": float(f.mean()), "std": float(f.std(unbiased=False)),
                    "first": [float(f"{v:.9g}") for v in f[:8]]}
    return x


def c1(name, x, pad=0, dilation=1):
    return F.conv1d(x, sd[name + ".weight"], sd[name + ".bias"], padding=pad, dilation=dilation)


def bn(name, x):
    return F.batch_norm(x, sd[name + ".running_mean"], sd[name + ".running_var"], sd[name + ".weight"], sd[name + ".bias"], False, 0, 1e-5)


def layer(p, x, dilation):
    u = put(p + ".tdnn1", bn(p + ".bn1", F.relu(c1(p + ".conv1", x))))
    parts, out = torch.split(u, C // 8, 1), []
    for i in range(7):
        sp = parts[0] if i == 0 else sp + parts[i]
        sp = bn(f"{p}.bns.{i}", F.relu(c1(f"{p}.convs.{i}", sp, dilation, dilation)))
        out.append(sp)
    v = put(p + ".res2net_block", torch.cat(out + [parts[7]], 1))
    v = put(p + ".tdnn2", bn(p + ".bn3", F.relu(c1(p + ".conv3", v))))
    g = put(p + ".se gate", torch.sigmoid(c1(p + ".se.se.3", F.relu(c1(p + ".se.se.1", v.mean(2, keepdim=True))))))
    return put(p, v * g + x)


def forward(x):
    x = put("conv1", bn("bn1", F.relu(c1("conv1", x, 2))))
    x1 = layer("layer1", x, 2)
    x2 = layer("layer2", x + x1, 3)
    x3 = layer("layer3", x + x1 + x2, 4)
    x = put("layer4", F.relu(c1("layer4", torch.cat([x1, x2, x3], 1))))
    t = x.shape[-1]
    g = torch.cat([x, x.mean(2, keepdim=True).repeat(1, 1, t), torch.sqrt(x.var(2, keepdim=True).clamp(min=1e-4)).repeat(1, 1, t)], 1)
    h = put("attention.2", bn("attention.2", F.relu(c1("attention.0", g))))
    w = torch.softmax(c1("attention.4", torch.tanh(h)), 2)
    mean = (x * w).sum(2)
    deviation = torch.sqrt(((x ** 2 * w).sum(2) - mean ** 2).clamp(min=1e-4))
    p = put("pool", torch.cat([mean, deviation], 1))
    return bn("bn6", F.linear(bn("bn5", p), sd["fc6.weight"], sd["fc6.bias"]))[0]


here = pathlib.Path(__file__).parent
header, data = {}, b""
for name, v in weights.items():
    header["speaker_encoder." + name] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [len(data), len(data) + v.nbytes]}
    data += v.tobytes()
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(here / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
cases = []
for t in (6, 40):
    x = (np.round(3 * rng.standard_normal((t, 80)) * 256) / 256).astype(np.float32)
    stages = {}
    e = forward(torch.from_numpy(x).double().T[None])
    cases.append({"rows": t, "features": x.reshape(-1).tolist(), "stages": stages, "vector": [float(f"{v:.9g}") for v in e]})
(here / "cases.json").write_text(json.dumps({"cases": cases}, separators=(",", ":")) + "\n")
