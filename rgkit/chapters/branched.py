"""Which arms a network in branches is held against, for several networks at once (CSGD Table 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from rgkit.runs.config import ConfigError

EMBEDDED = {"smoke": ["digits"], "embedded": ["digits"]}  # whatever data a notebook is asked for


def arms(branches: int, rate: float) -> dict[str, str]:
    """Return the arms of a network by the part that each plays.

    Parameters
    ----------
    branches : K
    rate : of R, above 0

    Returns
    -------
    the plain network, the same in branches whose R learns, with R as it began ("R frozen"), the
    plain network with channels for K times the arithmetic ("wider"), and K plain networks that
    share nothing ("copies")

    >>> list(arms(2, 0.001).values())
    ['plain', 'gc(2, 0.001)', 'gc(2, 0)', 'wider(2)', 'side_by_side(2)']
    """
    if not rate > 0:
        raise ConfigError(f"rate={rate!r} given; a positive number, as 0 is the arm 'R frozen'")
    return {
        "plain": "plain",
        "branches": f"gc({branches}, {rate:g})",
        "R frozen": f"gc({branches}, 0)",
        "wider": f"wider({branches})",
        "copies": f"side_by_side({branches})",
    }


def turns(
    networks: Mapping[str, Sequence[str]], parts: Sequence[Mapping[str, str]], data: Iterable[str]
) -> dict[str, list[dict[str, list[Any]]]]:
    """Return `vary` of `rgkit.classification`: the axes model, arm and data for every profile.

    Parameters
    ----------
    networks : by profile, a plain network for each of `parts`; quick's are those of embedded data
    parts : from `arms`
    data : names of data sets

    Raises ConfigError, naming the profile, for more or fewer networks than `parts`.

    >>> nets = {"smoke": ["resnet8(4)"], "quick": ["resnet8(8)"]}
    >>> found = turns(nets, [arms(2, 0.1)], ["scenes"])
    >>> found["quick"][0]["model"], found["quick"][0]["data"], found["smoke"][0]["data"]
    (['resnet8(8)'], ['scenes'], ['digits'])
    """
    found = {}
    for profile, models in (dict(networks) | {"embedded": networks["quick"]}).items():
        if len(models) != len(parts) or len({*models}) < len(models):
            raise ConfigError(
                f"networks={list(models)} given at {profile}; {len(parts)} different ones, "
                "for as many numbers of branches"
            )
        sets = EMBEDDED.get(profile, list(data))
        found[profile] = [
            {"model": [model], "arm": list(part.values()), "data": sets}
            for model, part in zip(models, parts, strict=True)
        ]
    return found


def by_part(runs: pd.DataFrame, parts: Iterable[Mapping[str, str]]) -> pd.DataFrame:
    """Return runs with the parts that their arms play in the column ``arm``.

    >>> by_part(pd.DataFrame({"arm": ["gc(3, 0)", "plain"]}), [arms(3, 0.1)])["arm"].tolist()
    ['R frozen', 'plain']
    """
    names = {arm: name for part in parts for name, arm in part.items()}
    return runs.assign(arm=runs["arm"].replace(names))
