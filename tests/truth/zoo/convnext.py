"""ConvNeXts (Liu et al. 2022) of torchvision and timm: LayerNorm over channels, a scale a channel."""
import re
from .net import Net

SIZES = {"tiny": ((3, 3, 9, 3), 96), "small": ((3, 3, 27, 3), 96), "base": ((3, 3, 27, 3), 128),
         "large": ((3, 3, 27, 3), 192), "xlarge": ((3, 3, 27, 3), 256)}


def norm(net):
    net.params += 2 * net.channels()
    return net.put("LayerNormalization", [net.x], net.at[net.x], epsilon=1e-6)


def block(net, c):
    x = net.x
    net.conv(c, 7, groups=c, bias=True)
    norm(net)
    net.dense(4 * c)
    net.act("gelu")
    net.dense(c)
    net.params += c
    scaled = net.put("LayerScale", [net.x], net.at[net.x], init_values=1e-6, projection_dim=c)
    net.add(x, scaled)


def convnext(name, image, classes, depths, width):
    net = Net(name, image)
    net.conv(width, 4, 4, bias=True, padding="valid")
    norm(net)
    for i, n in enumerate(depths):
        if i:
            norm(net)
            net.conv(width << i, 2, 2, bias=True, padding="valid")
        for _ in range(n):
            block(net, width << i)
    net.mean()
    norm(net)
    net.dense(classes)
    return net


def torchvision(name, image, classes=1000):
    m = re.fullmatch(r"convnext_(tiny|small|base|large)", name)
    return convnext(name, image, classes, *SIZES[m[1]]) if m else None


def timm(name, image, classes=1000):
    m = re.fullmatch(r"convnext_(tiny|small|base|large|xlarge)(_384)?(_in22k|_in22ft1k)?", name)
    return convnext(name, image, classes, *SIZES[m[1]]) if m else None
