"""One stage at a time with a real kernel: success, each way to fail, and what stays afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import psutil
import pytest

from genomelm_utils import paths
from genomelm_utils.pipeline import engine, execute, machine, work
from genomelm_utils.pipeline.graph import build_graph
from genomelm_utils.pipeline.receipts import read_receipt

PARAMS = "seed: int = 1  # seed\nn: int = 3  # rows\ntext: str = 'a'  # any text"
TABLE = "import pandas as pd\nrun.save_table(pd.DataFrame({'x': range(n)}), 'x')"


@pytest.fixture
def one(project):
    """A project of one stage; `cells` replaces its notebook."""
    project.params("01_data:")
    project.cells = lambda *cells: project.notebook("01_data", PARAMS, *cells)
    return project


def job_file(project, *overrides):
    graph = build_graph("demo", overrides)
    folder = engine.write_plan(graph, list(graph.nodes))
    return folder / "jobs" / "01_data" / "default.json"


def execute_stage(project, *overrides):
    """Execute 01_data as the engine does; the finished process."""
    command = [sys.executable, "-m", "genomelm_utils.pipeline.execute"]
    return subprocess.run(
        [*command, str(job_file(project, *overrides))], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("depth", "ipc"), [(1, True), (120, False)])
def test_kernels_speak_through_sockets_of_their_own(one, depth, ipc, monkeypatch):
    """Ports would be picked by two kernels at once; where paths are too long there is no choice."""
    short = Path(tempfile.mkdtemp(prefix="g", dir="/tmp"))
    (short / ("t" * depth)).mkdir()
    monkeypatch.setenv("TMPDIR", str(short / ("t" * depth)))
    one.cells(
        "from ipykernel.connect import get_connection_info",
        "import json; seen = json.loads(get_connection_info())",
        "run.log(f\"transport {seen['transport']}\")",
        TABLE,
    )
    done = execute_stage(one)
    shutil.rmtree(short)
    assert done.returncode == 0, done.stderr
    log = (one.folder("01_data/default") / "log.txt").read_text()
    assert f"transport {'ipc' if ipc else 'tcp'}" in log


def test_success_leaves_results_and_a_receipt_that_tells_all(one):
    logged = "import sys\nrun.log('3 records')\nrun.log(sys.executable)\nrun.log(text)"
    one.cells(TABLE, logged, "run.seed")
    odd = 'it\'s "odd" \\ #'
    settings = ["data.n=5", f"data.text={json.dumps(odd)}"]
    done = execute_stage(one, *settings)
    assert done.returncode == 0, done.stderr
    folder = one.folder("01_data/default")
    assert {path.name for path in folder.iterdir()} == {
        "executed.ipynb",
        "log.txt",
        "tables",
        "receipt.json",
    }
    assert [p.name for p in folder.parent.iterdir() if not p.name.startswith(".")] == ["default"]
    assert len(pd.read_csv(folder / "tables/x.csv")) == 5
    log = (folder / "log.txt").read_text()
    assert "3 records" in log
    assert sys.executable in log, "the kernel is another interpreter"
    assert odd in log
    receipt = read_receipt(folder)
    assert receipt.params == {"seed": 1, "n": 5, "text": odd}
    assert receipt.seeds == {"seed": 1}
    assert receipt.overrides == settings
    assert set(receipt.outputs) == {"executed.ipynb", "tables/x.csv"}
    assert receipt.wall_s > 0
    assert receipt.peak_memory_mib > 10
    assert receipt.device["threads"] == 1
    assert receipt.versions["papermill"]
    assert receipt.started <= receipt.ended
    node = build_graph("demo", settings).nodes["01_data/default"]
    assert receipt.key == node.key


@pytest.mark.parametrize(
    ("cell", "at", "message"),
    [
        ("raise ValueError('no rows\\nmore')", " at cell 4", "ValueError: no rows"),
        ("import os\nos.kill(os.getpid(), 9)", " at cell 4", "the kernel died"),
        ("import sys\nsys.exit(0)", " at cell 4", "SystemExit: the notebook stopped itself"),
        (
            "with open('/dev/full', 'w') as f:\n    f.write('x')",
            " at cell 4",
            "disk full: ",
        ),
    ],
    ids=["exception", "kill -9", "exit 0", "disk full"],
)
def test_failure_keeps_earlier_results_and_ends_with_three_lines(one, cell, at, message):
    one.cells(TABLE)
    assert execute_stage(one).returncode == 0
    folder = one.folder("01_data/default")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    one.cells(TABLE, cell, "after = 1")
    done = execute_stage(one)
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()[-3:]
    assert lines[0] == f"FAILED 01_data{at}"
    assert lines[1].startswith(message)
    assert lines[2] == "resume: python run_all.py run --profile demo --from 01_data"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    failed = folder.with_name("default.failed")
    assert (failed / "failed.ipynb").is_file()
    assert not (failed / "receipt.json").exists()
    assert (failed / "log.txt").read_text().strip().endswith("\n".join(lines))
    assert json.loads((failed / "failure.json").read_text())["error"] == lines[1]
    assert not folder.with_name("default.partial").exists()


def test_disk_full_while_the_notebook_itself_is_written(one, monkeypatch, capsys):
    one.cells(TABLE)
    job = execute.load_job(job_file(one))

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("papermill.execute_notebook", fail)
    assert execute._execute_and_tell(job) == 1
    assert "disk full: " in capsys.readouterr().err.splitlines()[1]
    assert job.beside(".failed").is_dir()


TRAINING = """
folder = run.path("checkpoints")
steps = sorted(int(p.name) for p in folder.iterdir())
for step in range(len(steps), 4):
    (folder / str(step)).write_text(str(step))
    if step == 1 and not steps:
        {fault}
