"""RegNets (Radosavovic et al. 2020): widths follow from three numbers."""
import re
from .net import Net, divisible

# First width, slope, step, width of groups, blocks: the published models.
REGNETS = {
    "x": {2: (24, 36.44, 2.49, 8, 13), 4: (24, 24.48, 2.54, 16, 22), 6: (48, 36.97, 2.24, 24, 16),
          8: (56, 35.73, 2.28, 16, 16), 16: (80, 34.01, 2.25, 24, 18), 32: (88, 26.31, 2.25, 48, 25),
          40: (96, 38.65, 2.43, 40, 23), 64: (184, 60.83, 2.07, 56, 17), 80: (80, 49.56, 2.88, 120, 23),
          120: (168, 73.36, 2.37, 112, 19), 160: (216, 55.59, 2.1, 128, 22), 320: (320, 69.86, 2.0, 168, 23)},
    "y": {2: (24, 36.44, 2.49, 8, 13), 4: (48, 27.89, 2.09, 8, 16), 6: (48, 32.54, 2.32, 16, 15),
          8: (56, 38.84, 2.4, 16, 14), 16: (48, 20.71, 2.65, 24, 27), 32: (80, 42.63, 2.66, 24, 21),
          40: (96, 31.41, 2.24, 64, 22), 64: (112, 33.22, 2.27, 72, 25), 80: (192, 76.82, 2.19, 56, 17),
          120: (168, 73.36, 2.37, 112, 19), 160: (200, 106.23, 2.48, 112, 18), 320: (232, 115.89, 2.53, 232, 20)},
}


def stages(w0, slope, step, group, depth, vision):
    """(width, blocks, width of groups) of each stage; torchvision rounds halves of a group up,
    timm to even."""
    import math
    widths = []
    for j in range(depth):
        u = w0 + slope * j
        k = round(math.log(u / w0) / math.log(step))
        widths.append(int(round(w0 * step ** k / 8) * 8))
    out = []
    for w in sorted(set(widths)):
        g = min(group, w)
        out.append((divisible(w, g) if vision else max(g, int(round(w / g) * g)), widths.count(w), g))
    return out


def block(net, width, s, group, se, before):
    x = net.x
    net.cna(width, 1)
    net.cna(width, 3, s, width // group)
    if se:
        y = net.x
        net.mean(keepdims=True)
        net.conv(int(round(before * se)), 1, bias=True)
        net.act()
        net.conv(width, 1, bias=True)
        net.mul(y, net.act("sigmoid"))
    net.conv(width, 1)
    y = net.norm()
    if s > 1 or net.channels(x) != width:
        net.conv(width, 1, s, x=x)
        x = net.norm()
    net.add(y, x)
    net.act()


def regnet(name, image, classes, kind, number, vision):
    numbers = REGNETS[kind].get(number)
    if not numbers:
        return None
    net = Net(name, image)
    net.cna(32, 3, 2)
    for width, n, group in stages(*numbers, vision):
        for j in range(n):
            block(net, width, 1 if j else 2, group, .25 if kind == "y" else 0, net.channels())
    net.mean()
    net.dense(classes)
    return net


def torchvision(name, image, classes=1000):
    """regnet_y_400mf, regnet_x_1_6gf: millions or billions of operations."""
    m = re.fullmatch(r"regnet_([xy])_([\d_]+)(m|g)f", name)
    if not m:
        return None
    number = float(m[2].replace("_", ".")) * (10 if m[3] == "g" else .01)
    return regnet(name, image, classes, m[1], round(number), True)


def timm(name, image, classes=1000):
    m = re.fullmatch(r"regnet([xy])_(\d{3})", name)
    return regnet(name, image, classes, m[1], int(m[2]), False) if m else None
