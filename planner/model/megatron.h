/* SPDX-License-Identifier: MIT
 *
 * planner/model/megatron.h — parts of the reader of Megatron-LM's arguments. Internal to the room. */
#ifndef KP_PLANNER_MODEL_MEGATRON_H
#define KP_PLANNER_MODEL_MEGATRON_H

#include "planner/model/hf.h"
#include "planner/model/launch.h"

/* What the arguments say of the run of a model of `n_layers` blocks. In the reader's arena. KP_INPUT:
 * stages that the layers do not divide into, a name that is none. */
kp_status kp_megatron_launch(kp_reader *reader, const kp_hf_keys *keys, int64_t n_layers,
                             const kp_launch **ret);

/* BERT and T5 of these arguments, whose sizes are in `arch` (T5: the encoder's). */
kp_status kp_megatron_bert(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                           int64_t seq, kp_spec *ret);
kp_status kp_megatron_t5(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                         int64_t seq, kp_spec *ret);
/* T5's blocks of the decoder; as many as the encoder's if not said. */
kp_status kp_megatron_decoder_blocks(const kp_hf_keys *keys, int64_t otherwise, int64_t *ret);

/* *ret: for each of L layers whether it has experts. KP_INPUT: a pattern of another length. */
kp_status kp_megatron_sparse(kp_reader *reader, const kp_hf_keys *keys, int64_t L, uint8_t **ret);

#endif
