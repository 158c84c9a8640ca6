"""Wrong requests, kills, a full disk, two at once: what is said, and that earlier results stand."""

import os
import re
import shutil
import signal
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from genomelm_utils.datasets import registry
from genomelm_utils.pipeline import engine
from genomelm_utils.pipeline.graph import build_graph

STAGE = "seed: int = 1  # seed; in [0, inf)\nn: int = 3  # rows; in [1, 100]"
TABLE = "import pandas as pd\nrun.save_table(pd.DataFrame({'x': range(n)}), 'x')"
NAME = "01_data/default"
HELD = "import os, pathlib, time\npathlib.Path('{mark}').write_text(str(os.getppid()))"


def snapshot(project) -> dict[str, bytes]:
    """Every file of the finished runs; work folders, locks and the engine's own do not count."""
    root = project.root / "data" / "runs" / "demo"
    files = (path for path in root.rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if not path.relative_to(root).parts[0].startswith(".")
        and path.suffix != ".lock"
        and not any(part.endswith((".partial", ".failed")) for part in path.relative_to(root).parts)
    }


def write_stage(project):
    """Give a project its one stage."""
    project.params("01_data:")
    project.notebook("01_data", STAGE, TABLE)
    return project


@pytest.fixture(scope="module")
def run_once(module_project) -> Path:
    """The folder `data/` of that project after its run."""
    assert write_stage(module_project).run().ok
    return module_project.root / "data"


@pytest.fixture
def finished(run_once, project):
    """A project of one stage, which has run."""
    write_stage(project)
    shutil.copytree(run_once, project.root / "data", dirs_exist_ok=True)
    assert project.reasons() == {}
    return project


@pytest.mark.slow
def test_wrong_requests_are_told_and_change_nothing(finished):
    before = snapshot(finished)
    assert f"{NAME}/receipt.json" in before
    for arguments, sentence in (
        (
            ["run", "--set", "data.sead=2"],
            "01_data.sead is not a parameter of notebooks/01_data.ipynb; did you mean seed?",
        ),
        (["run", "--set", "data.n=3.5"], "01_data.n is 3.5, expected an integer in [1, 100]"),
        (["run", "--set", "data.n=0"], "01_data.n is 0, expected an integer in [1, 100]"),
        (["run", "--set", "data.n=ten"], "01_data.n is the text 'ten', expected an integer"),
        (["run", "--only", "dota"], "--only dota: dota is not a stage of this profile"),
        (["run", "--profile", "dem"], "params/dem.yaml: no such profile"),
        (["run", "--data-dir", "/nowhere"], "the data folder /nowhere (GENOMELM_DATA) does not"),
    ):
        done = finished.command(*arguments)
        assert done.returncode == 2, arguments
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
        assert snapshot(finished) == before, arguments
    file = finished.root / "params" / "demo.yaml"
    for text, sentence in (
        ("01_data: {m: 3}", "params/demo.yaml: 01_data.m is not a parameter"),
        ("01_data: {n: '3'}", "01_data.n is the text '3', expected an integer in [1, 100]"),
        ("01_data: {n: 101}", "01_data.n is 101, expected an integer in [1, 100]"),
        ("01_dota:", "01_dota is not a stage"),
        ("01_data: [", "params/demo.yaml, line 1"),
    ):
        file.write_text(text)
        done = finished.command("run")
        assert done.returncode == 2, text
        assert sentence in done.stderr
        assert snapshot(finished) == before, text


def test_a_missing_data_file_is_named_with_its_address_and_earlier_results_stand(finished):
    before = snapshot(finished)
    row = ["reads/a.fa", "a" * 64, "1", "http://127.0.0.1:9/a.fa", "CC0", "copy", "s", "w"]
    finished.module("data/registry.tsv", "\n".join(map("\t".join, (registry.COLUMNS, row))) + "\n")
    finished.notebook("02_read", 'reads: str = "reads/a.fa"  # reads; data', "run.data(reads)")
    finished.params("01_data: {n: 4}\n02_read:")
    done = finished.command("run")
    assert done.returncode == 2
    assert "data files: 1 missing, 0 damaged; nothing was started" in done.stderr
    assert "  reads/a.fa (for 02_read) from http://127.0.0.1:9/a.fa" in done.stderr
    assert "GENOMELM_DATA" in done.stderr
    assert snapshot(finished) == before
    assert not (engine.engine_dir("demo") / "state").exists() or not list(
        (engine.engine_dir("demo") / "state").rglob("02_read*")
    )


