/*
 * input.c - a media file opened with FFmpeg and nothing but that file.
 *
 * FFmpeg opens what it is told to, and a media file can tell it to open more: a playlist names other files or addresses,
 * a concat script names any path, an image sequence is a pattern. So FFmpeg is never given a name to open. It reads
 * through our own descriptor (which also spares us its notion that "a:b.mp4" is a protocol called a), the hook through
 * which demuxers open further files refuses every one of them, and demuxers that exist for that purpose are refused by
 * name, as are those that take any text for subtitles or a drawing. What is left is every container FFmpeg reads.
 *
 * Only decoders of sound may run, so that no picture is ever decoded while a file is searched for its streams.
 */
#define _GNU_SOURCE
#include "media/input.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavutil/avstring.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum {
    IO_BYTES = 1 << 16,
    TICK_NS = 100 * 1000000, /* between calls of progress */
};

static const struct refusal {
    const char *names; /* of demuxers, as av_match_name takes them */
    const char *why;
} refusals[] = {
    {"hls,applehttp,concat,dash,imf,webm_dash_manifest,sdp,rtsp,rtp,sap,redir,vobsub,avisynth,vapoursynth",
     "is a list that names other files, which is not followed"},
    {"image2,image2pipe", "is a picture"},
    {"tty,bin,xbin,adf,idf,srt,ass,ssa,webvtt,microdvd,mpl2,mpsub,sami,realtext,subviewer,subviewer1,stl,scc,lrc,jacosub,"
     "pjs,vplayer,aqtitle,tedcaptions,ttml,mcc,sup,dvbsub,dvbtxt,ffmetadata,sbg",
     "holds text or subtitles, not sound"},
    {"lavfi,rawvideo,data", "has no container that says what it holds"},
};

/* FFmpeg's own lines, which it would print to stderr. They may hold names and line breaks; the sink prints them one by
 * one and only for debugging. */
static void quiet(void *from, int level, const char *format, va_list ap)
{
    char line[512];
    int prefix = 1;

    if (level > AV_LOG_WARNING) return;
    av_log_format_line2(from, level, format, ap, line, sizeof line, &prefix);
    line[strcspn(line, "\r\n")] = 0;
    es_log(ES_LOG_DEBUG, "FFmpeg: %s", line);
}

static void set_quiet(void)
{
    av_log_set_callback(quiet);
}

const char *es_input_reason(char *out, size_t n, int av_error)
{
    if (av_error == AVERROR_INVALIDDATA) snprintf(out, n, "its data is not valid");
    else if (av_strerror(av_error, out, n) < 0) snprintf(out, n, "error %d", av_error);
    return out;
}

/* ---- reading ---- */
bool es_input_tick(es_input *in)
{
    struct timespec now;

    if (in->cancelled || !in->progress) return in->cancelled;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if ((now.tv_sec - in->last.tv_sec) * 1000000000 + (now.tv_nsec - in->last.tv_nsec) > TICK_NS) {
        in->last = now;
        in->cancelled = in->progress(in->user, "decoding", in->done_ms, in->all_ms) != 0;
    }
    return in->cancelled;
}

static int read_some(void *opaque, uint8_t *to, int n)
{
    es_input *in = opaque;
    ssize_t got;

    if (es_input_tick(in)) return AVERROR_EXIT;
    do got = pread(in->fd, to, (size_t)n, in->at);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        in->read_errno = errno;
        return AVERROR(errno);
    }
    if (got == 0) return AVERROR_EOF;
    in->at += got;
    return (int)got;
}

static int64_t seek_to(void *opaque, int64_t offset, int whence)
{
    es_input *in = opaque;

    if (whence & AVSEEK_SIZE) return in->bytes;
    whence &= ~AVSEEK_FORCE;
    if (whence == SEEK_CUR) offset += in->at;
    else if (whence == SEEK_END) offset += in->bytes;
    if (offset < 0) return AVERROR(EINVAL);
    return in->at = offset;
}

static int open_another(struct AVFormatContext *s, AVIOContext **pb, const char *url, int flags, AVDictionary **options)
{
    char shown[400];

    (void)s, (void)flags, (void)options;
    *pb = NULL;
    es_log(ES_LOG_NOTE, "a recording asks for another file, %s, which is not opened", es_printable(shown, sizeof shown, url));
    return AVERROR(EPERM);
}

/* "pcm_s16le,aac,...": every decoder of sound there is. The caller's to av_free(). */
static char *sound_decoders(void)
{
    void *at = NULL;
    const AVCodec *codec;
    char *names = NULL;

    while ((codec = av_codec_iterate(&at))) {
        char *longer;
        if (codec->type != AVMEDIA_TYPE_AUDIO || !av_codec_is_decoder(codec)) continue;
        longer = av_asprintf("%s%s%s", names ? names : "", names ? "," : "", codec->name);
        av_free(names);
        if (!longer) return NULL;
        names = longer;
    }
    return names;
}

