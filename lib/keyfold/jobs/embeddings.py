"""The vectors that a network gives to the values of its features, as a table: by feature and bucket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from keyfold.errors import ConfError, DataError
from keyfold.features.kinds.text import FIRST
from keyfold.features.spec import Spec
from keyfold.models.torch import Network, require_torch
from keyfold.tracking import registry

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

FEATURE = "feature"


def write_embeddings(run: "Run") -> None:
    """Writes the champion's vectors into `<name>.embeddings` (ConfError without a network, DataError without a champion)."""
    conf = run.conf
    if conf.train is None or conf.train.model.torch is None:
        raise ConfError("embeddings are a network's: name one in train.model.torch")
    require_torch()
    name = conf.train.register_as or conf.name
    with run.job("embeddings") as job:
        version = registry.champion_of(name)
        if version is None:
            raise DataError(f"`{name}` has no champion; run `train` first")
        job.run_id = run.identity("embeddings", model=version.tags.get("keyfold.manifest"))
        job.inputs, table = {"model": str(version)}, run.used("embeddings")
        run.once(
            job,
            lambda: _known(table, job.run_id),
            lambda: _written(run, job.run_id, version, table),
            lambda _: f"the vectors of {version} are in `{table.name}`",
            lambda rows: {"kept": rows},
        )
        run.facts |= {"model": str(version), "embeddings": table.name}


def _known(table: "Table", run_id: str) -> int | None:
    """How many vectors the last commit wrote, where it was this run's and no other has changed the table since."""
    last = next(table.commits(), None) if table.exists() else None
    mine = last is not None and last.metadata.get("run_id") == run_id and table.version().version == last.version
    return last.rows if last is not None and mine else None


def _written(run: "Run", run_id: str, version: registry.Registered, table: "Table") -> int:
    with run.step("write") as step, tempfile.TemporaryDirectory() as folder:
        at = registry.fetch_model(version, Path(folder))
        if not (at / "network.json").is_file():
            raise DataError(f"{version} is no network, so it has no vectors; run `train` first")
        rows = embedding_vectors(Network.load(at, Spec.from_json((at / "spec.json").read_text("utf-8"))))
        step.rows = rows.num_rows
        counts = {entry["values"]: entry["counts"] for entry in rows[FEATURE].value_counts().to_pylist()}
        former = [row[0] for row in table.read().select(FEATURE).distinct().collect()] if table.exists() else []
        frame = run.spark.createDataFrame(rows).repartition(1)
        table.replace(frame, FEATURE, dict.fromkeys(former, 0) | counts, job="embeddings", run_id=run_id, model=str(version))
    return int(rows.num_rows)


def embedding_vectors(network: Network) -> pa.Table:
    """By `feature` (string) and `bucket` (int) the `vector` (list of float), and the `value` that has the bucket alone (string, or NULL).

    DataError where the network has none.
    """
    parts = [*_parts(network)]
    if not parts:
        raise DataError("the network has no feature of indices, so it has no vectors")
    tables = []
    for feature, weight in parts:
        vocabulary = network.spec.features[feature][1].get("vocabulary") or []
        values = [None] * FIRST + [str(value) for value in vocabulary]
        columns = {
            FEATURE: pa.array([feature] * len(weight)), "bucket": pa.array(range(len(weight)), pa.int32()),
            "value": pa.array((values + [None] * len(weight))[: len(weight)], pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(weight.reshape(-1)), weight.shape[1]).cast(pa.list_(pa.float32())),
        }  # fmt: skip
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _parts(network: Network) -> "Iterator[tuple[str, npt.NDArray[np.float32]]]":
    """By feature its rows of the network's tables."""
    from keyfold.models.networks.parts import Vectors, Words

    for part in network.module.modules():
        if isinstance(part, Vectors):
            weight = part.table.weight.detach().numpy()
            yield from ((name, weight[begin : begin + many]) for name, (begin, many) in part.begins.items())
        elif isinstance(part, Words) and (joined := network.conf.network.joined) and joined.text:
            yield joined.text.feature, part.table.weight.detach().numpy()
