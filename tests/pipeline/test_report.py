"""The report is looked at twice: as files here, and by a real browser below."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from genomelm_utils import paths
from genomelm_utils.pipeline import report
from genomelm_utils.pipeline.image_size import image_size
from genomelm_utils.pipeline.report import build_report
from genomelm_utils.pipeline.report_graph import RunMark, StageBox, draw_graph, stage_depths
from genomelm_utils.pipeline.report_notebook import formula_svg, render_notebook
from genomelm_utils.pipeline.report_tables import (
    format_bytes,
    format_number,
    format_seconds,
    render_table,
)

# What a browser fetches by itself; <a href> is followed by readers only.
LOADING = {"src", "srcset", "poster", "data", "action", "background"}


class References(HTMLParser):
    """All references of a page: those that a browser loads, and those that a reader follows."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.followed: list[str] = []
        self.images: list[dict[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.loaded += [values[name] for name in LOADING if name in values]
        if "href" in values:
            (self.followed if tag == "a" else self.loaded).append(values["href"])
        if tag == "img":
            self.images.append(values)


def fail_run(stage: str, run: str) -> None:
    """What the engine leaves of an attempt that failed."""
    folder = paths.run_dir("tiny", stage, f"{run}.failed")
    folder.mkdir(parents=True)
    shutil.copy(paths.notebook_file(stage), folder / "failed.ipynb")
    lines = [f"FAILED {stage}/{run} at cell 3", "ValueError: <too> big", "resume: run it"]
    (folder / "failure.json").write_text(json.dumps({"lines": "\n".join(lines)}))


@pytest.fixture
def mixed(project: Path, finish) -> Path:
    """A report with every status: done, stale, failed, and not run."""
    finish()
    text = paths.params_file("tiny").read_text()
    paths.params_file("tiny").write_text(text.replace("[10, 20]", "[10, 20, 30, 40]"))
    fail_run("04_pretraining", "30")
    return build_report("tiny").parent


# --- the files -----------------------------------------------------------------------------


def test_every_run_has_a_page_and_every_link_leads_somewhere(mixed):
    pages = sorted(mixed.rglob("*.html"))
    assert len(pages) == 1 + 1 + 4 + 1
    for page in pages:
        references = References(page.read_text())
        for target in references.followed + references.loaded:
            if not target.startswith(("data:", "#")):
                assert (page.parent / target.split("#")[0]).is_file(), (page, target)


def test_nothing_is_loaded_from_elsewhere(mixed):
    for page in mixed.rglob("*.html"):
        html = page.read_text()
        for target in References(html).loaded:
            assert not re.match(r"(https?:)?//", target), (page, target)
        assert "default-src 'none'" in html
        assert not re.search(r"@import|url\(\s*['\"]?https?:", html)


def test_images_have_size_and_alternative_text(mixed):
    images = [i for page in mixed.rglob("*.html") for i in References(page.read_text()).images]
    assert images
    for image in images:
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0
        assert len(image["alt"]) > 5


def test_the_index_tells_each_status_with_its_reason(mixed):
    index = (mixed / "index.html").read_text()
    for words in ("✓ done", "↻ stale", "✗ failed", "○ not run"):
        assert words in index
    assert "parameters (models:" in index  # why 13_figures is stale
    assert "the last attempt failed<" in index
    assert "FAILED 04_pretraining/30 at cell 3\nValueError: &lt;too&gt; big\nresume:" in index
    assert "A profile for tests." in index
    assert "The stage 04_pretraining</span>" in index  # the title of its notebook
    assert "1 min 05 s" in index  # the wall time of the receipts
    assert "512 MiB" in index
    assert index.count("<figure") == 4  # one per run that finished, SVG and PNG as one
    assert "0123456789abcdef" in index


def test_tables_of_several_runs_become_one_with_a_column_run(mixed):
    index = (mixed / "index.html").read_text()
    (table,) = re.findall(r'id="table-04_pretraining-summary".*?</details>', index, re.DOTALL)
    assert "4 rows, 4 columns" in table
    assert '<th scope="col" class="num">run</th>' not in table.split("<tbody>")[1]
    assert ">10.csv</a>" in table
    assert ">20.csv</a>" in table
    (long,) = re.findall(r'id="table-01_data-default-history".*?</details>', index, re.DOTALL)
    assert "The first 30 of 40 rows." in long
    assert long.count("<tr>") == 1 + 30


def test_the_site_is_complete_when_moved(mixed, tmp_path):
    moved = shutil.move(mixed, tmp_path / "elsewhere")
    names = {path.relative_to(moved).as_posix() for path in Path(moved).rglob("*")}
    here = "runs/04_pretraining/10"
    for name in ("receipt.json", "log.txt", "tables/history.csv", "figures/loss_curve.svg"):
        assert f"{here}/{name}" in names


def test_only_changed_notebooks_are_rendered_again(project, finish, monkeypatch):
    folders = finish()
    rendered = []

    def render(path: Path, label: str) -> str:
        rendered.append(label)
        return render_notebook(path, label)

    monkeypatch.setattr(report, "_render_notebook", render)
    site = build_report("tiny").parent
    first = (site / "runs/01_data/default/index.html").read_text()
    assert len(rendered) == len(folders)
    build_report("tiny")
    assert len(rendered) == len(folders)
    assert (site / "runs/01_data/default/index.html").read_text() == first
    notebook = folders["01_data/default"] / "executed.ipynb"
    notebook.write_text(notebook.read_text().replace("answer = 42", "answer = 43"))
    build_report("tiny")
    assert rendered[len(folders) :] == ["01_data/default"]


def test_runs_and_files_that_are_gone_leave_the_site(project, finish):
    folders = finish()
    site = build_report("tiny").parent
    (folders["01_data/default"] / "tables" / "history.csv").unlink()
    text = paths.params_file("tiny").read_text()
    paths.params_file("tiny").write_text(text.replace("[10, 20]", "[10]"))
    build_report("tiny")
    assert not (site / "runs/04_pretraining/20").exists()
    assert not (site / "runs/01_data/default/tables/history.csv").exists()
    assert (site / "runs/04_pretraining/10/index.html").is_file()


def test_a_profile_that_did_not_run_has_a_report_too(project):
    index = build_report("tiny").read_text()
    assert index.count("○ not run</span>") == 4 + 1  # the runs and the legend
    assert '<h2 id="figures">' not in index


def test_a_damaged_notebook_and_an_empty_table_do_not_hide_the_rest(project, finish):
    folder = finish()["01_data/default"]
    (folder / "executed.ipynb").write_text('{"cells": [')
    (folder / "tables" / "empty.csv").write_text("\n")
    site = build_report("tiny").parent
    assert (
        "executed.ipynb could not be shown"
        in (site / "runs/01_data/default/index.html").read_text()
    )
    assert "0 rows, 0 columns" in (site / "index.html").read_text()


# --- the notebook --------------------------------------------------------------------------


def test_a_notebook_page_needs_no_network(tmp_path):
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "  0%| | 0/3"}
    script = {"text/html": '<script src="https://x.org/a.js"></script><b onclick="x()">bold</b>'}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (widget, script)]
    cells = [
        nbformat.v4.new_markdown_cell("![out](https://x.org/i.png) [cite](https://x.org/paper)"),
        nbformat.v4.new_code_cell("1 + 1", outputs=outputs),
    ]
    path = tmp_path / "executed.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    html = render_notebook(path, "stage/run")
    assert "<script" not in html
    assert "onclick" not in html
    assert "0%|" not in html
    assert "<b>bold</b>" in html
    assert References(html).loaded == []
    assert References(html).followed == ["https://x.org/paper"]
    assert "[left out, because it is not part of this page: https://x.org/i.png]" in html


