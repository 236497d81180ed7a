/*
 * test_media.c - files in every state to a true time line of 16 kHz sound.
 *
 * Plain wav files are written here, sample by sample, so that what must come out is known by arithmetic. Containers and
 * codecs are made with the ffmpeg program where there is one; what it makes is checked by where known tones and silences
 * lie, by how far a recording is shifted against its original, and against ffmpeg's own conversion.
 */
#define _GNU_SOURCE
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/decode.h"

/* ---- helpers ---- */
#define IS(condition) CHECK(condition, "%s", "not so: " #condition)

static const char *in_folder(const char *name)
{
    static char ring[8][4096];
    static int at;
    char *path = ring[at++ % 8];

    snprintf(path, sizeof ring[0], "%s/%s", es_test_folder(), name);
    return path;
}

static void write_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(bytes, 1, n, f) != n) CHECK(false, "%s: cannot be written", path);
    if (f) fclose(f);
}

static uint8_t *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    uint8_t *bytes = NULL;

    *n = 0;
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    bytes = malloc((size_t)size + 1);
    if (bytes) *n = fread(bytes, 1, (size_t)size, f);
    fclose(f);
    return bytes;
}

static void little(uint8_t *to, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) to[i] = (uint8_t)(v >> (8 * i));
}

/* A plain wav without named channels: bits 16 takes integers, 32 floats, 64 doubles, all given as bytes. */
static void write_wav(const char *path, int rate, int channels, int bits, const void *data, size_t bytes)
{
    uint8_t *file = malloc(44 + bytes);
    int width = channels * bits / 8;

    memcpy(file, "RIFF    WAVEfmt ", 16);
    little(file + 4, 36 + bytes, 4);
    little(file + 16, 16, 4);
    little(file + 20, bits > 16 ? 3 : 1, 2);
    little(file + 22, (uint64_t)channels, 2);
    little(file + 24, (uint64_t)rate, 4);
    little(file + 28, (uint64_t)(rate * width), 4);
    little(file + 32, (uint64_t)width, 2);
    little(file + 34, (uint64_t)bits, 2);
    memcpy(file + 36, "data", 4);
    little(file + 40, bytes, 4);
    memcpy(file + 44, data, bytes);
    write_file(path, file, 44 + bytes);
    free(file);
}

/* Runs ffmpeg in the test's folder; false, with a skip noted, when there is none. */
static bool ffmpeg(const char *arguments)
{
    char command[4096];

    if (system("command -v ffmpeg >/dev/null 2>&1") != 0) {
        es_test_skip("the ffmpeg program");
        return false;
    }
    snprintf(command, sizeof command, "cd '%s' && ffmpeg -hide_banner -loglevel error -nostdin -y %s", es_test_folder(), arguments);
    if (system(command) != 0) {
        CHECK(false, "ffmpeg fails: %s", arguments);
        return false;
    }
    return true;
}

typedef struct sound {
    float *x;
    int64_t n;
    es_media_info info;
    int rc;
    es_err err;
} sound;

static int files_in(const char *folder)
{
    char command[4200];
    int n = -1;

    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *f = popen(command, "r");
    if (f && fscanf(f, "%d", &n) != 1) n = -1;
    if (f) pclose(f);
    return n;
}

static sound decode(const char *path, int track)
{
    sound s = {0};
    es_spool *spool = NULL;
    const char *tmp = in_folder("spools");

    mkdir(tmp, 0700);
    s.rc = es_media_decode(&spool, &s.info, path, track, tmp, NULL, NULL, &s.err);
    CHECK_INT(s.rc, s.rc ? s.err.code : ES_OK);
    CHECK((s.rc == ES_OK) == (spool != NULL), "a spool and a status that disagree");
    if (spool) {
        s.n = es_spool_samples(spool);
        s.x = malloc((size_t)s.n * sizeof *s.x + 1);
        CHECK_INT(es_spool_read(spool, 0, s.n, s.x, &s.err), ES_OK);
        CHECK_INT(s.info.duration_ms, s.n * 1000 / 16000);
    }
    es_spool_close(spool);
    CHECK_INT(files_in(tmp), 0);
    return s;
}

