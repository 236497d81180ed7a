/*
 * test_cli_ingest.c - `earshot ingest` on recordings of every kind: bad media, which are named and stop no good one, odd sound,
 * odd names, folders, and several recordings side by side.
 */
#define _GNU_SOURCE
#include "ingest.h"

/* ---- bad media: each is said, none stops the good one, and the library stays whole ---- */

static void refuse(const char *path, const char *sentence)
{
    ended e = RUN(INGEST, path, at("good.wav"));

    CHECK(count_in(e.err, sentence) >= 1, "\"%s\" is not said of %s: %s", sentence, path, e.err);
    ENDED(&e, 1, "good.wav", "1 of 2 files failed");
    check_whole(at("lib"));
    EXPECT(0, "1 recording,", NULL, "list", "-L", at("lib"));
    check_nothing_left(at("lib"));
}

static void test_bad_files(void)
{
    static const char playlist[] = "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:5,\n";
    char text[9000];

    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    refuse(at("missing.mp4"), "no such file or folder");
    mkdir(at("empty folder"), 0755);
    refuse(at("empty folder"), "nothing with a known media ending");
    mkdir(at("papers"), 0755);
    write_file(at("papers/notes.txt"), "words", 5);
    refuse(at("papers"), "nothing with a known media ending");
    write_file(at("text.mp4"), "This is no film, only a text about one.\n", 40);
    refuse(at("text.mp4"), "text.mp4: ");
    write_file(at("zero.mp3"), "", 0);
    refuse(at("zero.mp3"), "0 bytes");
    snprintf(text, sizeof text, "%s%s\n", playlist, at("good.wav"));
    write_file(at("hls.mp4"), text, strlen(text));
    refuse(at("hls.mp4"), "playlist");
    CHECK(mkfifo(at("pipe.wav"), 0644) == 0, "no pipe");
    refuse(at("pipe.wav"), "pipe.wav: ");
}

static void test_bad_video(void)
{
    setup();
    wav("good.wav", NOISE, 1, 16000, 1);
    wav("noise.wav", NOISE, 20, 16000, 1);
    if (!ffmpeg("-f lavfi -i testsrc2=size=64x64:rate=5 -t 1 -pix_fmt yuv420p silent.mp4")) return;
    refuse(at("silent.mp4"), "has no sound");
    if (!ffmpeg("-i noise.wav -f lavfi -i testsrc2=size=64x64:rate=5 -t 20 -c:v mpeg4 -c:a aac -movflags +faststart "
                "whole.mp4"))
        return;
    struct stat st;
    CHECK(stat(at("whole.mp4"), &st) == 0 && truncate(at("whole.mp4"), st.st_size / 2) == 0, "cannot cut a file");
    ended e = RUN(INGEST, at("whole.mp4"));
    CHECK(strstr(e.err, "the file ends early"), "nothing is said of a cut file: %s", e.err);
    ENDED(&e, 0, "whole.mp4: ", NULL);
    check_whole(at("lib"));
    /* Two sound tracks: the first, or the one that is asked for; the third is not there. */
    if (!ffmpeg("-i noise.wav -i good.wav -map 0 -map 1 -c:a flac two.mkv")) return;
    EXPECT(0, "0:20.0 of sound", NULL, INGEST, at("two.mkv"));
    EXPECT(0, "0:01.0 of sound", NULL, INGEST, "--track", "1", at("two.mkv"));
    EXPECT(1, NULL, "has 2 audio tracks", INGEST, "--track", "2", at("two.mkv"));
    EXPECT(0, "(track 1)", NULL, "list", "-L", at("lib"));
    check_whole(at("lib"));
}

/* ---- sound and names that are odd, and good ---- */

