"""Model files that records name without a file: the examples of the compiled records."""


def layer(class_name, **config):
    return {"class_name": class_name, "config": config}


def sequential(name, shape, *layers):
    first = layer("InputLayer", batch_shape=[None, *shape], name="input_layer", dtype="float32")
    return {"class_name": "Sequential", "config": {"name": name, "layers": [first, *layers]}, "keras_version": "3.15.1"}


def dense(name, units, activation):
    return layer("Dense", name=name, units=units, activation=activation)


def seed_dense():
    return sequential("seed_dense", [1024], dense("dense", 4096, "relu"), dense("dense_1", 1024, "relu"),
                      dense("dense_2", 10, "softmax"))


def seed_cnn():
    def conv(name, filters):
        return layer("Conv2D", name=name, filters=filters, kernel_size=[3, 3], activation="relu")
    return sequential("seed_cnn", [256, 256, 3], conv("conv2d", 64), conv("conv2d_1", 128), conv("conv2d_2", 256),
                      layer("MaxPooling2D", name="max_pooling2d", pool_size=[2, 2]), conv("conv2d_3", 512),
                      conv("conv2d_4", 1024), layer("Flatten", name="flatten"), dense("dense", 10, "softmax"))


def seed_lstm():
    return sequential("seed_lstm", [512, 128], layer("LSTM", name="lstm", units=256, return_sequences=True),
                      layer("LSTM", name="lstm_1", units=256), dense("dense", 10, "softmax"))


def cnn3d():
    """Conv3D, max pooling, BatchNormalization four times, as a published series of GPU measurements has it."""
    layers = []
    for i, filters in enumerate((64, 64, 128, 256)):
        end = f"_{i}" if i else ""
        layers += [layer("Conv3D", name="conv3d" + end, filters=filters, kernel_size=[3, 3, 3], activation="relu"),
                   layer("MaxPooling3D", name="max_pooling3d" + end, pool_size=[2, 2, 2]),
                   layer("BatchNormalization", name="batch_normalization" + end)]
    return sequential("cnn3d", [150, 300, 150, 3], *layers,
                      layer("GlobalAveragePooling3D", name="global_average_pooling3d"), dense("dense", 512, "relu"),
                      layer("Dropout", name="dropout", rate=0.3), dense("dense_1", 10, "softmax"))


class Graph:
    """Writes a Functional model: calls give tensors."""

    def __init__(self, name):
        self.name, self.layers, self.shapes = name, [], {}

    def tensor(self, of):
        return {"class_name": "__keras_tensor__",
                "config": {"shape": None, "dtype": "float32", "keras_history": [of, 0, 0]}}

    def add(self, class_name, name, inputs, kwargs=None, **config):
        args = [self.tensor(i) for i in inputs]
        if class_name in ("Add", "Concatenate", "Multiply", "Subtract", "Average", "Maximum", "Minimum", "Dot"):
            args = [args]
        node = [{"args": args, "kwargs": kwargs or {}}] if inputs else []
        self.layers.append({"class_name": class_name, "name": name, "config": {"name": name, **config},
                            "inbound_nodes": node})
        return name

    def input(self, name, shape, dtype="float32"):
        return self.add("InputLayer", name, [], batch_shape=[None, *shape], dtype=dtype)

    def model(self, inputs, outputs):
        return {"class_name": "Functional", "keras_version": "3.15.1",
                "config": {"name": self.name, "layers": self.layers, "input_layers": [[i, 0, 0] for i in inputs],
                           "output_layers": [[o, 0, 0] for o in outputs]}}


def transformer(layers=6, width=1024, heads=16, seq=512, vocab=32000):
    g = Graph("transformer")
    tokens = g.input("input_layer", [seq], "int32")
    x = g.add("Embedding", "embed", [tokens], input_dim=vocab, output_dim=width)
    for i in range(layers):
        h = g.add("LayerNormalization", f"ln1_{i}", [x])
        h = g.add("MultiHeadAttention", f"attn_{i}", [h, h], {"use_causal_mask": True}, num_heads=heads,
                  key_dim=width // heads)
        x = g.add("Add", f"add1_{i}", [x, h])
        h = g.add("LayerNormalization", f"ln2_{i}", [x])
        h = g.add("Dense", f"up_{i}", [h], units=4 * width, activation="gelu")
        h = g.add("Dense", f"down_{i}", [h], units=width)
        x = g.add("Add", f"add2_{i}", [x, h])
    x = g.add("LayerNormalization", "ln_f", [x])
    return g.model([tokens], [g.add("Dense", "head", [x], units=vocab, activation="softmax")])


EXAMPLES = {f.__name__: f for f in (seed_dense, seed_cnn, seed_lstm, cnn3d, transformer)}
