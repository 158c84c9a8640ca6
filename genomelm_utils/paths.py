"""Where everything lies: one root, and nobody else joins paths."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("GENOMELM_ROOT", Path(__file__).resolve().parent.parent))
INTERACTIVE = "interactive"  # the profile of runs outside a batch


def notebook_file(stage: str) -> Path:
    """The notebook of a stage, such as `notebooks/02_pmi_ranking.ipynb`."""
    return ROOT / "notebooks" / f"{stage}.ipynb"


def notebook_files() -> list[Path]:
    """All stage notebooks in running order (their names start with a number)."""
    return sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def params_dir() -> Path:
    """The folder with one parameter file per profile."""
    return ROOT / "params"


def params_file(profile: str) -> Path:
    """The parameter file of a profile."""
    return params_dir() / f"{profile}.yaml"


def registry_file() -> Path:
    """The table of public data files: name, hash, address, licence."""
    return ROOT / "data" / "registry.tsv"


def data_dir() -> Path | None:
    """The folder of data files already at hand (`GENOMELM_DATA`), or None."""
    folder = os.environ.get("GENOMELM_DATA")
    return Path(folder).expanduser().resolve() if folder else None


def raw_dir() -> Path:
    """Downloaded files, read-only once verified."""
    return ROOT / "data" / "raw"


def interim_dir() -> Path:
    """Files derived from raw ones, shared between runs and safe to delete."""
    return ROOT / "data" / "interim"


def runs_dir(profile: str) -> Path:
    """All run folders of a profile."""
    return ROOT / "data" / "runs" / profile


def run_dir(profile: str, stage: str, run: str) -> Path:
    """The folder of one run of one stage."""
    return runs_dir(profile) / stage / run


def report_dir(profile: str) -> Path:
    """The HTML report of a profile."""
    return ROOT / "data" / "report" / profile


def figures_dir() -> Path:
    """Manuscript figures, drawn from tables only."""
    return ROOT / "figures"