static sound decode_well(const char *path)
{
    sound s = decode(path, 0);

    CHECK(s.rc == ES_OK, "%s: %s", path, s.err.text);
    return s;
}

static void drop(sound *s)
{
    free(s->x);
    es_media_info_done(&s->info);
}

/* Root mean square of seconds a to b; what lies outside the sound counts as silence. */
static double level(const sound *s, double a, double b)
{
    double sum = 0;
    int64_t first = (int64_t)(a * 16000), last = (int64_t)(b * 16000);

    for (int64_t i = first; i < last; i++)
        if (i >= 0 && i < s->n) sum += (double)s->x[i] * (double)s->x[i];
    return sqrt(sum / (double)(last - first));
}

#define CHECK_LEVEL(s, a, b, want, bound)                                                                              \
    do {                                                                                                               \
        double l_ = level(s, a, b);                                                                                    \
        CHECK(fabs(l_ - (want)) <= (bound), "level from %g s to %g s is %g, expected %g within %g", (double)(a),       \
              (double)(b), l_, (double)(want), (double)(bound));                                                       \
    } while (0)

#define CHECK_SECONDS(s, want, bound)                                                                                  \
    CHECK(fabs((double)(s)->n / 16000 - (want)) <= (bound), "%lld samples, expected %g within %g", (long long)(s)->n,  \
          (want) * 16000.0, (bound) * 16000.0)

/* First moment louder than a threshold, in seconds, from a given one on. */
static double onset(const sound *s, double from, float threshold)
{
    for (int64_t i = (int64_t)(from * 16000); i < s->n; i++)
        if (fabsf(s->x[i]) > threshold) return (double)i / 16000;
    return -1;
}

static void check_sentence(const es_err *err, const char *must_hold)
{
    CHECK(strstr(err->text, must_hold), "\"%s\" does not hold \"%s\"", err->text, must_hold);
    CHECK(!strchr(err->text, '\n'), "\"%s\" has a line break", err->text);
}

/* ---- what is refused ---- */
static void refuse(const char *path, int code, const char *sentence)
{
    es_media_info info = {0};
    es_err err = {0};
    sound s = decode(path, 0);

    CHECK_INT(s.rc, code);
    check_sentence(&s.err, sentence);
    CHECK_INT(es_media_probe(&info, path, 0, &err), code);
    check_sentence(&err, sentence);
    es_media_info_done(&info);
    drop(&s);
}

static void test_refuses_what_is_no_file(void)
{
    es_media_info info = {0};
    es_err err = {0};

    refuse(in_folder("nothing.mp4"), ES_ENOTFOUND, "no such file");
    refuse(es_test_folder(), ES_EARG, "is a folder");
    refuse("/dev/null", ES_EARG, "is a device");
    mkfifo(in_folder("pipe.wav"), 0600);
    refuse(in_folder("pipe.wav"), ES_EARG, "is a pipe");
    write_file(in_folder("empty.mp4"), "", 0);
    refuse(in_folder("empty.mp4"), ES_EFORMAT, "is empty");
    CHECK_INT(es_media_hash(&info, in_folder("pipe.wav"), NULL, NULL, &err), ES_EARG);
    es_media_info_done(&info);
}

