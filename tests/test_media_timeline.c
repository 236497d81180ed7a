/*
 * test_media_timeline.c - containers and codecs to a true time line: late starts, gaps, drift, broken clocks, several tracks, and
 * files that are cut or damaged.
 *
 * They are made with the ffmpeg program where there is one; what it makes is checked by where known tones and silences lie, by how
 * far a recording is shifted against its original, and against ffmpeg's own conversion.
 */
#define _GNU_SOURCE
#include "sounds.h"

/* ---- the time line ---- */

/* Files of the folder, byte behind byte. */
static void joined(const char *to, const char *files)
{
    char command[5000];

    snprintf(command, sizeof command, "cd '%s' && cat %s >%s", es_test_folder(), files, to);
    CHECK_INT(system(command), 0);
}

/* First moment louder than a threshold, in seconds, from a given one on. */
static double onset(const sound *s, double from, float threshold)
{
    for (int64_t i = (int64_t)(from * 16000); i < s->n; i++)
        if (fabsf(s->x[i]) > threshold) return (double)i / 16000;
    return -1;
}

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
        if (!ffmpeg("-i '%s' %s %s", original, made[i].arguments, made[i].name)) break;
        sound b = decode_well(at(made[i].name));
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

    for (size_t k = 0; k < sizeof sources / sizeof *sources; k++) {
        if (!ffmpeg("-f lavfi -i \"%s\" -c:a flac in.flac", sources[k]) || !ffmpeg("-i in.flac -ac 1 -ar 16000 -f s16le want.raw")) return;
        size_t bytes;
        uint8_t *want = (uint8_t *)read_file(at("want.raw"), &bytes);
        sound s = decode_well(at("in.flac"));
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
        sound s = decode_well(at(names[i]));
        double start = onset(&s, 0, 0.02f);
        CHECK(fabs(start - 1.5) < (i == 2 ? 0.03 : 0.004), "%s begins at %.4f s", names[i], start);
        CHECK_LEVEL(&s, 0, 1.45, 0, 0.0001);
        CHECK_SECONDS(&s, 3.5, 0.06);
        drop(&s);
    }
    /* The recording begins where its first stream does, however its clock reads. */
    sound s = decode_well(at("alone.mkv"));
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
    sound s = decode_well(at("gap.mkv"));
    CHECK_SECONDS(&s, 6.0, 0.002);
    CHECK_LEVEL(&s, 0.01, 1.99, 0.0884, 0.001);
    CHECK_LEVEL(&s, 2.005, 3.495, 0, 0);
    CHECK_LEVEL(&s, 3.51, 4.49, 0.0884, 0.001);
    CHECK_LEVEL(&s, 4.505, 4.595, 0, 0);
    CHECK_LEVEL(&s, 4.61, 5.99, 0.0884, 0.001);
    drop(&s);
    s = decode_well(at("over.nut"));
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
    sound s = decode_well(at("slow.mkv"));
    CHECK_SECONDS(&s, 20.2, 0.06);
    drop(&s);
    s = decode_well(at("fast.mkv"));
    CHECK_SECONDS(&s, 19.8, 0.06);
    drop(&s);
    s = decode_well(at("jitter.mkv"));
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
    sound s = decode_well(at("year.nut"));
    CHECK_SECONDS(&s, 4.0, 0.002);
    drop(&s);
    joined("joined.ts", "part.ts part.ts part.ts");
    s = decode_well(at("joined.ts"));
    CHECK_SECONDS(&s, 60.0, 0.2);
    CHECK_LEVEL(&s, 1, 59, 0.0884, 0.003);
    drop(&s);
}

