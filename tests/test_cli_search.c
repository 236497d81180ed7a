/*
 * test_cli_search.c - `earshot search`, `similar` and `reembed` as a user runs them, on a library made of what is said in the
 * demo's recordings, with the real MiniLM.
 *
 * The library is put together by hand, with times and speakers that are known, so that every hit can be checked: the five
 * sentences from "Sense and Sensibility" and the telephone call of the demo, and others beside them that must not be found.
 */
#define _GNU_SOURCE
#include "test.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "pipeline/search/meaning.h"
#include "pipeline/speakers/names.h"
#include "store/find.h"

#ifndef ES_BINARY_DIR
#error "the folder of the build must be known"
#endif

static const char *folder; /* of the running test */

static const char *at(const char *name) /* a path in the test's folder, in a ring */
{
    static char ring[16][4400];
    static int i;

    i = (i + 1) % 16;
    snprintf(ring[i], sizeof ring[i], "%s/%s", folder, name);
    return ring[i];
}

static char *slurp(const char *name, size_t *n)
{
    FILE *f = fopen(at(name), "rb");
    struct stat st = {0};
    char *text = NULL;
    size_t got = 0;

    if (f && fstat(fileno(f), &st) == 0 && (text = calloc(1, (size_t)st.st_size + 1))) got = fread(text, 1, (size_t)st.st_size, f);
    if (f) fclose(f);
    if (n) *n = got;
    return text ? text : calloc(1, 1);
}

static void write_file(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(at(name), "wb");

    CHECK(f && fwrite(text, 1, n, f) == n, "cannot write %s", name);
    if (f) fclose(f);
}

/* Runs "earshot ..." by the shell in the test's folder; what it says goes to out and err there. The exit code. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
    char words[3000], line[10000];
    va_list ap;

    va_start(ap, format);
    vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    snprintf(line, sizeof line,
             "cd '%s' && TZ=UTC XDG_DATA_HOME='%s/data' EMBEDDING_DEVICE=cpu EMBEDDING_BATCH_SIZE=256 '%s/earshot' %s >out 2>err",
             folder, folder, ES_BINARY_DIR, words);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect(const char *file, int line, int code, int want, const char *in_err)
{
    char *err = slurp("err", NULL);

    if (code != want) es_test_fail(file, line, "it ended with %d, expected %d; it said: %s", code, want, err);
    if (in_err && !strstr(err, in_err)) es_test_fail(file, line, "\"%s\" is not in its complaint: %s", in_err, err);
    if (strstr(err, "AddressSanitizer") || strstr(err, "runtime error")) es_test_fail(file, line, "%s", err);
    free(err);
}
#define RUN(want, in_err, ...) expect(__FILE__, __LINE__, run(__VA_ARGS__), want, in_err)

static void check_says(const char *name, const char *text)
{
    char *out = slurp(name, NULL);

    CHECK(strstr(out, text), "\"%s\" is not in what it said: %s", text, out);
    free(out);
}

/* ---- the library ---- */

typedef struct said {
    int64_t start_ms;
    int speaker;
    const char *text; /* words with a blank before each */
} said;

/* 250 ms a word; a segment each. */
static void add_said(es_transcript *t, const said *s, const char *language)
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

static es_result result_of(const talk *t)
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
static void put(es_store *s, const talk *t, es_embedding *e)
{
    es_result r = result_of(t);
    es_err err = {0};
    int rc = ES_OK;

    if (e) rc = es_meaning_cut(&r.passages, &r.transcript, e, &err);
    if (e && rc == ES_OK) rc = es_meaning_vectors(&r.passages.vectors, &r.passages, e, &err);
    if (e) r.made.by[ES_STAGE_EMBEDDER] = es_embedding_maker(e);
    if (rc == ES_OK) rc = es_store_put(s, &r, &err);
    CHECK(rc == ES_OK, "%s: %s", t->path, err.text);
    es_result_done(&r);
}

static es_embedding *encoder(const char *model)
{
    const es_embedding_options o = {.models = at("models"), .model = model, .device = "cpu"};
    es_embedding *e = NULL;
    es_err err = {0};

    CHECK(es_embedding_open(&e, &o, &err) == ES_OK, "%s", err.text);
    return e;
}

