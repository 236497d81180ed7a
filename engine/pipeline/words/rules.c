/*
 * rules.c - options into rules; a wish that the model cannot serve is refused with both its sides named.
 */
#include "pipeline/words/rules.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "text/language.h"
#include "text/unicode.h"

bool es_rules_each(const es_transcribe_options *o)
{
    return o->language && strcmp(o->language, "each") == 0;
}

int es_rules_language(int *language, const es_whisper_dims *dims, const es_transcribe_options *o, es_err *err)
{
    const char *name = o->language;

    *language = -1;
    if (name && strcmp(name, "auto") != 0 && strcmp(name, "each") != 0) {
        *language = es_language_index(name);
        if (*language < 0) return es_fail(err, ES_EARG, "there is no language \"%s\"", name);
        if (dims->multilingual && *language >= dims->n_languages)
            return es_fail(err, ES_EARG, "the model knows %d languages, and %s is not among them", dims->n_languages,
                           es_language_name(*language));
    }
    if (o->seek_words && dims->n_pairs == 0)
        return es_fail(err, ES_EARG, "the model has no alignment heads, windows cannot follow its words");
    if (!dims->multilingual) {
        if (*language > 0)
            return es_fail(err, ES_EARG, "the model knows only English, and %s is asked for",
                           es_language_name(*language));
        if (o->translate) return es_fail(err, ES_EARG, "the model knows only English and cannot translate");
        *language = 0;
    }
    return ES_OK;
}

int es_rules_prompt(int32_t *tokens, size_t *n_tokens, const es_bpe *bpe, const es_transcribe_options *o, es_err *err)
{
    size_t n = o->prompt ? strlen(o->prompt) : 0, count = SIZE_MAX;
    const char *words = n ? es_unicode_strip(o->prompt, &n) : "";

    *n_tokens = 0;
    if (n == 0) return ES_OK;
    char *text = malloc(n + 1);
    int32_t *ids = malloc((3 * n + 1) * sizeof *ids); /* U+FFFD for a broken byte is three bytes */
    if (text && ids) {
        text[0] = ' ';
        memcpy(text + 1, words, n);
        count = es_bpe_encode(bpe, text, n + 1, ids, 3 * n + 1);
    }
    if (count != SIZE_MAX) {
        *n_tokens = count < ES_WINDOW_HISTORY ? count : ES_WINDOW_HISTORY;
        memcpy(tokens, ids + count - *n_tokens, *n_tokens * sizeof *ids);
    }
    free(text);
    free(ids);
    return count != SIZE_MAX ? ES_OK : es_fail(err, ES_ENOMEM, "no memory for a prompt of %zu bytes", n);
}

int es_rules_make(es_window_rules *out, const es_whisper_dims *dims, const es_bpe *bpe, const es_transcribe_options *o,
                  es_err *err)
{
    if (o->n_temperatures < 1 || o->n_temperatures > ES_WINDOW_TEMPERATURES)
        return es_fail(err, ES_EARG, "%d temperatures are asked for, 1 to %d are possible", o->n_temperatures,
                       (int)ES_WINDOW_TEMPERATURES);
    *out = (es_window_rules){
        .bpe = bpe,
        .ids = es_whisper_ids_of(dims),
        .multilingual = dims->multilingual,
        .translate = o->translate,
        .timestamps = o->timestamps,
        .n_temperatures = o->n_temperatures,
        .most_compression = o->most_compression,
        .least_logprob = o->least_logprob,
        .most_no_speech = o->most_no_speech,
        .max_initial = o->max_initial < 0 ? -1 : (int)lrintf(fminf(o->max_initial, 30.0f) / 0.02f),
        .content = es_hash_id(o->content),
    };
    for (int i = 0; i < o->n_temperatures; i++) {
        if (!(o->temperature[i] >= 0 && o->temperature[i] <= 10))
            return es_fail(err, ES_EARG, "the temperature %g is not between 0 and 10", (double)o->temperature[i]);
        out->temperature[i] = o->temperature[i];
    }
    return ES_OK;
}
