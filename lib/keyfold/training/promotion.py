"""Promotion: a trained version becomes the champion if it meets `release.promote_if`; otherwise the champion stays."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keyfold.conf.release import MIN_TEST_ROWS
from keyfold.core import hashing
from keyfold.core.names import FOLD, LABEL, ORDER
from keyfold.dataset import labelled_rows
from keyfold.engine.columns import col, lit
from keyfold.engine.hashes import key_hash, sample_place
from keyfold.errors import DataError
from keyfold.evaluation import metrics
from keyfold.evaluation.intervals import Metric
from keyfold.labels import Number
from keyfold.models import predictor
from keyfold.release import criteria
from keyfold.release.criteria import Evidence
from keyfold.reporting.page import Verdict
from keyfold.tracking import registry, tags
from keyfold.tracking.registry import Registered
from keyfold.training.arrays import identifying_columns
from keyfold.training.page_sections import comparison_section

if TYPE_CHECKING:
    from keyfold.runtime.run import Run

MOST_ROWS = 500_000  # rows on which two models are compared, at most
_BATCH = 20_000  # rows
_PLACE = "keyfold_place"


def promote_or_keep(run: "Run", version: Registered) -> Registered:
    """Promotes the version if it meets `promote_if`; the champion after that (DataError if there is none)."""
    champion = registry.champion_of(version.name)
    former = champion if champion and champion.version != version.version else None
    evidence = _collect_evidence(run, version, former)
    unmet = criteria.unmet_conditions(run.conf.release, evidence)
    for job in run.jobs[-1:]:  # a run that only promotes has none
        job.verdict = _verdict(run, version, evidence, former, unmet)
    if not unmet:
        registry.promote(version)
        run.say(f"{version} is the champion")
        if evidence.metrics and evidence.few is not None and evidence.few < MIN_TEST_ROWS:
            run.say(f"WARNING: {criteria.too_few(evidence)}, so the metrics say little")
        return version
    run.say(f"{version} is not promoted: {'; '.join(unmet)}")
    if champion is None:
        raise DataError(f"{version} is not promoted, and there is no champion to score with: {'; '.join(unmet)}")
    run.say(f"{champion} stays the champion")
    return champion


def _verdict(run: "Run", version: Registered, evidence: Evidence, former: Registered | None, unmet: list[str]) -> Verdict:
    before = {name: metric.value for name, metric in registry.test_metrics(former).items()} if former else {}
    if evidence.gain:  # measured on the same rows
        before |= {
            name: evidence.metrics[name].value - gain.value for name, gain in evidence.gain.items() if name in evidence.metrics
        }
    shown = next(iter(run.conf.release.promote_if), metrics.main_metric(evidence.metrics))
    outcome = f"{version} {'is not promoted' if unmet else 'is the champion'}"
    return Verdict(outcome, unmet, shown, evidence.metrics, before, promoted=not unmet)


def _collect_evidence(run: "Run", version: Registered, former: Registered | None) -> Evidence:
    few = version.tags.get(tags.TEST_FEW)
    evidence = Evidence(registry.test_metrics(version), None if few is None else int(few))
    if former is None or not run.conf.release.compares:
        return evidence
    try:
        gain = _compare(run, version, former)
    except DataError as error:
        return evidence._replace(not_compared=f"{former} cannot score these rows: {error}")
    run.jobs[-1].sections.append(comparison_section(str(version), str(former), gain))
    return evidence._replace(gain={name: difference for name, (_, _, difference) in gain.items()})


def _compare(run: "Run", version: Registered, former: Registered) -> dict[str, tuple[Metric, Metric, Metric]]:
    """By metric: that of the version, that of the former champion, and their difference, on the same rows.

    Raises DataError if they cannot be compared.
    """
    if version.tags.get(tags.VIEWS) != former.tags.get(tags.VIEWS):
        raise DataError("it was trained on views of other definitions")
    with run.step("compare") as step, tempfile.TemporaryDirectory() as folder:
        new, old = (_load(run, one, Path(folder)) for one in (version, former))
        label, old_label = (model.label or Number("double") for model in (new, old))
        if not label.same_question(old_label):
            raise DataError("it predicts another class, or a number in place of a class")
        table = _test_rows(run, [*new.columns, *old.columns])
        predicted = [_predict(model, table) for model in (new, old)]
        step.rows = table.num_rows
    both = np.isfinite(predicted[0].reshape(len(table), -1) + predicted[1].reshape(len(table), -1)).all(axis=1)
    if not both.any():
        raise DataError("no row of the test fold is scored by both")
    y, order, (first, second) = label.measured(table[LABEL])[both], table[ORDER].to_numpy()[both], (p[both] for p in predicted)
    of_new = metrics.measure_predictions(label, y, first, order=order)
    of_old = metrics.measure_predictions(old_label, y, second, order=order)
    gain = metrics.metric_differences(label, y, first, second, second_label=old_label, order=order)
    return {name: (of_new[name], of_old[name], gain[name]) for name in gain}


def _load(run: "Run", version: Registered, folder: Path) -> predictor.Predictor:
    return predictor.load_predictor(registry.fetch_model(version, folder / version.version, run.conf.score.trust))


def _test_rows(run: "Run", columns: Sequence[str]) -> pa.Table:
    """The labelled rows of the test fold, ordered by the hash of their key (DataError if a column is missing)."""
    labelled, key = labelled_rows.labelled_rows(run), identifying_columns(run.conf.data)
    rows = labelled.rows.where(col(FOLD) == lit("test"))
    if missing := [name for name in columns if name not in rows.columns]:
        raise DataError(f"the table has no column `{missing[0]}`")
    if (share := MOST_ROWS / max(1, labelled.count_in("test"))) < 1:
        place = sample_place(_PLACE, rows.types, key, "compare")
        rows = rows.compute(place).where(col(_PLACE) < lit(round(share * hashing.PARTS)))
    rows = rows.compute(key_hash(ORDER, rows.types, key, "order"))
    return rows.select(dict.fromkeys([*columns, LABEL, ORDER])).to_arrow().sort_by([(ORDER, "ascending")])


def _predict(model: predictor.Predictor, table: pa.Table) -> npt.NDArray[np.float64]:
    """The numbers that a model predicts (n, or n and k), NaN for a row that it refuses."""
    batches = table.select(list(model.columns)).combine_chunks().to_batches(min(_BATCH, model.rows_at_once))
    label = model.label or Number("double")
    return np.concatenate([label.numbers(predictor.predict_rows(model, batch)) for batch in batches] or [np.empty(0)])
