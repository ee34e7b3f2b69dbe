"""Random crop and mirror of a whole batch in one gather, on whatever device the images are."""

from __future__ import annotations

import numpy as np
import torch

from rgkit.streams import stream

# Order, dy, dx and mirror of one epoch, each [count]: see `epoch_plan`.
Plan = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Augmenter:
    """Uint8 images on a device, handed out as normalised float batches.

    Parameters
    ----------
    images : uint8 tensor [N, channels, height, width]
    mean, std : per channel, of pixels scaled to 0..1
    padding : int
        Zero pixels on each side, added once and before normalisation, as torchvision's
        ``RandomCrop(size, padding)`` on the raw image does.
    """

    def __init__(
        self,
        images: torch.Tensor,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        padding: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.padding, self.size = padding, images.shape[-1]
        padded = torch.nn.functional.pad(images, [padding] * 4)
        # Channels last: the gather then writes each pixel's channels side by side, which is the
        # memory format that convolutions want.
        self.images = padded.permute(0, 2, 3, 1).contiguous()
        scale = torch.tensor(std, dtype=dtype) * 255
        self.shift = (torch.tensor(mean, dtype=dtype) * 255 / scale).to(images.device)
        self.scale = (1 / scale).to(images.device)
        self.pixels = torch.arange(self.size, device=images.device)

    def batch(
        self, index: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor, mirror: torch.Tensor
    ) -> torch.Tensor:
        """Return images `index` cropped at (dy, dx) of the padded image, mirrored where asked.

        Parameters
        ----------
        index, dy, dx : int64 [batch]
            ``dy = dx = padding`` is the image itself.
        mirror : bool [batch]

        Returns
        -------
        float [batch, channels, size, size] in channels-last memory
        """
        rows = dy[:, None] + self.pixels
        cols = torch.where(mirror[:, None], self.size - 1 - self.pixels, self.pixels) + dx[:, None]
        crops = self.images[index[:, None, None], rows[:, :, None], cols[:, None, :]]
        return (crops.to(self.scale.dtype) * self.scale - self.shift).permute(0, 3, 1, 2)

    def plain(self, index: torch.Tensor) -> torch.Tensor:
        """Return images `index` as they are, normalised."""
        middle = torch.full_like(index, self.padding)
        return self.batch(index, middle, middle, torch.zeros_like(index, dtype=torch.bool))


def epoch_plan(
    count: int, seed: int, epoch: int, augment: str, padding: int, device: torch.device | str
) -> Plan:
    """Return order, dy, dx and mirror of one epoch, each [count]; pure in (seed, epoch).

    The draws belong to places in the epoch, so arms with other batch sizes see the same images
    with the same crops in the same order.
    """
    order = stream(seed, "order", epoch).permutation(count)
    draws = stream(seed, "augment", epoch)
    offsets = draws.integers(0, 2 * padding + 1, size=(2, count))
    mirror = draws.integers(0, 2, size=count).astype(bool)
    if augment == "none":
        offsets = np.full_like(offsets, padding)
    if augment != "crop+flip":
        mirror = np.zeros_like(mirror)
    parts = (order, offsets[0], offsets[1], mirror)
    on_device = [torch.from_numpy(np.ascontiguousarray(p)).to(device) for p in parts]
    return on_device[0], on_device[1], on_device[2], on_device[3]
