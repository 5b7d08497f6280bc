"""Kinds of labels: what is predicted, and how a model's numbers become its answer."""

from keyfold.labels.bands import Bands
from keyfold.labels.binary import Binary
from keyfold.labels.classes import Classes
from keyfold.labels.label import Answer, Label
from keyfold.labels.multilabel import Multilabel
from keyfold.labels.neutral import Neutral
from keyfold.labels.number import Number
from keyfold.labels.saved import label_from_json

__all__ = ["Answer", "Bands", "Binary", "Classes", "Label", "Multilabel", "Neutral", "Number", "label_from_json"]