static void test_refuses_what_is_no_sound(void)
{
    static const char text[] = "This file says it is a film.\nIt is a text, and has been one all along.\n";
    static const char subtitles[] = "1\n00:00:01,000 --> 00:00:02,000\nHello.\n\n";
    uint8_t noise[20000];
    es_noise n = {7};

    write_file(in_folder("text.mp4"), text, sizeof text - 1);
    refuse(in_folder("text.mp4"), ES_EFORMAT, "holds text");
    write_file(in_folder("text.txt"), text, sizeof text - 1);
    refuse(in_folder("text.txt"), ES_EFORMAT, "holds text");
    write_file(in_folder("words.srt"), subtitles, sizeof subtitles - 1);
    refuse(in_folder("words.srt"), ES_EFORMAT, "holds text");
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)es_noise_bits(&n);
    memset(noise, 0xEE, 16);
    write_file(in_folder("noise.mp4"), noise, sizeof noise);
    refuse(in_folder("noise.mp4"), ES_EFORMAT, "noise.mp4: ");
    /* A head and a body of an mp4, and no index. */
    uint8_t boxes[2048] = {0};
    memcpy(boxes, "\0\0\0\x14" "ftypisom\0\0\2\0isom", 20);
    memcpy(boxes + 20, "\0\0\x07\xec" "mdat", 8);
    write_file(in_folder("unfinished.mp4"), boxes, sizeof boxes);
    refuse(in_folder("unfinished.mp4"), ES_EFORMAT, "moov");
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

    write_wav(in_folder("other.wav"), 16000, 1, 16, samples, sizeof samples);
    utimensat(AT_FDCWD, in_folder("other.wav"), old, 0);
    stat(in_folder("other.wav"), &before);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++) {
            write_file(in_folder(names[k]), lists[i], strlen(lists[i]));
            refuse(in_folder(names[k]), ES_EFORMAT, "names other files");
        }
    stat(in_folder("other.wav"), &after);
    CHECK_INT(after.st_atim.tv_sec, before.st_atim.tv_sec);
}

static void test_refuses_video_without_sound(void)
{
    if (!ffmpeg("-f lavfi -i testsrc=d=0.5:s=64x64:r=10 -c:v mpeg4 silent.mp4")) return;
    refuse(in_folder("silent.mp4"), ES_ENOMEDIA, "its streams are: video mpeg4");
    if (!ffmpeg("-f lavfi -i testsrc=d=0.1:s=64x64:r=10 -frames:v 1 picture.png")) return;
    refuse(in_folder("picture.png"), ES_EFORMAT, "is a picture");
}

/* ---- the hash ---- */
static int stop_at_once(void *user, const char *what, int64_t done, int64_t all)
{
    (void)what, (void)done, (void)all;
    ++*(int *)user;
    return 1;
}

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
    write_file(in_folder("any.bin"), bytes, n);
    CHECK_INT(es_media_hash(&info, in_folder("any.bin"), NULL, NULL, &err), ES_OK);
    CHECK_INT(info.bytes, n);
    CHECK_STR(info.path, in_folder("any.bin"));
    IS(info.mtime_ns > 0);
    es_hash_hex(have, info.content);
    es_hash_hex(want, es_hash_bytes(bytes, n));
    CHECK_STR(have, want);
    CHECK_INT(es_media_hash(&info, in_folder("any.bin"), stop_at_once, &calls, &err), ES_ECANCELLED);
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
    write_wav(in_folder("native.wav"), 16000, 1, 16, x, N * sizeof *x);
    s = decode_well(in_folder("native.wav"));
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
            write_wav(in_folder(name), rates[r], channels, 32, x, (size_t)(n * channels) * sizeof *x);
            sound s = decode_well(in_folder(name));
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
    write_wav(in_folder("nan.wav"), 48000, 1, 32, x, N * sizeof *x);
    s = decode_well(in_folder("nan.wav"));
    CHECK_LEVEL(&s, 0, 0.6, 0, 0);
    drop(&s);
    for (int i = 0; i < N; i++) y[i] = i == 16000 ? (double)NAN : 0.25;
    write_wav(in_folder("one.wav"), 16000, 1, 64, y, N * sizeof *y);
    s = decode_well(in_folder("one.wav"));
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
    write_wav(in_folder("short.wav"), 16000, 1, 16, x, sizeof x);
    sound s = decode_well(in_folder("short.wav"));
    CHECK_INT(s.n, 800);
    drop(&s);
    write_wav(in_folder("none.wav"), 16000, 1, 16, x, 0);
    s = decode(in_folder("none.wav"), 0);
    CHECK_INT(s.rc, ES_ENOMEDIA);
    check_sentence(&s.err, "no sound");
    drop(&s);
    write_wav(in_folder("slow.wav"), 1, 1, 16, x, sizeof x);
    s = decode(in_folder("slow.wav"), 0);
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
        write_wav(in_folder(names[i]), 16000, 1, 16, x, sizeof x);
        sound s = decode_well(in_folder(names[i]));
        CHECK_INT(s.n, 160);
        CHECK_STR(s.info.path, in_folder(names[i]));
        drop(&s);
    }
    CHECK_INT(es_media_probe(&info, in_folder("no\nsuch.wav"), 0, &err), ES_ENOTFOUND);
    check_sentence(&err, "no\\x0Asuch.wav");
    es_media_info_done(&info);
    IS(es_media_is_media_name("/x.y/a.MP4") && es_media_is_media_name("b.opus"));
    IS(!es_media_is_media_name("a.txt") && !es_media_is_media_name("/a.mp4/b") && !es_media_is_media_name("/x/.mp3"));
    write_file(in_folder("code.ts"), "export const x = 1;\n", 20);
    IS(!es_media_is_media_name(in_folder("code.ts")));
    IS(strstr(es_media_versions(), "libavformat "));
}

