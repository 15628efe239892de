/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_limits.c — what an explanation does not cover: said, never guessed. */
#include "planner/plan/explain_parts.h"
#include <jansson.h>

static bool always(const kp_explaining *e)
{
    return e != NULL;
}

static bool no_data(const kp_explaining *e)
{
    return e->look.training.samples == UINT64_MAX;
}

static bool has_class(const kp_explaining *e, const char *word)
{
    const kp_graph *g = e->look.graph;
    for (uint32_t i = 0; i < g->n_layers; i++)
        if (strstr(g->layers[i].class_name, word)) return true;
    return false;
}

/* Mixtures of experts: their layers are called so. */
static bool experts(const kp_explaining *e)
{
    return has_class(e, "MoE") || has_class(e, "Experts") || has_class(e, "SparseMoe");
}

static bool open_length(const kp_explaining *e)
{
    return e->request->options->seq != UINT64_MAX;
}

static bool torch(const kp_explaining *e)
{
    return e->look.training.framework >= KP_FW_KERAS_TORCH;
}

static const struct {
    bool (*holds)(const kp_explaining *e);
    const char *text;
} limits[] = {
    {always, "what other programs hold on the card (KP027: kplan get gpus, nvidia-smi)"},
    {always, "what the program keeps alive itself: loss += loss, models built in a loop without "
             "keras.backend.clear_session(), retained graphs (KP032)"},
    {no_data, "the data set on the host (say --samples N, and --data ram if all of it is loaded)"},
    {open_length, "batches longer than the length given (KP029)"},
    {experts, "uneven routing: a rank whose experts get twice the tokens keeps twice as much "
              "(KP030)"},
    {torch, "outputs bound to a name through backward() (KP037), host offload (KP047)"},
};

kp_status kp_explain_limits(kp_explaining *e)
{
    const char **list = KP_NEW(e->arena, const char *, KP_LEN(limits));
    if (!list) return kp_nomem(e->err);
    uint32_t n = 0;
    for (size_t i = 0; i < KP_LEN(limits); i++)
        if (limits[i].holds(e)) list[n++] = limits[i].text;
    e->out->not_covered = list;
    e->out->n_not_covered = n;
    return KP_OK;
}
