"""Procedural scenes: pictures, labels and masks without any download.

A scene is a stack of layers painted back to front: a textured background, one or two distractor
shapes, the main shape, and sometimes a small distractor over its rim. One scene gives a picture
with a class label, a segmentation mask, and a label map to translate into the picture. Nothing
else depends on the class, not even the area of the shape, so only its form tells the class.

Pixels see only operations that IEEE 754 rounds exactly (+, -, *, /, sqrt, floor, comparisons), so
that the bytes agree across platforms; noise, sines and cosines are computed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]  # float64 per scene and layer, float32 per pixel
Plane = Callable[[Floats, Floats], Floats]  # a function of the two coordinates in a plane

SPLITS = ("train", "test")
VOID = 255  # the label of pixels that belong to no class
FINGERPRINT = "7f9b076e3891ec76"  # of the scenes, whatever is taken of them and at which size


def _box(x: Floats, y: Floats, half_width: float, half_height: float) -> Floats:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _disc(x: Floats, y: Floats, radius: float) -> Floats:
    return np.sqrt(x * x + y * y) - radius


def _sides(x: Floats, y: Floats, count: int, inradius: float) -> Floats:
    """Distances to the side lines of a regular polygon, [count, ...]; negative inside."""
    turns = [2 * math.pi * k / count for k in range(count)]
    return np.stack([math.cos(t) * x + math.sin(t) * y - inradius for t in turns])


# Signed distances to the outlines, negative inside. The constants give each shape the area pi, so
# the scale of a shape is the radius of the disc of equal area. A point is in a polygon if it is
# inside all side lines, and in a five-pointed star if it is inside at least four of the five.
_SHAPES: dict[str, Plane] = {
    "disc": lambda x, y: _disc(x, y, 1),
    "square": lambda x, y: _box(x, y, 0.886, 0.886),
    "triangle": lambda x, y: _sides(x, y, 3, 0.778).max(0),
    "ring": lambda x, y: np.abs(_disc(x, y, 0.83)) - 0.301,
    "cross": lambda x, y: np.minimum(_box(x, y, 1.189, 0.396), _box(x, y, 0.396, 1.189)),
    "star": lambda x, y: np.partition(_sides(x, y, 5, 0.517), 3, 0)[3],
    "bar": lambda x, y: _box(x, y, 1.535, 0.512),
    "half-disc": lambda x, y: np.maximum(_disc(x, y + 0.6, 1.414), -0.6 - y),
    "crescent": lambda x, y: np.maximum(_disc(x - 0.479, y, 1.373), -_disc(x - 1.165, y, 1.03)),
    "ell": lambda x, y: np.maximum(_box(x, y, 1.11, 1.11), np.minimum(x, y) + 0.23),
}

CLASSES: tuple[str, ...] = tuple(_SHAPES)
"""The 10 shape classes: label `k` means `CLASSES[k]`, which has the value `k + 1` in a mask."""

_COLOURS = "000000 e6194b 3cb44b ffe119 005ae6 f58230 911eb4 46f0f0 f032e6 aa6e28 ffffff"
PALETTE: NDArray[np.uint8] = np.array([*bytes.fromhex(_COLOURS)], np.uint8).reshape(11, 3)
"""The flat colours of a label map, uint8 [11, 3], RGB: background first, then `CLASSES`."""


def _wave(t: Floats) -> Floats:
    """A sine made of parabolas: period 1, values in [-1, 1], and exact where `np.sin` is not."""
    s: Floats = 2 * (t - np.floor(t)) - 1
    wave: Floats = 4 * s * (1 - np.abs(s))
    return wave


# Textures take coordinates measured in cycles and have values in [-1, 1].
_TEXTURES: dict[str, Plane] = {
    "grating": lambda u, v: _wave(u),
    "checker": lambda u, v: np.clip(4 * _wave(u) * _wave(v), -1, 1),
    "gradient": lambda u, v: _wave(u / 8),
    "blotches": lambda u, v: _wave(u / 2 + _wave(v / 3) / 2) * _wave(v / 2 + _wave(u / 3) / 2),
}


class Scenes(NamedTuple):
    """N scenes; row `i` of every array belongs to scene `i`.

    Attributes
    ----------
    images : uint8 [N, 3, size, size], the pictures, RGB, 0 to 255
    labels : int64 [N], the class of the main (largest) shape, 0 to 9, an index into `CLASSES`
    masks : uint8 [N, size, size], the class per pixel: 0 background, 1 to 10 shapes, and
        255, `VOID`, at boundaries, where pixels mix two regions
    maps : uint8 [N, 3, size, size], the class per pixel in colours of `PALETTE`, without void
    objects : float32 [N, 4, 6], the four shapes: the box x1, y1, x2, y2 of what is seen of each, in
        pixels from the upper left corner, its class, -1 where there is no shape, and 1 if it is
        difficult: less than half of it is seen
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    objects: NDArray[np.float32]