/* ---- the time line ---- */
/* Seconds by which b lags a, from the peak of their correlation within 50 ms, over seconds 1 to 9. */
static double lag(const sound *a, const sound *b)
{
    double best = -1;
    int at = -9999;

    for (int shift = -800; shift <= 800; shift++) {
        double sum = 0;
        for (int64_t i = 16000; i < 16000 * 9 && i < a->n; i += 3)
            if (i + shift < b->n) sum += (double)a->x[i] * (double)b->x[i + shift];
        if (sum > best) best = sum, at = shift;
    }
    return at / 16000.0;
}

static void test_same_in_every_container(void)
{
    /* late: what an encoder puts before the sound and the container has no place to say; no player takes it off. */
    static const struct {
        const char *name, *arguments;
        double late;
    } made[] = {
        {"a.mp4", "-c:a aac -b:a 96k", 0},
        {"a.m4a", "-c:a aac -ar 44100", 0},
        {"a.mov", "-c:a alac", 0},
        {"a.mp3", "-c:a libmp3lame", 0},
        {"a.webm", "-c:a libopus", 0},
        {"a.opus", "-c:a libopus", 0},
        {"a.ogg", "-c:a libvorbis", 0},
        {"a.mkv", "-c:a flac", 0},
        {"a.flac", "-c:a flac -ar 48000", 0},
        {"a.wav", "-c:a pcm_f32le", 0},
        {"a.avi", "-c:a pcm_s16le", 0},
        {"a.au", "-c:a pcm_s16be", 0},
        {"b.mkv", "-c:a aac -ar 48000", 1024 / 48000.0},
        {"b.mp4", "-c:a aac -ar 48000 -movflags frag_keyframe+empty_moov", 1024 / 48000.0},
        {"a.wma", "-c:a wmav2", 0.032},
    };
    static const char *const given[] = {"audio/jfk/jfk.flac", "audio/jfk/jfk.mp3", "audio/video/jfk_testpattern_h264_aac.mp4",
                                        "audio/video/jfk_testpattern_vp9_opus.webm"};
    const char *original = es_test_data("audio/jfk/jfk.wav");
    char arguments[8300];

    if (!original) {
        es_test_skip("audio/jfk of the test data");
        return;
    }
    sound a = decode_well(original);
    CHECK_INT(a.n, 176000);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        const char *path = es_test_data(given[i]);
        if (!path) continue;
        sound b = decode_well(path);
        double l = lag(&a, &b);
        CHECK(fabs(l) <= 0.003, "%s lags by %.4f s", given[i], l);
        CHECK_INT(b.info.damaged_packets, 0);
        CHECK(!b.info.truncated, "%s", given[i]);
        drop(&b);
    }
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(arguments, sizeof arguments, "-i '%s' %s %s", original, made[i].arguments, made[i].name);
        if (!ffmpeg(arguments)) break;
        sound b = decode_well(in_folder(made[i].name));
        double l = lag(&a, &b);
        CHECK(fabs(l - made[i].late) <= 0.003, "%s (%s) lags by %.4f s, expected %.4f", made[i].name, made[i].arguments, l,
              made[i].late);
        CHECK_SECONDS(&b, 11.0, 0.07);
        CHECK(!b.info.truncated, "%s", made[i].name);
        drop(&b);
    }
    drop(&a);
}