def test_a_damaged_data_file_is_named_and_earlier_results_stand(finished, monkeypatch):
    before = snapshot(finished)
    row = ["reads/a.fa", "a" * 64, "1", "http://127.0.0.1:9/a.fa", "CC0", "copy", "s", "w"]
    finished.module("data/registry.tsv", "\n".join(map("\t".join, (registry.COLUMNS, row))) + "\n")
    file = finished.module("at_hand/reads/a.fa", ">a\nAC\n")
    finished.notebook("02_read", 'reads: str = "reads/a.fa"  # reads; data', "run.data(reads)")
    finished.params("01_data: {n: 4}\n02_read:")
    done = finished.command("run", "--data-dir", str(finished.root / "at_hand"))
    assert done.returncode == 2
    assert "data files: 0 missing, 1 damaged; nothing was started" in done.stderr
    assert f"reads/a.fa (for 02_read): {file}: the content's SHA-256 is" in done.stderr
    assert snapshot(finished) == before


def test_a_stage_killed_from_outside_leaves_earlier_results_and_runs_again(finished):
    """kill -9 of the process that executes the stage, in the middle of its notebook."""
    before = snapshot(finished)
    killer = "import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(60)"
    finished.notebook("01_data", STAGE, TABLE, killer)
    outcome = finished.run()
    assert outcome.failed == [NAME]
    assert snapshot(finished) == before
    first, reason, resume = outcome.failures[NAME].splitlines()
    assert first == "FAILED 01_data"
    assert "killed from outside" in reason
    assert resume == "resume: python run_all.py run --profile demo --from 01_data"
    finished.notebook("01_data", STAGE, TABLE, "mended = True")
    assert finished.run().ok
    assert finished.reasons() == {}
    stage = finished.folder(NAME).parent
    assert [path.name for path in stage.iterdir() if path.is_dir()] == ["default"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the parent's death is told on Linux only")
def test_run_all_killed_leaves_earlier_results_and_the_next_run_goes_on(finished, wait_for):
    before = snapshot(finished)
    mark = finished.root / "mark"
    finished.notebook("01_data", STAGE, TABLE, f"{HELD.format(mark=mark)}\ntime.sleep(600)")
    process = finished.start("run")
    wait_for(lambda: mark.is_file() and mark.read_text())
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not alive
    assert snapshot(finished) == before
    finished.notebook("01_data", STAGE, TABLE, "x = 2")
    done = finished.command("run")
    assert done.returncode == 0, done.stderr
    assert finished.reasons() == {}


def test_a_second_run_at_once_is_refused_and_earlier_results_stand(finished, wait_for):
    before = snapshot(finished)
    mark = finished.root / "mark"
    finished.notebook("01_data", STAGE, TABLE, f"{HELD.format(mark=mark)}\ntime.sleep(600)")
    first = finished.start("run")
    wait_for(lambda: mark.is_file() and mark.read_text())
    second = finished.command("run", "--set", "data.n=5")
    assert second.returncode == 2
    assert f"profile demo is being run by process {first.pid} on " in second.stderr
    assert "wait for it, or stop that process" in second.stderr
    assert snapshot(finished) == before
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=90)
    assert snapshot(finished) == before


@pytest.mark.parametrize("told", ["by the disk", "in the log", "nowhere"])
def test_a_lost_process_is_put_down_to_a_full_disk_where_it_was_full(project, monkeypatch, told):
    write_stage(project)
    graph = build_graph("demo")
    free_bytes = 0 if told == "by the disk" else 2**40
    usage = SimpleNamespace(free=free_bytes)
    monkeypatch.setattr("genomelm_utils.pipeline.work.shutil.disk_usage", lambda _: usage)
    log = engine.engine_dir("demo") / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("OSError: [Errno 28] No space left on device\n" if told == "in the log" else "")
    lost = engine._explain_lost(graph, {NAME: {"state": "running"}})[NAME]
    reason = lost["lines"].splitlines()[1]
    assert reason.startswith("its process was" if told == "nowhere" else "disk full: ")


@pytest.fixture
def small_disk(tmp_path):
    """`data/` on a disk of its own of 8 MiB; `grow()` gives it more."""
    folder = tmp_path / "data"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        warnings.warn("no disk could be mounted: a full one is only imitated", stacklevel=2)
        pytest.skip("needs the right to mount a small disk")
    grow = ["mount", "-o", "remount,size=200m", str(folder)]
    yield lambda: subprocess.run(grow, check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_told_and_earlier_results_stand(small_disk, finished):
    before = snapshot(finished)
    filling = "big = run.path('checkpoints') / 'big'\nbig.write_bytes(bytes(50 * 2**20))"
    finished.notebook("01_data", STAGE, TABLE, filling)
    done = finished.command("run")
    assert done.returncode == 1
    first, reason, resume = done.stderr.strip().splitlines()[-3:]
    assert first.startswith("FAILED 01_data"), done.stderr
    assert re.match(r"disk full: 0 MiB free on the disk of /.*; free some and resume", reason)
    assert resume == "resume: python run_all.py run --profile demo --from 01_data"
    assert "killed from outside" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(finished) == before
    done = finished.command("run")  # not even the plan can be written now
    assert done.returncode == 1
    assert "disk full: 0 MiB free on the disk of" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(finished) == before
    small_disk()
    done = finished.command("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (finished.folder(NAME) / "checkpoints" / "big").stat().st_size == 50 * 2**20
    assert finished.reasons() == {}
