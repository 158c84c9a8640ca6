"""A worker of a sweep in a process of its own: run_sweep_worker.py FOLDER N_RUNS [die-at RUN]."""

import os
import sys
import time

from genomelm_utils.tasks.sweep import run_sweep

SWEEP = {
    "method": "random",
    "metric": {"name": "score", "goal": "maximize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 9}},
}


def objective(run) -> None:
    """Scores x; slow enough for two workers to take turns. Says in its folder who did it."""
    if len(sys.argv) > 4 and run.number == int(sys.argv[4]):
        os._exit(9)  # a worker that is killed
    time.sleep(0.15)
    model = run.folder / "model"
    model.mkdir()
    (model / "x.txt").write_text(repr(run.config["x"]))
    (run.folder / "pid").write_text(str(os.getpid()))
    run.report({"score": run.config["x"]})


if __name__ == "__main__":
    run_sweep(SWEEP, objective, sys.argv[1], n_runs=int(sys.argv[2]), storage=sys.argv[3])
