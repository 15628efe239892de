"""The mobile networks that a search found: MNASNet, MobileNet V2 and V3, EfficientNet and its
versions of other sizes. A row of text is a stage: kind, repeats, kernel, stride, expansion,
channels, and what else it has, as the papers' tables are written in timm."""
import math, re
from .net import Net, divisible

B0 = ("ds_r1_k3_s1_e1_c16_se", "ir_r2_k3_s2_e6_c24_se", "ir_r2_k5_s2_e6_c40_se", "ir_r3_k3_s2_e6_c80_se",
      "ir_r3_k5_s1_e6_c112_se", "ir_r4_k5_s2_e6_c192_se", "ir_r1_k3_s1_e6_c320_se")
LITE = tuple(row.removesuffix("_se") for row in B0)
EDGE = ("er_r1_k3_s1_e4_c24_f24_noskip", "er_r2_k3_s2_e8_c32", "er_r4_k3_s2_e8_c48", "ir_r5_k5_s2_e8_c96",
        "ir_r4_k5_s1_e8_c144", "ir_r2_k5_s2_e8_c192")
MOBILE_2 = ("ds_r1_k3_s1_e1_c16", "ir_r2_k3_s2_e6_c24", "ir_r3_k3_s2_e6_c32", "ir_r4_k3_s2_e6_c64",
            "ir_r3_k3_s1_e6_c96", "ir_r3_k3_s2_e6_c160", "ir_r1_k3_s1_e6_c320")
MNAS_B1 = ("ds_r1_k3_s1_e1_c16_noskip", "ir_r3_k3_s2_e3_c24", "ir_r3_k5_s2_e3_c40", "ir_r3_k5_s2_e6_c80",
           "ir_r2_k3_s1_e6_c96", "ir_r4_k5_s2_e6_c192", "ir_r1_k3_s1_e6_c320_noskip")
MNAS_A1 = ("ds_r1_k3_s1_e1_c16_noskip", "ir_r2_k3_s2_e6_c24", "ir_r3_k5_s2_e3_c40_se", "ir_r4_k3_s2_e6_c80",
           "ir_r2_k3_s1_e6_c112_se", "ir_r3_k5_s2_e6_c160_se", "ir_r1_k3_s1_e6_c320")
V2 = {
    "base": ("cn_r1_k3_s1_e1_c16", "er_r2_k3_s2_e4_c32", "er_r2_k3_s2_e4_c48", "ir_r3_k3_s2_e4_c96_se",
             "ir_r5_k3_s1_e6_c112_se", "ir_r8_k3_s2_e6_c192_se"),
    "s": ("cn_r2_k3_s1_e1_c24", "er_r4_k3_s2_e4_c48", "er_r4_k3_s2_e4_c64", "ir_r6_k3_s2_e4_c128_se",
          "ir_r9_k3_s1_e6_c160_se", "ir_r15_k3_s2_e6_c256_se"),
    "m": ("cn_r3_k3_s1_e1_c24", "er_r5_k3_s2_e4_c48", "er_r5_k3_s2_e4_c80", "ir_r7_k3_s2_e4_c160_se",
          "ir_r14_k3_s1_e6_c176_se", "ir_r18_k3_s2_e6_c304_se", "ir_r5_k3_s1_e6_c512_se"),
    "l": ("cn_r4_k3_s1_e1_c32", "er_r7_k3_s2_e4_c64", "er_r7_k3_s2_e4_c96", "ir_r10_k3_s2_e4_c192_se",
          "ir_r19_k3_s1_e6_c224_se", "ir_r25_k3_s2_e6_c384_se", "ir_r7_k3_s1_e6_c640_se"),
    "xl": ("cn_r4_k3_s1_e1_c32", "er_r8_k3_s2_e4_c64", "er_r8_k3_s2_e4_c96", "ir_r16_k3_s2_e4_c192_se",
           "ir_r24_k3_s1_e6_c256_se", "ir_r32_k3_s2_e6_c512_se", "ir_r8_k3_s1_e6_c640_se"),
}
LARGE = ("ds_r1_k3_s1_e1_c16_relu", "ir_r1_k3_s2_e4_c24_relu", "ir_r1_k3_s1_e3_c24_relu", "ir_r3_k5_s2_e3_c40_se_relu",
         "ir_r1_k3_s2_e6_c80", "ir_r1_k3_s1_e2.5_c80", "ir_r2_k3_s1_e2.3_c80", "ir_r2_k3_s1_e6_c112_se",
         "ir_r3_k5_s2_e6_c160_se", "cn_r1_k1_s1_e1_c960")
