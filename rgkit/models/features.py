"""Networks that pictures are compared by: our own small classifier, or one that the user has.

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

from rgkit.data import CLASSES
from rgkit.data.cifar import SETS
from rgkit.data.layouts import IMAGENET
from rgkit.data.vision import import_torchvision
from rgkit.models import classification
from rgkit.models.segmentation import BLOCKS, find_weights, load_backbone

import_torchvision()
from torchvision.models import resnet  # noqa: E402

OWN = Path(__file__).resolve().parent / "cifar10-resnet8.npz"
# Of the file's SHA-256. A distance by another network is another measure: whoever changes this
# measures the records of all translations again.
DIGEST = "29341f1e47995dcc"

Moments = tuple[tuple[float, ...], tuple[float, ...]]


class Pooled(nn.Module):
    """What a network's stages make of pictures, each channel's mean over all places.

    Parameters
    ----------
    stages : one is applied to what the one before gives, [batch, channels, height, width]
    moments : mean and deviation of each colour of the pixels that the network was trained on

    Examples
    --------
    >>> net = Pooled([nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)], IMAGENET)
    >>> net(torch.rand(2, 3, 16, 24)).shape
    torch.Size([2, 9])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, stages: list[nn.Module], moments: Moments) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        for name, values in zip(("mean", "deviation"), moments, strict=True):
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
        net = classification.build(config["model"], CLASSES[config["data"]])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as a classifier: {str(error)[:80]}") from error
    wanted = {n: v for n, v in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    for name in wanted.keys() | arrays.keys():
        have, want = (x[name].shape if name in x else None for x in (arrays, wanted))
        if want is None or have != tuple(want):
            shapes = f"{name!r} is of shape {have}, not {want and tuple(want)}"
            raise ValueError(f"{path} does not hold the weights of {config['model']}: {shapes}")
    state = {name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()}
    net.load_state_dict(state, strict=False)  # without the counters of batch norm
    return net.eval(), facts


def _own() -> Pooled:
    """The stem and the three stages of our own classifier."""
    with OWN.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(DIGEST):
        raise ValueError(f"{OWN} has the SHA-256 {found[:16]}…, not {DIGEST}…; check it out again")
    net, facts = read(OWN)
    parts = [part for part in net.children() if not isinstance(part, nn.Linear | nn.Flatten)]
    official = SETS[facts["config"]["data"]]
    stages = [nn.Sequential(*parts[:3]), *parts[3:-1]]  # the last is the pooling
    return Pooled(stages, (official.mean, official.std))


def _users(name: str) -> Pooled:
    """The stem and the four stages of a ResNet of torchvision, with the weights of a file."""
    path = find_weights(name)
    with torch.random.fork_rng(devices=[]):
        net: Any = resnet.ResNet(*BLOCKS[name.partition("-")[0]])
    net.fc = nn.Identity()
    load_backbone(nn.ModuleDict({"backbone": net}), path)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    return Pooled([stem, net.layer1, net.layer2, net.layer3, net.layer4], IMAGENET)


def network(name: str = "") -> Pooled:
    """Return the network that pictures are compared by, on the CPU in float32.

    Its features are those of every stage. Tried on the true pictures of maps at 64 pixels, in both
    directions, against those of the last stage alone: with all of them every blur stood out more
    from the spread between random halves of the true pictures, the weakest blur included, and
    those halves were at zero on average either way. Pictures are compared by details, which early
    stages see.

    Parameters
    ----------
    name : "" for our own classifier, or the file of one of torchvision's ResNets, such as
        ``resnet18-f37072fd.pth``, which is looked for as `rgkit.models.segmentation.find_weights`
        does; ImageNet's licence asks that users get it themselves

    Raises
    ------
    DataError
        Where that file is missing or is not what its name says.
    ValueError
        Where it holds something else.

    Examples
    --------
    >>> network()(torch.rand(2, 3, 64, 64)).shape
    torch.Size([2, 128])
    """
    return _users(name) if name else _own()
