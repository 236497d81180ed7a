/*
 * batch_one.c - one recording alone through the batch, as es_transcribe() is for windows one after the other.
 */
#include "pipeline/words/batch.h"

typedef struct only {
    es_batch_file file;
    const es_transcribe_options *o;
    bool given;
} only;

static int give_it(void *user, bool wait, es_batch_file **file, es_err *err)
{
    only *it = user;

    (void)wait, (void)err;
    *file = it->given ? NULL : &it->file;
    it->given = true;
    return ES_OK;
}

static int take_it(void *user, es_batch_file *file, int rc, const es_err *why, es_err *err)
{
    (void)user, (void)file;
    return rc == ES_OK ? ES_OK : es_fail(err, rc, "%s", why->text);
}

static int tell_it(void *user, es_batch_file *file, int64_t done_ms, int64_t all_ms)
{
    const es_transcribe_options *o = ((only *)user)->o;

    (void)file;
    return o->progress ? o->progress(o->user, "transcribing", done_ms, all_ms) : 0;
}

int es_batch_one(es_whisper *m, const es_bpe *bpe, const es_sound *sound, const es_transcribe_options *o,
                 es_transcript *to, es_err *err)
{
    only it = {.file = {.sound = *sound, .content = o->content, .speech = o->speech, .n_speech = o->n_speech, .to = to,
                        .kept = o->kept},
               .o = o};
    const es_batch_source source = {give_it, take_it, tell_it, &it};
    es_batch_figures figures = {0};
    es_batch *b = NULL;
    int rc = es_batch_open(&b, m, bpe, err);

    if (rc == ES_OK) rc = es_batch_run(b, o, &source, &figures, err);
    if (rc == ES_OK && o->times) {
        o->times->encode += figures.times.encode, o->times->decode += figures.times.decode;
        o->times->align += figures.times.align, o->times->windows += figures.times.windows;
        o->times->attempts += figures.times.attempts, o->times->tokens += figures.times.tokens;
    }
    es_batch_close(b);
    return rc;
}
