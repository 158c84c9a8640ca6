"""The report of a profile: a folder of plain HTML that opens from a disk, a mail or a server.

Everything in it comes from run folders and receipts. It asks the network for nothing, and a
content security policy in each page sees to it that it stays so.
"""

import importlib.metadata
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from genomelm_utils import paths
from genomelm_utils.pipeline.params import notebook_title
from genomelm_utils.pipeline.report_graph import SYMBOLS, RunMark, StageBox, draw_graph
from genomelm_utils.pipeline.report_site import (
    collect_figures,
    collect_provenance,
    collect_tables,
    copy_results,
    notebook_piece,
    remove_old_runs,
    write_page,
)
from genomelm_utils.pipeline.report_tables import format_bytes, format_seconds
from genomelm_utils.pipeline.survey import RunView, survey_runs

TEMPLATES = Path(__file__).with_name("templates")
PACKAGE = "genomelm"
FIGURE_STAGES = "13_figures"  # names of stages that draw a paper's figures begin so


def build_report(profile: str) -> Path:
    """The `index.html` of the profile's report, which is made or brought up to date.

    Every run of the profile is in it, also those that failed, are stale or did not run. The
    notebook of a run is rendered again only when it has changed (about 2 s each); the rest is made
    anew each time. Files in the report's folder that belong to no run of the profile are removed.
    """
    site = paths.report_dir(profile)
    survey = survey_runs(profile)
    views = survey.runs
    for view in views:
        copy_results(view, site)
    remove_old_runs(site, views)
    pages = _open_templates(profile)
    for view in views:
        _write_run_page(view, site, pages)
    context = _index_context(views, site, survey.description)
    write_page(site / "index.html", pages.get_template("index.html.j2").render(context))
    return site / "index.html"


def _open_templates(profile: str) -> Environment:
    pages = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html", "j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    pages.globals |= {
        "project": PACKAGE,
        "profile": profile,
        "symbols": SYMBOLS,
        "css": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "js": Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    }
    return pages


def _render_notebook(path: Path, label: str) -> str:
    # nbconvert takes a second to import, and is not needed when nothing has changed.
    from genomelm_utils.pipeline.report_notebook import render_notebook

    try:
        return render_notebook(path, label)
    except ValueError as error:  # a damaged notebook must not hide the other runs
        return f'<p class="note failed">{escape(f"{path} could not be shown: {error}")}</p>'


def _write_run_page(view: RunView, site: Path, pages: Environment) -> None:
    page = site / view.place / "index.html"
    key, notebook = notebook_piece(view, page, _render_notebook)
    groups: dict[str, list[tuple[str, str]]] = {"receipt.json": [], "tables": [], "figures": []}
    for name in view.files:
        groups.setdefault(name.split("/")[0], []).append((name.split("/")[-1], name))
    files = [("Receipt and log", groups.pop("receipt.json") + groups.pop("log.txt", []))]
    files += [(title.capitalize(), links) for title, links in groups.items()]
    files.append(("Too large to be copied", [(text, "") for text in view.left_out]))
    html = pages.get_template("run.html.j2").render(
        run=view,
        up="../../../",
        facts=_run_facts(view),
        parents=_page_links(view.parents),
        files=files,
        n_files=f"{len(view.files)} files",
        key=key,
        notebook=Markup(notebook),
    )
    write_page(page, html)


def _run_facts(view: RunView) -> list[tuple[str, Any]]:
    """What the top of a run's page says: cost, date, commit, machine."""
    receipt = view.receipt
    if receipt is None:
        return [("Receipt", "none")]
    return [
        ("Wall time", format_seconds(receipt.wall_s)),
        ("Peak memory", _format_memory(receipt.peak_memory_mib)),
        ("Finished (UTC)", _format_time(receipt.ended)),
        ("Commit", (receipt.git.get("commit") or "none")[:10]),
        ("Machine", receipt.device.get("cpu") or receipt.host),
    ]


def _page_links(ids: Sequence[str]) -> list[tuple[str, str]]:
    """Links from one run's page to those of others."""
    return [(name, f"../../{name}/index.html") for name in ids]


