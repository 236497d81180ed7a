/*
 * earshot_speech.c - the public door, fourth part: what was said, segment by segment, word by word, or as a file's
 * text.
 */
#include <stdlib.h>
#include <string.h>

#include "door.h"

size_t es_speech_segments(const es_speech *speech)
{
    return speech->transcript.n_segments;
}

size_t es_speech_words(const es_speech *speech)
{
    return speech->transcript.n_words;
}

int es_speech_segment(const es_speech *speech, size_t i, es_segment_view *out)
{
    const es_transcript *t = &speech->transcript;

    if (i >= t->n_segments) return ES_BAD_ARGUMENT;
    const es_segment *s = &t->segments[i];
    *out = (es_segment_view){.start_ms = s->start_ms,
                             .end_ms = s->end_ms,
                             .text = t->text + s->text_at,
                             .text_bytes = s->text_bytes,
                             .first_word = s->first_word,
                             .n_words = s->n_words,
                             .language = s->language,
                             .avg_logprob = s->avg_logprob,
                             .no_speech = s->no_speech,
                             .compression_ratio = s->compression_ratio,
                             .temperature = s->temperature};
    return ES_DONE;
}

int es_speech_word(const es_speech *speech, size_t i, es_word_view *out)
{
    const es_transcript *t = &speech->transcript;

    if (i >= t->n_words) return ES_BAD_ARGUMENT;
    const es_word *w = &t->words[i];
    *out = (es_word_view){.start_ms = w->start_ms,
                          .end_ms = w->end_ms,
                          .text = t->text + w->text_at,
                          .text_bytes = w->text_bytes,
                          .probability = w->probability};
    return ES_DONE;
}

const char *es_speech_language(const es_speech *speech)
{
    return speech->transcript.language;
}

void es_speech_close(es_speech *speech)
{
    if (!speech) return;
    es_transcript_done(&speech->transcript);
    es_media_info_done(&speech->media);
    es_made_done(&speech->made);
    free(speech);
}
