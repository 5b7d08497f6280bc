"""The tables of a use case: their names, what each is for, and that no two uses share one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyfold.engine.tables import TableUse

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

OWN = "keyfold"  # the schema of keyfold's own tables
RESERVED = ("rows", "quarantine", "features", "examples", "predictions", "images", "embeddings")
# Columns that keyfold writes beside the key.
PREDICTED = (
    "period", "status", "reason", "fold", "prediction", "probability", "model", "model_version", "spec_digest", "run_id", "scored_at",
)  # fmt: skip
MADE = ("period", "status", "reason", "width", "height", "bytes", "sha256", "path", "image", "run_id", "made_at")


def table_use(conf: "Conf", kind: str) -> TableUse:
    """The table of a kind that a use case reads as its rows or writes; an action's kind is `action <name>`."""
    if kind in ("rows", "quarantine"):  # several use cases may share them
        rows = conf.data.table or f"{conf.name}.rows"
        return TableUse(rows if kind == "rows" else _beside(rows, kind), kind, "data.table")
    if kind == "features":
        catalog = table_use(conf, "rows").name.split(".")[:-2]
        return TableUse(".".join([*catalog, conf.name, kind]), f"{kind} of {conf.name}", "name")
    if kind in ("examples", "embeddings"):
        return TableUse(f"{conf.name}.{kind}", f"{kind} of {conf.name}", "name")
    if kind == "images":
        return TableUse((conf.images and conf.images.into) or f"{conf.name}.images", f"images of {conf.name}", "images.into")
    predictions = conf.score.into or f"{conf.name}.predictions"
    if kind == "predictions":
        return TableUse(predictions, f"predictions of {conf.name}", "score.into")
    name = kind.removeprefix("action ")
    return TableUse(_beside(predictions, name), f"{kind} of {conf.name}", f"score.actions.{name}")


def table_name_faults(conf: "Conf") -> Iterator[str]:
    """Why tables of a conf cannot have the names that it gives them, a sentence each."""
    if conf.name.casefold() == OWN:
        yield f"name: `{OWN}` is kept for keyfold's own tables; choose another"
    taken = {_folded(f"{conf.name}.{kind}"): kind for kind in RESERVED}
    for kind in (*RESERVED, *(f"action {name}" for name in conf.score.actions)):
        of = table_use(conf, kind)
        name = _folded(of.name)
        other = taken.setdefault(name, kind)
        if other != kind:
            yield f"{of.option}: `{of.name}` would be the table of {_said(other)} and of {_said(kind)}; choose another name"
        if name.split(".")[-2] == OWN and kind in ("rows", "predictions", "images") and conf.name.casefold() != OWN:
            yield f"{of.option}: schema `{OWN}` is kept for keyfold's own tables; choose another"


def key_faults(conf: "Conf") -> Iterator[str]:
    """Why columns of the key cannot have their names in the tables that the conf writes, a sentence each."""
    tables = {"predictions": PREDICTED if conf.train else (), "images": MADE if conf.images else ()}
    yield from (taken(name, table) for table, columns in tables.items() for name in conf.data.key if name.casefold() in columns)


def taken(name: str, table: str) -> str:
    """What to say of a column of the key that a table has as a column of its own."""
    other = f"data.columns: {{{name}_: {{from: {name}, type: string}}}}"
    return f"data.key: `{name}` is a column of the table of {table}; give it another name there, as in {other}"


def _said(kind: str) -> str:
    return kind if kind in RESERVED else f"the {kind.replace(' ', ' `')}`"


def _beside(table: str, name: str) -> str:
    """A table in the same schema."""
    return f"{table.rpartition('.')[0]}.{name}"


def _folded(name: str) -> str:
    """Catalogs tell no capitals, and `spark_catalog` is the one that a name without a catalog is in."""
    return name.casefold().removeprefix("spark_catalog.")
