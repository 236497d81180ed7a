/*
 * earshot.c - the public door, first part: versions, errors, default places, models and their memory plan.
 *
 * Only what earshot.h declares leaves the shared library; everything else is compiled hidden.
 */
#define _GNU_SOURCE
#include "earshot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "door.h"
#include "text/unicode.h"
#include "weights/convert/convert.h"

/* The public codes are the rooms' own: what passes through the door is not translated. */
_Static_assert((int)ES_DONE == ES_OK && (int)ES_BAD_ARGUMENT == ES_EARG && (int)ES_IO_FAILED == ES_EIO &&
                   (int)ES_BAD_FORMAT == ES_EFORMAT && (int)ES_NO_MEMORY == ES_ENOMEM &&
                   (int)ES_OVER_BUDGET == ES_EBUDGET && (int)ES_BAD_MODEL == ES_EMODEL &&
                   (int)ES_BAD_LIBRARY == ES_ELIBRARY && (int)ES_NOT_FOUND == ES_ENOTFOUND &&
                   (int)ES_NO_SOUND == ES_ENOMEDIA && (int)ES_DEVICE_FAILED == ES_EDEVICE &&
                   (int)ES_CANCELLED == ES_ECANCELLED && (int)ES_TOO_NEW == ES_ENEWER && (int)ES_IN_USE == ES_EBUSY,
               "es_code and es_status are the same numbers");

int es_version_number(void)
{
    return ES_VERSION_NUMBER;
}

const char *es_version_text(void)
{
    return ES_VERSION;
}

/* ---- errors and messages ---- */

int es_door_give(es_error *error, int rc, const es_err *err)
{
    if (error && rc != ES_OK) {
        error->code = rc;
        snprintf(error->text, sizeof error->text, "%s", err->text[0] ? err->text : es_status_text(rc));
    }
    return rc;
}

int es_door_fail(es_error *error, int rc, const char *format, ...)
{
    va_list ap;

    if (error) {
        error->code = rc;
        va_start(ap, format);
        vsnprintf(error->text, sizeof error->text, format, ap);
        va_end(ap);
    }
    return rc;
}

bool es_door_options(void *ours, size_t size, const void *theirs)
{
    size_t theirs_size;

    if (!theirs) return true;
    memcpy(&theirs_size, theirs, sizeof theirs_size);
    if (theirs_size < sizeof(size_t) || theirs_size > 4096) return false;
    memcpy(ours, theirs, theirs_size < size ? theirs_size : size);
    return true;
}

const char *es_code_text(int code)
{
    return es_status_text(code);
}

const char *es_name_shown(char *out, size_t room, const char *name)
{
    return es_printable(out, room, name);
}

int es_text_columns(const char *text, size_t n)
{
    int columns = 0;

    for (size_t at = 0; at < n;) {
        int32_t c;
        at += es_unicode_next(text + at, n - at, &c);
        columns += c == ES_UNICODE_INVALID ? 1 : es_unicode_width(c);
    }
    return columns;
}

/* The sink of the log has its own type for levels; the numbers are the same. */
static struct {
    es_message_fn tell;
    void *user;
} listener;

static void pass_on(void *user, es_log_level level, const char *sentence)
{
    (void)user;
    listener.tell(listener.user, (int)level, sentence);
}

void es_messages_to(es_message_fn tell, void *user, int least)
{
    es_log_set(NULL, NULL, ES_LOG_ERROR);
    listener.tell = tell, listener.user = user;
    if (tell)
        es_log_set(pass_on, NULL,
                   least < ES_LOG_ERROR   ? ES_LOG_ERROR
                   : least > ES_LOG_DEBUG ? ES_LOG_DEBUG
                                          : (es_log_level)least);
}

void es_free(void *p)
{
    free(p);
}

/* ---- where things lie ---- */

static int default_place(char *out, size_t room, const char *below, es_error *error)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int n;

    /* A relative XDG_DATA_HOME is to be ignored, says the specification. */
    if (data && data[0] == '/') n = snprintf(out, room, "%s/earshot/%s", data, below);
    else if (home && home[0]) n = snprintf(out, room, "%s/.local/share/earshot/%s", home, below);
    else
        return es_door_fail(error, ES_BAD_ARGUMENT,
                            "neither XDG_DATA_HOME nor HOME is set, so there is no default for %s",
                            !strcmp(below, "models") ? "the folder of models (--models)" : "the library (-L)");
    if (n < 0 || (size_t)n >= room)
        return es_door_fail(error, ES_BAD_ARGUMENT, "the path of the data folder is longer than %zu bytes", room);
    return ES_DONE;
}

int es_default_library(char *out, size_t room, es_error *error)
{
    return default_place(out, room, "library", error);
}

int es_default_models(char *out, size_t room, es_error *error)
{
    return default_place(out, room, "models", error);
}

