"""Pins, ranges and environments agree; torchvision imports beside any torch."""

import importlib
import re
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from rgkit.data import compat
from rgkit.data.compat import import_torchvision

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]
PINS = {canonicalize_name(name): Version(v) for name, _, v in (p.partition("==") for p in LINES)}


def ranges() -> list[Requirement]:
    """Return every requirement of pyproject.toml, its own extras left out."""
    extras = [text for group in PROJECT["optional-dependencies"].values() for text in group]
    found = [Requirement(text) for text in (*PROJECT["dependencies"], *extras)]
    return [one for one in found if one.name != PROJECT["name"]]


@pytest.mark.parametrize("requirement", ranges(), ids=str)
def test_every_range_holds_its_pin(requirement):
    pin = PINS.get(canonicalize_name(requirement.name))
    assert pin is not None, f"{requirement.name} has a range in pyproject.toml and no pin"
    assert pin in requirement.specifier


def test_constraints_are_exact_versions_and_nothing_else():
    for line in LINES:
        assert line.count("==") == 1, line
        assert not set(line) & set("@/+;<>~ "), f"{line}: a local version, an address or a range"
    assert len(PINS) == len(LINES), "a package is pinned twice"


def pythons() -> list[Version]:
    """Return the Pythons that the head of constraints.txt names, with patch releases to come."""
    pins = (ROOT / "constraints.txt").read_text()
    first, last = re.search(r"^# for Python 3\.(\d+) to 3\.(\d+)\.", pins, re.M).groups()
    assert PROJECT["requires-python"] == f">=3.{first}"
    minors = range(int(first), int(last) + 1)
    return [Version(f"3.{minor}.{patch}") for minor in minors for patch in range(30)]


def test_what_the_requirements_bring_along_is_pinned():
    named = {f"{one.major}.{one.minor}" for one in pythons()}  # papermill brings aiohttp to 3.12
    seen, todo = set(), [(canonicalize_name(r.name), frozenset(r.extras)) for r in ranges()]
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        assert name in PINS, f"{name} is brought along and has no pin"
        try:
            brought = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue  # a machine with a part of the environment checks that part
        for one in brought:
            places = [{"extra": e, "python_version": v} for e in ("", *extras) for v in named]
            if one.marker is None or any(one.marker.evaluate(place) for place in places):
                todo.append((canonicalize_name(one.name), frozenset(one.extras)))
    assert len(seen) > 100


def test_every_pin_admits_every_python_that_is_named():
    """Debian 12, whose Python is 3.11.2, gets no environment from a pin for 3.11.5 or newer."""
    refused, other = {}, []
    for name, pin in PINS.items():
        try:
            installed = metadata.metadata(name)
        except metadata.PackageNotFoundError:
            continue  # as above: the CUDA build's pins, say, are read where that build is
        if Version(installed["Version"]).public != pin.public:
            other.append(f"{name} {installed['Version']}, pinned {pin}")
            continue
        wanted = installed["Requires-Python"] or ""
        if out := [str(one) for one in pythons() if one not in SpecifierSet(wanted)]:
            refused[f"{name}=={pin}"] = f"wants {wanted}, so not {out[0]}"
    assert not refused
    if other:
        pytest.skip(f"the other pins hold, but these are not what is installed: {other}")


def test_conda_environment_leaves_every_version_to_pyproject_and_constraints():
    told = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = told["dependencies"]
    assert conda == ["python=3.11", "make", "pip"]
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert Version("3.11") in Requirement(f"python{PROJECT['requires-python']}").specifier


def test_citation_and_package_have_one_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]


# --- torchvision ----------------------------------------------------------------------------


def test_torchvision_works_after_the_import():
    import_torchvision()
    from torchvision.datasets import FakeData
    from torchvision.transforms import v2

    image, label = FakeData(size=2, image_size=(3, 12, 12), num_classes=2)[0]
    crop = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.CenterCrop(8)])
    assert crop(image).shape == (3, 8, 8)
    assert 0 <= crop(image).min() < crop(image).max() <= 1
    assert label in (0, 1)


def test_nothing_is_patched_where_the_plain_import_works(monkeypatch):
    plain = ModuleType("torchvision")
    monkeypatch.setattr(importlib, "import_module", lambda name: plain)
    monkeypatch.setattr(compat, "_import_with_declared_operators", lambda: pytest.fail("patched"))
    assert import_torchvision() is plain


@pytest.mark.parametrize(
    ("message", "cuda", "patched"),
    [
        ("operator torchvision::nms does not exist", None, True),
        ("operator torchvision::nms does not exist", "13.0", False),  # a mismatch to be seen
        ("something else is wrong", None, False),
    ],
)
def test_only_the_known_mishap_beside_a_cpu_torch_is_patched(monkeypatch, message, cuda, patched):
    def fail(name):
        raise RuntimeError(message)

    declared = ModuleType("torchvision")
    monkeypatch.setattr(importlib, "import_module", fail)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(compat, "_import_with_declared_operators", lambda: declared)
    if patched:
        assert import_torchvision() is declared
    else:
        with pytest.raises(RuntimeError, match=message):
            import_torchvision()


def slow_nms(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    """Keep a box if it overlaps no better one that was kept by more than the threshold."""

    def overlap(a, b):
        sides = [min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1)]
        shared = max(sides[0], 0) * max(sides[1], 0)
        areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        return shared / (sum(areas) - shared)

    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[i], boxes[j]) <= threshold for j in kept):
            kept.append(i)
    return kept


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
def test_nms_equals_its_slow_twin(threshold):
    draw = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=draw, dtype=torch.float64) * 10
    size = torch.rand(60, 2, generator=draw, dtype=torch.float64) * 5 + 0.5
    boxes, scores = torch.cat([corner, corner + size], 1), torch.rand(60, generator=draw)
    slow = slow_nms(boxes.tolist(), scores.tolist(), threshold)
    assert compat._nms(boxes, scores, threshold).tolist() == slow
    ops = importlib.import_module(f"{import_torchvision().__name__}.ops")
    assert ops.nms(boxes, scores.double(), threshold).tolist() == slow


def test_nms_of_nothing_is_nothing():
    assert compat._nms(torch.zeros(0, 4), torch.zeros(0), 0.5).tolist() == []


def test_workflows_name_the_actions_that_they_use_by_commit():
    """A tag can be moved to other code."""
    used = [
        line.partition("uses:")[2].strip()
        for path in ROOT.glob(".github/workflows/*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert len(used) > 8
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v[\d.]+", action), action
