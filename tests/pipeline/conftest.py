"""A tiny project with notebooks, a profile and run folders that look as if they had been run."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pandas as pd
import pytest

from genomelm_utils import paths
from genomelm_utils.pipeline.graph import Node, build_graph
from genomelm_utils.pipeline.receipts import (
    Receipt,
    collect_outputs,
    load_receipt,
    write_receipt,
)

PARAMETERS = {
    "01_data": "seed: int = 1  # random seed; in [0, inf)",
    "04_pretraining": (
        "seed: int = 1  # random seed; in [0, inf)\n"
        "steps: int = 10  # optimiser steps; in [1, inf)\n"
        'data: str = "default"  # sequences; run of 01_data'
    ),
    "13_figures": 'models: list[str] = ["*"]  # models to draw; run of 04_pretraining',
}
PROFILE = """\
profile:
  description: A profile for tests.
01_data:
04_pretraining:
  matrix:
    steps: [10, 20]
13_figures:
"""


def write_notebook(stage: str) -> None:
    """A notebook with a title, a formula, a parameters cell and a line of code."""
    cells = [
        nbformat.v4.new_markdown_cell(f"# The stage {stage}\n\nIt shows $\\frac{{1}}{{2}}$."),
        nbformat.v4.new_code_cell(PARAMETERS[stage], metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("answer = 42"),
    ]
    file = paths.notebook_file(stage)
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), file)


def write_results(folder: Path, node: Node) -> None:
    """Tables, figures and an executed notebook that depend on the parameters alone."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    for name in ("tables", "figures", "checkpoints", "store"):
        (folder / name).mkdir(parents=True)
    steps = node.params.get("steps", 1)
    x = np.arange(1, 41)
    table = pd.DataFrame({"step": x, "scheme": "genemask", "bits_per_base": 2 - 0.01 * x / steps})
    table.to_csv(folder / "tables" / "history.csv", index=False)
    table.head(2).to_csv(folder / "tables" / "summary.csv", index=False)
    (folder / "checkpoints" / "model.bin").write_bytes(bytes([steps]))
    (folder / "store" / "codes.npy").write_bytes(b"ACGT")
    figure, axes = plt.subplots(figsize=(3, 2))
    axes.plot(table["step"], table["bits_per_base"])
    with matplotlib.rc_context({"svg.hashsalt": "tests"}):
        figure.savefig(folder / "figures" / "loss_curve.svg", metadata={"Date": None})
        figure.savefig(folder / "figures" / "loss_curve.png")
    plt.close(figure)
    shutil.copy(paths.notebook_file(node.stage), folder / "executed.ipynb")
    (folder / "log.txt").write_text("all is well\n")


def finish_run(profile: str, node: Node) -> Path:
    """The folder of a run, filled and with its receipt; an earlier one is replaced."""
    folder = paths.run_dir(profile, node.stage, node.run)
    shutil.rmtree(folder, ignore_errors=True)
    write_results(folder, node)
    parents = {name: paths.run_dir(profile, *name.split("/")) for name in node.parent_ids}
    results = {name: load_receipt(path)[0].results_sha256 for name, path in parents.items()}
    receipt = Receipt(
        profile=profile,
        stage=node.stage,
        run=node.run,
        key=node.key,
        params=node.params,
        notebook=node.identity.notebook,
        modules=node.identity.modules,
        inputs=node.identity.inputs,
        parents=node.identity.parents,
        parents_by_param={name: list(ids) for name, ids in node.parents.items()},
        parent_results=results,
        outputs=collect_outputs(folder),
        git={"commit": "0123456789abcdef", "diff_sha256": None},
        versions={"numpy": np.__version__},
        device={"cpu": "a processor", "cores": 2, "threads": 2, "gpus": []},
        host="here",
        python="3.11",
        started="2026-01-01T00:00:00+00:00",
        ended="2026-01-01T00:01:05+00:00",
        wall_s=65.0,
        peak_memory_mib=512.0,
    )
    write_receipt(folder, receipt)
    return folder


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of a project with three stages and the profile `tiny`; nothing has run."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    for stage in PARAMETERS:
        write_notebook(stage)
    paths.params_dir().mkdir()
    paths.params_file("tiny").write_text(PROFILE)
    return tmp_path


@pytest.fixture
def finish() -> Callable[..., dict[str, Path]]:
    """A function that makes the named runs (all by default) of a profile look finished."""

    def finish_runs(profile: str = "tiny", *names: str, overrides: tuple = ()) -> dict[str, Path]:
        nodes = build_graph(profile, overrides).nodes
        return {n: finish_run(profile, nodes[n]) for n in nodes if not names or n in names}

    return finish_runs
