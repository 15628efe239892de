"""ResNets of torchvision and timm: plain, wide, grouped; deep stems, average-pooled shortcuts,
squeeze and excitation."""
from .net import Net


def bottleneck(net, width, out, s, groups, shortcut):
    x = net.x
    net.cna(width, 1)
    net.cna(width, 3, s, groups)
    net.conv(out, 1)
    y = net.norm()
    if shortcut:
        net.conv(out, 1, s, x=x)
        x = net.norm()
    net.add(y, x)
    net.act()


def basic(net, width, out, s, groups, shortcut):
    x = net.x
    net.cna(width, 3, s)
    net.conv(out, 3)
    y = net.norm()
    if shortcut:
        net.conv(out, 1, s, x=x)
        x = net.norm()
    net.add(y, x)
    net.act()


def resnet(name, image, classes, layers, block=bottleneck, groups=1, base=64):
    net = Net(name, image)
    net.cna(64, 7, 2)
    net.pool(3, 2)
    grows = 4 if block is bottleneck else 1
    for i, n in enumerate(layers):
        planes = 64 << i
        width = planes * base // 64 * groups if block is bottleneck else planes
        for j in range(n):
            s = 2 if i and not j else 1
            block(net, width, planes * grows, s, groups, s > 1 or net.channels() != planes * grows)
    net.mean()
    net.dense(classes)
    return net


DEPTHS = {18: ([2, 2, 2, 2], basic), 34: ([3, 4, 6, 3], basic), 50: ([3, 4, 6, 3], bottleneck),
          101: ([3, 4, 23, 3], bottleneck), 152: ([3, 8, 36, 3], bottleneck)}
TORCHVISION = {
    **{f"resnet{n}": (n, 1, 64) for n in DEPTHS},
    "resnext50_32x4d": (50, 32, 4), "resnext101_32x8d": (101, 32, 8), "resnext101_64x4d": (101, 64, 4),
    "wide_resnet50_2": (50, 1, 128), "wide_resnet101_2": (101, 1, 128),
}


def torchvision(name, image, classes=1000):
    if name not in TORCHVISION:
        return None
    depth, groups, base = TORCHVISION[name]
    layers, block = DEPTHS[depth]
    return resnet(name, image, classes, layers, block, groups, base)
