/*
 * types.c - growing and freeing the structs that cross rooms.
 *
 * A call that appends to several arrays first makes room in all of them and only then changes a count, so a lack of
 * memory leaves the transcript as it was. Positions are 32 bits wide in records; the limit is checked here.
 */
#define _POSIX_C_SOURCE 200809L
#include "base/types.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Returns items with room for `more` after n, possibly moved, or NULL with the array as it was. */
static void *grow(void *items, size_t *room, size_t n, size_t more, size_t item_bytes)
{
    size_t need, grown;
    void *moved;

    if (n > UINT32_MAX || more > UINT32_MAX - n) return NULL;
    need = n + more;
    if (items && need <= *room) return items;
    grown = *room < 32 ? 64 : *room + *room / 2;
    if (grown < need) grown = need;
    if (grown > SIZE_MAX / item_bytes) return NULL;
    moved = realloc(items, grown * item_bytes);
    if (moved) *room = grown;
    return moved;
}

static int room_for_text(es_transcript *t, size_t more)
{
    char *moved = grow(t->text, &t->room_text, t->n_text, more, sizeof *t->text);

    if (!moved) return -1;
    t->text = moved;
    return 0;
}

static int room_for_segment(es_transcript *t)
{
    es_segment *moved = grow(t->segments, &t->room_segments, t->n_segments, 1, sizeof *t->segments);

    if (!moved) return -1;
    t->segments = moved;
    return 0;
}

static int room_for_word(es_transcript *t)
{
    es_word *moved = grow(t->words, &t->room_words, t->n_words, 1, sizeof *t->words);

    if (!moved) return -1;
    t->words = moved;
    return 0;
}

static int room_for_tokens(es_transcript *t, size_t more)
{
    int32_t *moved = grow(t->tokens, &t->room_tokens, t->n_tokens, more, sizeof *t->tokens);

    if (!moved) return -1;
    t->tokens = moved;
    return 0;
}

/* The room was made before. */
static uint32_t append_text(es_transcript *t, const char *text, size_t bytes)
{
    uint32_t at = (uint32_t)t->n_text;

    if (bytes) memcpy(t->text + t->n_text, text, bytes);
    t->n_text += bytes;
    return at;
}

void es_transcript_done(es_transcript *t)
{
    if (!t) return;
    free(t->segments);
    free(t->words);
    free(t->tokens);
    free(t->text);
    *t = (es_transcript){0};
}

int es_transcript_add_text(es_transcript *t, uint32_t *at, const char *text, size_t bytes)
{
    if (room_for_text(t, bytes)) return -1;
    *at = append_text(t, text, bytes);
    return 0;
}

int es_transcript_add_segment(es_transcript *t, const es_segment *s, const char *text, size_t bytes,
                              const int32_t *tokens, size_t n_tokens)
{
    es_segment *to;

    if (room_for_segment(t) || room_for_text(t, bytes) || room_for_tokens(t, n_tokens)) return -1;
    to = &t->segments[t->n_segments++];
    *to = *s;
    to->text_at = append_text(t, text, bytes);
    to->text_bytes = (uint32_t)bytes;
    to->first_token = (uint32_t)t->n_tokens;
    to->n_tokens = (uint32_t)n_tokens;
    to->first_word = (uint32_t)t->n_words;
    to->n_words = 0;
    if (n_tokens) memcpy(t->tokens + t->n_tokens, tokens, n_tokens * sizeof *tokens);
    t->n_tokens += n_tokens;
    return 0;
}

int es_transcript_add_word(es_transcript *t, const es_word *w, const char *text, size_t bytes)
{
    es_word *to;

    assert(t->n_segments > 0); /* words belong to the last segment */
    if (room_for_word(t) || room_for_text(t, bytes)) return -1;
    to = &t->words[t->n_words++];
    *to = *w;
    to->text_at = append_text(t, text, bytes);
    to->text_bytes = (uint32_t)bytes;
    t->segments[t->n_segments - 1].n_words++;
    return 0;
}

int es_transcript_append(es_transcript *t, const es_transcript *from)
{
    for (size_t i = 0; i < from->n_segments; i++) {
        const es_segment *s = &from->segments[i];
        if (es_transcript_add_segment(t, s, from->text + s->text_at, s->text_bytes, from->tokens + s->first_token,
                                      s->n_tokens))
            return -1;
        for (uint32_t k = 0; k < s->n_words; k++) {
            const es_word *w = &from->words[s->first_word + k];
            if (es_transcript_add_word(t, w, from->text + w->text_at, w->text_bytes)) return -1;
        }
    }
    return 0;
}

void es_media_info_done(es_media_info *m)
{
    if (!m) return;
    free(m->path);
    *m = (es_media_info){0};
}

int es_media_info_copy(es_media_info *to, const es_media_info *from)
{
    char *path = NULL;

    if (from->path) {
        path = strdup(from->path);
        if (!path) return -1;
    }
    *to = *from;
    to->path = path;
    return 0;
}

void es_vectors_done(es_vectors *v)
{
    free(v->rows);
    *v = (es_vectors){0};
}

void es_diarization_done(es_diarization *d)
{
    free(d->turns);
    free(d->exclusive);
    free(d->speech);
    free(d->alone_ms);
    es_vectors_done(&d->centers);
    es_vectors_done(&d->voices);
    *d = (es_diarization){0};
}

void es_passages_done(es_passages *p)
{
    free(p->at);
    free(p->text);
    es_vectors_done(&p->vectors);
    *p = (es_passages){0};
}
