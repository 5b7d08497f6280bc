"""The jobs that run a conf: `JOB CONF [--set path.to.option=value]… [--period P]`.

A new job is an entry of `CONF_JOBS`, a script of the same name in `jobs/`, and its inputs in `keyfold.runtime.job_identity.JOBS`.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from keyfold.cli.command import Command
from keyfold.cli.periods import checked_period
from keyfold.errors import ConfError
from keyfold.secrets import redacted

if TYPE_CHECKING:
    from keyfold.conf.use_case import Conf
    from keyfold.runtime.engine_choice import EngineChoice


def _job(
    group: str, work: str, summary: str, flags: Mapping[str, str] | None = None, *, reads_source: bool = False,
    meanwhile: Callable[[], object] = lambda: None,
) -> Command:  # fmt: skip
    """A job that calls `work` (module:function) with the run, and with each of `flags` (name: help) as a keyword argument.

    `reads_source`: whether the files of data.source must exist; `meanwhile`: imports what the job needs while its engine starts.
    """
    flags = flags or {}
    return Command(
        group, summary, partial(_run, work, flags, meanwhile), partial(_add_options, flags), partial(_check, reads_source)
    )


def _open_mlflow() -> None:
    from keyfold.tracking.connection import open_in_background

    open_in_background()


def _import_to_train() -> None:
    from keyfold.models.sklearn import import_libraries

    import_libraries()
    _open_mlflow()


def _add_options(flags: Mapping[str, str], parser: argparse.ArgumentParser) -> None:
    parser.add_argument("conf", metavar="CONF", help="the YAML file of the use case")
    parser.add_argument(
        "--set", action="append", default=[], metavar="path.to.option=value", dest="overrides",
        help="override an option of the conf; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--period",
        metavar="P",
        help="the period to score; training sees the periods before it (default: score the latest, train on all rows)",
    )
    parser.add_argument(
        "--engine", metavar="X",
        help="auto, embedded or spark (default: that of KEYFOLD_ENGINE, else of the conf); auto takes Spark where something needs it",
    )  # fmt: skip
    for name, purpose in flags.items():
        parser.add_argument(f"--{name}", action="store_true", help=purpose)


def _check(reads_source: bool, options: argparse.Namespace) -> str | None:
    from keyfold.cli.preflight import check_inputs

    conf = _conf(options)
    checked_period(conf, options.period)
    check_inputs(conf, reads_source=reads_source)
    choice = _choice(options)
    if choice.name == "embedded" and options.submit_options:
        raise ConfError(
            f"{choice.reason}, which takes no options of spark-submit (got {options.submit_options[0]}); leave them out"
        )
    return choice.reason if choice.name == "spark" else None


def _run(work: str, flags: Iterable[str], meanwhile: Callable[[], object], options: argparse.Namespace) -> None:
    conf = _conf(options)  # before the slow imports, so a faulty conf is refused at once
    from keyfold.runtime.run import Run

    period = checked_period(conf, options.period)
    engine = _choice(options).start(f"keyfold {conf.name}", meanwhile)
    run = Run(conf, engine, period)
    try:
        resolve_name(work)(run, **{name: getattr(options, name) for name in (f.replace("-", "_") for f in flags)})
    finally:
        run.close()
    for line in run.results():
        print(redacted(line))


def _conf(options: argparse.Namespace) -> "Conf":
    from keyfold.conf.use_case import load_conf

    if "loaded" not in options:
        options.loaded = load_conf(options.conf, options.overrides)
    return options.loaded


def _choice(options: argparse.Namespace) -> "EngineChoice":
    from keyfold.runtime.engine_choice import choose_engine

    if "chosen" not in options:
        options.chosen = choose_engine(_conf(options), options.engine)
    return options.chosen


_OVERFIT = "train on one batch only, to check that the model can memorize it; registers nothing"
_STRICT = "refuse if package releases differ from those of the training"
CONF_JOBS = {
    "ingest": _job(
        "Data", "keyfold.ingestion.job:ingest", "Read the source into its Delta table; rows that cannot be kept go to quarantine.",
        reads_source=True,
    ),
    "undo": _job("Data", "keyfold.ingestion.job:undo", "Restore the rows that the newest ingest replaced, period by period."),
    "images": _job(
        "Data", "keyfold.jobs.images:make_images", "Resize, crop or filter every image of a table, by key."
    ),
    "features": _job(
        "Features", "keyfold.jobs.pipeline:make_features",
        "Fit the feature spec on the train fold, or update the view that the conf offers.",
    ),
    "train": _job(
        "Models", "keyfold.jobs.pipeline:train_or_memorize",
        "Train a model, measure and register it; make it the champion if it meets promote_if.", {"overfit-one-batch": _OVERFIT},
        meanwhile=_import_to_train,
    ),
    "embeddings": _job(
        "Models", "keyfold.jobs.embeddings:write_embeddings", "Write the embedding vectors of the champion's network into a table.",
        meanwhile=_open_mlflow,
    ),
    "score": _job(
        "Predictions", "keyfold.scoring.job:score", "Score every key of a period with the champion, in one commit.",
        {"strict": _STRICT}, meanwhile=_open_mlflow,
    ),
    "pipeline": _job(
        "Predictions", "keyfold.jobs.pipeline:run_pipeline", "Ingest, train and score in one session.", reads_source=True,
        meanwhile=_import_to_train,
    ),
    "ledger": _job(
        "Operations", "keyfold.jobs.rebuild_ledger:rebuild_ledger",
        "Add to the ledger the commits of jobs that were killed before they wrote their row.",
    ),
}  # fmt: skip
