"""The page: well formed, without a network, in reading order, and no name can break it."""

import re
import subprocess
import sys

import numpy as np
import pytest

from html_page import NASTY, Reader, some_metrics
from keyfold.evaluation.intervals import Metric
from keyfold.evaluation.slices import Slice
from keyfold.reporting.page import PageSection, Verdict, html_table, link_html, render_page
from keyfold.reporting.sections import (
    classification_sections,
    features_section,
    folds_section,
    metrics_section,
    reconciliation_section,
    scores_section,
    slices_section,
    steps_section,
)

pytestmark = pytest.mark.filterwarnings("error")  # of matplotlib and NumPy: a run's log stays quiet


def sections(name):
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 3, 500)
    y = rng.random(500) < truth
    edges = np.linspace(0, 1, 21)
    return [
        reconciliation_section({"read": 12_345, "kept": 12_340, name: 5}, {name: 5}),
        folds_section([("train", 800, 90), (name, 200, 15)], {"train": 0.8, name: 0.2}),
        features_section([{"name": name, "kind": "crossed", "inputs": [name, "b"], "width": 4096, "note": name}]),
        metrics_section({"train": some_metrics(), name: some_metrics()}),
        *classification_sections(y, truth, truth),
        slices_section(name, {name: Slice(10, some_metrics()), "(missing)": Slice(5, some_metrics(*[np.nan] * 3))}),
        scores_section(edges, np.histogram(truth, edges)[0]),
        steps_section([(name, None, 0.25), ("fit", 1000, 2.0)]),
        PageSection(name, html_table([name], [[name]], caption=name)),
    ]


@pytest.fixture(scope="module")
def nasty():
    return render_page(NASTY, {NASTY: NASTY}, sections(NASTY), lead=NASTY)


def test_names_cannot_break_the_page(nasty):
    Reader(nasty)
    assert nasty.count("<script>") == 1
    assert "alert" not in nasty.partition("<script>")[2]
    assert nasty.count("alert") > 20
    assert len(re.findall(r"\$\\alpha\$ &amp; ", nasty)) > 20


def test_the_page_needs_no_network_and_is_small(nasty):
    read = Reader(nasty)
    assert not {"img", "iframe", "object", "style-src"} & set(read.tags)
    assert read.tags.count("link") == 1
    assert all(link.startswith(("#", "data:")) for link in read.links)
    assert not re.search(r"url\((?!#)|@import", nasty)
    assert "default-src 'none'" in nasty
    assert len(nasty.encode()) < 400_000


@pytest.mark.parametrize(
    ("address", "linked"),
    [
        ("https://a.example/#/x?a=1&b", True),
        ("../0ab/index.html", True),
        ("sqlite:///mlflow.db/#/x", False),
        ("javascript:alert(1)", False),
    ],
)
def test_only_pages_are_linked(address, linked):
    shown = link_html(NASTY, address)
    assert "<script" not in shown
    assert shown.startswith("<a href=") == linked
    assert str(shown) in render_page("t", {"model": shown}, [PageSection("s", html_table(["x"], [[shown]]))])


def test_identifiers_are_unique_and_resolve(nasty):
    read = Reader(nasty)
    assert len(read.ids) == len(set(read.ids)) > 50
    used = {link[1:] for link in read.links if link.startswith("#")} | set(re.findall(r"url\(#([^)]+)\)", nasty))
    assert used <= set(read.ids)


