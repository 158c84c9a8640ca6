"""Whole batches through run_all.py and Snakemake: order, failure, interruption, two at once."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import warnings
from pathlib import Path

import pandas as pd
import psutil
import pytest

from genomelm_utils.pipeline import engine
from genomelm_utils.pipeline.cli import parse_arguments
from genomelm_utils.pipeline.execute import INTERRUPTED_STATUS
from genomelm_utils.pipeline.graph import build_graph
from genomelm_utils.pipeline.progress import Progress, format_duration, summarise_states

TABLE = "import pandas as pd\nrun.save_table(pd.DataFrame({'x': range(n)}), 'x')"
SLEEP = "import os, pathlib, time\npathlib.Path(mark).write_text(str(os.getpid()))\ntime.sleep({s})"


@pytest.mark.slow
def test_second_run_executes_nothing(chain):
    first = chain.command("run", "--jobs", "2")
    assert first.returncode == 0, first.stderr
    assert "3 to run, 0 up to date" in first.stdout
    assert "report: " in first.stdout
    y = pd.read_csv(chain.folder("02_train/0.5") / "tables/y.csv")
    assert y["x"].tolist() == [1.5 * 3 * 0.5 * 2]
    assert chain.receipt("02_train/0.5")["parents_by_param"] == {"table": ["01_data/default"]}
    log = engine.engine_dir("demo") / "snakemake.log"
    before = log.stat().st_mtime_ns
    second = chain.command("run")
    assert second.stdout == "profile demo: all 3 runs are up to date\n"
    assert log.stat().st_mtime_ns == before
    assert chain.command("plan").stdout.endswith("0 of 3 would run\n")
    listed = chain.command("list").stdout
    assert "01_data: Stage 01_data" in listed
    assert "    0.5: 20" in listed
    only_one = chain.command("plan", "--set", "02_train/0.5.share=0.6").stdout
    assert "parameters (share: 0.5 -> 0.6)" in only_one
    assert "1 of 3 would run" in only_one


def test_a_run_with_nothing_to_do_writes_a_report_that_is_missing_or_old(project):
    project.params("01_data:")
    project.notebook("01_data", "n: int = 3  # rows", TABLE)
    assert project.run().ok  # the engine alone, as if killed before the report
    index = project.root / "data" / "report" / "demo" / "index.html"
    assert not index.exists()
    current = "profile demo: all 1 runs are up to date\n"
    assert project.command("run").stdout == f"{current}report: {index}\n"
    assert project.command("run").stdout == current
    os.utime(index, ns=(0, 0))
    assert project.command("run").stdout == f"{current}report: {index}\n"
    assert project.command("run").stdout == current


def test_same_receipt_inputs_give_the_same_tables(chain):
    assert chain.run(until="data").done == ["01_data/default"]
    before = chain.receipt("01_data/default")
    assert chain.run(until="data", force=True).done == ["01_data/default"]
    again = chain.receipt("01_data/default")
    assert again["started"] >= before["ended"]
    assert again["key"] == before["key"]
    assert again["outputs"]["tables/x.csv"] == before["outputs"]["tables/x.csv"]


@pytest.mark.slow
def test_failure_stops_what_depends_on_it_and_nothing_else(chain):
    assert chain.run(until="02/0.5").ok
    chain.notebook("03_last", 'y: str = "0.5"  # y; run of 02_train')
    helper = chain.root / "toy/helper.py"
    fault = "    if share > 0.4:\n        raise ValueError('share too large\\nfor this')\n"
    text = helper.read_text().replace("    from toy.deep", fault + "    from toy.deep")
    helper.write_text(text)
    chain.params((chain.root / "params/demo.yaml").read_text() + "03_last:\n")
    before = chain.receipt("02_train/0.5")
    done = chain.command("run", "--from", "02_train", "--set", "02/0.5.share=0.7")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-3:] == [
        "FAILED 02_train/0.5 at cell 4",
        "ValueError: share too large",
        "resume: python run_all.py run --profile demo --from 02_train --set 02/0.5.share=0.7",
    ]
    assert "03_last" not in done.stderr
    assert chain.receipt("02_train/0.5") == before
    assert chain.receipt("02_train/0.1")["modules"] != before["modules"]
    assert not chain.folder("03_last/default").exists()
    reasons = chain.reasons()
    assert "02_train/0.1" not in reasons
    assert reasons["02_train/0.5"] == "package code (toy.helper)"
    assert reasons["03_last/default"] == "no receipt"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["run", "--set", "train.share=15"],
            "--set 02_train.share is 15, expected a fraction in (0, 1); did you mean 0.15?",
        ),
        (
            ["run", "--set", "train.shar=0.1"],
            "--set 02_train.shar is not a parameter of notebooks/02_train.ipynb; "
            "did you mean share?",
        ),
        (["run", "--set", "data.n=three"], "--set 01_data.n is the text 'three', expected an int"),
        (["run", "--only", "dta"], "--only dta: dta is not a stage of this profile"),
        (["run", "--profile", "demos"], "params/demos.yaml: no such profile, expected one of demo"),
        (["run", "--jobs", "0"], "--jobs is 0, expected 1 or more"),
        (["plan", "--data-dir", "/nowhere"], "the data folder /nowhere (GENOMELM_DATA) does not"),
        (["run", "--only", "train"], "run first: python run_all.py run --profile demo --until 01"),
    ],
)
def test_wrong_request_is_one_sentence_before_anything_starts(chain, arguments, sentence):
    done = chain.command(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (engine.engine_dir("demo") / "plan.json").exists()


def test_missing_data_file_is_told_before_anything_starts(chain):
    chain.notebook("03_real", 'genome: str = "no/file.fa"  # FASTA; data')
    chain.params((chain.root / "params/demo.yaml").read_text() + "03_real:\n")
    done = chain.command("run")
    assert done.returncode == 2
    assert "03_real/default.genome is 'no/file.fa', expected a name in data/registry" in done.stderr
    assert not chain.folder("01_data/default").exists()
    done = chain.command("plan")
    assert done.returncode == 0, done.stderr
    assert "03_real       cannot run    input missing (no/file.fa)\n" in done.stdout
    assert done.stdout.endswith("3 of 4 would run, 1 cannot\n")
    listed = chain.command("list").stdout
    assert "    default: no receipt; input missing (no/file.fa), cannot run\n" in listed
    alone = chain.command("run", "--only", "03_real")
    assert alone.returncode == 2
    verified = chain.command("verify")
    assert verified.returncode == 1
    told = "03_real/default: expected up to date, found not run (input missing (no/file.fa), cannot"
    assert told in verified.stdout
    assert "demo: not reproduced: 4 of 4 runs did not run; " in verified.stdout
    reported = chain.command("report")
    assert reported.returncode == 0, reported.stderr
    page = (chain.root / "data/report/demo/index.html").read_text()
    assert "input missing (no/file.fa), cannot run" in page


def sleeper(project, seconds) -> Path:
    """A project of one stage that writes its kernel's process id and sleeps."""
    project.notebook("01_data", 'mark: str = ""  # file for the pid', SLEEP.format(s=seconds))
    mark = project.root / "mark"
    project.params(f"01_data: {{mark: {mark}}}")
    return mark


