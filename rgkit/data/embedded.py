"""Data sets that need neither a file nor a network."""

from __future__ import annotations

import numpy as np

from rgkit.data import Dataset
from rgkit.data.scenes import scenes


def digits() -> Dataset:
    """Real handwritten digits (scikit-learn's copy of the UCI set), 8x8, 1,500 train, 297 test."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    gray = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(gray[:, None], 3, axis=1)
    labels = bunch.target.astype(np.int64)
    parts = (images[:1500], labels[:1500], images[1500:], labels[1500:])
    return Dataset("digits", *parts, mean=(0.305,) * 3, std=(0.376,) * 3, padding=1)


def scene_classes() -> Dataset:
    """Rendered scenes, 32x32, labelled by their main shape: 5,000 train, 1,000 test."""
    train, test = scenes(5000, split="train"), scenes(1000, split="test")
    parts = (train.images, train.labels, test.images, test.labels)
    return Dataset("scenes", *parts, mean=(0.5,) * 3, std=(0.295,) * 3, padding=4)
