"""A Feast repository over feature views: entities, sources and views as Python text, which reads the Delta tables in place.

Feast ignores when a row was known unless called with `filter_by_created_timestamp=True`, as `point_in_time.training_set` always does.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keyfold.core import sql
from keyfold.engine.session import DEFAULTS, EXTENSION, PINNED, delta_package
from keyfold.errors import DataError
from keyfold.feature_store import views

if TYPE_CHECKING:
    from keyfold.engine.tables import Table

TIME, CREATED = "event_timestamp", "created_timestamp"
# By Spark's type: Feast's type, the value type of an entity, and the type to cast to.
_TYPES = {
    "tinyint": ("Int32", "INT32", "int"), "smallint": ("Int32", "INT32", "int"), "int": ("Int32", "INT32", ""),
    "bigint": ("Int64", "INT64", ""), "float": ("Float32", "FLOAT", ""), "double": ("Float64", "DOUBLE", ""),
    "string": ("String", "STRING", ""), "boolean": ("Bool", "BOOL", ""), "binary": ("Bytes", "BYTES", ""),
    "date": ("UnixTimestamp", "UNIX_TIMESTAMP", "timestamp"), "timestamp": ("UnixTimestamp", "UNIX_TIMESTAMP", ""),
    "timestamp_ntz": ("UnixTimestamp", "UNIX_TIMESTAMP", "timestamp"), "decimal": ("String", "STRING", "string"),
}  # fmt: skip
_HEAD = '''"""Written by keyfold from the feature views {names}. Run `feast` again if they change."""

from datetime import timedelta

from feast import Entity, FeatureView, Field, ValueType
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.types import {types}
'''
_ENTITY = """
{name}_entity = Entity(name={name!r}, join_keys=[{name!r}], value_type=ValueType.{value})
"""
_VIEW = """
{name}_view = FeatureView(
    name={name!r},
    entities=[{entities}],
    schema=[
{fields}
    ],
    source=SparkSource(
        name={name!r},
        query={query!r},
        timestamp_field={time!r},
        created_timestamp_column={created!r},
    ),
    ttl=timedelta(microseconds={ttl}),
    owner={owner!r},
    description={description!r},
    tags={tags!r},
)
"""


def repository_files(tables: "Sequence[Table]", project: str) -> dict[str, str]:
    """The files of a repository, text by name. Raises DataError for a table that is not a view, and for names and types that Feast lacks."""
    entities: dict[str, str] = {}
    used: set[str] = set()
    texts = []
    for table in tables:
        view = views.view_description(table)
        types = _types(table, view, entities)
        used |= {type_ for type_, _, _ in types.values()}
        texts.append(_view(table, view, types))
    head = _HEAD.format(names=", ".join(table.name for table in tables), types=", ".join(sorted(used)))
    keys = "".join(_ENTITY.format(name=name, value=value) for name, value in entities.items())
    return {"feature_store.yaml": _store(project), "views.py": head + keys + "".join(texts)}


def _types(table: "Table", view: views.ViewDescription, entities: dict[str, str]) -> dict[str, tuple[str, str, str]]:
    schema = table.frame().types
    types = {}
    for name in (*view.entity, *view.features):
        if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in (TIME, CREATED):
            raise DataError(
                f"view `{table.name}`: Feast cannot take a column `{name}`: names are of letters, digits and _, and neither "
                f"{TIME} nor {CREATED}; rename it, or leave it out of view.features"
            )
        feast_type = _TYPES.get(schema[name].partition("(")[0])
        if feast_type is None:
            raise DataError(
                f"view `{table.name}`: Feast has no type for `{name}` ({schema[name]}); leave it out of view.features"
            )
        types[name] = feast_type
    for name in view.entity:
        if entities.setdefault(name, types[name][1]) != types[name][1]:
            raise DataError(f"view `{table.name}`: entity `{name}` is {schema[name]} here, and another type in a view before it")
    return types


def _view(table: "Table", view: views.ViewDescription, types: Mapping[str, tuple[str, str, str]]) -> str:
    columns = [
        f"CAST({sql.quote_identifier(c)} AS {to}) AS {sql.quote_identifier(c)}" if to else sql.quote_identifier(c)
        for c, (_, _, to) in types.items()
    ]
    columns.append(f"CAST({sql.quote_identifier(view.time)} AS TIMESTAMP) AS {TIME}")
    if view.known:
        columns.append(f"CAST({sql.quote_identifier(view.known)} AS TIMESTAMP) AS {CREATED}")
    present = " AND ".join(f"{sql.quote_identifier(c)} IS NOT NULL" for c in (*view.entity, view.time))
    return _VIEW.format(
        name=table.name.replace(".", "_"), entities=", ".join(f"{c}_entity" for c in view.entity),
        fields="\n".join(f"        Field(name={c!r}, dtype={type_})," for c, (type_, _, _) in types.items()),
        query=f"SELECT {', '.join(columns)} FROM {table.at} WHERE {present}", time=TIME, created=CREATED if view.known else "",  # noqa: S608
        ttl=view.ttl or 0, owner=view.owner, description=view.description, tags={"keyfold.view": view.digest},
    )  # fmt: skip


def _store(project: str) -> str:
    import yaml

    spark = {"spark.master": "local[*]", "spark.jars.packages": delta_package(), "spark.sql.extensions": EXTENSION}
    store = {
        "project": project, "provider": "local", "registry": "registry.db", "entity_key_serialization_version": 3,
        "online_store": {"type": "sqlite", "path": "online.db"},
        "offline_store": {"type": "spark", "spark_conf": spark | DEFAULTS | PINNED},
    }  # fmt: skip
    return yaml.safe_dump(store, sort_keys=False)
