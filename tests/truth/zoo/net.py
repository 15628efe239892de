"""A writer of convolutional networks: keeps channels and the size of the picture.

torch pads a convolution of odd width k by (k-1)/2 on both sides, which gives the sizes of Keras's
'same'; where it does not, the picture is padded first."""
from keras_models import Graph

def divisible(value, by=8, limit=.9):
    """The multiple of `by` that channels are rounded to; not below `limit` of the value."""
    new = max(by, int(value + by / 2) // by * by)
    return new + by if limit and new < limit * value else new


ACTIVATIONS = {"relu": ("ReLU", {}), "relu6": ("ReLU", {"max_value": 6.0})}


class Net:
    def __init__(self, name, image, channels=3):
        self.g, self.n = Graph(name), 0
        size = (image, image) if isinstance(image, int) else tuple(image)
        self.x = self.first = self.g.input("input", [*size, channels])
        self.params = 0
        self.at = {self.x: (channels, *size)}  # of each tensor: channels and size; size None: a row

    def name(self, what):
        self.n += 1
        return f"{what}_{self.n}"

    def channels(self, x=None):
        return self.at[x or self.x][0]

    def put(self, class_name, inputs, at, kwargs=None, **config):
        """A layer over tensors; its output becomes the current one."""
        self.x = self.g.add(class_name, self.name(class_name.lower()), inputs, kwargs, **config)
        self.at[self.x] = at
        return self.x

    # ---- layers ----

    def conv(self, filters, k=3, s=1, groups=1, bias=False, x=None, padding="same", dilation=1):
        x = x or self.x
        c, h, w = self.at[x]
        size = (-(-h // s), -(-w // s)) if padding == "same" else ((h - k) // s + 1, (w - k) // s + 1)
        self.params += k * k * c // groups * filters + filters * bias
        common = dict(kernel_size=[k, k], strides=[s, s], padding=padding, use_bias=bias,
                      dilation_rate=[dilation, dilation])
        if groups == c == filters and c > 1:
            return self.put("DepthwiseConv2D", [x], (filters, *size), depth_multiplier=1, **common)
        return self.put("Conv2D", [x], (filters, *size), filters=filters, groups=groups, **common)

    def norm(self, x=None):
        x = x or self.x
        self.params += 2 * self.channels(x)
        return self.put("BatchNormalization", [x], self.at[x])

    def act(self, kind="relu", x=None):
        x = x or self.x
        if not kind:
            return x
        if kind in ACTIVATIONS:
            class_name, config = ACTIVATIONS[kind]
            return self.put(class_name, [x], self.at[x], **config)
        return self.put("Activation", [x], self.at[x], activation=kind)

    def cna(self, filters, k=3, s=1, groups=1, act="relu", x=None, padding="same"):
        """Convolution, normalisation, activation."""
        self.conv(filters, k, s, groups, x=x, padding=padding)
        self.norm()
        return self.act(act)

    def pool(self, k=3, s=2, padding="same", kind="max", x=None):
        x = x or self.x
        c, h, w = self.at[x]
        size = (-(-h // s), -(-w // s)) if padding == "same" else ((h - k) // s + 1, (w - k) // s + 1)
        class_name = "MaxPooling2D" if kind == "max" else "AveragePooling2D"
        return self.put(class_name, [x], (c, *size), pool_size=[k, k], strides=[s, s], padding=padding)

    def adapt(self, size):
        """An adaptive pool to size x size: nothing where the picture has that size, as much memory as
        padding where it is smaller; what a larger picture needs is not written: None."""
        c, h, w = self.at[self.x]
        if (h, w) == (size, size):
            return self.x
        if h > size or w > size:
            return None
        rows, columns = size - h, size - w
        return self.put("ZeroPadding2D", [self.x], (c, size, size),
                        padding=[[rows // 2, rows - rows // 2], [columns // 2, columns - columns // 2]])

    def mean(self, x=None, keepdims=False):
        x = x or self.x
        c = self.channels(x)
        return self.put("GlobalAveragePooling2D", [x], (c, 1, 1) if keepdims else (c, None, None), keepdims=keepdims)

    def dense(self, units, x=None, bias=True):
        x = x or self.x
        c, *rest = self.at[x]
        self.params += c * units + units * bias
        return self.put("Dense", [x], (units, *rest), units=units, use_bias=bias)

    def flatten(self, x=None):
        x = x or self.x
        c, h, w = self.at[x]
        return self.put("Flatten", [x], (c * h * w, None, None))

    def add(self, a, b):
        return self.put("Add", [a, b], self.at[a])

    def mul(self, a, b):
        return self.put("Multiply", [a, b], self.at[a])

    def concat(self, tensors):
        return self.put("Concatenate", tensors, (sum(self.at[t][0] for t in tensors), *self.at[tensors[0]][1:]),
                        axis=-1)

    def dropout(self, rate, x=None):
        x = x or self.x
        return self.put("Dropout", [x], self.at[x], rate=rate) if rate else x

    # ---- the file ----

    def model(self, optimizer=None, **compiled):
        file = self.g.model([self.first], [self.x])
        if optimizer or compiled:
            file["compile_config"] = {"optimizer": optimizer, "loss": "sparse_categorical_crossentropy", **compiled}
        return file
