"""Executes one run of one stage: `python -m genomelm_utils.pipeline.execute job.json`.

Results are made in `<run>.partial`, and take the place of an earlier run only when all is done and
the receipt is written. A failure leaves `<run>.failed` with the notebook as far as it came.
"""

import contextlib
import json
import logging
import os
import platform
import signal
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from genomelm_utils import paths
from genomelm_utils.pipeline import machine
from genomelm_utils.pipeline.code import hash_notebook
from genomelm_utils.pipeline.inputs import hash_inputs
from genomelm_utils.pipeline.notebook_run import describe_os_error, run_notebook
from genomelm_utils.pipeline.receipts import (
    Identity,
    Receipt,
    collect_outputs,
    load_receipt,
    write_json_atomic,
    write_receipt,
)
from genomelm_utils.pipeline.work import (
    Job,
    StageError,
    failure_record,
    keep_failure,
    lock_run,
    prepare_work,
    recover_swap,
    swap_in,
)

logger = logging.getLogger(__name__)

INTERRUPTED_STATUS = 130


class StageInterrupted(BaseException):
    """The stage was asked to stop (SIGTERM or SIGINT)."""


def execute_job(job: Job) -> Receipt:
    """Run one stage and put its results in place; the receipt of the new run.

    Raises StageError with cell and message; the earlier good run is then untouched.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    recover_swap(job.run_dir)
    identity = current_identity(job)
    work = prepare_work(job, identity.key)
    git = machine.git_state()
    gpus = machine.list_gpus()
    with contextlib.ExitStack() as stack:
        taken = None if job.gpu is None else stack.enter_context(machine.take_gpus(job.gpu, gpus))
        kernel = machine.stage_environment(job.threads, taken)
        memory = stack.enter_context(machine.MemoryWatch())
        run_notebook(job, work, kernel)
    receipt = Receipt(
        profile=job.profile,
        stage=job.stage,
        run=job.run,
        key=identity.key,
        params=identity.params,
        notebook=identity.notebook,
        modules=_modules_run(identity, job),
        inputs=identity.inputs,
        parents=identity.parents,
        parents_by_param=job.parents,
        parent_results=_parent_results(job),
        outputs=collect_outputs(work),
        seeds={name: value for name, value in job.params.items() if "seed" in name},
        overrides=job.overrides,
        git=git,
        versions=machine.package_versions(),
        device=machine.describe_device(job.threads, [n for _, n in (taken or gpus)]),
        host=socket.gethostname(),
        python=platform.python_version(),
        started=started.isoformat(timespec="seconds"),
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        wall_s=round(time.monotonic() - clock, 3),
        peak_memory_mib=round(memory.peak_mib, 1),
    )
    write_receipt(work, receipt)
    swap_in(job)
    return receipt


def current_identity(job: Job) -> Identity:
    """What the run depends on, read now rather than when the plan was made."""
    notebook, modules = hash_notebook(paths.notebook_file(job.stage))
    inputs = hash_inputs(job.inputs, job.label)
    parents = {}
    for name in _parent_ids(job):
        receipt, problem = load_receipt(paths.run_dir(job.profile, *name.split("/")))
        if receipt is None:
            raise StageError("", f"FileNotFoundError: {name} has no results ({problem})")
        parents[name] = receipt.key
    return Identity(job.params, notebook, modules, inputs, parents)


def _parent_ids(job: Job) -> list[str]:
    return list(dict.fromkeys(name for names in job.parents.values() for name in names))


def _parent_results(job: Job) -> dict[str, str]:
    found = {}
    for name in _parent_ids(job):
        receipt = load_receipt(paths.run_dir(job.profile, *name.split("/")))[0]
        found[name] = receipt.results_sha256 if receipt else ""
    return found


def _modules_run(identity: Identity, job: Job) -> dict[str, str]:
    """Module hashes; one that was edited meanwhile gets a mark, so that the next plan reruns it."""
    after = hash_notebook(paths.notebook_file(job.stage))[1]
    return {
        name: code_hash if after.get(name) == code_hash else f"edited while running: {code_hash}"
        for name, code_hash in identity.modules.items()
    }


def load_job(path: Path) -> Job:
    """The job in a file; also sets the project's root and the data folder of this process."""
    job = Job(**json.loads(path.read_text()))
    paths.ROOT = Path(job.root)
    os.environ["GENOMELM_ROOT"] = job.root
    if job.data_dir:
        os.environ["GENOMELM_DATA"] = job.data_dir
    return job


def _stop(signum: int, _: object) -> NoReturn:
    # Further signals must not disturb the kernel's shutdown.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise StageInterrupted(signal.Signals(signum).name)


def watch_engine(engine: list[float]) -> None:
    """Stop this process as SIGTERM does when run_all.py was killed outright."""

    def watch() -> None:
        while machine.is_alive(engine):
            time.sleep(machine.SAMPLE_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _tell(job: Job, state: str, **more: Any) -> None:
    """Tell the progress display, wherever this process runs."""
    now = datetime.now(UTC).timestamp()
    with contextlib.suppress(OSError):  # a full disk must not hide the stage's own error
        write_json_atomic(Path(job.state_file), {"state": state, "time": now, **more})


def main(arguments: list[str]) -> int:
    """Execute the job of a file. Status 0, 1 after a failure, 130 where it was interrupted."""
    from filelock import Timeout

    if len(arguments) != 1:
        sys.exit("usage: python -m genomelm_utils.pipeline.execute job.json")
    # nbformat's schema checker would build a grammar of web addresses, in one second; notebooks
    # need none of it, and it does without where the module is absent.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    job = load_job(Path(arguments[0]))
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    if job.engine:
        watch_engine(job.engine)
    job.run_dir.parent.mkdir(parents=True, exist_ok=True)
    try:
        with lock_run(job.run_dir):
            return _execute_and_tell(job)
    except Timeout:
        lines = f"FAILED {job.label}\nanother process is running it; wait for it, or stop it"
        _tell(job, "failed", lines=f"{lines}\nresume: {job.resume}")
        return 1
    except StageInterrupted as error:
        _tell(job, "interrupted")
        sys.stderr.write(f"INTERRUPTED {job.label} ({error})\nresume: {job.resume}\n")
        return INTERRUPTED_STATUS


def _execute_and_tell(job: Job) -> int:
    _tell(job, "running")
    try:
        receipt = execute_job(job)
    except Exception as error:
        known = error if isinstance(error, StageError) else None
        if known is None:
            logger.exception("%s failed outside its notebook", job.label)
            text = str(error).strip().splitlines() or [""]
            message = f"{type(error).__name__}: {text[0]}"
            if isinstance(error, OSError):
                message = describe_os_error(error, job.run_dir)
            known = StageError("", message)
        with contextlib.suppress(OSError):
            keep_failure(job, known)
        lines = failure_record(job, known)["lines"]
        _tell(job, "failed", lines=lines)
        sys.stderr.write(f"{lines}\n")
        return 1
    _tell(job, "done", wall_s=receipt.wall_s)
    return 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sys.exit(main(sys.argv[1:]))
