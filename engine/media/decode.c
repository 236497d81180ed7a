/*
 * decode.c - packets to 16 kHz mono on a true time line.
 *
 *   packet -> decoder -> frame (any rate, channels, sample format; a time)
 *          -> place it: silence before it, or its beginning cut
 *          -> clean it: samples that are not numbers
 *          -> swr: one channel, 16 kHz, s16 -> spool
 *
 * The time line. The sound decoded so far, with what the resampler still holds, says where the next frame would begin;
 * its timestamp says where it should. The two are compared in full each time, so small differences cannot add up:
 *
 *   within 50 ms     nothing is done. Containers round to milliseconds, and muxers stamp packets up to a frame's length
 *                    (21 to 46 ms) off; correcting these would cut and stretch sound that is whole.
 *   later            the resampler is drained and the difference filled with silence: a late start, a gap, lost packets,
 *                    or a clock that drifted until it reached 50 ms
 *   earlier          what overlaps is cut off the frame
 *   much earlier     (5 s) the clock was set back, as in transport streams that were joined: the sound goes on where it
 *                    is and later times are counted from there, since cutting would lose the rest of the recording
 *   beyond the end   (of the container's duration, or silence of a day in all) the same: a broken timestamp must not
 *                    fill a disk
 *
 * The first frame is placed to the millisecond, as nothing is cut by that, and so is the one that ends an overlap. Where
 * the sound is the only stream and up to 10 ms late there is nothing it could be late for, and its first sample is second
 * 0: some muxers add the encoder's run-in (6.5 ms in Opus) to all times to keep them positive. More than that is more
 * likely a first packet that could not be decoded.
 *
 * The mix. Stereo becomes the mean of both; surround layouts go through swr's matrix, which is ffmpeg's own and leaves
 * out the bass channel. Channels whose places are not named (three microphones in a wav) count alike: a matrix that takes
 * one of them for bass would drop a speaker. One channel is taken as it is, so 16 kHz mono s16 passes bit for bit.
 */
#include "media/decode.h"

#include <libavcodec/avcodec.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "media/input.h"
#include "media/spool.h"

enum {
    TOLERANCE = ES_RATE / 20,          /* samples, as are all below: 50 ms */
    FIRST_TOLERANCE = ES_RATE / 1000,  /* 1 ms: the time base of Matroska */
    ALONE_TOLERANCE = ES_RATE / 100,
    CLOCK_SET_BACK = 5 * ES_RATE,
    PAST_THE_END = 60 * ES_RATE,       /* beyond the stated duration */
    MOST_SILENCE = 24 * 3600 * ES_RATE, /* in all */
    SLICE = 4096,                      /* samples given to swr at once, so that its output buffer stays small */
    MAX_CHANNELS = 32,                 /* what swr takes in all versions */
    MIN_RATE = 1000, MAX_RATE = 768000, /* outside, one sample could become thousands, or a filter gigabytes */
    MAX_BAD_READS = 100,               /* in a row before the file is taken to have ended */
};

typedef struct sound_form {
    int format, rate, channels;
    uint64_t places; /* of the channels, a bit each; 0: not named */
} sound_form;

typedef struct decoder {
    es_input in;
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame;
    SwrContext *swr;   /* NULL until a frame comes and after a gap */
    sound_form form;   /* what swr takes */
    int16_t *out;      /* [out_room], what swr gives */
    int out_room;
    es_spool *spool;
    int64_t zero_us;   /* second 0 on the container's clock */
    int64_t shift;     /* added to every position after the clock jumped */
    int64_t last;      /* position that no timestamp may lie beyond */
    int64_t silence;   /* put in so far */
    int64_t damaged, not_numbers, frames, misformed;
    bool started;      /* a frame was taken */
    bool settled;      /* the last frame was taken, so that the next may be 50 ms off */
} decoder;

/* ---- swr ---- */
static sound_form form_of(const AVFrame *f)
{
    sound_form form = {.format = f->format, .rate = f->sample_rate};
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100)
    form.channels = f->ch_layout.nb_channels;
    if (f->ch_layout.order == AV_CHANNEL_ORDER_NATIVE) form.places = f->ch_layout.u.mask;