import pandas as pd
run.save_table(pd.DataFrame({{"found": [len(steps)]}}), "found")
"""


@pytest.mark.parametrize("fault", ["1 / 0", "import os; os.kill(os.getpid(), 9)"])
def test_training_resumes_from_its_checkpoints(one, fault):
    one.cells(TRAINING.format(fault=fault))
    assert execute_stage(one).returncode == 1
    assert execute_stage(one).returncode == 0
    folder = one.folder("01_data/default")
    assert pd.read_csv(folder / "tables/found.csv")["found"].tolist() == [2]
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["0", "1", "2", "3"]
    assert not folder.with_name("default.failed").exists()


def test_checkpoints_of_other_parameters_are_not_taken(one):
    one.cells(TRAINING.format(fault="1 / 0"))
    assert execute_stage(one).returncode == 1
    assert execute_stage(one, "data.n=4").returncode == 1


def test_sigterm_stops_the_kernel_and_keeps_the_checkpoints(one, wait_for):
    one.cells(
        "import os, time\n(run.path('checkpoints') / '0').write_text(str(os.getpid()))",
        "time.sleep(600)",
    )
    command = [sys.executable, "-m", "genomelm_utils.pipeline.execute", str(job_file(one))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    mark = one.folder("01_data/default").with_name("default.partial") / "checkpoints" / "0"
    wait_for(lambda: mark.is_file() and mark.read_text())
    kernel = int(mark.read_text())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == execute.INTERRUPTED_STATUS
    assert "INTERRUPTED 01_data (SIGTERM)" in errors
    wait_for(lambda: not psutil.pid_exists(kernel))
    assert mark.is_file()
    key = json.loads((mark.parents[1] / "job.json").read_text())["key"]
    assert key == build_graph("demo").nodes["01_data/default"].key


def test_second_process_on_one_run_is_refused(one):
    from filelock import FileLock

    one.cells(TABLE)
    path = job_file(one)
    with FileLock(one.folder("01_data/default").with_name(".default.lock")):
        done = execute_stage(one)
    assert done.returncode == 1
    state = json.loads((path.parents[2] / "state/01_data/default.json").read_text())
    assert "another process is running it" in state["lines"]


def test_missing_parent_is_told(chain):
    graph = build_graph("demo")
    folder = engine.write_plan(graph, list(graph.nodes))
    job = execute.load_job(folder / "jobs" / "02_train" / "0.1.json")
    with pytest.raises(work.StageError, match="01_data/default has no results"):
        execute.current_identity(job)


def test_crash_between_the_two_renames_is_mended(one):
    one.cells(TABLE)
    job = execute.load_job(job_file(one))
    old = job.beside(".old")
    old.mkdir(parents=True)
    (old / "receipt.json").write_text("{}")
    work.recover_swap(job.run_dir)
    assert (job.run_dir / "receipt.json").is_file()
    assert not old.exists()
    old.mkdir()
    work.recover_swap(job.run_dir)
    assert job.run_dir.is_dir()
    assert not old.exists()


def test_module_edited_while_running_makes_the_run_stale(chain):
    graph = build_graph("demo")
    folder = engine.write_plan(graph, list(graph.nodes))
    job = execute.load_job(folder / "jobs" / "02_train" / "0.1.json")
    identity = graph.nodes["02_train/0.1"].identity
    assert execute._modules_run(identity, job) == identity.modules
    chain.module("toy/deep.py", "FACTOR = 33\n")
    modules = execute._modules_run(identity, job)
    assert modules["toy.deep"].startswith("edited while running")
    assert modules["toy.helper"] == identity.modules["toy.helper"]


def test_gpus_are_shared_out(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    found = [("0", "A"), ("1", "A"), ("2", "B")]
    with machine.take_gpus(2, found) as first, machine.take_gpus(1, found) as second:
        assert [first, second] == [[("0", "A"), ("1", "A")], [("2", "B")]]
    with machine.take_gpus(5, found) as everything:
        assert everything == found
    with machine.take_gpus(1, []) as none:
        assert none == []
    assert machine.stage_environment(2, [("1", "A")])["CUDA_VISIBLE_DEVICES"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in machine.stage_environment(2, None)


def test_git_state_knows_a_clean_tree_from_an_edited_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert machine.git_state() == {"commit": None, "diff_sha256": None}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "a.txt").write_text("1")
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "x"]):
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull}
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, env=environment)
    clean = machine.git_state()
    assert len(clean["commit"]) == 40
    assert clean["diff_sha256"] is None
    (tmp_path / "a.txt").write_text("2")
    edited = machine.git_state()
    (tmp_path / "b.txt").write_text("2")
    assert len({None, edited["diff_sha256"], machine.git_state()["diff_sha256"]}) == 3
