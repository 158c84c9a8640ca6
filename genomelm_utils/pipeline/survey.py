"""How a profile stands: every run that belongs to it, and whether its results hold."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from genomelm_utils import paths
from genomelm_utils.pipeline.graph import Node, build_graph, plan
from genomelm_utils.pipeline.receipts import Receipt, load_receipt
from genomelm_utils.pipeline.work import FAILURE_NAME


@dataclass
class RunView:
    """One run of a profile and how it stands.

    folder   where its results are, or would be
    status   done, stale, failed or not run; reason says why, for all but done
    parents  `stage/run` of those whose results it reads
    failure  the three lines that a failed attempt ended with; failed_notebook is how far it got
    files, left_out  filled by the report: what of it was copied, and what was too large
    """

    stage: str
    run: str
    folder: Path
    status: str
    reason: str = ""
    receipt: Receipt | None = None
    parents: list[str] = field(default_factory=list)
    failure: list[str] = field(default_factory=list)
    failed_notebook: Path | None = None
    files: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """`stage/run`."""
        return f"{self.stage}/{self.run}"

    @property
    def place(self) -> str:
        """The run's folder inside a report."""
        return f"runs/{self.stage}/{self.run}"

    @property
    def notebook(self) -> Path | None:
        """The notebook to show: the failed one where the last attempt failed."""
        if self.status == "failed" and self.failed_notebook:
            return self.failed_notebook
        executed = self.folder / "executed.ipynb"
        return executed if executed.is_file() else None


@dataclass(frozen=True)
class Survey:
    """The description of a profile and all its runs, in the order of the stages."""

    description: str
    runs: list[RunView]


def survey_runs(profile: str) -> Survey:
    """Every run that the profile's parameter file asks for, and how it stands now.

    Errors: those of a parameter file that is wrong.
    """
    graph = build_graph(profile)
    reasons = {row.id: row.reason for row in plan(graph) if row.action != "skip"}
    for node in graph.nodes.values():
        if node.missing:
            reasons[node.id] += ", cannot run"
    views = [_view_run(profile, node, reasons) for node in graph.nodes.values()]
    return Survey(graph.profile.description, sorted(views, key=lambda view: view.stage))


def _view_run(profile: str, node: Node, reasons: Mapping[str, str]) -> RunView:
    folder = paths.run_dir(profile, node.stage, node.run)
    receipt, _ = load_receipt(folder)
    view = RunView(node.stage, node.run, folder, "done", parents=node.parent_ids, receipt=receipt)
    if node.id not in reasons:
        return view
    view.failure, view.failed_notebook = _read_failure(folder)
    if view.failure:
        earlier = f"; the results before it are stale: {reasons[node.id]}" if receipt else ""
        view.status, view.reason = "failed", f"the last attempt failed{earlier}"
    elif receipt:
        view.status, view.reason = "stale", reasons[node.id]
    else:
        view.status, view.reason = "not run", reasons[node.id]
    return view


def _read_failure(folder: Path) -> tuple[list[str], Path | None]:
    """The lines that a failed attempt ended with, and its notebook, where there are any."""
    failed = folder.with_name(f"{folder.name}.failed")
    try:
        lines = json.loads((failed / FAILURE_NAME).read_text(encoding="utf-8"))["lines"].split("\n")
    except (FileNotFoundError, ValueError, KeyError):
        return [], None
    notebook = failed / "failed.ipynb"
    return lines, notebook if notebook.is_file() else None
