"""What networks make of a few test pictures at the end of a run: label maps, kept in its record."""

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


def pack(labels: np.ndarray[Any, Any]) -> str:
    """Return a label map uint8 [height, width] as a PNG in base64: about a kilobyte of text.

    >>> unpack(pack(np.eye(3, dtype=np.uint8))).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(labels).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def unpack(text: str) -> np.ndarray[Any, Any]:
    """Return the label map uint8 [height, width] that `pack` made a text of."""
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
