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

import numpy as np

from rgkit.runs.config import Classification
from rgkit.runs.records import fingerprint_of, source
from rgkit.train.device import device_name
from rgkit.train.loop import Training

CONFIG = Classification(
    model="resnet8(16)", epochs=20, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True,
    schedule="poly(1.0, 'step')", augment="flip",
)  # fmt: skip


def make(path: Path, config: Classification = CONFIG) -> None:
    """Train a classifier on the CPU, write its weights in float16 and where they come from.

    That is the config, the data's fingerprint, the accuracy in percent on all test images, and what
    `rgkit.runs.records.source` says. Raises ValueError, before anything is trained, for a path that
    does not end with .npz, is there already, or has no folder: nothing is overwritten or lost.

    Examples
    --------
    >>> import tempfile
    >>> tiny = CONFIG.replace(data="digits", images=64, model="resnet8(2)", epochs=1, batch=32)
    >>> make(Path(tempfile.mkdtemp(), "tiny.npz"), tiny)
    """
    if path.exists() or path.suffix != ".npz" or not path.parent.is_dir():
        raise ValueError(f"path={str(path)!r} given; a new file ending with .npz, in a folder")
    began, training = time.monotonic(), Training(config, "cpu")
    while not training.over:
        training.advance()
        print(f"epoch {training.epoch} of {config.epochs}", file=sys.stderr)
    if training.outcome.status == "diverged":
        raise ValueError(f"{config.brief()}: diverged, so there are no weights to keep")
    state = training.step.net.state_dict().items()
    kept = {n: v.numpy().astype(np.float16) for n, v in state if "num_batches_tracked" not in n}
    facts = source(device_name("cpu"), time.monotonic() - began) | {
        "config": config.as_dict(),
        "fingerprint": fingerprint_of(config),
        "arithmetic": training.config.precision,
        "accuracy": training.outcome.epochs["test_accuracy"][-1],
    }
    with path.open("xb") as file:
        np.savez_compressed(file, provenance=np.array(json.dumps(facts)), **kept)


if __name__ == "__main__":
    words = argparse.ArgumentParser(description="Train the classifier again.")
    words.add_argument("file", type=Path, help="a new one, ending with .npz")
    make(words.parse_args().file)
