/*
 * earshot_doctor.c - what this machine offers: processor, GPU or why not, libraries, packs and whether they are whole.
 *
 * The report is gathered once as JSON; the text for people is written from the same facts in the same order. `--verify` is a
 * report of its own: one model's outputs beside the published ones.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/json.h"
#include "door.h"
#include "kernels/device.h"
#include "media/decode.h"
#include "pipeline/session/packs.h"
#include "pipeline/bench/verify.h"
#include "runtime/weights.h"
#include "store/store.h"

typedef struct report {
    FILE *text;
    es_json_out json;
    int faults;
} report;

static void line(report *r, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void line(report *r, const char *key, const char *format, ...)
{
    va_list ap;

    fprintf(r->text, "%-11s ", key);
    va_start(ap, format);
    vfprintf(r->text, format, ap);
    va_end(ap);
    fputc('\n', r->text);
}

static void processor(report *r, int threads)
{
    es_device_facts facts;
    es_device *d = NULL;
    es_fault why = {0};

    es_json_object(&r->json, "cpu");
    if (es_device_open(&d, ES_CPU, 0, threads, NULL, &why)) {
        line(r, "processor", "cannot be used: %s", why.text);
        es_json_put_string(&r->json, "fault", why.text);
        r->faults++;
    } else {
        es_device_describe(d, &facts);
        line(r, "processor", "%s, %d thread%s, %.1f GB of memory, %.1f GB free", facts.name, facts.threads,
             facts.threads == 1 ? "" : "s", (double)facts.bytes * 1e-9, (double)facts.bytes_free * 1e-9);
        line(r, "products", "earshot's own, the same bits on every processor; no BLAS is used");
        es_json_put_string(&r->json, "name", facts.name);
        es_json_put_null(&r->json, "blas");
        es_json_put_int(&r->json, "threads", facts.threads);
        es_json_put_uint(&r->json, "bytes", facts.bytes);
        es_json_put_uint(&r->json, "bytes_free", facts.bytes_free);
        es_device_close(d);
    }
    es_json_end_object(&r->json);
}

static void gpus(report *r)
{
    es_fault why = {0};
    int n = es_device_count(ES_CUDA, &why);

    es_json_array(&r->json, "cuda");
    for (int i = 0; i < n; i++) {
        es_device_facts facts;
        es_device *d = NULL;
        es_fault fault = {0};
        es_json_object(&r->json, NULL);
        es_json_put_int(&r->json, "index", i);
        if (es_device_open(&d, ES_CUDA, i, 0, NULL, &fault)) {
            line(r, "GPU", "%d cannot be used: %s", i, fault.text);
            es_json_put_string(&r->json, "fault", fault.text);
        } else {
            es_device_describe(d, &facts);
            line(r, "GPU", "%d: %s, sm_%d, %.1f GB, %.1f GB free, %s", i, facts.name, facts.sm,
                 (double)facts.bytes * 1e-9, (double)facts.bytes_free * 1e-9, facts.driver);
            es_json_put_string(&r->json, "name", facts.name);
            es_json_put_int(&r->json, "sm", facts.sm);
            es_json_put_string(&r->json, "driver", facts.driver);
            es_json_put_uint(&r->json, "bytes", facts.bytes);
            es_json_put_uint(&r->json, "bytes_free", facts.bytes_free);
            es_device_close(d);
        }
        es_json_end_object(&r->json);
    }
    es_json_end_array(&r->json);
    if (n <= 0) {
        const char *reason = why.text[0] ? why.text : "there is no CUDA device";
        line(r, "GPU", "none: %s; models run on the CPU", reason);
        es_json_put_string(&r->json, "no_cuda", reason);
    }
}

/* One pack: readable, of a known kind, and with the bytes it had when it was written. */
static bool pack(report *r, const es_pack_entry *e)
{
    es_weights *w = NULL;
    es_err err = {0};
    char name[128], hash[33];
    bool whole = !e->fault && es_pack_open(&w, e->path, &err) == ES_OK && es_pack_verify(w, &err) == ES_OK;
    const char *fault = whole ? NULL : e->fault ? e->fault : err.text;

    es_hash_hex(hash, e->hash);
    es_json_object(&r->json, NULL);
    es_json_put_string(&r->json, "path", e->path);
    es_json_put_string(&r->json, "name", e->name);
    es_json_put_string(&r->json, "architecture", e->architecture);
    es_json_put_uint(&r->json, "bytes", e->bytes);
    es_json_put_bool(&r->json, "whole", whole);
    if (fault) es_json_put_string(&r->json, "fault", fault);
    else es_json_put_string(&r->json, "data_hash", hash);
    es_json_end_object(&r->json);
    if (whole)
        line(r, "pack", "%s: %s, %.1f MB, whole (%.8s)", es_printable(name, sizeof name, e->name), e->architecture,
             (double)e->bytes * 1e-6, hash);
    else line(r, "pack", "%s", fault);
    es_weights_close(w);
    return whole;
}

