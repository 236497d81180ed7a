/*
 * diarize.h - who spoke when: from the sound of a recording to turns, speakers and their vectors.
 *
 *     segment    windows of 10 s, a step apart -> who of up to three local speakers speaks in each frame
 *     embed      each local speaker of each window -> what the voice is like, as a vector
 *     conclude   vectors -> speakers -> turns, the exclusive form of them, regions of speech, a centre a speaker
 *
 * es_diarize() does all three. They are apart because the first alone says where there is speech and whether more than
 * one person speaks, which may make the second needless. Windows go by in batches and only their classes and vectors are
 * kept: 2.1 MB and about 4 MB an hour at a step of a second. Nothing depends on the size of a batch.
 *
 * Configurations: "campplus", CAM++'s own (centroid linkage at 0.90, constrained assignment); "3.1" and "community-1" for
 * ResNet34 as pyannote has them (centroid linkage at 0.7046 and free assignment; PLDA, VBx and constrained assignment).
 */
#ifndef ES_DIARIZE_H
#define ES_DIARIZE_H

#include "base/types.h"
#include "models/pyannet.h"
#include "audio/front.h"
#include "models/speaker.h"
#include "pipeline/words/transcribe.h"
#include "speech/cluster.h"

/* All borrowed; started, on one arena or several. */
typedef struct es_diarize_models {
    es_pyannet *segmentation;
    es_speaker *diarizer;          /* ResNet34 or CAM++ */
    es_speaker *voice;             /* that names voices, where it is another; or NULL */
    const es_front *front, *voice_front; /* of these two networks; NULL: opened for each recording */
    const es_plda *plda;           /* NULL: community-1 is not to be had */
    es_hash128 space, voice_space; /* data hashes of the networks' packs: whose vectors these are */
} es_diarize_models;

/* 0 to go on, else the work ends with ES_ECANCELLED. what: "finding speech", "hearing voices", "telling speakers apart". */
typedef int (*es_diarize_progress)(void *user, const char *what, int64_t done_ms, int64_t all_ms);

/* Where the time went, in seconds of wall clock; each call adds to it. */
typedef struct es_diarize_times {
    double segment, embed, cluster, voices;
    int64_t windows, vectors, trained; /* windows segmented; voices embedded; of these the ones that were clustered */
} es_diarize_times;

typedef struct es_diarize_options {
    const char *configuration; /* by name; NULL: the network's own */
    es_speaker_range speakers; /* as far as it is known */
    int step_samples;          /* between windows: a multiple of 160, at most a window; 16000 is the reference */
    es_diarize_progress progress;
    void *user;
    void (*note)(void *user, const char *sentence); /* what the user may want to know of this recording; NULL: nobody */
    es_diarize_times *times;                        /* NULL: not measured */
    es_kept *kept; /* where windows are kept, and found from a run that was ended; NULL: nowhere */
} es_diarize_options;
es_diarize_options es_diarize_defaults(void);

/* "2" or "2-5". False for anything else, for 0 and for ranges that run backwards. */
bool es_diarize_speakers_parse(es_speaker_range *out, const char *text);
/* Refuses what no recording could be diarized with, before one is read. network: NULL for vectors of CAM++ that are there
 * already; plda: whether there is one. The name of the configuration in *name, which may be NULL. */
int es_diarize_check(const es_speaker_dims *network, bool plda, const es_diarize_options *o, const char **name, es_err *err);

/* Windows on their way to turns. */
typedef struct es_diarize_windows {
    int64_t samples, step, n; /* of the recording; between windows; windows */
    uint8_t *classes;         /* [n, 589] */
    int32_t *row;             /* [n, 3]: the vector of a slot, -1 where there is none */
    int16_t *clean;           /* [n, 3]: frames in which a slot speaks alone */
    float *vectors;           /* [n_vectors, width] */
    int width;
    size_t n_vectors, room;
} es_diarize_windows;
void es_diarize_windows_done(es_diarize_windows *w);

int es_diarize_segment(es_diarize_windows *w, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                       es_err *err);
/* w as es_diarize_segment() left it; true where anyone speaks at all. */
bool es_diarize_anyone(const es_diarize_windows *w);
int es_diarize_embed(es_diarize_windows *w, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                     es_err *err);
/* *out must be empty; a recording without speech leaves it so. */
int es_diarize_conclude(es_diarization *out, const es_diarize_windows *w, const es_diarize_models *m,
                        const es_diarize_options *o, es_err *err);

/* out->voices, by m->voice, of the longest stretches in which each speaker is alone: mean of unit vectors, of unit length;
 * zeros for somebody who never is. Does nothing where there is no such network. */
int es_diarize_voices(es_diarization *out, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o,
                      es_err *err);

int es_diarize(es_diarization *out, const es_diarize_models *m, const es_sound *sound, const es_diarize_options *o, es_err *err);

#endif
