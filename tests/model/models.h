/* SPDX-License-Identifier: MIT
 *
 * tests/model/models.h — model texts for tests. JSON in C reads better with single quotes: all
 * texts here have ' for ". */
#ifndef KP_TESTS_MODEL_MODELS_H
#define KP_TESTS_MODEL_MODELS_H

#include "planner/model/graph.h"

/* A reading and what it lives in. */
typedef struct kp_reading {
    kp_arena arena;
    kp_status status;
    kp_err err;
    const kp_graph *graph; /* NULL if it failed */
} kp_reading;

/* Reads a model text under the name "m.json"; a graph is checked (kp_graph_check). */
kp_reading kp_read_text(const char *text, const kp_bind *bind);
/* Reads a file below tests/data. */
kp_reading kp_read_data(const char *path, const kp_bind *bind);
void kp_reading_free(kp_reading *reading);

/* A file's bytes with a 0 behind, freed by the caller. Asserts that it is there. */
char *kp_slurp(const char *path, size_t *ret_len);

/* A copy with " for ', freed by the caller. */
char *kp_quoted(const char *text);

/* A Functional model of one layer "l" of a class on inputs "a", "b", "c" of the given shapes, as
 * Keras 3 writes it. `inputs`: shapes separated by ';' ("[null,8];[null,4]"). `call`: how they are
 * handed over: "a" one argument, "[ab]" a list, "ab" two arguments, with kwargs behind a '|'
 * ("ab|'key':c"; a letter in kwargs after ':' is a tensor). Freed by the caller. */
char *kp_one_layer(const char *module, const char *class_name, const char *config,
                   const char *inputs, const char *call);

/* Names of the ops but INPUT, separated by blanks, in `ret`. */
void kp_op_list(const kp_graph *graph, char *ret, size_t size);

const kp_layer *kp_layer_named(const kp_graph *graph, const char *path);

#endif
