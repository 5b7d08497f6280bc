"""Leaks, twins and names in a drafted conf."""

import re
from typing import Any

import numpy as np

from drafts import Draw, frame
from keyfold.profiling.draft import snake_case


def test_columns_that_leak_the_label_are_left_out(draw: Draw) -> None:
    text, conf = draw(
        frame(
            reason=lambda y, draws: np.where(y, draws.choice(["A", "B"], len(y)), None),
            closed=lambda y, draws: np.where(y, "2026-03-01", None),
            again=lambda y, draws: y ^ (draws.random(len(y)) < 0.02),  # as is_recid is for two_year_recid
            far=lambda y, draws: np.where(y, draws.normal(size=len(y)), draws.choice([-9, 9], len(y))),  # no line tells it
            fair=lambda y, draws: (y + draws.normal(0, 1, len(y))).round(1),
        ),
    )
    assert [*conf["features"]] == ["x", "fair"]
    for name, why in {
        "reason": "its missing values predict the label",
        "closed": "its missing values predict",
        "again": "it alone predicts",
        "far": "it alone",
    }.items():
        assert f"  # {name} is left out: {why}" in text
    assert "ROC AUC 1.000 on held-out rows" in text and "its name to `split: {allow: […]}`" in text


def test_columns_that_leak_a_numeric_label_are_left_out(draw: Draw) -> None:
    z = np.random.default_rng(1).normal(size=400)
    text, conf = draw(
        frame(
            z=z.round(3),
            curve=(z**2).round(3),
            fair=(z + np.random.default_rng(2).normal(size=400)).round(2),
            y=(3 * z + 50).round(2),
        )
    )
    assert [*conf["features"]] == ["x", "curve", "fair"]
    assert "# z is left out: it alone predicts the label (R² 1.000 on held-out rows)" in text


def test_columns_that_depend_on_a_leak_or_leak_together_are_reported(draw: Draw) -> None:
    def some(y: Any, draws: Any) -> Any:
        return np.where(y & (draws.random(len(y)) < 0.5), 1 + draws.integers(0, 9, len(y)), None)

    parts = {f"part_{i}": lambda y, draws: (y + draws.normal(0, 0.6, len(y))).round(2) for i in range(4)}
    text, conf = draw(frame(rearrested=lambda y, draws: np.where(y, "yes", None), days=some, again=lambda y, d: y * 1, **parts))
    assert "# days is left out: it is present only where rearrested is, which reveals the label." in text
    assert [*conf["features"]] == ["x", *parts]
    assert re.search(
        r"# Warning: together these reveal the label \(ROC AUC 0\.9\d+ on held-out rows\). Are they known before it, such as part_",
        text,
    )
    assert "Warning" not in draw(frame())[0]


def test_of_two_equal_columns_one_is_used(draw: Draw) -> None:
    text, conf = draw(frame(amount=[i % 23 for i in range(400)], total=[i % 23 for i in range(400)]))
    assert [*conf["features"]] == ["x", "amount"]
    assert "# total is left out: it is the same as amount in every row." in text


def test_text_with_a_word_that_leaks_the_label_is_left_out(draw: Draw) -> None:
    y = frame().y
    notes = [f"{['late', 'bill', 'slow', 'phone'][i % 4]} call {i}" for i in range(len(y))]
    told = [f"{note}, {'closed' if leaves else 'open'}" for note, leaves in zip(notes, y, strict=True)]
    text, conf = draw(frame(told=told, notes=notes))
    assert "told is left out: one of its words predicts the label (ROC AUC 1.000 on held-out rows)." in text
    assert "told" not in conf["features"] and "notes" in conf["features"]


def test_names_in_snake_case() -> None:
    names = {"TotalCharges": "total_charges", "StreamingTV": "streaming_tv", "Größe (m²)": "grosse_m2", "2nd": "_2nd", "城": ""}
    assert {name: snake_case(name) for name in names} == names
