/*
 * encoders.h - text encoders for tests of the program: MiniLM as a pack, the weights of a small Qwen2, and vectors read back.
 */
#ifndef ES_TEST_ENCODERS_H
#define ES_TEST_ENCODERS_H

#include <sys/stat.h>
#include <unistd.h>

#include "earshot.h"
#include "program.h"

enum { WIDTH = 384 };

/* The vectors of an .npy in the folder, f32 [n, WIDTH]. */
static inline float *vectors(const char *name, size_t n, size_t width)
{
    int n_dims = 0;
    size_t dims[4] = {0};
    double *d = es_test_npy(at(name), &n_dims, dims);
    float *v = calloc(n * width + 1, sizeof *v);

    CHECK(d && n_dims == 2 && dims[0] == n && dims[1] == width, "%s is %d-dimensional, [%zu, %zu], expected [%zu, %zu]", name, n_dims,
          dims[0], dims[1], n, width);
    for (size_t i = 0; d && dims[0] == n && dims[1] == width && i < n * width; i++) v[i] = (float)d[i];
    free(d);
    return v;
}

/* Makes minilm.pack in the test's folder; false, and the test is skipped, without the model. */
static inline bool setup(void)
{
    const char *source = es_test_data("models/minilm");

    if (!source) {
        es_test_skip("ES_TEST_DATA/models/minilm");
        return false;
    }
    LINE(0, NULL, NULL, "earshot convert '%s' --name minilm -o minilm.pack", source);
    return true;
}

/* A folder of this name with the weights and the settings of Qwen2's shapes, small, and no tokenizer; false, and the test is
 * skipped, without them. */
static inline bool link_stories(const char *name)
{
    const char *source = es_test_data("models/stories260K-qwen2-layout");

    if (!source) {
        es_test_skip("ES_TEST_DATA/models/stories260K-qwen2-layout");
        return false;
    }
    LINE(0, NULL, NULL, "mkdir %s && ln -s '%s/model.qwen2-layout.safetensors' %s/model.safetensors && ln -s '%s/config.json' %s/", name,
         source, name, source, name);
    return true;
}

#endif
