/*
 * rules.h - what a user's options mean for the windows of a recording: limits, language, words told beforehand. Checked
 * against the model once, the same for windows one after the other and for many at a time.
 */
#ifndef ES_RULES_H
#define ES_RULES_H

#include "pipeline/words/transcribe.h"
#include "pipeline/words/window.h"

/* Everything but the content, which o->content gives. ES_EARG for options the model cannot serve. */
int es_rules_make(es_window_rules *out, const es_whisper_dims *dims, const es_bpe *bpe, const es_transcribe_options *o,
                  es_err *err);
/* *language: an index, or -1 where it is to be found out. */
int es_rules_language(int *language, const es_whisper_dims *dims, const es_transcribe_options *o, es_err *err);
bool es_rules_each(const es_transcribe_options *o); /* every window has a language of its own */
/* tokens [ES_WINDOW_HISTORY]: what every window is told. */
int es_rules_prompt(int32_t *tokens, size_t *n, const es_bpe *bpe, const es_transcribe_options *o, es_err *err);

#endif
