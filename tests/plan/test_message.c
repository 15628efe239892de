/* SPDX-License-Identifier: MIT
 *
 * tests/plan/test_message.c — messages as frameworks print them: what is read, and whose tensor it
 * is. */
#include "planner/plan/oom_text.h"
#include "tests/plan/fixture.h"
#include <criterion/criterion.h>

/* ---- the reader ---- */

typedef struct ask_row {
    const char *text;
    kp_oom_kind kind;
    kp_oom_from from;
    bool host;
    unsigned rank;
    int64_t dim[KP_RANK_MAX];
    uint64_t bytes;
    const char *node;
} ask_row;

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static const ask_row asks[] = {
    {"ResourceExhaustedError: OOM when allocating tensor with shape[40,128,256,256] and type float "
     "on /job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc\n\t [[node "
     "model/conv2d_1/Conv2D (defined at a.py:3)]]",
     KP_OOM_TENSOR,
     KP_OOM_TENSORFLOW,
     false,
     4,
     {40, 128, 256, 256},
     0,
     "model/conv2d_1/Conv2D"},
    {"OOM when allocating tensor of shape [4096,4096] and type half",
     KP_OOM_TENSOR,
     KP_OOM_TENSORFLOW,
     false,
     2,
     {4096, 4096},
     0,
     ""},
    {"OOM when allocating tensor with shape[10,20] and type float on /device:CPU:0 by allocator "
     "cpu",
     KP_OOM_TENSOR,
     KP_OOM_TENSORFLOW,
     true,
     2,
     {10, 20},
     0,
     ""},
    {"Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.25GiB (rounded to 2415919104)"
     "requested by op conv2d/Conv2D",
     KP_OOM_BYTES,
     KP_OOM_TENSORFLOW,
     false,
     0,
     {0},
     2415919104,
     "conv2d/Conv2D"},
    {"Allocator (GPU_0_bfc) ran out of memory trying to allocate 1.50GiB. The caller indicates "
     "that "
     "this is not a failure, but may mean that there could be performance gains",
     KP_OOM_OPTIONAL,
     KP_OOM_TENSORFLOW,
     false,
     0,
     {0},
     3 * GIB / 2,
     ""},
    {"Dst tensor is not initialized.\n\t [[{{node _arg_x_0/_3}}]]",
     KP_OOM_COPY,
     KP_OOM_TENSORFLOW,
     false,
     0,
     {0},
     0,
     "_arg_x_0/_3"},
    {"failed to allocate 2.0G (2147483648 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY",
     KP_OOM_POOL,
     KP_OOM_TENSORFLOW,
     false,
     0,
     {0},
     2 * GIB,
     ""},
    {"Allocation of 1342177280 exceeds 10% of free system memory.",
     KP_OOM_BYTES,
     KP_OOM_TENSORFLOW,
     true,
     0,
     {0},
     1342177280,
     ""},
    {"RESOURCE_EXHAUSTED: Out of memory while trying to allocate 17179869184 bytes.",
     KP_OOM_PROGRAM,
     KP_OOM_XLA,
     false,
     0,
     {0},
     16 * GIB,
     ""},
    {"RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.",
     KP_OOM_PROGRAM,
     KP_OOM_XLA,
     false,
     0,
     {0},
     4 * GIB,
     ""},
    {"Failed to allocate request for 1.00GiB (1073741824B) on device ordinal 0",
     KP_OOM_PROGRAM,
     KP_OOM_XLA,
     false,
     0,
     {0},
     GIB,
     ""},
    {"Buffer 1:\n\tSize: 8.00MiB\n\tOperator: op_name=\"jit(f)/dense/dot_general\" x\n\tShape: "
     "bf16[64,65536]{1,0}",
     KP_OOM_TENSOR,
     KP_OOM_XLA,
     false,
     2,
     {64, 65536},
     0,
     "jit(f)/dense/dot_general"},
    {"CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity; 14.00 GiB "
     "already allocated; 1.02 GiB free; 14.50 GiB cached)",
     KP_OOM_BYTES,
     KP_OOM_TORCH,
     false,
     0,
     {0},
     2 * GIB,
     ""},
    {"DefaultCPUAllocator: can't allocate memory: you tried to allocate 12884901888 bytes. Error "
     "code 12",
     KP_OOM_BYTES,
     KP_OOM_TORCH,
     true,
     0,
     {0},
     12 * GIB,
     ""},
    {"$ Torch: not enough memory: you tried to allocate 12GB. Buy new RAM!",
     KP_OOM_BYTES,
     KP_OOM_TORCH,
     true,
     0,
     {0},
     12 * GIB,
     ""},
    {"MPS backend out of memory (MPS allocated: 8 GB). Tried to allocate 256.00 MB on private pool",
     KP_OOM_BYTES,
     KP_OOM_TORCH,
     false,
     0,
     {0},
     256 * MIB,
     ""},
    {"MemoryError: Error allocating 3696307200 bytes of device memory (out of memory). Driver "
     "report "
     "1857921024 bytes free and 6442123264 bytes total",
     KP_OOM_BYTES,
     KP_OOM_THEANO,
     false,
     0,
     {0},
     3696307200,
     ""},
    {"numpy.core._exceptions._ArrayMemoryError: Unable to allocate 55.9 GiB for an array with "
     "shape "
     "(3000000, 5000) and data type float32",
     KP_OOM_TENSOR,
     KP_OOM_NUMPY,
     true,
     2,
     {3000000, 5000},
     60022165504,
     ""},
    {"dense_1 (Dense)   (None, 72534)   -284054698\n",
     KP_OOM_COUNT,
     KP_OOM_KERAS,
     false,
     0,
     {0},
     0,
     "dense_1"},
    {"Total params: -283,984,986", KP_OOM_COUNT, KP_OOM_KERAS, false, 0, {0}, 0, "Total"},
    {"RuntimeError: CUDA error: out of memory", KP_OOM_DEVICE, KP_OOM_TORCH, false, 0, {0}, 0, ""},
    {"cuda runtime error (2) : out of memory at THCStorage.cu:58",
     KP_OOM_DEVICE,
     KP_OOM_TORCH,
     false,
     0,
     {0},
     0,
     ""},
    {"CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)",
     KP_OOM_DEVICE,
     KP_OOM_TORCH,
     false,
     0,
     {0},
     0,
     ""},
    {"E cuda_driver.cc: CUDA_ERROR_OUT_OF_MEMORY",
     KP_OOM_DEVICE,
     KP_OOM_CUDA,
     false,
     0,
     {0},
     0,
     ""},
    {"CUDA_ERROR_OUT_OF_MEMORY\nRESOURCE_EXHAUSTED: no room",
     KP_OOM_DEVICE,
     KP_OOM_XLA,
     false,
     0,
     {0},
     0,
     ""},
    {"epoch 3\nKilled", KP_OOM_HOST, KP_OOM_SYSTEM, true, 0, {0}, 0, ""},
    {"MemoryError", KP_OOM_HOST, KP_OOM_SYSTEM, true, 0, {0}, 0, ""},
    {"Process finished with exit code 137 (interrupted by signal 9: SIGKILL)",
     KP_OOM_HOST,
     KP_OOM_SYSTEM,
     true,
     0,
     {0},
     0,
     ""},
    {"[32, 512, 256]", KP_OOM_TENSOR, KP_OOM_UNKNOWN, false, 3, {32, 512, 256}, 0, ""},
    {"3696307200 bytes", KP_OOM_BYTES, KP_OOM_UNKNOWN, false, 0, {0}, 3696307200, ""},
};