static int models(report *r, const char *folder, es_err *err)
{
    const es_pack_entry *asr = NULL;
    es_packs packs = {0};
    es_err why = {0};
    char shown[512];
    int rc = es_packs_scan(&packs, folder, err);

    if (rc != ES_OK) {
        es_packs_done(&packs);
        return rc;
    }
    line(r, "models", "%s", es_printable(shown, sizeof shown, folder));
    es_json_put_string(&r->json, "models", folder);
    es_json_array(&r->json, "packs");
    for (size_t i = 0; i < packs.n; i++)
        if (!pack(r, &packs.at[i])) r->faults++;
    es_json_end_array(&r->json);
    /* Several speech models are no fault: one has to be named, that is all. */
    if (es_packs_choose_asr(&packs, NULL, &asr, &why) != ES_OK && why.code != ES_EARG) {
        line(r, "speech", "%s", why.text);
        es_json_put_string(&r->json, "no_speech_model", why.text);
        r->faults++;
    }
    es_packs_done(&packs);
    return ES_OK;
}

static int count_entry(void *user, const es_entry *e)
{
    (void)e;
    ++*(uint64_t *)user;
    return 0;
}

static void library(report *r, const char *folder)
{
    struct statvfs disk;
    es_store *store = NULL;
    es_err err = {0};
    uint64_t n = 0;
    char shown[512], data[4200];
    double room = statvfs(folder, &disk) == 0 ? (double)disk.f_bavail * (double)disk.f_frsize * 1e-9 : -1;

    es_printable(shown, sizeof shown, folder);
    es_json_put_string(&r->json, "library", folder);
    snprintf(data, sizeof data, "%s/data.mdb", folder);
    if (access(data, F_OK)) {
        line(r, "library", "%s, not made yet", shown);
        return;
    }
    if (es_store_open(&store, folder, ES_STORE_READ_ONLY, &err) || es_store_list(store, count_entry, &n, &err)) {
        line(r, "library", "%s", err.text);
        es_json_put_string(&r->json, "library_fault", err.text);
        r->faults++;
    } else {
        line(r, "library", "%s, %" PRIu64 " recording%s, %.1f GB of room%s", shown, n, n == 1 ? "" : "s", room,
             access(folder, W_OK) ? "; it cannot be written to" : "");
        es_json_put_uint(&r->json, "recordings", n);
    }
    es_store_close(store);
}

/* Closes a report and hands out the form that was asked for. */
static int report_end(report *r, int rc, es_err *err, bool as_json, char **text, size_t *bytes, int *faults, es_error *error)
{
    es_json_put_int(&r->json, "faults", r->faults);
    es_json_end_object(&r->json);

    bool failed = ferror(r->text) || r->json.failed;
    if (fclose(r->text) || failed) rc = es_fail(err, ES_ENOMEM, "not enough memory for the report");
    if (rc != ES_OK) {
        free(*text), free(r->json.text);
        *text = NULL, *bytes = 0;
        return es_door_give(error, rc, err);
    }
    if (as_json) {
        free(*text);
        *text = r->json.text, *bytes = r->json.n;
    } else {
        free(r->json.text);
    }
    if (faults) *faults = r->faults;
    return ES_DONE;
}