static es_store *open_library(unsigned flags)
{
    es_store *s = NULL;
    es_err err = {0};

    CHECK(es_store_open(&s, at("library"), flags, &err) == ES_OK, "%s", err.text);
    return s;
}

/* Makes models/minilm.pack; false, and the test is skipped, without the model. */
static bool models(void)
{
    const char *source = es_test_data("models/minilm");

    folder = es_test_folder();
    if (!source) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return false;
    }
    CHECK_INT(mkdir(at("models"), 0755), 0);
    RUN(0, NULL, "convert '%s' --name minilm -o models/minilm.pack", source);
    return true;
}

static void fill(bool passages)
{
    es_store *s = open_library(ES_STORE_CREATE);
    es_embedding *e = passages ? encoder(NULL) : NULL;
    es_err err = {0};

    for (size_t i = 0; s && (e || !passages) && i < COUNT(talks); i++) put(s, &talks[i], e);
    CHECK(s && es_names_refresh(s, &err) == ES_OK, "%s", err.text);
    es_embedding_close(e);
    es_store_close(s);
}

static bool setup(void)
{
    if (!models()) return false;
    fill(true);
    return true;
}

/* ---- what came out, as JSON ---- */

typedef struct hit {
    char path[200], speaker[100], text[2000], play[300];
    int64_t at_ms, start_ms, meaning_rank, words_rank, n_marks;
    char marked[200]; /* the marked parts, separated by | */
} hit;

static void read_string(char *out, size_t room, const es_json_node *n)
{
    const char *text = es_json_string(n);

    snprintf(out, room, "%s", text ? text : "");
}

static int64_t whole(const es_json_node *n)
{
    int64_t v = -1;

    es_json_int(n, INT64_MIN, INT64_MAX, &v);
    return v;
}

/* The hits of one JSON object; how many there are, at most room. */
static size_t read_hits(const char *text, size_t bytes, hit *out, size_t room)
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

static size_t hits_of(hit *out, size_t room)
{
    size_t bytes;
    char *text = slurp("out", &bytes);
    size_t n = read_hits(text, bytes, out, room);

    free(text);
    return n;
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

/* Searches and checks the first hit. */
static void check_first(const char *options, const char *query, const char *path, const char *speaker)
{
    hit h[20];

    RUN(0, NULL, "search --json -L library --models models %s '%s'", options, query);
    size_t n = hits_of(h, 20);
    CHECK(n > 0, "\"%s\" found nothing", query);
    if (!n) return;
    CHECK(!strcmp(h[0].path, path), "\"%s\" found %s first, expected %s", query, h[0].path, path);
    CHECK(!strcmp(h[0].speaker, speaker), "\"%s\" found \"%s\", expected \"%s\"", query, h[0].speaker, speaker);
}

/* ---- meaning ---- */

static void next_word(const char **p, char *out, size_t room)
{
    size_t n = 0;

    while (**p && !isalnum((unsigned char)**p)) (*p)++;
    for (; isalnum((unsigned char)**p); (*p)++)
        if (n + 1 < room) out[n++] = (char)tolower((unsigned char)**p);
    out[n] = 0;
}

static bool share_a_word(const char *a, const char *b)
{
    char x[64], y[64];

    for (const char *p = a; next_word(&p, x, sizeof x), *x;)
        for (const char *q = b; next_word(&q, y, sizeof y), *y;)
            if (!strcmp(x, y)) return true;
    return false;
}

static void no_word_in_common(void)
{
    static const struct {
        const char *query, *path, *begins;
        int64_t start_ms;
    } asked[] = {
        {"egoist husband, unkind wife", "/media/books/Sense and Sensibility.mp4", "And Mr. John", 0},
        {"Dallas or Houston", "/media/calls/telephone call.mkv", "Hello? Neither", 7634},
        {"nickname for northerners", "/media/calls/telephone call.mkv", "Hello? Neither", 7634},
        {"surprised by some sound on the line", "/media/calls/telephone call.mkv", "Hello? Oh", 6680},
        {"kitchen instructions", "/media/kitchen/bread.mp3", "Mix the", 1000},
        {"shipwreck rescue", "/media/news/harbour.ogg", "The storm", 0},
    };
    hit h[10];

    if (!setup()) return;
    for (size_t i = 0; i < COUNT(asked); i++) {
        RUN(0, NULL, "search --json -L library --models models '%s'", asked[i].query);
        CHECK(hits_of(h, 10) == PASSAGES, "\"%s\" does not rank all passages", asked[i].query);
        CHECK(!share_a_word(asked[i].query, h[0].text), "\"%s\" shares a word with: %s", asked[i].query, h[0].text);
        CHECK(!strcmp(h[0].path, asked[i].path) && !strncmp(h[0].text, asked[i].begins, strlen(asked[i].begins)),
              "\"%s\" found %s first: %s", asked[i].query, h[0].path, h[0].text);
        CHECK_INT(h[0].at_ms, asked[i].start_ms);
        CHECK_INT(h[0].meaning_rank, 1);
        CHECK_INT(h[0].n_marks, 0);
    }
}

static void by_words(void)
{
    hit h[10];

    if (!setup()) return;
    check_first("--mode words", "Yankee", "/media/calls/telephone call.mkv", label(&talks[TELEPHONE], 1));
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].marked, "Yankee|");
    CHECK_INT(h[0].meaning_rank, -1);
    CHECK_INT(h[0].words_rank, 1);
    CHECK_INT(h[0].start_ms, 7634);
    CHECK_INT(h[0].at_ms, 24058); /* where the sentence with the word begins */
    CHECK_STR(h[0].play, "mpv --start=24 '/media/calls/telephone call.mkv'");
    /* Stems, phrases, beginnings. */
    check_first("--mode words", "marrying", "/media/books/Sense and Sensibility.mp4", "");
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].marked, "married|");
    CHECK_INT(h[0].at_ms, 16000);
    check_first("--mode words", "\"oven door\"", "/media/kitchen/bread.mp3", label(&talks[BREAD], 0));
    RUN(0, "nothing was found", "search -L library --mode words '\"door oven\"'");
    RUN(0, NULL, "search --json -L library --mode words 'helicop*'");
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].path, "/media/news/harbour.ogg");
    /* Fused, a name that is only in one place is first, and found both ways. */
    check_first("", "Dashwood", "/media/books/Sense and Sensibility.mp4", "");
    hits_of(h, 10);
    CHECK_INT(h[0].words_rank, 1);
}

