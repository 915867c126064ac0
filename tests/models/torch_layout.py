"""A small ResNet in PyTorch's names, and what it gives: by NumPy, as PyTorch defines its layers."""

from __future__ import annotations

import re

import numpy as np

from keras_reid.models import backbone, torch_resnet50

BLOCKS, WIDTHS = (2, 1, 1, 2), (8, 6, 10, 4)
SIZE = (34, 22)  # 17 x 11 after the first convolution: odd sizes, where paddings differ most


def make_small(monkeypatch) -> None:
    """Makes the package's ResNet-50 one of 6 blocks with few channels: the same graph, a hundred times faster."""
    for module in (backbone, torch_resnet50):
        monkeypatch.setattr(module, "STAGE_BLOCKS", BLOCKS)
        monkeypatch.setattr(module, "STAGE_WIDTHS", WIDTHS)


def state(prefix: str = "", *, instance_norm: bool = False, blocks=BLOCKS, widths=WIDTHS, seed: int = 0) -> dict:
    """Returns the tensors of a ResNet in torchvision's names, random, with counters as PyTorch keeps them."""
    random, tensors = np.random.default_rng(seed), {}

    def convolution(name, *shape):
        tensors[f"{name}.weight"] = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)

    def norm(name, channels, counts=True):
        tensors[f"{name}.weight"] = random.uniform(0.5, 1.5, channels).astype(np.float32)
        tensors[f"{name}.bias"] = random.normal(0, 0.2, channels).astype(np.float32)
        if counts:
            tensors[f"{name}.running_mean"] = random.normal(0, 0.2, channels).astype(np.float32)
            tensors[f"{name}.running_var"] = random.uniform(0.5, 1.5, channels).astype(np.float32)
            tensors[f"{name}.num_batches_tracked"] = np.array(7)

    convolution("conv1", 64, 3, 7, 7)
    norm("bn1", 64)
    inputs = 64
    for stage, (count, width) in enumerate(zip(blocks, widths), start=1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            convolution(f"{place}.conv1", width, inputs, 1, 1)
            if instance_norm and stage < 4:
                norm(f"{place}.bn1.IN", width // 2, counts=False)
                norm(f"{place}.bn1.BN", width // 2)
            else:
                norm(f"{place}.bn1", width)
            convolution(f"{place}.conv2", width, width, 3, 3)
            norm(f"{place}.bn2", width)
            convolution(f"{place}.conv3", 4 * width, width, 1, 1)
            norm(f"{place}.bn3", 4 * width)
            if block == 0:
                convolution(f"{place}.downsample.0", 4 * width, inputs, 1, 1)
                norm(f"{place}.downsample.1", 4 * width)
            inputs = 4 * width
    return {prefix + name: array for name, array in tensors.items()}


def norm_state(name: str, channels: int, *, shift: bool = True, seed: int = 1) -> dict:
    """Returns the tensors of a BatchNorm1d."""
    random = np.random.default_rng(seed)
    return {
        f"{name}.weight": random.uniform(0.5, 1.5, channels).astype(np.float32),
        f"{name}.bias": (random.normal(0, 0.2, channels) * shift).astype(np.float32),
        f"{name}.running_mean": random.normal(0, 0.2, channels).astype(np.float32),
        f"{name}.running_var": random.uniform(0.5, 1.5, channels).astype(np.float32),
        f"{name}.num_batches_tracked": np.array(7),
    }


def pooled(tensors: dict, images: np.ndarray, *, last_stride: int = 2, relu: bool = True, pool: str = "both"):
    """Returns the pooled features `[N, C]` of images `[N, H, W, 3]`, already normalized, float64.

    Args:
        tensors: as of `state`, without prefix.
        images: normalized.
        last_stride: of the last stage.
        relu: whether the stem has one.
        pool: "both", padding 1; "end", PyTorch's ceil_mode without padding.
    """
    rows = []
    for image in images.astype(np.float64):
        x = norm(tensors, "bn1", convolve(image.transpose(2, 0, 1), tensors["conv1.weight"], 2, 3))
        x = largest(np.maximum(x, 0) if relu else x, pool)
        for place in dict.fromkeys(match[0] for match in map(re.compile(r"layer\d\.\d+").match, tensors) if match):
            first = place.endswith(".0")
            x = bottleneck(tensors, place, x, {"2": 2, "3": 2, "4": last_stride}.get(place[5], 1) if first else 1)
        rows.append(x.mean(axis=(1, 2)))
    return np.array(rows)


def bottleneck(tensors, place, x, stride):
    out = convolve(x, tensors[f"{place}.conv1.weight"], 1, 0)
    if f"{place}.bn1.IN.weight" in tensors:
        half = len(out) // 2
        mean, variance = (getattr(out[:half], of)(axis=(1, 2), keepdims=True) for of in ("mean", "var"))
        by_image = (out[:half] - mean) / np.sqrt(variance + 1e-5)
        by_image = by_image * tall(tensors, f"{place}.bn1.IN.weight") + tall(tensors, f"{place}.bn1.IN.bias")
        out = np.concatenate([by_image, norm(tensors, f"{place}.bn1.BN", out[half:])])
    else:
        out = norm(tensors, f"{place}.bn1", out)
    out = convolve(np.maximum(out, 0), tensors[f"{place}.conv2.weight"], stride, 1)
    out = convolve(np.maximum(norm(tensors, f"{place}.bn2", out), 0), tensors[f"{place}.conv3.weight"], 1, 0)
    out = norm(tensors, f"{place}.bn3", out)
    if f"{place}.downsample.0.weight" in tensors:
        shortcut = convolve(x, tensors[f"{place}.downsample.0.weight"], stride, 0)
        x = norm(tensors, f"{place}.downsample.1", shortcut)
    return np.maximum(out + x, 0)


def convolve(x, kernel, stride, padding):
    """PyTorch's Conv2d on `[C, H, W]`: `padding` zeros on each side."""
    x = np.pad(x, [(0, 0), (padding, padding), (padding, padding)])
    size = kernel.shape[-1]
    height, width = ((side - size) // stride + 1 for side in x.shape[1:])
    out = np.zeros((len(kernel), height, width))
    for row in range(height):
        for column in range(width):
            patch = x[:, row * stride : row * stride + size, column * stride : column * stride + size]
            out[:, row, column] = np.tensordot(kernel, patch, 3)
    return out


def largest(x, pool):
    """PyTorch's MaxPool2d(3, 2): a window counts what lies inside the image."""
    before = {"both": 1, "end": 0}[pool]
    height, width = ((s + 2 - 3) // 2 + 1 if before else -(-(s - 3) // 2) + 1 for s in x.shape[1:])
    out = np.zeros((len(x), height, width))
    for row in range(height):
        for column in range(width):
            top, left = 2 * row - before, 2 * column - before
            out[:, row, column] = x[:, max(0, top) : top + 3, max(0, left) : left + 3].max(axis=(1, 2))
    return out


def norm(tensors, place, x):
    """PyTorch's BatchNorm in evaluation, on `[C, ...]`."""
    scale = tall(tensors, f"{place}.weight") / np.sqrt(tall(tensors, f"{place}.running_var") + 1e-5)
    scale, shift, mean = (
        array.reshape(-1, *[1] * (x.ndim - 1))
        for array in (scale, tall(tensors, f"{place}.bias"), tall(tensors, f"{place}.running_mean"))
    )
    return (x - mean) * scale + shift


def tall(tensors, name):
    return tensors[name].astype(np.float64).reshape(-1, 1, 1)
