"""Profiles: how much a notebook measures, from a smoke test to the paper's own setting.

| profile | for | images are classified | pixels are labelled | pictures are made |
|---|---|---|---|---|
| smoke | CI: does every line run? | digits, tiny ResNet-8 | scenes, PSPNet-18 | scenes, 16 px |
| quick | a laptop: is the shape there? | 20,000 of CIFAR-10 | CamVid, PSPNet-18 | maps, 64 px |
| short | an hour of a GPU | CIFAR-10, the paper's network | CamVid, PSPNet-50 | maps, 256 px |
| paper | the paper's own setting | CIFAR-10, ResNet-34 | VOC 2012, PSPNet-101 | maps, 256 px |
| best | reading: the highest whose runs are all recorded, or else most whole seeds | | | |
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rgkit.method.spec import nearest
from rgkit.runs.config import Classification, ConfigError, Segmentation, Trained, Translation
from rgkit.runs.grid import Cell, Grid, cross
from rgkit.runs.records import Store

NAMES = ("smoke", "quick", "short", "paper")
Axes = Mapping[str, Iterable[Any]]
MOST_SEEDS = 10_000
SEEDS = {"smoke": 2, "quick": 5, "short": 3, "paper": 3}


@dataclass(frozen=True)
class Sizes:
    """How much a task measures in each profile.

    Attributes
    ----------
    plain : the run whose settings hold unless a profile has others
    profiles : what each has on top; the last one, "paper", has nothing
    embedded : what `quick` becomes where its data are neither recorded nor at hand
    held : training images held out where a setting is to be chosen on them
    missing : what a page says where they are not
    """

    plain: Trained
    profiles: dict[str, dict[str, Any]]
    embedded: dict[str, Any]
    held: Mapping[str, int]
    missing: str

    @property
    def here(self) -> bool:
        """Whether the data of `quick` are at hand."""
        return self.plain.replace(**self.profiles["quick"]).source.available()


IMAGES = Sizes(
    Classification(),
    {
        "smoke": {
            "data": "digits", "images": 256, "model": "resnet8(4)", "epochs": 2, "batch": 32,
            "augment": "crop",
        },
        "quick": {"images": 20_000, "model": "resnet8(16)", "epochs": 10},
        "short": {"epochs": 30},
    },
    {"data": "digits", "images": 0, "augment": "crop"},
    {"smoke": 128, "quick": 5_000, "short": 5_000, "paper": 5_000, "embedded": 300},
    "embedded data, because CIFAR-10 is not at hand (rgkit data get cifar10)",
)  # fmt: skip
PICTURES = Sizes(
    Segmentation(),
    {
        "smoke": {
            "data": "scenes", "images": 24, "size": 16, "model": "pspnet('resnet18', 4)",
            "epochs": 2, "batch": 8,
        },
        "quick": {
            "data": "camvid", "size": 48, "model": "pspnet('resnet18', 16)", "epochs": 20,
            "batch": 8,
        },
        "short": {"data": "camvid", "size": 360, "model": "pspnet('resnet50')", "epochs": 60},
    },
    {"data": "scenes", "size": 32},
    {"smoke": 20, "quick": 60, "short": 60, "paper": 200, "embedded": 60},
    "embedded scenes, because CamVid is not at hand (SegNet's layout, under RGKIT_DATA)",
)  # fmt: skip
# At `quick` the networks keep their proportions to the picture: six levels for 64 pixels, and 16x16
# judgements that each see a third of its width, as those of RG's code do at 256.
PAIRS = Sizes(
    Translation(),
    {
        "smoke": {
            "data": "scenes", "images": 24, "size": 16, "model": "unet(3, 4)",
            "judge": "halving(2, 4)", "epochs": 2, "batch": 8,
        },
        "quick": {
            "data": "maps-200", "size": 64, "model": "unet(6, 16)", "judge": "halving(2, 16)",
            "epochs": 20, "batch": 8,
        },
        "short": {"data": "maps-200", "epochs": 40, "batch": 8},
    },
    # Of scenes only this direction can be learned: the colours of a label map tell no picture.
    {"data": "scenes", "direction": "a_to_b"},
    {"smoke": 20, "quick": 100, "short": 100, "paper": 100, "embedded": 60},
    "embedded scenes, because maps is not at hand (pix2pix's folder, under RGKIT_DATA)",
)  # fmt: skip


def check(profile: str) -> str:
    """Return the profile; ConfigError names an unknown one and the nearest right one."""
    if profile not in (*NAMES, "best"):
        raise ConfigError(f"profile={profile!r} given{nearest(profile, [*NAMES, 'best'])}")
    return profile


def whole_seeds(cells: Iterable[Cell], store: Store) -> tuple[list[int], int]:
    """Return the seeds of which every run is recorded, and how many seeds there are."""
    seeded = [cell for cell in cells if "seed" in cell.labels]
    seeds = {cell.labels["seed"] for cell in seeded}
    missing = {cell.labels["seed"] for cell in seeded if not store.has(cell.config)}
    return sorted(seeds - missing), len(seeds)


def how_many(whole: int, planned: int) -> str:
    """Return in words how much of a plan is recorded, and how to get the rest.

    >>> how_many(3, 12)
    '3 of 12 seeds are recorded; rgkit run --plan trains the others'
    """
    return f"{whole} of {planned} seeds are recorded; rgkit run --plan trains the others"


def pick(
    options: dict[str, tuple[Cell, ...]], profile: str, store: Store
) -> tuple[str, str, tuple[Cell, ...]]:
    """Return the profile to show, a note on why, and its runs.

    At "best" it is the highest that is recorded, or else that with the most whole seeds; fewer than
    two are no result, since an interval takes two.
    """
    if check(profile) != "best":
        return profile, "", options[profile]
    highest = NAMES[:0:-1]
    for name in highest:
        if all(store.has(cell.config) for cell in options[name]):
            return name, "", options[name]
    found = {name: whole_seeds(options[name], store) for name in highest}
    name = max(highest, key=lambda one: len(found[one][0]))
    seeds, planned = found[name]
    if len(seeds) > 1:
        shown = tuple(cell for cell in options[name] if cell.labels.get("seed") in seeds)
        return name, how_many(len(seeds), planned), shown
    words = "no profile is recorded for these parameters yet: -p profile quick measures one"
    return "smoke", words, options["smoke"]


def classification(profile: str, **options: Any) -> Grid:
    """Return the grid of a classification notebook; for the options see `trained`.

    Examples
    --------
    >>> grid = classification("smoke", momentum=[0.5], arm=["plain", "RG"])
    >>> len(grid), grid[0].config.data
    (4, 'digits')
    >>> tuning = classification("smoke", like=grid, lr=[0.1, 0.2], seed=[7], validation=True)
    >>> len(tuning), tuning[0].config.validation
    (2, 128)
    """
    return trained(IMAGES, profile, **options)


def segmentation(profile: str, **options: Any) -> Grid:
    """Return the grid of a notebook whose networks label pixels; for the options see `trained`.

    >>> grid = segmentation("smoke", arm=["plain", "RG"])
    >>> len(grid), grid[0].config.data, grid[0].config.task
    (4, 'scenes', 'segmentation')
    """
    return trained(PICTURES, profile, **options)


def translation(profile: str, **options: Any) -> Grid:
    """Return the grid of a notebook whose networks make pictures; for the options see `trained`.

    >>> grid = translation("smoke", arm=["plain", "RG"])
    >>> len(grid), grid[0].config.data, grid[0].config.task
    (4, 'scenes', 'translation')
    """
    return trained(PAIRS, profile, **options)


def check_seeds(seeds: int | Mapping[str, int]) -> None:
    """Require whole numbers of seeds, for profiles that there are; ConfigError says what is wrong.

    >>> check_seeds({"quick": 12, "short": 0})
    """
    numbers = seeds if isinstance(seeds, Mapping) else {"best": seeds}
    for profile, number in numbers.items():
        check(profile)
        if not isinstance(number, int) or not 0 <= number <= MOST_SEEDS:
            wanted = f"from 1 to {MOST_SEEDS:,}, or 0 for as many as the profile has"
            raise ConfigError(f"seeds={seeds} given; {wanted}")


def trained(
    sizes: Sizes,
    profile: str,
    *,
    seeds: int | Mapping[str, int] = 0,
    epochs: int = 0,
    priority: int = 50,
    base: dict[str, Any] | None = None,
    per_profile: dict[str, dict[str, Any]] | None = None,
    validation: bool = False,
    like: Grid | None = None,
    vary: Sequence[Axes] | Mapping[str, Sequence[Axes]] = (),
    store: Store | None = None,
    **axes: Iterable[Any],
) -> Grid:
    """Return the grid of a notebook that trains.

    Parameters
    ----------
    sizes : of the task
    profile : str
        One of smoke, quick, short, paper, or best.
    seeds : int, or one for each profile by name
        Paired seeds 0, 1, ...; 0 means as many as `SEEDS` gives the profile.
    epochs : length of every run; 0 means as long as the profile has it
    priority : int
        `rgkit run --plan` takes grids of a lower number first.
    base : settings that hold in every profile, see `rgkit.runs.config`
    per_profile : settings that hold in one, on top; "embedded" is `quick` without its data
    validation : bool
        Hold training images out, for choosing a setting on them.
    like : Grid, optional
        The page's main grid: this one has its profile, and where that was found by "best", it
        shows what is recorded and calls the rest missing, without training it.
    vary : sequence of axes, or one for each profile by name, "embedded" among them
        One setting after another: for each, `axes` with these in the place of their namesakes.
    axes : what is crossed, such as ``momentum=[0.5, 0.9]``; ``seed`` may be among them

    Raises ConfigError for a negative number of seeds, and for an axis with nothing to cross.
    """
    store = store or Store()
    lists = {name: list(values) for name, values in axes.items()}
    for name, values in lists.items():
        if not values or any(values.count(value) > 1 for value in values):
            raise ConfigError(f"{name}={values!r} given; one value or more, each once")
    check_seeds(seeds)
    given, every = lists.pop("seed", None), (*NAMES, "embedded")
    varied = vary if isinstance(vary, Mapping) else dict.fromkeys(every, vary)
    if set(varied) != set(every):
        raise ConfigError(f"vary={sorted(varied)} given by profile; give {', '.join(every)}")
    own = per_profile or {}

    def cells(name: str) -> tuple[Cell, ...]:
        main = "quick" if name == "embedded" else name
        changes = sizes.profiles.get(main, {}) | (base or {}) | own.get(main, {})
        if name == "embedded":
            changes |= sizes.embedded | own.get(name, {})
        changes |= {"validation": sizes.held[name]} if validation else {}
        changes |= {"epochs": epochs} if epochs else {}
        many = seeds.get(main, 0) if isinstance(seeds, Mapping) else seeds
        crossed = {**lists, "seed": given or range(many or SEEDS[main])}
        return cross(sizes.plain.replace(**changes), crossed, priority, varied[name] or [{}])

    names = (*dict.fromkeys([*lists, *itertools.chain(*itertools.chain(*varied.values()))]), "seed")
    if like is not None:
        here = like.profile != "quick" or sizes.here
        return Grid(cells(like.profile), like.profile, "", names, train=here and profile != "best")
    options = {name: cells(name) for name in NAMES}
    name, note, chosen = pick(options, profile, store)
    whole = all(store.has(cell.config) for cell in chosen)
    if name == "quick" and not whole and not sizes.here:
        chosen, name = cells("embedded"), "embedded"
        note = f"{sizes.missing} and not all of these runs are recorded"
    return Grid(chosen, name, note, names)


def no_runs(profile: str, kind: str = "simulation") -> Grid:
    """Return the empty grid of a notebook that trains nothing.

    Parameters
    ----------
    kind : "simulation", or "audit" for one that computes with printed numbers

    >>> no_runs("best").profile
    'simulation'
    """
    return Grid((), "smoke" if check(profile) == "smoke" else kind)
