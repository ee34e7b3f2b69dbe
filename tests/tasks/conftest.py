"""What the tests of several tasks share."""

import dataclasses
from collections.abc import Iterator

import pytest

from rgkit.data import pictures
from rgkit.train.loop import on_device


@pytest.fixture(scope="module")
def few_test_pictures() -> Iterator[None]:
    """Runs are measured on 40 test pictures, not on 200: most tests do not ask how well they do."""
    with pytest.MonkeyPatch.context() as patch:
        for whole in (pictures.load_masks, pictures.load_pairs):

            def load(*given, whole=whole):
                found = whole(*given)
                few = type(found.test)(*(part[:40] for part in found.test))
                return dataclasses.replace(found, test=few)

            patch.setattr(pictures, whole.__name__, load)
        on_device.cache_clear()
        yield
    on_device.cache_clear()
