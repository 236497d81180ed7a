/*
 * earshot_speech.c - the public door, fourth part: what was said, segment by segment, word by word, or as a file's
 * text.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "door.h"
#include "pipeline/exports/export.h"

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
                             .temperature = s->temperature,
                             .speaker = s->speaker};
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
                          .probability = w->probability,
                          .speaker = w->speaker};
    return ES_DONE;
}

int es_speech_speakers(const es_speech *speech)
{
    return speech->who.n_speakers;
}

const char *es_speech_speaker(const es_speech *speech, int speaker, char *out, size_t room)
{
    char number[ES_EXPORT_LABEL];

    if (speaker < 0 || speaker >= speech->who.n_speakers) snprintf(out, room, "%s", "");
    else snprintf(out, room, "%s", speech->labels ? speech->labels[speaker] : es_export_speaker(number, NULL, speaker));
    return out;
}

size_t es_speech_turns(const es_speech *speech)
{
    return speech->who.n_turns;
}

int es_speech_turn(const es_speech *speech, size_t i, es_turn_view *out)
{
    if (i >= speech->who.n_turns) return ES_BAD_ARGUMENT;
    *out = (es_turn_view){.start_ms = speech->who.turns[i].start_ms,
                          .end_ms = speech->who.turns[i].end_ms,
                          .speaker = speech->who.turns[i].speaker};
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
    for (int i = 0; speech->labels && i < speech->who.n_speakers; i++) free(speech->labels[i]);
    free(speech->labels);
    free(speech->voices);
    es_diarization_done(&speech->who);
    free(speech);
}