def test_formulas_are_drawn_and_keep_their_source():
    drawn = formula_svg(r"\frac{p(w)}{\prod_i p(s_i)}")
    assert drawn.startswith('<svg class="formula"')
    assert r'aria-label="\frac{p(w)}{\prod_i p(s_i)}"' in drawn
    assert "currentColor" in drawn


def test_a_formula_that_cannot_be_drawn_stays_readable():
    assert formula_svg(r"\begin{x} <") == r'<code class="formula">\begin{x} &lt;</code>'


# --- the graph -----------------------------------------------------------------------------


def test_depth_is_the_longest_way_from_a_source():
    parents = {"a": [], "b": ["a"], "c": ["a", "b"], "d": []}
    assert stage_depths(parents) == {"a": 0, "b": 1, "c": 2, "d": 0}
    with pytest.raises(ValueError, match="wait for each other"):
        stage_depths({"a": ["b"], "b": ["a"]})


def test_the_graph_links_runs_and_says_their_status_without_colour():
    boxes = [
        StageBox("01_data", [], [RunMark("default", "done", "d.html")]),
        StageBox("02_x", ["01_data"], [RunMark("<a>", "failed", "a.html")]),
        StageBox("13_figures", ["01_data", "02_x"], []),
    ]
    svg = draw_graph(boxes)
    assert svg.count('class="g-box"') == 3
    assert svg.count('class="g-edge"') == 3
    assert 'href="a.html" aria-label="&lt;a&gt;: failed"' in svg
    assert "✗" in svg
    assert svg == draw_graph(boxes[::-1])


