"""What networks make of a few test pictures, kept in the record of their run as text."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import torch
from torch import nn

from rgkit.data.augment import Augmenter, Masks

# The first of the test pictures. A set's order depends on the pixels' hashes alone, so they are as
# good as drawn by lot, and nobody has chosen them.
SHOWN = 3
KEPT = 6  # of generated pictures: readers are asked to tell them apart, see `rgkit.chapters.blind`
ALONG = (0.25, 0.5, 0.75)  # parts of a run after which the first picture is kept, too
QUALITY = 90  # of pictures; what is measured is measured before


def stops(epochs: int) -> list[int]:
    """Return after which epochs of a run the first picture is kept; its end is not among them.

    >>> stops(20), stops(1)
    ([5, 10, 15], [])
    """
    found = {round(part * epochs) for part in ALONG}
    return sorted(found - {0, epochs})


def pack(image: np.ndarray[Any, Any]) -> str:
    """Return an image as a text of a few kilobytes: base64 of PNG for labels, WebP for pictures.

    Parameters
    ----------
    image : uint8, labels [height, width], kept as they are, or a picture [height, width, 3]

    >>> unpack(pack(np.eye(3, dtype=np.uint8))).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    from PIL import Image

    file, made = io.BytesIO(), Image.fromarray(image)
    if image.ndim == 2:
        made.save(file, format="PNG", optimize=True)
    else:
        made.save(file, format="WEBP", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def unpack(text: str) -> np.ndarray[Any, Any]:
    """Return the image uint8 [height, width] or [height, width, 3] that `pack` made a text of."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


@torch.inference_mode()
def label_maps(net: nn.Module, images: Augmenter, masks: Masks, autocast: bool) -> list[str]:
    """Return the label of every pixel of the first `SHOWN` pictures of a split, each packed.

    Parameters
    ----------
    net : module from images to logits; it is left in evaluation mode
    images, masks : the split
    """
    net.eval()
    index = torch.arange(min(SHOWN, len(masks)), device=masks.images.device)
    x = images.plain(index)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        labels = net(x).argmax(1)
    return [pack(each) for each in labels.to("cpu", torch.uint8).numpy()]


@torch.inference_mode()
def made_pictures(
    net: nn.Module, inputs: Augmenter, targets: Augmenter, autocast: bool
) -> list[str]:
    """Return what a generator makes of the first `KEPT` inputs of a split, each packed.

    Parameters
    ----------
    net : module from pictures to pictures between -1 and 1; it is left in evaluation mode
    inputs, targets : the split
    """
    net.eval()
    index = torch.arange(min(KEPT, len(targets)), device=targets.images.device)
    x = inputs.plain(index)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=autocast):
        made = net(x)
    level = (127.5 * (made.float() + 1)).round().clamp(0, 255).to("cpu", torch.uint8)
    return [pack(each) for each in level.permute(0, 2, 3, 1).contiguous().numpy()]