static void test_odd_sound(void)
{
    char name[64];

    setup();
    EXPECT(0, "0:00.1 of sound", NULL, INGEST, wav("short.wav", NOISE, 0.05, 16000, 1));
    EXPECT(0, "0 words, 1:00:00.0 of sound", NULL, INGEST, wav("silence.wav", SILENCE, 3600, 8000, 1));
    EXPECT(0, "not a number.wav: ", NULL, INGEST, wav("not a number.wav", NANS, 3, 16000, 1));
    for (int channels = 1; channels <= 8; channels++) {
        snprintf(name, sizeof name, "%d channels.wav", channels);
        EXPECT(0, "0:01.0 of sound", NULL, INGEST, "--words", "off", wav(name, NOISE, 1, 16000, channels));
    }
    static const int rate[] = {8000, 11025, 22050, 44100, 48000, 96000, 192000};
    for (size_t i = 0; i < sizeof rate / sizeof rate[0]; i++) {
        snprintf(name, sizeof name, "%d Hz.wav", rate[i]);
        EXPECT(0, "0:01.0 of sound", NULL, INGEST, "--words", "off", wav(name, NOISE, 1, rate[i], 2));
    }
    check_whole(at("lib"));
    check_nothing_left(at("lib"));
}

static void test_odd_names(void)
{
    static const char *const name[] = {
        "with blank.wav",    "it's \"quoted\".wav", "two\nlines.wav", "\xc3\xa4\xe8\xaa\x9e.wav",
        "bell\a\033[1m.wav", "broken\xff.wav",      "-dash.wav"};

    setup();
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++) {
        wav(name[i], NOISE, 1 + 0.1 * (double)i, 16000, 1);
        ended e = RUN(INGEST, at(name[i]));
        CHECK(!strchr(e.out, '\a') && !strchr(e.out, '\033') && !strchr(e.err, '\033'),
              "a control character was printed");
        CHECK_INT(count_in(e.out, "\n"), 1);
        ENDED(&e, 0, "of sound", NULL);
        EXPECT(0, "0:01.", NULL, "show", "-L", at("lib"), at(name[i]));
    }
    ended list = RUN("list", "-L", at("lib"));
    CHECK_INT(count_in(list.out, "\n"), 8);
    CHECK(strstr(list.out, "two\\x0Alines.wav"), "%s", list.out);
    CHECK(strstr(list.out, "\xc3\xa4\xe8\xaa\x9e.wav"), "%s", list.out);
    ENDED(&list, 0, "7 recordings", NULL);
    EXPECT(0, "broken\xef\xbf\xbd.wav", NULL, "export", "-L", at("lib"), "-f", "json", "-o", "-", at("broken\xff.wav"));
    ended all = RUN("export", "-L", at("lib"), "-o", at("out"));
    CHECK_INT(count_in(all.out, ".srt\n"), 7);
    ENDED(&all, 0, NULL, NULL);
    CHECK(access(at("out/with blank.srt"), R_OK) == 0 && access(at("out/it's \"quoted\".srt"), R_OK) == 0 &&
              access(at("out/two_lines.srt"), R_OK) == 0 && access(at("out/-dash.srt"), R_OK) == 0,
          "not every recording was exported");
    check_whole(at("lib"));
}

/* A folder with a link to itself, a hidden file, a cover and a film two levels down. */
static void test_folders(void)
{
    setup();
    mkdir(at("tree"), 0755), mkdir(at("tree/deep"), 0755), mkdir(at("tree/deep/er"), 0755);
    wav("tree/b.wav", NOISE, 1, 16000, 1);
    wav("tree/deep/er/a.wav", NOISE, 1.5, 16000, 1);
    wav("tree/.hidden.wav", NOISE, 2, 16000, 1);
    write_file(at("tree/cover.jpg"), "no picture", 10);
    CHECK(symlink("..", at("tree/deep/loop")) == 0 && symlink("gone", at("tree/dangling.wav")) == 0, "no links");
    ended e = RUN(INGEST, at("tree"), at("tree/deep"), at("tree"));
    CHECK(strstr(e.out, "b.wav") < strstr(e.out, "a.wav"), "names are not in the order of their bytes: %s", e.out);
    ENDED(&e, 0, "2 files: 2 stored, 0 known, 0 failed", NULL);
}

/* Recordings that go side by side say what each says alone; a copy of one of them waits and is known; one that breaks off
 * touches no other. */