#else
    form.channels = f->channels;
    if (av_get_channel_layout_nb_channels(f->channel_layout) == f->channels) form.places = f->channel_layout;
#endif
    /* With one or two channels there is nothing to weigh, whatever they are called. */
    if (form.channels == 1) form.places = AV_CH_LAYOUT_MONO;
    if (form.channels == 2) form.places = AV_CH_LAYOUT_STEREO;
    return form;
}

static bool same_form(const sound_form *a, const sound_form *b)
{
    return a->format == b->format && a->rate == b->rate && a->channels == b->channels && a->places == b->places;
}

static int open_swr(decoder *d, const sound_form *form, es_err *err)
{
    uint64_t places = form->places ? form->places : ((uint64_t)1 << form->channels) - 1;
    char reason[128];
    int av;

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 28, 100)
    AVChannelLayout from = {0}, to = {0};
    av_channel_layout_from_mask(&from, places);
    av_channel_layout_from_mask(&to, AV_CH_LAYOUT_MONO);
    av = swr_alloc_set_opts2(&d->swr, &to, AV_SAMPLE_FMT_S16, ES_RATE, &from, (enum AVSampleFormat)form->format,
                             form->rate, 0, NULL);
    av_channel_layout_uninit(&from);
    av_channel_layout_uninit(&to);
#else
    d->swr = swr_alloc_set_opts(NULL, AV_CH_LAYOUT_MONO, AV_SAMPLE_FMT_S16, ES_RATE, (int64_t)places,
                                (enum AVSampleFormat)form->format, form->rate, 0, NULL);
    av = d->swr ? 0 : AVERROR(ENOMEM);
#endif
    if (av >= 0 && !form->places) {
        double mean[MAX_CHANNELS];
        for (int c = 0; c < form->channels; c++) mean[c] = 1.0 / form->channels;
        av = swr_set_matrix(d->swr, mean, form->channels);
    }
    if (av >= 0) av = swr_init(d->swr);
    if (av < 0) {
        swr_free(&d->swr);
        return es_fail(err, av == AVERROR(ENOMEM) ? ES_ENOMEM : ES_EFORMAT,
                       "%s: cannot bring %d channels at %d Hz to 16000 Hz mono: %s", d->in.shown, form->channels,
                       form->rate, es_input_reason(reason, sizeof reason, av));
    }
    d->form = *form;
    return ES_OK;
}

/* n samples per channel from planes (NULL: what swr still holds) through swr into the spool. */
static int convert(decoder *d, const uint8_t **planes, int n, es_err *err)
{
    int room = swr_get_out_samples(d->swr, n), got;

    if (room > d->out_room) {
        int16_t *larger = realloc(d->out, (size_t)room * sizeof *larger);
        if (!larger) return es_fail(err, ES_ENOMEM, "%s: no memory for %d samples", d->in.shown, room);
        d->out = larger, d->out_room = room;
    }
    if (room <= 0) return ES_OK;
    got = swr_convert(d->swr, (uint8_t *[]){(uint8_t *)d->out}, d->out_room, planes, n);
    if (got < 0) {
        char reason[128];
        return es_fail(err, ES_EFORMAT, "%s: cannot be resampled: %s", d->in.shown, es_input_reason(reason, sizeof reason, got));
    }
    return es_spool_append(d->spool, d->out, got, err);
}

static int drain_swr(decoder *d, es_err *err)
{
    int rc = ES_OK;

    if (d->swr) rc = convert(d, NULL, 0, err);
    swr_free(&d->swr);
    return rc;
}

/* ---- frames ---- */
/* Samples that are not numbers become silence; swr would smear each over its filter and then turn it into a crack. So
 * large that the sum would not fit an integer is not a sound either. True when there were any. */
#define CLEAN(type)                                                                                                    \
    for (int p = 0; p < planes; p++) {                                                                                 \
        type *x = (type *)(void *)f->extended_data[p];                                                                 \
        for (int i = 0; i < each; i++)                                                                                 \
            if (!(x[i] >= -256 && x[i] <= 256)) bad++, x[i] = 0;                                                       \
    }