/* ---- filters ---- */

static size_t found_in(const char *options, const char *path)
{
    hit h[20];

    RUN(0, NULL, "search --json -L library --models models %s 'what is said'", options);
    size_t n = hits_of(h, 20);
    for (size_t i = 0; i < n; i++) CHECK(!strncmp(h[i].path, path, strlen(path)), "%s found %s", options, h[i].path);
    return n;
}

static void filters(void)
{
    hit h[20];

    if (!setup()) return;
    CHECK_INT(found_in("", "/media/"), PASSAGES);
    CHECK_INT(found_in("-k 2", "/media/"), 2);
    CHECK_INT(found_in("--in /media/news", "/media/news/"), 2);
    CHECK_INT(found_in("--in /media/news/", "/media/news/"), 2);
    CHECK_INT(found_in("--in bread.mp3", "/media/kitchen/bread.mp3"), 1);
    CHECK_INT(found_in("--lang de", "/media/news/it's"), 1);
    CHECK_INT(found_in("--lang German", "/media/news/it's"), 1);
    CHECK_INT(found_in("--after 0:05", "/media/calls"), 3); /* passages that begin at 6.7, 7.6 and 29.1 s */
    CHECK_INT(found_in("--after 7 --before 0:29", "/media/calls"), 1);
    CHECK_INT(found_in("--before 0:00.5", "/media/"), 3);
    CHECK_INT(found_in("--after 2026-05-01", "/media/news/"), 2);
    CHECK_INT(found_in("--after 2026-05-02", "/media/news/it's"), 1);
    CHECK_INT(found_in("--before 2025-07", "/media/books"), 1);
    CHECK_INT(found_in("--after 2025-07 --before 2026-01-01", "/media/calls"), 3);
    RUN(0, NULL, "search --json -L library --models models --speaker '%s' 'what is said'", label(&talks[TELEPHONE], 1));
    CHECK_INT(hits_of(h, 20), 1);
    CHECK(!strncmp(h[0].text, "Hello? Neither did I.", 21), "the second speaker said: %s", h[0].text);
    /* What is not there is refused with what comes near. */
    RUN(1, "did you mean \"bread.mp3\"", "search -L library --models models --in bred.mp3 x");
    RUN(1, "nowhere.mp4", "search -L library --models models --in nowhere.mp4 x");
    RUN(1, "did you mean \"Speaker", "search -L library --models models --speaker 'Speeker 2' x");
    RUN(1, "Zacharias", "search -L library --models models --speaker Zacharias x");
    RUN(2, "--after takes a time", "search -L library --models models --after yesterday x");
    RUN(2, "2026-13-01", "search -L library --models models --before 2026-13-01 x");
    RUN(2, "no language", "search -L library --models models --lang Klingon x");
    RUN(2, "-k takes a whole number", "search -L library -k 0 x");
    RUN(2, "--mode takes", "search -L library --mode luck x");
}

