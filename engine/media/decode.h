/*
 * decode.h - a media file to 16 kHz mono, through FFmpeg's libraries in this process; the only door to libav*.
 *
 * The file is read once in sequence for its content hash, then decoded once into a spool: s16 samples at 16 kHz in a
 * file of the library's tmp folder (115 MB an hour), so memory does not grow with length and stages may read the sound
 * more than once. Timestamps are honoured: a stream that starts late is preceded by silence, a gap is filled with
 * silence, an overlap is cut, so that sample n is always second n / 16000 of the recording. Damaged packets are skipped
 * and counted. Only the protocol "file" is spoken and demuxers that open other files or guess text are off.
 *
 * One file per call; calls on different files may run on different threads.
 */
#ifndef ES_DECODE_H
#define ES_DECODE_H

#include "base/err.h"
#include "base/types.h"

typedef struct es_spool es_spool;

/* 0 to go on, else the decode ends with ES_ECANCELLED. done/all: bytes of the file while hashing, ms while decoding. */
typedef int (*es_media_progress)(void *user, const char *what, int64_t done, int64_t all);

/* info->content and bytes: reads the whole file. Refuses folders, empty files and what cannot be opened. */
int es_media_hash(es_media_info *info, const char *path, es_media_progress progress, void *user, es_err *err);

/* Looks at a file without decoding it: container, codec, tracks, duration as the container states it. */
int es_media_probe(es_media_info *info, const char *path, int track, es_err *err);

/* Decodes track (0: the first audio stream) of path into a new spool below tmp_dir (a folder that exists). Fills what
 * probe fills, and duration_ms, damaged_packets, truncated from what was decoded. ES_ENOMEDIA without an audio stream. */
int es_media_decode(es_spool **out, es_media_info *info, const char *path, int track, const char *tmp_dir,
                    es_media_progress progress, void *user, es_err *err);

/* ---- the spool ---- */
/* A spool in memory over samples the caller keeps: for buffers and tests. */
int es_spool_from(es_spool **out, const float *samples, int64_t n, es_err *err);
int64_t es_spool_samples(const es_spool *s);
/* n samples from `first` as f32 in [-1, 1); what lies before 0 or past the end is zero. Thread-safe. */
int es_spool_read(es_spool *s, int64_t first, int64_t n, float *out, es_err *err);
void es_spool_close(es_spool *s); /* accepts NULL; removes the file */

/* True when the name ends in a known media ending (for folders). */
bool es_media_is_media_name(const char *path);
const char *es_media_versions(void); /* "libavformat 59.27.100, ..." */

#endif
