"""Make ``import torchvision`` work beside a CPU-only torch.

The registry's torchvision is linked against CUDA. Beside a torch without CUDA its operators cannot
be loaded and the import fails with "operator torchvision::nms does not exist", although
networks, transforms and data sets need none of them. Declaring the operators first is enough.
Beside a matching torchvision this module does nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import numpy as np
import torch

# The operators that torchvision's Python side mentions while it is imported.
OPERATORS = ("nms", "qnms")
_declared: list[torch.library.Library] = []  # a Library takes its operators along when it dies


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy non-maximum suppression, boxes [N, 4] as x1, y1, x2, y2; indices kept, best first."""
    order = scores.argsort(descending=True, stable=True)
    # In NumPy: a detector asks for many small sets, and a call of torch costs ten times as much.
    x1, y1, x2, y2 = boxes.detach()[order].T.cpu().numpy()
    area = (x2 - x1) * (y2 - y1)
    left, keep = np.arange(len(order)), list[int]()
    while left.size:
        best, left = left[0], left[1:]
        keep.append(best)
        wide = np.minimum(x2[left], x2[best]) - np.maximum(x1[left], x1[best])
        high = np.minimum(y2[left], y2[best]) - np.maximum(y1[left], y1[best])
        shared = wide.clip(min=0) * high.clip(min=0)
        left = left[shared / (area[left] + area[best] - shared) <= iou_threshold]
    return order[torch.tensor(keep, dtype=torch.int64, device=order.device)]


def _import_with_declared_operators() -> ModuleType:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]  # what the failed import left behind
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", _nms, "CPU")
    _declared.append(library)
    found = importlib.import_module("torchvision")
    boxes = importlib.import_module("torchvision.ops.boxes")
    setattr(boxes, "_assert_has_ops", lambda: None)  # noqa: B010  nms is there now
    return found


def import_torchvision() -> ModuleType:
    """Return the torchvision module, with missing operators declared where that is needed.

    Raises
    ------
    ImportError, RuntimeError
        What torchvision's own import raised, if torch has CUDA or something else is wrong.

    Examples
    --------
    >>> import_torchvision().__name__
    'torchvision'
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if torch.version.cuda is not None or "torchvision::nms" not in str(error):
            raise
        return _import_with_declared_operators()