def test_sections_are_ordered_by_topic_with_their_title():
    given = sections("b")[::-1]
    page = render_page("churn: score", {"rows": 1_234_567, "promoted": True, "none": None}, given, lead="Who leaves?")
    topics = [section.topic for section in sorted(given, key=lambda section: page.index(section.html))]
    assert topics == ["metrics", "curves", "threshold", "slices", "predictions", "features", "data", "data", "folds", "time"]
    text = Reader(page).text
    for words in ("churn: score", "Who leaves?", *(section.title for section in given)):
        assert words in text
    assert re.findall("<dd>(.*?)</dd>", page) == ["1,234,567", "yes", "–"]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (1_234_567, "1,234,567"),
        (np.int64(1000), "1,000"),
        (0.123456, "0.1235"),
        (123456.7, "123,457"),
        (0.0000123456, "0.00001235"),
        (1.23456e-9, "1.235e-09"),
        (0.0, "0.0000"),
        (np.float32(2.5), "2.500"),
        (float("nan"), "–"),
        (float("-inf"), "-∞"),
        (None, "–"),
        (True, "yes"),
        (np.bool_(False), "no"),
        ("text", "text"),
        (Metric(0.8421, 0.8311, 0.8529), "0.842 (0.831 – 0.853)"),
        (Metric(0.08421, 0.0831, 0.0853), "0.0842 (0.0831 – 0.0853)"),
        (Metric(25.31, 24.0, 27.19), "25.3 (24.0 – 27.2)"),
        (Metric(12345.6, 12000, 13000), "12,346 (12,000 – 13,000)"),
        (Metric(0.8421, np.nan, np.nan), "0.842"),
        (Metric(np.nan, np.nan, np.nan), "–"),
        ("<b>", "&lt;b&gt;"),
    ],
)
def test_cells(cell, shown):
    assert re.findall(r"<td[^>]*>(.*?)</td>", html_table(["h"], [[cell]])) == [shown]


def test_columns_of_numbers_are_aligned_right():
    made = html_table(["a", "b", "c", "d"], [["x", 1, None, "1.25%"], ["y", Metric(1, 1, 1), 2.5, ">99.99%"]])
    assert re.findall(r"<th( class=\"n\")?", made) == ["", "", ' class="n"', ' class="n"', ' class="n"']
    assert made.count('<td class="n">') == 6


def test_a_table_may_be_empty_but_not_ragged():
    assert "<tbody></tbody>" in html_table(["a", "b"], [])
    with pytest.raises(ValueError, match="must have 2 cells"):
        html_table(["a", "b"], [[1, 2], [3]])


def test_same_data_same_bytes_whatever_the_settings():
    import matplotlib as mpl

    once = render_page("t", {}, sections("b"))
    with mpl.rc_context({"font.size": 30, "axes.linewidth": 9}):
        assert render_page("t", {}, sections("b")) == once
        assert mpl.rcParams["font.size"] == 30
    assert not re.search(r"20\d\d-\d\d-\d\d", once)


def test_import_is_cheap():
    heavy = "{'matplotlib', 'jinja2', 'pandas', 'sklearn', 'pyspark', 'mlflow'}"
    code = f"import sys, keyfold.reporting.page; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert ran.stdout == "[]\n"


def test_a_verdict_is_one_line_and_the_head_of_the_page():
    verdict = Verdict(
        "m version 2 is the champion", [], "roc_auc", {"roc_auc": Metric(0.8012, 0.7561, 0.8444)}, {"roc_auc": 0.7949}
    )
    assert str(verdict) == "m version 2 is the champion: test ROC AUC 0.801 (0.756 – 0.844), champion before 0.795"
    assert verdict.facts == {"test ROC AUC ↑": "0.801 (0.756 – 0.844), champion before 0.795"}
    assert str(verdict._replace(before={}, shown="rmse")) == "m version 2 is the champion"
    assert verdict._replace(before={"rmse": 1.0}).compared("roc_auc") == "0.801 (0.756 – 0.844)", (
        "the champion has no such metric"
    )


def test_a_verdict_of_an_earlier_run_shows_the_main_metric():
    verdict = Verdict.of("scored by m version 2", {"log_loss": Metric(0.4, 0.3, 0.5), "roc_auc": Metric(0.8, 0.7, 0.9)})
    assert str(verdict) == "scored by m version 2: test ROC AUC 0.800 (0.700 – 0.900)" and verdict.promoted is None
