/*
 * again.c - see again.h.
 */
#define _POSIX_C_SOURCE 200809L
#include "pipeline/again.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "pipeline/speakers/attribute.h"

unsigned es_again_parts(const char *stage)
{
    if (!stage) return ES_PARTS_ALL;
    if (!strcmp(stage, "words")) return ES_PART_WORDS | ES_PART_MEANING;
    if (!strcmp(stage, "speakers")) return ES_PART_SPEAKERS | ES_PART_MEANING;
    return !strcmp(stage, "meaning") ? ES_PART_MEANING : 0;
}

/* Words need no question: without a speech model there is no session. */
int es_again_check(es_session *s, const es_hear_options *hear, unsigned parts, es_err *err)
{
    bool has = es_session_has(s, ES_STAGE_EMBEDDER);

    if (!parts || parts == ES_PARTS_ALL) return ES_OK;
    if (parts & ES_PART_SPEAKERS) return es_hear_check(s, hear, true, err);
    if (parts != ES_PART_MEANING || es_session_declined(s, ES_STAGE_EMBEDDER)) return ES_OK;
    if (!has)
        return es_fail(err, ES_ENOTFOUND,
                       "what was said gets no vectors: there is no pack of a text encoder; see `earshot convert`");
    if (!es_embedding_has_tokens(es_session_embedding(s)))
        return es_fail(err, ES_EMODEL, "%s has no tokenizer: it takes token ids, not what was said",
                       es_session_maker(s, ES_STAGE_EMBEDDER).name);
    return ES_OK;
}

/* ---- settings ---- */

static void put_member(es_json_out *j, const es_json_node *n)
{
    double number;
    bool truth;

    if (es_json_string(n)) es_json_put_string(j, es_json_key(n), es_json_string(n));
    else if (es_json_number(n, &number)) es_json_put_number(j, es_json_key(n), number);
    else if (es_json_bool(n, &truth)) es_json_put_bool(j, es_json_key(n), truth);
}

/* Settings whose members are those of two others: what speakers were told apart with from one, the rest from the other.
 */
static int mix(char **out, const char *words, const char *speakers, es_err *err)
{
    const char *const of[2] = {words, speakers};
    es_json_out j;
    int rc = ES_OK;

    if (words == speakers) {
        *out = strdup(words);
        return *out ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");
    }
    es_json_begin(&j, 0);
    es_json_object(&j, NULL);
    for (int i = 0; i < 2 && rc == ES_OK; i++) {
        es_json *from = NULL;
        rc = es_json_parse(&from, of[i], strlen(of[i]), "what it was made with", err);
        for (const es_json_node *n = es_json_first(es_json_root(from)); n && rc == ES_OK; n = es_json_next(n))
            if (es_hear_has_setting(es_json_key(n)) == (i == 1)) put_member(&j, n);
        es_json_close(from);
    }
    es_json_end_object(&j);
    *out = j.text; /* the caller's from here on */
    if (rc == ES_OK && j.failed) rc = es_fail(err, ES_ENOMEM, "not enough memory");
    return rc;
}

/* ---- what is kept ---- */

/* Who speaks is forgotten of a recording in which no word was heard, see es_hear_words(): should one be heard now,
 * nobody would have said it. */
static bool lacks_speakers(const es_result *was, const es_session *s)
{
    return *was->made.by[ES_STAGE_DIARIZER].name && was->who.n_speech && !was->who.n_speakers &&
           es_session_has(s, ES_STAGE_SEGMENTATION) && es_session_has(s, ES_STAGE_DIARIZER);
}

static int keep_words(es_result *r, es_result *was, bool speakers_too, const es_session *s, es_err *err)
{
    const es_maker *by = &was->made.by[ES_STAGE_ASR];
    es_hash128 now = es_session_asr_hash(s);
    es_err why = {0};
    int rc = ES_OK;

    if (!speakers_too)
        rc = es_attribute_undo(&was->transcript, es_session_bpe(s), !memcmp(&by->hash, &now, sizeof now), &why);
    if (rc == ES_EARG)
        return es_fail(err, rc, "%s: they are those of %s, not of %s; name that pack with --asr", why.text, by->name,
                       es_session_asr_name(s));
    if (rc != ES_OK) return es_fail(err, rc, "%s", why.text);
    r->transcript = was->transcript;
    was->transcript = (es_transcript){0};
    r->made.by[ES_STAGE_ASR] = *by;
    return ES_OK;
}

static void keep_speakers(es_result *r, es_result *was, unsigned parts)
{
    r->who = was->who;
    was->who = (es_diarization){0};
    if (parts & ES_PART_SPEAKERS) return;
    for (int i = ES_STAGE_SEGMENTATION; i <= ES_STAGE_VOICE; i++) r->made.by[i] = was->made.by[i];
}

/* Its path and time stay those under which it was named now. */
static void keep_media(es_media_info *m, es_media_info *was)
{
    char *path = m->path;
    int64_t mtime_ns = m->mtime_ns;

    free(was->path);
    *m = *was;
    *was = (es_media_info){0};
    m->path = path, m->mtime_ns = mtime_ns;
}

int es_again_take(es_result *r, unsigned *parts, es_store *store, const es_session *s, const char *settings,
                  void (*note)(void *user, const char *sentence), void *user, es_err *err)
{
    es_result was = {0};
    const char *before;
    char text[200], shown[100];
    es_err why = {0};
    int rc =
        *parts == ES_PARTS_ALL ? ES_ENOTFOUND : es_store_get_whole(store, r->media.content, r->media.track, &was, &why);

    if (rc == ES_ENOTFOUND) {
        if (*parts != ES_PARTS_ALL) note(user, "it is not in the library yet: everything is made");
        *parts = ES_PARTS_ALL;
        r->made.settings = strdup(settings);
        return r->made.settings ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");
    }
    if (rc == ES_EFORMAT) return es_fail(err, rc, "%s; --again alone makes everything anew", why.text);
    if (rc != ES_OK) return es_fail(err, rc, "%s", why.text);
    if (*parts & ES_PART_WORDS && lacks_speakers(&was, s)) {
        note(user, "nobody was said to speak in it, as no word was heard: speakers are sought anew, too");
        *parts |= ES_PART_SPEAKERS;
    }
    if (*was.made.by[ES_STAGE_EMBEDDER].name && !es_session_has(s, ES_STAGE_EMBEDDER)) {
        snprintf(text, sizeof text, "its passages lose their vectors of %s, as there is no text encoder",
                 es_printable(shown, sizeof shown, was.made.by[ES_STAGE_EMBEDDER].name));
        note(user, text);
    }
    before = was.made.settings && *was.made.settings ? was.made.settings : "{}";
    rc = mix(&r->made.settings, *parts & ES_PART_WORDS ? settings : before,
             *parts & ES_PART_SPEAKERS ? settings : before, err);
    if (rc == ES_OK && !(*parts & ES_PART_WORDS)) rc = keep_words(r, &was, !(*parts & ES_PART_SPEAKERS), s, err);
    if (rc == ES_OK && *parts != ES_PARTS_ALL) keep_speakers(r, &was, *parts);
    if (rc == ES_OK && !(*parts & ES_PARTS_OF_SOUND)) keep_media(&r->media, &was.media);
    es_result_done(&was);
    return rc;
}