def test_boxes_of_one_column_do_not_overlap():
    boxes = [StageBox("a", [])] + [
        StageBox(f"b{i}", ["a"], [RunMark(str(j), "done", "x") for j in range(3 * i)])
        for i in range(5)
    ]
    rects = re.findall(r'x="(\d+)" y="(\d+)" width="\d+" height="(\d+)"', draw_graph(boxes))
    columns: dict[str, list[tuple[int, int]]] = {}
    for x, y, height in rects:
        columns.setdefault(x, []).append((int(y), int(y) + int(height)))
    for spans in columns.values():
        spans.sort()
        assert all(a[1] < b[0] for a, b in pairwise(spans))


# --- numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.7185, 4, "0.7185"),
        (1234.5, 1, "1\u202f234.5"),
        (-0.5, 2, "−0.50"),
        (0.0001, 4, "1.000×10<sup>−4</sup>"),
        (0.0, 4, "0.0000"),
        (float("nan"), 2, "–"),
        (float("-inf"), 2, "−∞"),
    ],
)
def test_numbers_have_sensible_digits(value, decimals, text):
    assert format_number(value, decimals) == text


def test_table_cells_are_escaped_and_numbers_stand_right():
    html = render_table(
        pd.DataFrame({"<n>": ["<b>", None], "count": [1000, 2], "ok": [True, False]})
    )
    assert '<td class="short">&lt;b&gt;</td>' in html
    assert '<td class="num">1\u202f000</td>' in html
    assert '<td class="short">–</td>' in html
    assert "<td>yes</td>" in html


def test_durations_and_sizes_read_well():
    assert [format_seconds(s) for s in (0.44, 38, 245, 7620, None)] == [
        "0.4 s", "38 s", "4 min 05 s", "2 h 07 min", "–",
    ]  # fmt: skip
    assert [format_bytes(n) for n in (512, 3.4 * 2**20, None)] == ["512 B", "3.4 MiB", "–"]


def test_image_sizes_are_in_css_pixels():
    assert image_size(b'<?xml?><svg width="72pt" height="1in">') == (96, 96)
    assert image_size(b'<svg viewBox="0 0 30 20">') == (30, 20)
    with pytest.raises(ValueError, match="viewBox"):
        image_size(b"<svg>")
    with pytest.raises(ValueError, match="expected an image"):
        image_size(b"GATTACA")


