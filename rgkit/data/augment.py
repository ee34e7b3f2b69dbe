"""Random crop and mirror of a whole batch in one gather, on whatever device the images are."""

from __future__ import annotations

import numpy as np
import torch

from rgkit.data.scenes import VOID
from rgkit.method.laws import stream

# Order, dy, dx and mirror of one epoch, each [count]: see `epoch_plan`.
Plan = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Crops:
    """Uint8 pictures on a device, cut and mirrored by the batch.

    Parameters
    ----------
    images : uint8 tensor [N, channels, height, width], the pixels that a crop can move to included
    padding : int
        How far a crop can move in each direction.
    """

    def __init__(self, images: torch.Tensor, padding: int) -> None:
        self.padding = padding
        height, width = (size - 2 * padding for size in images.shape[-2:])
        # Channels last: the gather then writes each pixel's channels side by side, which is the
        # memory format that convolutions want.
        self.images = images.permute(0, 2, 3, 1).contiguous()
        self.rows = torch.arange(height, device=images.device)
        self.cols = torch.arange(width, device=images.device)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def where(self) -> torch.device:
        """The device on which the pictures are."""
        return self.images.device

    def cut(
        self, index: torch.Tensor, dy: torch.Tensor, dx: torch.Tensor, mirror: torch.Tensor
    ) -> torch.Tensor:
        """Return pictures `index` cropped at (dy, dx), mirrored where asked.

        Parameters
        ----------
        index, dy, dx : int64 [batch]
            ``dy = dx = padding`` is the picture itself.
        mirror : bool [batch]

        Returns
        -------
        uint8 [batch, height, width, channels]
        """
        rows = dy[:, None] + self.rows
        cols = torch.where(mirror[:, None], len(self.cols) - 1 - self.cols, self.cols) + dx[:, None]
        return self.images[index[:, None, None], rows[:, :, None], cols[:, None, :]]

    def batch(self, *plan: torch.Tensor) -> torch.Tensor:
        """Return the pictures that a part of an `epoch_plan` asks for; see `cut`."""
        raise NotImplementedError

    def plain(self, index: torch.Tensor) -> torch.Tensor:
        """Return pictures `index` as they are."""
        middle = torch.full_like(index, self.padding)
        return self.batch(index, middle, middle, torch.zeros_like(index, dtype=torch.bool))


class Augmenter(Crops):
    """Images, handed out as normalised float batches [batch, channels, height, width].

    Their memory is channels-last. Padding precedes the normalisation.

    Parameters
    ----------
    images : uint8 tensor [N, channels, height, width]
    mean, std : per channel, of pixels scaled to 0..1
    padding : how far a crop can move: so many zero pixels are added on each side, once, as
        torchvision's ``RandomCrop(size, padding)`` does
    margin : the images have real pixels there already; nothing is added
    reflect : what is added is the image reflected at its edge, and not zeros
    """

    def __init__(
        self,
        images: torch.Tensor,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        padding: int,
        dtype: torch.dtype = torch.float32,
        margin: bool = False,
        reflect: bool = False,
    ) -> None:
        if reflect:  # torch's own pad does not reflect bytes on a GPU
            rows, cols = (np.pad(np.arange(n), padding, "reflect") for n in images.shape[-2:])
            images = images[..., rows[:, None], cols]
        elif not margin:
            images = torch.nn.functional.pad(images, [padding] * 4)
        super().__init__(images, padding)
        scale = torch.tensor(std, dtype=dtype) * 255
        self.shift = (torch.tensor(mean, dtype=dtype) * 255 / scale).to(images.device)
        self.scale = (1 / scale).to(images.device)

    def batch(self, *plan: torch.Tensor) -> torch.Tensor:
        """Return images cropped and mirrored, normalised."""
        crops = self.cut(*plan)
        return (crops.to(self.scale.dtype) * self.scale - self.shift).permute(0, 3, 1, 2)


class Masks(Crops):
    """Masks uint8 [N, height, width], handed out as int64 batches; what is padded is void."""

    def __init__(self, masks: torch.Tensor, padding: int, margin: bool = False) -> None:
        if not margin:
            masks = torch.nn.functional.pad(masks, [padding] * 4, value=VOID)
        super().__init__(masks[:, None], padding)

    def batch(self, *plan: torch.Tensor) -> torch.Tensor:
        """Return masks cropped and mirrored as their pictures are."""
        return self.cut(*plan)[..., 0].long()


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
    if "crop" not in augment:
        offsets = np.full_like(offsets, padding)
    if "alternate" in augment:
        half = stream(seed, "half").integers(0, 2, size=count).astype(bool)
        mirror = half[order] ^ bool(epoch % 2)
    elif "flip" not in augment:
        mirror = np.zeros_like(mirror)
    parts = (order, offsets[0], offsets[1], mirror)
    on_device = [torch.from_numpy(np.ascontiguousarray(p)).to(device) for p in parts]
    return on_device[0], on_device[1], on_device[2], on_device[3]
