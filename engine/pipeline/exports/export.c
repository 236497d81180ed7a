/*
 * export.c - the writers of srt, vtt, txt, json, tsv and rttm.
 *
 * Times are whole milliseconds. srt always shows hours and a comma, vtt hours only where there are some and a point. In
 * vtt the three characters that mean something are escaped; srt has no escape, and its readers show a lone < as it is.
 * txt and tsv have a line per segment; json has everything, one word a line, so that two versions compare well.
 */
#define _GNU_SOURCE
#include "pipeline/exports/export.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "pipeline/exports/cues.h"
#include "speech/rttm.h"
#include "speech/said.h"
#include "text/unicode.h"

enum { DEFAULT_WIDTH = 42, DEFAULT_LINES = 2, DEFAULT_SPEED = 20, STEM_BYTES = 200 };

const char *es_export_suffix(int format)
{
    static const char *const names[ES_N_EXPORTS] = {
#define X(name, text) [ES_EXPORT_##name] = text,
        ES_EXPORT_MAP(X)
#undef X
    };

    return format >= 0 && format < ES_N_EXPORTS ? names[format] : NULL;
}

int es_export_format_of(const char *suffix)
{
    for (int i = 0; i < ES_N_EXPORTS; i++)
        if (!strcmp(suffix, es_export_suffix(i))) return i;
    return -1;
}

const char *es_export_speaker(char *out, const es_export_options *options, int speaker)
{
    if (options && options->speakers && speaker < options->n_speakers) return options->speakers[speaker];
    snprintf(out, ES_EXPORT_LABEL, "Speaker %d", speaker + 1);
    return out;
}

/* ---- a text that grows ---- */

typedef struct output {
    char *p;
    size_t n, room;
    bool failed;
} output;

static void add(output *o, const char *p, size_t n)
{
    if (o->failed) return;
    if (o->n + n + 1 > o->room) {
        size_t room = o->room ? 2 * o->room : 4096;
        while (room < o->n + n + 1) room *= 2;
        char *moved = realloc(o->p, room);
        if (!moved) {
            o->failed = true;
            return;
        }
        o->p = moved;
        o->room = room;
    }
    if (n) memcpy(o->p + o->n, p, n);
    o->n += n;
    o->p[o->n] = 0;
}

static void add_string(output *o, const char *text)
{
    add(o, text, strlen(text));
}

/* HH:MM:SS and a mark before the milliseconds; hours only where they are wanted or not 0. */
static void add_time(output *o, int64_t ms, bool always_hours, char mark)
{
    char text[64];
    int64_t seconds = ms / 1000, hours = seconds / 3600;
    int n = 0;

    if (always_hours || hours) n = snprintf(text, sizeof text, "%02" PRId64 ":", hours);
    snprintf(text + n, sizeof text - (size_t)n, "%02d:%02d%c%03d", (int)(seconds / 60 % 60), (int)(seconds % 60), mark,
             (int)(ms % 1000));
    add_string(o, text);
}

/* Text of a piece, or of a segment as one line: outer blanks and control characters left out, inner blanks single. */
static void add_line(output *o, const char *text, size_t n)
{
    bool blank = false, any = false;

    for (size_t at = 0; at < n;) {
        char out[4];
        int32_t code;
        at += es_unicode_next(text + at, n - at, &code);
        if (es_unicode_is_space(code)) {
            blank = true;
            continue;
        }
        if ((code >= 0 && code < 0x20) || (code >= 0x7F && code <= 0x9F)) continue;
        if (blank && any) add(o, " ", 1);
        add(o, out, es_unicode_put(out, code));
        blank = false;
        any = true;
    }
}

static void add_escaped(output *o, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '&') add_string(o, "&amp;");
        else if (text[i] == '<') add_string(o, "&lt;");
        else if (text[i] == '>') add_string(o, "&gt;");
        else add(o, text + i, 1);
    }
}

/* ---- subtitles ---- */

static void add_cue_text(output *o, const es_cues *c, const es_cue *cue, bool escape, bool times)
{
    int64_t said = cue->start_ms;

    for (size_t i = 0; i < cue->n; i++) {
        const es_cue_piece *p = &c->pieces[cue->first + i];
        if (i) {
            if (p->starts_line) add(o, "\n", 1);
            else if (p->blank_before) add(o, " ", 1);
        }
        if (times && i && p->start_ms > said && p->start_ms < cue->end_ms) { /* vtt wants them to grow */
            add(o, "<", 1);
            add_time(o, p->start_ms, false, '.');
            add(o, ">", 1);
            said = p->start_ms;
        }
        if (escape) add_escaped(o, c->text + p->at, p->bytes);
        else add(o, c->text + p->at, p->bytes);
    }
    add_string(o, "\n\n");
}

