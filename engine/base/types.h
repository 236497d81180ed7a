/*
 * types.h - the structs that cross rooms.
 *
 * Times are milliseconds from the start of the recording (int64_t, *_ms) or samples at 16 kHz (int64_t, *_samples).
 * A struct that holds pointers says who owns them; es_*_done() frees what a struct owns and leaves it zeroed.
 */
#ifndef ES_TYPES_H
#define ES_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

enum { ES_RATE = 16000 };

/* What a recording is: known from its bytes, but for the path and the times of the file system. */
typedef struct es_media_info {
    es_hash128 content; /* XXH3-128 of the file's bytes */
    uint64_t bytes;
    char *path;       /* as given, made absolute; owned */
    int64_t mtime_ns; /* of the file when it was read */
    int track;        /* index among the audio streams, from 0 */
    int n_tracks;
    char container[32], codec[32];
    int sample_rate, channels; /* of the source */
    int64_t duration_ms;       /* of the decoded track, gaps filled */
    int64_t damaged_packets;   /* skipped */
    bool truncated;            /* the container ended early: what was there was taken */
} es_media_info;

/* One word as it is spoken, with the blank before it as the language has it. */
typedef struct es_word {
    int64_t start_ms, end_ms;
    float probability;            /* 0 .. 1 */
    int speaker;                  /* index of a turn's speaker in this recording, -1 unknown */
    uint32_t text_at, text_bytes; /* in es_transcript.text */
} es_word;

enum { ES_SEGMENT_LOOPED = 1 /* a 4-gram repeats more than five times in a row, also after a second try */ };

typedef struct es_segment {
    int64_t start_ms, end_ms;
    uint32_t text_at, text_bytes;   /* in es_transcript.text; UTF-8 */
    uint32_t first_token, n_tokens; /* in es_transcript.tokens; timestamps included */
    uint32_t first_word, n_words;   /* in es_transcript.words; 0 words where none were aligned */
    float avg_logprob, no_speech, compression_ratio, temperature;
    uint32_t flags;   /* ES_SEGMENT_* */
    int speaker;      /* -1 unknown */
    char language[8]; /* "en" */
} es_segment;

/* Everything said in a recording. All arrays are owned. */
typedef struct es_transcript {
    es_segment *segments;
    es_word *words;
    int32_t *tokens;
    char *text; /* the texts of segments and words, no separators; not NUL-terminated */
    size_t n_segments, n_words, n_tokens, n_text;
    size_t room_segments, room_words, room_tokens, room_text;
    char language[8];
    float language_probability;
} es_transcript;

void es_transcript_done(es_transcript *t);
/* Appends; 0, or -1 when memory is out (the transcript stays as it was). text_at, first_* are set by the call. */
int es_transcript_add_text(es_transcript *t, uint32_t *at, const char *text, size_t bytes);
int es_transcript_add_segment(es_transcript *t, const es_segment *s, const char *text, size_t bytes,
                              const int32_t *tokens, size_t n_tokens);
/* To the last segment, of which there must be one. */
int es_transcript_add_word(es_transcript *t, const es_word *w, const char *text, size_t bytes);
/* All segments of another one, with their words. */
int es_transcript_append(es_transcript *t, const es_transcript *from);

/* ---- who spoke ---- */

/* One person speaking without a break. */
typedef struct es_spoken {
    int64_t start_ms, end_ms;
    int speaker; /* index in this recording, from 0 */
} es_spoken;

typedef struct es_heard {
    int64_t start_ms, end_ms;
} es_heard;

/* Vectors of one model's space, one behind the other. Those of different spaces are never compared. */
typedef struct es_vectors {
    es_hash128 space; /* data hash of the pack that made them */
    int width;
    size_t n;
    float *rows; /* [n, width]; owned */
} es_vectors;

/* Who spoke when in a recording. Speakers are numbered in the order in which they are first heard. All arrays are owned. */
typedef struct es_diarization {
    es_spoken *turns, *exclusive; /* in order of start, then speaker; exclusive: one speaker at a time */
    es_heard *speech;              /* where anyone speaks, in order; what reaches the speech model */
    size_t n_turns, n_exclusive, n_speech;
    int n_speakers;
    int64_t *alone_ms;  /* [n_speakers] heard alone: what their vectors rest on */
    es_vectors centers; /* [n_speakers] in the diarizer's space */
    es_vectors voices;  /* [n_speakers] in the space of the pack that names voices; n 0 where there is none */
} es_diarization;
void es_vectors_done(es_vectors *v); /* accept what is zeroed */
void es_diarization_done(es_diarization *d);

/* What a speaker network was trained to hear: the front end that goes before it (audio/front.h, models/speaker.h). */
typedef enum es_front_kind {
    ES_FRONT_POVEY,   /* Kaldi's filter bank of samples as they are, Povey's window: CAM++ */
    ES_FRONT_HAMMING, /* of samples times 32768, Hamming's window: WeSpeaker */
    ES_FRONT_SPEECHBRAIN, /* decibels of triangles symmetric in hertz, samples beyond the ends zero: SpeechBrain's ECAPA */
    ES_FRONT_TAORUIJIE,   /* logarithms after a pre-emphasis of the whole, samples beyond the ends mirrored: TaoRuijie's ECAPA */
    ES_N_FRONTS
} es_front_kind;

enum { ES_FRONT_BINS = 80 }; /* of a row, whatever the front end; a row every 10 ms */

/* ---- what it means ---- */

/* Some sentences of one speaker: what is found again by its meaning. */
typedef struct es_passage {
    int64_t start_ms, end_ms;
    int speaker;                  /* -1 unknown */
    uint32_t text_at, text_bytes; /* in es_passages.text; UTF-8 */
    uint32_t first_segment, n_segments;
    char language[8];
} es_passage;

typedef struct es_passages {
    es_passage *at; /* in order of start */
    size_t n;
    char *text; /* no separators; not NUL-terminated */
    size_t n_text;
    es_vectors vectors; /* row i of passage i, of unit length; n 0 where no text encoder ran */
} es_passages;
void es_passages_done(es_passages *p); /* accepts what is zeroed */

/* ---- the models a result was made with ---- */

enum es_stage { ES_STAGE_ASR, ES_STAGE_SEGMENTATION, ES_STAGE_DIARIZER, ES_STAGE_VOICE, ES_STAGE_EMBEDDER, ES_N_STAGES };

typedef struct es_maker {
    char name[64];   /* of the pack; "" where the stage did not run */
    es_hash128 hash; /* of its data */
} es_maker;

void es_media_info_done(es_media_info *m);
int es_media_info_copy(es_media_info *to, const es_media_info *from);

#endif