static int clean(decoder *d, AVFrame *f, es_err *err)
{
    bool planar = av_sample_fmt_is_planar((enum AVSampleFormat)f->format);
    enum AVSampleFormat packed = av_get_packed_sample_fmt((enum AVSampleFormat)f->format);
    int channels = form_of(f).channels, planes = planar ? channels : 1, each = planar ? f->nb_samples : f->nb_samples * channels;
    int64_t bad = 0;

    if (packed != AV_SAMPLE_FMT_FLT && packed != AV_SAMPLE_FMT_DBL) return ES_OK;
    if (av_frame_make_writable(f) < 0) return es_fail(err, ES_ENOMEM, "%s: no memory for a frame", d->in.shown);
    if (packed == AV_SAMPLE_FMT_FLT) {
        CLEAN(float)
    } else {
        CLEAN(double)
    }
    d->not_numbers += bad;
    return ES_OK;
}

/* Where f begins, in samples of the recording; false when it does not say. */
static bool position(const decoder *d, const AVFrame *f, int64_t *at)
{
    const int64_t far = (int64_t)1 << 50;
    int64_t start, zero = av_rescale_q(d->zero_us, AV_TIME_BASE_Q, (AVRational){1, ES_RATE});

    if (f->pts == AV_NOPTS_VALUE) return false;
    start = av_rescale_q(f->pts, d->in.stream->time_base, (AVRational){1, ES_RATE});
    if (start > far || start < -far || zero > far || zero < -far) return false;
    *at = start - zero + d->shift;
    return true;
}

/* Makes the spool end where f begins. *cut: samples of f to leave out. */
static int place(decoder *d, const AVFrame *f, int *cut, es_err *err)
{
    int64_t next = es_spool_samples(d->spool) + (d->swr ? swr_get_delay(d->swr, ES_RATE) : 0), at, off;
    int64_t tolerance = d->settled ? TOLERANCE : FIRST_TOLERANCE;
    int rc;

    *cut = 0;
    if (!position(d, f, &at)) return ES_OK;
    if (!d->started && d->in.alone && at > 0 && at <= ALONE_TOLERANCE) d->shift = -at, at = 0;
    off = at - next;
    if (off > tolerance && (at > d->last || off > MOST_SILENCE - d->silence)) {
        es_log(ES_LOG_NOTE, "%s: a timestamp jumps to %lld s at %lld s, and is not followed", d->in.shown,
               (long long)(at / ES_RATE), (long long)(next / ES_RATE));
        d->shift -= off;
    } else if (off > tolerance) {
        rc = drain_swr(d, err);
        if (rc) return rc;
        off = at - es_spool_samples(d->spool); /* draining rounds */
        if (off <= 0) return ES_OK;
        d->silence += off;
        return es_spool_append_silence(d->spool, off, err);
    } else if (off < -tolerance && d->started && off < -CLOCK_SET_BACK) {
        es_log(ES_LOG_NOTE, "%s: the clock is set back by %lld s at %lld s, and is not followed", d->in.shown,
               (long long)(-off / ES_RATE), (long long)(next / ES_RATE));
        d->shift -= off;
    } else if (off < -tolerance) {
        int64_t n = av_rescale_rnd(-off, f->sample_rate, ES_RATE, AV_ROUND_UP);
        *cut = n < f->nb_samples ? (int)n : f->nb_samples;
    }
    return ES_OK;
}