/* The same libraries, told the same: not a sample may differ, in stereo nor in a layout with named places. */
static void test_agrees_with_ffmpeg(void)
{
    static const char *const sources[] = {
        "aevalsrc='0.4*sin(440*2*PI*t)+0.1*random(0)|0.3*sin(333*2*PI*t)':s=44100:d=2",
        "aevalsrc='0.1*random(0)|0.3*sin(333*2*PI*t)|0.2*sin(200*2*PI*t)|0.5*sin(50*2*PI*t)|0.1*random(1)|0':c=5.1:s=48000:d=2",
    };
    char arguments[512];

    for (size_t k = 0; k < sizeof sources / sizeof *sources; k++) {
        snprintf(arguments, sizeof arguments, "-f lavfi -i \"%s\" -c:a flac in.flac", sources[k]);
        if (!ffmpeg(arguments) || !ffmpeg("-i in.flac -ac 1 -ar 16000 -f s16le want.raw")) return;
        size_t bytes;
        uint8_t *want = read_file(in_folder("want.raw"), &bytes);
        sound s = decode_well(in_folder("in.flac"));
        int worst = 0;
        CHECK_INT(s.n, bytes / 2);
        CHECK_INT(s.info.channels, k ? 6 : 2);
        for (int64_t i = 0; i < s.n && i < (int64_t)(bytes / 2); i++) {
            int v = (int16_t)(want[2 * i] | want[2 * i + 1] << 8), off = abs((int)lrintf(s.x[i] * 32768.0f) - v);
            if (off > worst) worst = off;
        }
        CHECK_INT(worst, 0);
        drop(&s);
        free(want);
    }
}

static void test_late_start(void)
{
    if (!ffmpeg("-f lavfi -i testsrc=d=4:s=64x64:r=10 -itsoffset 1.5 -f lavfi -i sine=440:d=2:r=48000 -map 0 -map 1 "
                "-c:v mpeg4 -c:a pcm_s16le late.mkv") ||
        !ffmpeg("-i late.mkv -c:v copy -c:a aac late.mp4") || !ffmpeg("-i late.mkv -c:v mpeg2video -c:a mp2 late.ts") ||
        !ffmpeg("-itsoffset 3 -f lavfi -i sine=440:d=2:r=16000 -c:a pcm_s16le alone.mkv"))
        return;
    static const char *const names[] = {"late.mkv", "late.mp4", "late.ts"};
    for (int i = 0; i < 3; i++) {
        sound s = decode_well(in_folder(names[i]));
        double start = onset(&s, 0, 0.02f);
        CHECK(fabs(start - 1.5) < (i == 2 ? 0.03 : 0.004), "%s begins at %.4f s", names[i], start);
        CHECK_LEVEL(&s, 0, 1.45, 0, 0.0001);
        CHECK_SECONDS(&s, 3.5, 0.06);
        drop(&s);
    }
    /* The recording begins where its first stream does, however its clock reads. */
    sound s = decode_well(in_folder("alone.mkv"));
    CHECK_SECONDS(&s, 2.0, 0.002);
    drop(&s);
}