int es_engine_doctor(const es_engine_options *options, const char *library_folder, const char *format, char **text,
                     size_t *bytes, int *faults, es_error *error)
{
    es_session_options o;
    report r = {0};
    es_err err = {0};
    char models_room[4096], library_room[4096];
    bool as_json = format && !strcmp(format, "json");
    int rc;

    *text = NULL, *bytes = 0;
    if (faults) *faults = 0;
    if (format && !as_json && strcmp(format, "text"))
        return es_door_fail(error, ES_BAD_ARGUMENT, "the report is text or json");
    rc = es_door_session_options(&o, options, models_room, sizeof models_room, &err);
    if (rc == ES_OK && !library_folder) {
        es_error place = {0};
        rc = es_default_library(library_room, sizeof library_room, &place);
        if (rc != ES_OK) rc = es_fail(&err, rc, "%s", place.text);
        library_folder = library_room;
    }
    if (rc != ES_OK) return es_door_give(error, rc, &err);
    r.text = open_memstream(text, bytes);
    if (!r.text) return es_door_fail(error, ES_NO_MEMORY, "not enough memory for the report");

    es_json_begin(&r.json, 2);
    es_json_object(&r.json, NULL);
    line(&r, "earshot", "%s", es_version_text());
    es_json_put_string(&r.json, "earshot", es_version_text());
    processor(&r, o.threads);
    gpus(&r);
    line(&r, "FFmpeg", "%s", es_media_versions());
    es_json_put_string(&r.json, "ffmpeg", es_media_versions());
    rc = models(&r, o.models, &err);
    library(&r, library_folder);
    return report_end(&r, rc, &err, as_json, text, bytes, faults, error);
}

static void verified(report *r, const es_verify_result *v)
{
    char shown[256];

    line(r, "pack", "%s: %s, whole", es_printable(shown, sizeof shown, v->name), v->architecture);
    es_json_put_string(&r->json, "name", v->name);
    es_json_put_string(&r->json, "architecture", v->architecture);
    line(r, v->n ? "compared" : "nothing", "%s%s", v->n ? "with " : "was compared: ", v->against);
    es_json_put_string(&r->json, v->n ? "compared_with" : "not_compared", v->against);
    if (*v->heard) {
        line(r, "heard", "%s", v->heard);
        es_json_put_string(&r->json, "heard", v->heard);
    }
    es_json_array(&r->json, "numbers");
    for (int i = 0; i < v->n; i++) {
        const es_verify_number *n = &v->number[i];
        bool holds = es_verify_holds(n);
        line(r, !n->decides ? "told" : holds ? "equal" : "DIFFERENT", "%s: %.6g, published %.6g, within %.3g", n->what, n->have, n->want,
             n->within);
        es_json_object(&r->json, NULL);
        es_json_put_string(&r->json, "what", n->what);
        es_json_put_number(&r->json, "computed", n->have);
        es_json_put_number(&r->json, "published", n->want);
        es_json_put_number(&r->json, "within", n->within);
        es_json_put_bool(&r->json, "holds", holds);
        es_json_put_bool(&r->json, "decides", n->decides);
        es_json_end_object(&r->json);
    }
    es_json_end_array(&r->json);
    if (v->n) line(r, "verdict", "%s", v->equal ? "the model computes what is published" : "the model does NOT compute what is published");
    if (!v->equal) r->faults++;
}

int es_engine_verify(const es_engine_options *options, const char *pack, const char *recording, const char *format, char **text,
                     size_t *bytes, int *faults, es_error *error)
{
    es_session_options o;
    es_verify_result *v = calloc(1, sizeof *v);
    report r = {0};
    es_err err = {0};
    char models[4096];
    bool as_json = format && !strcmp(format, "json");
    int rc;

    *text = NULL, *bytes = 0;
    if (faults) *faults = 0;
    if (format && !as_json && strcmp(format, "text")) rc = es_fail(&err, ES_EARG, "the report is text or json");
    else rc = v ? es_door_session_options(&o, options, models, sizeof models, &err) : es_fail(&err, ES_ENOMEM, "not enough memory");
    if (rc == ES_OK) {
        const es_verify_options how = {.pack = pack,
                                       .models = o.models,
                                       .recording = recording,
                                       .device = o.device,
                                       .budget = o.budget,
                                       .threads = o.threads};
        rc = es_verify(v, &how, &err);
    }
    if (rc == ES_OK && !(r.text = open_memstream(text, bytes))) rc = es_fail(&err, ES_ENOMEM, "not enough memory for the report");
    if (rc == ES_OK) {
        es_json_begin(&r.json, 2);
        es_json_object(&r.json, NULL);
        verified(&r, v);
        rc = report_end(&r, rc, &err, as_json, text, bytes, faults, error);
    } else {
        es_door_give(error, rc, &err);
    }
    free(v);
    return rc;
}
