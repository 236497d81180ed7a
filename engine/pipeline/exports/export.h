/*
 * export.h - a recording's words as a file for others: srt, vtt, txt, json, tsv, rttm.
 *
 * Speakers stand in all but txt, which holds words only: srt names them where they change, vtt in voice tags, tsv in a last
 * column, json by number with a list of who they are, word by word; rttm has their turns alone.
 *
 * What is written follows from the result and the options alone: not from when, where or in which order it was made.
 */
#ifndef ES_EXPORT_H
#define ES_EXPORT_H

#include "base/err.h"
#include "store/store.h"

#define ES_EXPORT_MAP(X) X(SRT, "srt") X(VTT, "vtt") X(TXT, "txt") X(JSON, "json") X(TSV, "tsv") X(RTTM, "rttm")

typedef enum es_export_format {
#define X(name, text) ES_EXPORT_##name,
    ES_EXPORT_MAP(X)
#undef X
        ES_N_EXPORTS
} es_export_format;

const char *es_export_suffix(int format);    /* "srt" ...; NULL outside */
int es_export_format_of(const char *suffix); /* -1 unknown */

typedef struct es_export_options {
    int max_line_width;   /* of subtitles, in columns; 0: 42 */
    int max_lines;        /* of one subtitle; 0: 2 */
    int chars_per_second; /* at most, where there is silence to stay into; 0: 20 */
    bool vtt_words;       /* word times inside the lines of vtt */
    const char *const *speakers; /* what the recording's speakers are called, by number; NULL: "Speaker 1" and so on */
    int n_speakers;
} es_export_options;

/* What a speaker is called: as options say, else a number from 1. out [ES_EXPORT_LABEL] is used for the latter. */
enum { ES_EXPORT_LABEL = 32 };
const char *es_export_speaker(char *out, const es_export_options *options, int speaker);

/* options may be NULL. *text: the caller's to free; a NUL follows it that *bytes does not count. */
int es_export_text(char **text, size_t *bytes, es_export_format format, const es_result *r,
                   const es_export_options *options, es_err *err);

/* Through a temporary file beside it, so that path is never half-written. */
int es_export_write(const char *path, const char *text, size_t bytes, es_err *err);

/* The name of a recording's files without their suffix: the file name of path without its ending, control characters as
 * "_", at most 200 bytes. */
void es_export_stem(char out[256], const char *path);

/* Stems for many at once. Among those that would be the same, also where small and capital letters are one, the first
 * in the order of content and track keeps it and the others are numbered from 2; which other recordings there are
 * matters, the order of the items does not. 0, or -1 when memory is out. */
typedef struct es_export_item {
    const char *path;
    es_hash128 content;
    int track;
    char stem[256]; /* set by the call */
} es_export_item;
int es_export_stems(es_export_item *items, size_t n);

#endif