static void test_gaps(void)
{
    /* A tone of 6 s from which 2.0 to 3.5 s and then 4.5 to 4.6 s are missing; and one that overlaps itself by 0.3 s. */
    if (!ffmpeg("-f lavfi -i sine=440:d=6:r=16000 -af \"asetnsamples=160,aselect='not(between(t,2,3.499)+between(t,4.5,4.599))'\" "
                "-c:a pcm_s16le gap.mkv") ||
        !ffmpeg("-f lavfi -i sine=440:d=6:r=16000 -af \"asetnsamples=160,asetpts='PTS-if(gte(T,3),0.3/TB,0)'\" -c:a pcm_s16le over.nut"))
        return;
    sound s = decode_well(in_folder("gap.mkv"));
    CHECK_SECONDS(&s, 6.0, 0.002);
    CHECK_LEVEL(&s, 0.01, 1.99, 0.0884, 0.001);
    CHECK_LEVEL(&s, 2.005, 3.495, 0, 0);
    CHECK_LEVEL(&s, 3.51, 4.49, 0.0884, 0.001);
    CHECK_LEVEL(&s, 4.505, 4.595, 0, 0);
    CHECK_LEVEL(&s, 4.61, 5.99, 0.0884, 0.001);
    drop(&s);
    s = decode_well(in_folder("over.nut"));
    CHECK_SECONDS(&s, 5.7, 0.002);
    CHECK_LEVEL(&s, 0.01, 5.69, 0.0884, 0.001);
    drop(&s);
}

/* Timestamps 1 % too slow or too fast: silence and cuts of 50 ms at most hold the line. Jitter of 20 ms changes nothing. */
static void test_drift_and_jitter(void)
{
    if (!ffmpeg("-f lavfi -i sine=440:d=20:r=16000 -af \"asetnsamples=320,asetpts='PTS*1.01'\" -c:a pcm_s16le slow.mkv") ||
        !ffmpeg("-f lavfi -i sine=440:d=20:r=16000 -af \"asetnsamples=320,asetpts='PTS*0.99'\" -c:a pcm_s16le fast.mkv") ||
        !ffmpeg("-f lavfi -i sine=440:d=5:r=16000 -af \"asetnsamples=800,asetpts='PTS+if(mod(N,2),0.02,0)/TB'\" -c:a pcm_s16le jitter.mkv"))
        return;
    sound s = decode_well(in_folder("slow.mkv"));
    CHECK_SECONDS(&s, 20.2, 0.06);
    drop(&s);
    s = decode_well(in_folder("fast.mkv"));
    CHECK_SECONDS(&s, 19.8, 0.06);
    drop(&s);
    s = decode_well(in_folder("jitter.mkv"));
    CHECK_INT(s.n, 80000);
    CHECK_LEVEL(&s, 0, 5, 0.0884, 0.0005);
    drop(&s);
}

/* A timestamp of a year must not make a year of silence, nor a clock set back lose what follows. */
static void test_broken_clocks(void)
{
    if (!ffmpeg("-f lavfi -i sine=440:d=4:r=16000 -af \"asetnsamples=160,asetpts='PTS+if(gte(T,2),31536000/TB,0)'\" -c:a pcm_s16le year.nut") ||
        !ffmpeg("-f lavfi -i sine=440:d=20:r=16000 -c:a mp2 part.ts"))
        return;
    sound s = decode_well(in_folder("year.nut"));
    CHECK_SECONDS(&s, 4.0, 0.002);
    drop(&s);
    char command[4200];
    snprintf(command, sizeof command, "cd '%s' && cat part.ts part.ts part.ts > joined.ts", es_test_folder());
    CHECK_INT(system(command), 0);
    s = decode_well(in_folder("joined.ts"));
    CHECK_SECONDS(&s, 60.0, 0.2);
    CHECK_LEVEL(&s, 1, 59, 0.0884, 0.003);
    drop(&s);
}

