"""The section `label` of a drafted conf."""

from keyfold.errors import ConfError, DataError
from keyfold.labels.classes import MAX_CLASSES
from keyfold.profiling.draft import NUMBER_TYPES, Draft, Lines, yaml_label
from keyfold.profiling.yaml_text import yaml_scalar

_SHOWN = 5  # classes


def label_lines(draft: Draft) -> Lines:
    """The lines of the section."""
    label, counts = draft.label, draft.label.classes()
    kinds = len(counts) if len(counts) <= 2 else len(label.distinct)
    if kinds < 2:
        only = f"only the value `{next(iter(counts))}`" if kinds else "no value"
        raise DataError(f"the label `{label.name}` has {only}; there is nothing to predict")
    if draft.kind == "binary":
        return _two_classes(draft)
    if draft.kind == "classes":
        shown = ", ".join(f"{n:,} × {yaml_scalar(text)}" for text, n in counts.most_common(_SHOWN))
        return [f"label: {draft.name(label.name)}  # {kinds:,} classes: {shown}{', …' if kinds > _SHOWN else ''}"]
    if label.type not in NUMBER_TYPES:
        examples = ", ".join(f"`{text:.30}`" for text, _ in counts.most_common(3))
        values = f"{kinds:,} different values ({examples}, …)"
        sign = f"; its numbers carry the sign `{label.sign}`: remove it" if label.sign else ""
        raise ConfError(
            f"--label: `{label.name}` has {values}; a label is a number or a class, of which there are up to {MAX_CLASSES:,}, and two rows of each on average{sign}"
        )
    if draft.skewed:
        reason = f"{kinds:,} different numbers, all above 0 and skewed: a regression learns their logarithm"
        return ["label:", f"  column: {draft.name(label.name)}", f"  transform: log  # {reason}"]
    return [f"label: {draft.name(label.name)}  # {kinds:,} different numbers: regression"]


def _two_classes(draft: Draft) -> Lines:
    label, counts = draft.label, draft.label.classes()
    shares = ", ".join(
        f"{n:,} × {text.strip() if label.type in NUMBER_TYPES else yaml_scalar(text)}" for text, n in counts.most_common()
    )
    lines = ["label:", f"  column: {draft.name(label.name)}  # {shares}"]
    if draft.positive:
        text, why = draft.positive
        return [*lines, f"  positive: {yaml_label(label, text)}  # probabilities are of this class: {why}"]
    choices = " or ".join(f"`positive: {yaml_label(label, text)}`" for text in sorted(counts))
    return [*lines, f"  # Which class is the event? The codes do not show it: write {choices}. Without it `train` stops."]
