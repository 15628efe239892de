/* SPDX-License-Identifier: MIT
 *
 * planner/plan/explain_code.c — the line of code that makes a change, in each framework's words.
 *
 * Sources: keras.io/api (mixed precision, optimizers, distribution, RematScope),
 * tensorflow.org/api_docs/python/tf, pytorch.org/docs, huggingface.co/docs/transformers
 * (TrainingArguments), Megatron-LM's megatron/training/arguments.py. */
#include "planner/plan/explain_parts.h"

/* $1, $2, ... are the change's figures. */
static const char *const lines[KP_CODE_COUNT][KP_DIALECT_COUNT] = {
    [KP_CODE_DTYPE] =
        {
            [KP_DIALECT_KERAS] = "keras.config.set_dtype_policy(\"$1\")",
            [KP_DIALECT_TF_KERAS] = "tf.keras.mixed_precision.set_global_policy(\"$1\")",
            [KP_DIALECT_TORCH] = "with torch.autocast(\"cuda\", dtype=torch.$5):",
            [KP_DIALECT_HF] = "TrainingArguments($6=True)",
            [KP_DIALECT_MEGATRON] = "--$6",
        },
    [KP_CODE_ACCUM] =
        {
            [KP_DIALECT_KERAS] = "optimizer=keras.optimizers.$3(gradient_accumulation_steps=$2); "
                                 "model.fit(..., batch_size=$1)",
            [KP_DIALECT_TF_KERAS] =
                "model.fit(..., batch_size=$1), and apply the mean gradient of $2 batches at once",
            [KP_DIALECT_TORCH] = "(loss / $2).backward() on batches of $1; optimizer.step() after "
                                 "each $2",
            [KP_DIALECT_HF] = "TrainingArguments(per_device_train_batch_size=$1, "
                              "gradient_accumulation_steps=$2)",
            [KP_DIALECT_MEGATRON] = "--micro-batch-size $1 --global-batch-size $4",
        },
    [KP_CODE_BATCH] =
        {
            [KP_DIALECT_KERAS] = "model.fit(..., batch_size=$1)",
            [KP_DIALECT_TF_KERAS] = "model.fit(..., batch_size=$1)",
            [KP_DIALECT_TORCH] = "DataLoader(..., batch_size=$1)",
            [KP_DIALECT_HF] = "TrainingArguments(per_device_train_batch_size=$1)",
            [KP_DIALECT_MEGATRON] = "--micro-batch-size $1",
        },
    [KP_CODE_MICRO] =
        {
            [KP_DIALECT_TORCH] = "torch.distributed.pipelining.Schedule1F1B(stage, "
                                 "n_microbatches=$2)",
            [KP_DIALECT_HF] = "torch.distributed.pipelining.Schedule1F1B(stage, "
                              "n_microbatches=$2)",
            [KP_DIALECT_MEGATRON] = "--micro-batch-size $1",
        },
    [KP_CODE_LABELS] =
        {
            [KP_DIALECT_KERAS] = "loss=keras.losses.SparseCategoricalCrossentropy(), y = "
                                 "y.argmax(-1)",
            [KP_DIALECT_TF_KERAS] = "loss=\"sparse_categorical_crossentropy\", y = y.argmax(-1)",
            [KP_DIALECT_TORCH] = "F.cross_entropy(logits, y.argmax(-1))",
        },
    [KP_CODE_RECOMPUTE] =
        {
            [KP_DIALECT_KERAS] = "with keras.RematScope(mode=\"full\"): model = build()",
            [KP_DIALECT_TF_KERAS] = "y = tf.recompute_grad(block)(x)",
            [KP_DIALECT_TORCH] = "x = torch.utils.checkpoint.checkpoint(block, x, "
                                 "use_reentrant=False)",
            [KP_DIALECT_HF] = "model.gradient_checkpointing_enable()",
            [KP_DIALECT_MEGATRON] = "--recompute-granularity full --recompute-method uniform "
                                    "--recompute-num-layers 1",
        },
    [KP_CODE_SELECTIVE] =
        {
            [KP_DIALECT_MEGATRON] = "--recompute-granularity selective",
        },
    [KP_CODE_SGD] =
        {
            [KP_DIALECT_KERAS] = "optimizer=keras.optimizers.SGD(learning_rate, momentum=0.9)",
            [KP_DIALECT_TF_KERAS] =
                "optimizer=tf.keras.optimizers.SGD(learning_rate, momentum=0.9)",
            [KP_DIALECT_TORCH] = "torch.optim.SGD(model.parameters(), lr, momentum=0.9)",
            [KP_DIALECT_HF] = "TrainingArguments(optim=\"sgd\", optim_args=\"momentum=0.9\")",
            [KP_DIALECT_MEGATRON] = "--optimizer sgd --sgd-momentum 0.9",
        },
    [KP_CODE_ADAFACTOR] =
        {
            [KP_DIALECT_TORCH] = "torch.optim.Adafactor(model.parameters())",
            [KP_DIALECT_HF] = "TrainingArguments(optim=\"adafactor\")",
        },
    [KP_CODE_DATA] =
        {
            [KP_DIALECT_KERAS] =
                "keras.distribution.set_distribution(keras.distribution.DataParallel())",
            [KP_DIALECT_TF_KERAS] =
                "with tf.distribute.MirroredStrategy().scope(): model = build()",
            [KP_DIALECT_TORCH] = "torchrun --nproc-per-node $1 train.py; "
                                 "model = DistributedDataParallel(model)",
            [KP_DIALECT_HF] = "torchrun --nproc-per-node $1 train.py",
            [KP_DIALECT_MEGATRON] = "torchrun --nproc-per-node $1 pretrain_gpt.py",
        },
    [KP_CODE_SHARD] =
        {
            [KP_DIALECT_KERAS] =
                "keras.distribution.set_distribution(keras.distribution.ModelParallel("
                "layout_map=layouts, batch_dim_name=\"batch\")), layouts on the \"batch\" axis",
            [KP_DIALECT_TORCH] = "fully_shard(model)",
            [KP_DIALECT_HF] = "TrainingArguments(fsdp=\"full_shard auto_wrap\")",
            [KP_DIALECT_MEGATRON] = "--use-distributed-optimizer",
        },
    [KP_CODE_TENSOR] =
        {
            [KP_DIALECT_KERAS] = "keras.distribution.set_distribution(keras.distribution."
                                 "ModelParallel(layout_map=layouts))",
            [KP_DIALECT_TORCH] =
                "parallelize_module(model, init_device_mesh(\"cuda\", ($1,)), plan)",
            [KP_DIALECT_HF] = "AutoModelForCausalLM.from_pretrained(..., tp_plan=\"auto\")",
            [KP_DIALECT_MEGATRON] = "--tensor-model-parallel-size $1",
        },
    [KP_CODE_PIPELINE] =
        {
            [KP_DIALECT_TORCH] = "torch.distributed.pipelining.pipeline(...), $1 stages",
            [KP_DIALECT_HF] = "torch.distributed.pipelining.pipeline(...), $1 stages",
            [KP_DIALECT_MEGATRON] = "--pipeline-model-parallel-size $1",
        },
    [KP_CODE_STREAM] =
        {
            [KP_DIALECT_KERAS] = "model.fit(keras.utils.PyDataset or tf.data.Dataset.from_generator"
                                 "(...).batch(n).prefetch(1))",
            [KP_DIALECT_TF_KERAS] =
                "model.fit(tf.data.Dataset.from_generator(...).batch(n).prefetch(1))",
            [KP_DIALECT_TORCH] = "DataLoader over a Dataset that reads one sample at a time",
            [KP_DIALECT_HF] = "load_dataset(..., streaming=True)",
        },
    [KP_CODE_LENGTH] =
        {
            [KP_DIALECT_KERAS] = "x = x[:, :$1]",
            [KP_DIALECT_TF_KERAS] = "x = x[:, :$1]",
            [KP_DIALECT_TORCH] = "x = x[:, :$1]",
            [KP_DIALECT_HF] = "tokenizer(..., truncation=True, max_length=$1)",
            [KP_DIALECT_MEGATRON] = "--seq-length $1",
        },
};

