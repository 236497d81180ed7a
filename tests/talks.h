/*
 * talks.h - a library made of what is said in the demo's recordings, for tests of search: the five sentences from "Sense and
 * Sensibility" and the telephone call, and others beside them that must not be found; and the hits that a search prints.
 *
 * It is put together by hand, with times and speakers that are known, and embedded with the real MiniLM, so that every hit can
 * be checked.
 */
#ifndef ES_TEST_TALKS_H
#define ES_TEST_TALKS_H

#include <sys/stat.h>

#include "base/json.h"
#include "pipeline/search/meaning.h"
#include "pipeline/speakers/names.h"
#include "program.h"
#include "store/find.h"

/* ---- the library ---- */

typedef struct said {
    int64_t start_ms;
    int speaker;
    const char *text; /* words with a blank before each */
} said;

/* 250 ms a word; a segment each. */
static inline void add_said(es_transcript *t, const said *s, const char *language)
{
    es_segment g = {.start_ms = s->start_ms, .speaker = s->speaker, .avg_logprob = -0.25f};
    int64_t ms = s->start_ms;

    snprintf(g.language, sizeof g.language, "%s", language);
    CHECK_INT(es_transcript_add_segment(t, &g, s->text, strlen(s->text), NULL, 0), 0);
    for (const char *p = s->text; *p;) {
        size_t n = strcspn(p + 1, " ") + 1;
        const es_word w = {.start_ms = ms, .end_ms = ms + 250, .probability = 0.9f, .speaker = s->speaker};
        CHECK_INT(es_transcript_add_word(t, &w, p, n), 0);
        ms += 250;
        p += n;
    }
    t->segments[t->n_segments - 1].end_ms = ms;
}

typedef struct talk {
    const char *path, *language;
    int64_t mtime_s;
    int n_speakers;
    const said *said;
    size_t n;
} talk;

static const said austen[] = {
    {0, -1, " And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do for them."},
    {7000, -1, " He was not an ill-disposed young man,"},
    {10000, -1, " unless to be rather cold-hearted and rather selfish is to be ill-disposed."},
    {16000, -1, " Had he married a more amiable woman, he might have been made still more respectable than he was."},
    {22000, -1, " He might even have been made amiable himself."},
};
static const said telephone[] = {
    {6680, 0, " Hello?"},
    {7634, 1, " Hello?"},
    {8436, 0, " Oh, hello. I didn't know you were there."},
    {10838, 1, " Neither did I."},
    {11780, 0, " Okay, then I thought you know, I heard a beep."},
    {14542, 0, " This is Diane in New Jersey."},
    {16444, 1, " And I'm Sheila in Texas, originally from Chicago."},
    {18789, 0, " Oh, I'm originally from Chicago also."},
    {20573, 0, " I'm in New Jersey now though."},
    {22135, 1, " Well, there isn't that much difference."},
    {24058, 1, " At least you know, they all call me a Yankee down here, so what can I say?"},
    {29145, 0, " Oh, I don't hear that in New Jersey now."},
};
static const said bread[] = {
    {1000, 0, " Mix the flour with warm water and a little yeast, then let the dough rest until it has doubled."},
    {6500, 0, " Bake it for forty minutes, and do not open the oven door before the crust is brown."},
};
static const said harbour[] = {
    {0, 0, " The storm drove two sailing boats onto the rocks outside the harbour last night."},
    {4000, 0, " Their crews were taken off by a helicopter and nobody was hurt."},
};
static const said deutsch[] = {
    {0, 0, " Der Zug nach Hamburg hat heute wegen einer defekten Weiche eine Stunde Verspätung."},
};
#define COUNT(a) (sizeof(a) / sizeof *(a))
enum { PASSAGES = 7 };
enum { AUSTEN, TELEPHONE, BREAD, HARBOUR, DEUTSCH };
static const talk talks[] = {
    {"/media/books/Sense and Sensibility.mp4", "en", 1750000000, 0, austen, COUNT(austen)},
    {"/media/calls/telephone call.mkv", "en", 1760000000, 2, telephone, COUNT(telephone)},
    {"/media/kitchen/bread.mp3", "en", 1770000000, 1, bread, COUNT(bread)},
    {"/media/news/harbour.ogg", "en", 1777593600, 1, harbour, COUNT(harbour)},
    {"/media/news/it's \x1b[31mlate.wav", "de", 1777593600 + 86400, 1, deutsch, COUNT(deutsch)},
};

