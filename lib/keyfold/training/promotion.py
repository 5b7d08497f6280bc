"""Which version answers: the new one where it clears `release.promote_if`, else the champion that stands."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from keyfold.conf.release import MIN_TEST_ROWS
from keyfold.core import hashing
from keyfold.core.names import FOLD, LABEL, ORDER
from keyfold.core.row_hash import key_hash, sample_place
from keyfold.core.sql import col
from keyfold.dataset import labelled_rows
from keyfold.engine import functions as F
from keyfold.errors import DataError
from keyfold.evaluation import metrics
from keyfold.evaluation.metrics import Metric
from keyfold.models import predictor
from keyfold.release import criteria
from keyfold.release.criteria import Evidence
from keyfold.reporting import page
from keyfold.reporting.page import ARROWS, METRIC_NAMES, PageSection, html_table
from keyfold.tracking import registry
from keyfold.tracking.registry import Registered
from keyfold.training.arrays import identifying_columns

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from keyfold.runtime.run import Run

AT_MOST = 500_000  # rows on which two models are compared
PIECE = 20_000


def promote_or_keep(run: "Run", version: Registered) -> Registered:
    """Promotes the version where it clears `promote_if`; else the champion that stands answers (DataError: there is none)."""
    standing = registry.champion_of(version.name)
    former = standing if standing and standing.version != version.version else None
    evidence = _evidence(run, version, former)
    why_not = criteria.unmet_conditions(run.conf.release, evidence)
    answering = standing if why_not else version
    run.verdict = _verdict(run, version, evidence, former, why_not)
    if not why_not:
        registry.promote(version)
        run.say(f"{version} is the champion")
        if evidence.metrics and evidence.few is not None and evidence.few < MIN_TEST_ROWS:
            run.say(f"WARNING: {criteria.too_few(evidence)}, so the metrics say little")
        return version
    run.say(f"{version} is not promoted: {'; '.join(why_not)}")
    if answering is None:
        raise DataError(f"{version} is not promoted, and there is no champion to score with: {'; '.join(why_not)}")
    run.say(f"{answering} stays the champion")
    return answering


def _verdict(run: "Run", version: Registered, evidence: Evidence, former: Registered | None, why_not: list[str]) -> page.Verdict:
    before = {name: metric.value for name, metric in registry.test_metrics(former).items()} if former else {}
    if evidence.gain:  # on the same rows
        before |= {
            name: evidence.metrics[name].value - gain.value for name, gain in evidence.gain.items() if name in evidence.metrics
        }
    shown = next(iter(run.conf.release.promote_if), "roc_auc" if "roc_auc" in evidence.metrics else "r2")
    became = "is not promoted" if why_not else "is the champion"
    return page.Verdict(f"{version} {became}", why_not, shown, evidence.metrics, before, promoted=not why_not)


def _evidence(run: "Run", version: Registered, former: Registered | None) -> Evidence:
    few = version.tags.get("keyfold.test_few")
    evidence = Evidence(registry.test_metrics(version), None if few is None else int(few))
    if former is None or not run.conf.release.compares:
        return evidence
    try:
        gain = _compared(run, version, former)
    except DataError as error:
        return evidence._replace(not_compared=f"{former} cannot answer these rows: {error}")
    run.sections.append(comparison_section(str(version), str(former), gain))
    return evidence._replace(gain={name: three[2] for name, three in gain.items()})


def _compared(run: "Run", version: Registered, former: Registered) -> dict[str, tuple[Metric, Metric, Metric]]:
    """By metric: that of the version, that of the former champion, and the difference, on the same rows (DataError)."""
    if version.tags.get("keyfold.views") != former.tags.get("keyfold.views"):
        raise DataError("it learnt from views of other definitions")
    with run.step("compare") as step, tempfile.TemporaryDirectory() as folder:
        new, old = (_loaded(run, one, Path(folder)) for one in (version, former))
        if _predicts(new) != _predicts(old):
            raise DataError("it predicts another class, or a number in place of a class")
        table = _rows(run, [*new.columns, *old.columns])
        one, other = (_numbers(model, table) for model in (new, old))
        step.rows = table.num_rows
    both = np.isfinite(one) & np.isfinite(other)
    if not both.any():
        raise DataError("there is no row of the test fold that both answer")
    y, order, one, other = table[LABEL].to_numpy()[both], table[ORDER].to_numpy()[both], one[both], other[both]
    measure = metrics.classification_metrics if new.scores_classes else metrics.regression_metrics
    mine, theirs = (measure(y, numbers, order=order) for numbers in (one, other))
    gain = metrics.metric_differences(y, one, other, order=order, classes=new.scores_classes)
    return {name: (mine[name], theirs[name], gain[name]) for name in gain}


def _loaded(run: "Run", version: Registered, folder: Path) -> predictor.Predictor:
    return predictor.load_predictor(registry.fetch_model(version, folder / version.version, run.conf.score.trust))


def _predicts(model: predictor.Predictor) -> tuple[bool, Any]:
    return model.scores_classes, getattr(getattr(model, "label", None), "positive", None)


def _rows(run: "Run", columns: Sequence[str]) -> pa.Table:
    """The labelled rows of the test fold, in an order that does not depend on the cluster (DataError where a column is missing)."""
    found = labelled_rows.labelled_rows(run)
    rows: DataFrame = found.rows.where(col(FOLD) == "test")
    if missing := [name for name in columns if name not in rows.columns]:
        raise DataError(f"the table has no column `{missing[0]}`")
    if (share := AT_MOST / max(1, found.count_in("test"))) < 1:
        rows = rows.where(sample_place(rows, identifying_columns(run), "compare") < F.lit(round(share * hashing.PARTS)))
    rows = rows.withColumn(ORDER, key_hash(rows, identifying_columns(run), "order"))
    return rows.select(*map(col, dict.fromkeys([*columns, LABEL, ORDER]))).toArrow().sort_by([(ORDER, "ascending")])


def _numbers(model: predictor.Predictor, table: pa.Table) -> npt.NDArray[np.float64]:
    """By row the probability, or the number that is predicted; NaN where the model refuses the row."""
    pieces = table.select(list(model.columns)).combine_chunks().to_batches(min(PIECE, model.rows_at_once))
    name = "probability" if model.scores_classes else "prediction"
    found = [pc.cast(predictor.predict_rows(model, piece)[name], pa.float64()) for piece in pieces]
    return pa.chunked_array(found, pa.float64()).to_numpy()


def comparison_section(version: str, former: str, found: Mapping[str, tuple[Metric, Metric, Metric]]) -> PageSection:
    """By metric: that of a version, that of the champion before it, and the difference, all on the same rows."""
    cells = [(METRIC_NAMES.get(name, name), *three) for name, three in found.items()]
    caption = f"Both models on the same rows of the test fold; the difference is that of both on the same draws of rows. {ARROWS}"
    return PageSection(
        "Against the champion", html_table(["metric", version, former, "difference"], cells, caption=caption), "verdict"
    )