Test(message, read)
{
    for (size_t i = 0; i < KP_LEN(asks); i++) {
        const ask_row *row = &asks[i];
        kp_oom_text text;
        kp_oom_read(row->text, strlen(row->text), &text);
        cr_expect(text.n >= 1, "row %zu: nothing was read in %s", i, row->text);
        const kp_oom_ask *a = &text.asks[0];
        cr_expect(a->kind == row->kind && a->from == row->from && a->host == row->host,
                  "row %zu: kind %d from %s, host %d: %s", i, (int)a->kind,
                  kp_oom_from_names[a->from], a->host, row->text);
        cr_expect(a->rank == row->rank && !memcmp(a->dim, row->dim, sizeof(a->dim)),
                  "row %zu: shape", i);
        cr_expect(a->bytes + MIB >= row->bytes && a->bytes <= row->bytes + MIB &&
                      a->low <= row->bytes && (!row->bytes || a->high >= row->bytes),
                  "row %zu: %llu bytes", i, (unsigned long long)a->bytes);
        cr_expect_str_eq(a->node, row->node, "row %zu: node '%s'", i, a->node);
    }
}

Test(message, nothing_to_read)
{
    static const char *const texts[] = {"",
                                        "all is well",
                                        "loss: 0.3 acc: 0.9",
                                        "shape: (3, 4)",
                                        "(12)",
                                        "Killed by a dragon is the name of the file.txt"};
    for (size_t i = 0; i + 1 < KP_LEN(texts); i++) {
        kp_oom_text text;
        kp_oom_read(texts[i], strlen(texts[i]), &text);
        cr_expect(text.n == 0 || i == 3, "row %zu: %u asks, the first of kind %d", i, text.n,
                  (int)text.asks[0].kind);
    }
}

