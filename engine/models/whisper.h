/*
 * whisper.h - Whisper's encoder and decoder over one arena: windows of sound in, tokens, log-probabilities and
 * alignment scores out. All released sizes, Distil included.
 *
 *     mel [3000, M] -> conv k3 s1, gelu -> conv k3 s2, gelu, + positions -> x [1500, C] -> Le blocks -> norm -> E
 *     E -> cross keys and values of every decoder layer, kept per slot
 *     token, position -> y [C] -> Ld blocks (self attention over the slot's cache, cross attention, mlp) -> logits [V]
 *
 * The decoder runs B slots at once, each with its own window, prompt, length and cache; a slot is refilled as soon as
 * its window ends. This header speaks of tokens and frames; text is next door, the long-form loop is pipeline's.
 *
 * Programs: encode (W windows), tops (log10 maxima for a whole file), prefill (prompt rows of some slots), step (one
 * token of every live slot), align (teacher-forced rows of one slot with the scores of the alignment heads). Their
 * code: whisper_dims.c (sizes), whisper.c (weights, state, encoder), whisper_decode.c, whisper_align.c.
 *
 * A model is used from one thread. What a slot gives depends on its own window, prompt and key alone, never on the
 * other slots or on how windows were grouped.
 */
#ifndef ES_WHISPER_H
#define ES_WHISPER_H

#include "models/fill.h"
#include "runtime/arena.h"
#include "runtime/plan.h"

enum { ES_WHISPER_MAX_LAYERS = 32, ES_WHISPER_MAX_PAIRS = 128, ES_WHISPER_POSITIONS = 448, ES_WHISPER_FRAMES = 3000 };

typedef struct es_whisper_dims {
    int d_model, heads, encoder_layers, decoder_layers, n_mels, vocab;
    bool multilingual;
    int n_languages;
    int n_pairs;                           /* alignment heads */
    int32_t pair[ES_WHISPER_MAX_PAIRS][2]; /* layer, head */
} es_whisper_dims;

/* "tiny" ... "distil-large-v3.5", with or without "whisper-" before it; also "large" and "turbo". False for a name it
 * does not know. */
bool es_whisper_preset(es_whisper_dims *out, const char *name);
const char *es_whisper_preset_name(int i); /* NULL past the last */
/* From a pack's config; checks every value against the architecture. A config without alignment heads takes those of
 * the released model of the same sizes, else every head of the upper half of the layers. */
int es_whisper_dims_read(es_whisper_dims *out, const es_weights *pack, es_err *err);

/* Ids of the special tokens, all derived from the vocabulary's size (whisper.md 4.2). */
typedef struct es_whisper_ids {
    int eot, sot, lang_begin, n_lang, translate, transcribe, sot_lm, sot_prev, no_speech, no_timestamps,
        timestamp_begin;
} es_whisper_ids;
es_whisper_ids es_whisper_ids_of(const es_whisper_dims *d);

typedef struct es_whisper_limits {
    int windows;     /* encoded at once */
    int slots;       /* decoded at once */
    int prompt_rows; /* rows of one prefill: >= 227 takes a full prompt at once; a longer prompt takes several runs */
    bool align;      /* plan the align program (448 rows) */
    bool parts;      /* for benches: plan what es_whisper_encode_part() runs */
    bool keep;       /* for tests: mel, encoder output and logits are copied to where es_whisper_debug finds them */
} es_whisper_limits;

typedef struct es_whisper es_whisper;

/* Enters the model into a plan. w NULL plans the preset dims with f16 weights. suppress: token ids never sampled, from
 * the text room, copied; the special tokens that are never said (sot, the tasks, sot_lm, sot_prev, no_speech) are added
 * here. blank: id of " ", or -1. Activations are f32 on the CPU and f16 on CUDA. */
int es_whisper_plan(es_whisper **out, es_plan *p, const char *name, const es_weights *w, const es_whisper_dims *dims,
                    es_whisper_limits limits, const int32_t *suppress, int n_suppress, int blank, es_err *err);
void es_whisper_close(es_whisper *m); /* accepts NULL; the memory in the arena is the arena's */
const es_whisper_dims *es_whisper_dims_of(const es_whisper *m);
es_whisper_limits es_whisper_limits_of(const es_whisper *m);
es_fill es_whisper_fill(const es_whisper *m); /* of encoding, in windows */
int64_t es_whisper_parameters(const es_whisper *m); /* trained values, as the model's authors count them */
/* After es_arena_load: remembers the arena, uploads the constant tables and takes the host's work buffers. */
int es_whisper_start(es_whisper *m, es_arena *a, es_err *err);

/* ---- encoding ---- */
/* pcm [200 + 480000 + 200]: see kernels.h logmel and audio/mel.h. Windows w of n <= limits.windows; keys and values go
 * to the slot of each, which must not be decoding. */
