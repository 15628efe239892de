/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/program_parts.h — a program while it runs. Internal to program*.c. */
#ifndef KP_PLANNER_ESTIMATE_PROGRAM_PARTS_H
#define KP_PLANNER_ESTIMATE_PROGRAM_PARTS_H

#include "planner/estimate/program.h"

enum { PROGRAM_OUT = 4, PROGRAM_ARGS = 12, PROGRAM_VARS = 48 };

typedef enum kp_leaf {
    KP_LEAF_NONE,
    KP_LEAF_INPUT, /* of the op: its gradient flows on */
    KP_LEAF_WEIGHT,
    KP_LEAF_TRACK, /* its gradient waits for gradient(a) */
    KP_LEAF_SINK,  /* its gradient is added elsewhere */
} kp_leaf;

typedef struct kp_prog_tensor {
    uint64_t rows, columns;
    kp_dtype dtype;
    uint32_t buffer;  /* KP_NO: no memory of its own */
    bool view;        /* shares it with another tensor: nothing is added in place */
    bool wants;       /* a gradient is computed */
    uint8_t leaf;     /* kp_leaf */
    uint32_t which;   /* the op's input or weight */
    uint32_t readers; /* recorded calls that will send a gradient */
    uint32_t grad;    /* tensor that holds its gradient so far; KP_NO */
} kp_prog_tensor;

typedef struct kp_word {
    const char *at;
    size_t len;
} kp_word;

typedef struct kp_prog_var {
    kp_word name;
    uint32_t tensor;
    bool held;  /* the variable holds the tensor's memory */
    bool saved; /* for the backward pass */
} kp_prog_var;

typedef struct kp_prog_frame {
    kp_prog_var vars[PROGRAM_VARS];
    uint32_t n_vars, first_node;
    uint32_t ret[PROGRAM_ARGS];
    uint32_t n_ret;
    const kp_program *program;
    bool backward; /* its backward text runs: `return` skips parameters that want nothing */
} kp_prog_frame;

typedef struct kp_prog_node {
    const kp_program *program;
    uint32_t args[PROGRAM_ARGS], out[PROGRAM_OUT], n_args, n_out;
    kp_prog_var *saved;
    uint32_t n_saved;
} kp_prog_node;

struct kp_program_run {
    kp_taping *t;
    uint32_t op;
    const char *what;     /* the program that runs, for buffers' texts */
    kp_category category; /* of what is allocated now */
    bool recording, retain;
    uint64_t sizes[26];
    uint32_t out[PROGRAM_OUT];
    kp_prog_tensor *tensors;
    kp_prog_node *nodes;
    uint32_t n_tensors, n_nodes, first_buffer;
    size_t cap_tensors, cap_nodes;
    uint32_t depth;
};

/* A tensor's memory: new, held once more, dropped. */
uint32_t kp_prog_new(kp_program_run *r, uint64_t rows, uint64_t columns, kp_dtype dtype);
uint32_t kp_prog_view(kp_program_run *r, uint32_t of, uint64_t rows, uint64_t columns);
void kp_prog_hold(kp_program_run *r, uint32_t tensor);
void kp_prog_drop(kp_program_run *r, uint32_t tensor);
void kp_prog_bind(kp_prog_frame *f, kp_word name, uint32_t tensor, bool held);
/* The text's next word; one character if it is there; whether a word is a text; a size's number. */
kp_word kp_prog_word(const char **at);
bool kp_prog_take(const char **at, char c);
bool kp_prog_is(kp_word w, const char *text);
uint64_t kp_prog_size(kp_program_run *r, kp_word w);
/* The tensor under a name of the frame. */
uint32_t kp_prog_variable(kp_prog_frame *f, kp_word name);
/* new(...), part(...) and the like; *ret is held once. False: the name is none of them. */
bool kp_prog_make(kp_program_run *r, kp_prog_frame *f, kp_word name, const char **at,
                  uint32_t *ret);

/* Of the card, or of an H100. */
uint32_t kp_prog_multiprocessors(const kp_program_run *r);

/* Calls a program on tensors; results are held once each. */
uint32_t kp_prog_call(kp_program_run *r, const kp_program *p, const uint32_t *args, uint32_t n,
                      uint32_t *ret);
/* Runs text in a frame. */
void kp_prog_text(kp_program_run *r, kp_prog_frame *f, const char *text);
void kp_prog_leave(kp_program_run *r, kp_prog_frame *f);
/* The backward passes of nodes [first, n_nodes), latest first; forgets the nodes. */
void kp_prog_backward(kp_program_run *r, uint32_t first);

#endif
