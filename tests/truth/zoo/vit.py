"""Vision transformers of timm: ViT (Dosovitskiy et al. 2021), DeiT and its third version."""
import re
from .net import Net

# Width, depth, heads, width of the MLP by that of the model.
SIZES = {"tiny": (192, 12, 3, 4), "small": (384, 12, 6, 4), "base": (768, 12, 12, 4), "large": (1024, 24, 16, 4),
         "huge": (1280, 32, 16, 4), "giant": (1408, 40, 16, 48 / 11), "gigantic": (1664, 48, 16, 64 / 13),
         "base_plus": (896, 12, 14, 4), "small_36x1": (384, 36, 6, 4)}


class Kind:
    """What one name has: `scaled`: LayerScale; `tokens`: class and distillation; `tokens_placed`:
    these have positions too."""

    def __init__(self, size, patch, **more):
        self.width, self.depth, self.heads, self.ratio = SIZES[size]
        self.patch, self.scaled, self.tokens, self.tokens_placed = patch, False, 1, True
        self.__dict__.update(more)


def norm(net):
    net.params += 2 * net.channels()
    return net.put("LayerNormalization", [net.x], net.at[net.x], epsilon=1e-6)


def attention(net, heads):
    c = net.channels()
    net.params += 4 * c * c + 4 * c
    return net.put("MultiHeadAttention", [net.x, net.x], net.at[net.x], num_heads=heads, key_dim=c // heads)


def scale(net):
    c = net.channels()
    net.params += c
    return net.put("LayerScale", [net.x], net.at[net.x], init_values=1e-5, projection_dim=c)


def mlp(net, inner):
    c = net.channels()
    net.dense(inner)
    net.act("gelu")
    return net.dense(c)


def half(net, kind, inside):
    """x + inside(norm(x))."""
    x = net.x
    norm(net)
    inside()
    if kind.scaled:
        scale(net)
    net.add(x, net.x)


def tokens(net, n):
    """Learned tokens before the patches. The file has zeros instead: a token is one row of the
    parameters."""
    c, rows = net.at[net.x][:2]
    net.params += n * c
    return net.put("ZeroPadding1D", [net.x], (c, rows + n, None), padding=[n, 0])


def positions(net):
    c, rows = net.at[net.x][:2]
    net.params += c * rows
    x = net.x
    net.put("PositionEmbedding", [x], net.at[x], sequence_length=rows)
    net.g.layers[-1].update(module="keras_hub.layers", registered_name="keras_hub>PositionEmbedding")
    return net.add(x, net.x)


def vit(name, image, classes, kind):
    net = Net(name, image)
    net.conv(kind.width, kind.patch, kind.patch, bias=True, padding="valid")
    c, h, w = net.at[net.x]
    net.put("Reshape", [net.x], (c, h * w, None), target_shape=[h * w, c])
    if not kind.tokens_placed:
        positions(net)
    tokens(net, kind.tokens)
    if kind.tokens_placed:
        positions(net)
    for _ in range(kind.depth):
        half(net, kind, lambda: attention(net, kind.heads))
        half(net, kind, lambda: mlp(net, int(c * kind.ratio)))
    norm(net)
    net.put("Cropping1D", [net.x], (c, 1, None), cropping=[0, net.at[net.x][1] - 1])
    net.put("Reshape", [net.x], (c, None, None), target_shape=[c])
    head = net.x
    net.dense(classes)
    if kind.tokens == 2:
        y = net.x
        net.add(y, net.dense(classes, x=head))
    return net


VIT = re.compile(r"vit_(tiny|small|base|large|huge|giant|gigantic)_patch(\d+)(_plus|_36x1)?_(\d+)(_sam|_in21k)?$")
DEIT = re.compile(r"deit(3?)_(tiny|small|base|large|huge)(_distilled)?_patch(\d+)_(\d+)(_in21ft1k)?$")


def kind_of(name):
    m = VIT.match(name)
    if m:
        size = m[1] + (m[3] or "")
        return Kind(size, int(m[2]), scaled=bool(m[3])) if size in SIZES else None
    m = DEIT.match(name)
    if m:
        third = bool(m[1])
        return Kind(m[2], int(m[4]), tokens=2 if m[3] else 1, scaled=third, tokens_placed=not third)
    return None


def timm(name, image, classes=1000):
    kind = kind_of(name)
    return vit(name, image, classes, kind) if kind else None
