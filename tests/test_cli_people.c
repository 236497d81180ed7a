/*
 * test_cli_people.c - `earshot enroll` and `earshot speakers` as a user runs them: a voice is enrolled, a recording is
 * named, exported and found again, and after forgetting and compacting no file of the library holds the name.
 */
#define _GNU_SOURCE
#include "test.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>

#ifndef ES_BINARY_DIR
#error "the folder of the build must be known"
#endif

static const char CLIP[] = "audio/librispeech/1688-142285-0000.flac",
                  OTHER[] = "audio/librispeech/1688-142285-0003.flac", TALK[] = "audio/pyannote_sample/sample.wav";

static char *slurp(const char *name)
{
    char path[4400];
    struct stat st = {0};
    char *text = NULL;

    snprintf(path, sizeof path, "%s/%s", es_test_folder(), name);
    FILE *f = fopen(path, "rb");
    if (f && fstat(fileno(f), &st) == 0 && (text = calloc(1, (size_t)st.st_size + 1)) &&
        fread(text, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        text[0] = 0;
    if (f) fclose(f);
    return text ? text : calloc(1, 1);
}

/* Runs a line of shell in the test's folder, where "earshot" is the program, its models and its library. The exit code.
 */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int run(const char *format, ...)
{
    char words[3000], line[9000];
    va_list ap;

    va_start(ap, format);
    vsnprintf(words, sizeof words, format, ap);
    va_end(ap);
    snprintf(line, sizeof line,
             "cd '%s' && earshot() { XDG_DATA_HOME=\"$PWD/data\" '%s/earshot' \"$@\"; } && { %s; } >out 2>err",
             es_test_folder(), ES_BINARY_DIR, words);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void expect(const char *file, int line, int code, int want, const char *in, const char *text)
{
    char *said = slurp(in);

    if (code != want) {
        char *err = slurp("err");
        es_test_fail(file, line, "it ended with %d, expected %d; it said: %s", code, want, err);
        free(err);
    }
    if (text && !strstr(said, text)) es_test_fail(file, line, "\"%s\" is not in %s: %s", text, in, said);
    free(said);
}
#define SAYS(text, ...)         expect(__FILE__, __LINE__, run(__VA_ARGS__), 0, "out", text)
#define ENDS(want, in_err, ...) expect(__FILE__, __LINE__, run(__VA_ARGS__), want, "err", in_err)

static bool holds(const char *in, const char *text)
{
    char *said = slurp(in);
    bool found = strstr(said, text) != NULL;

    free(said);
    return found;
}

/* The packs in the default folder of models; false, and the test is skipped, where one is missing. */
static bool setup(bool with_speech)
{
    static const char *const names[] = {"campplus.pack", "segmentation-3.0.pack", "whisper-tiny.pack"};

    run("mkdir -p data/earshot/models");
    for (size_t i = 0; i < (with_speech ? 3 : 2); i++) {
        const char *pack = es_test_models(names[i]);
        char missing[100];
        if (!pack) {
            snprintf(missing, sizeof missing, "ES_TEST_MODELS/%s", names[i]);
            es_test_skip(missing);
            return false;
        }
        run("ln -s '%s' data/earshot/models/%s", pack, names[i]);
    }
    if (es_test_data(CLIP) && es_test_data(OTHER) && es_test_data(TALK)) return true;
    es_test_skip(CLIP);
    return false;
}

/* What cannot be is said in one sentence, before any model is read. */
static void wrong_words(void)
{
    ENDS(3, "there is no library", "earshot speakers -L none");
    ENDS(3, "there is no library", "earshot speakers rename A B -L none");
    ENDS(2, "enroll needs NAME FILE...", "earshot enroll Anna");
    ENDS(2, "speakers takes list, rename, merge, split or forget, not nonsense", "earshot speakers nonsense");
    ENDS(2, "speakers rename takes WHO NAME", "earshot speakers rename A");
    ENDS(2, "speakers forget takes WHO", "earshot speakers forget A B");
    ENDS(2, "speakers list does not take", "earshot speakers list A");
    ENDS(1, "a name cannot be empty", "earshot enroll '' x.wav");
    ENDS(1, "U+000A", "earshot enroll 'a\nb' x.wav");
    ENDS(1, "not UTF-8", "earshot enroll $(printf 'a\\377') x.wav");
    ENDS(1, "somebody without a name", "earshot enroll 'Speaker 3' x.wav");
    ENDS(1, "there is no network for voices here", "mkdir -p empty && earshot enroll Anna x.wav --models empty");
    SAYS("nobody is enrolled", "earshot speakers");
    SAYS("[]", "earshot speakers --json");
    ENDS(1, "nobody is enrolled under this name", "earshot speakers forget Anna");
}

/* Files that are good and files that are not, in one call. */
static void enroll(void)
{
    if (!setup(false)) return;
    ENDS(1, "more than one voice", "earshot enroll Anna '%s'", es_test_data(TALK));
    SAYS("nobody is enrolled", "earshot speakers");
    ENDS(1, "the same recording was named before", "earshot enroll 'Anna/Berg \xc3\xa9' '%s' '%s' '%s'",
         es_test_data(CLIP), es_test_data(CLIP), es_test_data(TALK));
    CHECK(holds("err", "more than one voice"), "the conversation was not told");
    CHECK(holds("out", "in 1 file; no recording is affected"), "the good file was not taken");
    SAYS("Anna/Berg \xc3\xa9, known by 0:0", "earshot speakers");
    ENDS(1, "already; the same one says nothing new", "earshot enroll 'Anna/Berg \xc3\xa9' '%s'", es_test_data(CLIP));
    ENDS(1, "missing.wav", "earshot enroll Bert missing.wav");
    SAYS("\"clips\": 1", "earshot speakers --json");
    SAYS("whole", "earshot check");
}

/* Named in a recording, everywhere it is shown; and gone. */
static void named_and_forgotten(void)
{
    static const char name[] = "Wilhelmina Quix";

    if (!setup(true)) return;
    SAYS("no recording is affected", "earshot enroll '%s' '%s'", name, es_test_data(CLIP));
    ENDS(0,
         "one enrolled person speaks alone, nobody has to be told apart: all 2 pieces are like the voice of Wilhelmina "
         "Quix",
         "earshot ingest --language en '%s'", es_test_data(OTHER));
    SAYS("Wilhelmina Quix speaks for 0:0", "earshot show 1688-142285-0003.flac");
    SAYS(" like the voice enrolled", "earshot show 1688-142285-0003.flac");
    SAYS("Wilhelmina Quix: ", "earshot show 1688-142285-0003.flac");
    SAYS("Wilhelmina_Quix <NA>", "earshot export 1688-142285-0003.flac -f rttm -o -");
    SAYS("<v Wilhelmina Quix>", "earshot export 1688-142285-0003.flac -f vtt -o -");
    SAYS("1 speaker in 1 recording is called Q. now", "earshot speakers rename '%s' Q.", name);
    SAYS("Q., known by", "earshot speakers");
    SAYS("1 speaker in 1 recording is called Wilhelmina Quix now", "earshot speakers rename q. '%s'", name);
    ENDS(0, NULL, "grep -rqa '%s' data/earshot/library", name);
    SAYS("1 speaker in 1 recording is called otherwise now", "earshot speakers forget '%s'", name);
    SAYS("Speaker 1: ", "earshot show 1688-142285-0003.flac");
    ENDS(0, NULL, "earshot compact");
    ENDS(1, NULL, "grep -rqaE 'Wilhelmina|Quix' data/earshot/library");
    SAYS("forgotten, speaks in 1688-142285-0003.flac", "earshot speakers");
    SAYS("whole", "earshot check");
}

int main(int argc, char **argv)
{
    static const es_test tests[] = {
        {"wrong_words", wrong_words},
        {"enroll", enroll},
        {"named_and_forgotten", named_and_forgotten},
    };

    return es_test_main(argc, argv, tests, (int)(sizeof tests / sizeof *tests));
}