static void test_side_by_side(void)
{
    static const char *const name[] = {"side/a.wav", "side/b.wav", "side/c.wav"};

    setup();
    mkdir(at("side"), 0755);
    for (int i = 0; i < 3; i++) wav(name[i], NOISE, 1.5 + i, 16000, 1);
    wav("side/copy.wav", NOISE, 1.5, 16000, 1);
    FILE *f = fopen(at("side/broken.wav"), "wb");
    fputs("no sound", f);
    fclose(f);
    EXPECT(1, "5 files: 3 stored, 1 known, 1 failed", "broken.wav", INGEST, at("side"));
    check_whole(at("lib"));
    check_nothing_left(at("lib"));
    for (int i = 0; i < 3; i++) {
        EXPECT(0, NULL, NULL, INGEST_INTO(at("alone")), "--quiet", at(name[i]));
        ended together = RUN("show", "-L", at("lib"), at(name[i]), "--json");
        ended alone = RUN("show", "-L", at("alone"), at(name[i]), "--json");
        CHECK(together.code == 0 && strlen(together.out) > 100 && !strcmp(together.out, alone.out), "%s: %s beside others, %s alone",
              name[i], together.out, alone.out);
        ENDED(&together, 0, NULL, NULL);
        ENDED(&alone, 0, NULL, NULL);
    }
    /* One after the other is another setting, and says so. */
    EXPECT(0, "windows was batched, now sequential", NULL, INGEST, "--sequential", at(name[0]));
    EXPECT(0, "word", NULL, INGEST, "--sequential", "--again", at(name[0]));
    EXPECT(0, "windows was sequential, now batched", NULL, INGEST, at(name[0]));
}

/* ---- --again, with and without a stage ---- */

static void test_again(void)
{
    setup();
    wav("talk.wav", NOISE, 2, 16000, 1);
    wav("words", NOISE, 1, 16000, 1);
    wav("word", NOISE, 1.5, 16000, 1);
    EXPECT(0, "of sound", "it is not in the library yet: everything is made", INGEST, "--again", "words", at("talk.wav"));
    EXPECT(0, "of sound", NULL, INGEST, at("talk.wav"), "--again=words");
    EXPECT(0, "known\n", NULL, INGEST, at("talk.wav"));
    /* What is no stage is a file, and so is one behind a folder, or behind a stage. */
    LINE(0, "./words: ", NULL, "earshot ingest -L lib --models models --device cpu --temperature 0 --again ./words");
    LINE(0, "word: ", NULL, "earshot ingest -L lib --models models --device cpu --temperature 0 --again word");
    LINE(0, "words: ", NULL, "earshot ingest -L lib --models models --device cpu --temperature 0 --again words words");
    LINE(2, NULL, "ingest needs PATH", "earshot ingest -L lib --models models --again words");
    EXPECT(2, NULL, "--again takes words|speakers|meaning, not word", INGEST, "--again=word", at("talk.wav"));
    EXPECT(2, NULL, "--again takes words|speakers|meaning", INGEST, "--again=", at("talk.wav"));
    /* The last one counts; alone it is everything. */
    EXPECT(0, "of sound", NULL, INGEST, "--again", "speakers", "--again", at("talk.wav"));
    /* Stages without a pack. */
    ended before = RUN("show", "-L", at("lib"), at("talk.wav"), "--json");
    ended e = RUN(INGEST, "--again", "speakers", at("talk.wav"));
    CHECK(e.code != 0 && strstr(e.err, "there is no pack that finds who speaks when"), "%d: %s", e.code, e.err);
    ended_done(&e);
    e = RUN(INGEST, "--again", "meaning", at("talk.wav"));
    CHECK(e.code != 0 && strstr(e.err, "there is no pack of a text encoder"), "%d: %s", e.code, e.err);
    ended_done(&e);
    EXPECT(0, "of sound", NULL, INGEST, "--again", "meaning", "--embedder", "none", at("talk.wav"));
    ended after = RUN("show", "-L", at("lib"), at("talk.wav"), "--json");
    CHECK(!strcmp(before.out, after.out), "%s, before %s", after.out, before.out);
    ENDED(&before, 0, NULL, NULL);
    ENDED(&after, 0, NULL, NULL);
    check_whole(at("lib"));
    EXPECT(0, "--again [words|speakers|meaning]", NULL, "help", "ingest");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"bad_files", test_bad_files},
        {"bad_video", test_bad_video},
        {"odd_sound", test_odd_sound},
        {"odd_names", test_odd_names},
        {"folders", test_folders},
        {"side_by_side", test_side_by_side},
        {"again", test_again},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof tests[0]));
}
