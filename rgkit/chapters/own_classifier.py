"""How the committed CIFAR-10 classifier was made, and how to make another.

Pictures are compared by what this network makes of them, see `own_features` of
`rgkit.models.classification`. The command trains it again, a quarter of an hour of one core, and
writes a file that says where it comes from::

    RGKIT_DATA=... python -m rgkit.chapters.own_classifier my-classifier.npz

Another machine rounds differently, so a new file is another network, and distances measured with
it are not comparable with those that are recorded: `DIGEST` there names the one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rgkit.data.source import DataError
from rgkit.runs.kinds import Classification
from rgkit.runs.records import fingerprint_of, source
from rgkit.tasks.classification import evaluate
from rgkit.train.device import device_name, reproducible
from rgkit.train.loop import Training

# A quarter of an hour of one core.
CONFIG = Classification(
    model="resnet8(16)", epochs=20, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True,
    schedule="poly(1.0, 'step')", augment="flip",
)  # fmt: skip


def make(path: Path, config: Classification = CONFIG) -> dict[str, Any]:
    """Train a classifier on the CPU, write its weights in float16 and return where they come from.

    Parameters
    ----------
    path : of the file to be written, ending with .npz
    config : of a small network

    Returns
    -------
    The config, the data's fingerprint, the accuracy in percent on all test images, in float32 with
    the weights as they are in the file, and what `rgkit.runs.records.source` says; so does the file

    Raises
    ------
    FileExistsError
        Before anything is trained: nothing is ever overwritten.
    DataError
        Where the images are not at hand, or the training diverged.

    Examples
    --------
    >>> import tempfile
    >>> tiny = CONFIG.replace(data="digits", images=64, model="resnet8(2)", epochs=1, batch=32)
    >>> make(Path(tempfile.mkdtemp(), "tiny.npz"), tiny)["config"]["model"]
    'resnet8(2)'
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already; name another file, or move it away")
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r} given; a file ending with .npz in a folder that is")
    began, facts = time.monotonic(), source(device_name("cpu"), 0.0)
    training = Training(config, "cpu")
    while not training.over:
        training.advance()
        spent = time.monotonic() - began
        print(f"epoch {training.epoch} of {config.epochs}, {spent:.0f} s", file=sys.stderr)
    if training.outcome.status == "diverged":
        raise DataError(f"{config.brief()}: diverged, so there are no weights to keep")
    net = training.step.net
    kept = {n: v for n, v in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    arrays = {name: value.numpy().astype(np.float16) for name, value in kept.items()}
    net.load_state_dict({n: torch.from_numpy(v) for n, v in arrays.items()}, strict=False)
    with reproducible(config.seed):
        images, labels = training.measured["test"]
        _, accuracy = evaluate(net, images, labels, autocast=False)
    facts |= {"config": config.as_dict(), "fingerprint": fingerprint_of(config)}
    facts |= {"arithmetic": training.config.precision, "accuracy": accuracy.item()}
    facts["seconds"] = round(time.monotonic() - began, 3)
    with path.open("xb") as file:
        np.savez_compressed(file, provenance=np.array(json.dumps(facts)), **arrays)
    return facts


def main(words: list[str] | None = None) -> int:
    """Make the file that the command line names; 1 where it is there already or cannot be made."""
    prog = "python -m rgkit.chapters.own_classifier"
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument("file", type=Path, help="where to, ending with .npz; not overwritten")
    path = parser.parse_args(words).file
    try:
        facts = make(path, CONFIG)
    except (OSError, ValueError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: {facts['accuracy']:.2f} % of the test images, {facts['seconds']:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