def _spread(values: NDArray[Any]) -> Floats:
    """Append two axes to broadcast over pixels, in the precision of pixels."""
    return values.astype(np.float32)[..., None, None]


def _rotate(x: Floats, y: Floats, turn: Floats) -> tuple[Floats, Floats]:
    cos, sin = _spread(np.cos(2 * np.pi * turn)), _spread(np.sin(2 * np.pi * turn))
    return cos * x + sin * y, cos * y - sin * x


def _between(low: float, high: float, draws: Floats) -> Floats:
    return low + (high - low) * draws


def _choose(planes: dict[str, Plane], index: NDArray[np.int64], x: Floats, y: Floats) -> Floats:
    """Evaluate the function that index [n, layers] names, at x and y [n, layers, size, size]."""
    out = np.empty_like(x)
    for k, plane in enumerate(planes.values()):
        out[index == k] = plane(x[index == k], y[index == k])
    return out


def _paint(draws: Floats, noise: Floats) -> Scenes:
    """Paint n scenes from uniform draws [n, 6, 16] and normal noise [n, 3, size, size]."""
    scene, layers, shapes = draws[:, 0], draws[:, 1:], draws[:, 2:]  # layers[:, 0] is the ground
    size = noise.shape[-1]
    axis = ((2 * np.arange(size) + 1) / size - 1).astype(np.float32)  # pixel centres in (-1, 1)
    x, y = axis[None, None, None, :], axis[None, None, :, None]

    # Four shapes, back to front: a distractor, a distractor, the main shape, one on its rim.
    classes = (len(_SHAPES) * shapes[..., 0]).astype(np.int64)
    scale = np.array([0.2, 0.2, 0.38, 0.15]) + np.array([0.1, 0.1, 0.2, 0.1]) * shapes[..., 1]
    centre = np.array([[0.9], [0.9], [0.25], [0]]) * _between(-1, 1, shapes[..., 2:4])
    angle, radius = 2 * np.pi * shapes[:, 3, 2], 1.1 * scale[:, 2]
    centre[:, 3] = centre[:, 2] + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    u, v = _rotate(x - _spread(centre[..., 0]), y - _spread(centre[..., 1]), shapes[..., 4])
    distance = _choose(_SHAPES, classes, u / _spread(scale), v / _spread(scale))
    coverage = np.clip(0.5 - distance * _spread(scale * size / 2), 0, 1)  # of each pixel's area
    coverage[:, [1, 3]] *= _spread(scene[:, :2] < 0.5)  # these two are there half of the time

    # Shapes get colours opposite to the ground's on the wrapped axis from 0 to 1 of each channel,
    # give or take: visible everywhere, and still uniformly distributed.
    colour = layers[..., 10:13].copy()
    colour[:, 1:] = (colour[:, :1] + _between(0.3, 0.7, colour[:, 1:])) % 1
    contrast = _between(-0.25, 0.25, layers[..., 13:16])
    cycles = _spread(_between(1.5, 3.5, layers[..., 7]))
    u, v = _rotate(cycles * x, cycles * y, layers[..., 6])
    kinds = (len(_TEXTURES) * layers[..., 5]).astype(np.int64)
    texture = _choose(_TEXTURES, kinds, u + _spread(layers[..., 8]), v + _spread(layers[..., 9]))
    paint = _spread(colour) + _spread(contrast) * texture[:, :, None]  # [n, 5, 3, size, size]

    picture = paint[:, 0]
    regions, void, owner = np.zeros((3, len(draws), size, size), np.uint8)
    for k, alpha in enumerate(coverage.swapaxes(0, 1)):
        picture += alpha[:, None] * (paint[:, k + 1] - picture)
        regions = np.where(alpha > 0.5, classes[:, k, None, None] + 1, regions).astype(np.uint8)
        owner[alpha > 0.5] = k + 1
        void = (void | (alpha > 0)) & (alpha < 1)  # partly covered, by this layer or one behind

    tilt = _spread(_between(-0.3, 0.3, scene[:, 2:4, None]))  # brighter towards one side
    picture *= 1 + tilt[:, 0] * x[0] + tilt[:, 1] * y[0]
    picture += _spread(_between(0.02, 0.08, scene[:, 4, None])) * noise
    images = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    maps = np.ascontiguousarray(PALETTE[regions].transpose(0, 3, 1, 2))
    objects = _objects(classes, coverage > 0.5, owner)
    return Scenes(images, classes[:, 2], np.where(void, np.uint8(VOID), regions), maps, objects)