/* "Name: ", as srt has no other way to say who speaks. */
static void introduce(void *user, int speaker, char *out, size_t room)
{
    char label[ES_EXPORT_LABEL];

    snprintf(out, room, "%s:", es_export_speaker(label, user, speaker));
}

/* <v Name>, where a name ends with > or a new line, neither of which it has. */
static void add_voice(output *o, const es_export_options *options, int speaker)
{
    char label[ES_EXPORT_LABEL];
    output line = {0};

    const char *name = es_export_speaker(label, options, speaker);

    add_line(&line, name, strlen(name));
    add_string(o, "<v ");
    add_escaped(o, line.p ? line.p : "", line.n);
    add_string(o, ">");
    o->failed = o->failed || line.failed;
    free(line.p);
}

static int write_subtitles(output *o, es_export_format format, const es_result *r, const es_export_options *options)
{
    es_cue_rules rules = {
        .max_line_width = options->max_line_width > 0 ? options->max_line_width : DEFAULT_WIDTH,
        .max_lines = options->max_lines > 0 ? options->max_lines : DEFAULT_LINES,
        .chars_per_second = options->chars_per_second > 0 ? options->chars_per_second : DEFAULT_SPEED,
    };
    es_cues cues;
    bool srt = format == ES_EXPORT_SRT;
    es_export_options named = *options;
    int rc;

    if (rules.max_line_width < 2) rules.max_line_width = 2; /* one wide character must fit */
    if (srt && r->who.n_speakers) rules.introduce = introduce, rules.user = &named;
    rc = es_cues_make(&cues, &r->transcript, r->media.duration_ms, &rules);
    if (!srt) add_string(o, "WEBVTT\n\n");
    for (size_t i = 0; !rc && i < cues.n_cues; i++) {
        const es_cue *cue = &cues.cues[i];
        char number[32];
        if (srt) {
            snprintf(number, sizeof number, "%zu\n", i + 1);
            add_string(o, number);
        }
        add_time(o, cue->start_ms, srt, srt ? ',' : '.');
        add_string(o, " --> ");
        add_time(o, cue->end_ms, srt, srt ? ',' : '.');
        add(o, "\n", 1);
        if (!srt && cue->speaker >= 0) add_voice(o, options, cue->speaker);
        add_cue_text(o, &cues, cue, !srt, !srt && options->vtt_words);
    }
    es_cues_done(&cues);
    return rc;
}

/* ---- lines ---- */

static void write_lines(output *o, es_export_format format, const es_result *r, const es_export_options *options)
{
    const es_transcript *t = &r->transcript;
    bool tsv = format == ES_EXPORT_TSV, speakers = tsv && r->who.n_speakers > 0;

    if (tsv) add_string(o, speakers ? "start\tend\ttext\tspeaker\n" : "start\tend\ttext\n");
    for (size_t i = 0; i < t->n_segments; i++) {
        const es_segment *s = &t->segments[i];
        output line = {0};
        char times[64], label[ES_EXPORT_LABEL];
        add_line(&line, t->text + s->text_at, s->text_bytes);
        if (line.failed) o->failed = true;
        if (line.n) {
            snprintf(times, sizeof times, "%" PRId64 "\t%" PRId64 "\t", s->start_ms, s->end_ms);
            if (tsv) add_string(o, times);
            add(o, line.p, line.n);
            if (speakers) add(o, "\t", 1);
            if (speakers && s->speaker >= 0) {
                const char *name = es_export_speaker(label, options, s->speaker);
                add_line(o, name, strlen(name));
            }
            add(o, "\n", 1);
        }
        free(line.p);
    }
}

/* ---- turns ---- */

/* Everybody's turns, also where two speak at once. */
static int write_rttm(output *o, const es_result *r, const es_export_options *options)
{
    const es_diarization *d = &r->who;
    es_turn *turns = malloc((d->n_turns + 1) * sizeof *turns);
    const char **names = malloc(((size_t)d->n_speakers + 1) * sizeof *names);
    char (*labels)[ES_EXPORT_LABEL] = malloc(((size_t)d->n_speakers + 1) * sizeof *labels), stem[256], *text = NULL;
    size_t bytes = 0;
    FILE *f = turns && names && labels ? open_memstream(&text, &bytes) : NULL;
    int rc = f ? 0 : -1;

    for (int i = 0; i < d->n_speakers && f; i++) names[i] = es_export_speaker(labels[i], options, i);
    for (size_t i = 0; i < d->n_turns && f; i++)
        turns[i] = (es_turn){d->turns[i].start_ms * 1000, d->turns[i].end_ms * 1000, d->turns[i].speaker};
    es_export_stem(stem, r->media.path);
    if (f) {
        es_rttm_write(f, stem, turns, d->n_turns, names);
        rc = ferror(f) ? -1 : 0;
        if (fclose(f)) rc = -1;
    }
    if (!rc) add(o, text, bytes);
    free(text), free(turns), free(names), free(labels);
    return rc;
}

