"""The tables of a use case: their names and uses; no two uses share a table."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from keyfold.engine.tables import TableUse

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf

OWN = "keyfold"  # schema of keyfold's own tables
RESERVED = ("rows", "quarantine", "features", "examples", "predictions", "images", "embeddings")
# Columns that keyfold writes besides the key: before and after those of the answer.
SCORED = ("period", "status", "reason", "fold"), ("model", "model_version", "spec_digest", "run_id", "scored_at")
PREDICTED = (*SCORED[0], "prediction", "probability", "probabilities", "band", "low", "high", *SCORED[1])
MADE = ("period", "status", "reason", "width", "height", "bytes", "sha256", "path", "image", "run_id", "made_at")


def table_use(conf: "Conf", kind: str) -> TableUse:
    """The table of a kind: one of RESERVED, or `action <name>`."""
    if kind in ("rows", "quarantine"):  # shared by all use cases that read these rows
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
    """One sentence for each table name that is reserved or already used in the conf."""
    if conf.name.casefold() == OWN:
        yield f"name: `{OWN}` is reserved for keyfold's own tables; choose another"
    kinds = {_folded(f"{conf.name}.{kind}"): kind for kind in RESERVED}
    for kind in (*RESERVED, *(f"action {name}" for name in conf.score.actions)):
        use = table_use(conf, kind)
        name = _folded(use.name)
        other = kinds.setdefault(name, kind)
        if other != kind:
            yield f"{use.option}: `{use.name}` would be the table of {_noun(other)} and of {_noun(kind)}; choose another name"
        if name.split(".")[-2] == OWN and kind in ("rows", "predictions", "images") and conf.name.casefold() != OWN:
            yield f"{use.option}: schema `{OWN}` is reserved for keyfold's own tables; choose another"


def key_faults(conf: "Conf") -> Iterator[str]:
    """One sentence for each key column that has the name of a column that keyfold adds to a table of the conf."""
    tables = {"predictions": PREDICTED if conf.train else (), "images": MADE if conf.images else ()}
    for table, columns in tables.items():
        yield from (key_name_fault(name, table) for name in conf.data.key if name.casefold() in columns)


def key_name_fault(name: str, table: str) -> str:
    """The sentence for a key column that has the name of a column that keyfold adds to a table."""
    renamed = f"data.columns: {{{name}_: {{from: {name}, type: string}}}}"
    return f"data.key: `{name}` is a column that keyfold adds to the table of {table}; rename yours, as in {renamed}"


def _noun(kind: str) -> str:
    return kind if kind in RESERVED else f"the {kind.replace(' ', ' `')}`"


def _beside(table: str, name: str) -> str:
    """A table in the same schema."""
    return f"{table.rpartition('.')[0]}.{name}"


def _folded(name: str) -> str:
    # Catalogs ignore case; a name without a catalog belongs to `spark_catalog`.
    return name.casefold().removeprefix("spark_catalog.")
