/*
 * hear.c - see hear.h: the session's packs put behind diarization, and their names into the result.
 */
#include "pipeline/speakers/hear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/account.h"
#include "pipeline/alone.h"
#include "pipeline/speakers/attribute.h"
#include "pipeline/speakers/plda.h"

struct es_hear {
    es_session *session;
    es_diarize_models models;
    es_diarize_options options;
    const es_people *people; /* NULL: the fast path is off */
    es_plda *plda; /* owned */
    bool segments, diarizes;
};

static bool is_none(const es_hear_options *o)
{
    return o->diarization && !strcmp(o->diarization, "none");
}

/* What is done with these packs where nothing else is asked for. */
static const char *configuration(const es_session *s, const es_hear_options *o)
{
    if (!es_session_has(s, ES_STAGE_SEGMENTATION) || !es_session_has(s, ES_STAGE_DIARIZER) || is_none(o)) return "none";
    if (o->diarization) return o->diarization;
    if (es_session_speaker_dims(s, ES_STAGE_DIARIZER)->kind != ES_SPEAKER_RESNET34) return "campplus";
    return es_session_plda(s, NULL) ? "community-1" : "3.1";
}

static es_diarize_options diarize_options(const es_session *s, const es_hear_options *o)
{
    es_diarize_options d = es_diarize_defaults();

    d.configuration = configuration(s, o);
    d.speakers = o->speakers;
    if (o->step_samples) d.step_samples = o->step_samples;
    return d;
}

int es_hear_check(const es_session *s, const es_hear_options *o, bool must, es_err *err)
{
    es_diarize_options d = diarize_options(s, o);
    bool only_speech = is_none(o) && es_session_has(s, ES_STAGE_SEGMENTATION); /* asked for, and to be had */
    bool told = (must && !only_speech) || o->speakers.least || o->speakers.most || o->step_samples || (o->diarization && !is_none(o));

    if (strcmp(d.configuration, "none")) return es_diarize_check(es_session_speaker_dims(s, ES_STAGE_DIARIZER), es_session_plda(s, NULL), &d, NULL, err);
    if (!told) return ES_OK;
    if (is_none(o) && (!must || only_speech)) return es_fail(err, ES_EARG, "how speakers are told apart cannot be chosen where they are not to be");
    return es_fail(err, ES_ENOTFOUND, "speakers cannot be told apart: there is no pack that %s; see `earshot convert`",
                   es_session_has(s, ES_STAGE_SEGMENTATION) ? "knows voices (CAM++ or ResNet34)" : "finds who speaks when (segmentation-3.0)");
}

void es_hear_settings(es_json_out *j, const es_session *s, const es_hear_options *o)
{
    const char *name = configuration(s, o);
    char speakers[32] = "auto";

    es_json_put_string(j, "diarization", name);
    if (!strcmp(name, "none")) return;
    if (o->speakers.least && o->speakers.least == o->speakers.most) snprintf(speakers, sizeof speakers, "%d", o->speakers.least);
    else if (o->speakers.least) snprintf(speakers, sizeof speakers, "%d-%d", o->speakers.least, o->speakers.most);
    es_json_put_string(j, "speakers", speakers);
    es_json_put_number(j, "step", (o->step_samples ? o->step_samples : ES_RATE) / (double)ES_RATE);
    es_json_put_string(j, "fast_path", o->no_fast_path ? "off" : "auto");
}

