/*
 * test_media.c - plain files to 16 kHz sound: what is refused, the hash, samples to the last bit, and the spool they go to.
 *
 * The wav files are written here, sample by sample, so that what must come out is known by arithmetic.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

#include "sounds.h"

/* ---- what is refused ---- */

static void test_refuses_what_is_no_file(void)
{
    es_media_info info = {0};
    es_err err = {0};

    refuse(at("nothing.mp4"), ES_ENOTFOUND, "no such file");
    refuse(es_test_folder(), ES_EARG, "is a folder");
    refuse("/dev/null", ES_EARG, "is a device");
    mkfifo(at("pipe.wav"), 0600);
    refuse(at("pipe.wav"), ES_EARG, "is a pipe");
    write_file(at("empty.mp4"), "", 0);
    refuse(at("empty.mp4"), ES_EFORMAT, "is empty");
    CHECK_INT(es_media_hash(&info, at("pipe.wav"), NULL, NULL, &err), ES_EARG);
    es_media_info_done(&info);
}

static void test_refuses_what_is_no_sound(void)
{
    static const char text[] = "This file says it is a film.\nIt is a text, and has been one all along.\n";
    static const char subtitles[] = "1\n00:00:01,000 --> 00:00:02,000\nHello.\n\n";
    uint8_t noise[20000];
    es_noise n = {7};

    write_file(at("text.mp4"), text, sizeof text - 1);
    refuse(at("text.mp4"), ES_EFORMAT, "holds text");
    write_file(at("text.txt"), text, sizeof text - 1);
    refuse(at("text.txt"), ES_EFORMAT, "holds text");
    write_file(at("words.srt"), subtitles, sizeof subtitles - 1);
    refuse(at("words.srt"), ES_EFORMAT, "holds text");
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)es_noise_bits(&n);
    memset(noise, 0xEE, 16);
    write_file(at("noise.mp4"), noise, sizeof noise);
    refuse(at("noise.mp4"), ES_EFORMAT, "noise.mp4: ");
    /* A head and a body of an mp4, and no index. */
    uint8_t boxes[2048] = {0};
    memcpy(boxes, "\0\0\0\x14" "ftypisom\0\0\2\0isom", 20);
    memcpy(boxes + 20, "\0\0\x07\xec" "mdat", 8);
    write_file(at("unfinished.mp4"), boxes, sizeof boxes);
    refuse(at("unfinished.mp4"), ES_EFORMAT, "moov");
}

/* The other file is there and sound; if anything opened it, its time of access would say so, and words would come out. */
static void test_refuses_playlists(void)
{
    static const char *const lists[] = {
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\nother.wav\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.wav\n",
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"><Period></Period></MPD>\n",
    };
    static const char *const names[] = {"list.mp4", "list.m3u8", "list.mkv"};
    int16_t samples[1600] = {0};
    struct stat before, after;
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}}; /* read before it was written: relatime notes a read */

    write_wav(at("other.wav"), 16000, 1, 16, samples, sizeof samples);
    utimensat(AT_FDCWD, at("other.wav"), old, 0);
    stat(at("other.wav"), &before);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++) {
            write_file(at(names[k]), lists[i], strlen(lists[i]));
            refuse(at(names[k]), ES_EFORMAT, "names other files");
        }
    stat(at("other.wav"), &after);
    CHECK_INT(after.st_atim.tv_sec, before.st_atim.tv_sec);
}

static void test_refuses_video_without_sound(void)
{
    if (!ffmpeg("-f lavfi -i testsrc=d=0.5:s=64x64:r=10 -c:v mpeg4 silent.mp4")) return;
    refuse(at("silent.mp4"), ES_ENOMEDIA, "its streams are: video mpeg4");
    if (!ffmpeg("-f lavfi -i testsrc=d=0.1:s=64x64:r=10 -frames:v 1 picture.png")) return;
    refuse(at("picture.png"), ES_EFORMAT, "is a picture");
}

/* ---- the hash ---- */