static void test_form_changes_midway(void)
{
    if (!ffmpeg("-f lavfi -i sine=440:d=2:r=44100 -c:a libmp3lame -write_xing 0 -id3v2_version 0 one.mp3") ||
        !ffmpeg("-f lavfi -i sine=440:d=2:r=22050 -ac 2 -c:a libmp3lame -write_xing 0 -id3v2_version 0 two.mp3"))
        return;
    char command[4200];
    snprintf(command, sizeof command, "cd '%s' && cat one.mp3 two.mp3 > both.mp3", es_test_folder());
    CHECK_INT(system(command), 0);
    sound s = decode_well(in_folder("both.mp3"));
    CHECK_SECONDS(&s, 4.1, 0.15);
    CHECK_LEVEL(&s, 0.2, 1.9, 0.95 * 0.0884, 0.003); /* LAME lowers by 5 %, and ffmpeg shares one channel out to two by 3 dB */
    CHECK_LEVEL(&s, 2.3, 3.9, 0.95 * 0.0625, 0.003);
    drop(&s);
}

static void test_tracks(void)
{
    es_media_info info = {0};
    es_err err = {0};

    if (!ffmpeg("-f lavfi -i testsrc=d=1:s=64x64:r=10 -f lavfi -i anullsrc=r=16000:cl=mono:d=1 -f lavfi -i sine=440:d=1:r=44100 -map 0 "
                "-map 1 -map 2 -c:v mpeg4 -c:a:0 pcm_s16le -c:a:1 flac -t 1 two.mkv"))
        return;
    sound s = decode(in_folder("two.mkv"), 0);
    CHECK_INT(s.info.n_tracks, 2);
    CHECK_STR(s.info.codec, "pcm_s16le");
    CHECK_LEVEL(&s, 0, 1, 0, 0);
    drop(&s);
    s = decode(in_folder("two.mkv"), 1);
    CHECK_STR(s.info.codec, "flac");
    CHECK_INT(s.info.track, 1);
    CHECK_LEVEL(&s, 0.1, 0.9, 0.0884, 0.001);
    drop(&s);
    s = decode(in_folder("two.mkv"), 2);
    CHECK_INT(s.rc, ES_EARG);
    check_sentence(&s.err, "has 2 audio tracks");
    drop(&s);
    CHECK_INT(es_media_probe(&info, in_folder("two.mkv"), 1, &err), ES_OK);
    CHECK_STR(info.container, "matroska,webm");
    CHECK_INT(info.sample_rate, 44100);
    CHECK(llabs((long long)info.duration_ms - 1000) <= 100, "%lld ms", (long long)info.duration_ms);
    es_media_info_done(&info);
}

/* ---- damage ---- */
static void test_cut_files(void)
{
    static const struct {
        const char *name, *arguments;
    } made[] = {
        {"cut.mp4", "-c:a aac -movflags +faststart"}, {"cut.mkv", "-c:a libopus"}, {"cut.wav", "-c:a pcm_s16le"},
        {"cut.avi", "-c:a pcm_s16le"},
    };
    char arguments[512];

    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        snprintf(arguments, sizeof arguments, "-f lavfi -i sine=440:d=10:r=16000 %s %s", made[i].arguments, made[i].name);
        if (!ffmpeg(arguments)) return;
        size_t n;
        uint8_t *bytes = read_file(in_folder(made[i].name), &n);
        sound s = decode_well(in_folder(made[i].name));
        CHECK(!s.info.truncated, "%s, whole", made[i].name);
        CHECK_SECONDS(&s, 10.0, 0.1);
        drop(&s);
        write_file(in_folder(made[i].name), bytes, n * 6 / 10);
        free(bytes);
        s = decode_well(in_folder(made[i].name));
        CHECK(s.info.truncated, "%s, cut", made[i].name);
        CHECK(s.n > 4 * 16000 && s.n < 7 * 16000, "%s: %lld samples of 160000", made[i].name, (long long)s.n);
        CHECK_LEVEL(&s, 0.2, 4, 0.0884, 0.003);
        drop(&s);
    }
    /* The index at the end, and lost. */
    if (!ffmpeg("-f lavfi -i sine=440:d=10:r=16000 -c:a aac late.mp4")) return;
    CHECK_INT(truncate(in_folder("late.mp4"), 20000), 0);
    refuse(in_folder("late.mp4"), ES_EFORMAT, "moov");
}

