/*
 * test_cli_people.c - `earshot enroll` and `earshot speakers` as a user runs them: a voice is enrolled, a recording is
 * named, exported and found again, and after forgetting and compacting no file of the library holds the name. In music nobody speaks.
 */
#include "program.h"

static const char CLIP[] = "audio/librispeech/1688-142285-0000.flac",
                  OTHER[] = "audio/librispeech/1688-142285-0003.flac", TALK[] = "audio/pyannote_sample/sample.wav";

/* The packs in the default folder of models; false, and the test is skipped, where one is missing. */
static bool setup(bool with_speech)
{
    static const char *const names[] = {"campplus.pack", "segmentation-3.0.pack", "whisper-tiny.pack"};

    LINE(0, NULL, NULL, "mkdir -p data/earshot/models");
    for (size_t i = 0; i < (with_speech ? 3 : 2); i++) {
        const char *pack = es_test_models(names[i]);
        char missing[100];
        if (!pack) {
            snprintf(missing, sizeof missing, "ES_TEST_MODELS/%s", names[i]);
            es_test_skip(missing);
            return false;
        }
        LINE(0, NULL, NULL, "ln -s '%s' data/earshot/models/%s", pack, names[i]);
    }
    if (es_test_data(CLIP) && es_test_data(OTHER) && es_test_data(TALK)) return true;
    es_test_skip(CLIP);
    return false;
}

/* What cannot be is said in one sentence, before any model is read. */
static void wrong_words(void)
{
    LINE(3, NULL, "there is no library", "earshot speakers -L none");
    LINE(3, NULL, "there is no library", "earshot speakers rename A B -L none");
    LINE(2, NULL, "enroll needs NAME FILE...", "earshot enroll Anna");
    LINE(2, NULL, "speakers takes list, rename, merge, split or forget, not nonsense", "earshot speakers nonsense");
    LINE(2, NULL, "speakers rename takes WHO NAME", "earshot speakers rename A");
    LINE(2, NULL, "speakers forget takes WHO", "earshot speakers forget A B");
    LINE(2, NULL, "speakers list does not take", "earshot speakers list A");
    LINE(1, NULL, "a name cannot be empty", "earshot enroll '' x.wav");
    LINE(1, NULL, "U+000A", "earshot enroll 'a\nb' x.wav");
    LINE(1, NULL, "not UTF-8", "earshot enroll $(printf 'a\\377') x.wav");
    LINE(1, NULL, "somebody without a name", "earshot enroll 'Speaker 3' x.wav");
    LINE(1, NULL, "there is no network for voices here", "mkdir -p empty && earshot enroll Anna x.wav --models empty");
    LINE(0, "nobody is enrolled", NULL, "earshot speakers");
    LINE(0, "[]", NULL, "earshot speakers --json");
    LINE(1, NULL, "nobody is enrolled under this name", "earshot speakers forget Anna");
}

/* Files that are good and files that are not, in one call. */
static void enroll(void)
{
    if (!setup(false)) return;
    LINE(1, NULL, "more than one voice", "earshot enroll Anna '%s'", es_test_data(TALK));
    LINE(0, "nobody is enrolled", NULL, "earshot speakers");
    LINE(1, "in 1 file; no recording is affected", "the same recording was named before",
         "earshot enroll 'Anna/Berg \xc3\xa9' '%s' '%s' '%s'", es_test_data(CLIP), es_test_data(CLIP), es_test_data(TALK));
    check_said("stderr", "more than one voice");
    LINE(0, "Anna/Berg \xc3\xa9, known by 0:0", NULL, "earshot speakers");
    LINE(1, NULL, "already; the same one says nothing new", "earshot enroll 'Anna/Berg \xc3\xa9' '%s'", es_test_data(CLIP));
    LINE(1, NULL, "missing.wav", "earshot enroll Bert missing.wav");
    LINE(0, "\"clips\": 1", NULL, "earshot speakers --json");
    LINE(0, "whole", NULL, "earshot check");
}

/* Named in a recording, everywhere it is shown; and gone. */
static void named_and_forgotten(void)
{
    static const char name[] = "Wilhelmina Quix";

    if (!setup(true)) return;
    LINE(0, "no recording is affected", NULL, "earshot enroll '%s' '%s'", name, es_test_data(CLIP));
    LINE(0, NULL,
         "one enrolled person speaks alone, nobody has to be told apart: all 2 pieces are like the voice of Wilhelmina "
         "Quix",
         "earshot ingest --language en '%s'", es_test_data(OTHER));
    LINE(0, "Wilhelmina Quix speaks for 0:0", NULL, "earshot show 1688-142285-0003.flac");
    LINE(0, " like the voice enrolled", NULL, "earshot show 1688-142285-0003.flac");
    LINE(0, "Wilhelmina Quix: ", NULL, "earshot show 1688-142285-0003.flac");
    LINE(0, "Wilhelmina_Quix <NA>", NULL, "earshot export 1688-142285-0003.flac -f rttm -o -");
    LINE(0, "<v Wilhelmina Quix>", NULL, "earshot export 1688-142285-0003.flac -f vtt -o -");
    LINE(0, "1 speaker in 1 recording is called Q. now", NULL, "earshot speakers rename '%s' Q.", name);
    LINE(0, "Q., known by", NULL, "earshot speakers");
    LINE(0, "1 speaker in 1 recording is called Wilhelmina Quix now", NULL, "earshot speakers rename q. '%s'", name);
    LINE(0, NULL, NULL, "grep -rqa '%s' data/earshot/library", name);
    LINE(0, "1 speaker in 1 recording is called otherwise now", NULL, "earshot speakers forget '%s'", name);
    LINE(0, "Speaker 1: ", NULL, "earshot show 1688-142285-0003.flac");
    LINE(0, NULL, NULL, "earshot compact");
    LINE(1, NULL, NULL, "grep -rqaE 'Wilhelmina|Quix' data/earshot/library");
    LINE(0, "forgotten, speaks in 1688-142285-0003.flac", NULL, "earshot speakers");
    LINE(0, "whole", NULL, "earshot check");
}

/* Chords that tremble are a voice to the segmentation, and not a word to the speech model: nobody is said to speak. */
static void nobody_in_music(void)
{
    if (!setup(true)) return;
    if (!ffmpeg("-filter_complex \"aevalsrc='st(1,2*PI*t*220*pow(2,5*mod(floor(t/2),2)/12));"
                "0.12*(sin(ld(1))+sin(1.25*ld(1))+sin(1.5*ld(1))+sin(2*ld(1)))':s=16000:d=20,tremolo=f=5:d=0.5\" music.wav"))
        return;
    LINE(0, NULL, NULL, "earshot ingest --language en music.wav");
    LINE(0, "\"words\": 0, \"speakers\": 0", NULL, "earshot list --json");
    LINE(0, "whole", NULL, "earshot check");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"wrong_words", wrong_words},
        {"enroll", enroll},
        {"named_and_forgotten", named_and_forgotten},
        {"nobody_in_music", nobody_in_music},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
