"""The page in a real browser: its script works, the browser complains of nothing, and it can be read without scripts."""

import re

import numpy as np
import pytest

from browser import CHROMIUM, browser
from keyfold.reporting.page import PageSection, html_table, render_page
from keyfold.reporting.sections import classification_sections

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
NASTY = """</script><script>alert(1)</script><img src=x onerror=alert(2)> "'"""


@pytest.fixture(scope="module")
def tab():
    with browser() as tab:
        yield tab


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    truth = rng.beta(1, 3, 2000)
    table = html_table(["name", "rows"], [["b", 10], [NASTY, 9], ["c", None], ["a", 1000]])
    sections = [*classification_sections(rng.random(2000) < truth, truth, truth), PageSection(NASTY, table)]
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(render_page(NASTY, {NASTY: NASTY}, sections, lead=NASTY), "utf-8")
    return path


def texts(tab, selector):
    return tab.run(f"[...document.querySelectorAll({selector!r})].map(cell => cell.textContent)")


def test_the_browser_complains_of_nothing(tab, page):
    tab.open(page)
    assert not tab.complaints()
    assert tab.run("document.querySelectorAll('script:not([type])').length") == 1
    assert tab.run("document.images.length") == 0
    assert tab.run("document.title") == NASTY


def test_another_script_does_not_run(tab, page, tmp_path):
    changed = tmp_path / "changed.html"
    changed.write_text(
        page.read_text("utf-8").replace("</main>", "</main><script>document.title = 'taken over'</script>"), "utf-8"
    )
    tab.open(changed)
    assert tab.run("document.title") == NASTY
    assert "Content Security Policy" in str(tab.complaints())


def test_tables_are_sorted_by_a_click_with_missing_values_last(tab, page):
    tab.open(page)
    rows = "section:last-of-type td:last-child"
    orders = []
    for _ in range(2):
        tab.run("document.querySelector('section:last-of-type th:last-child button').click()")
        orders.append(texts(tab, rows))
    assert orders == [["9", "10", "1,000", "–"], ["1,000", "10", "9", "–"]]
    assert tab.run("document.querySelector('section:last-of-type th:last-child').ariaSort") == "descending"


def test_the_slider_moves_the_confusion_matrix(tab, page):
    tab.open(page)
    tab.run("const s = document.querySelector('.threshold input'); s.value = 30; s.dispatchEvent(new Event('input'))")
    cells = {
        name: texts(tab, f"td[data-cell={name}], dd[data-cell={name}]")
        for name in ("tp", "fp", "fn", "tn", "precision", "recall")
    }
    row = tab.run(
        "[...document.querySelectorAll('.threshold ~ .scroll tr')].find(r => r.cells[0].textContent === '0.30').innerText"
    )
    assert row.split("\t")[1:7] == [cells[name][0] for name in ("tp", "fp", "fn", "tn", "precision", "recall")]
    assert set(texts(tab, "[data-cell=threshold]")) == {"0.30"}


def test_a_chart_shows_the_values_under_the_pointer(tab, page):
    tab.open(page)
    box = tab.run(
        "document.querySelector('figure svg').scrollIntoView(), document.querySelector('figure svg').getBoundingClientRect().toJSON()"
    )
    tab.point_at(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    assert tab.run("getComputedStyle(document.querySelector('#tip')).display") == "block"
    assert re.fullmatch(
        r"model\nfalse positive rate: [\d.]+%\ntrue positive rate: [\d.]+%", tab.run("document.querySelector('#tip').textContent")
    )
    tab.point_at(1, 1)
    assert tab.run("document.querySelector('#tip').hidden")


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 23, 29)")])
def test_the_page_follows_the_theme_and_fits_a_narrow_screen(tab, page, scheme, background):
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.open(page, width=400)
    assert tab.run("getComputedStyle(document.body).backgroundColor") == background
    assert tab.run("document.documentElement.scrollWidth") <= 400


def test_the_page_can_be_read_without_scripts(tab, page):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(page)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.run("document.querySelector('.threshold p').offsetHeight") == 0
    assert tab.run("document.querySelector('.threshold table').innerText").count("\n") >= 2
    assert tab.run("document.querySelectorAll('th button').length") == 0
