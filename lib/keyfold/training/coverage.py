"""What a neutral class is worth: accuracy against coverage, beside a model without it that declines by its highest probability."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.train import Train
from keyfold.core.arrays import Bools, Doubles, Int64s
from keyfold.core.names import LABEL
from keyfold.core.texts import value_texts
from keyfold.errors import KeyfoldError
from keyfold.evaluation.coverage import Answers, accuracy_curve, compare_answers
from keyfold.labels import Classes, Neutral
from keyfold.models.model import Model
from keyfold.reporting.coverage_sections import NEUTRAL, PLAIN, coverage_section
from keyfold.reporting.page import note_html
from keyfold.training.answers import complete_model
from keyfold.training.arrays import EXTRA, MAJORITY, ArrayRows
from keyfold.training.context import TrainingContext
from keyfold.training.fitting import fit_model, rows_to_fit, tasks_of
from keyfold.training.variants import FoldMetrics

_NO_TRUTH = -1


class _Truth(NamedTuple):
    """The code of each row's true class, -1 without one, and where it is from, for people."""

    codes: Int64s
    source: str


def measure_coverage(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> FoldMetrics:
    """Accuracy against coverage on the test fold, as a section of the page; metrics at the share that the model itself answers."""
    test, label = rows.fold("test"), model.label
    assert isinstance(label, Neutral)
    truth, numbers = _true_classes(context, label, test), model.numbers(test.arrays)
    answers = _answers(label, test, truth, label.best_answer(numbers), label.confidence(numbers))
    of_plain, failure = _plain_numbers(context, train, model, rows)
    plain = None if of_plain is None else _answers(label, test, truth, of_plain.argmax(axis=1), of_plain.max(axis=1))
    own, *_ = compared = compare_answers(answers, ~label.declines(numbers), plain, test.order)
    curves = {PLAIN if label.abstain is not None else NEUTRAL: accuracy_curve(answers)}
    curves |= {PLAIN: accuracy_curve(plain)} if plain else {}
    context.job.sections.append(coverage_section(curves, compared, truth=truth.source, note=_note(failure)))
    return {"test_abstention": own._asdict()} if plain else {}


def _note(failure: str) -> str:
    return note_html(f"No {PLAIN}:", failure) if failure else ""


def _plain_numbers(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> tuple[Doubles | None, str]:
    """What a model without the neutral class predicts for the test fold; None without such a model, and why, if one was wanted."""
    assert isinstance(model.label, Neutral)
    if model.label.abstain is not None:
        return None, ""
    if train.model.torch:
        return None, "a network is not trained once more without the neutral class."
    with context.run.step("abstention") as step:
        try:
            learn, plain = _plain_model(context, train, model, rows)
        except (KeyfoldError, ValueError) as error:
            return None, f"it cannot be trained: {' '.join(str(error).split())}"
        step.rows = learn.table.num_rows
        return plain.numbers(rows.fold("test").arrays), ""


def _answers(label: Neutral, test: ArrayRows, truth: _Truth, decided: Int64s, confidence: Doubles) -> Answers:
    neutral: Bools = (test.truth == len(label.answers)) & (label.abstain is None)
    return Answers(confidence, decided == truth.codes, truth.codes != _NO_TRUTH, neutral)


def _true_classes(context: TrainingContext, label: Neutral, test: ArrayRows) -> _Truth:
    """The true class of each row of the test fold: as `report.truth` says, else as most raters do, else as the label does."""
    column = context.run.conf.report.truth
    if column:
        texts = value_texts(test.table[EXTRA + column].combine_chunks())
        codes, source = _codes(label, texts), f"True classes are those of `{column}`"
        _warn_of_others(context, column, texts, codes, label)
    elif context.label.raters:
        codes = _codes(label, test.table[EXTRA + MAJORITY].combine_chunks())
        source = "The true class of a row is the one that most raters name"
    else:
        codes = np.where(test.truth < len(label.answers), test.truth, _NO_TRUTH)
        return _Truth(codes, "" if label.abstain is not None else "Neutral rows have no true class, so they are in no accuracy.")
    if without := int((codes == _NO_TRUTH).sum()):
        source += f"; {without:,} of {len(codes):,} rows have none, and are in no accuracy"
    return _Truth(codes, f"{source}.")


def _codes(label: Neutral, texts: pa.Array) -> Int64s:
    found = pc.index_in(texts, pa.array(label.answers, pa.string()))
    return pc.fill_null(found, _NO_TRUTH).cast(pa.int64()).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _warn_of_others(context: TrainingContext, column: str, texts: pa.Array, codes: Int64s, label: Neutral) -> None:
    odd = texts.filter(pa.array(codes == _NO_TRUTH)).drop_null()
    if len(odd := odd.filter(pc.not_equal(odd, label.neutral))):
        context.run.say(
            f"WARNING: report.truth: `{column}` is none of {', '.join(label.answers)} in {len(odd):,} of {len(codes):,} rows of the test "
            f"fold, such as {odd[0].as_py()}; these are in no accuracy of the section Coverage"
        )


def _plain_model(context: TrainingContext, train: Train, model: Model, rows: ArrayRows) -> tuple[ArrayRows, Model]:
    """The rows that are not neutral, and the same kind of model trained on them, completed as the model is."""
    assert isinstance(model.label, Neutral)
    label = Classes(model.label.family, model.label.answers)
    sure = rows.filter(pc.less(rows.table[LABEL], label.width))._replace(label=label)
    learn = rows_to_fit(train.model, sure)
    estimator = fit_model(_without_neutral(train, model.label), context.spec, learn, tasks_of(context.run.engine, learn))
    plain = model._replace(label=label, estimator=estimator, calibrator=None, explained=None)
    return learn, complete_model(context.label, plain, sure.fold("validation"))


def _without_neutral(train: Train, label: Neutral) -> Train:
    """The section without a weight of the neutral class."""
    weights = train.rebalance.weights if train.rebalance else None
    if train.rebalance is None or not isinstance(weights, dict):
        return train
    kept = {name: weight for name, weight in weights.items() if name != label.neutral}
    return train.model_copy(update={"rebalance": train.rebalance.model_copy(update={"weights": kept})})