/* ---- json ---- */

/* Settings are JSON already; they become part of the document, member by member. */
static void put_node(es_json_out *j, const char *key, const es_json_node *n)
{
    const char *text = es_json_string(n);
    int64_t whole;
    double number;
    bool yes;

    if (es_json_is_object(n) || es_json_is_array(n)) {
        bool object = es_json_is_object(n);
        if (object) es_json_object(j, key);
        else es_json_array(j, key);
        for (const es_json_node *m = es_json_first(n); m; m = es_json_next(m))
            put_node(j, object ? es_json_key(m) : NULL, m);
        if (object) es_json_end_object(j);
        else es_json_end_array(j);
    } else if (text) {
        es_json_put_string(j, key, text);
    } else if (es_json_bool(n, &yes)) {
        es_json_put_bool(j, key, yes);
    } else if (es_json_int(n, INT64_MIN, INT64_MAX, &whole)) {
        es_json_put_int(j, key, whole);
    } else if (es_json_number(n, &number)) {
        es_json_put_number(j, key, number);
    } else {
        es_json_put_null(j, key);
    }
}

static void put_made(es_json_out *j, const es_made *made)
{
    es_json *settings = NULL;
    char hex[33];

    es_json_object(j, "made_with");
    es_json_put_string(j, "program", made->program);
    es_json_put_string(j, "asr", made->by[ES_STAGE_ASR].name[0] ? made->by[ES_STAGE_ASR].name : NULL);
    es_hash_hex(hex, made->by[ES_STAGE_ASR].hash);
    es_json_put_string(j, "asr_hash", made->by[ES_STAGE_ASR].name[0] ? hex : NULL);
    for (int i = ES_STAGE_SEGMENTATION; i < ES_N_STAGES; i++) {
        static const char *const names[ES_N_STAGES] = {[ES_STAGE_SEGMENTATION] = "segmentation", [ES_STAGE_DIARIZER] = "diarizer",
                                                       [ES_STAGE_VOICE] = "voice", [ES_STAGE_EMBEDDER] = "embedder"};
        if (made->by[i].name[0]) es_json_put_string(j, names[i], made->by[i].name);
    }
    if (made->settings && *made->settings &&
        es_json_parse(&settings, made->settings, strlen(made->settings), "settings", NULL) == ES_OK) {
        put_node(j, "settings", es_json_root(settings));
        es_json_close(settings);
    } else {
        es_json_put_null(j, "settings");
    }
    es_json_end_object(j);
}

/* n bytes as a string of their own, which scratch holds until the next call. */
static const char *string_of(output *scratch, const char *text, size_t n)
{
    scratch->n = 0;
    add(scratch, text, n);
    return scratch->failed ? "" : scratch->p;
}

static void put_segment(es_json_out *j, output *scratch, const es_result *r, const es_segment *s, size_t *turn)
{
    const es_transcript *t = &r->transcript;
    int indent = j->indent;

    es_json_object(j, NULL);
    es_json_put_int(j, "start_ms", s->start_ms);
    es_json_put_int(j, "end_ms", s->end_ms);
    es_json_put_string(j, "text", string_of(scratch, t->text + s->text_at, s->text_bytes));
    es_json_put_string(j, "language", s->language[0] ? s->language : t->language);
    if (s->speaker >= 0) es_json_put_int(j, "speaker", s->speaker);
    es_json_put_fixed(j, "avg_logprob", (double)s->avg_logprob, 4);
    es_json_put_fixed(j, "no_speech", (double)s->no_speech, 4);
    es_json_put_fixed(j, "compression_ratio", (double)s->compression_ratio, 4);
    es_json_put_fixed(j, "temperature", (double)s->temperature, 1);
    if (s->flags & ES_SEGMENT_LOOPED) es_json_put_bool(j, "looped", true);
    es_json_array(j, "words");
    for (uint32_t i = 0; i < s->n_words; i++) {
        const es_word *w = &t->words[s->first_word + i];
        es_json_object(j, NULL);
        j->indent = 0; /* a word is one line */
        es_json_put_int(j, "start_ms", w->start_ms);
        es_json_put_int(j, "end_ms", w->end_ms);
        es_json_put_string(j, "text", string_of(scratch, t->text + w->text_at, w->text_bytes));
        es_json_put_fixed(j, "probability", (double)w->probability, 4);
        if (w->speaker >= 0) {
            int other = es_said_meanwhile(r->who.turns, r->who.n_turns, w->start_ms, w->end_ms, w->speaker, turn);
            es_json_put_int(j, "speaker", w->speaker);
            if (other >= 0) es_json_put_int(j, "also", other);
        }
        es_json_end_object(j);
        j->indent = indent;
    }
    es_json_end_array(j);
    es_json_end_object(j);
}

