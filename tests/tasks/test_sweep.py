"""Sweeps on Optuna: methods, early stopping, resuming, two processes, what is exported."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from genomelm_utils.tasks.hyperparameters import apply_config, read_hyperparameters
from genomelm_utils.tasks.sequence_validation import Collapsed, TrainingSettings
from genomelm_utils.tasks.sweep import run_sweep
from genomelm_utils.tasks.sweep_sampling import grid_place, should_stop
from genomelm_utils.tasks.sweep_space import Hyperband
from genomelm_utils.tasks.wandb_export import WandbExport

pytest.importorskip("optuna", reason="needs optuna")
WORKER = Path(__file__).with_name("run_sweep_worker.py")
METRIC = {"name": "eval/score", "goal": "maximize"}
GRID = {"method": "grid", "metric": METRIC,
        "parameters": {"x": {"values": [0.1, 0.9, 0.5]}, "y": {"values": [1, 2]}}}  # fmt: skip
RANDOM = {"method": "random", "metric": METRIC,
          "parameters": {"x": {"min": 0.0, "max": 1.0}, "kind": {"values": ["a", None, 3]},
                         "c": {"value": 5}}}  # fmt: skip


def score_x(run) -> None:
    """One report: x itself. Leaves a model behind."""
    (run.folder / "model").mkdir()
    (run.folder / "model" / "config.json").write_text(json.dumps(run.config))
    run.report({"score": run.config["x"], "loss": 1 - run.config["x"]})


def test_a_grid_is_exhausted_and_the_best_is_exported(tmp_path):
    result = run_sweep(GRID, score_x, tmp_path, n_runs=50)
    assert result.trials[["x", "y"]].to_numpy().tolist() == [
        [0.1, 1], [0.1, 2], [0.9, 1], [0.9, 2], [0.5, 1], [0.5, 2],
    ]  # fmt: skip
    assert set(result.trials["state"]) == {"complete"}
    assert (result.best, result.value, result.config) == (2, 0.9, {"x": 0.9, "y": 1})
    assert json.loads((result.model / "config.json").read_text()) == result.config
    # models of others are gone, what is small stays
    assert [p.parent.name for p in tmp_path.glob("runs/*/model")] == ["run-0002"]
    assert len(list(tmp_path.glob("runs/*/tensorboard/*"))) >= 6
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "trials.csv"), result.trials)
    assert read_hyperparameters(tmp_path) == result.config
    assert read_hyperparameters(tmp_path / "best_config.json") == result.config


def test_random_runs_depend_on_seed_and_number_alone(tmp_path):
    one = run_sweep(RANDOM, score_x, tmp_path / "1", n_runs=6, seed=4).trials
    for n in (2, 4, 6):  # in three calls
        parts = run_sweep(RANDOM, score_x, tmp_path / "2", n_runs=n, seed=4).trials
    pd.testing.assert_frame_equal(one, parts)
    other = run_sweep(RANDOM, score_x, tmp_path / "3", n_runs=6, seed=5).trials
    assert not one["x"].equals(other["x"])
    assert one["x"].between(0, 1).all() and set(one["c"]) == {5}
    assert one["kind"].nunique(dropna=False) > 1


def test_bayes_finds_the_hill(tmp_path):
    """After five random runs the process looks where values are high."""
    sweep = {"method": "bayes", "metric": METRIC,
             "parameters": {"x": {"min": 0.0, "max": 10.0}}}  # fmt: skip

    def hill(run):
        run.report({"score": -((run.config["x"] - 7.3) ** 2)})

    result = run_sweep(sweep, hill, tmp_path, n_runs=10, seed=2, storage="sqlite")
    assert result.config["x"] == pytest.approx(7.3, abs=0.5)
    assert (tmp_path / "sweep.db").is_file()
    again = run_sweep(sweep, hill, tmp_path / "again", n_runs=6, seed=2)
    assert again.trials["x"].tolist() == result.trials["x"].tolist()[:6]


def test_rules_of_hyperband_by_hand():
    early = Hyperband((2, 4), 3, strict=False)
    others = [[0.1, 0.9], [0.2, 0.8], [0.3, 0.5]]
    # four values at band 2: 0.9 0.8 0.5 0.4; place int(4 / 3) = 1, threshold 0.8
    assert should_stop(early, [0.3, 0.4], others, maximize=True)
    assert not should_stop(early, [0.85, 0.4], others, maximize=True)  # its best so far counts
    assert should_stop(early._replace(strict=True), [0.85, 0.4], others, maximize=True)
    assert not should_stop(early, [0.3, 0.4, 0.1], others, maximize=True)  # no band
    assert not should_stop(early, [0.3, 0.4], [], maximize=True)  # alone
    assert should_stop(early, [0.9, 0.95], others, maximize=False)
    assert not should_stop(early, [0.4, 0.45], others, maximize=False)


def test_bad_runs_are_stopped_early(tmp_path):
    sweep = {**GRID, "parameters": {"x": {"values": [0.9, 0.8, 0.1, 0.95, 0.2]}},
             "early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 2}}  # fmt: skip

    def long(run):
        for step in range(1, 6):
            run.report({"score": run.config["x"] * step / 5})

    trials = run_sweep(sweep, long, tmp_path).trials
    assert trials["state"].tolist() == ["complete", "complete", "stopped", "complete", "stopped"]
    assert trials["n_logged"].tolist() == [5, 5, 2, 5, 2]


def test_ranking_by_the_best_or_by_the_last_value(tmp_path):
    sweep = {**GRID, "parameters": {"x": {"values": [0, 1]}}}

    def falls(run):
        for value in ([0.9, 0.2], [0.5, 0.6])[run.config["x"]]:
            run.report({"score": value})

    assert run_sweep(sweep, falls, tmp_path / "c").config == {"x": 0}
    assert run_sweep(sweep, falls, tmp_path / "r", ranking="reference").config == {"x": 1}


def test_a_collapsed_run_is_marked_and_never_the_best(tmp_path):
    sweep = {**GRID, "parameters": {"x": {"values": [0.9, 0.5, 0.7]}}}

    def collapses(run):
        run.report({"score": run.config["x"]})
        if run.config["x"] == 0.9:
            raise Collapsed("all of one class")
        if run.config["x"] == 0.7:
            raise FloatingPointError("the loss is nan")

    result = run_sweep(sweep, collapses, tmp_path)
    assert result.trials["state"].tolist() == ["collapsed", "complete", "collapsed"]
    assert result.best == 1


def test_a_target_and_a_cap_end_a_sweep(tmp_path):
    aimed = {**GRID, "metric": {**METRIC, "target": 0.8}}
    assert len(run_sweep(aimed, score_x, tmp_path / "aimed").trials) == 3
    capped = {**RANDOM, "run_cap": 2}
    assert len(run_sweep(capped, score_x, tmp_path / "capped", n_runs=9).trials) == 2


def test_an_error_ends_the_worker_and_another_call_goes_on(tmp_path):
    def breaks(run):
        if run.number == 1:
            raise ValueError("no such file")
        score_x(run)

    with pytest.raises(ValueError, match="no such file"):
        run_sweep(GRID, breaks, tmp_path)
    result = run_sweep(GRID, score_x, tmp_path)
    # the combination of the run that failed comes again, last
    done = result.trials[result.trials["state"] == "complete"]
    assert len(done) == 6 and done[["x", "y"]].drop_duplicates().shape[0] == 6
    assert result.trials["state"].tolist().count("abandoned") == 1


def test_places_in_a_grid():
    assert [grid_place(i, 3, []) for i in range(4)] == [0, 1, 2, None]
    assert [grid_place(i, 3, [(1, 1)]) for i in (3, 4)] == [1, None]


def run_worker(folder: Path, n: int, storage: str, *more: str) -> subprocess.Popen:
    command = [sys.executable, str(WORKER), str(folder), str(n), storage, *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_two_processes_share_a_sweep(tmp_path, storage):
    workers = [run_worker(tmp_path / "both", 12, storage, "2") for _ in range(2)]
    for worker in workers:
        assert worker.wait(timeout=300) == 0, worker.stderr.read()
    trials = pd.read_csv(tmp_path / "both" / "trials.csv")
    assert len(trials) == 12 and set(trials["state"]) == {"complete"}
    pids = {(p / "pid").read_text() for p in (tmp_path / "both" / "runs").iterdir()}
    assert len(pids) == 2
    best = trials.loc[trials["value"].idxmax()]
    saved = (tmp_path / "both" / "model_files" / "x.txt").read_text()
    assert float(saved) == pytest.approx(best["x"])
    # the same configurations as one worker tries
    from run_sweep_worker import SWEEP

    def quick(run):
        run.report({"score": run.config["x"]})

    alone = run_sweep(SWEEP, quick, tmp_path / "one", n_runs=12).trials
    assert sorted(alone["x"]) == pytest.approx(sorted(trials["x"]))


def test_a_killed_worker_is_replaced(tmp_path):
    worker = run_worker(tmp_path / "sweep", 4, "journal", "1", "2")
    assert worker.wait(timeout=300) == 9
    from run_sweep_worker import SWEEP

    started = time.monotonic()
    result = run_sweep(SWEEP, score_only, tmp_path / "sweep", n_runs=4)
    assert time.monotonic() - started < 60
    states = result.trials["state"].tolist()
    assert states.count("complete") == 4 and states.count("abandoned") == 1


def score_only(run):
    run.report({"score": run.config["x"]})


def test_wrong_requests(tmp_path):
    run_sweep(GRID, score_x, tmp_path)
    with pytest.raises(ValueError, match="other parameters or another seed"):
        run_sweep(RANDOM, score_x, tmp_path)
    with pytest.raises(ValueError, match="other parameters or another seed"):
        run_sweep(GRID, score_x, tmp_path, seed=9)
    with pytest.raises(ValueError, match="a run gives loss"):
        run_sweep(GRID, lambda run: run.report({"loss": 1.0}), tmp_path / "2")
    with pytest.raises(ValueError, match="no run has logged"):
        run_sweep(GRID, lambda run: None, tmp_path / "3")
    with pytest.raises(ValueError, match="storage is 'redis'"):
        run_sweep(GRID, score_x, tmp_path / "4", storage="redis")
    with pytest.raises(FileNotFoundError, match="finished sweep"):
        read_hyperparameters(tmp_path / "runs")


# --- hyper-parameters --------------------------------------------------------------------------


def test_a_configuration_sets_training_and_network():
    config = {"num_train_epochs": 2, "lr": "3e-4", "model": {"layers": 2, "dropout": 0.2},
              "momentum": 0.9, "class_weights": "balanced"}  # fmt: skip
    settings, sizes = apply_config(config, TrainingSettings())
    assert (settings.epochs, settings.learning_rate, settings.class_weights) == (
        2, 3e-4, "balanced",
    )  # fmt: skip
    assert sizes == {"layers": 2, "dropout": 0.2}
    released, sizes = apply_config(config, TrainingSettings(), used="reference")
    assert (released.epochs, released.class_weights, sizes) == (2, "none", {})


def test_files_of_hyperparameters(tmp_path):
    from dataclasses import asdict

    from transformers import TrainingArguments

    file = tmp_path / "hyper.json"
    file.write_text('{"epochs": 4, "learning_rate": 0.001}')
    assert read_hyperparameters(file) == {"epochs": 4, "learning_rate": 0.001}
    # what the released code saves: text inside JSON, of all training arguments
    arguments = asdict(TrainingArguments(str(tmp_path), num_train_epochs=7, learning_rate=2e-5))
    file.write_text(json.dumps(json.dumps(arguments, default=str)))
    found = read_hyperparameters(file)
    settings, _ = apply_config(found, TrainingSettings())
    assert (settings.epochs, settings.learning_rate, settings.batch_size) == (7, 2e-5, 8)
    assert "logging_dir" not in found and "output_dir" not in found


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"learning_rat": 1}, "unknown hyper-parameter 'learning_rat'; did you mean"),
        ({"epochs": "many"}, "epochs is 'many', expected a number"),
        ({"epochs": 2.5}, "epochs is 2.5, expected a whole number"),
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
    ],
)
def test_wrong_hyperparameters(config, said):
    with pytest.raises(ValueError, match=said):
        apply_config(config, TrainingSettings())


# --- Weights & Biases --------------------------------------------------------------------------


class FakeWandb:
    """Stands in for the package: remembers what it is sent."""

    def __init__(self, key):
        self.api = type("Api", (), {"api_key": key})()
        self.sent, self.opened, self.closed = [], [], 0

    def init(self, **options):
        self.opened.append(options)
        return self

    def log(self, scores):
        self.sent.append(scores)

    def finish(self):
        self.closed += 1


def test_runs_are_sent_when_asked_and_logged_in(tmp_path, monkeypatch):
    fake = FakeWandb("key")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run_sweep(GRID, score_x, tmp_path, n_runs=2, exporters=(WandbExport("p", "me", "sweep"),))
    assert [one["eval/score"] for one in fake.sent] == [0.1, 0.1]
    assert fake.opened[1]["config"] == {"x": 0.1, "y": 2}
    assert fake.opened[0]["project"] == "p" and fake.closed == 2


def test_clear_words_without_wandb_or_login(monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match="wandb is not installed"):
        WandbExport("p")
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb(None))
    with pytest.raises(ValueError, match="wandb login"):
        WandbExport("p")
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert WandbExport("p").place["project"] == "p"
