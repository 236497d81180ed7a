/*
 * whisper_parts.h - what the four source files of Whisper share: the weights, the state and the host's side of a slot.
 */
#ifndef ES_WHISPER_PARTS_H
#define ES_WHISPER_PARTS_H

#include "models/whisper.h"
#include "runtime/ops.h"

enum {
    ES_WHISPER_HEAD = 64,    /* width of a head, in every size */
    ES_WHISPER_AUDIO = 1500, /* positions of the encoder: two mel frames, 20 ms, each */
    ES_WHISPER_SAMPLES = ES_MEL_PAD + ES_MEL_SAMPLES + ES_MEL_PAD,
    ES_WHISPER_LOGIT_ROWS = 32, /* rows of logits at once in align: 448 of them would be 93 MB */
    ES_WHISPER_LOGIT_RUNS = ES_WHISPER_POSITIONS / ES_WHISPER_LOGIT_ROWS,
    ES_WHISPER_CUDA_STEPS = 4 /* steps between two looks at the slots on CUDA; idle ones cost less than a look */
};

typedef struct es_whisper_norm {
    const float *g, *b; /* [C] */
} es_whisper_norm;

typedef struct es_whisper_linear {
    es_matrix w;    /* [O, I] */
    const float *b; /* [O] */
} es_whisper_linear;

/* A layer of either stack; the encoder leaves cross_* empty. */
typedef struct es_whisper_layer {
    es_whisper_norm attn_norm, cross_norm, mlp_norm;
    es_whisper_linear qkv /* [3C, C] */, out, cross_q, cross_kv /* [2C, C] */, cross_out, up /* [4C, C] */,
        down /* [C, 4C] */;
} es_whisper_layer;

/* Inputs of decoder rows, each int32 [rows]. */
typedef struct es_whisper_rows {
    es_tensor id, pos, slot, len;
    es_tensor live; /* [1]: how many rows there are */
} es_whisper_rows;

typedef enum es_whisper_phase { ES_SLOT_FREE, ES_SLOT_BEGUN, ES_SLOT_LIVE, ES_SLOT_ENDED } es_whisper_phase;

/* The host's side of a slot. */
typedef struct es_whisper_slot {
    es_whisper_phase phase;
    int32_t prompt[ES_WHISPER_POSITIONS];
    int n_prompt, fed /* rows already run */, sot_at;
    bool language;
} es_whisper_slot;

struct es_whisper {
    es_whisper_dims dims;
    es_whisper_ids ids;
    es_whisper_limits limits;
    es_backend backend;
    int64_t parameters; /* counted while binding */
    es_arena *arena;    /* from start on */
    es_device *device;

    /* ---- weights, in the arena ---- */
    es_whisper_linear conv1 /* [C, 3M] */, conv2 /* [C, 3C] */;
    const float *encoder_positions /* [1500, C] */, *decoder_positions /* [448, C] */;
    es_matrix tokens; /* [V, C], also the output projection */
    es_whisper_norm encoder_norm, decoder_norm;
    es_whisper_layer encoder[ES_WHISPER_MAX_LAYERS], decoder[ES_WHISPER_MAX_LAYERS];
    const void *mel_tables;

    /* Alignment heads of each decoder layer, and how many. */
    const void *heads[ES_WHISPER_MAX_LAYERS]; /* int32 [n_heads[l]], in the arena */
    int n_heads[ES_WHISPER_MAX_LAYERS];
    struct es_whisper_heads { /* what fills heads[l]: one per layer, because the plan keeps its address */
        int n;
        int32_t head[64];
    } head_list[ES_WHISPER_MAX_LAYERS];

    /* ---- state, in the arena; W windows, S slots ---- */
    es_tensor pcm;               /* f32 [W, 480400] */
    es_tensor frames, top, fill; /* [W]: i32, f32, f32 */
    es_tensor window_top;        /* f32 [W], the result of tops */
    es_tensor n_windows, n_rows; /* i32 [1]: live windows, and 1500 times that */
    es_tensor bounds;            /* i32 [W + 1]: where each window's rows begin */
    es_tensor row_slot, row_pos; /* i32 [W * 1500]: where a row's cross keys and values go */
    es_tensor cross_k[ES_WHISPER_MAX_LAYERS], cross_v[ES_WHISPER_MAX_LAYERS]; /* [S, H, 1500, D] */
    es_tensor self_k[ES_WHISPER_MAX_LAYERS], self_v[ES_WHISPER_MAX_LAYERS];   /* [S, H, 448, D] */
    es_tensor parent;   /* i32 [S, 448]: whose cache holds position i of a slot; itself when greedy */
    es_tensor pick;     /* es_pick_slot [S], as bytes */
    es_tensor out;      /* i32 [S, 448]: the tokens sampled */
    es_tensor suppress; /* i32 [(V + 31) / 32]: the bit mask of tokens never sampled */
    es_whisper_rows prefill, step, align;
    es_tensor wanted;                        /* i32 [2S]: prefill rows of the newest token, then of sot; -1 none */
    es_tensor align_live;                    /* i32 [14, 1]: live rows of each run of 32 logit rows */
    es_tensor align_id;                      /* i32 [448, 1]: the text token that row predicts, or -1 */
    es_tensor align_p;                       /* f32 [448, 1] */
    es_tensor scores[ES_WHISPER_MAX_LAYERS]; /* f32 [448, n_heads, 1500]; es_no_rows where a layer has none */
    es_tensor kept_mel, kept_encoder, kept_logits, kept_sot; /* limits.keep: copies for tests */

    es_program *encode_program, *tops_program, *prefill_program, *step_program, *align_program;
    es_program *part_program[ES_WHISPER_PARTS]; /* limits.parts */

    /* ---- the host's side ---- */
    es_whisper_slot *slots; /* [S] */
    es_pick_slot *picks;    /* [S], as on the device when the slots were last looked at */
    es_pick_slot *fresh;    /* [S], what a prefill is given */
    es_pick_vocab vocab;
    uint32_t *mask;       /* the bit mask, until start */
    int32_t *host_rows;   /* room for the largest of the int32 inputs */
    float *host_values;   /* [W] */
    int32_t *host_wanted; /* [2 S] */
    int32_t step_live;    /* as on the device */
    int64_t steps_run;
    es_fill encoded;
    void *align_work;     /* see whisper_align.c */
};

/* y[R, C] of decoder rows, before the last norm. scores: NULL, or a tensor for each layer (es_no_rows: none). */
es_tensor es_whisper_decode_rows(es_run *r, es_whisper *m, const es_whisper_rows *rows, const es_tensor *scores);
es_tensor es_whisper_mlp(es_run *r, const es_whisper_layer *l, es_tensor x);
void es_whisper_plan_rows(es_model *e, es_whisper_rows *rows, const char *name, int n);

void es_whisper_prefill_run(es_run *r, void *user); /* the programs of whisper_decode.c and whisper_align.c */
void es_whisper_step_run(es_run *r, void *user);
void es_whisper_align_run(es_run *r, void *user);
size_t es_whisper_align_bytes(const es_whisper *m); /* of align_work */

#endif