/* Who they are, and their turns, one a line. */
static void put_speakers(es_json_out *j, const es_diarization *d, const es_export_options *options)
{
    int indent = j->indent;
    char label[ES_EXPORT_LABEL];

    es_json_array(j, "speakers");
    for (int i = 0; i < d->n_speakers; i++) {
        es_json_object(j, NULL);
        j->indent = 0;
        es_json_put_int(j, "speaker", i);
        es_json_put_string(j, "name", es_export_speaker(label, options, i));
        es_json_put_int(j, "alone_ms", d->alone_ms ? d->alone_ms[i] : 0);
        es_json_end_object(j);
        j->indent = indent;
    }
    es_json_end_array(j);
    es_json_array(j, "turns");
    for (size_t i = 0; i < d->n_turns; i++) {
        es_json_object(j, NULL);
        j->indent = 0;
        es_json_put_int(j, "start_ms", d->turns[i].start_ms);
        es_json_put_int(j, "end_ms", d->turns[i].end_ms);
        es_json_put_int(j, "speaker", d->turns[i].speaker);
        es_json_end_object(j);
        j->indent = indent;
    }
    es_json_end_array(j);
}

static int write_json(output *o, const es_result *r, const es_export_options *options)
{
    size_t turn = 0;
    const es_media_info *m = &r->media;
    const es_transcript *t = &r->transcript;
    const char *slash = m->path ? strrchr(m->path, '/') : NULL;
    output scratch = {0};
    es_json_out j;
    char hex[33];

    es_json_begin(&j, 2);
    es_json_object(&j, NULL);
    if (m->path) { /* samples from memory have no file */
        es_json_put_string(&j, "file", slash ? slash + 1 : m->path);
        es_hash_hex(hex, m->content);
        es_json_put_string(&j, "content", hex);
        es_json_put_uint(&j, "bytes", m->bytes);
        es_json_put_int(&j, "track", m->track);
        es_json_put_string(&j, "container", m->container);
        es_json_put_string(&j, "codec", m->codec);
        es_json_put_int(&j, "damaged_packets", m->damaged_packets);
        es_json_put_bool(&j, "truncated", m->truncated);
    }
    es_json_put_int(&j, "duration_ms", m->duration_ms);
    es_json_put_string(&j, "language", t->language);
    es_json_put_fixed(&j, "language_probability", (double)t->language_probability, 4);
    put_made(&j, &r->made);
    if (r->who.n_speakers) put_speakers(&j, &r->who, options);
    es_json_array(&j, "segments");
    for (size_t i = 0; i < t->n_segments; i++) put_segment(&j, &scratch, r, &t->segments[i], &turn);
    es_json_end_array(&j);
    es_json_end_object(&j);
    if (!j.failed) {
        add(o, j.text, j.n);
        add(o, "\n", 1);
    }
    o->failed = o->failed || j.failed || scratch.failed;
    free(j.text);
    free(scratch.p);
    return 0;
}

int es_export_text(char **text, size_t *bytes, es_export_format format, const es_result *r,
                   const es_export_options *options, es_err *err)
{
    static const es_export_options defaults = {0};
    output o = {0};
    int rc = 0;

    assert(es_export_suffix((int)format));
    *text = NULL;
    *bytes = 0;
    if (!options) options = &defaults;
    add(&o, "", 0);
    switch (format) {
    case ES_EXPORT_SRT:
    case ES_EXPORT_VTT: rc = write_subtitles(&o, format, r, options); break;
    case ES_EXPORT_TXT:
    case ES_EXPORT_TSV: write_lines(&o, format, r, options); break;
    case ES_EXPORT_JSON: rc = write_json(&o, r, options); break;
    case ES_EXPORT_RTTM: rc = write_rttm(&o, r, options); break;
    case ES_N_EXPORTS:
    default: break;
    }
    if (rc || o.failed) {
        free(o.p);
        return es_fail(err, ES_ENOMEM, "not enough memory to export %s", r->media.path ? r->media.path : "a recording");
    }
    *text = o.p;
    *bytes = o.n;
    return ES_OK;
}

