"""The registered versions of a model: a list for comparison, and the choice of the champion."""

from datetime import UTC, datetime

from keyfold.errors import DataError, suggestion
from keyfold.evaluation.metrics import METRICS, is_brief
from keyfold.tracking import registry
from keyfold.tracking.connection import client
from keyfold.tracking.registry import CHAMPION, Registered


def describe_versions(name: str) -> list[str]:
    """One line per version, newest first: number, time of registration in UTC, test metrics with their 95 % intervals, whether it is the champion.

    Raises DataError if there is no model of this name.
    """
    versions = client().search_model_versions(f"name = '{name}'") if "'" not in name else []
    if not versions:
        names = sorted(model.name for model in client().search_registered_models(max_results=100))
        raise DataError(
            f"there is no registered model `{name}`; there are: {', '.join(names) or 'none'}{suggestion(name, names)}"
        )
    champion = registry.champion_of(name)
    lines = []
    for version in sorted(versions, key=lambda v: -int(v.version)):
        registered = Registered(name, str(version.version), version.run_id or "", dict(version.tags))
        metrics = registry.test_metrics(registered)
        shown = [f"{metric} {metrics[metric]}" for metric in METRICS if metric in metrics and is_brief(metric)]
        at = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        mark = [CHAMPION] if champion and champion.version == registered.version else []
        lines.append("  ".join([f"{registered}", f"{at:%Y-%m-%d %H:%M}", *shown, *mark]))
    return lines


def promote_version(uri: str) -> str:
    """Makes the version that `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/ID` names the champion; returns a sentence.

    Raises ConfError for another form of name, DataError if there is no such version.
    """
    version = registry.find_version(uri)
    former = registry.champion_of(version.name)
    if former and former.version == version.version:
        return f"{version} is the champion already"
    registry.promote(version)
    return f"{version} is the champion" + (f" in place of {former}" if former else "")
