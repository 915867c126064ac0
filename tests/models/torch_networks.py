"""Networks of others, made where torch and torchvision are: python torch_networks.py NAME IMAGES.npy FOLDER.

FOLDER gets NAME.pth, as the project saves it; NAME.npz with what `read_tensors` reads of it, in the order of
names.json; and NAME.npy, the embeddings of the images, uint8 [N, H, W, 3]. No code of the projects is here: what they
change in torchvision's ResNet-50 is changed as their sources say.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch import nn

from keras_reid.models.torch_files import read_tensors

MEAN, STD = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])


class HalfByImage(nn.Module):
    """IBN-a's normalization."""

    def __init__(self, channels):
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x):
        return torch.cat([self.IN(x[:, : self.half].contiguous()), self.BN(x[:, self.half :].contiguous())], 1)


def backbone(*, last_stride=1, relu=True, ceil_mode=False, by_image=False):
    """Returns torchvision's ResNet-50 up to its feature map."""
    network = torchvision.models.resnet50()
    network.fc = nn.Identity()
    network.layer4[0].conv2.stride = network.layer4[0].downsample[0].stride = (last_stride, last_stride)
    if not relu:
        network.relu = nn.Identity()  # the stem's alone: the blocks have their own
    if ceil_mode:
        network.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    for layer in (network.layer1, network.layer2, network.layer3) if by_image else ():
        for block in layer:
            block.bn1 = HalfByImage(block.bn1.num_features)
    return network


class Around(nn.Module):
    """A backbone and a head under the names of a project."""

    def __init__(self, name, network, head_name, head):
        super().__init__()
        self.add_module(name, network)
        self.add_module(head_name, head)
        self.names = name, head_name

    def forward(self, x):
        for name in self.names:
            x = getattr(self, name)(x)
        return x


def luperson():
    network = backbone(last_stride=2)
    moco = nn.Module()
    moco.encoder_q, moco.encoder_k = network, backbone(last_stride=2)
    moco.register_buffer("queue", torch.randn(8, 16))
    return network, {"state_dict": {f"module.{name}": one for name, one in moco.state_dict().items()}, "epoch": 3}


def strong_baseline():
    network = Around("base", backbone(relu=False), "bottleneck", nn.BatchNorm1d(2048))
    return network, {**network.state_dict(), "classifier.weight": torch.zeros(3, 2048)}


def fast_reid():
    head = nn.Module()
    head.bottleneck = nn.Sequential(nn.Conv2d(2048, 64, 1, bias=False), nn.BatchNorm2d(64))
    head.forward = lambda x: head.bottleneck(x[..., None, None])[..., 0, 0]
    network = Around("backbone", backbone(ceil_mode=True, by_image=True), "heads", head)
    return network, {"model": network.state_dict(), "iteration": 7}


def torchreid_fc512():
    fc = nn.Sequential(nn.Linear(2048, 512), nn.BatchNorm1d(512), nn.ReLU())
    network = backbone()
    network.fc = fc
    return network, {"state_dict": {**network.state_dict(), "classifier.bias": torch.zeros(3)}, "epoch": 60}


def main(name, images_file, folder):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network, content = {
        "luperson": luperson,
        "strong_baseline": strong_baseline,
        "fast_reid": fast_reid,
        "torchreid_fc512": torchreid_fc512,
    }[name]()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
                if module.running_mean is not None:
                    module.running_mean.normal_(0, 0.2)
                    module.running_var.uniform_(0.5, 1.5)
        images = (torch.from_numpy(np.load(images_file)).float() - MEAN) / STD
        embeddings = network.eval()(images.permute(0, 3, 1, 2)).numpy()
    np.save(Path(folder, f"{name}.npy"), embeddings)
    torch.save(content, Path(folder, f"{name}.pth"))
    tensors = read_tensors(Path(folder, f"{name}.pth"))
    np.savez(Path(folder, f"{name}.npz"), *tensors.values())
    Path(folder, "names.json").write_text(json.dumps(list(tensors)))


if __name__ == "__main__":
    main(*sys.argv[1:])