static int take_frame(decoder *d, AVFrame *f, es_err *err)
{
    sound_form form = form_of(f);
    bool planar = av_sample_fmt_is_planar((enum AVSampleFormat)f->format);
    int width = av_get_bytes_per_sample((enum AVSampleFormat)f->format), cut, rc;

    if (f->nb_samples <= 0) return ES_OK;
    if (form.rate < MIN_RATE || form.rate > MAX_RATE || form.channels < 1 || form.channels > MAX_CHANNELS || width <= 0) {
        d->damaged++, d->misformed++;
        es_log(ES_LOG_DEBUG, "%s: a frame of %d channels at %d Hz is skipped", d->in.shown, form.channels, form.rate);
        return ES_OK;
    }
    if (d->swr && !same_form(&form, &d->form)) {
        rc = drain_swr(d, err);
        if (rc) return rc;
    }
    rc = place(d, f, &cut, err);
    d->settled = cut < f->nb_samples;
    if (rc || !d->settled) return rc;
    if (!d->swr) rc = open_swr(d, &form, err);
    if (!rc) rc = clean(d, f, err);
    for (int at = cut; at < f->nb_samples && !rc; at += SLICE) {
        const uint8_t *planes[MAX_CHANNELS] = {0};
        int n = f->nb_samples - at < SLICE ? f->nb_samples - at : SLICE;
        size_t skip = (size_t)at * (size_t)width * (planar ? 1 : (size_t)form.channels);
        for (int p = 0; p < (planar ? form.channels : 1); p++) planes[p] = f->extended_data[p] + skip;
        rc = convert(d, planes, n, err);
    }
    d->started = true;
    d->frames++;
    return rc;
}

/* A packet, or NULL for what the decoder still holds. */
static int take_packet(decoder *d, const AVPacket *packet, es_err *err)
{
    int av = avcodec_send_packet(d->codec, packet), rc = ES_OK;

    if (av == AVERROR(ENOMEM)) return es_fail(err, ES_ENOMEM, "%s: no memory to decode it", d->in.shown);
    if (av < 0 && av != AVERROR_EOF) {
        d->damaged++;
        return ES_OK;
    }
    while (!rc) {
        av = avcodec_receive_frame(d->codec, d->frame);
        if (av == AVERROR(ENOMEM)) return es_fail(err, ES_ENOMEM, "%s: no memory to decode it", d->in.shown);
        if (av < 0) {
            if (av != AVERROR(EAGAIN) && av != AVERROR_EOF) d->damaged++;
            break;
        }
        if (d->frame->decode_error_flags || d->frame->flags & AV_FRAME_FLAG_CORRUPT) d->damaged++; /* concealed */
        rc = take_frame(d, d->frame, err);
        av_frame_unref(d->frame);
    }
    return rc;
}

/* ---- the whole file ---- */
static int open_decoder(decoder *d, es_err *err)
{
    const AVCodecParameters *p = d->in.stream->codecpar;
    const AVCodec *codec = avcodec_find_decoder(p->codec_id);
    char reason[128];
    int av;

    if (!codec)
        return es_fail(err, ES_EFORMAT, "%s: its sound is %s, for which this FFmpeg has no decoder", d->in.shown,
                       avcodec_get_name(p->codec_id));
    d->codec = avcodec_alloc_context3(codec);
    d->packet = av_packet_alloc();
    d->frame = av_frame_alloc();
    if (!d->codec || !d->packet || !d->frame) return es_fail(err, ES_ENOMEM, "%s: no memory to decode it", d->in.shown);
    av = avcodec_parameters_to_context(d->codec, p);
    d->codec->pkt_timebase = d->in.stream->time_base; /* by which the decoder moves times when it drops the run-in */
    d->codec->thread_count = 1;
    if (av >= 0) av = avcodec_open2(d->codec, codec, NULL);
    if (av < 0)
        return es_fail(err, av == AVERROR(ENOMEM) ? ES_ENOMEM : ES_EFORMAT, "%s: cannot decode its sound (%s): %s",
                       d->in.shown, codec->name, es_input_reason(reason, sizeof reason, av));
    return ES_OK;
}

/* Where the recording ends by its own account, or far away. A duration guessed from the bit rate is no account. */
static int64_t last_position(const es_input *in)
{
    if (in->format->duration == AV_NOPTS_VALUE || in->format->duration <= 0 ||
        in->format->duration_estimation_method == AVFMT_DURATION_FROM_BITRATE)
        return INT64_MAX;
    return av_rescale_q(in->format->duration, AV_TIME_BASE_Q, (AVRational){1, ES_RATE}) + PAST_THE_END;
}