/* What the message says of the card, in its older and newer words. */
Test(message, card)
{
    static const struct {
        const char *text;
        uint64_t total, allocated, reserved, free; /* MiB */
    } rows[] = {
        {"Tried to allocate 20.00 MiB (GPU 0; 15.75 GiB total capacity; 14.00 GiB already "
         "allocated; "
         "1.00 GiB free; 14.50 GiB reserved in total by PyTorch)",
         16128, 14336, 14848, 1024},
        {"Tried to allocate 20.00 MiB (GPU 1; 11.00 GiB total capacity; 10.00 GiB already "
         "allocated; "
         "8.00 MiB free; 10.25 GiB cached)",
         11264, 10240, 10496, 8},
        {"Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.25 GiB of which 1.50 GiB "
         "is "
         "free. Including non-PyTorch memory, this process has 78.00 GiB memory in use. Of the "
         "allocated memory 70.50 GiB is allocated by PyTorch, and 1.00 GiB is reserved by PyTorch "
         "but unallocated.",
         81152, 72192, 0, 1536},
    };
    for (size_t i = 0; i < KP_LEN(rows); i++) {
        kp_oom_text t;
        kp_oom_read(rows[i].text, strlen(rows[i].text), &t);
        cr_expect(t.total == rows[i].total * MIB && t.allocated == rows[i].allocated * MIB &&
                      t.reserved == rows[i].reserved * MIB && t.free == rows[i].free * MIB,
                  "row %zu: %llu %llu %llu %llu", i, (unsigned long long)(t.total / MIB),
                  (unsigned long long)(t.allocated / MIB), (unsigned long long)(t.reserved / MIB),
                  (unsigned long long)(t.free / MIB));
    }
}

/* ---- whose tensor it is ---- */

static kp_status ask(kp_fixture *f, const char *text, kp_err *err)
{
    kp_explain_request request = {f->text, f->len, "model.json", &f->options, &f->gpus};
    kp_explain_questions questions = {.error = text, .error_len = strlen(text)};
    return kp_explain_ask(&request, &questions, &f->arena, &f->x, err);
}

#define CONV(filters)                                                                              \
    KP_LAYER("Conv2D", "'filters':" filters ",'kernel_size':[3,3],'padding':'same'")
#define DILATED                                                                                    \
    KP_LAYER("Conv1D",                                                                             \
             "'filters':8,'kernel_size':[2],'dilation_rate':[64],'padding':'causal','name':'far'")
#define FRAMES "{'class_name':'TimeDistributed','config':{'name':'td','layer':" CONV("24") "}}"
#define LSTM   KP_LAYER("LSTM", "'units':48,'return_sequences':true,'name':'rnn'")
#define HEAD   KP_LAYER("Dense", "'units':5000,'activation':'softmax','name':'head'")

typedef struct match_row {
    const char *file, *options, *text;
    const char *layer, *what, *phase; /* of the first match; layer NULL: none */
    uint64_t batch;                   /* 0: none */
    const char *says;
} match_row;