def test_two_runs_at_once_on_one_profile(project, wait_for):
    mark = sleeper(project, 600)
    first = project.start("run")
    wait_for(lambda: mark.is_file() and mark.read_text())
    second = project.command("run")
    assert second.returncode == 2
    assert f"profile demo is being run by process {first.pid} on " in second.stderr
    children = psutil.Process(first.pid).children(recursive=True)
    first.send_signal(signal.SIGINT)
    output, errors = first.communicate(timeout=90)
    assert first.returncode == INTERRUPTED_STATUS, (output, errors)
    assert "the same command carries on" in errors
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert len(gone) >= 3
    assert not alive
    assert not project.folder("01_data/default").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the parent's death is told on Linux only")
def test_killed_run_all_leaves_no_process_and_no_lock(project, wait_for):
    mark = sleeper(project, 600)
    first = project.start("run")
    wait_for(lambda: mark.is_file() and mark.read_text())
    children = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    sleeper(project, 0)
    done = project.command("run")
    assert done.returncode == 0, done.stderr


def test_failed_stage_is_tried_again_as_often_as_the_profile_says(project):
    project.notebook(
        "01_data",
        "n: int = 1  # n",
        "import pathlib\nflag = pathlib.Path('flag')\nfirst = not flag.exists()\nflag.touch()",
        "assert not first",
    )
    project.params("profile: {retries: 1}\n01_data:")
    outcome = project.run()
    assert outcome.ok, outcome
    assert project.receipt("01_data/default")


def test_killed_stage_process_is_a_failure_too(project):
    project.notebook("01_data", "n: int = 1  # n", "import os\nos.kill(os.getppid(), 9)")
    project.params("01_data:")
    outcome = project.run()
    assert outcome.failed == ["01_data/default"]
    first, reason, _ = outcome.failures["01_data/default"].splitlines()
    assert first == "FAILED 01_data"
    assert "killed from outside" in reason


def test_snakemake_error_of_its_own_is_shown(chain):
    done = chain.command("run", "--executor", "nonesuch")
    assert done.returncode == 1
    assert "Snakemake stopped:" in done.stderr
    assert "nonesuch" in done.stderr


