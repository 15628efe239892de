/* SPDX-License-Identifier: MIT
 *
 * Vision Transformers (arXiv 2010.11929): an image cut into patches, a class row before them. */
#include "planner/model/hf_blocks.h"

typedef struct image {
    int64_t size, patch, channels;
} image;

static kp_status read_image(const kp_hf_keys *keys, image *ret)
{
    KP_TRY(kp_hf_int(keys, "image_size", 1, 224, &ret->size));
    KP_TRY(kp_hf_int(keys, "patch_size", 1, 16, &ret->patch));
    KP_TRY(kp_hf_int(keys, "num_channels", 1, 3, &ret->channels));
    if (ret->patch <= ret->size) return KP_OK;
    return kp_fail(keys->err, KP_INPUT, "'patch_size' is %lld, more than an 'image_size' of %lld",
                   (long long)ret->patch, (long long)ret->size);
}

/* As many classes as names of them; transformers takes 2 if the file says nothing. */
static kp_status read_classes(const kp_hf_keys *keys, int64_t *ret)
{
    const json_t *names = kp_hf_find(keys, "id2label");
    KP_TRY(kp_hf_int(keys, "num_labels|num_classes", 1, 2, ret));
    if (json_is_object(names) && json_object_size(names)) *ret = (int64_t)json_object_size(names);
    return KP_OK;
}

kp_status kp_hf_vision(kp_reader *reader, const kp_hf_keys *keys, const kp_hf_arch *arch,
                       kp_spec *ret)
{
    image im;
    int64_t classes;
    kp_hf_net net;
    kp_ref at;
    KP_TRY(read_image(keys, &im));
    KP_TRY(read_classes(keys, &classes));
    int64_t across = im.size / im.patch;
    kp_shape shape = {.rank = 4, .per_sample = 1, .dim = {1, im.channels, im.size, im.size}};
    kp_layer_cfg patches = {.filters = im.channels, .width = im.patch, .units = arch->h,
                            .count = kp_dim_mul(across, across)};
    kp_layer_cfg last = {.scale = true, .center = true};
    kp_layer_cfg head = {.units = classes, .use_bias = true, .renorm = true};
    KP_TRY(kp_hf_begin(reader, reader->name, arch->block_class, arch->policy,
                       (uint32_t)arch->L + 8, &net));
    KP_TRY(kp_hf_input(&net, "pixel_values", shape, KP_FLOAT32, &at));
    KP_TRY(kp_hf_add(&net, arch->names->embed, "PatchEmbedding", patches, &at, 1, &at));
    for (int64_t i = 0; i < arch->L; i++) KP_TRY(kp_hf_block_write(&net, arch, i, &at));
    KP_TRY(kp_hf_add(&net, arch->names->final_norm, "LayerNorm", last, &at, 1, &at));
    KP_TRY(kp_hf_add(&net, arch->names->head, "Linear", head, &at, 1, &at));
    ret->model = net.model;
    return kp_hf_end(&net, &at, 1);
}