static inline es_result result_of(const talk *t)
{
    es_result r = {.media = {.content = es_hash_bytes(t->path, strlen(t->path)),
                             .bytes = 12345,
                             .path = strdup(t->path),
                             .mtime_ns = t->mtime_s * 1000000000,
                             .n_tracks = 1,
                             .container = "matroska",
                             .codec = "opus",
                             .sample_rate = 48000,
                             .channels = 1,
                             .duration_ms = 60000},
                   .made = {.settings = strdup("{\"language\":\"auto\"}"), .by[ES_STAGE_ASR].name = "whisper-base", .program = "0.1.0"}};

    snprintf(r.transcript.language, sizeof r.transcript.language, "%s", t->language);
    for (size_t i = 0; i < t->n; i++) add_said(&r.transcript, &t->said[i], t->language);
    if (!t->n_speakers) return r;
    /* Voices that are nobody else's: axes of a small space, another pair for each recording. */
    r.who.n_speakers = t->n_speakers;
    r.who.alone_ms = calloc((size_t)t->n_speakers, sizeof *r.who.alone_ms);
    r.who.voices = (es_vectors){.space = es_hash_bytes("voices", 6), .width = 16, .n = (size_t)t->n_speakers};
    r.who.voices.rows = calloc(r.who.voices.n * 16, sizeof *r.who.voices.rows);
    r.who.turns = calloc(t->n, sizeof *r.who.turns);
    for (int i = 0; i < t->n_speakers; i++) {
        r.who.alone_ms[i] = 20000;
        r.who.voices.rows[16 * i + (int)(r.media.content.b[0] % 8) * 2 + i] = 1;
    }
    for (size_t i = 0; i < t->n; i++)
        r.who.turns[r.who.n_turns++] = (es_spoken){r.transcript.segments[i].start_ms, r.transcript.segments[i].end_ms, t->said[i].speaker};
    return r;
}

/* Puts a talk into the library in this folder; e: NULL for one without passages, as older versions stored it. */
static inline void put(es_store *s, const talk *t, es_embedding *e)
{
    es_result r = result_of(t);
    es_err err = {0};
    int rc = ES_OK;

    if (e) rc = es_meaning_cut(&r.passages, &r.transcript, e, &err);
    if (e && rc == ES_OK) rc = es_meaning_vectors(&r.passages.vectors, &r.passages, e, NULL, NULL, &err);
    if (e) r.made.by[ES_STAGE_EMBEDDER] = es_embedding_maker(e);
    if (rc == ES_OK) rc = es_store_put(s, &r, &err);
    CHECK(rc == ES_OK, "%s: %s", t->path, err.text);
    es_result_done(&r);
}

static inline es_embedding *encoder(const char *model)
{
    const es_embedding_options o = {.models = at("models"), .model = model, .device = "cpu"};
    es_embedding *e = NULL;
    es_err err = {0};

    CHECK(es_embedding_open(&e, &o, &err) == ES_OK, "%s", err.text);
    return e;
}

static inline es_store *open_library(unsigned flags)
{
    es_store *s = NULL;
    es_err err = {0};

    CHECK(es_store_open(&s, at("library"), flags, &err) == ES_OK, "%s", err.text);
    return s;
}

/* Makes models/minilm.pack; false, and the test is skipped, without the model. */
static inline bool models(void)
{
    const char *source = es_test_data("models/minilm");

    if (!source) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return false;
    }
    setenv("EMBEDDING_BATCH_SIZE", "256", 1);
    CHECK_INT(mkdir(at("models"), 0755), 0);
    LINE(0, NULL, NULL, "earshot convert '%s' --name minilm -o models/minilm.pack", source);
    return true;
}

static inline void fill(bool passages)
{
    es_store *s = open_library(ES_STORE_CREATE);
    es_embedding *e = passages ? encoder(NULL) : NULL;
    es_err err = {0};

    for (size_t i = 0; s && (e || !passages) && i < COUNT(talks); i++) put(s, &talks[i], e);
    CHECK(s && es_names_refresh(s, &err) == ES_OK, "%s", err.text);
    es_embedding_close(e);
    es_store_close(s);
}

