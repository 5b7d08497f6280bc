"""Reads labels that were saved with a model."""

from dataclasses import fields
from typing import Any

from keyfold.labels.bands import Bands
from keyfold.labels.binary import Binary
from keyfold.labels.classes import Classes
from keyfold.labels.label import Label
from keyfold.labels.multilabel import Multilabel
from keyfold.labels.neutral import Neutral
from keyfold.labels.number import Number

KINDS: dict[str, Any] = {kind.kind: kind for kind in (Number, Binary, Classes, Bands, Multilabel)}


def label_from_json(saved: dict[str, Any]) -> Label:
    """The label of JSON values; those of models of 0.1 have no `kind`. Raises ValueError, KeyError or TypeError if it is damaged."""
    if "kind" not in saved:
        binary = saved.get("positive") is not None or saved.get("negative") is not None
        return Binary(saved["family"], saved["positive"], saved["negative"]) if binary else Number(saved["family"])
    kind: Any = Neutral if "neutral" in saved else KINDS[saved["kind"]]
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items() if name != "kind"}
    if unknown := values.keys() - {field.name for field in fields(kind)}:
        raise ValueError(f"a label of kind {kind.kind} has no {unknown.pop()}")
    return kind(**values)