# --- the browser ---------------------------------------------------------------------------

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Browser:
    """As much of the WebDriver protocol as these tests need. Source: W3C WebDriver, section 6.2."""

    def __init__(self, port: int, profile: Path, width_px: int, height_px: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        chrome = {
            "args": [*CHROMIUM_FLAGS, f"--user-data-dir={profile}"],
            "binary": shutil.which("chromium"),
            "mobileEmulation": {
                "deviceMetrics": {"width": width_px, "height": height_px, "pixelRatio": 1}
            },
        }
        wanted = {
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        reply = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.base += f"/session/{reply['sessionId']}"

    def call(self, method: str, path: str, body: dict | None = None) -> Any:
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    def run(self, script: str) -> Any:
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def logs(self, kind: str) -> list[dict]:
        return self.call("POST", "/se/log", {"type": kind})

    def requested(self) -> list[str]:
        """Addresses that the page asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [params["request"]["url"] for params in sent]


def start_driver(tmp_path: Path) -> tuple[subprocess.Popen, int]:
    log = tmp_path / "driver.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    for _ in range(100):
        found = re.search(r"started successfully on port (\d+)", log.read_text())
        if found:
            return process, int(found[1])
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    raise AssertionError(f"chromedriver did not start: {log.read_text()}")


@contextlib.contextmanager
def browse(tmp_path: Path, width_px: int = 1280, height_px: int = 900) -> Iterator[Browser]:
    process, port = start_driver(tmp_path)
    try:
        browser = Browser(port, tmp_path / f"browser{width_px}", width_px, height_px)
        yield browser
        browser.call("DELETE", "")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=10)


@pytest.fixture
def chromium() -> None:
    """Skips the test, loudly, where there is no Chromium to look with."""
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing:
        warnings.warn(f"no {' and no '.join(missing)}: the report is not looked at", stacklevel=2)
        pytest.skip(f"needs {' and '.join(missing)} (apt-get install chromium chromium-driver)")


IMAGES = (
    "return [...document.images].map(i => { i.loading = 'eager'; return i.decode().then("
    "() => [i.naturalWidth, i.alt, i.getAttribute('width')], () => [0, i.alt, i.src]); })"
)


def test_a_browser_opens_every_page_without_complaint(mixed, chromium, tmp_path):
    with browse(tmp_path) as browser:
        browser.open((mixed / "index.html").as_uri())
        links = browser.run(
            "return [...document.querySelectorAll('svg.graph a')].map(a => a.href.baseVal)"
        )
        pages = sorted({link for link in links if not link.startswith("#")})
        assert len(pages) == 6
        for page in ["index.html", *pages]:
            browser.open((mixed / page).as_uri())
            images = browser.run(f"return Promise.all((() => {{ {IMAGES} }})())")
            assert all(width > 0 and alt and size for width, alt, size in images), images
            assert "tiny profile" in browser.run("return document.title")
            complaints = [e for e in browser.logs("browser") if e["level"] in ("SEVERE", "WARNING")]
            assert not complaints, (page, complaints)
            # the browser's own start page (chrome:) is among the requests of the first look
            own = ("file:", "data:", "chrome:")
            foreign = [url for url in browser.requested() if not url.startswith(own)]
            assert not foreign, (page, foreign)


def test_a_phone_shows_the_report_without_sideways_scrolling(mixed, chromium, tmp_path):
    with browse(tmp_path, 390, 844) as browser:
        for page in ("index.html", "runs/04_pretraining/10/index.html"):
            browser.open((mixed / page).as_uri())
            assert browser.run("return document.documentElement.scrollWidth") <= 390
            assert browser.run("return innerWidth") == 390


def test_the_button_changes_the_theme_and_code_can_be_hidden(mixed, chromium, tmp_path):
    ground = "return getComputedStyle(document.body).backgroundColor"
    with browse(tmp_path) as browser:
        browser.open((mixed / "runs/04_pretraining/10/index.html").as_uri())
        light = browser.run(ground)
        browser.run("document.querySelector('[data-toggle=theme]').click()")
        dark = browser.run(ground)
        assert dark != light
        browser.open((mixed / "index.html").as_uri())  # the choice is kept on the next page
        assert browser.run(ground) == dark
        browser.open((mixed / "runs/04_pretraining/10/index.html").as_uri())
        browser.run("document.querySelector('[data-toggle=code]').click()")
        assert (
            browser.run("return document.querySelector('.jp-InputArea-editor').offsetHeight") == 0
        )