static void test_form_changes_midway(void)
{
    if (!ffmpeg("-f lavfi -i sine=440:d=2:r=44100 -c:a libmp3lame -write_xing 0 -id3v2_version 0 one.mp3") ||
        !ffmpeg("-f lavfi -i sine=440:d=2:r=22050 -ac 2 -c:a libmp3lame -write_xing 0 -id3v2_version 0 two.mp3"))
        return;
    joined("both.mp3", "one.mp3 two.mp3");
    sound s = decode_well(at("both.mp3"));
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
    sound s = decode(at("two.mkv"), 0);
    CHECK_INT(s.info.n_tracks, 2);
    CHECK_STR(s.info.codec, "pcm_s16le");
    CHECK_LEVEL(&s, 0, 1, 0, 0);
    drop(&s);
    s = decode(at("two.mkv"), 1);
    CHECK_STR(s.info.codec, "flac");
    CHECK_INT(s.info.track, 1);
    CHECK_LEVEL(&s, 0.1, 0.9, 0.0884, 0.001);
    drop(&s);
    s = decode(at("two.mkv"), 2);
    CHECK_INT(s.rc, ES_EARG);
    check_sentence(&s.err, "has 2 audio tracks");
    drop(&s);
    CHECK_INT(es_media_probe(&info, at("two.mkv"), 1, &err), ES_OK);
    CHECK_STR(info.container, "matroska,webm");
    CHECK_INT(info.sample_rate, 44100);
    CHECK(llabs((long long)info.duration_ms - 1000) <= 100, "%lld ms", (long long)info.duration_ms);
    es_media_info_done(&info);
}

/* ---- damage ---- */

/* ---- damage ---- */
static void test_cut_files(void)
{
    static const struct {
        const char *name, *arguments;
    } made[] = {
        {"cut.mp4", "-c:a aac -movflags +faststart"}, {"cut.mkv", "-c:a libopus"}, {"cut.wav", "-c:a pcm_s16le"},
        {"cut.avi", "-c:a pcm_s16le"},
    };

    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        if (!ffmpeg("-f lavfi -i sine=440:d=10:r=16000 %s %s", made[i].arguments, made[i].name)) return;
        size_t n;
        uint8_t *bytes = (uint8_t *)read_file(at(made[i].name), &n);
        sound s = decode_well(at(made[i].name));
        CHECK(!s.info.truncated, "%s, whole", made[i].name);
        CHECK_SECONDS(&s, 10.0, 0.1);
        drop(&s);
        write_file(at(made[i].name), bytes, n * 6 / 10);
        free(bytes);
        s = decode_well(at(made[i].name));
        CHECK(s.info.truncated, "%s, cut", made[i].name);
        CHECK(s.n > 4 * 16000 && s.n < 7 * 16000, "%s: %lld samples of 160000", made[i].name, (long long)s.n);
        CHECK_LEVEL(&s, 0.2, 4, 0.0884, 0.003);
        drop(&s);
    }
    /* The index at the end, and lost. */
    if (!ffmpeg("-f lavfi -i sine=440:d=10:r=16000 -c:a aac late.mp4")) return;
    CHECK_INT(truncate(at("late.mp4"), 20000), 0);
    refuse(at("late.mp4"), ES_EFORMAT, "moov");
}

static void test_damaged_packets(void)
{
    if (!ffmpeg("-f lavfi -i sine=440:d=10:r=48000 -c:a aac bad.mp4")) return;
    size_t n;
    uint8_t *bytes = (uint8_t *)read_file(at("bad.mp4"), &n);
    es_noise noise = {5};
    for (size_t i = n / 3; i < n / 3 + 4000 && i < n; i++) bytes[i] = (uint8_t)es_noise_bits(&noise);
    write_file(at("bad.mp4"), bytes, n);
    free(bytes);
    sound s = decode_well(at("bad.mp4"));
    CHECK(s.info.damaged_packets > 0 && s.info.damaged_packets < 100, "%lld", (long long)s.info.damaged_packets);
    CHECK_SECONDS(&s, 10.0, 0.1);
    CHECK_LEVEL(&s, 0.1, 3, 0.0884, 0.003);
    CHECK_LEVEL(&s, 5, 9.9, 0.0884, 0.003);
    drop(&s);
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
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
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