def _format_memory(mib: float) -> str:
    return format_bytes(mib * 2**20)


def _format_time(text: str) -> str:
    """`2026-11-20 15:13` from an ISO 8601 time."""
    return text[:16].replace("T", " ") or "–"


def _index_context(views: Sequence[RunView], site: Path, description: str) -> dict[str, Any]:
    parents = {view.stage: _parent_stages(view.stage, views) for view in views}
    used = {parent for above in parents.values() for parent in above}
    sinks = [stage for stage, above in parents.items() if above and stage not in used]
    figures = {view.id: collect_figures(view, site) for view in views}
    stages = dict.fromkeys(view.stage for view in views if not view.stage.startswith(FIGURE_STAGES))
    galleries = [
        (stage, [figure for v in views if v.stage == stage for figure in figures[v.id]])
        for stage in stages
    ]
    return {
        "about": description or importlib.metadata.metadata(PACKAGE)["Summary"],
        "facts": _profile_facts(views),
        "graph": Markup(draw_graph(_stage_boxes(views, parents))),
        "failures": [_row(view, False) for view in views if view.failure],
        "runs": _status_rows(views),
        "reasons": any(view.reason for view in views),
        "titles": {stage: _stage_title(stage) for stage in parents},
        "figures": [f for v in views if v.stage.startswith(FIGURE_STAGES) for f in figures[v.id]],
        "galleries": [(stage, shown) for stage, shown in galleries if shown],
        "tables": _mark_html(collect_tables(views, site, sinks)),
        "provenance": collect_provenance(views),
    }


def _stage_title(stage: str) -> str:
    file = paths.notebook_file(stage)
    return notebook_title(file) if file.is_file() else ""


def _mark_html(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [table | {"html": Markup(table["html"])} for table in tables]


def _parent_stages(stage: str, views: Sequence[RunView]) -> list[str]:
    parents = (parent for view in views if view.stage == stage for parent in view.parents)
    return list(dict.fromkeys(parent.split("/")[0] for parent in parents))


def _profile_facts(views: Sequence[RunView]) -> list[tuple[str, str]]:
    receipts = [view.receipt for view in views if view.receipt]
    n_done = sum(view.status == "done" for view in views)
    facts = [
        ("Stages", str(len({view.stage for view in views}))),
        ("Runs done", f"{n_done} of {len(views)}"),
        ("Computing time", format_seconds(sum(r.wall_s for r in receipts))),
    ]
    if receipts:
        largest = max(r.peak_memory_mib for r in receipts)
        facts.append(("Largest memory", _format_memory(largest)))
        facts.append(("Last finished (UTC)", _format_time(max(r.ended for r in receipts))))
    return facts


def _stage_boxes(views: Sequence[RunView], parents: dict[str, list[str]]) -> list[StageBox]:
    boxes = {s: StageBox(s, above, more_href=f"#stage-{s}") for s, above in parents.items()}
    for view in views:
        page = f"{view.place}/index.html"
        boxes[view.stage].runs.append(RunMark(view.run, view.status, page))
    return list(boxes.values())


def _status_rows(views: Sequence[RunView]) -> list[dict[str, Any]]:
    firsts = {view.stage: view.id for view in reversed(views)}
    return [_row(view, firsts[view.stage] == view.id) for view in views]


def _row(view: RunView, first: bool) -> dict[str, Any]:
    receipt = view.receipt
    page = f"{view.place}/index.html"
    links = [
        (label, f"{view.place}/{name}")
        for label, name in (("receipt", "receipt.json"), ("log", "log.txt"))
        if name in view.files
    ]
    return {
        "stage": view.stage,
        "run": view.run,
        "status": view.status,
        "reason": view.reason,
        "failure": view.failure,
        "page": page,
        "first": first,
        "wall": format_seconds(receipt.wall_s if receipt else None),
        "memory": _format_memory(receipt.peak_memory_mib) if receipt else "–",
        "finished": _format_time(receipt.ended) if receipt else "–",
        "links": links,
    }
