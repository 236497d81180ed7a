#!/usr/bin/env python3
"""Writes a Whisper pack as the file whisper.cpp reads, so that both programs run the same f16 weights.

usage: bench/make_ggml.py PACK TOKENIZER.json OUT.bin

The layout is the one weights/convert/ggml.c draws; whisper.cpp takes its mel filters from the file, so they are computed
here after Slaney's scale as the reference's front end defines them. Needs numpy.
"""
import json
import struct
import sys

import numpy as np


def byte_alphabet():
    """GPT-2's letters for bytes, turned round."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    back = {chr(b): b for b in own}
    for b in range(256):
        if b not in own:
            back[chr(256 + len(back) - len(own))] = b
    return back


def mel_filters(bands, bins=201, rate=16000):
    """Triangles of equal area, linear below 1 kHz and logarithmic above."""
    step, knee = 200 / 3, 15.0
    top = knee + 27 * np.log(rate / 2 / 1000) / np.log(6.4)
    mel = np.linspace(0, top, bands + 2)
    hz = np.where(mel < knee, mel * step, 1000 * np.exp((mel - knee) * np.log(6.4) / 27))
    f = np.linspace(0, rate / 2, bins)
    rise = (f - hz[:-2, None]) / (hz[1:-1] - hz[:-2])[:, None]
    fall = (hz[2:, None] - f) / (hz[2:] - hz[1:-1])[:, None]
    return (np.maximum(0, np.minimum(rise, fall)) * (2 / (hz[2:] - hz[:-2]))[:, None]).astype(np.float32)


def main():
    pack, tokenizer, target = sys.argv[1:4]
    with open(pack, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        head = json.loads(f.read(size))
    data = np.memmap(pack, np.uint8, "r", 8 + size)
    kinds = {"F16": np.float16, "F32": np.float32, "U8": np.uint8}

    def get(name):
        h = head[name]
        b, e = h["data_offsets"]
        return np.frombuffer(data[b:e].tobytes(), kinds[h["dtype"]]).reshape(h["shape"])

    c = json.loads(head["__metadata__"]["config"])
    d, heads, mels = c["d_model"], c["heads"], c["n_mels"]
    with open(tokenizer, encoding="utf-8") as f:
        vocab = sorted(json.load(f)["model"]["vocab"].items(), key=lambda t: t[1])
    back = byte_alphabet()

    with open(target, "wb") as out:
        out.write(struct.pack("<12i", 0x67676D6C, c["vocab"], c["audio_positions"], d, heads, c["encoder_layers"], c["text_positions"], d, heads,
                              c["decoder_layers"], mels, 1))
        out.write(struct.pack("<2i", mels, 201) + mel_filters(mels).tobytes())
        out.write(struct.pack("<i", len(vocab)))
        for word, _ in vocab:
            raw = bytes(back[ch] for ch in word)
            out.write(struct.pack("<i", len(raw)) + raw)

        def put(name, a, single=False):
            a = np.ascontiguousarray(a, np.float32 if single or a.ndim < 2 else np.float16)
            out.write(struct.pack("<3i", a.ndim, len(name), 0 if a.dtype == np.float32 else 1))
            out.write(struct.pack(f"<{a.ndim}i", *a.shape[::-1]) + name.encode() + a.tobytes())

        def pair(to, ours):
            put(f"{to}.weight", get(f"{ours}.weight"))
            put(f"{to}.bias", get(f"{ours}.bias"))

        def attention(to, parts, out_name, ours):
            """parts: the rows of one or two of our matrices, one after the other, as query, key and value."""
            w = np.concatenate([get(f"{ours}.{p}.weight") for p in parts])
            b = np.concatenate([get(f"{ours}.{p}.bias") for p in parts])
            for i, part in enumerate(("query", "key", "value")):
                put(f"{to}.{part}.weight", w[i * d:(i + 1) * d])
                if part != "key":
                    put(f"{to}.{part}.bias", b[i * d:(i + 1) * d])
            pair(f"{to}.out", f"{ours}.{out_name}")

        for i, inner in ((1, mels), (2, d)):
            put(f"encoder.conv{i}.weight", get(f"encoder.conv{i}.weight").reshape(d, 3, inner).transpose(0, 2, 1))
            put(f"encoder.conv{i}.bias", get(f"encoder.conv{i}.bias").reshape(d, 1), True)
        put("encoder.positional_embedding", get("encoder.positions"), True)
        put("decoder.token_embedding.weight", get("decoder.tokens"))
        put("decoder.positional_embedding", get("decoder.positions"), True)
        pair("encoder.ln_post", "encoder.norm")
        pair("decoder.ln", "decoder.norm")
        for stack, layers in (("encoder", c["encoder_layers"]), ("decoder", c["decoder_layers"])):
            for i in range(layers):
                to, ours = f"{stack}.blocks.{i}", f"{stack}.layers.{i}"
                pair(f"{to}.attn_ln", f"{ours}.attn_norm")
                attention(f"{to}.attn", ["qkv"], "out", ours)
                if stack == "decoder":
                    pair(f"{to}.cross_attn_ln", f"{ours}.cross_norm")
                    attention(f"{to}.cross_attn", ["cross_q", "cross_kv"], "cross_out", ours)
                pair(f"{to}.mlp_ln", f"{ours}.mlp_norm")
                pair(f"{to}.mlp.0", f"{ours}.up")
                pair(f"{to}.mlp.2", f"{ours}.down")


main()
