/* SPDX-License-Identifier: MIT
 *
 * Hugging Face configurations: which family a file is of, and its reader. */
#include "planner/model/hf_blocks.h"
#include "planner/model/launch.h"
#include "proto/text.h"
#include <ctype.h>
#include <math.h>

bool kp_hf_is(const json_t *json)
{
    static const char *const keys[] = {"model_type", "architectures", "text_config",
                                       "hidden_size", "n_embd", "d_model"};
    for (size_t i = 0; i < KP_LEN(keys); i++)
        if (json_object_get(json, keys[i])) return true;
    return false;
}

/* "LlamaForCausalLM" is of family "llama": letters and digits up to "For", "Model" or the end. */
static bool of_class(const char *class_name, const char *model_type)
{
    for (; *model_type; model_type++) {
        if (*model_type == '_' || *model_type == '-') continue;
        if (tolower((unsigned char)*class_name++) != *model_type) return false;
    }
    return !strncmp(class_name, "For", 3) || !strncmp(class_name, "Model", 5) ||
           !strncmp(class_name, "LMHead", 6) || !*class_name;
}

static const kp_hf_family *by_architecture(const char *class_name)
{
    for (size_t i = 0; class_name && i < kp_hf_n_families; i++)
        if (of_class(class_name, kp_hf_families[i].model_type)) return &kp_hf_families[i];
    return NULL;
}

/* Kinds that the configuration alone does not determine, or that no rule here describes. */
static const struct {
    const char *name, *why;
} refused[] = {
    {"decoder_only_t5", "a private variant of T5 whose code is not public"},
    {"kimi_linear", "its residual attention and latent experts have weights the file does not size"},
    {"rwkv5", "it has a recurrence of its own instead of attention"},
};

static kp_status unknown(const char *what, const char *name, kp_err *err)
{
    const char *names[192];
    size_t n = kp_hf_n_families < KP_LEN(names) ? kp_hf_n_families : KP_LEN(names);
    for (size_t i = 0; i < KP_LEN(refused); i++)
        if (!strcmp(name, refused[i].name))
            return kp_fail(err, KP_UNSUPPORTED, "%s '%s' is not supported: %s", what, name,
                           refused[i].why);
    for (size_t i = 0; i < n; i++) names[i] = kp_hf_families[i].model_type;
    kp_fail(err, KP_UNSUPPORTED, "%s '%.60s' is not known", what, name);
    const char *near = kp_nearest(name, names, n);
    if (near) kp_hint(err, "near is '%s'; set \"model_type\" to it if the layers are the same", near);
    else kp_hint(err, "known are llama, mistral, mixtral, qwen2, qwen3, gemma2, gpt2, gpt_neox, opt, "
                      "bloom, phi, deepseek_v3, bert, t5, bart, vit and others");
    return KP_UNSUPPORTED;
}

/* By model_type; old files have none: then by class name, or BERT by its keys. */
static kp_status find_family(const kp_hf_keys *keys, const kp_hf_family **ret)
{
    const char *type = kp_hf_text(keys, "model_type");
    const char *class_name = json_string_value(json_array_get(kp_hf_find(keys, "architectures"), 0));
    *ret = type ? kp_hf_family_find(type) : by_architecture(class_name);
    if (*ret) return KP_OK;
    if (type) return unknown("model_type", type, keys->err);
    if (class_name) return unknown("architecture", class_name, keys->err);
    if (kp_hf_find(keys, "type_vocab_size") && kp_hf_find(keys, "num_attention_heads")) {
        *ret = kp_hf_family_find("bert");
        return KP_OK;
    }
    kp_fail(keys->err, KP_UNSUPPORTED, "the configuration does not say what model it is");
    kp_hint(keys->err, "add \"model_type\": \"llama\" or another family");
    return KP_UNSUPPORTED;
}

/* Models of pictures and text hold the language model's configuration in a member. */
static json_t *text_config(json_t *json)
{
    static const char *const members[] = {"text_config", "llm_config", "language_config"};
    for (size_t i = 0; i < KP_LEN(members); i++) {
        json_t *inner = json_object_get(json, members[i]);
        if (json_is_object(inner)) return inner;
    }
    return json;
}