/* ---- opening ---- */
static int refuse(const es_input *in, const AVInputFormat *found, int score, es_err *err)
{
    if (in->shape.kind == ES_CONTENT_PLAYLIST)
        return es_fail(err, ES_EFORMAT, "%s: is a playlist that names other files, which are not opened", in->shown);
    if (found) {
        size_t length = strlen(found->name);
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
            if (av_match_name(found->name, refusals[i].names))
                return es_fail(err, ES_EFORMAT, "%s: %s (%s)", in->shown, refusals[i].why, found->name);
        if (length > 5 && !strcmp(found->name + length - 5, "_pipe"))
            return es_fail(err, ES_EFORMAT, "%s: is a picture (%s)", in->shown, found->name);
        if (found->flags & AVFMT_NOFILE)
            return es_fail(err, ES_EFORMAT, "%s: is no file to FFmpeg (%s)", in->shown, found->name);
    }
    if (in->shape.kind == ES_CONTENT_TEXT && score <= AVPROBE_SCORE_RETRY)
        return es_fail(err, ES_EFORMAT, "%s: holds text, not sound", in->shown);
    if (!found) return es_fail(err, ES_EFORMAT, "%s: is in no form that FFmpeg knows", in->shown);
    return ES_OK;
}

static int choose(es_input *in, es_media_info *info, int track, es_err *err)
{
    char list[300] = "";
    size_t used = 0;

    info->n_tracks = 0;
    for (unsigned i = 0; i < in->format->nb_streams; i++) {
        AVStream *s = in->format->streams[i];
        const char *type = av_get_media_type_string(s->codecpar->codec_type);
        if (s->codecpar->codec_type == AVMEDIA_TYPE_AUDIO && info->n_tracks++ == track) in->stream = s;
        if (used < sizeof list) /* snprintf says what it would have written */
            used += (size_t)snprintf(list + used, sizeof list - used, "%s%s %s", i ? ", " : "", type ? type : "unknown",
                                     avcodec_get_name(s->codecpar->codec_id));
    }
    if (!info->n_tracks && !in->format->nb_streams)
        return es_fail(err, ES_ENOMEDIA, "%s: has no sound; it has no streams at all", in->shown);
    if (!info->n_tracks) return es_fail(err, ES_ENOMEDIA, "%s: has no sound; its streams are: %s", in->shown, list);
    if (!in->stream)
        return es_fail(err, ES_EARG, "%s: has %d audio track%s, so track %d (counted from 0) is not there", in->shown,
                       info->n_tracks, info->n_tracks == 1 ? "" : "s", track);
    return ES_OK;
}

/* Sound or moving pictures: a cover has no time, and subtitles do not say when a recording begins. */
static bool has_time(const AVStream *s)
{
    enum AVMediaType type = s->codecpar->codec_type;

    return (type == AVMEDIA_TYPE_AUDIO || type == AVMEDIA_TYPE_VIDEO) && !(s->disposition & AV_DISPOSITION_ATTACHED_PIC);
}

static int64_t stated_ms(const es_input *in)
{
    int64_t ms = 0;

    if (in->stream->duration != AV_NOPTS_VALUE && in->stream->duration > 0)
        ms = av_rescale_q(in->stream->duration, in->stream->time_base, (AVRational){1, 1000});
    else if (in->format->duration != AV_NOPTS_VALUE && in->format->duration > 0)
        ms = in->format->duration / (AV_TIME_BASE / 1000);
    return ms > 0 ? ms : 0;
}

static void describe(const es_input *in, es_media_info *info, int track)
{
    const AVCodecParameters *p = in->stream->codecpar;

    info->track = track;
    snprintf(info->container, sizeof info->container, "%s", in->format->iformat->name);
    snprintf(info->codec, sizeof info->codec, "%s", avcodec_get_name(p->codec_id));
    info->sample_rate = p->sample_rate;
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100)
    info->channels = p->ch_layout.nb_channels;
#else
    info->channels = p->channels;
#endif
    info->duration_ms = stated_ms(in);
}