static void test_hash(void)
{
    size_t n = 3000001;
    uint8_t *bytes = malloc(n);
    es_noise noise = {3};
    es_media_info info = {0};
    es_err err = {0};
    char have[33], want[33];
    int calls = 0;

    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)es_noise_bits(&noise);
    write_file(at("any.bin"), bytes, n);
    CHECK_INT(es_media_hash(&info, at("any.bin"), NULL, NULL, &err), ES_OK);
    CHECK_INT(info.bytes, n);
    CHECK_STR(info.path, at("any.bin"));
    IS(info.mtime_ns > 0);
    es_hash_hex(have, info.content);
    es_hash_hex(want, es_hash_bytes(bytes, n));
    CHECK_STR(have, want);
    CHECK_INT(es_media_hash(&info, at("any.bin"), stop_at_once, &calls, &err), ES_ECANCELLED);
    CHECK_INT(calls, 1);
    es_media_info_done(&info);
    free(bytes);
}

/* ---- samples ---- */

static void test_native_is_bit_exact(void)
{
    enum { N = 50021 };
    int16_t *x = malloc(N * sizeof *x);
    es_noise noise = {11};
    sound s;

    for (int i = 0; i < N; i++) x[i] = (int16_t)es_noise_bits(&noise);
    x[0] = -32768, x[1] = 32767;
    write_wav(at("native.wav"), 16000, 1, 16, x, N * sizeof *x);
    s = decode_well(at("native.wav"));
    CHECK_INT(s.n, N);
    for (int i = 0; i < N && s.n == N; i++)
        if (s.x[i] != (float)x[i] / 32768.0f) {
            CHECK(false, "sample %d is %.9g, expected %d / 32768", i, (double)s.x[i], x[i]);
            break;
        }
    CHECK_INT(s.info.sample_rate, 16000);
    CHECK_INT(s.info.channels, 1);
    CHECK_INT(s.info.n_tracks, 1);
    CHECK_STR(s.info.container, "wav");
    CHECK_STR(s.info.codec, "pcm_s16le");
    IS(!s.info.truncated);
    CHECK_INT(s.info.damaged_packets, 0);
    drop(&s);
    free(x);
}

/* A tone of 440 Hz in one of the channels, at every rate and number of them: the mean of all comes out, in time. */
static void test_rates_and_channels(void)
{
    static const int rates[] = {8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000};
    const double pi = 3.14159265358979323846;

    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
        for (int channels = 1; channels <= 8; channels += r == 6 ? 1 : 7) {
            int n = rates[r] / 2;
            float *x = calloc((size_t)(n * channels), sizeof *x);
            double worst = 0;
            char name[64];
            for (int i = 0; i < n; i++)
                x[i * channels + channels - 1] = (float)(0.5 * sin(2 * pi * 440 * i / rates[r]));
            snprintf(name, sizeof name, "tone-%d-%d.wav", rates[r], channels);
            write_wav(at(name), rates[r], channels, 32, x, (size_t)(n * channels) * sizeof *x);
            sound s = decode_well(at(name));
            CHECK_SECONDS(&s, 0.5, 0.001);
            CHECK_INT(s.info.channels, channels);
            for (int64_t i = 800; i < s.n - 800; i++) {
                double want = 0.5 / channels * sin(2 * pi * 440 * (double)i / 16000), off = fabs((double)s.x[i] - want);
                if (off > worst) worst = off;
            }
            CHECK(worst < 0.002, "%s: a sample is %.4f off", name, worst);
            drop(&s);
            free(x);
        }
}

static void test_not_numbers(void)
{
    enum { N = 32000 };
    float *x = malloc(N * sizeof *x);
    double *y = malloc(N * sizeof *y);
    sound s;

    for (int i = 0; i < N; i++) x[i] = i % 2 ? NAN : i % 3 ? INFINITY : -3e38f;
    write_wav(at("nan.wav"), 48000, 1, 32, x, N * sizeof *x);
    s = decode_well(at("nan.wav"));
    CHECK_LEVEL(&s, 0, 0.6, 0, 0);
    drop(&s);
    for (int i = 0; i < N; i++) y[i] = i == 16000 ? (double)NAN : 0.25;
    write_wav(at("one.wav"), 16000, 1, 64, y, N * sizeof *y);
    s = decode_well(at("one.wav"));
    CHECK_INT(s.n, N);
    for (int i = 0; i < N && s.n == N; i++)
        if (s.x[i] != (i == 16000 ? 0.0f : 0.25f)) CHECK(false, "sample %d is %g", i, (double)s.x[i]);
    drop(&s);
    free(x);
    free(y);
}

