"""Rows of liger-op: one layer of torch, transformers or Liger, forward, backward or both.

The benchmarks (benchmark/scripts of Liger-Kernel) keep gradients from run to run, so each step adds to
them (--grad-accum 2) except where autograd.grad returns them or the script clears them; outputs and
given gradients stay in variables, and some backward passes retain the graph. Some scripts make both
implementations: the idle one's weights lie beside as an input."""
from rows import Left, Row, records

SETS = ("liger-op",)
GPUS = {"A100": "A100-80G", "H100": "H100-80G", "B200": "B200", "RTX 4090": "RTX4090"}


def layer(package, class_name, name, inputs, dtype, **config):
    args = [{"class_name": "__keras_tensor__", "config": {"keras_history": [i, 0, k]}} for i, k in inputs]
    return {"class_name": class_name, "name": name, "module": package, "registered_name": f"{package}>{class_name}",
            "config": {"name": name, "dtype": dtype, **config}, "inbound_nodes": [{"args": args, "kwargs": {}}]}


class Model:
    """A Functional model of a few layers, and how its backward pass is called."""

    def __init__(self, loss="output_gradient", retain=False, gradient_dtype=None):
        self.layers, self.inputs, self.outputs = [], [], []
        torch = {"retain_graph": retain}
        if gradient_dtype:
            torch["gradient_dtype"] = gradient_dtype
        self.compile = {"optimizer": "SGD", "loss": loss, "torch": torch}

    def input(self, name, shape, dtype, grad=False):
        config = {"name": name, "batch_shape": shape, "dtype": dtype, "requires_grad": grad}
        self.layers.append({"class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []})
        self.inputs.append([name, 0, 0])
        return (name, 0)

    def add(self, package, class_name, inputs, dtype="float32", outputs=1, **config):
        name = f"{class_name.lower()}_{len(self.layers)}"
        self.layers.append(layer(package, class_name, name, inputs, dtype, **config))
        return [(name, k) for k in range(outputs)]

    def file(self, *outputs):
        return {"class_name": "Functional", "keras_version": "3.15.1", "compile_config": self.compile,
                "config": {"name": "op", "layers": self.layers, "input_layers": self.inputs,
                           "output_layers": [[n, 0, k] for n, k in outputs]}}

    def idle(self, batch, elems, dtype):
        """Memory that the process holds beside the op."""
        self.input("idle", [batch, -(-elems // batch)], dtype)


def one(package, class_name, shape, dtype, weights, model, version, **config):
    x = model.input("x", shape, dtype, grad=True)
    y = model.add(package, class_name, [x], weights, package_version=version, **config)
    return model.file(y[0])


# ---- one function an operator: (config, impl) to a model file; None: not one of its implementations


def norm(classes, rows, columns, weights=None, **kwargs):
    def make(c, impl):
        if impl not in classes:
            return None
        dtype = c.get("dtype", "bfloat16").replace("torch.", "")
        own = weights or dtype
        model = Model(retain=kwargs.get("retain", True), loss=kwargs.get("loss", "output_gradient"), gradient_dtype=dtype)
        package, name = classes[impl]
        return one(package, name, [*(c[r] for r in rows), c[columns]], dtype, own, model, c["liger_version"])
    return make


def mlp(c, impl):
    kind = c.get("activation_type") or ("geglu" if "gelu" in c["hidden_act"] else "swiglu")
    kind = {"geglu": "GEGLU", "swiglu": "SwiGLU"}[kind]
    classes = {"liger": ("liger_kernel", f"Liger{kind}MLP"), "huggingface": ("transformers", "LlamaMLP"),
               "liger_tiled": ("liger_kernel", f"LigerTiled{kind}MLP"), "deepspeed_tiled": ("deepspeed", "TiledMLP")}
    if impl not in classes:
        return None
    dtype = c["dtype"].replace("torch.", "")
    shape = [c.get("bsz") or c["B"], c["T"], c["hidden_size"]]
    return one(*classes[impl], shape, dtype, dtype, Model(retain=True), c["liger_version"],
               intermediate_size=c["intermediate_size"], num_shards=c.get("num_shards", 1))


def cross_entropy(c, impl):
    classes = {"liger": ("liger_kernel", "LigerCrossEntropyLoss"), "huggingface": ("torch", "CrossEntropyLoss")}
    if impl not in classes:
        return None
    m, rows = Model(retain=True), c.get("BT") or c["B"] * c["T"]
    x = m.input("x", [rows, int(c.get("V") or c["vocab_size"])], "float32", grad=True)
    t = m.input("target", [rows], "int64")
    return m.file(m.add(*classes[impl], [x, t])[0])


def distance(before, classes):
    """A distance of two distributions, the first of which comes from logits."""
    def make(c, impl):
        if impl not in classes:
            return None
        m, rows = Model(retain=True), c.get("BT") or c["B"] * c["T"]
        v = int(c.get("V") or c["vocab_size"])
        x, t = m.input("x", [rows, v], "float32", grad=True), m.input("target", [rows, v], "float32")
        q = m.add("torch", before, [x])
        return m.file(m.add(*classes[impl], [q[0], t], package_version=c["liger_version"])[0])
    return make


def fused_add(c, impl):
    classes = {"liger_fused_add_rms_norm": ("liger_kernel", "LigerFusedAddRMSNorm"),
               "liger_rms_norm": ("liger_kernel", "LigerAddRMSNorm"), "huggingface": ("transformers", "NaiveAddRMSNorm")}
    if impl not in classes:
        return None
    m, dtype, shape = Model(), c["dtype"].replace("torch.", ""), [c["M"], c["H"]]
    x, r = m.input("x", shape, dtype, grad=True), m.input("residual", shape, dtype, grad=True)
    return m.file(*m.add(*classes[impl], [x, r], outputs=2))


def rope(c, impl):
    classes = {"liger": ("liger_kernel", "LigerRope"), "huggingface": ("transformers", "ApplyRotaryPosEmb")}
    return rotary(c, classes.get(impl), ["cos", "sin"], c["dtype"].replace("torch.", ""))


def llama4_rope(c, impl):
    classes = {"liger": ("liger_kernel", "LigerLlama4Rope"), "huggingface": ("transformers", "ApplyRotaryEmb")}
    return rotary(c, classes.get(impl), ["freqs_cis"], "float32")  # complex64, half as many


def rotary(c, class_name, tables, table_dtype):
    if class_name is None:
        return None
    seq, hidden = c.get("seq_len") or c["T"], c.get("hidden_size") or c["H"]
    width, dtype = hidden // c["num_q_heads"], c["dtype"].replace("torch.", "")
    m = Model(retain=True)
    q = m.input("q", [1, seq, hidden], dtype, grad=True)
    k = m.input("k", [1, seq, width * c["num_kv_heads"]], dtype, grad=True)
    m.input("position_ids", [1, seq], "int64")
    tables = [m.input(t, [1, seq, width], table_dtype) for t in tables]
    return m.file(*m.add(*class_name, [q, k, *tables], dtype, outputs=2, head_dim=width))


def group_norm(c, impl):
    classes = {"liger": ("liger_kernel", "LigerGroupNorm"), "huggingface": ("torch", "GroupNorm")}
    if impl not in classes:
        return None
    channels, dtype = c.get("C") or c["num_channels"], c["dtype"].replace("torch.", "")
    return one(*classes[impl], [c["M"], channels, c["H"]], dtype, dtype, Model(retain=True), c["liger_version"],
               num_groups=channels // c["channels_per_group"])


def megatron_cross_entropy(c, impl):
    classes = {"liger": ("liger_kernel", "LigerMegatronCrossEntropy"), "megatron-unfused": ("megatron", "VocabParallelCrossEntropy"),
               "megatron-fused": ("megatron", "FusedVocabParallelCrossEntropy"), "megatron": ("megatron", "FusedVocabParallelCrossEntropy")}
    if impl not in classes or c.get("TP", 1) != 1:
        return None
    m = Model(loss="output_sum")
    x = m.input("x", [c["S"], c["B"], int(c["V"])], "bfloat16", grad=True)
    return m.file(m.add(*classes[impl], [x, m.input("target", [c["S"], c["B"]], "int64")])[0])


def megatron_swiglu(c, impl):
    classes = {"liger": ("liger_kernel", "LigerMegatronSwiGLU"), "liger_in_place": ("liger_kernel", "LigerMegatronSwiGLUInPlace"),
               "torch": ("torch", "SwiGLU"), "megatron": ("megatron", "BiasSwiGLU")}
    if impl not in classes:
        return None
    return one(*classes[impl], [c["S"], c["B"], 2 * c["ffn_local"]], "bfloat16", "bfloat16", Model(loss="output_sum"), c["liger_version"])


def lm_head(class_of):
    """The product with the vocabulary and its loss. The scripts made both implementations, each with
    its own matrix, until they were given one that they share."""
    def make(c, impl):
        if impl not in class_of:
            return None
        m, dtype = Model(), c["dtype"].replace("torch.", "")
        rows, h, v = c["BT"], c.get("H") or c["hidden_size"], c.get("V") or c["vocab_size"]
        x, t = m.input("x", [rows, h], dtype, grad=True), m.input("target", [rows], "int64")
        m.idle(rows, v * h, dtype)
        return m.file(m.add(*class_of[impl], [x, t], dtype, vocab_size=v, package_version=c["liger_version"])[0])
    return make


def lm_head_jsd(c, impl):
    classes = {"liger": ("liger_kernel", "LigerFusedLinearJSD"), "torch": ("torch", "TorchLMHeadJSD")}
    if impl not in classes:
        return None
    m, dtype = Model(), c["dtype"].replace("torch.", "")
    rows, h, v = c["BT"], c.get("H") or c["hidden_size"], c.get("V") or c["vocab_size"]
    x, t = m.input("x", [rows, h], dtype, grad=True), m.input("teacher", [rows, h], dtype)
    return m.file(m.add(*classes[impl], [x, t], dtype, vocab_size=v, package_version=c["liger_version"])[0])


NORMS = {"liger": ("liger_kernel", "LigerRMSNorm"), "huggingface": ("transformers", "LlamaRMSNorm")}
MEGATRON_NORMS = {"liger": ("liger_kernel", "LigerMegatronRMSNorm"), "torch": ("torch", "RMSNorm"), "megatron": ("torch", "RMSNorm")}
LAYER_NORMS = {"liger": ("liger_kernel", "LigerLayerNorm"), "huggingface": ("torch", "LayerNorm")}
OPERATORS = {  # name: (model file, gradients stay from run to run)
    "rms_norm": (norm(NORMS, ["M"], "H", "float32"), True),
    "layer_norm": (norm(LAYER_NORMS, ["M"], "N", "float32"), True),
    "megatron_rms_norm": (norm(MEGATRON_NORMS, ["S", "B"], "H", loss="output_sum", retain=False), True),
    "group_norm": (group_norm, True), "fused_add_rms_norm": (fused_add, True),
    "swiglu": (mlp, True), "geglu": (mlp, True), "tiled_swiglu": (mlp, True), "tiled_geglu": (mlp, True),
    "cross_entropy": (cross_entropy, True),
    "kl_div": (distance("LogSoftmax", {"liger": ("liger_kernel", "LigerKLDIVLoss"), "torch": ("torch", "KLDivLoss")}), True),
    "jsd": (distance("LogSoftmax", {"liger": ("liger_kernel", "LigerJSD"), "torch": ("torch", "TorchJSD")}), True),
    "tvd": (distance("Softmax", {"liger": ("liger_kernel", "LigerTVDLoss"), "torch": ("torch", "TorchTVDLoss")}), True),
    "rope": (rope, False), "llama4_rope": (llama4_rope, False),
    "megatron_cross_entropy": (megatron_cross_entropy, False), "megatron_swiglu": (megatron_swiglu, False),
    "fused_linear_cross_entropy": (lm_head({"liger": ("liger_kernel", "LigerFusedLinearCrossEntropyLoss"),
                                            "huggingface": ("torch", "TorchLMHeadCE")}), True),
    "fused_linear_jsd": (lm_head_jsd, True),
}


def forward(answer):
    """The forward pass alone, with the interval's relative width of the whole step."""
    peak = answer["peak"]
    value = next(p["allocated_bytes"] for p in answer["phases"] if p["name"] == "forward")
    return tuple(int(value * peak[f"allocated{k}_bytes"] / peak["allocated_bytes"]) for k in ("", "_low", "_high"))


def whole(config):
    """Sizes that are swept are written as 1024.0."""
    return {k: int(v) if isinstance(v, float) and v == int(v) and k not in ("eps", "beta") else v for k, v in config.items()}


def rows(data):
    for row in records(data, "memory", "measured.jsonl"):
        if row["group"] != "liger-op":
            continue
        c, op = whole(row["config"]), row["model"].removeprefix("op:")
        label = f"{row['id']} {op} {c['impl']} {c['op_mode']}"
        gpu = next((g for name, g in GPUS.items() if name in row["device"]), None)
        if op not in OPERATORS or gpu is None:
            yield Left(SETS, label, f"no layer for {op}" if gpu else "another card")
            continue
        make, stays = OPERATORS[op]
        model = make(c, c["impl"])
        if model is None:
            yield Left(SETS, label, f"no layer for {op} by {c['impl']}")
            continue
        alone = c["op_mode"] == "forward"
        if alone:  # no backward pass, so no gradient is given
            model["compile_config"]["loss"] = "output_sum"
        options = ["--framework", "torch", "--gpu", gpu, *(["--grad-accum", "2"] if stays and not alone else [])]
        yield Row(SETS, label, row["bytes"], model, options, forward if alone else "allocated")
