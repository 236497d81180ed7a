/*
 * voiceprint.h - a file that is one person's voice, as a clip that the person is known by.
 *
 *     file -> samples -> where one voice speaks alone (segmentation) -> pieces of 3 s -> vectors -> one voice? -> their
 * mean
 *
 * The vectors are those of the network that names voices, or of the diarizer's where there is no such one: the same
 * that ingest gives to the speakers of recordings. es_voiceprint_open() chooses packs and refuses what cannot work;
 * models are planned and read when the first file needs them. Used from one thread.
 */
#ifndef ES_VOICEPRINT_H
#define ES_VOICEPRINT_H

#include "base/people.h"
#include "pipeline/session/session.h"
#include "models/pyannet.h"
#include "models/speaker.h"

typedef struct es_voiceprint es_voiceprint;

/* Of the options asr, embedder and limits mean nothing here. */
int es_voiceprint_open(es_voiceprint **out, const es_session_options *o, es_err *err);
void es_voiceprint_close(es_voiceprint *v); /* accepts NULL */
/* Whose vectors come out. */
const es_space *es_voiceprint_space(const es_voiceprint *v);

/* note is told what the user should know of a file that was taken all the same. tmp_dir: for the sound while it is
 * read. ES_EARG with a sentence for what no one should be known by: too little speech, several voices, clipped sound.
 * clip->vector is the caller's to free. */
int es_voiceprint_take(es_voiceprint *v, es_clip *clip, const char *path, int track, const char *tmp_dir,
                       void (*note)(void *user, const char *sentence), void *user, es_err *err);

/* ---- the parts of it that others need ---- */

/* Vectors [n, width] of pieces of x: samples [from[i], from[i] + ES_ENROLL_PIECE) cut at n_samples, each at least
 * ES_ENROLL_PIECE / 2 long. front: the network's; NULL: opened for the call. */
int es_voiceprint_pieces(es_speaker *network, const es_front *front, float *vectors, const float *x, int64_t n_samples,
                         const int64_t *from, int n, es_err *err);

#endif
