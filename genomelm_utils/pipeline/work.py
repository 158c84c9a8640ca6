"""A run's work folders: made beside earlier results, swapped in at the end, kept for resuming."""

import contextlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils import paths
from genomelm_utils.pipeline.receipts import write_json_atomic

if TYPE_CHECKING:
    from filelock import FileLock

logger = logging.getLogger(__name__)

JOB_NAME = "job.json"
FAILURE_NAME = "failure.json"
NO_SPACE = "No space left on device"  # strerror(ENOSPC), as every program writes it
# With less than this not even an executed notebook can be written.
FULL_DISK_BYTES = 2**20


class StageError(Exception):
    """A stage did not succeed: where (a cell, or empty) and why, each in one line."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where
        self.message = message


@dataclass(frozen=True)
class Job:
    """One run to execute, as the engine writes it.

    parents   parameter -> `stage/run` ids; inputs names of data files
    gpu       GPUs to reserve on this machine; None leaves the choice to the cluster
    resume    the command that carries on after a failure
    overrides the `--set` texts of the command
    engine    process and its start time, which the run shall not outlive; None on a cluster
    """

    root: str
    data_dir: str | None
    profile: str
    stage: str
    run: str
    label: str
    params: dict[str, Any]
    parents: dict[str, list[str]]
    inputs: list[str]
    threads: int
    gpu: int | None
    resume: str
    state_file: str
    engine: list[float] | None = None
    overrides: list[str] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        """Where finished results stand."""
        return paths.run_dir(self.profile, self.stage, self.run)

    def beside(self, suffix: str) -> Path:
        """The work folder `<run>.partial`, `<run>.failed` or `<run>.old`."""
        return self.run_dir.with_name(self.run + suffix)


def lock_run(run_dir: Path) -> "FileLock":
    """The lock of a run, not yet taken; taking it raises filelock.Timeout while a process runs it.

    It is the operating system's: it ends with the process that holds it, however it ends.
    """
    from filelock import FileLock

    return FileLock(run_dir.with_name(f".{run_dir.name}.lock"), timeout=0)


def recover_swap(run_dir: Path) -> None:
    """Bring back the earlier run where a crash came between the two renames of `swap_in`.

    The caller holds the run's lock.
    """
    old = run_dir.with_name(f"{run_dir.name}.old")
    if old.is_dir() and not run_dir.exists():
        old.rename(run_dir)
    remove_folder(old)


def recover_unlocked(run_dir: Path) -> None:
    """`recover_swap` where nobody runs it: by those who only look, before they look.

    While a process is between the two renames, or where the folder is not ours, nothing is done.
    """
    if run_dir.exists() or not run_dir.with_name(f"{run_dir.name}.old").is_dir():
        return
    from filelock import Timeout

    with contextlib.suppress(Timeout, PermissionError), lock_run(run_dir):
        recover_swap(run_dir)


def prepare_work(job: Job, key: str) -> Path:
    """A fresh `<run>.partial`; checkpoints of an interrupted or failed try with the same key stay.

    A trained step is never thrown away while everything it depends on is the same.
    """
    work, failed = job.beside(".partial"), job.beside(".failed")
    for folder in (work, failed):
        if _key_of(folder) == key and _has_checkpoints(folder):
            logger.info("%s: carrying on from the checkpoints in %s", job.label, folder)
            if folder == failed:
                remove_folder(work)
                failed.rename(work)
            _keep_only(work, {"checkpoints", JOB_NAME})
            break
    else:
        remove_folder(work)
        work.mkdir(parents=True)
    write_json_atomic(work / JOB_NAME, {**asdict(job), "key": key, "work_dir": str(work)})
    return work


def _keep_only(folder: Path, names: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in names:
            remove_folder(path) if path.is_dir() else path.unlink()


def _key_of(folder: Path) -> str:
    try:
        return json.loads((folder / JOB_NAME).read_text())["key"]
    except (OSError, ValueError, KeyError):
        return ""


def _has_checkpoints(folder: Path) -> bool:
    checkpoints = folder / "checkpoints"
    return checkpoints.is_dir() and any(checkpoints.iterdir())


def swap_in(job: Job) -> None:
    """Put the finished work in the place of the earlier run, which is deleted last."""
    work, old = job.beside(".partial"), job.beside(".old")
    if job.run_dir.exists():
        job.run_dir.rename(old)
    work.rename(job.run_dir)
    (job.run_dir / JOB_NAME).unlink()
    remove_folder(old)
    remove_folder(job.beside(".failed"))


def keep_failure(job: Job, error: StageError) -> None:
    """Move the work to `<run>.failed`: failed.ipynb, log.txt, failure.json, checkpoints."""
    work, failed = job.beside(".partial"), job.beside(".failed")
    if not work.is_dir():
        work.mkdir(parents=True)
    notebook = work / "executed.ipynb"
    if notebook.exists():
        notebook.rename(work / "failed.ipynb")
    record = failure_record(job, error)
    with (work / "log.txt").open("a", encoding="utf-8") as log:
        log.write(f"{record['lines']}\n")
    write_json_atomic(work / FAILURE_NAME, record)
    remove_folder(failed)
    work.rename(failed)


def failure_record(job: Job, error: StageError) -> dict[str, str]:
    """The failure as the engine and the report read it; `lines` is what is printed last."""
    at = f" at {error.where}" if error.where else ""
    lines = [f"FAILED {job.label}{at}", error.message, f"resume: {job.resume}"]
    return {
        "stage": job.stage,
        "run": job.run,
        "where": error.where,
        "error": error.message,
        "resume": job.resume,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "lines": "\n".join(lines),
    }


def is_disk_full(folder: Path) -> bool:
    """Whether there is no room to speak of on a folder's disk; the folder need not exist yet."""
    return shutil.disk_usage(_existing(folder)).free < FULL_DISK_BYTES


def describe_full_disk(folder: Path) -> str:
    """What to say where a folder's disk was full, in one line."""
    place = _existing(folder)
    free_mib = shutil.disk_usage(place).free / 2**20
    return f"disk full: {free_mib:.0f} MiB free on the disk of {place}; free some and resume"


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def remove_folder(folder: Path) -> None:
    """Delete a folder and all below it, if it is there."""
    if folder.is_dir():
        shutil.rmtree(folder)