/* ---- files ---- */

/* A new file beside path; its name is left in temporary, of n bytes. */
static int open_beside(char *temporary, size_t n, const char *path)
{
    int fd = -1;

    for (int i = 0; fd < 0 && i < 100; i++) {
        snprintf(temporary, n, "%s.%ld-%d", path, (long)getpid(), i);
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

int es_export_write(const char *path, const char *text, size_t bytes, es_err *err)
{
    size_t n = strlen(path) + 40;
    char *temporary = malloc(n);
    int fd = temporary ? open_beside(temporary, n, path) : -1, rc = ES_OK;

    if (!temporary) return es_fail(err, ES_ENOMEM, "%s: not enough memory to write it", path);
    if (fd < 0) rc = es_fail(err, ES_EIO, "%s: cannot be written: %s", path, strerror(errno));
    for (size_t at = 0; at < bytes && !rc;) {
        ssize_t written = write(fd, text + at, bytes - at);
        if (written > 0) at += (size_t)written;
        else if (errno != EINTR) rc = es_fail(err, ES_EIO, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (!rc && fsync(fd)) rc = es_fail(err, ES_EIO, "%s: cannot be written: %s", path, strerror(errno));
    if (fd >= 0 && close(fd) && !rc) rc = es_fail(err, ES_EIO, "%s: cannot be written: %s", path, strerror(errno));
    if (!rc && rename(temporary, path)) rc = es_fail(err, ES_EIO, "%s: cannot be written: %s", path, strerror(errno));
    if (rc && fd >= 0) unlink(temporary);
    free(temporary);
    return rc;
}

void es_export_stem(char out[256], const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL, *name = slash ? slash + 1 : path ? path : "";
    const char *dot = strrchr(name, '.');
    size_t n = dot && dot != name ? (size_t)(dot - name) : strlen(name), to = 0;

    for (size_t at = 0; at < n;) {
        int32_t code;
        size_t bytes = es_unicode_next(name + at, n - at, &code);
        if (to + bytes > STEM_BYTES) break;
        if ((code >= 0 && code < 0x20) || (code >= 0x7F && code <= 0x9F)) out[to++] = '_';
        else memcpy(out + to, name + at, bytes), to += bytes;
        at += bytes;
    }
    out[to] = 0;
    if (to == 0) strcpy(out, "recording");
}

static int by_content(const void *a, const void *b)
{
    const es_export_item *const *x = a, *const *y = b;
    int order = memcmp((*x)->content.b, (*y)->content.b, sizeof(*x)->content.b);

    return order ? order : (*x)->track - (*y)->track;
}

/* A name of the set of those given away. Compared without case, as some file systems do. */
static bool is_taken(char *const *names, size_t n, const char *stem)
{
    for (size_t i = 0; i < n; i++)
        if (!strcasecmp(names[i], stem)) return true;
    return false;
}

int es_export_stems(es_export_item *items, size_t n)
{
    es_export_item **order = calloc(n + 1, sizeof *order);
    char **taken = calloc(n + 1, sizeof *taken);
    bool *done = calloc(n + 1, sizeof *done);
    size_t n_taken = 0;
    int rc = order && taken && done ? 0 : -1;

    for (size_t i = 0; !rc && i < n; i++) {
        es_export_stem(items[i].stem, items[i].path);
        order[i] = &items[i];
    }
    if (!rc) qsort(order, n, sizeof *order, by_content);
    /* First every stem goes to one that has it by nature, so that talk-2.mp4 is not pushed away by a second talk. */
    for (size_t i = 0; !rc && i < n; i++) {
        done[i] = !is_taken(taken, n_taken, order[i]->stem);
        if (done[i]) taken[n_taken++] = order[i]->stem;
    }
    for (size_t i = 0; !rc && i < n; i++) {
        char stem[sizeof order[i]->stem];
        if (done[i]) continue;
        for (unsigned k = 2;; k++) {
            snprintf(stem, sizeof stem, "%.*s-%u", STEM_BYTES, order[i]->stem, k);
            if (!is_taken(taken, n_taken, stem)) break;
        }
        strcpy(order[i]->stem, stem);
        taken[n_taken++] = order[i]->stem;
    }
    free(order);
    free(taken);
    free(done);
    return rc;
}
