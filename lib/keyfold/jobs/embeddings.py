"""Writes the embedding vectors of a network into a table, by feature and bucket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from keyfold.errors import ConfError, DataError
from keyfold.features.kinds.text import FIRST
from keyfold.features.spec import Spec
from keyfold.models.torch import Network, require_torch
from keyfold.tracking import registry, tags

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from keyfold.engine.tables import Table
    from keyfold.runtime.run import Run

FEATURE = "feature"


def write_embeddings(run: "Run") -> None:
    """Writes the champion's vectors into `<name>.embeddings` (ConfError if the conf has no network, DataError without a champion)."""
    conf = run.conf
    if conf.train is None or conf.train.model.torch is None:
        raise ConfError("embeddings need a network: name one in train.model.torch")
    require_torch()
    name = conf.train.register_as or conf.name
    with run.job("embeddings") as job:
        version = registry.champion_of(name)
        if version is None:
            raise DataError(f"`{name}` has no champion; run `train` first")
        job.run_id = run.identity("embeddings", model=version.tags.get(tags.MANIFEST))
        job.inputs, table = {"model": str(version)}, run.used("embeddings")
        run.once(
            job,
            lambda: _count_written(table, job.run_id),
            lambda: _write_vectors(run, job.run_id, version, table),
            lambda _: f"the vectors of {version} are in `{table.name}`",
            lambda rows: {"kept": rows},
        )
        job.facts |= {"model": str(version), "embeddings": table.name}


def _count_written(table: "Table", run_id: str) -> int | None:
    """Number of vectors that the run wrote, if its commit is the table's last; else None."""
    last = next(table.commits(), None) if table.exists() else None
    if last is None or last.metadata.get("run_id") != run_id or table.version().version != last.version:
        return None
    return last.rows


def _write_vectors(run: "Run", run_id: str, version: registry.Registered, table: "Table") -> int:
    with run.step("write") as step, tempfile.TemporaryDirectory() as folder:
        path = registry.fetch_model(version, Path(folder))
        if not (path / "network.json").is_file():
            raise DataError(f"{version} is not a network, so it has no vectors; run `train` first")
        rows = embedding_vectors(Network.load(path, Spec.from_json((path / "spec.json").read_text("utf-8"))))
        step.rows = rows.num_rows
        counts = {entry["values"]: entry["counts"] for entry in rows[FEATURE].value_counts().to_pylist()}
        former = [row[FEATURE] for row in table.frame().select([FEATURE]).distinct().rows()] if table.exists() else []
        values = dict.fromkeys(former, 0) | counts
        table.replace(run.engine.frame(rows), FEATURE, values, job="embeddings", run_id=run_id, model=str(version))
    return int(rows.num_rows)


def embedding_vectors(network: Network) -> pa.Table:
    """One row per feature and bucket: `feature` (string), `bucket` (int), `value` (string) and `vector` (list of float).

    `value` is NULL unless the bucket holds this value only. DataError if the network has no embedded feature.
    """
    weights = [*_weights(network)]
    if not weights:
        raise DataError("the network has no feature by index, so it has no vectors")
    tables = []
    for feature, weight in weights:
        vocabulary = network.spec.features[feature][1].get("vocabulary") or []
        values = [None] * FIRST + [str(value) for value in vocabulary]
        columns = {
            FEATURE: pa.array([feature] * len(weight)), "bucket": pa.array(range(len(weight)), pa.int32()),
            "value": pa.array((values + [None] * len(weight))[: len(weight)], pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(weight.reshape(-1)), weight.shape[1]).cast(pa.list_(pa.float32())),
        }  # fmt: skip
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _weights(network: Network) -> "Iterator[tuple[str, npt.NDArray[np.float32]]]":
    """Each embedded feature with its rows of the network's tables (buckets, size of a vector)."""
    from keyfold.models.networks.parts import Vectors, Words

    for part in network.module.modules():
        if isinstance(part, Vectors):
            weight = part.table.weight.detach().numpy()
            yield from ((name, weight[begin : begin + count]) for name, (begin, count) in part.begins.items())
        elif isinstance(part, Words) and (joined := network.conf.network.joined) and joined.text:
            yield joined.text.feature, part.table.weight.detach().numpy()
