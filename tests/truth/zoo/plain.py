"""VGG, AlexNet and SqueezeNet, DenseNet."""
from .net import Net

VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def vgg(name, image, classes, layers, norm):
    """As torchvision's: the classifier's dropouts have rate 0.5."""
    net = Net(name, image)
    for width, n in zip((64, 128, 256, 512, 512), layers):
        for _ in range(n):
            net.conv(width, 3, bias=True)
            if norm:
                net.norm()
            net.act()
        net.pool(2, 2, padding="valid")
    if not net.adapt(7):
        return None
    net.flatten()
    for _ in range(2):
        net.dense(4096)
        net.act()
        net.dropout(.5)
    net.dense(classes)
    return net


DENSENET = {121: (32, (6, 12, 24, 16), 64), 169: (32, (6, 12, 32, 32), 64), 201: (32, (6, 12, 48, 32), 64),
            264: (32, (6, 12, 64, 48), 64), 161: (48, (6, 12, 36, 24), 96)}


def dense_block(net, n, growth):
    features = [net.x]
    for _ in range(n):
        net.x = net.concat(features) if len(features) > 1 else features[0]
        net.norm()
        net.act()
        net.cna(4 * growth, 1)
        features.append(net.conv(growth, 3))
    net.concat(features)


def densenet(name, image, classes, growth, blocks, width):
    net = Net(name, image)
    net.cna(width, 7, 2)
    net.pool(3, 2)
    for i, n in enumerate(blocks):
        dense_block(net, n, growth)
        net.norm()
        net.act()
        if i + 1 < len(blocks):
            net.conv(net.channels() // 2, 1)
            net.pool(2, 2, kind="average")
    net.mean()
    net.dense(classes)
    return net


def torchvision(name, image, classes=1000):
    if name.startswith("vgg"):
        depth, _, norm = name[3:].partition("_")
        layers = VGG.get(int(depth) if depth.isdigit() else 0)
        return vgg(name, image, classes, layers, norm == "bn") if layers and norm in ("", "bn") else None
    if name.startswith("densenet") and name[8:].isdigit() and int(name[8:]) in DENSENET:
        return densenet(name, image, classes, *DENSENET[int(name[8:])])
    return None


def timm(name, image, classes=1000):
    """timm's VGG ends in convolutions of the same sizes; its DenseNets are torchvision's."""
    return torchvision(name.removeprefix("tv_"), image, classes)