/* ---- what a person sees ---- */

static void for_people(void)
{
    if (!setup()) return;
    char head[200];
    RUN(0, NULL, "search -L library --models models -k 1 Yankee");
    snprintf(head, sizeof head, " 1  telephone call.mkv  0:24.1  %s\n", label(&talks[TELEPHONE], 1));
    check_says("out", head);
    check_says("out", "Yankee down here");
    check_says("out", "\n    mpv --start=24 '/media/calls/telephone call.mkv'\n");
    char *out = slurp("out", NULL);
    CHECK(!strchr(out, 27), "it colours what is no terminal: %s", out);
    free(out);
    /* A name that would steer the terminal, and quotes in it. */
    RUN(0, NULL, "search -L library --models models --lang de Verspätung");
    out = slurp("out", NULL);
    CHECK(!strchr(out, 27), "an escape came out: %s", out);
    CHECK(strstr(out, "it's \\x1B[31mlate.wav"), "the name is not shown: %s", out);
    CHECK(strstr(out, "mpv --start=0 $'/media/news/it\\'s \\033[31mlate.wav'"), "the line is not quoted: %s", out);
    free(out);
    RUN(0, NULL, "help search");
    check_says("out", "--speaker");
    RUN(0, NULL, "help --man");
    check_says("out", "reembed");
}

static void queries_by_line(void)
{
    hit h[10];
    size_t bytes, n = 0;

    if (!setup()) return;
    write_file("queries", "Yankee\n\nhelicopter\r\n", 20);
    RUN(0, NULL, "search --json -L library --mode words <queries");
    char *text = slurp("out", &bytes);
    for (char *p = text, *end; (end = strstr(p, "]}\n")); p = end + 3, n++) {
        CHECK_INT(read_hits(p, (size_t)(end + 2 - p), h, 10), 1);
        CHECK_STR(h[0].marked, n ? "helicopter|" : "Yankee|");
    }
    CHECK_INT(n, 2);
    free(text);
    RUN(0, NULL, "search -L library --mode words <queries");
    check_says("out", "? helicopter\n 1  harbour.ogg");
}

static void similar(void)
{
    hit h[10];

    if (!setup()) return;
    RUN(0, NULL, "similar --json -L library 'telephone call.mkv@0:09'");
    CHECK_INT(hits_of(h, 10), PASSAGES - 1); /* all but itself */
    CHECK(!strcmp(h[0].path, "/media/calls/telephone call.mkv"), "the other side of the call is not first but %s", h[0].path);
    RUN(0, NULL, "similar --json -L library 'telephone call.mkv@0:09' --in /media/news -k 1");
    CHECK_INT(hits_of(h, 10), 1);
    RUN(2, "FILE@12:34", "similar -L library 'telephone call.mkv'");
    RUN(1, "nobody.mp4", "similar -L library nobody.mp4@0:01");
    RUN(2, "soon", "similar -L library bread.mp3@soon");
}

/* ---- bad input ---- */

/* Any query ends well, by meaning and by words, and as JSON that is JSON. */
static void check_query(const char *name, const char *text, size_t n)
{
    hit h[10];
    size_t bytes;

    write_file("query", text, n);
    int code = run("search --json -L library --models models <query");
    char *err = slurp("err", NULL), *out = slurp("out", &bytes);
    CHECK(code == 0 && !strstr(err, "AddressSanitizer") && !strstr(err, "runtime error"), "%s: it ended with %d and said: %s", name, code, err);
    if (bytes) read_hits(out, bytes, h, 10);
    free(err);
    free(out);
}

