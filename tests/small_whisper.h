/*
 * small_whisper.h - the least Whisper there can be, as files of every format: one layer, 8 wide.
 *
 * Every element is k / 8 with a whole k of at most 127, so that f32, f16, bf16, int8 and int16 files all hold the very same
 * values and packs made of them can be compared exactly. The full English vocabulary is there, as no other size is
 * Whisper's: the 256 bytes, then "a" and a number.
 */
#ifndef ES_SMALL_WHISPER_H
#define ES_SMALL_WHISPER_H

#include "test.h"

enum { ES_SMALL_D = 8, ES_SMALL_MELS = 80, ES_SMALL_VOCAB = 51864, ES_SMALL_BASE = 50256, ES_SMALL_MLP = 32, ES_SMALL_N = 43 };

/* Growing bytes; running out of memory aborts. */
typedef struct es_bytes {
    unsigned char *p;
    size_t n, room;
} es_bytes;

void es_bytes_add(es_bytes *b, const void *p, size_t n);
void es_bytes_num(es_bytes *b, uint64_t v, int n); /* little-endian */

void es_small_save(const char *folder, const char *name, const void *p, size_t n);
void es_small_save_text(const char *folder, const char *name, const char *text);

typedef struct es_small_tensor {
    const char *pack, *ct2, *hf; /* hf: names of the parts, '|' between them, "-" for zeros */
    int dim[3];                  /* as the sources store it; 0: not there */
    bool matrix;
} es_small_tensor;

extern const es_small_tensor es_small_model[ES_SMALL_N];
int es_small_value(const char *pack_name, size_t i); /* k of element i of a tensor as the sources store it */
size_t es_small_count(const es_small_tensor *t);

/* model.bin of CTranslate2. type: of the matrices, "F32", "F16", "BF16", "I8", "I16"; whole numbers with f32 vectors. */
void es_small_ct2(es_bytes *b, int version, const char *type);
/* Tensors first .. last - 1 under Hugging Face's names behind `prefix`; openai: under OpenAI's. extra: one more, or NULL. */
void es_small_safetensors(const char *folder, const char *name, const char *prefix, const char *type, int first, int last,
                          const char *extra);
void es_small_openai(const char *folder, const char *name, const char *type);
/* whisper.cpp's file: vectors f32, matrices f16, and with blocks the one whose rows allow it Q8_0. */
void es_small_ggml(es_bytes *b, bool blocks);
/* vocabulary.json of CTranslate2 (list), or vocab.json. */
void es_small_vocabulary(const char *folder, const char *name, bool list);
void es_small_token(char *out, int id, bool raw);

#endif
