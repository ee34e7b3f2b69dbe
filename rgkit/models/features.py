"""The network that pictures are compared by: our own small classifier of CIFAR-10.

A distance between features says what the network that makes them can see. Most papers take an
Inception network that was trained on ImageNet; its weights are not ours to pass on. A ResNet-8 of
this package is, and it saw the photographs of CIFAR-10; `rgkit.chapters.own_classifier` made its
file.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rgkit.data import images
from rgkit.models import classification

OWN = Path(__file__).resolve().parent / "cifar10-resnet8.npz"
# Of the file's SHA-256. A distance by another network is another measure: whoever changes this
# measures the records of all translations again.
DIGEST = "29341f1e47995dcc"


class Pooled(nn.Module):
    """What the stages of our classifier make of pictures, each channel's mean over all places.

    Parameters
    ----------
    net : a `rgkit.models.cifar.staged` network
    data : the set that it was trained on, by whose mean and deviation pixels are normalised
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, net: nn.Module, data: str) -> None:
        super().__init__()
        parts = [*net.children()][:-3]  # without pooling, flattening and the linear layer
        self.stages = nn.ModuleList([nn.Sequential(*parts[:3]), *parts[3:]])
        source = images.SOURCES[data]
        for name, values in (("mean", source.mean), ("deviation", source.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return features [batch, channels of all stages] of pictures from 0 to 1."""
        x, found = (pictures - self.mean) / self.deviation, list[Tensor]()
        for stage in self.stages:
            x = stage(x)
            found.append(x.mean((2, 3)))
        return torch.cat(found, 1)


def read(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Return the classifier in a file of `rgkit.chapters.own_classifier`, and where it comes from.

    Returns
    -------
    the network in float32, in evaluation mode, and its facts: config, accuracy in percent, commit …

    Raises
    ------
    ValueError
        Names the file that is not there, cannot be read, or whose weights do not fit its network.
    """
    try:
        # Opened here, because NumPy leaves a file open in which it finds nothing to read.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts: dict[str, Any] = json.loads(str(arrays.pop("provenance")))
        config = facts["config"]
        net = classification.build(config["model"], len(images.SOURCES[config["data"]].classes))
        # A state without a version may lack the counters of batch norm, as this one does.
        net.load_state_dict({n: torch.from_numpy(v.astype(np.float32)) for n, v in arrays.items()})
    except (OSError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as a classifier: {str(error)[:200]}") from error
    return net.eval(), facts


def network() -> Pooled:
    """Return the network that pictures are compared by, on the CPU in float32.

    Its features are those of every stage. Tried on the true pictures of maps at 64 pixels, in both
    directions, against those of the last stage alone: with all of them every blur stood out more
    from the spread between random halves of the true pictures, the weakest blur included, and
    those halves were at zero on average either way. Pictures are compared by details, which early
    stages see.

    Raises ValueError where the committed file is another.

    Examples
    --------
    >>> network()(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 128])
    """
    with OWN.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(DIGEST):
        raise ValueError(f"{OWN} has the SHA-256 {found[:16]}…, not {DIGEST}…; check it out again")
    net, facts = read(OWN)
    return Pooled(net, facts["config"]["data"])
