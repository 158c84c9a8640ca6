"""What a notebook sees: in a batch its job, in JupyterLab the demo profile's results."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from genomelm_utils import paths
from genomelm_utils.pipeline.context import open_run
from genomelm_utils.pipeline.graph import build_graph
from genomelm_utils.pipeline.receipts import Receipt, collect_outputs, write_receipt

VALUES = {"table": "default", "share": 0.1}


@pytest.fixture
def finished(chain):
    """The chain with a result of its first stage."""
    node = build_graph("demo").nodes["01_data/default"]
    folder = chain.folder(node.id)
    (folder / "tables").mkdir(parents=True)
    pd.DataFrame({"x": [1.5, np.nan], "name": ["NA", "b"]}).to_csv(
        folder / "tables" / "x.csv", index=False
    )
    identity = dict(node.identity.__dict__)
    receipt = Receipt(
        profile="demo",
        stage=node.stage,
        run=node.run,
        key=node.key,
        parents_by_param={},
        parent_results={},
        outputs=collect_outputs(folder),
        **identity,
    )
    write_receipt(folder, receipt)
    return chain


def test_interactive_run_reads_demo_and_writes_apart(finished):
    run = open_run("02_train", VALUES)
    assert (run.profile, run.run, run.params) == ("interactive", "default", VALUES)
    assert run.dir == finished.root / "data/runs/interactive/02_train/default"
    parent = run.parent("table")
    assert parent.params == {"seed": 7, "n": 3}
    assert parent.table("x")["x"].tolist()[0] == 1.5
    assert parent.path("tables/x.csv").is_file()
    assert "share = 0.1  (masked share)" in run.describe()
    with pytest.raises(ValueError, match="no parameter `seed`"):
        _ = run.seed


def leave_results(run) -> list:
    """A file in each folder that a run fills."""
    files = [run.path(name) / "left" for name in ("checkpoints/step-00000500", "tables", "figures")]
    for file in files:
        file.write_text("x")
    return files


def test_interactive_results_stay_for_the_same_run(finished):
    files = leave_results(open_run("02_train", VALUES))
    again = open_run("02_train", dict(VALUES))
    assert all(file.is_file() for file in files)
    assert "scratch space" in again.describe()
    assert "what was there (checkpoints, figures, tables) is kept" in again.describe()


@pytest.mark.parametrize("changed", ["parameter", "package code", "notebook", "parent", "no key"])
def test_interactive_results_of_another_run_are_deleted(finished, changed):
    values = dict(VALUES)
    first = open_run("02_train", values)
    files = leave_results(first)
    match changed:
        case "parameter":
            values["share"] = 0.2
        case "package code":
            finished.module("toy/deep.py", "FACTOR = 3\n")
        case "notebook":
            file = finished.root / "notebooks/02_train.ipynb"
            file.write_text(file.read_text().replace("scale(x, share)", "scale(x, 2 * share)"))
        case "parent":
            receipt = finished.folder("01_data/default") / "receipt.json"
            receipt.write_text(json.dumps(json.loads(receipt.read_text()) | {"key": "other"}))
        case "no key":  # as a folder that an earlier version of this package wrote
            (first.dir / "key.json").unlink()
    again = open_run("02_train", values)
    assert again.dir == first.dir
    assert not any(file.exists() for file in files)
    assert "is deleted: it was made with other parameters, code" in again.describe()
    assert "what was there" not in open_run("02_train", values).describe()


def test_text_NA_stays_text(finished):
    table = open_run("02_train", VALUES).parent("table").table("x")
    assert table["name"].tolist() == ["NA", "b"]
    assert table["x"].isna().tolist() == [False, True]


def test_parent_that_has_not_run_names_the_command(chain):
    with pytest.raises(FileNotFoundError, match=r"run_all.py run --profile demo --until 01_data"):
        open_run("02_train", VALUES)


def test_wrong_parent_table_path_and_parameter_are_named(finished):
    run = open_run("02_train", VALUES)
    with pytest.raises(FileNotFoundError, match=r"no table 'y', expected one of x"):
        run.parent("table").table("y")
    with pytest.raises(FileNotFoundError, match="no checkpoints/final"):
        run.parent("table").path("checkpoints/final")
    with pytest.raises(ValueError, match="share is not a `run of` parameter, expected table"):
        run.parents("share")
    with pytest.raises(ValueError, match=r"02_train.table names the run 'b'"):
        open_run("02_train", VALUES | {"table": "b"})


def test_values_are_checked_in_the_notebook_too(finished):
    with pytest.raises(ValueError, match=r"02_train.share is 15, expected a fraction in \(0, 1\)"):
        open_run("02_train", VALUES | {"share": 15})
    with pytest.raises(ValueError, match=r"run the parameters cell first \(share is not set\)"):
        open_run("02_train", {"table": "default"})


def test_job_gives_profile_run_and_folder(finished, tmp_path, monkeypatch):
    job = {
        "profile": "demo",
        "stage": "02_train",
        "run": "0.1",
        "work_dir": str(tmp_path / "work"),
        "parents": {"table": ["01_data/default"]},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setenv("GENOMELM_JOB", str(tmp_path / "job.json"))
    run = open_run("02_train", VALUES)
    assert (run.profile, run.run, run.dir) == ("demo", "0.1", tmp_path / "work")
    assert [parent.run for parent in run.parents("table")] == ["default"]
    with pytest.raises(ValueError, match="02_train opens the run of 01_data"):
        open_run("01_data", {"seed": 1, "n": 1})


def test_tables_are_the_same_bytes_and_come_back_exactly(finished):
    run = open_run("02_train", VALUES)
    table = pd.DataFrame({"x": np.random.default_rng(1).random(50), "k": range(50)})
    run.save_table(table, "t")
    path = run.dir / "tables" / "t.csv"
    first = path.read_bytes()
    run.save_table(table.copy(), "t")
    assert path.read_bytes() == first
    pd.testing.assert_frame_equal(pd.read_csv(path), table, check_exact=True)
    with pytest.raises(ValueError, match="has an index named k, which would be lost"):
        run.save_table(table.set_index("k"), "t")
    with pytest.raises(ValueError, match="cannot be a file name"):
        run.save_table(table, "a/b")


def test_figures_are_the_same_bytes(finished):
    run = open_run("02_train", VALUES)
    bytes_of = []
    for _ in range(2):
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.plot([1, 2], [3, 4], label="a")
        ax.fill_between([1, 2], [1, 2], hatch="/")
        run.save_figure(figure, "f", caption="Rises by 1.")
        assert plt.fignum_exists(figure.number)
        plt.close(figure)
        bytes_of.append([(run.dir / "figures" / f"f.{end}").read_bytes() for end in ("svg", "png")])
    assert bytes_of[0] == bytes_of[1]
    assert (run.dir / "figures" / "f.txt").read_text() == "Rises by 1.\n"


def test_folders_stay_inside_the_run(finished):
    run = open_run("02_train", VALUES)
    assert run.path("checkpoints/final").is_dir()
    with pytest.raises(ValueError, match="leads out of the run's folder"):
        run.path("../other")


def test_a_shared_folder_belongs_to_one_state_of_the_code(chain, finished):
    run = open_run("02_train", VALUES)
    folder = run.shared("trainings")
    assert folder.is_dir()
    assert folder.parents[1] == chain.root / "data/interim/02_train"
    assert open_run("02_train", VALUES | {"share": 0.2}).shared("trainings") == folder
    path = paths.notebook_file("02_train")
    text = path.read_text()
    path.write_text(text.replace("run = open_run(", "other = 1; run = open_run("))
    assert path.read_text() != text
    assert run.shared("trainings") != folder
    with pytest.raises(ValueError, match="cannot be a file name"):
        run.shared("../x")


def test_only_declared_data_is_given(project):
    project.notebook("01_data", 'genome: str = ""  # FASTA; data')
    project.module("mine.fa", ">a\nACGT\n")
    run = open_run("01_data", {"genome": "mine.fa"})
    assert run.data("mine.fa") == project.root / "mine.fa"
    with pytest.raises(
        ValueError, match=r"does not declare the data file 'other.fa', only mine.fa"
    ):
        run.data("other.fa")
    with pytest.raises(FileNotFoundError, match=r"'mien.fa', expected a name in data/registry.tsv"):
        open_run("01_data", {"genome": "mien.fa"})


def test_log_is_shown(project, capsys):
    project.notebook("01_data", "n: int = 1  # n")
    open_run("01_data", {"n": 1}).log("3 records")
    assert capsys.readouterr().out == "3 records\n"
