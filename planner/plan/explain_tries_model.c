/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_tries_model.c — changes of the model to try, each on the largest layer that
 * they apply to. */
#include "planner/plan/explain_parts.h"

enum { LAYERS_ASKED = 8 };

static kp_change edit_of(const kp_remedying *r, const char *rule, kp_edit edit, uint32_t layer)
{
    kp_change c = kp_change_of(r, rule, KP_KNOB_EDIT, KP_DISTURB_MODEL);
    c.edit = edit;
    c.layer = layer;
    c.confidence = "medium";
    return c;
}

static bool is_output(const kp_graph *g, uint32_t layer)
{
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->tensors[g->outputs[i]].layer == layer) return true;
    return false;
}

/* Tries the edit on the largest layer of which `holds` is true; on the next where that one does
 * not save. An output's width is the task's, not ours to halve. */
static void try_largest(kp_remedying *r, const char *rule, kp_edit edit,
                        bool (*holds)(const kp_suspect *s))
{
    const kp_explaining *e = kp_trying(r);
    uint32_t asked = 0;
    for (uint32_t i = 0; i < e->out->n_layers && asked < LAYERS_ASKED; i++) {
        if (e->out->layers[i].share < .01) return;
        uint32_t id = kp_explain_layer_of(e->look.graph, e->out->layers[i].name);
        kp_suspect s = kp_suspect_of(e, id);
        bool output = edit == KP_EDIT_HALVE_UNITS && is_output(e->look.graph, id);
        if (output || !holds(&s)) continue;
        asked++;
        kp_change c = edit_of(r, rule, edit, id);
        if (kp_try(r, &c) != KP_FIT_COUNT) return;
    }
}

void kp_try_pool(kp_remedying *r)
{
    try_largest(r, "KP001", KP_EDIT_POOL_FLATTEN, kp_holds_flatten_dense);
}

void kp_try_narrow(kp_remedying *r)
{
    try_largest(r, "KP002", KP_EDIT_HALVE_UNITS, kp_holds_wide);
}

void kp_try_stride(kp_remedying *r)
{
    try_largest(r, "KP003", KP_EDIT_STRIDE, kp_holds_early_conv);
    try_largest(r, "KP003", KP_EDIT_HALVE_UNITS, kp_holds_early_conv);
}

static bool recurrent(const kp_suspect *s)
{
    return s->op && s->op->op == KP_OP_RNN;
}

/* The whole input: as an edit of its layer, under the rule that it answers. */
static void try_input(kp_remedying *r, const char *rule, kp_edit edit)
{
    const kp_graph *g = kp_trying(r)->look.graph;
    if (!g->n_inputs) return;
    kp_change c = edit_of(r, rule, edit, g->tensors[g->inputs[0]].layer);
    c.knobs = KP_KNOB_EDIT | KP_KNOB_LENGTH;
    kp_try(r, &c);
}

void kp_try_steps(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    bool grows = false;
    for (uint32_t i = 0; i < e->out->n_culprits; i++)
        grows |= !strcmp(e->out->culprits[i].rule, "KP007") ||
                 !strcmp(e->out->culprits[i].rule, "KP008");
    try_largest(r, "KP007", KP_EDIT_LAST_STEP, recurrent);
    if (grows) try_input(r, "KP007", KP_EDIT_SHORTEN);
}

void kp_try_resize(kp_remedying *r)
{
    const kp_memory *m = &kp_trying(r)->look.memory;
    uint64_t kept = m->peak.bytes[KP_CAT_ACTIVATIONS] + m->peak.bytes[KP_CAT_TEMPORARY];
    if (kept * 2 > kp_categories_sum(&m->peak)) try_input(r, "KP005", KP_EDIT_RESIZE);
}

void kp_try_fused(kp_remedying *r)
{
    const kp_explaining *e = kp_trying(r);
    if (e->look.graph->format != KP_FORMAT_HUGGINGFACE || !e->look.training.launch.unfused) return;
    kp_change c = edit_of(r, "KP008", KP_EDIT_FUSE, 0);
    c.weight = KP_DISTURB_FLAG;
    kp_try(r, &c);
}
