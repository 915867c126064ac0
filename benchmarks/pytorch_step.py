"""Training step in PyTorch for `train_step.py`: the same ResNet-50, head, loss and optimizer, as a user writes them.

The network is keras-cv's ResNet-50 (stride in the first 1x1 convolution) with the head `trinet`; the loss is batch hard
with a soft margin; Adam. Under a mixed policy the forward pass runs under torch.autocast.

    python pytorch_step.py HEIGHT WIDTH IDENTITIES IMAGES POLICY

makes a step for each line that it reads, and answers with the loss. It is a process of its own: torch is several times
slower in one that has loaded TensorFlow.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Bottleneck of ResNet v1."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.shortcut = None
        if channels != 4 * width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )
        self.body = nn.Sequential(
            *(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
            *(nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)),
        )

    def forward(self, features):
        return functional.relu(self.body(features) + (self.shortcut(features) if self.shortcut else features))


def embedder() -> nn.Sequential:
    """Returns the network from normalized images `[B, 3, H, W]` to embeddings `[B, 128]`."""
    layers = [nn.Conv2d(3, 64, 7, 2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(inplace=True)]
    layers.append(nn.MaxPool2d(3, 2, padding=1))
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(blocks):
            layers.append(Block(channels, width, 1 if number else stride))
            channels = 4 * width
    head = nn.Linear(channels, 1024, bias=False), nn.BatchNorm1d(1024), nn.ReLU(inplace=True), nn.Linear(1024, 128)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *head)


def batch_hard(embeddings, person_ids):
    """Batch hard with a soft margin, Hermans et al. 2017."""
    distances, same = torch.cdist(embeddings, embeddings), person_ids[:, None] == person_ids[None]
    positive = distances.masked_fill(~same, 0).amax(1)
    negative = distances.masked_fill(same, float("inf")).amin(1)
    return functional.softplus(positive - negative).mean()


def training_step(images, person_ids, *, policy: str):
    """Returns a function that makes a step on uint8 images `[B, H, W, 3]` and returns the loss."""
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = embedder().to(device).train()
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    images = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).contiguous()
    person_ids = torch.from_numpy(person_ids).to(device)
    mean = torch.tensor((0.485, 0.456, 0.406), device=device)[:, None, None]
    deviation = torch.tensor((0.229, 0.224, 0.225), device=device)[:, None, None]
    low = {"mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}.get(policy)
    scaler = torch.amp.GradScaler(device, enabled=low is torch.float16)

    def step() -> float:
        with torch.autocast(device, low or torch.bfloat16, enabled=low is not None):
            embeddings = network((images / 255 - mean) / deviation)
        loss = batch_hard(embeddings.float(), person_ids)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.item()  # waits until the step is done

    return step


def main() -> None:
    height, width, identities, images = map(int, sys.argv[1:5])
    pixels = np.random.default_rng(0).integers(0, 256, (identities * images, height, width, 3), np.uint8)
    step = training_step(pixels, np.repeat(np.arange(identities), images), policy=sys.argv[5])
    for _ in sys.stdin:
        print(step(), flush=True)


if __name__ == "__main__":
    main()
