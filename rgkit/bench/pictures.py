"""Networks that label pixels: images per second against a loop that reads picture by picture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rgkit.bench.blocks import alone, by_hand
from rgkit.bench.paper_style import Block, in_a_loop
from rgkit.data.augment import Augmenter, Masks, epoch_plan
from rgkit.data.layouts import IMAGENET
from rgkit.data.scenes import VOID
from rgkit.data.vision import import_torchvision
from rgkit.models.segmentation import build
from rgkit.runs.kinds import Segmentation
from rgkit.tasks.segmentation import AUXILIARY, label_pixels
from rgkit.train.device import DTYPES, arithmetic, pick_device
from rgkit.train.step import PlainStep

import_torchvision()
from torchvision.transforms import functional as TF  # noqa: E402

BATCH, CLASSES, HEIGHT, WIDTH = 8, 11, 48, 64
MODEL = "pspnet('resnet18', 16)"


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures and masks of CamVid's size at `quick`, a tenth of the pixels void."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (count, 3, HEIGHT, WIDTH), np.uint8)
    masks = draws.integers(0, CLASSES, (count, HEIGHT, WIDTH), np.uint8)
    return images, np.where(draws.random(masks.shape) < 0.1, np.uint8(VOID), masks)


class _Pairs(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """A picture and its mask at a time, mirrored together, as such code usually has it."""

    def __init__(self, count: int) -> None:
        images, self.masks = pictures(count)
        self.images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        from PIL import Image

        image, mask = Image.fromarray(self.images[at]), Image.fromarray(self.masks[at])
        if torch.rand(()) < 0.5:
            image, mask = TF.hflip(image), TF.hflip(mask)
        look = TF.normalize(TF.to_tensor(image), *IMAGENET)
        return look, torch.from_numpy(np.array(mask)).long()


def paper_style(steps: int, device: str = "auto", model: str = MODEL) -> Block:
    """Return a loop with a DataLoader of two workers, float32, `.item()` a step, on all cores."""
    where = pick_device(device)
    net = build(model, CLASSES).to(where)
    optimizer = torch.optim.SGD(net.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4)
    pairs = _Pairs(BATCH * (steps + 1))

    return in_a_loop(pairs, BATCH, where, optimizer, lambda x, y: _loss_of(net(x), y))


def _loss_of(found: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
    main, second = (cross_entropy(logits, y, ignore_index=VOID) for logits in found)
    return main + AUXILIARY * second


def plain(device: str, precision: str) -> Block:
    """Return the step written out in plain PyTorch, see `rgkit.bench.blocks.plain`."""
    images, masks = (torch.from_numpy(part) for part in pictures(BATCH))
    return by_hand(build(MODEL, CLASSES), images / 255, masks.long(), _loss_of, device, precision)


def ours(steps: int, device: str = "auto", model: str = MODEL) -> Block:
    """Return one run of rgkit, alone, on one thread; the first epoch is not timed."""
    where, config = pick_device(device), Segmentation(model=model, batch=BATCH)
    config = config.replace(precision=arithmetic(config, where))
    shown, labels = (torch.from_numpy(part).to(where) for part in pictures(BATCH * steps))
    images = Augmenter(shown, *IMAGENET, 0, DTYPES[config.precision])
    net = build(config.model, CLASSES)
    step = PlainStep(config, net, images, Masks(labels, 0), label_pixels)

    def epoch(number: int) -> Tensor:
        plan = epoch_plan(BATCH * steps, 0, number, "flip", 0, where)
        losses, _ = step.epoch(plan, np.full(steps, 1e-3), np.full(steps, 0.5))
        return losses.sum()

    block = alone(epoch, BATCH * steps)
    block()
    return block