def test_plan_file_holds_stale_runs_and_their_stale_parents_only(chain):
    folder = engine.write_plan(build_graph("demo"), ["02_train/0.1", "02_train/0.5"])
    jobs = json.loads((folder / "plan.json").read_text())["jobs"]
    assert list(jobs) == ["02_train/0.1", "02_train/0.5"]
    assert jobs["02_train/0.1"]["parents"] == []
    assert jobs["02_train/0.1"]["resources"]["gpu"] == 0


def test_the_resume_command_keeps_what_the_batch_was_started_with(chain, monkeypatch):
    monkeypatch.setenv("GENOMELM_DATA", str(chain.root / "my data"))
    graph = build_graph("demo", ["02/0.5.share=0.7"])
    asked = {"executor": "slurm", "executor_arguments": ["--slurm-status-command", "squeue"]}
    folder = engine.write_plan(graph, ["02_train/0.5"], **asked)
    job = json.loads((folder / "jobs/02_train/0.5.json").read_text())
    expected = (
        "python run_all.py run --profile demo --from 02_train "
        f"--data-dir '{chain.root}/my data' --executor slurm --set 02/0.5.share=0.7 "
        "-- --slurm-status-command squeue"
    )
    assert job["resume"] == expected
    given = parse_arguments(shlex.split(job["resume"])[2:])
    assert (given.executor, given.executor_arguments) == tuple(asked.values())
    assert given.data_dir == chain.root / "my data"
    (folder / "snakemake.log").touch()
    lost = engine._explain_lost(graph, {"02_train/0.5": {"state": "running"}}, *asked.values())
    assert lost["02_train/0.5"]["lines"].endswith(f"\nresume: {expected}")
    monkeypatch.delenv("GENOMELM_DATA")
    plain = "python run_all.py run --profile demo --from 02_train --set 02/0.5.share=0.7"
    assert engine.resume_command(graph, graph.nodes["02_train/0.5"]) == plain


class Screen:
    """Collects what is written, and says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        self.text = ""
        self.terminal = terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return self.terminal


STATES = {
    "01_data/default": {"state": "done", "time": 1.0, "wall_s": 65.0},
    "02_train/a": {"state": "failed", "time": 1.0, "lines": "FAILED\nValueError: x\nresume"},
    "02_train/b": {"state": "waiting"},
}


@pytest.mark.parametrize("terminal", [True, False])
def test_progress(terminal):
    screen = Screen(terminal)
    with Progress({name: name for name in STATES}, screen) as progress:
        progress.update(STATES)
        progress.update(STATES)
    assert "1:05" in screen.text
    if terminal:
        assert "1 done, 1 waiting, 1 failed; " in screen.text
    else:
        assert screen.text.splitlines() == [
            "[1/3] 01_data/default  done 1:05",
            "[1/3] 02_train/a       failed",
            "        ValueError: x",
        ]


def test_long_progress_shows_what_matters():
    from rich.console import Console

    console = Console(file=Screen(False), width=60)
    progress = Progress({name: name for name in STATES}, Screen(False))
    progress.update(STATES)
    console.print(progress.table(max_rows=2))
    assert "02_train/a" in console.file.text
    assert "02_train/b" not in console.file.text
    assert "1 done, 1 waiting, 1 failed; " in console.file.text


def test_durations():
    assert [format_duration(s) for s in (4.21, 187, 3765)] == ["4.2 s", "3:07", "1:02:45"]
    assert summarise_states({}, 5) == "0 done; 5.0 s elapsed"


def has_slurm() -> bool:
    """Whether a controller answers, with a partition `main`."""
    if not shutil.which("sbatch"):
        return False
    try:
        done = subprocess.run(
            ["sinfo", "--noheader", "--partition", "main"], capture_output=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and bool(done.stdout.strip())


@pytest.mark.slurm
def test_stages_run_through_slurm(chain):
    if not has_slurm():
        warnings.warn("no SLURM controller answers: running through it is not tested", stacklevel=2)
        pytest.skip("needs a SLURM controller (Debian: slurm-wlm, munge)")
    options = "--slurm-status-command squeue --slurm-no-account"
    options += " --slurm-init-seconds-before-status-checks 2 --latency-wait 5"
    options += " --default-resources slurm_partition=main runtime=5 mem_mb=500 cpus_per_task=1"
    done = chain.command("run", "--executor", "slurm", "--jobs", "2", "--", *options.split())
    assert done.returncode == 0, done.stderr
    assert chain.reasons() == {}
    assert (chain.folder("02_train/0.5") / "tables" / "y.csv").is_file()
