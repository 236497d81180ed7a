/*
 * convert.h - what users already have, turned into one model pack (weights/FORMAT.md).
 *
 * The source is a file or a folder; what it is, is found by looking into it, not by its name:
 *     a Hugging Face folder (safetensors, single or sharded, with its JSON files), a CTranslate2 folder, a PyTorch
 *     checkpoint of either format, GGUF, whisper.cpp's ggml, npz
 * and so is the network: Whisper, PyanNet, CAM++, ResNet34, ECAPA-TDNN, PLDA, BERT, Qwen2.
 * Nothing in it is trusted and nothing in it is executed. The same source and options give the same bytes each time.
 */
#ifndef ES_CONVERT_H
#define ES_CONVERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum es_convert_dtype { ES_CONVERT_KEEP, ES_CONVERT_F16, ES_CONVERT_F32 } es_convert_dtype;

typedef struct es_convert_options {
    const char *source;     /* file or folder */
    const char *output;     /* a file, or a folder that exists; NULL: NAME.pack in the current folder */
    const char *name;       /* of the model; NULL: after the source's folder */
    es_convert_dtype dtype; /* of the weight matrices */
    const char *attention;  /* of a text encoder: "causal" or "bidirectional"; NULL: what the source says */
    void (*note)(void *user, const char *sentence); /* what was noticed on the way; may be NULL */
    void *user;
} es_convert_options;

/* What was found and what was written. */
typedef struct es_convert_report {
    char format[128];        /* "CTranslate2 version 6, WhisperSpec revision 3" */
    char architecture[32];   /* "whisper" */
    char name[128];
    char sizes[256];         /* "512 wide, 8 heads, 6 + 6 layers, 80 mels, 51865 tokens" */
    char dtypes_in[96];      /* "F16 203, I8 7" */
    char dtypes_out[96];
    int tensors_in, tensors_out;
    uint64_t bytes_in, bytes_out;
    char path[4096];         /* of the pack */
} es_convert_report;

int es_convert(const es_convert_options *o, es_convert_report *rep, es_err *err);
/* The tokenizer of a text encoder alone, from a folder that has tokenizer.json or vocab.txt; what a pack would hold. */
typedef struct es_convert_tokens {
    unsigned char *tokens, *added; /* the tensors "tokenizer.tokens" and "tokenizer.added"; es_convert_tokens_done() */
    size_t tokens_bytes, added_bytes;
    char *config; /* JSON: "tokenizer", and "eos" or "lowercase" */
} es_convert_tokens;

bool es_convert_tokens_in(const char *folder); /* one of the files is there */
int es_convert_tokens_read(es_convert_tokens *out, const char *folder, es_err *err);
void es_convert_tokens_done(es_convert_tokens *t);

const char *es_convert_dtype_name(es_convert_dtype d); /* "keep", "f16", "f32" */

#endif