static void any_query(void)
{
    enum { MEGABYTE = 1000000, MARKS = 10000 };
    char *big = malloc(MEGABYTE);

    if (!setup()) {
        free(big);
        return;
    }
    RUN(2, "the query is empty", "search -L library --models models ''");
    RUN(2, "the query is empty", "search -L library --models models ' '");
    check_query("nothing", "", 0);
    check_query("a blank line", "\n", 1);
    check_query("NUL bytes", "a\0b\0\0", 5);
    check_query("broken UTF-8", "\xFF\xC3 \xE2\x82 storm \xF0\x9F", 14);
    check_query("quotes that stay open", "\"the storm", 10);
    check_query("signs", "*** \"\" ** ?! -", 14);
    memset(big, 'x', MEGABYTE);
    check_query("1 MB without a blank", big, MEGABYTE);
    for (size_t i = 0; i < MEGABYTE / 2; i++) memcpy(big + 2 * i, "x ", 2);
    check_query("500,000 words", big, MEGABYTE);
    for (size_t i = 0; i < MARKS; i++) memcpy(big + 2 * i, "\xCC\x81", 2);
    check_query("10,000 combining marks", big, 2 * MARKS);
    free(big);
}

static void empty_and_missing(void)
{
    if (!models()) return;
    RUN(3, "library", "search -L library --models models x");
    es_store_close(open_library(ES_STORE_CREATE));
    RUN(0, "holds no recordings yet", "search -L library --models models x");
    RUN(0, "holds no recordings yet", "search -L library --models nowhere x");
    RUN(0, NULL, "search --json -L library --models models x");
    check_says("out", "\"hits\": []");
    /* Without the encoder's pack: words alone, said once; by meaning, not at all. */
    fill(true);
    RUN(0, "words alone are searched", "search -L library --models nowhere Yankee");
    check_says("err", "minilm");
    check_says("out", "telephone call.mkv");
    RUN(3, "minilm", "search -L library --models nowhere --mode meaning Yankee");
    /* The notes of a batch are none of a question's. */
    RUN(0, NULL, "search -L library --models models Yankee");
    char *err = slurp("err", NULL);
    CHECK(!*err, "it said: %s", err);
    free(err);
}

/* ---- another model ---- */

static size_t spaces_seen;
static uint64_t vectors_seen;

static int note_space(void *user, const es_text_space *space)
{
    (void)user;
    spaces_seen++;
    vectors_seen += space->n_vectors;
    return 0;
}

static void count_spaces(void)
{
    es_store *s = open_library(ES_STORE_READ_ONLY);
    es_err err = {0};

    spaces_seen = 0, vectors_seen = 0;
    CHECK(s && es_store_spaces(s, note_space, NULL, &err) == ES_OK, "%s", err.text);
    es_store_close(s);
}

/* The same model with its matrices as f32: other numbers, and so another space. */
static void second_model(void)
{
    RUN(0, NULL, "convert '%s' --name minilm32 --dtype f32 -o models/minilm32.pack", es_test_data("models/minilm"));
}

static void another_model(void)
{
    hit h[10];

    if (!setup()) return;
    second_model();
    /* Which pack made the library's vectors is found out; another one is never compared with them. */
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    RUN(3, "reembed --embedder minilm32", "search -L library --models models --embedder minilm32 x");
    RUN(2, "several packs", "reembed -L library --models models");
    RUN(0, NULL, "reembed -L library --models models --embedder minilm32");
    check_says("out", "5 recordings: 5 made anew, 0 were so already");
    check_says("err", "Embedding model minilm32 (384 dimensions");
    check_says("err", "Processing embedding batch: 3 total texts");
    check_says("err", "Embedding generation: 3 texts in ");
    check_says("err", " texts/sec)");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    CHECK_INT(vectors_seen, PASSAGES);
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    RUN(3, "those of minilm32", "search -L library --models models --embedder minilm x");
    RUN(0, NULL, "reembed -L library --models models --embedder minilm32");
    check_says("out", "5 recordings: 0 made anew, 5 were so already");
    RUN(0, NULL, "check -L library");
    (void)h;
}