int es_door_session_options(es_session_options *out, const es_engine_options *options, char *models_room, size_t room,
                            es_err *err)
{
    es_engine_options o = ES_ENGINE_OPTIONS;
    es_error error = {0};

    if (!es_door_options(&o, sizeof o, options)) return es_fail(err, ES_EARG, "es_engine_options has no valid size");
    if (!o.models) {
        int rc = es_default_models(models_room, room, &error);
        if (rc != ES_DONE) return es_fail(err, rc, "%s", error.text);
        o.models = models_room;
    }
    if (o.threads < 0 || o.threads > 1024) return es_fail(err, ES_EARG, "%d is no number of threads", o.threads);
    *out = (es_session_options){.models = o.models,
                                .asr = o.asr,
                                .segmentation = o.segmentation,
                                .diarizer = o.diarizer,
                                .voice = o.voice,
                                .embedder = o.embedder,
                                .device = o.device,
                                .embedder_device = o.embedder_device,
                                .embedder_texts = o.embedder_batch_size,
                                .budget = o.budget,
                                .threads = o.threads,
                                .least = o.least};
    if (o.sequential) out->limits.windows = out->limits.slots = 1;
    return ES_OK;
}

/* ---- models ---- */

int es_door_make_folders(const char *path, es_err *err)
{
    char shown[512], *copy = strdup(path);
    int failed = 0;

    if (!copy) return es_fail(err, ES_ENOMEM, "not enough memory");
    for (char *p = copy + 1; *p && !failed; p++) {
        if (*p != '/') continue;
        *p = 0;
        failed = mkdir(copy, 0777) && errno != EEXIST;
        *p = '/';
    }
    failed = failed || (mkdir(copy, 0777) && errno != EEXIST);
    free(copy);
    if (failed)
        return es_fail(err, ES_EIO, "%s: the folder cannot be made: %s", es_printable(shown, sizeof shown, path),
                       strerror(errno));
    return ES_OK;
}

typedef struct teller {
    void (*tell)(void *user, const char *sentence);
    void *user;
} teller;

static void say(const teller *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const teller *t, const char *format, ...)
{
    char text[5000];
    va_list ap;

    if (!t->tell) return;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    t->tell(t->user, text);
}

static void on_note(void *user, const char *sentence)
{
    say(user, "note: %s", sentence);
}

int es_models_convert(const char *from, const es_models_options *options,
                      void (*tell)(void *user, const char *sentence), void *user, es_error *error)
{
    es_models_options o = ES_MODELS_OPTIONS;
    teller t = {tell, user};
    es_convert_report *report = calloc(1, sizeof *report);
    es_err err = {0};
    char folder[4096], shown[4096];
    int rc = report ? ES_OK : es_fail(&err, ES_ENOMEM, "not enough memory");

    if (rc == ES_OK && !es_door_options(&o, sizeof o, options))
        rc = es_fail(&err, ES_EARG, "es_models_options has no valid size");
    es_convert_options c = {.source = from, .output = o.to, .name = o.name, .attention = o.attention, .note = on_note, .user = &t};
    if (rc == ES_OK && o.dtype) {
        if (!strcmp(o.dtype, "f16")) c.dtype = ES_CONVERT_F16;
        else if (!strcmp(o.dtype, "f32")) c.dtype = ES_CONVERT_F32;
        else rc = es_fail(&err, ES_EARG, "matrices are stored as f32 or f16, not %s", es_printable(shown, 64, o.dtype));
    }
    if (rc == ES_OK && !c.output) {
        es_error place = {0};
        rc = es_default_models(folder, sizeof folder, &place);
        if (rc != ES_OK) rc = es_fail(&err, rc, "%s", place.text);
        if (rc == ES_OK) rc = es_door_make_folders(folder, &err);
        c.output = folder;
    }
    if (rc == ES_OK) rc = es_convert(&c, report, &err);
    if (rc == ES_OK) {
        say(&t, "%s: %s", es_printable(shown, sizeof shown, from), report->format);
        say(&t, "  %s: %s", report->architecture, report->sizes);
        say(&t, "  %d tensors read (%s), %d written (%s)", report->tensors_in, report->dtypes_in, report->tensors_out,
            report->dtypes_out);
        say(&t, "%s: %.1f MB, called %s", es_printable(shown, sizeof shown, report->path),
            (double)report->bytes_out * 1e-6, report->name);
    }
    free(report);
    return es_door_give(error, rc, &err);
}

int es_engine_plan(const es_engine_options *options, const char *with, const char *format, char **text, size_t *bytes,
                   es_error *error)
{
    es_session_options o;
    es_session_look look = ES_LOOK_TEXT;
    es_err err = {0};
    char models[4096], shown[64];
    int rc = es_door_session_options(&o, options, models, sizeof models, &err);

    *text = NULL, *bytes = 0;
    if (!format || !strcmp(format, "text")) look = ES_LOOK_TEXT;
    else if (!strcmp(format, "json")) look = ES_LOOK_JSON;
    else if (!strcmp(format, "svg")) look = ES_LOOK_SVG;
    else if (!strcmp(format, "row")) look = ES_LOOK_ROW;
    else if (rc == ES_OK)
        rc = es_fail(&err, ES_EARG, "a plan is text, json, svg or row, not %s", es_printable(shown, sizeof shown, format));
    if (rc == ES_OK) rc = es_session_plan(&o, with, look, text, bytes, &err);
    return es_door_give(error, rc, &err);
}
