"""Facts about this machine and checkout that a receipt records, found without importing torch."""

import contextlib
import hashlib
import importlib.metadata
import itertools
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from genomelm_utils import paths

PACKAGES = (
    "genomelm",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "numpy",
    "pandas",
    "scipy",
    "scikit-learn",
    "numba",
    "pyfaidx",
    "matplotlib",
    "seaborn",
    "papermill",
    "nbclient",
    "ipykernel",
    "snakemake",
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Any fixed time does; files that embed one then do not differ between runs (2026-01-01 UTC).
SOURCE_DATE_EPOCH = "1767225600"
SAMPLE_S = 0.5


def package_versions() -> dict[str, str]:
    """Package -> installed version, for the main packages that are installed."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def git_state() -> dict[str, str | None]:
    """`commit`, and `diff_sha256` of all that is uncommitted (None: nothing); None without git."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "diff_sha256": None}
    changed = _git("diff", "HEAD", "--binary") or b""
    untracked = (_git("ls-files", "--others", "--exclude-standard", "-z") or b"").split(b"\0")
    digest = hashlib.sha256(changed)
    for name in filter(None, untracked):
        with contextlib.suppress(OSError):
            digest.update(name + b"\0" + (paths.ROOT / os.fsdecode(name)).read_bytes())
    dirty = bool(changed) or any(untracked)
    return {
        "commit": commit.decode().strip(),
        "diff_sha256": digest.hexdigest() if dirty else None,
    }


def _git(*arguments: str) -> bytes | None:
    """Standard output of git in the project, or None where it fails or there is none."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=paths.ROOT,
            capture_output=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def list_gpus() -> list[tuple[str, str]]:
    """(identifier, name) of every visible GPU, by nvidia-smi and CUDA_VISIBLE_DEVICES."""
    if not shutil.which("nvidia-smi"):
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    found = [[part.strip() for part in line.split(",", 2)] for line in done.stdout.splitlines()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return [(index, name) for index, _, name in found]
    names = {key: name for index, uuid, name in found for key in (index, uuid)}
    return [(item, names[item]) for item in visible.split(",") if item in names]


def describe_device(threads: int, gpus: list[str]) -> dict[str, object]:
    """Processor, cores, threads used and GPUs used, for the receipt."""
    return {"cpu": _cpu_name(), "cores": available_cores(), "threads": threads, "gpus": gpus}


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def take_gpus(number: int, found: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Reserve GPUs on this machine against other stages, and free them at the end.

    Gives at most as many as are found; a stage that asks for one runs on the processor where there
    is none. Waits while all are taken.
    """
    number = min(number, len(found))
    while True:
        with contextlib.ExitStack() as stack:
            free = (gpu for gpu in found if _lock_gpu(stack, gpu))
            taken = list(itertools.islice(free, number))
            if len(taken) == number:
                yield taken
                return
        # All are given back before the next try, so two that want two each never wait for ever.
        time.sleep(SAMPLE_S)


def _lock_gpu(stack: contextlib.ExitStack, gpu: tuple[str, str]) -> bool:
    from filelock import FileLock, Timeout

    name = f"genomelm-gpu-{os.getuid()}-{gpu[0]}.lock"
    try:
        stack.enter_context(FileLock(Path(tempfile.gettempdir()) / name, timeout=0))
    except Timeout:
        return False
    return True


def stage_environment(threads: int, gpus: list[tuple[str, str]] | None) -> dict[str, str]:
    """Environment variables under which a stage gives the same tables every time.

    gpus: those reserved for it; None leaves CUDA_VISIBLE_DEVICES to the cluster.
    """
    variables = dict.fromkeys(THREAD_VARIABLES, str(threads))
    variables |= {
        "PYTHONHASHSEED": "0",
        "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH,
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # cuBLAS computes reproducibly only with a fixed workspace.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # The notebook's `!command` and subprocesses find this environment's programs first.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    if gpus is not None:
        variables["CUDA_VISIBLE_DEVICES"] = ",".join(identifier for identifier, _ in gpus)
    return variables


def identify_process() -> list[float]:
    """Number and start time of this process: numbers are used again, the pair is not."""
    import psutil

    return [os.getpid(), psutil.Process().create_time()]


def is_alive(process: list[float]) -> bool:
    """Whether a process (as `identify_process` names it) still runs on this machine."""
    import psutil

    try:
        return psutil.Process(int(process[0])).create_time() == process[1]
    except psutil.NoSuchProcess:
        return False


class MemoryWatch:
    """The largest memory this process and all below it held, in MiB, sampled in the background."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        # The system's own maximum catches a short peak of one process (KiB on Linux).
        unit = 2**20 if sys.platform == "darwin" else 2**10
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**20
        self.peak_mib = max(self.peak_mib, largest)

    def _watch(self) -> None:
        import psutil

        me = psutil.Process()
        while not self._stop.wait(SAMPLE_S):
            total = 0
            with contextlib.suppress(psutil.Error):
                for process in (me, *me.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        total += process.memory_info().rss
            self.peak_mib = max(self.peak_mib, total / 2**20)
