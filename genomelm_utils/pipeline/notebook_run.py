"""Executes a notebook with papermill and says in one line where and why it failed."""

import contextlib
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genomelm_utils import paths
from genomelm_utils.pipeline.receipts import write_json_atomic
from genomelm_utils.pipeline.work import (
    JOB_NAME,
    NO_SPACE,
    Job,
    StageError,
    describe_full_disk,
    is_disk_full,
)

KERNEL_START_S = 180
#: Longest path of a Unix socket that every system takes, bytes (104 on macOS with its zero).
SOCKET_PATH = 103
DEATH = "the kernel died: it was killed from outside, or memory ran out; see log.txt"


def run_notebook(job: Job, work: Path, kernel: dict[str, str]) -> None:
    """Execute the notebook into `executed.ipynb` with this interpreter's own kernel.

    Raises StageError where a cell fails, the kernel dies, or the notebook stops itself early.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError
    from traitlets.config import Config

    executed = work / "executed.ipynb"
    with _kernel_settings(work, kernel) as folder, _log_to(work / "log.txt"):
        try:
            papermill.execute_notebook(
                str(paths.notebook_file(job.stage)),
                str(executed),
                parameters=job.params,
                kernel_name="python3",
                language="python",
                cwd=str(paths.ROOT),
                progress_bar=False,
                log_output=True,
                start_timeout=KERNEL_START_S,
                config=Config(_kernel_sockets(folder)),
            )
        except PapermillExecutionError as error:
            raise StageError(_failed_cell(executed), _describe(error, work)) from error
        except DeadKernelError as error:
            why = describe_full_disk(work) if is_disk_full(work) else DEATH
            raise StageError(_last_cell(executed), why) from error
        except RuntimeError as error:
            if "kernel" not in str(error).lower():
                raise
            raise StageError("", f"the kernel did not start: {error}") from error
        except OSError as error:
            raise StageError(_last_cell(executed), describe_os_error(error, work)) from error
    stopped = _failed_cell(executed)
    if stopped:
        raise StageError(
            stopped, "SystemExit: the notebook stopped itself; remove sys.exit() or exit()"
        )


@contextlib.contextmanager
def _kernel_settings(work: Path, kernel: dict[str, str]) -> Iterator[str]:
    """A folder of this kernel's own; this process's environment as the kernel shall inherit it.

    The kernel is this very interpreter, without the user's IPython start-up files and without the
    shared history file, which two kernels at once would lock. Afterwards all is as before.
    """
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="genomelm-kernel-") as folder:
        write_json_atomic(Path(folder) / "kernels" / "python3" / "kernel.json", spec)
        os.environ.update(
            kernel,
            GENOMELM_JOB=str(work / JOB_NAME),
            JUPYTER_PATH=folder,
            JUPYTER_RUNTIME_DIR=f"{folder}/runtime",
            IPYTHONDIR=f"{folder}/ipython",
        )
        try:
            yield folder
        finally:
            os.environ.clear()
            os.environ.update(before)


def _kernel_sockets(folder: str) -> dict[str, Any]:
    """Traits for jupyter_client: Unix sockets in the folder; TCP ports only where paths are long.

    A free port is looked for here, given back, and bound by the kernel later: of two kernels that
    start at once one may die of it ("Kernel died before replying to kernel_info").
    """
    prefix = f"{folder}/socket"
    if len(os.fsencode(f"{prefix}-5")) > SOCKET_PATH:
        return {}
    return {"KernelManager": {"transport": "ipc", "ip": prefix}}


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send papermill's log (cells, and everything the notebook prints) to a file."""
    log = logging.getLogger("papermill")
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    level, propagate = log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate
        handler.close()


def _code_cells(executed: Path) -> list[dict[str, Any]]:
    """The notebook's own code cells, in order; papermill's injected one does not count."""
    try:
        cells = json.loads(executed.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError):
        return []
    return [
        cell["metadata"].get("papermill", {})
        for cell in cells
        if cell["cell_type"] == "code"
        and "injected-parameters" not in cell["metadata"].get("tags", ())
    ]


def _failed_cell(executed: Path) -> str:
    """`cell 7`, counted as `In [7]` after Run All; empty where none raised an exception."""
    states = _code_cells(executed)
    return next((f"cell {i}" for i, s in enumerate(states, 1) if s.get("exception")), "")


def _last_cell(executed: Path) -> str:
    """The last cell that was started; papermill marks even that one as completed after a kill."""
    started = [i for i, s in enumerate(_code_cells(executed), 1) if s.get("start_time")]
    return f"cell {started[-1]}" if started else ""


def _describe(error: Any, work: Path) -> str:
    """The error of a cell in one line; a full disk is said in words."""
    first = (str(error.evalue).strip().splitlines() or [""])[0]
    text = f"{error.ename}: {first}"
    if NO_SPACE in f"{error.evalue} {''.join(error.traceback)[-4000:]}":
        return f"{describe_full_disk(work)} ({text})"
    return text


def describe_os_error(error: OSError, work: Path) -> str:
    """An error of the file system in one line; a full disk is said in words."""
    if NO_SPACE in str(error):
        return describe_full_disk(work)
    return f"{type(error).__name__}: {error}"
