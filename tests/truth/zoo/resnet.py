"""ResNets of torchvision and timm: plain, wide, grouped; deep stems, average-pooled shortcuts,
squeeze and excitation, efficient channel attention."""
import math, re
from dataclasses import dataclass
from .net import Net, divisible


@dataclass
class Kind:
    layers: tuple
    bottle: bool = True
    groups: int = 1
    base: int = 64
    deep: int = 0         # width of a stem of three convolutions; 0: one of 7x7
    tiered: bool = False  # that stem widens: width, 2 x 3/4, 64
    pooled: bool = False  # shortcuts average first
    attention: str = ""   # "se", "eca"
    ratio: float = 1 / 16
    smooth: bool = False  # averages where it strides (aa)
    max_pool: bool = True


def squeeze(net, x, kind):
    c = net.channels(x)
    inner = divisible(c * kind.ratio, 8, 0)
    net.mean(x, keepdims=True)
    net.conv(inner, 1, bias=True)
    net.act()
    net.conv(c, 1, bias=True)
    gate = net.act("sigmoid")
    return net.mul(x, gate)


def efficient(net, x):
    """ECA: a convolution over the channels (Wang et al. 2020)."""
    c = net.channels(x)
    t = int(abs(math.log2(c) + 1) / 2)
    k = max(t if t % 2 else t + 1, 3)
    net.mean(x)
    net.put("Reshape", [net.x], (1, c, None), target_shape=[c, 1])
    net.params += k
    net.put("Conv1D", [net.x], (1, c, None), filters=1, kernel_size=[k], padding="same", use_bias=False)
    net.put("Reshape", [net.x], (c, 1, 1), target_shape=[1, 1, c])
    return net.mul(x, net.act("sigmoid"))


def shortcut(net, x, out, s, kind):
    if s == 1 and net.channels(x) == out:
        return x
    if kind.pooled and s > 1:
        x = net.pool(2, s, kind="average", x=x)
        s = 1
    net.conv(out, 1, s, x=x)
    return net.norm()


def block(net, planes, s, kind):
    x, out = net.x, planes * (4 if kind.bottle else 1)
    width = planes * kind.base // 64 * kind.groups if kind.bottle else planes
    if kind.bottle:
        net.cna(width, 1)
    net.cna(width, 3, 1 if kind.smooth else s, kind.groups)
    if kind.smooth and s > 1:
        net.pool(2, 2, kind="average")
    net.conv(out, 1 if kind.bottle else 3)
    y = net.norm()
    if kind.attention:
        y = efficient(net, y) if kind.attention == "eca" else squeeze(net, y, kind)
    net.add(y, shortcut(net, x, out, s, kind))
    net.act()


def stem(net, kind):
    if kind.deep:
        widths = (3 * kind.deep // 4, kind.deep) if kind.tiered else (kind.deep, kind.deep)
        net.cna(widths[0], 3, 2)
        net.cna(widths[1], 3)
        net.cna(64 if kind.tiered or kind.deep == 32 else 2 * kind.deep, 3)
    else:
        net.cna(64, 7, 2)
    if kind.max_pool:
        net.pool(3, 2)


def resnet(name, image, classes, kind):
    net = Net(name, image)
    stem(net, kind)
    for i, n in enumerate(kind.layers):
        for j in range(n):
            block(net, 64 << i, 2 if i and not j else 1, kind)
    net.mean()
    net.dense(classes)
    return net


DEPTHS = {10: (1, 1, 1, 1), 14: (1, 1, 1, 1), 18: (2, 2, 2, 2), 26: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3),
          101: (3, 4, 23, 3), 152: (3, 8, 36, 3), 200: (3, 24, 36, 3),
          269: (3, 30, 48, 8)}
BASIC = (10, 18, 34)
# Prefixes that say where weights come from: the same layers.
SOURCES = ("gluon_", "tv_", "ssl_", "swsl_", "ig_", "legacy_")
NAME = re.compile(r"(wide_)?(se|eca)?resne(x?)t(aa)?(\d+)(d|tn?|_v1[bcds])?(?:_(\d+)x(\d+)d|_(\d))?$")


def kind_of(name):
    for source in SOURCES:
        name = name.removeprefix(source)
    m = NAME.match(name)
    if not m or int(m[5]) not in DEPTHS:
        return None
    wide, se, x, smooth, depth, tail, groups, base, times = m.groups()
    if bool(x) != bool(groups) or bool(wide) != bool(times):
        return None
    depth, tail = int(depth), (tail or "").removeprefix("_v1").removesuffix("n")
    kind = Kind(DEPTHS[depth], depth not in BASIC, attention=se or "", smooth=bool(smooth))
    if groups:
        kind.groups, kind.base = int(groups), int(base)
    if wide:
        kind.base = 64 * int(times)
    kind.deep = {"": 0, "b": 0, "s": 64}.get(tail, 32)
    kind.tiered, kind.pooled = tail == "t", tail in ("d", "t")
    return kind


def torchvision(name, image, classes=1000):
    if not re.fullmatch(r"(resnet|resnext|wide_resnet)\d+(_.*)?", name):
        return None
    return timm(name, image, classes)


def timm(name, image, classes=1000):
    kind = kind_of(name)
    return resnet(name, image, classes, kind) if kind else None
