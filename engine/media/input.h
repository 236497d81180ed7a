/*
 * input.h - a media file opened with FFmpeg and nothing but that file; for this room only.
 */
#ifndef ES_INPUT_H
#define ES_INPUT_H

#include <libavformat/avformat.h>
#include <time.h>

#include "media/content.h"

typedef struct es_input {
    AVFormatContext *format;
    AVIOContext *io;
    AVStream *stream; /* the chosen audio stream, in format */
    bool alone;       /* no other stream of sound or moving pictures */
    es_content_shape shape;
    int fd;
    int64_t at, bytes; /* read position and length of the file */
    int read_errno;    /* of a read that failed, 0 if none did: then what follows is no fault of the recording */
    char shown[400];   /* the path as it may be printed */

    /* progress, which FFmpeg's reads also pass through, so that a long search inside a demuxer can be cancelled */
    es_media_progress progress;
    void *user;
    int64_t done_ms, all_ms;
    struct timespec last;
    bool cancelled;
} es_input;

/* in is the caller's and must not move while it is open. Fills info's path, bytes, mtime_ns, container, codec, track,
 * n_tracks, sample_rate, channels, and duration_ms as the container states it. */
int es_input_open(es_input *in, es_media_info *info, const char *path, int track, es_media_progress progress, void *user,
                  es_err *err);
/* Tells progress how far the work is, if the last time is long enough ago; true when it is to end. */
bool es_input_tick(es_input *in);
void es_input_close(es_input *in); /* safe on one that did not open */

/* Second 0 of the recording in microseconds of the container's clock. */
int64_t es_input_zero_us(const es_input *in);
/* One sentence for an error number of FFmpeg's, in out[n]. */
const char *es_input_reason(char *out, size_t n, int av_error);

#endif
