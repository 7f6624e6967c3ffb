"""Small ResNets made of torchvision's own blocks: weights, one input, pooled features in eval and in train mode.

Writes ../fixtures/resnet_basic.safetensors, resnet_bottleneck.safetensors and resnet_names.json.
Run by hand: python3 tests/reference/resnet.py (torch, torchvision). Everything is computed in float64 from weights and
inputs that are exact in float32, so the only rounding in the files is the last one.

Tensors named as in torchvision's state_dict are the state before the step; `input` is NHWC; `features.eval` and
`features.train` are [N, features]; `after.*` are the running statistics after the one train-mode forward.
"""

import json
import os

import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from fixture import save

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


class Small(ResNet):
    """torchvision's ResNet with its layers made again at other widths; forward ends at the pooled features."""

    def __init__(self, block, planes, blocks, stem, channels):
        super().__init__(block, [1, 1, 1, 1])
        self.inplanes = planes[0]
        kernel, stride, padding = {"cifar": (3, 1, 1), "cifar2": (3, 2, 1), "imagenet": (7, 2, 3)}[stem]
        self.conv1 = nn.Conv2d(channels, planes[0], kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        if stem != "imagenet":
            self.maxpool = nn.Identity()
        for i in range(4):
            made = nn.Identity()
            if i < len(planes):
                made = self._make_layer(block, planes[i], blocks[i], stride=1 if i == 0 else 2)
            setattr(self, f"layer{i + 1}", made)
        self.fc = nn.Identity()


def as_float32(model):
    """Moves every parameter and buffer to values that float32 holds exactly, away from 0 and 1; returns it in float64."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith("running_mean") or (value.dim() == 1 and name.endswith("bias")):
                value.normal_(0.0, 0.2)
            elif value.dim() == 1:
                value.uniform_(0.5, 1.5)
    return model.double()


def fixture(path, block, planes, blocks, stem, channels, size, batch):
    torch.manual_seed(7)
    model = as_float32(Small(block, planes, blocks, stem, channels))
    image = torch.randn(batch, channels, size, size).double()
    out = {k: v.clone() for k, v in model.state_dict().items()}
    out["input"] = image.permute(0, 2, 3, 1)
    with torch.no_grad():
        out["features.eval"] = model.eval()(image)
        out["features.train"] = model.train()(image)
    for name, value in model.state_dict().items():
        if "running_" in name:
            out["after." + name] = value
    save(os.path.join(HERE, path), out)


def names(path):
    """Every tensor of torchvision's presets with its shape, in state_dict order."""
    table = {}
    for preset in ["resnet18", "resnet34", "resnet50"]:
        state = getattr(torchvision.models, preset)().state_dict()
        table[preset] = [[name, list(value.shape)] for name, value in state.items()]
    with open(os.path.join(HERE, path), "w") as file:
        lines = [f'"{p}":[\n' + ",\n".join(json.dumps(row) for row in rows) + "]" for p, rows in table.items()]
        file.write("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    fixture("resnet_basic.safetensors", BasicBlock, [8, 12, 16], [2, 1, 1], "cifar", 3, 12, 5)
    fixture("resnet_bottleneck.safetensors", Bottleneck, [4, 8], [1, 2], "imagenet", 3, 33, 3)
    names("resnet_names.json")