static const match_row matches[] = {
    {"models/cnn.json", "--batch 32", "OOM when allocating tensor with shape[32,254,254,64]",
     "conv2d", "output", "forward", 32, "batch 32, as set"},
    {"models/cnn.json", "--batch 32", "OOM when allocating tensor with shape[32,64,254,254]",
     "conv2d", "output", "forward", 32, "NCHW"},
    {"models/cnn.json", "--batch 1",
     "OOM when allocating tensor with shape[4,64,254,254] and type float [[node "
     "training/Adam/gradients/conv2d_1/convolution_grad/Conv2DBackpropInput]]",
     "conv2d", "output", "backward", 4, "batch 4, not 1: the setting did not take effect"},
    {"models/cnn.json", "--batch 64", "OOM when allocating tensor with shape[32,254,254,64]",
     "conv2d", "output", "forward", 32, "64 / 2, what each of 2 replicas gets"},
    {"models/cnn.json", "--batch 100", "OOM when allocating tensor with shape[10000,64,254,254]",
     "conv2d", "output", "eval", 10000, "evaluation or prediction of a whole set"},
    {"models/cnn.json", "--batch 32 --dtype-policy mixed_float16",
     "OOM when allocating tensor with shape[32,254,254,64] and type float", "conv2d", "output",
     "forward", 32, "it is float32, not float16"},
    {"models/cnn.json", "--batch 32",
     "OOM when allocating tensor with shape[32,254,254,64] and type half", "conv2d", "output",
     "forward", 32, "a 16-bit policy was in effect"},
    {"models/cnn.json", "--batch 32", "OOM when allocating tensor with shape[14992384,10]", "dense",
     "kernel", "load", 0, "each of adam's slots"},
    {"models/cnn.json", "--batch 8 --framework torch",
     "CUDA out of memory. Tried to allocate 430.00 MiB (GPU 0; 8 GiB total capacity", NULL, NULL,
     NULL, 0, "no tensor of this model"},
    {"models/cnn.json", "--batch 32",
     "Tried to allocate 506.00 MiB (GPU 0; 8.00 GiB total capacity", "conv2d", "output", "forward",
     32, "batch 32"},
    {"models/cnn.json", "--batch 32", "Tried to allocate 20.00 MiB (GPU 0; 8.00 GiB total capacity",
     NULL, NULL, NULL, 0, "torch takes 20.0 MiB for any request of 1 to 10 MiB"},
    {"models/cnn.json", "--batch 32",
     "Tried to allocate 596.00 MiB (GPU 0; 8.00 GiB total capacity", NULL, "all parameters", "load",
     0, "4 bytes x 156,194,442 parameters"},
    {"models/cnn.json", "--batch 32", "you tried to allocate 624777768 bytes", NULL,
     "all parameters", "load", 0, "4 bytes x 156,194,442 parameters: one flat copy"},
    {"models/cnn.json", "--batch 32", "you tried to allocate 312388884 bytes", NULL,
     "all parameters", "load", 0, "2 bytes x 156,194,442 parameters"},
    {"models/cnn.json", "--batch 32", "you tried to allocate 78097221 bytes", NULL,
     "share of all parameters", "load", 0, "/ 4: a share of one of 4 ranks"},
    {"models/cnn.json", "--batch 32",
     "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 99000000000 bytes", "conv2d_4",
     "temporary memory of the whole step", "backward", 32, "a larger batch or input"},
    {"models/cnn.json", "--batch 32", "Dst tensor is not initialized.", "input_layer", "input",
     "load", 32, "batch 32"},
    {KP_SEQUENTIAL("10,32,32,3", FRAMES), "--batch 1",
     "OOM when allocating tensor with shape[40,24,32,32]", "td", "output", "forward", 4,
     "40 = 4 x 10 folded into the batch; batch 4, not 1"},
    {KP_SEQUENTIAL("4320,8", DILATED), "--batch 2",
     "OOM when allocating tensor with shape[2,4384,8]", "far", "padded input", "forward", 2,
     "zeros that padding adds"},
    {KP_SEQUENTIAL("4320,8", DILATED), "--batch 2",
     "OOM when allocating tensor with shape[128,69,8]", "far", "input, spread for the dilation",
     "forward", 2, "128 = 2 x 64 folded into the batch"},
    {KP_SEQUENTIAL("20,8", LSTM), "--batch 2", "OOM when allocating tensor with shape[20,2,192]",
     "rnn", "gates of all steps", "forward", 2, "another order"},
    {KP_SEQUENTIAL("20,8", HEAD), "--batch 4", "OOM when allocating tensor with shape[80,5000]",
     "head", "output", "forward", 4, "80 = 4 x 20 folded"},
    {KP_SEQUENTIAL("8", HEAD), "--batch 4",
     "Unable to allocate 55.9 GiB for an array with shape (3000000, 5000) and data type float32",
     "head", "one-hot labels", "load", 3000000, "3000000 samples at once"},
    {KP_SEQUENTIAL("8", HEAD), "--batch 4 --samples 300000",
     "Unable to allocate 5.59 GiB for an array", "head", "one-hot labels", "load", 300000,
     "300000 samples at once"},
    {"models/dense.json", "--batch 4", "OOM when allocating tensor with shape[3,5,7]", NULL, NULL,
     NULL, 0, "no tensor of this model"},
    {"models/dense.json", "--batch 4", "CUDA error: out of memory", NULL, NULL, NULL, 0,
     "does not say which tensor"},
    {"models/dense.json", "--batch 4", "Killed", NULL, NULL, NULL, 0, "the machine's memory"},
};

