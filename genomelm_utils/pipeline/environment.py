"""Is this machine ready? One line per check, with the command that mends what is missing."""

import importlib.metadata
import os
import platform
import shutil
import sys

import pandas as pd

from genomelm_utils import paths

#: Distributions that the notebooks use; their exact versions stand in constraints.txt.
PACKAGES = (
    "torch transformers tokenizers accelerate datasets numpy pandas scipy scikit-learn numba"
    " pyfaidx pooch matplotlib seaborn captum weightwatcher jupyterlab papermill snakemake"
)
#: Programs that some stages use when they are installed: what for, and how to get them.
TOOLS = {
    "R": ("motif discovery with rGADEM", "make r, or environment.yml (conda)"),
    "mmseqs": ("splits by sequence cluster", "apt-get install mmseqs2"),
    "cd-hit-est": ("splits by sequence cluster", "apt-get install cd-hit"),
    "sbatch": ("running stages on a cluster", "only on a SLURM cluster"),
}
DISK_NEEDED_GIB = 2.0


def row(check: str, ok: bool | None, found: str, fix: str = "") -> dict[str, str]:
    """One line of the table; `ok` None marks something optional that is absent."""
    status = {True: "[OK]", False: "[FAIL]", None: "[--]"}[ok]
    return {"status": status, "check": check, "found": found, "fix": "" if ok else fix}


def check_packages() -> list[dict[str, str]]:
    """Version of every package the notebooks use; a missing one fails."""
    rows = []
    for name in PACKAGES.split():
        try:
            rows.append(row(name, True, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append(row(name, False, "missing", "make setup (or: make run, which calls it)"))
    return rows


def check_disk() -> dict[str, str]:
    """Whether enough disk is free; no exact number, so that the table stays the same."""
    free_gib = shutil.disk_usage(paths.ROOT).free / 2**30
    needed = f"{DISK_NEEDED_GIB:.0f} GiB"
    if free_gib < DISK_NEEDED_GIB:
        return row("free disk", False, f"{free_gib:.1f} GiB", f"free at least {needed}")
    return row("free disk", True, f"more than {needed}")


def check_device(require_gpu: bool) -> dict[str, str]:
    """The device that training would use, and whether it computes in bf16."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        return row(
            "device", True, f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, {bf16}"
        )
    return row(
        "device",
        not require_gpu,
        f"CPU, {torch.get_num_threads()} threads (no CUDA device)",
        "run on a machine with a CUDA device, or set require_gpu to false",
    )


def check_rgadem() -> dict[str, str]:
    """Whether rpy2 finds an R that has rGADEM; optional."""
    from genomelm_utils.motifs.rgadem import MissingR, package_version

    try:
        return row("rGADEM", True, package_version("rGADEM"))
    except MissingR as error:
        return row("rGADEM", None, f"no ({error.what} is missing)", error.command)


def check_modisco() -> dict[str, str]:
    """Whether modisco-lite is there, for patterns of attributions in stage 12; optional."""
    from genomelm_utils.motifs.modisco import INSTALL, is_installed

    if not is_installed():
        return row("modisco-lite (patterns of attributions)", None, "no", INSTALL)
    version = importlib.metadata.version("modisco-lite")
    return row("modisco-lite (patterns of attributions)", True, version)


def check_data() -> dict[str, str]:
    """Where real data files would come from; the demo profile needs none."""
    folder = paths.data_dir()
    if folder is None:
        return row("GENOMELM_DATA", None, "not set", "needed offline for small and paper only")
    if not folder.is_dir():
        return row("GENOMELM_DATA", False, f"{folder.name}: no such folder", "set it to a folder")
    files = sum(len(names) for _, _, names in os.walk(folder))
    return row("GENOMELM_DATA", True, f"{files:,} files")


def check_environment(*, require_gpu: bool = False) -> pd.DataFrame:
    """Checks of this machine: `status` [OK]/[FAIL]/[--], `check`, `found`, `fix`."""
    version = platform.python_version()
    right = (3, 11) <= sys.version_info < (3, 13)
    rows = [
        row("Python", right, version, "install Python 3.11 or 3.12"),
        row("CPU cores", True, str(os.cpu_count())),
        check_disk(),
        check_device(require_gpu),
        *check_packages(),
        check_data(),
        check_rgadem(),
        check_modisco(),
    ]  # fmt: skip
    for tool, (purpose, fix) in TOOLS.items():
        found = shutil.which(tool)
        rows.append(
            row(f"{tool} ({purpose})", True if found else None, "found" if found else "no", fix)
        )
    return pd.DataFrame(rows)


def describe_failures(checks: pd.DataFrame) -> str:
    """A sentence saying that all is well; RuntimeError naming each failed check and its remedy."""
    failed = checks[checks["status"] == "[FAIL]"]
    if len(failed):
        lines = [f"{r.check}: found {r.found}; to mend it: {r.fix}" for r in failed.itertuples()]
        raise RuntimeError("this machine is not ready:\n" + "\n".join(lines))
    absent = checks.loc[checks["status"] == "[--]", "check"]
    return f"{len(checks) - len(absent)} checks passed, none failed; optional and absent: " + (
        ", ".join(absent) or "none"
    )
