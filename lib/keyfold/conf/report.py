"""The section `report`: what the page shows besides."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from keyfold.core.section import Section
from keyfold.errors import ConfError, suggestion
from keyfold.features.kind import FeatureInput, Kind


def remaining_features(kinds: Mapping[str, Kind], without: Sequence[str]) -> list[str]:
    """The features that are left without some (ConfError for an unknown name, one that another takes, or where none is left)."""
    for name in without:
        if name not in kinds:
            raise ConfError(f"there is no feature `{name}`{suggestion(name, kinds)}")
    kept = [name for name in kinds if name not in without]
    for name in kept:
        for other in kinds[name].inputs():
            if isinstance(other, FeatureInput) and other.feature in without:
                raise ConfError(f"feature `{name}` takes `{other.feature}`; leave out both, or neither")
    if not kept:
        raise ConfError("no feature would be left")
    return kept


class Report(Section):
    """What the page shows besides."""

    slices: list[str] = Field(default_factory=list, description="columns by whose values the metrics are told apart")
    truth: str | None = Field(None, description="a column with the known probability, as made-up data has it")
    without: list[Annotated[list[str], Field(min_length=1)]] = Field(
        default_factory=list, description="features to leave out, together, to see what they gain: the model is trained once more"
    )
    collisions: bool = Field(True, description="count which hashed values share a bucket, in two passes over the train fold")