/* A text's configuration inside another file leaves out what is transformers' default. */
static kp_status fill_inner(json_t *inner, kp_err *err)
{
    static const struct {
        const char *model_type, *key;
        int64_t value;
    } rows[] = {
        {"llama", "hidden_size", 4096},          {"llama", "intermediate_size", 11008},
        {"llama", "num_hidden_layers", 32},      {"llama", "num_attention_heads", 32},
        {"llama", "vocab_size", 32000},          {"mistral", "hidden_size", 4096},
        {"mistral", "intermediate_size", 14336}, {"mistral", "num_hidden_layers", 32},
        {"mistral", "num_attention_heads", 32},  {"mistral", "num_key_value_heads", 8},
        {"mistral", "vocab_size", 32000},
    };
    const char *type = json_string_value(json_object_get(inner, "model_type"));
    for (size_t i = 0; type && i < KP_LEN(rows); i++) {
        if (strcmp(type, rows[i].model_type) || json_object_get(inner, rows[i].key)) continue;
        if (json_object_set_new_nocheck(inner, rows[i].key, json_integer(rows[i].value)))
            return kp_nomem(err);
    }
    return KP_OK;
}

static void note(kp_spec *spec, const char *message)
{
    if (spec->n_notes < KP_LEN(spec->notes))
        spec->notes[spec->n_notes++] = (kp_model_warning){.code = "not-counted", .message = message};
}

/* What of the file the model leaves out. */
static kp_status add_notes(const kp_hf_keys *keys, const json_t *json, kp_spec *ret)
{
    static const char *const other[] = {"vision_config", "audio_config", "img_processor",
                                        "speech_config"};
    int64_t predictors;
    for (size_t i = 0; i < KP_LEN(other); i++)
        if (json_is_object(json_object_get(json, other[i])) && !ret->n_notes)
            note(ret, "the language model alone is read: encoders of images and sound are not counted");
    if (json != keys->json && !ret->n_notes)
        note(ret, "the language model alone is read, not what stands around it");
    KP_TRY(kp_hf_int(keys, "num_nextn_predict_layers|mtp_num_hidden_layers|num_mtp_modules", 0, 0,
                     &predictors));
    if (predictors) note(ret, "layers that predict further tokens (MTP) are not counted");
    return KP_OK;
}

/* Eager attention writes its scores; any other implementation is a fused kernel. torchtitan's
 * settings stand in a member of their own. */
static kp_status read_launch(kp_reader *reader, const kp_hf_keys *keys, kp_spec *ret)
{
    const char *attention = kp_hf_text(keys, "attn_implementation|_attn_implementation");
    bool eager = attention && !strcmp(attention, "eager");
    if (!eager && !kp_hf_find(keys, "torchtitan")) return KP_OK;
    kp_launch *launch = KP_NEW(reader->arena, kp_launch, 1);
    if (!launch) return kp_nomem(reader->err);
    launch->unfused = eager;
    ret->launch = launch;
    return kp_hf_titan_read(keys, reader->arena, launch);
}

kp_status kp_hf_read(kp_reader *reader, json_t *json, kp_spec *ret)
{
    kp_hf_keys keys = {.json = text_config(json), .err = reader->err};
    const kp_hf_family *family;
    kp_hf_arch arch;
    size_t said = json_object_size(keys.json);
    if (keys.json != json) KP_TRY(fill_inner(text_config(json), reader->err));
    KP_TRY(find_family(&keys, &family));
    KP_TRY(add_notes(&keys, json, ret));
    KP_TRY(read_launch(reader, &keys, ret));
    if (json_object_size(keys.json) != said)
        note(ret, "sizes that the text's configuration leaves out are transformers' defaults");
    ret->format = KP_FORMAT_HUGGINGFACE;
    ret->compile = (kp_compile){.learning_rate = (double)NAN};
    ret->compile.loss = "sparse_categorical_crossentropy";
    kp_compile_tensorflow(json, &ret->compile);
    kp_compile_torch(json, &ret->compile);
    if (family->kind == KP_HF_T5) return kp_hf_t5(reader, &keys, family, ret);
    if (family->kind == KP_HF_BART) return kp_hf_bart(reader, &keys, family, ret);
    KP_TRY(kp_hf_arch_read(reader, &keys, family, &arch));
    if (json != keys.json && !kp_hf_find(&keys, "tie_word_embeddings")) {
        kp_hf_keys outer = {.json = json, .err = reader->err};
        KP_TRY(kp_hf_bool(&outer, "tie_word_embeddings", arch.tied, &arch.tied));
    }
    KP_TRY(kp_hf_blocks_make(reader, &keys, &arch));
    if (family->kind == KP_HF_VISION) return kp_hf_vision(reader, &keys, &arch, ret);
    return kp_hf_decoder(reader, &arch, KP_DIM_OPEN, ret);
}
