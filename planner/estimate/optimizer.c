/* SPDX-License-Identifier: MIT
 *
 * planner/estimate/optimizer.c — optimizers: their names and the elements of their slots. */
#include "planner/estimate/training.h"

const char *const kp_optimizer_names[KP_OPT_COUNT] = {
#define KP_OPTIMIZER_NAME(name, text, slots) [KP_OPT_##name] = text,
    KP_OPTIMIZER_ROWS(KP_OPTIMIZER_NAME)
#undef KP_OPTIMIZER_NAME
};

static const uint8_t optimizer_slots[KP_OPT_COUNT] = {
#define KP_OPTIMIZER_SLOTS(name, text, slots) [KP_OPT_##name] = slots,
    KP_OPTIMIZER_ROWS(KP_OPTIMIZER_SLOTS)
#undef KP_OPTIMIZER_SLOTS
};

/* Elements of a shape without its last, or its last but one, dimension. */
static uint64_t without_axis(kp_shape shape, unsigned from_end)
{
    uint64_t size = (uint64_t)shape.dim[shape.rank - from_end];
    return size ? kp_shape_elems(shape, 1) / size : 0;
}

uint64_t kp_optimizer_slot_elems(const kp_training *training, const kp_weight *weight)
{
    kp_shape shape = weight->shape;
    uint64_t elems = kp_shape_elems(shape, 1), slots = optimizer_slots[training->optimizer];
    uint64_t more = 0;
    bool keras = training->framework < KP_FW_TORCH, matrix = shape.rank >= 2;
    if (training->optimizer == KP_OPT_ADAFACTOR) {
        if (matrix) more = kp_add_u64(without_axis(shape, 1), without_axis(shape, 2));
        slots = keras || !matrix;
    }
    if (training->optimizer == KP_OPT_MUON && matrix && shape.rank < 4 &&
        weight->role != KP_ROLE_TABLE)
        slots = 1;
    return kp_add_u64(kp_mul_u64(slots + training->extra_slots, elems), more);
}
