"""What a sweep found: the best run, a table of all, the best configuration and model on disk."""

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from genomelm_utils.tasks.sweep_space import SweepSpec
from genomelm_utils.tasks.sweep_store import flatten, run_folder

if TYPE_CHECKING:
    import optuna

TRIALS_FILE, BEST_FILE = "trials.csv", "best_config.json"
MODEL = "model"  # in a run's folder: what the objective saves
BEST = "model_files"  # the best run's model; Source: genomeNLP's name
STATES = ("complete", "stopped", "collapsed", "running", "abandoned")


class SweepResult(NamedTuple):
    """trials: a row per run. best: number of the best run. value: its metric. config: nested.
    model: folder of its model, or None."""

    trials: pd.DataFrame
    best: int
    value: float
    config: dict[str, Any]
    model: Path | None


def read_best(folder: Path | str) -> dict[str, Any]:
    """The configuration of the best run of a finished sweep; FileNotFoundError without one."""
    path = Path(folder) / BEST_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, expected the folder of a finished sweep")
    return json.loads(path.read_text(encoding="utf-8"))["config"]


def collect(study: "optuna.Study", spec: SweepSpec, folder: Path, ranking: str) -> SweepResult:
    """Tables, the best configuration and the best model, written and returned."""
    while True:
        best = best_trial(study, spec)
        if best is None:
            raise ValueError(f"{folder}: no run has logged {spec.metric!r} yet")
        table = list_trials(study, spec)
        config = json.loads(best.user_attrs["config"])
        facts = {"run": best.number, "metric": spec.metric, "value": best.value}
        facts |= {"ranking": ranking, "config": config}
        _replace_file(folder / TRIALS_FILE, table.to_csv(index=False))
        _replace_file(folder / BEST_FILE, json.dumps(facts, indent=1) + "\n")
        model = _copy_model(run_folder(folder, best.number) / MODEL, folder / BEST)
        # another worker may have found a better one meanwhile
        if best_trial(study, spec).number == best.number:
            return SweepResult(table, best.number, best.value, config, model)


def list_trials(study: "optuna.Study", spec: SweepSpec) -> pd.DataFrame:
    """A row per run: run, state (of `STATES`), value, last_value, n_logged, its configuration."""
    rows = []
    for trial in study.get_trials(deepcopy=False):
        if "config" not in trial.user_attrs:  # one too many, of a worker that was a moment late
            continue
        scores = json.loads(trial.user_attrs.get("scores", "[]"))
        values = [one[spec.metric] for one in scores]
        rows.append(
            {
                "run": trial.number,
                "state": _state_of(trial),
                "value": trial.value,
                "last_value": values[-1] if values else None,
                "n_logged": len(values),
                **flatten(json.loads(trial.user_attrs["config"])),
            }
        )
    return pd.DataFrame(rows)


def _replace_file(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _copy_model(model: Path, target: Path) -> Path | None:
    """The copy of the best run's model; None where there is none (or another worker took it)."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(model, partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)
    except (OSError, shutil.Error):
        shutil.rmtree(partial, ignore_errors=True)
        return target if target.is_dir() else None
    return target


def best_trial(study: "optuna.Study", spec: SweepSpec) -> "optuna.trial.FrozenTrial | None":
    """The best run: of those that did not collapse, if there are any; the first at a tie."""
    done = [t for t in study.get_trials(deepcopy=False) if t.value is not None]
    sound = [t for t in done if "collapsed" not in t.user_attrs] or done
    sign = -1 if spec.maximize else 1
    return min(sound, key=lambda t: (sign * t.value, t.number), default=None)


def drop_models(study: "optuna.Study", spec: SweepSpec, folder: Path) -> None:
    """Delete the models of finished runs that are not the best one."""
    best = best_trial(study, spec)
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and best is not None and trial.number != best.number:
            shutil.rmtree(run_folder(folder, trial.number) / MODEL, ignore_errors=True)


def _state_of(trial: "optuna.trial.FrozenTrial") -> str:
    if not trial.state.is_finished():
        return "running"
    if trial.state.name == "FAIL":
        return "abandoned"
    if "collapsed" in trial.user_attrs:
        return "collapsed"
    return "stopped" if "stopped" in trial.user_attrs else "complete"