static inline bool setup(void)
{
    if (!models()) return false;
    fill(true);
    return true;
}

/* What a speaker of a talk is called in the library: numbers follow from the hashes of the recordings. */
static const char *label(const talk *t, int speaker)
{
    static char ring[4][ES_PERSON_BYTES + 1];
    static int i;
    char room[ES_PERSON_BYTES + 1];
    es_names names = {0};
    es_store *s = open_library(ES_STORE_READ_ONLY);
    es_err err = {0};

    i = (i + 1) % 4;
    CHECK(s && es_names_of(s, es_hash_bytes(t->path, strlen(t->path)), 0, &names, &err) == ES_OK, "%s", err.text);
    snprintf(ring[i], sizeof ring[i], "%s", es_speaker_label(room, &names, speaker));
    es_names_done(&names);
    es_store_close(s);
    return ring[i];
}

/* ---- what came out, as JSON ---- */

typedef struct hit {
    char path[200], speaker[100], text[2000], play[300];
    int64_t at_ms, start_ms, meaning_rank, words_rank, n_marks;
    char marked[200]; /* the marked parts, separated by | */
} hit;

static inline void read_string(char *out, size_t room, const es_json_node *n)
{
    const char *text = es_json_string(n);

    snprintf(out, room, "%s", text ? text : "");
}

static inline int64_t whole(const es_json_node *n)
{
    int64_t v = -1;

    es_json_int(n, INT64_MIN, INT64_MAX, &v);
    return v;
}

/* The hits of one JSON object; how many there are, at most room. */
static inline size_t read_hits(const char *text, size_t bytes, hit *out, size_t room)
{
    es_json *j = NULL;
    es_err err = {0};
    size_t n = 0;

    CHECK(es_json_parse(&j, text, bytes, "out", &err) == ES_OK, "%s in %.*s", err.text, (int)bytes, text);
    const es_json_node *h = j ? es_json_first(es_json_get(es_json_root(j), "hits")) : NULL;
    for (; h && n < room; h = es_json_next(h), n++) {
        hit *o = &out[n];
        *o = (hit){.at_ms = whole(es_json_get(h, "at_ms")),
                   .start_ms = whole(es_json_get(h, "start_ms")),
                   .meaning_rank = whole(es_json_get(es_json_get(h, "meaning"), "rank")),
                   .words_rank = whole(es_json_get(es_json_get(h, "words"), "rank")),
                   .n_marks = es_json_count(es_json_get(h, "marks"))};
        read_string(o->path, sizeof o->path, es_json_get(h, "path"));
        read_string(o->speaker, sizeof o->speaker, es_json_get(h, "speaker"));
        read_string(o->text, sizeof o->text, es_json_get(h, "text"));
        read_string(o->play, sizeof o->play, es_json_get(h, "play"));
        for (const es_json_node *m = es_json_first(es_json_get(h, "marks")); m; m = es_json_next(m)) {
            int64_t from = whole(es_json_first(m)), length = whole(es_json_next(es_json_first(m)));
            if (from < 0 || length < 0 || from + length > (int64_t)strlen(o->text)) continue;
            snprintf(o->marked + strlen(o->marked), sizeof o->marked - strlen(o->marked), "%.*s|", (int)length, o->text + from);
        }
    }
    es_json_close(j);
    return n;
}

static inline size_t hits_of(hit *out, size_t room)
{
    size_t bytes;
    char *text = read_file(at("stdout"), &bytes);
    size_t n = read_hits(text, bytes, out, room);

    free(text);
    return n;
}

/* Searches and checks the first hit. */
static inline void check_first(const char *options, const char *query, const char *path, const char *speaker)
{
    hit h[20];

    LINE(0, NULL, NULL, "earshot search --json -L library --models models %s '%s'", options, query);
    size_t n = hits_of(h, 20);
    CHECK(n > 0, "\"%s\" found nothing", query);
    if (!n) return;
    CHECK(!strcmp(h[0].path, path), "\"%s\" found %s first, expected %s", query, h[0].path, path);
    CHECK(!strcmp(h[0].speaker, speaker), "\"%s\" found \"%s\", expected \"%s\"", query, h[0].speaker, speaker);
}

#endif
