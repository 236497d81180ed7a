#!/usr/bin/env python3
"""earshot's MiniLM beside onnxruntime and transformers: the same weights, ids and machine, in turns.

usage: bench/compare_embed.py --earshot build/gcc/earshot --pack minilm.pack --folder FOLDER
           [--onnxruntime PYTHON] [--transformers PYTHON] [--texts 32] [--tokens 64] [--rounds 7] [--threads 2]
       bench/compare_embed.py --earshot build/gcc/earshot --synthetic gte-qwen2-1.5b --kernels build/gcc/bench/bench_kernels
           [--texts 4] [--rounds 3] [--threads 2]

FOLDER holds the model.safetensors and config.json that the pack was converted from. PYTHON is a command that runs an interpreter
with the package and numpy and safetensors: onnxruntime and onnx for the one, torch and transformers for the other; a peer that is
not named is left out. Each peer is a process that stays; a round is five runs of each program after the other, and each round begins
with another program than the one before. All compute in f32
from the same values and pool and normalise as the model says; onnxruntime gets its own fused operators (Attention,
SkipLayerNormalization, BiasGelu). Before anything is timed, the vectors are compared. Texts per second of all CPUs stand beside
those of the clock, since they depend less on what else the machine does. Prints a table in Markdown.

With --synthetic it puts a made-up model's arithmetic beside the SGEMM of OpenBLAS instead, as bench_kernels measures it before and
after each run on as many threads.
"""
import argparse
import json
import os
import platform
import re
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile

RUNS = 5

# ---- a peer's process: weights and ids from files, then a round for each line on standard input ----

PEER = r'''
import json, statistics, sys, time
import numpy as np
from safetensors.numpy import load_file
kind, folder, ids_file, threads, runs = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
config = json.load(open(folder + "/config.json"))
weights = {k: v.astype(np.float32) for k, v in load_file(folder + "/model.safetensors").items() if v.dtype != np.int64}
ids = np.load(ids_file)
L, H, eps = config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"]

def onnxruntime_model():
    import onnx, onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    nodes, constants = [], []
    def const(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name
    def node(op, inputs, out, domain="", **more):
        nodes.append(helper.make_node(op, inputs, [out] if isinstance(out, str) else out, domain=domain, **more))
        return out
    ms = "com.microsoft"
    words = const("words", weights["embeddings.word_embeddings.weight"])
    N = ids.shape[1]
    first = weights["embeddings.position_embeddings.weight"][:N] + weights["embeddings.token_type_embeddings.weight"][0]
    node("Gather", [words, "ids"], "g")
    node("Add", ["g", const("first", first[None])], "e")
    def ln(prefix):
        return const(prefix + ".g", weights[prefix + ".weight"]), const(prefix + ".b", weights[prefix + ".bias"])
    g, b = ln("embeddings.LayerNorm")
    node("LayerNormalization", ["e", g, b], "x", epsilon=eps)
    x = "x"
    for i in range(L):
        p = f"encoder.layer.{i}."
        w = {n: weights[p + n] for n in (f"attention.self.{q}.{s}" for q in ("query", "key", "value") for s in ("weight", "bias"))}
        qkv = np.concatenate([w[f"attention.self.{q}.weight"].T for q in ("query", "key", "value")], 1)
        bias = np.concatenate([w[f"attention.self.{q}.bias"] for q in ("query", "key", "value")])
        node("Attention", [x, const(p + "qkv", qkv), const(p + "qkv_b", bias)], p + "a", ms, num_heads=H)
        node("MatMul", [p + "a", const(p + "o", weights[p + "attention.output.dense.weight"].T)], p + "o_")
        g, b = ln(p + "attention.output.LayerNorm")
        node("SkipLayerNormalization", [p + "o_", x, g, b, const(p + "ob", weights[p + "attention.output.dense.bias"])], p + "n", ms, epsilon=eps)
        node("MatMul", [p + "n", const(p + "u", weights[p + "intermediate.dense.weight"].T)], p + "u_")
        node("BiasGelu", [p + "u_", const(p + "ub", weights[p + "intermediate.dense.bias"])], p + "h", ms)
        node("MatMul", [p + "h", const(p + "d", weights[p + "output.dense.weight"].T)], p + "d_")
        g, b = ln(p + "output.LayerNorm")
        node("SkipLayerNormalization", [p + "d_", p + "n", g, b, const(p + "db", weights[p + "output.dense.bias"])], p + "y", ms, epsilon=eps)
        x = p + "y"
    node("ReduceMean", [x], "mean", axes=[1], keepdims=0)
    node("LpNormalization", ["mean"], "out", axis=1, p=2)
    graph = helper.make_graph(nodes, "minilm", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", N])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["B", config["hidden_size"]])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ms, 1)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"ids": ids})[0], "onnxruntime " + onnxruntime.__version__

def transformers_model():
    import torch, transformers
    torch.set_num_threads(threads)
    model = transformers.BertModel(transformers.BertConfig.from_dict(config), add_pooling_layer=False).eval()
    missing, extra = model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    assert not [m for m in missing if "position_ids" not in m and "token_type_ids" not in m], missing
    given = torch.from_numpy(ids)
    def run():
        with torch.inference_mode():
            return torch.nn.functional.normalize(model(given).last_hidden_state.mean(1)).numpy()
    return run, f"transformers {transformers.__version__}, torch {torch.__version__}"

run, name = {"onnxruntime": onnxruntime_model, "transformers": transformers_model}[kind]()
np.save(ids_file + "." + kind + ".npy", run())
print(json.dumps(name), flush=True)
for line in sys.stdin:
    seconds, cpu = [], time.process_time()
    for _ in range(runs):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    print(json.dumps([statistics.median(seconds), (time.process_time() - cpu) / runs]), flush=True)
'''


