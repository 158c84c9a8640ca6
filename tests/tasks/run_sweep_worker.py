"""A worker of a sweep: run_sweep_worker.py FOLDER N_RUNS STORAGE N_WORKERS [RUN to die at]."""

import os
import sys
import time
from pathlib import Path

from genomelm_utils.tasks.sweep import run_sweep

SWEEP = {
    "method": "random",
    "metric": {"name": "score", "goal": "maximize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 9}},
}


def objective(run) -> None:
    """Scores x; slow enough for two workers to take turns. Says in its folder who did it."""
    if len(sys.argv) > 5 and run.number == int(sys.argv[5]):
        os._exit(9)  # a worker that is killed
    time.sleep(0.15)
    model = run.folder / "model"
    model.mkdir()
    (model / "x.txt").write_text(repr(run.config["x"]))
    (run.folder / "pid").write_text(str(os.getpid()))
    run.report({"score": run.config["x"]})


def wait_for_all(folder: Path, n_workers: int) -> None:
    """Sign in, and begin when all have: one alone could do all the runs before the next is up."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < n_workers:
        time.sleep(0.05)


if __name__ == "__main__":
    wait_for_all(Path(f"{sys.argv[1]}-workers"), int(sys.argv[4]))
    run_sweep(SWEEP, objective, sys.argv[1], n_runs=int(sys.argv[2]), storage=sys.argv[3])