SMALL = ("ds_r1_k3_s2_e1_c16_se_relu", "ir_r1_k3_s2_e4.5_c24_relu", "ir_r1_k3_s1_e3.67_c24_relu", "ir_r1_k5_s2_e4_c40_se",
         "ir_r2_k5_s1_e6_c40_se", "ir_r2_k5_s1_e3_c48_se", "ir_r3_k5_s2_e6_c96_se", "cn_r1_k1_s1_e1_c576")
LC = ("dsa_r1_k3_s1_e1_c32", "dsa_r2_k3_s2_e1_c64", "dsa_r2_k3_s2_e1_c128", "dsa_r1_k3_s2_e1_c256", "dsa_r5_k5_s1_e1_c256",
      "dsa_r2_k5_s2_e1_c512_se")
SCALES = {"b0": (1, 1), "b1": (1, 1.1), "b2": (1.1, 1.2), "b3": (1.2, 1.4), "b4": (1.4, 1.8), "b5": (1.6, 2.2),
          "b6": (1.8, 2.6), "b7": (2, 3.1), "b8": (2.2, 3.6), "l2": (4.3, 5.3)}
TINY = {"a": (1, 1.2), "b": (.75, 1.1), "c": (.54, .85), "d": (.54, .695), "e": (.51, .6)}


class Kind:
    """A family: its stages, how they scale and what stands around them."""

    def __init__(self, rows, scale=(1, 1), act="silu", stem=32, head=1280, fix_stem=False, fix_ends=False, up=math.ceil,
                 scale_head=True, least_head=0, limit=.9, mobile=False, by=8):
        self.rows, (self.wide, self.deep), self.act, self.stem = rows, scale, act, stem
        self.head, self.fix_stem, self.fix_ends, self.up = head, fix_stem, fix_ends, up
        self.scale_head, self.least_head, self.limit, self.mobile = scale_head, least_head, limit, mobile
        self.by = by  # what squeezed widths are a multiple of

    def channels(self, c):
        return divisible(c * self.wide, 8, self.limit)


def squeeze(net, kind, before, middle):
    """MobileNets take the share of the block's own width, with hard gates; others of its input's."""
    x = net.x
    inner = divisible(middle * .25, kind.by, .9) if kind.mobile else round(before * .25)
    net.mean(keepdims=True)
    net.conv(inner, 1, bias=True)
    net.act("relu" if kind.mobile else kind.act)
    net.conv(middle, 1, bias=True)
    return net.mul(x, net.act("hard_sigmoid" if kind.mobile else "sigmoid"))


def block(net, kind, row, s):
    x, before = net.x, net.channels()
    act = "relu" if row.get("relu") else kind.act
    c, k, e, name = kind.channels(row["c"]), int(row["k"]), row["e"], row["kind"]
    skip = s == 1 and before == c and not row.get("noskip")
    if name == "cn":
        net.cna(c, k, s, act=act)
        return net.add(net.x, x) if skip and k > 1 else net.x
    middle = before if name.startswith("ds") else divisible((kind.channels(row["f"]) if "f" in row else before) * e)
    if name == "er":
        net.cna(middle, k, s, act=act)
    else:
        if name == "ir":
            net.cna(middle, 1, act=act)
        net.cna(middle, k, s, middle, act=act)
    if row.get("se"):
        squeeze(net, kind, before, middle)
    net.cna(c, 1, act=act if name == "dsa" else "")
    return net.add(net.x, x) if skip and name != "dsa" else net.x


def parse(text):
    name, *parts = text.split("_")
    row = {"kind": name}
    for part in parts:
        m = re.fullmatch(r"([rkecsf])([\d.]+)", part)
        row.update({m[1]: float(m[2])} if m else {part: True})
    return row