typedef struct es_whisper_window {
    const float *pcm;
    int frames; /* of content */
    float top;  /* largest log10 of the file, or NaN */
    float fill; /* value of the frames past the content: 0 (sequential); NaN: the samples past the content are taken
                 * as sound (zeros give the window's own floor) */
    int slot;
} es_whisper_window;
void es_whisper_encode(es_whisper *m, const es_whisper_window *w, int n);
/* The first parts of encoding once more, over the windows that were encoded last; what they give is dropped. ENCODER
 * begins with the mel, too. A bench takes the times of the parts from it: on a device nothing can look into a program. */
typedef enum es_whisper_part { ES_WHISPER_MEL, ES_WHISPER_ENCODER, ES_WHISPER_PARTS } es_whisper_part;
void es_whisper_encode_part(es_whisper *m, es_whisper_part part);
/* Largest log10 over the first frames[i] frames of n windows. */
void es_whisper_tops(es_whisper *m, const float *const *pcm, const int *frames, int n, float *tops);

/* ---- decoding ---- */
typedef struct es_whisper_request {
    int slot;              /* whose keys and values were encoded */
    const int32_t *prompt; /* all tokens up to the first one sampled */
    int n_prompt;
    int sot_at;           /* index of the start-of-transcript token in prompt; it and what follows must fit into
                           * limits.prompt_rows */
    bool detect_language; /* prompt is [sot]; one step, the language token and its probability are the result */
    bool timestamps;
    int max_initial; /* index of the largest first timestamp, -1: no limit */
    int least_end;   /* index of a timestamp: a pair of earlier ones does not end the text; 0: any may */
    int max_tokens;  /* eot counted; 0: the model's own limit, 224 or what the positions leave */
    float temperature;
    uint32_t key[4]; /* of the sampling */
} es_whisper_request;

typedef struct es_whisper_output {
    int32_t tokens[ES_WHISPER_POSITIONS]; /* sampled, without eot */
    int n;
    float sum_logprob, avg_logprob; /* avg = sum / (n + 1) */
    float no_speech;
    bool complete;              /* ended by eot */
    float language_probability; /* detect_language: tokens[0] is the language token */
} es_whisper_output;

/* Gives a free slot its prompt (copied); several may be started, then decoded together. */
void es_whisper_begin(es_whisper *m, const es_whisper_request *r);
/* Runs steps until at least one slot has ended (or none is live); returns how many are still live. ended[slots] says
 * which wait for es_whisper_take(). */
int es_whisper_steps(es_whisper *m, bool *ended);
/* The same, but it also returns after so many steps, so that a caller may look around. */
int es_whisper_steps_most(es_whisper *m, bool *ended, int most);
void es_whisper_take(es_whisper *m, int slot, es_whisper_output *out); /* of an ended slot; frees the slot */
/* Ends whatever the slots are at; all are free afterwards. */
void es_whisper_drop(es_whisper *m);
/* Steps run since the model was started, each for all slots. */
int64_t es_whisper_steps_run(const es_whisper *m);
/* Waits for the device; ES_EDEVICE with its first fault. */
int es_whisper_settle(es_whisper *m, es_err *err);
/* All of the above for one slot. Returns a fault of the device as an error. */
int es_whisper_decode(es_whisper *m, const es_whisper_request *r, es_whisper_output *out, es_err *err);

/* ---- alignment ---- */
/* Teacher-forced: tokens = sot sequence, no_timestamps, n_text text tokens, eot. frames: mel frames of content.
 * start_frame[i] (n_text + 1 of them): the first 20 ms frame of text token i, the last of eot. p[i]: its probability.
 * The slot's window must be encoded and the slot free; its self-attention cache is overwritten. Fails when the tokens
 * do not fit into the positions, or with the device's fault. */
int es_whisper_align(es_whisper *m, int slot, const int32_t *sot_sequence, int n_sot, const int32_t *text, int n_text,
                     int frames, int *start_frame, float *p, es_err *err);
/* Dynamic time warping over cost [N, M] (row-major), N, M >= 1: first_column[i] is the first column of row i on the
 * cheapest path. work: es_whisper_dtw_bytes(N, M), aligned for floats. Returns the number of cells on the path. */
size_t es_whisper_dtw_bytes(int N, int M);
int es_whisper_dtw(const float *cost, int N, int M, int *first_column, void *work);

/* ---- for tests (limits.keep): what the last programs saw, f32; read with es_state_get() ---- */
/* "mel" [W, 3000, M], "encoder" [W * 1500, C], "logits" [slots, V] of the newest token, "sot" [slots, V] */
es_tensor es_whisper_debug(const es_whisper *m, const char *what);

#endif
