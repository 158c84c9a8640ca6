"""Sweeps: many runs of one objective, chosen by a sweep file, kept in a storage that workers share.

Everything lies in one folder: the storage (`sweep.journal` or `sweep.db`), the sweep as it was read
(`sweep.json`), a folder per run, `trials.csv`, and the best run's model and configuration. The same
call goes on where another was stopped, and a second process that is given the same folder helps.

Switch `ranking`, `corrected` or `reference` (the released code): reference ranks runs by the last
value they logged, although the weights kept are those of another epoch; corrected by the best one.
"""

import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils.tasks.sequence_validation import Collapsed
from genomelm_utils.tasks.sweep_results import SweepResult, collect, drop_models
from genomelm_utils.tasks.sweep_sampling import (
    grid_place,
    make_sampler,
    should_stop,
    suggest_config,
)
from genomelm_utils.tasks.sweep_space import SweepSpec, nest, read_sweep
from genomelm_utils.tasks.sweep_store import (
    STORAGES,
    abandon_dead,
    check_same,
    close_board,
    open_board,
    open_study,
    run_folder,
)

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

N_RUNS = 8  # Source: genomeNLP's --sweep_count
RANKINGS = ("corrected", "reference")


class Stopped(Exception):
    """A run is stopped early; the objective lets it pass."""


class SweepRun:
    """One run, as the objective sees it. number; folder: its own; config: nested as in the file.

    seed: of the run, by sweep seed and number.
    """

    def __init__(self, number: int, folder: Path, config: dict[str, Any], seed: int, tell) -> None:
        self.number, self.folder, self.config, self.seed = number, folder, config, seed
        self._tell = tell
        self.values: list[float] = []
        self.scores: list[dict[str, float]] = []

    def report(self, scores: Mapping[str, float]) -> None:
        """Log the scores of an iteration (an epoch). Raises `Stopped` when the run is to end."""
        self._tell(self, dict(scores))


#: objective(run): trains, reports scores, saves what it makes in run.folder / MODEL.
Objective = Callable[[SweepRun], None]
#: Called after every report and at the end (with None): exporters such as `wandb_export`.
Exporter = Callable[[SweepRun, dict[str, float] | None], None]


@dataclass
class _Sweep:
    """What the steps of a sweep share."""

    spec: SweepSpec
    study: "optuna.Study"
    folder: Path
    seed: int
    ranking: str
    exporters: tuple[Exporter, ...]


def run_sweep(
    sweep: SweepSpec | Mapping[str, Any] | Path | str,
    objective: Objective,
    folder: Path | str,
    *,
    n_runs: int = N_RUNS,
    seed: int = 1,
    storage: str = "journal",
    ranking: str = "corrected",
    exporters: tuple[Exporter, ...] = (),
) -> SweepResult:
    """Runs the sweep until `n_runs` runs are there, those of other workers and earlier calls too.

    sweep: a file, its content, or what `read_sweep` made of it. A grid ends when it is exhausted,
    any sweep when its `run_cap` or the metric's `target` is reached. storage: 'journal' (a file;
    works on network drives) or 'sqlite'. Runs whose worker died on this machine are abandoned, and
    others take their place. A run that collapses to one class counts, marked, with what it logged.

    TensorBoard files of every run are written (`tensorboard/` in the run's folder). Models of runs
    that are not the best are deleted as soon as a better one is there.

    Raises: ValueError for a sweep that does not fit the one in the folder, or when no run logged
    the metric. What else the objective raises ends this worker; the run is abandoned.
    """
    import optuna

    if storage not in STORAGES or ranking not in RANKINGS:
        raise ValueError(
            f"storage is {storage!r} and ranking {ranking!r}, expected one of "
            f"{', '.join(STORAGES)}, and {', '.join(RANKINGS)}"
        )
    spec = sweep if isinstance(sweep, SweepSpec) else read_sweep(sweep)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    check_same(folder, spec, seed)
    was = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = open_study(folder, storage, spec)
        work = _Sweep(spec, study, folder, seed, ranking, exporters)
        abandon_dead(study)
        limit = min(n_runs, spec.run_cap or n_runs)
        if spec.method == "grid":
            limit = min(limit, spec.n_grid)
        while _run_next(work, objective, limit):
            pass
        return collect(study, spec, folder, ranking)
    finally:
        optuna.logging.set_verbosity(was)