static void test_very_short(void)
{
    int16_t x[800];

    for (int i = 0; i < 800; i++) x[i] = 1000;
    write_wav(at("short.wav"), 16000, 1, 16, x, sizeof x);
    sound s = decode_well(at("short.wav"));
    CHECK_INT(s.n, 800);
    drop(&s);
    write_wav(at("none.wav"), 16000, 1, 16, x, 0);
    s = decode(at("none.wav"), 0);
    CHECK_INT(s.rc, ES_ENOMEDIA);
    check_sentence(&s.err, "no sound");
    drop(&s);
    write_wav(at("slow.wav"), 1, 1, 16, x, sizeof x);
    s = decode(at("slow.wav"), 0);
    CHECK_INT(s.rc, ES_EFORMAT);
    check_sentence(&s.err, "1 Hz");
    drop(&s);
}

static void test_names(void)
{
    static const char *const names[] = {"a b.wav", "it's \"quoted\".wav", "line\nbreak.wav", "gr\xc3\xbc\xc3\x9f.wav", "http:x.wav",
                                        "-i.wav", "a:b.wav", "%03d.wav", "pipe:0.wav"};
    int16_t x[160] = {5};
    es_media_info info = {0};
    es_err err = {0};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_wav(at(names[i]), 16000, 1, 16, x, sizeof x);
        sound s = decode_well(at(names[i]));
        CHECK_INT(s.n, 160);
        CHECK_STR(s.info.path, at(names[i]));
        drop(&s);
    }
    CHECK_INT(es_media_probe(&info, at("no\nsuch.wav"), 0, &err), ES_ENOTFOUND);
    check_sentence(&err, "no\\x0Asuch.wav");
    es_media_info_done(&info);
    IS(es_media_is_media_name("/x.y/a.MP4") && es_media_is_media_name("b.opus"));
    IS(!es_media_is_media_name("a.txt") && !es_media_is_media_name("/a.mp4/b") && !es_media_is_media_name("/x/.mp3"));
    write_file(at("code.ts"), "export const x = 1;\n", 20);
    IS(!es_media_is_media_name(at("code.ts")));
    IS(strstr(es_media_versions(), "libavformat "));
}

/* ---- the spool ---- */

static void test_cancel(void)
{
    int16_t *x = calloc(16000 * 60, sizeof *x);
    es_media_info info = {0};
    es_err err = {0};
    es_spool *spool = NULL;
    int calls = 0;

    write_wav(at("long.wav"), 16000, 1, 16, x, 16000 * 60 * sizeof *x);
    mkdir(at("spools"), 0700);
    CHECK_INT(es_media_decode(&spool, &info, at("long.wav"), 0, at("spools"), stop_at_once, &calls, &err), ES_ECANCELLED);
    IS(!spool);
    CHECK_INT(calls, 1);
    CHECK_INT(files_in(at("spools")), 0);
    check_sentence(&err, "cancelled");
    es_media_info_done(&info);
    free(x);
}

static void test_spool_in_memory(void)
{
    float x[5] = {1, 2, 3, 4, 5}, y[9];
    const float want[9] = {0, 0, 1, 2, 3, 4, 5, 0, 0};
    es_spool *s;
    es_err err = {0};

    CHECK_INT(es_spool_from(&s, x, 5, &err), ES_OK);
    CHECK_INT(es_spool_samples(s), 5);
    CHECK_INT(es_spool_read(s, -2, 9, y, &err), ES_OK);
    IS(!memcmp(y, want, sizeof y));
    CHECK_INT(es_spool_read(s, 4, 3, y, &err), ES_OK);
    IS(y[0] == 5 && y[1] == 0 && y[2] == 0);
    CHECK_INT(es_spool_read(s, -5, 2, y, &err), ES_OK);
    IS(y[0] == 0 && y[1] == 0);
    CHECK_INT(es_spool_read(s, 100, 2, y, &err), ES_OK);
    IS(y[0] == 0 && y[1] == 0);
    es_spool_close(s);
    es_spool_close(NULL);
}