int es_input_open(es_input *in, es_media_info *info, const char *path, int track, es_media_progress progress, void *user,
                  es_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    /* The constness of what a probe gives changed between FFmpeg 4 and 5. */
#if LIBAVFORMAT_VERSION_MAJOR >= 59
    const AVInputFormat *found = NULL;
#else
    AVInputFormat *found = NULL;
#endif
    AVDictionary *options = NULL;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    uint8_t *buffer = NULL;
    char *decoders = NULL, reason[128];
    int rc, score, av;

    *in = (es_input){.fd = -1, .progress = progress, .user = user};
    es_printable(in->shown, sizeof in->shown, path);
    pthread_once(&once, set_quiet);
    if (track < 0) return es_fail(err, ES_EARG, "%s: track %d is not a number from 0", in->shown, track);
    rc = es_content_open(&in->fd, info, path, err);
    if (rc) return rc;
    in->bytes = (int64_t)info->bytes;
    in->shape = es_content_look(in->fd, info->bytes);

    buffer = av_malloc(IO_BYTES);
    in->io = buffer ? avio_alloc_context(buffer, IO_BYTES, 0, in, read_some, NULL, seek_to) : NULL;
    in->format = avformat_alloc_context();
    decoders = sound_decoders();
    if (!in->io || !in->format || !decoders || av_dict_set(&options, "codec_whitelist", decoders, 0) < 0 ||
        av_dict_set(&options, "protocol_whitelist", "file", 0) < 0) {
        if (!in->io) av_free(buffer);
        rc = es_fail(err, ES_ENOMEM, "%s: no memory to open it", in->shown);
        goto out;
    }
    /* The name is only used to weigh endings against each other; a demuxer without a mark to look for needs it. */
    score = av_probe_input_buffer2(in->io, &found, name, NULL, 0, 0);
    if (score == AVERROR_EXIT || in->read_errno) found = NULL;
    else rc = refuse(in, found, score, err);
    if (rc) goto out;
    in->format->pb = in->io;
    in->format->flags |= AVFMT_FLAG_CUSTOM_IO; /* or a close before the open would take io for FFmpeg's own */
    in->format->io_open = open_another;
    av = in->read_errno || in->cancelled ? AVERROR_EXIT : avformat_open_input(&in->format, name, found, &options);
    if (av >= 0) av = avformat_find_stream_info(in->format, NULL);
    if (in->cancelled) {
        rc = es_fail(err, ES_ECANCELLED, "%s: cancelled while decoding", in->shown);
    } else if (in->read_errno) {
        rc = es_fail(err, ES_EIO, "%s: cannot be read: %s", in->shown, strerror(in->read_errno));
    } else if (av == AVERROR(ENOMEM)) {
        rc = es_fail(err, ES_ENOMEM, "%s: no memory to open it as %s", in->shown, found->name);
    } else if (av < 0 && in->shape.kind == ES_CONTENT_BOXES && !in->shape.has_index) {
        rc = es_fail(err, ES_EFORMAT, "%s: its index (the moov box) is missing: the recording was cut off or never finished",
                     in->shown);
    } else if (av < 0) {
        rc = es_fail(err, ES_EFORMAT, "%s: cannot be opened as %s: %s", in->shown, found->name,
                     es_input_reason(reason, sizeof reason, av));
    } else {
        rc = choose(in, info, track, err);
    }
    if (rc) goto out;
    describe(in, info, track);
    in->all_ms = info->duration_ms;
    in->alone = true;
    for (unsigned i = 0; i < in->format->nb_streams; i++) {
        AVStream *other = in->format->streams[i];
        if (other == in->stream) continue;
        in->alone = in->alone && !has_time(other);
        other->discard = AVDISCARD_ALL; /* not even read where the container can step over it */
    }
out:
    av_dict_free(&options);
    av_free(decoders);
    if (rc) es_input_close(in);
    return rc;
}

int64_t es_input_zero_us(const es_input *in)
{
    int64_t zero = INT64_MAX;

    for (unsigned i = 0; i < in->format->nb_streams; i++) {
        const AVStream *s = in->format->streams[i];
        if (!has_time(s) || s->start_time == AV_NOPTS_VALUE) continue;
        int64_t start = av_rescale_q(s->start_time, s->time_base, AV_TIME_BASE_Q);
        if (start < zero) zero = start;
    }
    if (zero == INT64_MAX || zero == INT64_MIN) return 0;
    /* A start just before zero is an encoder's run-in, which is cut, not a clock that begins there. */
    return zero < 0 && zero > -AV_TIME_BASE / 2 ? 0 : zero;
}

void es_input_close(es_input *in)
{
    avformat_close_input(&in->format); /* leaves io alone, since it is ours */
    if (in->io) av_freep(&in->io->buffer);
    avio_context_free(&in->io);
    if (in->fd >= 0) close(in->fd);
    in->fd = -1;
    in->stream = NULL;
}

const char *es_media_versions(void)
{
    return "libavformat " AV_STRINGIFY(LIBAVFORMAT_VERSION) ", libavcodec " AV_STRINGIFY(LIBAVCODEC_VERSION)
           ", libavutil " AV_STRINGIFY(LIBAVUTIL_VERSION);
}