def _run_next(work: _Sweep, objective: Objective, limit: int) -> bool:
    """Do one more run; False when there are enough."""
    import optuna

    states = optuna.trial.TrialState
    before = [t for t in work.study.get_trials(deepcopy=False) if t.state != states.FAIL]
    if len(before) >= limit or _is_good_enough(work.spec, before):
        return False
    work.study.sampler = make_sampler(work.spec, work.seed, len(before))
    trial = work.study.ask()
    trial.set_user_attr("worker", f"{socket.gethostname()}:{os.getpid()}")
    # another worker may have begun at the same moment
    earlier = work.study.get_trials(deepcopy=False)[: trial.number]
    n_earlier = sum(t.state != states.FAIL for t in earlier)
    place = trial.number
    if work.spec.method == "grid":
        abandoned = [
            (t.number, t.user_attrs["place"])
            for t in earlier
            if t.state == states.FAIL and "place" in t.user_attrs
        ]
        place = grid_place(trial.number, work.spec.n_grid, abandoned)
    if n_earlier >= limit or place is None:
        work.study.tell(trial, state=states.FAIL)
        return False
    trial.set_user_attr("place", place)
    config = nest(suggest_config(trial, work.spec))
    trial.set_user_attr("config", json.dumps(config))
    _do_run(work, trial, objective, config)
    return True


def _do_run(work: _Sweep, trial: "optuna.Trial", objective: Objective, config) -> None:
    from optuna.trial import TrialState

    folder = run_folder(work.folder, trial.number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    board = open_board(folder)

    def tell(run: SweepRun, scores: dict[str, float]) -> None:
        if work.spec.metric not in scores:
            raise ValueError(
                f"the sweep's metric is {work.spec.metric!r}, but a run gives "
                f"{', '.join(scores)}; name one of these in metric.name"
            )
        value = float(scores[work.spec.metric])
        run.values.append(value)
        run.scores.append(scores)
        trial.report(value, step=len(run.values))
        trial.set_user_attr("scores", json.dumps(run.scores))
        for name, score in scores.items():
            if board is not None:
                board.add_scalar(f"eval/{name}", score, len(run.values))
        for export in work.exporters:
            export(run, scores)
        if work.spec.early is not None:
            others = _reported(work.study, trial.number)
            if should_stop(work.spec.early, run.values, others, work.spec.maximize):
                raise Stopped

    run = SweepRun(trial.number, folder, config, work.seed * 10_000 + trial.number, tell)
    state = TrialState.COMPLETE
    try:
        objective(run)
    except Stopped:
        trial.set_user_attr("stopped", True)
    except (Collapsed, FloatingPointError) as error:
        trial.set_user_attr("collapsed", str(error))
        logger.warning("run %d: %s", trial.number, error)
    except BaseException:
        work.study.tell(trial, state=TrialState.FAIL)
        raise
    finally:
        if board is not None:
            close_board(board, config, run.scores)
    for export in work.exporters:
        export(run, None)
    value = _rank_value(work, run.values)
    if value is None:
        trial.set_user_attr("no_value", True)
        state = TrialState.PRUNED
    work.study.tell(trial, None if value is None else value, state=state)
    drop_models(work.study, work.spec, work.folder)


def _rank_value(work: _Sweep, values: list[float]) -> float | None:
    """What a run is ranked by; None without a value."""
    kept = [value for value in values if value == value]
    if not kept:
        return None
    if work.ranking == "reference":
        return kept[-1]
    return max(kept) if work.spec.maximize else min(kept)


def _is_good_enough(spec: SweepSpec, trials: "list[optuna.trial.FrozenTrial]") -> bool:
    """Whether a run has logged the target of the metric."""
    if spec.target is None:
        return False
    sign = 1 if spec.maximize else -1
    logged = (value for trial in trials for value in trial.intermediate_values.values())
    return any(sign * value >= sign * spec.target for value in logged)


def _reported(study: "optuna.Study", number: int) -> list[list[float]]:
    """The values every other run has logged, in order."""
    return [
        [value for _, value in sorted(t.intermediate_values.items())]
        for t in study.get_trials(deepcopy=False)
        if t.number != number and t.state.name != "FAIL"
    ]