static int read_packets(decoder *d, bool *truncated, es_err *err)
{
    int bad_reads = 0, rc = ES_OK;
    bool corrupt_end = false;

    for (;;) {
        int av;
        d->in.done_ms = es_spool_samples(d->spool) / (ES_RATE / 1000);
        av = es_input_tick(&d->in) ? AVERROR_EXIT : av_read_frame(d->in.format, d->packet);
        if (d->in.cancelled) return es_fail(err, ES_ECANCELLED, "%s: cancelled while decoding", d->in.shown);
        if (d->in.read_errno)
            return es_fail(err, ES_EIO, "%s: cannot be read: %s", d->in.shown, strerror(d->in.read_errno));
        if (av == AVERROR(ENOMEM)) return es_fail(err, ES_ENOMEM, "%s: no memory to read it", d->in.shown);
        if (av == AVERROR_EOF || (av < 0 && ++bad_reads > MAX_BAD_READS)) break;
        if (av < 0) continue;
        d->damaged += bad_reads; /* sound came after them, so they were holes and not the end */
        bad_reads = 0;
        if (d->packet->stream_index == d->in.stream->index) {
            corrupt_end = d->packet->flags & AV_PKT_FLAG_CORRUPT;
            rc = take_packet(d, d->packet, err);
        }
        av_packet_unref(d->packet);
        if (rc) return rc;
    }
    *truncated = d->in.shape.cut || bad_reads > 0 || corrupt_end;
    rc = take_packet(d, NULL, err);
    return rc ? rc : drain_swr(d, err);
}

int es_media_probe(es_media_info *info, const char *path, int track, es_err *err)
{
    es_input in;
    int rc = es_input_open(&in, info, path, track, NULL, NULL, err);

    if (!rc) es_input_close(&in);
    return rc;
}

int es_media_decode(es_spool **out, es_media_info *info, const char *path, int track, const char *tmp_dir,
                    es_media_progress progress, void *user, es_err *err)
{
    decoder d = {0};
    bool truncated = false;
    int rc = es_input_open(&d.in, info, path, track, progress, user, err);

    *out = NULL;
    if (rc) return rc;
    rc = open_decoder(&d, err);
    if (rc) goto out;
    rc = es_spool_create(&d.spool, tmp_dir, err);
    if (rc) goto out;
    d.zero_us = es_input_zero_us(&d.in);
    d.last = last_position(&d.in);
    rc = read_packets(&d, &truncated, err);
    if (rc) goto out;
    if (!es_spool_samples(d.spool)) {
        rc = d.misformed ? es_fail(err, ES_EFORMAT, "%s: its sound has %d channels at %d Hz; 1 to %d channels at %d to %d Hz are read",
                                   d.in.shown, info->channels, info->sample_rate, MAX_CHANNELS, MIN_RATE, MAX_RATE)
             : d.damaged ? es_fail(err, ES_EFORMAT, "%s: none of its sound (%s) could be decoded; %lld packets are damaged",
                                   d.in.shown, info->codec, (long long)d.damaged)
                         : es_fail(err, ES_ENOMEDIA, "%s: has an audio track (%s) with no sound in it", d.in.shown, info->codec);
        goto out;
    }
    rc = es_spool_finish(d.spool, err);
    if (rc) goto out;
    if (d.not_numbers)
        es_log(ES_LOG_NOTE, "%s: %lld samples are not numbers or out of all bounds, and were taken as silence", d.in.shown,
               (long long)d.not_numbers);
    info->duration_ms = es_spool_samples(d.spool) * 1000 / ES_RATE;
    info->damaged_packets = d.damaged;
    info->truncated = truncated;
    if (progress) progress(user, "decoding", info->duration_ms, info->duration_ms); /* too late to cancel */
    *out = d.spool;
    d.spool = NULL;
out:
    es_spool_close(d.spool);
    free(d.out);
    swr_free(&d.swr);
    av_frame_free(&d.frame);
    av_packet_free(&d.packet);
    avcodec_free_context(&d.codec);
    es_input_close(&d.in);
    return rc;
}
