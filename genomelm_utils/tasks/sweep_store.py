"""The folder of a sweep: its storage, which workers are alive, TensorBoard files of its runs."""

import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils.tasks.sweep_space import SweepSpec

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

STORAGES = ("journal", "sqlite")
SWEEP_FILE = "sweep.json"
N_ATTEMPTS = 10  # to open a database, half a second apart


def open_study(folder: Path, kind: str, spec: SweepSpec) -> "optuna.Study":
    """The sweep's study, made by whichever worker comes first.

    Two workers that make the tables of a database at the same moment get in each other's way: the
    later one tries again.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    for attempt in range(N_ATTEMPTS):
        try:
            return optuna.create_study(
                study_name="sweep",
                storage=open_storage(folder, kind),
                direction="maximize" if spec.maximize else "minimize",
                load_if_exists=True,
            )
        except SQLAlchemyError:
            if attempt == N_ATTEMPTS - 1:
                raise
            time.sleep(0.5)
    raise AssertionError


def open_storage(folder: Path, kind: str) -> Any:
    """A storage of Optuna in the folder, as `create_study` takes it."""
    import optuna

    if kind == "sqlite":
        return f"sqlite:///{folder.resolve() / 'sweep.db'}"
    from optuna.storages.journal import JournalFileBackend

    return optuna.storages.JournalStorage(JournalFileBackend(str(folder / "sweep.journal")))


def run_folder(folder: Path, number: int) -> Path:
    """The folder of one run."""
    return folder / "runs" / f"run-{number:04d}"


def check_same(folder: Path, spec: SweepSpec, seed: int) -> None:
    """Write what the sweep is, or refuse a folder that holds another one."""
    content = json.dumps({"seed": seed, "spec": repr(spec)}, indent=1) + "\n"
    path = folder / SWEEP_FILE
    if path.is_file() and path.read_text(encoding="utf-8") != content:
        raise ValueError(
            f"{folder} holds a sweep with other parameters or another seed; name a new folder"
        )
    partial = folder / f".{SWEEP_FILE}.{os.getpid()}"
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)


def abandon_dead(study: "optuna.Study") -> None:
    """Runs whose process is no more (on this machine) are failed, so that others replace them."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished():
            continue
        host, _, pid = trial.user_attrs.get("worker", ":").rpartition(":")
        if host == socket.gethostname() and not _is_alive(int(pid)):
            logger.warning("run %d was interrupted; another takes its place", trial.number)
            with suppress(Exception):  # another worker was faster
                study.tell(trial.number, state=TrialState.FAIL)


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return False  # of an earlier call in this process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def open_board(folder: Path) -> Any | None:
    """Where TensorBoard reads; None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed: trials.csv only")
        return None
    return SummaryWriter(str(folder / "tensorboard"))


def close_board(board: Any, config: dict[str, Any], scores: list[dict[str, float]]) -> None:
    """Write the configuration beside its last scores, and close."""
    flat = {
        k: v if isinstance(v, int | float | str) else str(v) for k, v in flatten(config).items()
    }
    last = {f"final/{name}": value for name, value in (scores[-1] if scores else {}).items()}
    board.add_hparams(flat, last, run_name=".")
    board.close()


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'a': {'b': 1}} as {'a.b': 1}."""
    out: dict[str, Any] = {}
    for name, value in config.items():
        full = f"{prefix}.{name}" if prefix else name
        out |= flatten(value, full) if isinstance(value, Mapping) else {full: value}
    return out