def _objects(
    classes: NDArray[np.int64], whole: NDArray[np.bool_], owner: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Box, class and difficulty of each shape, from its pixels and those that are seen of it."""
    seen = owner[:, None] == np.arange(1, 5, dtype=np.uint8)[:, None, None]
    size, found = owner.shape[-1], np.zeros((len(owner), 4, 6), np.float32)
    for axis in (0, 1):  # x, then y
        line = seen.any(2 + axis)
        found[..., axis] = line.argmax(-1)
        found[..., axis + 2] = size - line[..., ::-1].argmax(-1)
    count = seen.sum((2, 3))
    found[..., 5] = 2 * count < whole.sum((2, 3))
    found[..., 4] = classes
    found[count == 0] = (0, 0, 0, 0, -1, 0)
    return found


def scenes(count: int, size: int = 32, *, split: str = "train") -> Scenes:
    """Generate the first `count` scenes of a split, as pictures of `size` by `size` pixels.

    Scene `i` of a split does not depend on `count`, and another size shows the same scene at
    another resolution (with other noise). The splits share no random numbers. Raises ValueError
    unless count >= 1, 16 <= size <= 256, and split is "train" or "test".

    >>> batch = scenes(4, size=32)
    >>> batch.images.shape, batch.labels.shape, batch.masks.shape, batch.maps.shape
    ((4, 3, 32, 32), (4,), (4, 32, 32), (4, 3, 32, 32))
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    if not 16 <= size <= 256:
        raise ValueError(f"size is {size}; it must be from 16 to 256")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(map(repr, SPLITS))}")
    # Two streams, both read scene by scene; 256 keeps them apart from rgkit.method.laws.
    keys = [np.array([0, 256 + 2 * SPLITS.index(split) + k], np.uint64) for k in range(2)]
    layout, grain = (np.random.Generator(np.random.Philox(key=key)) for key in keys)
    step = max(1, 2**15 // size**2)  # few enough pixels for the temporaries to stay in cache
    parts = list[Scenes]()
    for start in range(0, count, step):
        own = min(step, count - start)
        noise = grain.standard_normal((own, 3, size, size)).astype(np.float32)
        parts.append(_paint(layout.random((own, 6, 16)), noise))
    return Scenes(*map(np.concatenate, zip(*parts, strict=True)))
