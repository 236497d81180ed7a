#!/usr/bin/env python3
"""Words and text vectors as a user would make them in Python: two of the three programs that bench/compare_pipeline.py runs.

usage: bench/reference_chain.py words FOLDER FILE.wav OUT.json [--threads 2] [--compute float32|int8]
       bench/reference_chain.py vectors FOLDER WORDS.json OUT.npy [--threads 2]

words: faster-whisper with a CTranslate2 FOLDER, greedy with its fallback, word times, its voice detection. vectors: the segments
joined to passages of 64 to 256 tokens, through MiniLM (FOLDER: model.safetensors, config.json, tokenizer.json) in onnxruntime
with its fused operators, f32. Needs faster-whisper, onnxruntime, onnx, tokenizers and safetensors.
"""
import argparse
import json


def words(o):
    from faster_whisper import WhisperModel
    model = WhisperModel(o.folder, device="cpu", compute_type=o.compute, cpu_threads=o.threads, num_workers=1)
    segments, _ = model.transcribe(o.input, beam_size=1, best_of=1, condition_on_previous_text=False, word_timestamps=True, vad_filter=True)
    with open(o.output, "w", encoding="utf-8") as f:
        json.dump([{"start": s.start, "end": s.end, "text": s.text, "words": len(s.words or [])} for s in segments], f)


def passages(segments, tokenizer, least=64, most=256):
    """Token ids of segments joined until there are enough, framed."""
    out, ids = [], []
    for s in segments:
        more = tokenizer.encode(s["text"], add_special_tokens=False).ids
        if ids and len(ids) + len(more) > most - 2:
            out.append(ids)
            ids = []
        ids = (ids + more)[:most - 2]
        if len(ids) >= least:
            out.append(ids)
            ids = []
    if ids:
        out.append(ids)
    first, last = (tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]"))
    return [[first, *p, last] for p in out]


def encoder(folder, threads):
    """BERT as a graph of onnxruntime's own operators, one text of any length at a time."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file
    with open(folder + "/config.json", encoding="utf-8") as f:
        config = json.load(f)
    w = {k: v.astype(np.float32) for k, v in load_file(folder + "/model.safetensors").items() if v.dtype != np.int64}
    nodes, constants, ms, eps = [], [], "com.microsoft", config["layer_norm_eps"]

    def const(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, inputs, out, domain="", **more):
        nodes.append(helper.make_node(op, inputs, [out], domain=domain, **more))
        return out

    def norm(prefix):
        return const(prefix + ".g", w[prefix + ".weight"]), const(prefix + ".b", w[prefix + ".bias"])

    e = "embeddings."
    node("Gather", [const("words", w[e + "word_embeddings.weight"]), "ids"], "w")
    node("Gather", [const("places", w[e + "position_embeddings.weight"] + w[e + "token_type_embeddings.weight"][0]), "positions"], "p")
    node("Add", ["w", "p"], "sum")
    x = node("LayerNormalization", ["sum", *norm(e + "LayerNorm")], "x", epsilon=eps)
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        parts = [p + f"attention.self.{q}." for q in ("query", "key", "value")]
        node("Attention", [x, const(p + "qkv", np.concatenate([w[q + "weight"].T for q in parts], 1)),
                           const(p + "qkv_b", np.concatenate([w[q + "bias"] for q in parts]))], p + "a", ms, num_heads=config["num_attention_heads"])
        node("MatMul", [p + "a", const(p + "o", w[p + "attention.output.dense.weight"].T)], p + "o_")
        node("SkipLayerNormalization", [p + "o_", x, *norm(p + "attention.output.LayerNorm"), const(p + "ob", w[p + "attention.output.dense.bias"])],
             p + "n", ms, epsilon=eps)
        node("MatMul", [p + "n", const(p + "u", w[p + "intermediate.dense.weight"].T)], p + "u_")
        node("BiasGelu", [p + "u_", const(p + "ub", w[p + "intermediate.dense.bias"])], p + "h", ms)
        node("MatMul", [p + "h", const(p + "d", w[p + "output.dense.weight"].T)], p + "d_")
        x = node("SkipLayerNormalization", [p + "d_", p + "n", *norm(p + "output.LayerNorm"), const(p + "db", w[p + "output.dense.bias"])],
                 p + "y", ms, epsilon=eps)
    node("ReduceMean", [x], "mean", axes=[1], keepdims=0)
    node("LpNormalization", ["mean"], "out", axis=1, p=2)
    graph = helper.make_graph(nodes, "minilm", [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "N"]),
                                                helper.make_tensor_value_info("positions", TensorProto.INT64, ["N"])],
                              [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, config["hidden_size"]])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(ms, 1)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda ids: session.run(None, {"ids": np.array([ids], np.int64), "positions": np.arange(len(ids), dtype=np.int64)})[0][0]


def vectors(o):
    import numpy as np
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(o.folder + "/tokenizer.json")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(o.input, encoding="utf-8") as f:
        texts = passages(json.load(f), tokenizer)
    run = encoder(o.folder, o.threads)
    np.save(o.output, np.array([run(ids) for ids in texts], np.float32))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("words", "vectors"))
    p.add_argument("folder")
    p.add_argument("input")
    p.add_argument("output")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--compute", default="float32")
    o = p.parse_args()
    (words if o.what == "words" else vectors)(o)


if __name__ == "__main__":
    main()
