"""The tables of a use case: their names, what each is for, and that no two uses share one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from keyfold.conf import Conf

OWN = "keyfold"  # the schema of keyfold's own tables
RESERVED = ("rows", "quarantine", "features", "examples", "predictions", "images", "embeddings")


class Use(NamedTuple):
    """What a table is for: its name, the purpose that it keeps as a property, and the option of the conf that names it."""

    name: str
    purpose: str
    option: str


def uses(conf: "Conf") -> dict[str, Use]:
    """By kind the tables that a use case reads as its rows or writes; an action's kind is `action <name>`."""
    own = conf.name
    rows = conf.data.table or f"{own}.rows"
    predictions = conf.score.into or f"{own}.predictions"
    images = (conf.images and conf.images.into) or f"{own}.images"
    catalog = rows.split(".")[:-2]
    found = {
        "rows": Use(rows, "rows", "data.table"),  # several use cases may share it
        "quarantine": Use(_beside(rows, "quarantine"), "quarantine", "data.table"),
        "features": Use(".".join([*catalog, own, "features"]), f"features of {own}", "name"),
        "examples": Use(f"{own}.examples", f"examples of {own}", "name"),
        "predictions": Use(predictions, f"predictions of {own}", "score.into"),
        "images": Use(images, f"images of {own}", "images.into"),
        "embeddings": Use(f"{own}.embeddings", f"embeddings of {own}", "name"),
    }
    for name in conf.score.actions:
        found[f"action {name}"] = Use(_beside(predictions, name), f"action {name} of {own}", f"score.actions.{name}")
    return found


def faults(conf: "Conf") -> Iterator[str]:
    """Why tables of a conf cannot have the names that it gives them, a sentence each."""
    if conf.name.casefold() == OWN:
        yield f"name: `{OWN}` is kept for keyfold's own tables; choose another"
    taken = {_folded(f"{conf.name}.{kind}"): kind for kind in RESERVED}
    for kind, use in uses(conf).items():
        name = _folded(use.name)
        other = taken.setdefault(name, kind)
        if other != kind:
            yield f"{use.option}: `{use.name}` would be the table of {_said(other)} and of {_said(kind)}; choose another name"
        if name.split(".")[-2] == OWN and kind in ("rows", "predictions", "images") and conf.name.casefold() != OWN:
            yield f"{use.option}: schema `{OWN}` is kept for keyfold's own tables; choose another"


def _said(kind: str) -> str:
    return kind if kind in RESERVED else f"the {kind.replace(' ', ' `')}`"


def _beside(table: str, name: str) -> str:
    """A table in the same schema."""
    return f"{table.rpartition('.')[0]}.{name}"


def _folded(name: str) -> str:
    """Catalogs tell no capitals, and `spark_catalog` is the one that a name without a catalog is in."""
    return name.casefold().removeprefix("spark_catalog.")
