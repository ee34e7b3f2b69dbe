"""What networks make of a few test pictures, kept in the record of their run as text."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

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
