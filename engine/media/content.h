/*
 * content.h - a media file as bytes: opened safely, looked at without FFmpeg; for this room only.
 */
#ifndef ES_CONTENT_H
#define ES_CONTENT_H

#include "media/decode.h"

/* Opens path for reading if it is a regular file that holds something, and fills info's path, bytes and mtime_ns. The
 * descriptor is the caller's to close; -1 on failure. */
int es_content_open(int *fd, es_media_info *info, const char *path, es_err *err);

typedef enum es_content_kind {
    ES_CONTENT_UNKNOWN,  /* nothing that this file knows: FFmpeg may */
    ES_CONTENT_TEXT,     /* begins as plain text does */
    ES_CONTENT_PLAYLIST, /* text that names other files */
    ES_CONTENT_BOXES,    /* mp4, mov, m4a, 3gp */
    ES_CONTENT_RIFF,     /* wav, avi */
    ES_CONTENT_EBML,     /* mkv, webm */
} es_content_kind;

/* What the frame of the file says, from a few hundred reads at most. Trusts nothing in it. */
typedef struct es_content_shape {
    es_content_kind kind;
    bool has_index; /* boxes: a moov box is there */
    bool cut;       /* the frame promises more bytes than there are */
} es_content_shape;

/* bytes: the length of the file. Never fails: what cannot be read or understood is UNKNOWN. */
es_content_shape es_content_look(int fd, uint64_t bytes);

#endif
