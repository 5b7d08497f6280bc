"""Run identity: a change of any field of the conf changes the identity of each job that may read it."""

from types import SimpleNamespace

import pytest

from conf_fields import ABSTRACT, FEATURES, PINS, SKLEARN, bases, changed_fields, counts, covers, ids, put, raw_conf, subclasses
from keyfold.conf.use_case import Conf, parse_conf
from keyfold.core.digests import canonical_json
from keyfold.core.section import Section
from keyfold.errors import PromiseError
from keyfold.labels import Number
from keyfold.runtime import job_identity


def test_a_change_of_any_field_changes_the_identity_of_each_job_that_may_read_it():
    wrong = [
        f"{job}: {'.'.join(map(str, path))} {'counts, although it is excluded' if differs[job] else 'does not count'}"
        for _, _, path, value, differs in changed_fields()
        for job in differs
        if differs[job] != counts(job, path, value)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_field_of_every_section_was_changed():
    sections = [s for s in subclasses(Section) if s.__module__.startswith("keyfold.") and s.__name__ not in ABSTRACT]
    missing = {(s, name) for s in sections for name in s.model_fields} - {(owner, name) for owner, name, *_ in changed_fields()}
    assert not missing, "no other value is known of " + ", ".join(sorted(f"{s.__name__}.{name}" for s, name in missing))


def test_the_order_of_features_and_the_type_of_a_number_count():
    base = raw_conf(features=FEATURES, train={"model": SKLEARN})
    turned = base | {"features": dict(reversed(FEATURES.items()))}
    whole = put(base, ("train", "model", "sklearn", "params", "C"), 1)
    first, second, third = (ids(parse_conf(one)) for one in (base, turned, whole))
    assert first["features"] != second["features"] and first["train"] not in (second["train"], third["train"])


@pytest.mark.parametrize("exclusion", job_identity.EXCLUSIONS, ids=lambda exclusion: exclusion.path)
def test_an_exclusion_names_a_field_and_has_a_reason(exclusion):
    assert exclusion.why and set(exclusion.jobs) <= job_identity.JOBS.keys()
    assert any(covers(exclusion, (exclusion.jobs or ("train",))[0], path) for _, _, path, *_ in changed_fields()), "no such field"


def test_whether_an_older_layout_lacks_values_counts_for_ingest():
    """Rows whose value a bridge does not translate are kept if it says what to put there, and quarantined if not."""
    base = next(conf for conf in bases() if conf["data"].get("versions"))
    rules = [{"mapped": "e", "values": {"a": 1}, **missing} for missing in ({"missing": "mean"}, {"missing": "null"}, {})]
    confs = (put(base, ("data", "versions", 0, "columns_from", "x"), rule) for rule in rules)
    mean, null, none = (ids(parse_conf(conf))["ingest"] for conf in confs)
    assert mean == null != none


def test_missing_and_unknown_pins_are_refused():
    base = parse_conf(raw_conf())
    with pytest.raises(PromiseError, match="the identity of `images` needs files, period, rows: look at files"):
        job_identity.run_identity(base, "images", {"rows": 1, "period": 2})
    assert job_identity.run_identity(base, "images", PINS["images"]) != job_identity.run_identity(
        base, "images", PINS["images"] | {"rows": "others"}
    )


def test_a_job_that_is_not_listed_depends_on_the_whole_conf_and_on_the_inputs_that_it_names():
    base = raw_conf(score={"max_quarantine": 0.1}, split={"salt": "a"})
    others = [base, base | {"score": {"max_quarantine": 0.2}}, base | {"split": {"salt": "b"}}]
    same, limit, salt = (job_identity.run_identity(parse_conf(conf), "audit", {"rows": 1}) for conf in others)
    assert same == limit != salt, "limits count for no job"
    assert same != job_identity.run_identity(parse_conf(base), "audit", {"rows": 2})
    assert same != job_identity.run_identity(parse_conf(base), "audit", {"lines": 1})


def test_releases_of_packages_and_of_contracts_count(monkeypatch):
    conf = parse_conf(raw_conf(train={"model": SKLEARN}))
    before = ids(conf)
    known = job_identity.installed_release
    monkeypatch.setattr(job_identity, "installed_release", lambda package: "9" if package == "scikit-learn" else known(package))
    assert {job for job, id_ in ids(conf).items() if id_ != before[job]} == {"train", "overfit", "score"}
    monkeypatch.setattr(job_identity.hashing, "CONTRACT", 9)
    assert all(id_ != before[job] for job, id_ in ids(conf).items())


def test_the_classes_of_groups_are_pinned(embedded):
    from keyfold.conf.split import Split
    from keyfold.split import strata
    from keyfold.split.folds import Folds, Strata

    groups = [(1, "a"), (2, None), (3, "b")]
    folds = Folds(Split(by=["g"], stratified=True), ["id"], "n", label="y")
    found = []
    for some in (groups, groups[::-1], groups[:2], [*groups[:2], (3, "a")]):
        frame = embedded.rows(some, "keyfold_group bigint, keyfold_class string")
        folds.strata = Strata({"a": (1, 2)}, frame, strata._digest(frame))
        found.append(canonical_json(folds.identity))
    assert found[0] == found[1] and len(set(found)) == 3


def test_a_sample_is_pinned_by_what_was_taken(monkeypatch):
    """Not by `memory_share`, which gives another sample on another machine."""
    from keyfold.training import arrays

    spec = SimpleNamespace(outs={"x": SimpleNamespace(length=1)})
    found = SimpleNamespace(count_in=lambda fold: 10**6, label=Number("double"))

    def sampled(share, pages):
        monkeypatch.setattr(arrays, "memory_limit", lambda: 4096 * pages)
        conf = parse_conf(raw_conf(train={"model": SKLEARN, "memory_share": share}))
        return arrays.sample_share(conf.train, spec, found)

    assert sampled(0.5, 10_000) == sampled(0.25, 20_000) == 213_333
    assert sampled(0.25, 10_000) == 106_667 and sampled(1, 10**9) == 10**6


def test_each_section_of_the_conf_is_read_by_a_job_or_by_none_with_a_reason():
    read = {part.split(".")[0] for reads in job_identity.JOBS.values() for part in reads.conf}
    unread = {"name", "release", "engine"}
    assert Conf.model_fields.keys() - read == unread, "name always counts; a release is decided each time; engines agree"
