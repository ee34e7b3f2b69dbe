"""The run that trains pix2pix, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from rgkit.data import pairs
from rgkit.data.source import Source
from rgkit.models.names import Discriminator, Generator, named
from rgkit.runs.config import Trained, require

ACTS_ON = ("generator", "discriminator", "both", "both, two draws")
ADVERSARIAL = ("least squares", "cross-entropy")


@dataclass(frozen=True)
class Translation(Trained):
    """One training run of pix2pix, which turns pictures into pictures; see `Trained`.

    The defaults are RG's published setting where its code says one (16x16 judgements of a picture,
    least squares + 100 x L1, batch 1, Adam at 2e-4 with beta1 0.5, 200 epochs, the loss weight on
    the generator alone); the U-Net, its dropout and the random crops are pix2pix's. For `data` see
    `rgkit.data.pairs`, for `model` and `judge` `rgkit.models.translation`. What a record calls
    ``train_accuracy`` is that of the discriminator: of the patches, the percentage it tells right.

    Parameters
    ----------
    size : int
        Height and width in pixels of what the networks see; a multiple of 2 ** levels.
    direction : "a_to_b" or "b_to_a"
        Which picture of a pair is the input; b_to_a makes aerials of maps and photos of labels, as
        the code does.
    judge : str
        The discriminator by name.
    acts_on : "generator", "discriminator", "both" or "both, two draws"
        Which losses are multiplied by the loss weight: the paper says "the loss".
    adversarial : "least squares" or "cross-entropy"
    lambda_l1 : float
        What the mean absolute difference counts in the generator's loss.
    features : str
        The network by whose features ``test_kid`` compares pictures: "", our own classifier of
        CIFAR-10, see `rgkit.models.features.network`.

    Examples
    --------
    >>> Translation(data="facades", model="unet(8, 32)").model
    "unet(8, 32, 'instance', 0.5)"
    """

    task: ClassVar[str] = "translation"
    code: ClassVar[str] = "rgkit.tasks.translation"
    measure: ClassVar[str] = "test_ssim"
    sources: ClassVar[Mapping[str, Source]] = pairs.SOURCES
    smallest: ClassVar[int] = 1
    added: ClassVar[tuple[str, ...]] = ("test_kid",)
    data: str = "maps"
    model: str = "unet"
    epochs: int = 200
    batch: int = 1
    optimizer: str = "adam"
    lr: float = 2e-4
    weight_decay: float = 0.0
    schedule: str = "constant"
    precision: str = "float32"
    size: int = 256
    direction: str = "b_to_a"
    judge: str = "halving"
    acts_on: str = "generator"
    adversarial: str = "least squares"
    lambda_l1: float = 100.0
    features: str = field(default="", metadata={"added": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.choose(direction=pairs.DIRECTIONS, acts_on=ACTS_ON, adversarial=ADVERSARIAL)
        levels = self.network().levels
        whole = isinstance(self.size, int) and self.size >= 16 and self.size % 2**levels == 0
        wanted = f"16 or more and a multiple of {2**levels}, for {levels} levels"
        require(whole, "size", self.size, wanted)
        judge = named(Discriminator, self.judge)
        # The instance norms of a discriminator want more than one number in each channel.
        seen = self.size // 2**judge.layers
        require(seen >= 4, "judge", self.judge, f"fewer layers, at a size of {self.size}")
        require(self.lambda_l1 >= 0, "lambda_l1", self.lambda_l1, "0 or more")
        require(self.features == "", "features", self.features, "'' is our own classifier, the one")
        object.__setattr__(self, "judge", str(judge))
        object.__setattr__(self, "lambda_l1", float(self.lambda_l1))

    def network(self) -> Generator:
        """Return the generator, see `rgkit.models.names`."""
        return named(Generator, self.model)

    def scales(self) -> Mapping[str, str]:
        """Return what the profiles mean for pairs of pictures."""
        return {
            "quick": "Profile quick: small pictures, narrow networks, few epochs.",
            "short": "Profile short: the paper's networks on a copy of its maps, fewer epochs.",
            "paper": "Profile paper: the paper's networks and data, as far as they are not changed "
            "below.",
        }

    def about(self) -> str:
        """Return direction, size, losses and augmentation in words."""
        said = f", {pairs.words(self.data, self.direction)} at {self.size} pixels"
        said += f", judged by {self.judge} with {self.adversarial} + {self.lambda_l1:g} L1"
        return f"{said}, {self.augment}"
