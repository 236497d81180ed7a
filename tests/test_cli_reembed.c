/*
 * test_cli_reembed.c - `earshot reembed` as a user runs it: another model's vectors in place of the library's, for all of it or
 * for the rest, for what older versions stored, and gone on with after it was killed.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "talks.h"

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
    LINE(0, NULL, NULL, "earshot convert '%s' --name minilm32 --dtype f32 -o models/minilm32.pack", es_test_data("models/minilm"));
}

static void another_model(void)
{
    if (!setup()) return;
    second_model();
    /* Which pack made the library's vectors is found out; another one is never compared with them. */
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    LINE(3, NULL, "reembed --embedder minilm32", "earshot search -L library --models models --embedder minilm32 x");
    LINE(2, NULL, "several packs", "earshot reembed -L library --models models");
    LINE(0, "5 recordings: 5 made anew, 0 were so already", NULL, "earshot reembed -L library --models models --embedder minilm32");
    check_said("stderr", "Embedding model minilm32 (384 dimensions");
    check_said("stderr", "Processing embedding batch: 3 total texts");
    check_said("stderr", "Embedding generation: 3 texts in ");
    check_said("stderr", " texts/sec)");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    CHECK_INT(vectors_seen, PASSAGES);
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    LINE(3, NULL, "those of minilm32", "earshot search -L library --models models --embedder minilm x");
    LINE(0, "5 recordings: 0 made anew, 5 were so already", NULL, "earshot reembed -L library --models models --embedder minilm32");
    LINE(0, NULL, NULL, "earshot check -L library");
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
    check_said("stderr", "1 of 6 recordings are found by their words alone; `earshot reembed`");
    hit h[20];
    LINE(0, NULL, NULL, "earshot search --json -L library --models models --mode meaning --in loaf.mp3 yeast");
    CHECK_INT(hits_of(h, 20), 0);
    LINE(0, NULL, NULL, "earshot search --json -L library --models models --in loaf.mp3 yeast");
    CHECK_INT(hits_of(h, 20), 1);
    LINE(1, NULL, "reembed", "earshot similar -L library loaf.mp3@0:02");
    LINE(0, "6 recordings: 1 made anew, 5 were so already", NULL, "earshot reembed -L library --models models --embedder minilm");
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
    LINE(0, "telephone call.mkv", "reembed", "earshot search -L library --models models Yankee");
    LINE(0, "5 recordings: 5 made anew", NULL, "earshot reembed -L library --models models");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    CHECK_INT(vectors_seen, PASSAGES);
    check_first("", "shipwreck rescue", "/media/news/harbour.ogg", label(&talks[HARBOUR], 0));
    LINE(0, NULL, NULL, "earshot check -L library");
    /* One of the first schema, which has no index either. */
    hit h[10];
    LINE(0, NULL, NULL, "mkdir first && cp '%s' first/data.mdb", es_test_golden("library-1/data.mdb"));
    LINE(3, NULL, "`earshot reembed` brings it up to date", "earshot search -L first --mode words said");
    LINE(0, "3 recordings: 2 made anew, 1 were so already", NULL, "earshot reembed -L first --models models");
    LINE(0, NULL, NULL, "earshot search --json -L first --mode words said");
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
        const char *argv[] = {program_path(), "reembed", "-q", "-L", at("library"), "--models", at("models"), "--embedder", "minilm32",
                              "--device", "cpu", NULL};
        pid_t child = program_start(NULL, argv);
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
    LINE(0, NULL, NULL, "earshot reembed -L library --models models --embedder minilm32");
    count_spaces();
    CHECK_INT(spaces_seen, 1);
    LINE(0, NULL, NULL, "earshot check -L library");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"another_model", another_model},
        {"two_models", two_models},
        {"older_library", older_library},
        {"killed", killed},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
