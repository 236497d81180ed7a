/*
 * decode.h - a media file to 16 kHz mono, through FFmpeg's libraries in this process.
 *
 * The file is read once in sequence for its content hash, then decoded once into a spool: s16 samples at 16 kHz in a
 * file of the library's tmp folder (115 MB an hour), so memory does not grow with length and stages may read the sound
 * more than once. Timestamps are honoured: a stream that starts late is preceded by silence, a gap is filled with
 * silence, an overlap is cut, so that sample n is always second n / 16000 of the recording (within 50 ms; decode.c says
 * why). Damaged packets are skipped and counted. No file but the one that was named is ever opened, and demuxers that
 * would open others or guess at text are off.
 *
 * One file per call; calls on different files may run on different threads.
 */
#ifndef ES_DECODE_H
#define ES_DECODE_H

#include "base/err.h"
#include "base/types.h"

typedef struct es_spool es_spool;

/* 0 to go on, else the work ends with ES_ECANCELLED. Called about ten times a second. done/all: bytes of the file while
 * hashing ("reading"), ms while decoding ("decoding"); all is 0 where the length is not known beforehand. */
typedef int (*es_media_progress)(void *user, const char *what, int64_t done, int64_t all);

/* In the three functions below info starts zeroed or holds the answer of an earlier one about the same file; path, bytes
 * and mtime_ns are always filled, and it stays the caller's to give to es_media_info_done(), also after a failure.
 * Folders, devices, pipes, empty files and what cannot be opened are refused, each with a sentence of its own. */

/* info->content: reads the whole file; one that changes meanwhile is refused. */
int es_media_hash(es_media_info *info, const char *path, es_media_progress progress, void *user, es_err *err);

/* Looks at a file without decoding it: container, codec, tracks, duration as the container states it (0: it does not). */
int es_media_probe(es_media_info *info, const char *path, int track, es_err *err);

/* Decodes track (0: the first audio stream) of path into a new spool below tmp_dir (a folder that exists). Fills what
 * probe fills, and duration_ms, damaged_packets, truncated from what was decoded. ES_ENOMEDIA without an audio stream,
 * ES_EARG where there are some, but fewer than track asks for. On failure *out is NULL and the spool's file is gone. */
int es_media_decode(es_spool **out, es_media_info *info, const char *path, int track, const char *tmp_dir,
                    es_media_progress progress, void *user, es_err *err);

/* ---- the spool ---- */
/* A spool in memory over samples the caller keeps: for buffers and tests. */
int es_spool_from(es_spool **out, const float *samples, int64_t n, es_err *err);
int64_t es_spool_samples(const es_spool *s);
/* n samples from `first` as f32 in [-1, 1); what lies before 0 or past the end is zero. Thread-safe. */
int es_spool_read(es_spool *s, int64_t first, int64_t n, float *out, es_err *err);
void es_spool_close(es_spool *s); /* accepts NULL; removes the file unless it was kept */

/* For a run that is to be taken up later: es_spool_keep gives the file the name path (same file system as tmp_dir) and
 * lets it outlive the spool; es_spool_open finds it again and reads it whole to check its hash: ES_ENOTFOUND when it is
 * not there, ES_EFORMAT when it is cut or altered. A spool that was opened is kept until es_spool_remove(). */
int es_spool_keep(es_spool *s, const char *path, es_err *err);
int es_spool_open(es_spool **out, const char *path, es_err *err);
void es_spool_remove(es_spool *s); /* es_spool_close will remove the file after all */

/* True when the name ends in a known media ending (for folders). TypeScript shares its ending with MPEG transport
 * streams, so a name in .ts also has to be a file that begins with their mark. */
bool es_media_is_media_name(const char *path);
const char *es_media_versions(void); /* "libavformat 59.27.100, ..." */

#endif