kp_dialect kp_dialect_of(const kp_look *look)
{
    kp_format format = look->graph->format;
    switch (look->training.framework) {
    case KP_FW_MEGATRON:
        return KP_DIALECT_MEGATRON;
    case KP_FW_TORCH:
        return format == KP_FORMAT_HUGGINGFACE ? KP_DIALECT_HF : KP_DIALECT_TORCH;
    case KP_FW_KERAS_TF_GRAPH:
        return KP_DIALECT_TF_KERAS;
    default:
        return format == KP_FORMAT_KERAS_3 ? KP_DIALECT_KERAS : KP_DIALECT_TF_KERAS;
    }
}

const char *kp_code_text(kp_arena *arena, kp_code code, kp_dialect dialect, const char *const *args)
{
    const char *line = lines[code][dialect];
    if (!line) return NULL;
    kp_buf text;
    kp_buf_init(&text, 1024);
    for (const char *at = line; *at; at++) {
        bool hole = *at == '$' && at[1] >= '1' && at[1] <= '9';
        if (hole)
            kp_buf_str(&text, args[*++at - '1']);
        else
            kp_buf_char(&text, *at);
    }
    const char *filled = text.failed ? NULL : kp_arena_str(arena, kp_buf_text(&text));
    kp_buf_release(&text);
    return filled;
}

const char *kp_number(const kp_explaining *e, uint64_t n)
{
    const char *text = kp_arena_fmt(e->arena, "%llu", (unsigned long long)n);
    return text ? text : "";
}

const char *kp_code_filled(const kp_explaining *e, kp_code code, const char *const *args)
{
    return kp_code_text(e->arena, code, kp_dialect_of(&e->look), args);
}

const char *kp_code_of(const kp_explaining *e, kp_code code, uint64_t n)
{
    return kp_code_filled(e, code, (const char *const[]){kp_number(e, n)});
}
