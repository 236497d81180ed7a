/*
 * cues.h - what was said as subtitles: texts of a few short lines, each with the time it stands on the screen.
 */
#ifndef ES_CUES_H
#define ES_CUES_H

#include "base/types.h"

typedef struct es_cue_rules {
    int max_line_width; /* columns */
    int max_lines;
    int chars_per_second; /* a cue stays longer, into a following silence, where its text is read no faster */
    /* Writes what stands before the words of a speaker whose turn it becomes; NULL: nothing does. */
    void (*introduce)(void *user, int speaker, char *out, size_t room);
    void *user;
} es_cue_rules;

/* The least that stays together: a word with what hangs on it, or a character of a script without blanks. */
typedef struct es_cue_piece {
    size_t at, bytes; /* in es_cues.text: clean UTF-8 without blanks */
    int64_t start_ms, end_ms;
    int width, chars; /* columns; characters that are seen */
    bool blank_before;
    bool starts_line; /* of its cue */
} es_cue_piece;

typedef struct es_cue {
    int64_t start_ms, end_ms; /* start < end; no cue starts before the one before it ends */
    size_t first, n;          /* in es_cues.pieces */
    int speaker;              /* -1 unknown */
} es_cue;

typedef struct es_cues {
    es_cue *cues;
    es_cue_piece *pieces;
    char *text;
    size_t n_cues, n_pieces, n_text, room_cues, room_pieces, room_text;
} es_cues;

/* duration_ms: of the recording, which no cue outlasts without need; 0 unknown. 0, or -1 when memory is out; *out is to
 * be handed to es_cues_done() in both cases. */
int es_cues_make(es_cues *out, const es_transcript *t, int64_t duration_ms, const es_cue_rules *rules);
void es_cues_done(es_cues *c);

#endif