static void test_spool_kept(void)
{
    enum { N = 200001 };
    int16_t *x = malloc(N * sizeof *x);
    float y[4];
    es_noise noise = {2};
    es_media_info info = {0};
    es_spool *s = NULL;
    es_err err = {0};
    const char *kept = at("kept.spool");
    size_t n;

    for (int i = 0; i < N; i++) x[i] = (int16_t)es_noise_bits(&noise);
    write_wav(at("x.wav"), 16000, 1, 16, x, N * sizeof *x);
    CHECK_INT(es_media_decode(&s, &info, at("x.wav"), 0, es_test_folder(), NULL, NULL, &err), ES_OK);
    CHECK_INT(es_spool_keep(s, kept, &err), ES_OK);
    es_spool_close(s);
    CHECK_INT(es_spool_open(&s, kept, &err), ES_OK);
    CHECK_INT(es_spool_samples(s), N);
    CHECK_INT(es_spool_read(s, N - 2, 4, y, &err), ES_OK);
    IS(y[0] == (float)x[N - 2] / 32768 && y[1] == (float)x[N - 1] / 32768 && y[2] == 0 && y[3] == 0);
    es_spool_close(s);
    uint8_t *bytes = (uint8_t *)read_file(kept, &n);
    CHECK_INT(n, N * 2 + 40);
    bytes[12345] ^= 1;
    write_file(kept, bytes, n);
    CHECK_INT(es_spool_open(&s, kept, &err), ES_EFORMAT);
    check_sentence(&err, "altered");
    bytes[12345] ^= 1;
    for (size_t cut = 2; cut < n; cut += 99998) {
        err = (es_err){0};
        write_file(kept, bytes, n - cut);
        CHECK_INT(es_spool_open(&s, kept, &err), ES_EFORMAT);
        IS(!s);
    }
    write_file(kept, bytes, n);
    CHECK_INT(es_spool_open(&s, kept, &err), ES_OK);
    es_spool_remove(s);
    es_spool_close(s);
    err = (es_err){0};
    CHECK_INT(es_spool_open(&s, kept, &err), ES_ENOTFOUND);
    es_media_info_done(&info);
    free(bytes);
    free(x);
}

/* A limit on the size of files stands for a full disk: write() fails half-way in the same place. */
static void test_disk_full(void)
{
    int16_t *x = malloc(16000 * 60 * sizeof *x);
    struct rlimit old, small;

    for (int i = 0; i < 16000 * 60; i++) x[i] = (int16_t)i;
    write_wav(at("minute.wav"), 16000, 1, 16, x, 16000 * 60 * sizeof *x);
    free(x);
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 300000;
    setrlimit(RLIMIT_FSIZE, &small);
    sound s = decode(at("minute.wav"), 0); /* also checks that no file is left */
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, was);
    CHECK_INT(s.rc, ES_EIO);
    check_sentence(&s.err, "cannot write the decoded sound");
    drop(&s);
    es_spool *spool = NULL;
    es_media_info info = {0};
    es_err err = {0};
    CHECK_INT(es_media_decode(&spool, &info, at("minute.wav"), 0, at("no-such-folder"), NULL, NULL, &err), ES_EIO);
    check_sentence(&err, "no-such-folder");
    es_media_info_done(&info);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"refuses_what_is_no_file", test_refuses_what_is_no_file},
        {"refuses_what_is_no_sound", test_refuses_what_is_no_sound},
        {"refuses_playlists", test_refuses_playlists},
        {"refuses_video_without_sound", test_refuses_video_without_sound},
        {"hash", test_hash},
        {"native_is_bit_exact", test_native_is_bit_exact},
        {"rates_and_channels", test_rates_and_channels},
        {"not_numbers", test_not_numbers},
        {"very_short", test_very_short},
        {"names", test_names},
        {"cancel", test_cancel},
        {"spool_in_memory", test_spool_in_memory},
        {"spool_kept", test_spool_kept},
        {"disk_full", test_disk_full},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