static void test_damaged_packets(void)
{
    if (!ffmpeg("-f lavfi -i sine=440:d=10:r=48000 -c:a aac bad.mp4")) return;
    size_t n;
    uint8_t *bytes = read_file(in_folder("bad.mp4"), &n);
    es_noise noise = {5};
    for (size_t i = n / 3; i < n / 3 + 4000 && i < n; i++) bytes[i] = (uint8_t)es_noise_bits(&noise);
    write_file(in_folder("bad.mp4"), bytes, n);
    free(bytes);
    sound s = decode_well(in_folder("bad.mp4"));
    CHECK(s.info.damaged_packets > 0 && s.info.damaged_packets < 100, "%lld", (long long)s.info.damaged_packets);
    CHECK_SECONDS(&s, 10.0, 0.1);
    CHECK_LEVEL(&s, 0.1, 3, 0.0884, 0.003);
    CHECK_LEVEL(&s, 5, 9.9, 0.0884, 0.003);
    drop(&s);
}

/* ---- the spool ---- */
static void test_cancel(void)
{
    int16_t *x = calloc(16000 * 60, sizeof *x);
    es_media_info info = {0};
    es_err err = {0};
    es_spool *spool = NULL;
    int calls = 0;

    write_wav(in_folder("long.wav"), 16000, 1, 16, x, 16000 * 60 * sizeof *x);
    mkdir(in_folder("spools"), 0700);
    CHECK_INT(es_media_decode(&spool, &info, in_folder("long.wav"), 0, in_folder("spools"), stop_at_once, &calls, &err), ES_ECANCELLED);
    IS(!spool);
    CHECK_INT(calls, 1);
    CHECK_INT(files_in(in_folder("spools")), 0);
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
    const char *kept = in_folder("kept.spool");
    size_t n;

    for (int i = 0; i < N; i++) x[i] = (int16_t)es_noise_bits(&noise);
    write_wav(in_folder("x.wav"), 16000, 1, 16, x, N * sizeof *x);
    CHECK_INT(es_media_decode(&s, &info, in_folder("x.wav"), 0, es_test_folder(), NULL, NULL, &err), ES_OK);
    CHECK_INT(es_spool_keep(s, kept, &err), ES_OK);
    es_spool_close(s);
    CHECK_INT(es_spool_open(&s, kept, &err), ES_OK);
    CHECK_INT(es_spool_samples(s), N);
    CHECK_INT(es_spool_read(s, N - 2, 4, y, &err), ES_OK);
    IS(y[0] == (float)x[N - 2] / 32768 && y[1] == (float)x[N - 1] / 32768 && y[2] == 0 && y[3] == 0);
    es_spool_close(s);
    uint8_t *bytes = read_file(kept, &n);
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
    write_wav(in_folder("minute.wav"), 16000, 1, 16, x, 16000 * 60 * sizeof *x);
    free(x);
    void (*was)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 300000;
    setrlimit(RLIMIT_FSIZE, &small);
    sound s = decode(in_folder("minute.wav"), 0); /* also checks that no file is left */
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, was);
    CHECK_INT(s.rc, ES_EIO);
    check_sentence(&s.err, "cannot write the decoded sound");
    drop(&s);
    es_spool *spool = NULL;
    es_media_info info = {0};
    es_err err = {0};
    CHECK_INT(es_media_decode(&spool, &info, in_folder("minute.wav"), 0, in_folder("no-such-folder"), NULL, NULL, &err), ES_EIO);
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
        {"same_in_every_container", test_same_in_every_container},
        {"agrees_with_ffmpeg", test_agrees_with_ffmpeg},
        {"late_start", test_late_start},
        {"gaps", test_gaps},
        {"drift_and_jitter", test_drift_and_jitter},
        {"broken_clocks", test_broken_clocks},
        {"form_changes_midway", test_form_changes_midway},
        {"tracks", test_tracks},
        {"cut_files", test_cut_files},
        {"damaged_packets", test_damaged_packets},
        {"cancel", test_cancel},
        {"spool_in_memory", test_spool_in_memory},
        {"spool_kept", test_spool_kept},
        {"disk_full", test_disk_full},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