static void check_match(size_t i, const kp_explain_message *m)
{
    const match_row *row = &matches[i];
    const kp_explain_match *t = m->n_matches ? &m->matches[0] : NULL;
    cr_expect(!row->what == !t, "row %zu: %u matches; %s", i, m->n_matches, m->says);
    const char *says = t ? t->says : m->says;
    cr_expect(!row->says || strstr(says, row->says), "row %zu: %s", i, says);
    if (!row->what || !t) return;
    cr_expect(!row->layer == !t->layer && (!t->layer || !strcmp(t->layer, row->layer)),
              "row %zu: layer %s", i, t->layer ? t->layer : "none");
    cr_expect_str_eq(t->what, row->what, "row %zu: %s", i, t->what);
    cr_expect_str_eq(t->phase, row->phase, "row %zu: %s", i, t->phase);
    cr_expect_eq(t->batch, row->batch ? row->batch : UINT64_MAX, "row %zu: batch %llu", i,
                 (unsigned long long)t->batch);
}

Test(message, whose_tensor)
{
    for (size_t i = 0; i < KP_LEN(matches); i++) {
        kp_fixture f;
        kp_err err = {0};
        kp_fixture_init(&f, matches[i].file);
        kp_fixture_set(&f, matches[i].options);
        cr_expect_eq(ask(&f, matches[i].text, &err), KP_OK, "row %zu: %s", i, err.msg);
        cr_expect(f.x.message != NULL, "row %zu", i);
        if (f.x.message) check_match(i, f.x.message);
        kp_fixture_done(&f);
    }
}

/* A 32-bit counter that wrapped names its layer. */
Test(message, negative_count)
{
    kp_fixture f;
    kp_err err = {0};
    kp_fixture_init(&f, KP_SEQUENTIAL("55296", KP_LAYER("Dense", "'units':72534,'name':'wide'")));
    cr_assert_eq(ask(&f, "Total params: -284,054,698", &err), KP_OK, "%s", err.msg);
    const kp_explain_message *m = f.x.message;
    cr_assert_eq(m->n_matches, 1, "%u: %s", m->n_matches, m->says);
    cr_expect_str_eq(m->matches[0].layer, "wide");
    cr_expect(strstr(m->matches[0].says, "4,010,912,598 parameters") != NULL, "%s",
              m->matches[0].says);
    kp_fixture_done(&f);
}

/* Without memory it says so, and nothing else. */
Test(message, no_memory)
{
    for (uint64_t back = 1; back < 12; back++) {
        kp_fixture f;
        kp_err err = {0};
        kp_fixture_init(&f, "models/dense.json");
        cr_assert_eq(ask(&f, "OOM when allocating tensor with shape[32,4096]", &err), KP_OK);
        uint64_t calls = f.arena.calls;
        kp_fixture_done(&f);
        kp_fixture_init(&f, "models/dense.json");
        uint64_t before = f.arena.calls;
        f.arena.fail_call = calls - back > before ? calls - back : before + 1;
        cr_expect_eq(ask(&f, "OOM when allocating tensor with shape[32,4096]", &err), KP_NOMEM,
                     "call %llu", (unsigned long long)f.arena.fail_call);
        kp_fixture_done(&f);
    }
}