/* A recording that another encoder was at work on: found by its words, and that is said. */
static void two_models(void)
{
    if (!setup()) return;
    second_model();
    es_store *s = open_library(0);
    es_embedding *e = encoder("minilm32");
    talk t = talks[BREAD];
    t.path = "/media/more/loaf.mp3";
    if (s && e) put(s, &t, e);
    es_embedding_close(e);
    es_store_close(s);
    count_spaces();
    CHECK_INT(spaces_seen, 2);
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    check_says("err", "1 of 6 recordings are found by their words alone; `earshot reembed`");
    hit h[20];
    RUN(0, NULL, "search --json -L library --models models --mode meaning --in loaf.mp3 yeast");
    CHECK_INT(hits_of(h, 20), 0);
    RUN(0, NULL, "search --json -L library --models models --in loaf.mp3 yeast");
    CHECK_INT(hits_of(h, 20), 1);
    RUN(1, "reembed", "similar -L library loaf.mp3@0:02");
    RUN(0, NULL, "reembed -L library --models models --embedder minilm");
    check_says("out", "6 recordings: 1 made anew, 5 were so already");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    CHECK_INT(vectors_seen, PASSAGES + 1);
}

/* What an older version stored has no passages: words are found in its segments, meaning after reembed. */
static void older_library(void)
{
    if (!models()) return;
    fill(false);
    count_spaces();
    CHECK_INT(spaces_seen, 0);
    RUN(0, "reembed", "search -L library --models models Yankee");
    check_says("out", "telephone call.mkv");
    RUN(0, NULL, "reembed -L library --models models");
    check_says("out", "5 recordings: 5 made anew");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    CHECK_INT(vectors_seen, PASSAGES);
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    RUN(0, NULL, "check -L library");
    /* One of the first schema, which has no index either. */
    hit h[10];
    CHECK_INT(mkdir(at("first"), 0755), 0);
    char line[9000];
    snprintf(line, sizeof line, "cp '%s' '%s'", es_test_golden("library-1/data.mdb"), at("first/data.mdb"));
    CHECK_INT(system(line), 0);
    RUN(3, "`earshot reembed` brings it up to date", "search -L first --mode words said");
    RUN(0, NULL, "reembed -L first --models models");
    check_says("out", "3 recordings: 2 made anew, 1 were so already");
    RUN(0, NULL, "search --json -L first --mode words said");
    CHECK_INT(hits_of(h, 10), 1);
    CHECK_STR(h[0].marked, "said|");
}

/* Killed at any moment, reembed goes on where it was, search works between, and the end is the same. */
static void killed(void)
{
    int kills = 0;

    if (!setup()) return;
    second_model();
    es_store *s = open_library(0);
    es_embedding *e = encoder("minilm");
    for (int i = 0; s && e && i < 40; i++) { /* more of the same, under other names */
        char path[64];
        talk t = talks[i % 3];
        snprintf(path, sizeof path, "/media/more/%d.mp4", i);
        t.path = path;
        put(s, &t, e);
    }
    es_embedding_close(e);
    es_store_close(s);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0) {
            char program[4200];
            snprintf(program, sizeof program, "%s/earshot", ES_BINARY_DIR);
            if (chdir(folder) == 0)
                execl(program, "earshot", "reembed", "-q", "-L", "library", "--models", "models", "--embedder", "minilm32", "--device", "cpu",
                      (char *)NULL);
            _exit(127);
        }
        struct timespec pause = {.tv_nsec = 150000000 + 20000000L * (round % 5) + 10000000L * (round / 5)};
        nanosleep(&pause, NULL);
        int status = 0;
        if (waitpid(child, &status, WNOHANG) == child) {
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "reembed ended with %d", status);
            break;
        }
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        kills++;
        if (kills == 2) check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    }
    CHECK(kills > 0, "it was done before it could be killed");
    RUN(0, NULL, "reembed -L library --models models --embedder minilm32");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    RUN(0, NULL, "check -L library");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"no_word_in_common", no_word_in_common},
        {"by_words", by_words},
        {"filters", filters},
        {"for_people", for_people},
        {"queries_by_line", queries_by_line},
        {"similar", similar},
        {"any_query", any_query},
        {"empty_and_missing", empty_and_missing},
        {"another_model", another_model},
        {"two_models", two_models},
        {"older_library", older_library},
        {"killed", killed},
    };
    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