class Peer:
    def __init__(self, kind, python, folder, ids_file, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false")
        self.p = subprocess.Popen([*shlex.split(python), "-c", PEER, kind, folder, ids_file, str(threads), str(RUNS)], text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        self.kind, self.name = kind, json.loads(self.p.stdout.readline() or '"nothing"')
        if self.name == "nothing":
            raise SystemExit(f"{kind} does not run with {python}")

    def round(self):
        self.p.stdin.write("\n")
        self.p.stdin.flush()
        return json.loads(self.p.stdout.readline())


# ---- ids and vectors, without numpy ----

def draw(state):
    state = (state + 0x9E3779B97F4A7C15) & (2**64 - 1)
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
    return state, z ^ (z >> 31)


def npy_ids(path, rows):
    head = "{'descr': '<i8', 'fortran_order': False, 'shape': (%d, %d), }" % (len(rows), len(rows[0]))
    head += " " * (117 - len(head)) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        for row in rows:
            f.write(struct.pack(f"<{len(row)}q", *row))


def npy_vectors(path):
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<H", data[8:10])[0]
    shape = eval(data[10:10 + size].decode())["shape"]  # a dictionary that this script or its peers wrote
    values = struct.unpack(f"<{shape[0] * shape[1]}f", data[10 + size:])
    return [values[i * shape[1]:(i + 1) * shape[1]] for i in range(shape[0])]


def machine(o, rounds):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return (f"commit {commit}, {platform.machine()}, {os.cpu_count()} cores, {o.threads} threads, {o.texts} texts of {o.tokens} tokens, "
            f"median of {rounds}, load {os.getloadavg()[0]:.1f}\n")


def beside_sgemm(o):
    def sgemm():
        out = subprocess.run([o.kernels, "-", str(o.threads), "limits"], check=True, stdout=subprocess.PIPE, text=True).stdout
        found = re.search(r"sgemm .*: ([0-9.]+) GFLOP/s", out)
        if not found:
            raise SystemExit(f"{o.kernels} was built without OpenBLAS")
        return float(found.group(1))

    limits, runs = [sgemm()], []
    for i in range(o.rounds):
        out = subprocess.run([o.earshot, "bench", "embed", "-q", "--json", "--synthetic", o.synthetic, "--threads", str(o.threads), "--device",
                              "cpu", "--texts", str(o.texts), "--tokens", str(o.tokens), "--batch-size", str(o.texts)],
                             check=True, stdout=subprocess.PIPE, text=True).stdout
        row = json.loads(out)["rows"][0]
        runs.append((row["gflops"], row["gflops"] * row["seconds"] / row["cpu_seconds"], o.texts / row["seconds"]))
        limits.append(sgemm())
        print(f"round {i + 1}: sgemm {limits[-2]:.1f}, {o.synthetic} {runs[-1][0]:.1f}, sgemm {limits[-1]:.1f} GFLOP/s", file=sys.stderr, flush=True)
    limit = statistics.median(limits)
    print(machine(o, f"{o.rounds} rounds"))
    clock, cpu, texts = (statistics.median(r[k] for r in runs) for k in range(3))
    print("| | GFLOP/s | of SGEMM | GFLOP for each CPU second | texts/s |\n|---|---|---|---|---|")
    print(f"| {o.synthetic} | {clock:.1f} | {clock / limit:.2f} | {cpu:.1f} | {texts:.2f} |")
    print(f"| OpenBLAS, 1500 x 2048 x 2048 | {limit:.1f} | | | |")


def beside_peers(o):
    state, rows = 1, []
    for _ in range(o.texts):
        row = []
        for _ in range(o.tokens):
            state, value = draw(state)
            row.append(value % 30522)
        rows.append(row)
    with tempfile.TemporaryDirectory() as folder:
        ids_file = os.path.join(folder, "ids.npy")
        npy_ids(ids_file, rows)
        with open(os.path.join(folder, "ids.txt"), "w", encoding="ascii") as f:
            f.writelines(" ".join(map(str, row)) + "\n" for row in rows)
        common = ["-q", "--model", o.pack, "--threads", str(o.threads), "--device", "cpu"]
        subprocess.run([o.earshot, "embed", *common, "--ids", "-o", os.path.join(folder, "v.npy"), os.path.join(folder, "ids.txt")], check=True)
        ours = npy_vectors(os.path.join(folder, "v.npy"))
        peers = [Peer(kind, python, o.folder, ids_file, o.threads)
                 for kind, python in (("onnxruntime", o.onnxruntime), ("transformers", o.transformers)) if python]
        for peer in peers:
            worst = min(sum(a * b for a, b in zip(x, y)) for x, y in zip(ours, npy_vectors(f"{ids_file}.{peer.kind}.npy")))
            print(f"{peer.name}: worst cosine with earshot's vectors 1 - {1 - worst:.1e}", file=sys.stderr)
            if worst < 0.99999:
                raise SystemExit(f"{peer.name} does not compute the same vectors")

        def earshot():
            out = subprocess.run([o.earshot, "bench", "embed", *common, "--json", "--texts", str(o.texts), "--tokens", str(o.tokens),
                                  "--batch-size", str(o.texts)], check=True, stdout=subprocess.PIPE, text=True).stdout
            row = json.loads(out)["rows"][0]
            return row["seconds"], row["cpu_seconds"]

        programs = {"earshot": earshot, **{p.name: p.round for p in peers}}
        results = {name: [] for name in programs}
        for i in range(o.rounds):
            names = list(programs)
            for name in names[i % len(names):] + names[:i % len(names)]:
                results[name].append(programs[name]())
            print(f"round {i + 1}: " + ", ".join(f"{n} {o.texts / r[-1][0]:.1f}" for n, r in results.items()), file=sys.stderr, flush=True)
    print(machine(o, f"{o.rounds} rounds of {RUNS}"))
    print("| program | texts/s | best | texts per CPU second |\n|---|---|---|---|")
    for name, r in results.items():
        seconds, cpu = statistics.median(x[0] for x in r), statistics.median(x[1] for x in r)
        print(f"| {name} | {o.texts / seconds:.1f} | {o.texts / min(x[0] for x in r):.1f} | {o.texts / cpu:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--earshot", default="build/gcc/earshot")
    parser.add_argument("--pack")
    parser.add_argument("--folder")
    parser.add_argument("--synthetic")
    parser.add_argument("--kernels", default="build/gcc/bench/bench_kernels")
    parser.add_argument("--onnxruntime")
    parser.add_argument("--transformers")
    parser.add_argument("--texts", type=int)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    if not o.synthetic and not (o.pack and o.folder):
        parser.error("either --synthetic or both of --pack and --folder")
    o.texts, o.rounds = o.texts or (4 if o.synthetic else 32), o.rounds or (3 if o.synthetic else 7)
    if o.synthetic:
        beside_sgemm(o)
    else:
        beside_peers(o)


main()