bool es_hear_has_setting(const char *name)
{
    static const char *const names[] = {"diarization", "speakers", "step", "fast_path"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

int es_hear_open(es_hear **out, es_session *s, const es_hear_options *o, es_err *err)
{
    es_hear *h = calloc(1, sizeof *h);
    const char *plda = es_session_plda(s, NULL);
    int rc = h ? ES_OK : es_fail(err, ES_ENOMEM, "not enough memory");

    *out = NULL;
    if (rc != ES_OK) return rc;
    h->session = s;
    h->options = diarize_options(s, o);
    h->people = o->no_fast_path ? NULL : o->people;
    h->models.segmentation = es_session_pyannet(s);
    h->models.diarizer = es_session_speaker(s, ES_STAGE_DIARIZER);
    h->models.voice = es_session_speaker(s, ES_STAGE_VOICE);
    h->models.front = es_session_front(s, ES_STAGE_DIARIZER);
    h->models.voice_front = es_session_front(s, ES_STAGE_VOICE);
    h->models.space = es_session_maker(s, ES_STAGE_DIARIZER).hash;
    h->models.voice_space = es_session_maker(s, ES_STAGE_VOICE).hash;
    h->segments = h->models.segmentation != NULL;
    h->diarizes = strcmp(h->options.configuration, "none") != 0;
    if (h->diarizes && plda) rc = es_plda_open(&h->plda, plda, err);
    h->models.plda = h->plda;
    if (rc != ES_OK) {
        es_hear_close(h);
        return rc;
    }
    *out = h;
    return ES_OK;
}

void es_hear_close(es_hear *h)
{
    if (!h) return;
    free(h->plda);
    free(h);
}

bool es_hear_knows_speech(const es_result *r)
{
    return *r->made.by[ES_STAGE_SEGMENTATION].name;
}

bool es_hear_tells_apart(const es_hear *h)
{
    return h->diarizes;
}

/* All of diarization, or the short way where one enrolled person speaks alone; says which, and why. */
static int tell_apart(const es_hear *h, es_diarization *out, const es_sound *sound, const es_diarize_options *o, es_err *err)
{
    es_diarize_windows w = {0};
    bool alone = false;
    char why[400], text[500];
    int rc = es_diarize_segment(&w, &h->models, sound, o, err);

    if (rc == ES_OK) rc = es_alone_try(out, &alone, why, sizeof why, &h->models, &w, sound, h->people, o, err);
    if (rc == ES_OK && *why && o->note) {
        snprintf(text, sizeof text, alone ? "one enrolled person speaks alone, nobody has to be told apart: %s" : "speakers are told apart in full: %s", why);
        o->note(o->user, text);
    }
    if (rc == ES_OK && !alone) rc = es_diarize_embed(&w, &h->models, sound, o, err);
    if (rc == ES_OK && !alone) rc = es_diarize_conclude(out, &w, &h->models, o, err);
    if (rc == ES_OK && !alone) rc = es_diarize_voices(out, &h->models, sound, o, err);
    es_diarize_windows_done(&w);
    return rc;
}

int es_hear_speakers(es_hear *h, es_result *r, const es_sound *sound, const es_diarize_options *told, es_err *err)
{
    es_diarize_options o = h->options;
    es_diarize_windows w = {0};
    int rc = ES_OK;

    o.progress = told->progress, o.note = told->note, o.user = told->user, o.times = told->times,
    o.kept = told->kept;
    if (!h->segments) return ES_OK;
    r->made.by[ES_STAGE_SEGMENTATION] = es_session_maker(h->session, ES_STAGE_SEGMENTATION);
    if (!h->diarizes) { /* only where there is speech */
        rc = es_diarize_segment(&w, &h->models, sound, &o, err);
        if (rc == ES_OK && es_account_heard(&r->who.speech, &r->who.n_speech, &w))
            rc = es_fail(err, ES_ENOMEM, "cannot allocate the speech of %lld windows", (long long)w.n);
        es_diarize_windows_done(&w);
        return rc;
    }
    r->made.by[ES_STAGE_DIARIZER] = es_session_maker(h->session, ES_STAGE_DIARIZER);
    rc = h->people ? tell_apart(h, &r->who, sound, &o, err) : es_diarize(&r->who, &h->models, sound, &o, err);
    if (rc == ES_OK && r->who.voices.n) r->made.by[ES_STAGE_VOICE] = es_session_maker(h->session, ES_STAGE_VOICE);
    return rc;
}

/* Steady tones sound like a voice to the segmentation; a voice of which the speech model hears no word in a whole recording is none.
 * What was heard stays: it is what the speech model was asked about. */
static void hear_nobody(es_diarization *who)
{
    es_diarization heard = {.speech = who->speech, .n_speech = who->n_speech};

    who->speech = NULL;
    es_diarization_done(who);
    *who = heard;
}

int es_hear_words(es_hear *h, es_result *r, es_err *err)
{
    if (!r->transcript.n_segments && r->who.n_speakers) hear_nobody(&r->who);
    return es_attribute(&r->transcript, &r->who, es_session_bpe(h->session), err);
}
