"""Variants of a model (`report.compare`): each is a use case of its own, which is validated as the conf is."""

from collections.abc import Iterator
from typing import Any

from keyfold.conf import messages
from keyfold.conf.label import LabelConf
from keyfold.conf.report import Variant, remaining_features
from keyfold.conf.train import Train
from keyfold.evaluation.metrics import BANDS, BINARY, CLASSES, LABELS, NUMBER
from keyfold.features.kinds import Feature

MODEL = "model"
"""The name of the model itself among its variants."""

SECTIONS = {"name", "data", "label", "split", "features", "train"}
"""The sections of a variant's conf: those that a training reads."""

_KINDS = {NUMBER: "a number", BANDS: "bands", BINARY: "two classes", CLASSES: "classes", LABELS: "several labels"}


def variant_sections(raw: dict[str, Any], features: dict[str, Feature], variant: Variant) -> dict[str, Any]:
    """The sections of a conf as JSON values, with the options of the variant; ConfError for features that cannot be left out."""
    kept = remaining_features({name: feature.kind for name, feature in features.items()}, variant.without)
    label, train = _replaced(raw["label"], variant.label), _replaced(raw["train"], variant.train)
    train.pop("tune", None)  # the parameters that were found are the variant's too, unless it has a model of its own
    for option in ("models", "choose_by") if "model" in variant.train else ():
        train.pop(option, None)  # and so is the candidate that was chosen
    return raw | {"label": label, "train": train, "features": {name: raw["features"][name] for name in kept}}


def _replaced(section: dict[str, Any], options: dict[Any, Any]) -> dict[str, Any]:
    return {name: value for name, value in (section | options).items() if value is not None}


def variant_faults(name: str, label: LabelConf, train: Train, of_model: tuple[LabelConf, Train]) -> Iterator[str]:
    """Sentences about why a variant cannot be trained, or compared with the model; they follow its path."""
    if name == MODEL:
        yield f": `{MODEL}` is the name of the model that variants are compared with; choose another one"
    if of_model[1].model.torch or train.model.torch:
        yield " trains a model on rows in memory, which only scikit-learn models and ensembles support; leave it out"
    if train.model.registered_members.items() - of_model[1].model.registered_members.items():
        yield ".train.model has a registered member that the model itself does not have; leave it out"
    own, other = _kinds(*of_model), _kinds(label, train)
    if other == (NUMBER,) and label.bands:
        yield ".train.model is a regressor, and a classifier learns bands; write `label: {bands: null}` for the number itself"
    elif not {NUMBER, BANDS}.intersection(other) and (of := label.of_numbers):
        yield f".label.{of[0]} is for a label that is a number, and this model is a classifier; leave it out"
    elif own != other and not {*own, *other} <= {NUMBER, BANDS}:
        yield (
            f": the model predicts {_shown(own)}, and this variant {_shown(other)}; models can be compared if both predict the same, or "
            "numbers and bands of numbers"
        )


def _kinds(label: LabelConf, train: Train) -> tuple[str, ...]:
    """The kinds that the label may have, so far as the conf says."""
    return label.kinds_of_classifier if train.model.chosen.classifies else (NUMBER,)


def _shown(kinds: tuple[str, ...]) -> str:
    return messages.joined_by_or(_KINDS[kind] for kind in kinds)