def build(name, image, classes, kind):
    net = Net(name, image)
    net.cna(kind.stem if kind.fix_stem else kind.channels(kind.stem), 3, 2, act=kind.act)
    for i, text in enumerate(kind.rows):
        row = parse(text)
        ends = kind.fix_ends and i in (0, len(kind.rows) - 1)
        for j in range(int(row["r"]) if ends else max(1, int(kind.up(row["r"] * kind.deep)))):
            block(net, kind, row, 1 if j else int(row["s"]))
    head = max(kind.least_head, kind.channels(kind.head) if kind.scale_head else kind.head)
    if kind.mobile:
        net.mean(keepdims=True)
        net.conv(head, 1, bias=True)
        net.act(kind.act)
        net.flatten()
    else:
        net.cna(head, 1, act=kind.act)
        net.mean()
    net.dense(classes)
    return net


def number(text):
    return int(text) / 100


def mobile_3(m):
    fixed, small = number(m[3]) < .75, m[1] == "small"
    rows, act = (SMALL, "hard_silu") if small else (LARGE, "hard_silu")
    if m[2]:
        rows, act = tuple(re.sub("_se|_relu", "", r).replace("_k5", "_k3") for r in rows), "relu"
    return Kind(rows, (number(m[3]), 1), act, 16, 1024 if small else 1280, fixed, scale_head=False, mobile=True)


def mobile_2(m):
    deep = {"110d": 1.2, "120d": 1.4}.get(m[1], 1)
    fixed = m[1].endswith("d")
    return Kind(MOBILE_2, (number(m[1].rstrip("d")), deep), "relu6", fix_stem=fixed, fix_ends=fixed, scale_head=not fixed,
                least_head=1280)


NAMES = (
    (r"(?:tf_)?efficientnet_(b\d|l2)", lambda m: Kind(B0, SCALES[m[1]])),
    (r"(?:tf_)?efficientnet_lite(\d)",
     lambda m: Kind(LITE, SCALES["b" + m[1]], "relu6", fix_stem=True, fix_ends=True, scale_head=False)),
    (r"(?:tf_)?efficientnet_e([sml])",
     lambda m: Kind(EDGE, {"s": (1, 1), "m": (1, 1.1), "l": (1.2, 1.4)}[m[1]], "relu")),
    (r"(?:tf_)?efficientnetv2_(s|m|l|xl)",
     lambda m: Kind(V2[m[1]], stem=24 if m[1] in "sm" else 32, scale_head=False)),
    (r"(?:tf_)?efficientnetv2_(b[0-3])", lambda m: Kind(V2["base"], SCALES[m[1]], limit=0)),
    (r"tinynet_([a-e])", lambda m: Kind(B0, TINY[m[1]], fix_stem=True, up=round, least_head=1280)),
    (r"mnasnet_(?:b1|(\d+))", lambda m: Kind(MNAS_B1, (number(m[1] or "100"), 1), "relu", scale_head=False)),
    (r"semnasnet_(\d+)", lambda m: Kind(MNAS_A1, (number(m[1]), 1), "relu", scale_head=False)),
    (r"mobilenetv2_(\d+d?)", mobile_2),
    (r"(?:tf_)?mobilenetv3_(large|small)(_minimal)?_(\d+)", mobile_3),
    (r"lcnet_(\d+)", lambda m: Kind(LC, (number(m[1]), 1), "hard_silu", 16, scale_head=False, mobile=True, by=1)),
)
# What training a model had, which is no matter of its layers.
TAILS = re.compile(r"_(ap|ns|in21k|in21ft1k|in22k|in22ft1k|aa|miil)$")


# torchvision's names of the same networks; a share of 1 is written 1_0.
VISION = (
    (r"mobilenet_v2", "mobilenetv2_100"), (r"mobilenet_v3_(large|small)", r"mobilenetv3_\1_100"),
    (r"mnasnet(\d)_(\d+)", lambda m: f"mnasnet_{round(100 * float(f'{m[1]}.{m[2]}')):03}"),
    (r"efficientnet_(b[0-7])", r"efficientnet_\1"), (r"efficientnet_v2_([sml])", r"efficientnetv2_\1"),
)


def torchvision(name, image, classes=1000):
    for pattern, other in VISION:
        if re.fullmatch(pattern, name):
            return timm(re.sub(pattern, other, name), image, classes)
    return None


def timm(name, image, classes=1000):
    for pattern, make in NAMES:
        m = re.fullmatch(pattern, TAILS.sub("", name))
        if m:
            return build(name, image, classes, make(m))
    return None
