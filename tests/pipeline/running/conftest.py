"""A tiny project in a temporary folder: notebooks of a few lines, a parameter file, no network."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from genomelm_utils import paths
from genomelm_utils.pipeline.engine import Outcome, hold_profile, run_plan
from genomelm_utils.pipeline.graph import PlanRow, build_graph, plan

RUN_ALL = Path(__file__).resolve().parents[3] / "run_all.py"
OPEN = "from genomelm_utils.pipeline.context import open_run\nrun = open_run({name!r}, globals())"


class Project:
    """Makes notebooks and parameter files below a temporary root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("notebooks", "params"):
            (root / name).mkdir()

    def notebook(self, name: str, params: str, *cells: str) -> Path:
        """Write a notebook: title, parameters cell, open_run, then the given code cells."""
        head = [
            new_markdown_cell(f"# Stage {name}"),
            new_code_cell(params, metadata={"tags": ["parameters"]}),
            new_code_cell(OPEN.format(name=name)),
        ]
        notebook = new_notebook(cells=[*head, *map(new_code_cell, cells)])
        path = self.root / "notebooks" / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    def params(self, text: str, profile: str = "demo") -> Path:
        """Write a parameter file."""
        path = self.root / "params" / f"{profile}.yaml"
        path.write_text(text)
        return path

    def module(self, name: str, text: str) -> Path:
        """Write a module that notebooks of this project can import."""
        path = self.root / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
        return path

    def plan(self, profile: str = "demo", **options: object) -> dict[str, PlanRow]:
        """`stage/run` -> plan row."""
        force = bool(options.pop("force", False))
        return {row.id: row for row in plan(build_graph(profile, **options), force)}

    def reasons(self, **options: object) -> dict[str, str]:
        """`stage/run` -> reason, of the runs that would run."""
        return {n: r.reason for n, r in self.plan(**options).items() if r.action == "run"}

    def run(self, force: bool = False, **options: object) -> Outcome:
        """Run what is stale through Snakemake, in this process's own engine."""
        graph = build_graph("demo", **options)
        with hold_profile("demo"):
            return run_plan(graph, plan(graph, force), n_jobs=2)

    def folder(self, name: str) -> Path:
        """The folder of `stage/run`."""
        return paths.run_dir("demo", *name.split("/"))

    def receipt(self, name: str) -> dict:
        """The receipt of `stage/run` as it stands in its file."""
        return json.loads((self.folder(name) / "receipt.json").read_text())

    def command(self, *arguments: str, **options: object) -> subprocess.CompletedProcess:
        """Run run_all.py on this project to its end."""
        return subprocess.run(
            [sys.executable, str(RUN_ALL), *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start run_all.py on this project."""
        return subprocess.Popen(
            [sys.executable, str(RUN_ALL), *arguments],
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """The environment of a command that works on this project."""
        return {**os.environ, "GENOMELM_ROOT": str(self.root)}


def wait_for(condition: Callable[[], object], limit_s: float = 90) -> None:
    """Wait until something is true; fail the test where it never becomes so."""
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def open_project(root: Path, patch: pytest.MonkeyPatch) -> Project:
    """An empty project; `paths.ROOT` points at it, and no data folder is given."""
    patch.setattr(paths, "ROOT", root)
    patch.setenv("GENOMELM_ROOT", str(root))
    patch.delenv("GENOMELM_DATA", raising=False)
    return Project(root)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project of this test alone."""
    return open_project(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def module_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An empty project that tests of a module copy, and leave as it is."""
    with pytest.MonkeyPatch.context() as patch:
        yield open_project(tmp_path_factory.mktemp("project"), patch)


@pytest.fixture(name="wait_for")
def wait_for_fixture() -> Callable[..., None]:
    """The function `wait_for`."""
    return wait_for


TABLE = "import pandas as pd\nrun.save_table(pd.DataFrame({'x': [1.5 * n]}), 'x')"


@pytest.fixture
def chain(project: Project) -> Project:
    """Two stages: 02_train reads the table of 01_data; two runs of the second."""
    project.notebook("01_data", "seed: int = 1  # seed\nn: int = 3  # rows; in [1, 10]", TABLE)
    project.notebook(
        "02_train",
        'table: str = "default"  # table; run of 01_data\n'
        "share: float = 0.15  # masked share; in (0, 1)",
        "import toy.helper as helper",
        "x = run.parent('table').table('x')\nrun.save_table(helper.scale(x, share), 'y')",
    )
    project.module("toy/__init__.py", '"""A toy."""\n')
    project.module("toy/deep.py", "FACTOR = 2\n")
    project.module(
        "toy/helper.py",
        '"""Helpers."""\n\ndef scale(x, share):\n    """Scale."""\n'
        "    from toy.deep import FACTOR\n    return x * share * FACTOR\n",
    )
    project.params("profile:\n  seed: 7\n01_data:\n02_train:\n  matrix:\n    share: [0.1, 5e-1]\n")
    return project
