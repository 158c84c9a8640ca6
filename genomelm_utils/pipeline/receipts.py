"""The receipt of a run: what went in, what came out, and the key that says if it still holds."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from genomelm_utils import paths

RECEIPT_NAME = "receipt.json"
RECEIPT_FORMAT = 1
WORK_SUFFIXES = (".partial", ".failed", ".old")
# What the engine writes into a run folder beside the results.
NOT_OUTPUTS = ("log.txt", RECEIPT_NAME, "job.json")
# What holds times, or a state that only carrying on needs: another one on a faster machine, or on a
# second try, though the tables, figures, sets and weights are the same to the byte. Patterns;
# `*` also stands for folders.
NOT_RESULTS = (
    "executed.ipynb",
    "checkpoints/history.csv",
    "checkpoints/*/history.csv",
    "checkpoints/tensorboard/*",
    "checkpoints/*/tensorboard/*",
    "checkpoints/*/training_state.pt",
    "checkpoints/*/checkpoint.json",
)


def hash_text(text: str) -> str:
    """The SHA-256 of a text, as hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_json(value: Any) -> str:
    """The SHA-256 of a value that JSON can hold; the order of keys does not matter."""
    return hash_text(json.dumps(value, sort_keys=True, separators=(",", ":")))


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Identity:
    """Everything a result depends on; two runs with equal identities are the same run.

    params      values as the notebook receives them
    notebook    hash of the notebook's code cells (the parameters cell does not count)
    modules     module name -> hash of its syntax tree, for all package code the notebook imports
    inputs      data name or path -> SHA-256 of the (uncompressed) content
    parents     `stage/run` -> key of that run: a change far upstream changes every key below it
    """

    params: dict[str, Any]
    notebook: str
    modules: dict[str, str]
    inputs: dict[str, str]
    parents: dict[str, str]

    @property
    def key(self) -> str:
        """One hash over all parts (a Merkle key, for the parents' keys are among them)."""
        return hash_json(asdict(self))


@dataclass(frozen=True)
class Receipt:
    """What `receipt.json` holds; it is written last, so a run without one did not succeed.

    parents_by_param   parameter -> `stage/run` names it stands for
    seeds              parameters with `seed` in their name
    parent_results     `stage/run` -> `results_sha256` of the parent as it was read
    outputs            path inside the run folder -> {"sha256", "bytes"}
    overrides          the `--set` texts of the command that ran it
    git                {"commit": str | None, "diff_sha256": str | None}; None = clean, or no git
    device             {"cpu", "cores", "threads", "gpus"}
    started, ended     UTC, ISO 8601
    """

    profile: str
    stage: str
    run: str
    key: str
    params: dict[str, Any]
    notebook: str
    modules: dict[str, str]
    inputs: dict[str, str]
    parents: dict[str, str]
    parents_by_param: dict[str, list[str]]
    parent_results: dict[str, str]
    outputs: dict[str, dict[str, Any]]
    seeds: dict[str, Any] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    git: dict[str, str | None] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    host: str = ""
    python: str = ""
    started: str = ""
    ended: str = ""
    wall_s: float = 0.0
    peak_memory_mib: float = 0.0
    format: int = RECEIPT_FORMAT

    @property
    def id(self) -> str:
        """`stage/run`."""
        return f"{self.stage}/{self.run}"

    @property
    def identity(self) -> Identity:
        """The part of the receipt that decides whether it still holds."""
        return Identity(self.params, self.notebook, self.modules, self.inputs, self.parents)

    @property
    def results_sha256(self) -> str:
        """One hash over all outputs that do not depend on the machine's speed (`NOT_RESULTS`)."""
        results = {
            name: output["sha256"]
            for name, output in self.outputs.items()
            if not any(fnmatchcase(name, pattern) for pattern in NOT_RESULTS)
        }
        return hash_json(results)


def collect_outputs(folder: Path) -> dict[str, dict[str, Any]]:
    """Hash and size of every file of a run, wherever in its folder a notebook put it.

    folder: a run folder. Links to files are followed. The engine's own files (log, receipt, job)
    and temporary files (leading dot) do not count.
    """
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*"))}
    return {
        name: {"sha256": hash_file(path), "bytes": path.stat().st_size}
        for name, path in files.items()
        if path.is_file() and not path.name.startswith(".") and name not in NOT_OUTPUTS
    }


def missing_outputs(folder: Path, receipt: Receipt) -> list[str]:
    """Outputs named in a receipt that are gone or have another size (`verify` re-hashes them)."""
    missing = []
    for name, output in receipt.outputs.items():
        path = folder / name
        if not path.is_file():
            missing.append(name)
        elif path.stat().st_size != output["bytes"]:
            missing.append(f"{name} (another size)")
    return missing


def write_json_atomic(path: Path, value: Any) -> None:
    """Write JSON so that a reader, or a crash, sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as stream:
            json.dump(value, stream, indent=1)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        # mkstemp gives 0600; a shared results folder should follow the user's umask.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write `receipt.json` into a run folder, last and atomically."""
    write_json_atomic(folder / RECEIPT_NAME, asdict(receipt))


def load_receipt(folder: Path) -> tuple[Receipt | None, str]:
    """The receipt of a run folder and, where there is none, the reason in a few words."""
    path = folder / RECEIPT_NAME
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None, "no receipt"
    except ValueError as error:
        return None, f"damaged receipt ({error})"
    if not isinstance(values, dict) or values.get("format") != RECEIPT_FORMAT:
        return None, f"damaged receipt (expected format {RECEIPT_FORMAT})"
    values.setdefault("overrides", [])  # receipts of before they were recorded hold as well
    wanted = {item.name for item in fields(Receipt)}
    if wanted != set(values):
        odd = ", ".join(sorted(wanted.symmetric_difference(values)))
        return None, f"damaged receipt (fields missing or unknown: {odd})"
    return Receipt(**values), ""


def read_receipt(folder: Path) -> Receipt | None:
    """The receipt of a run folder, or None where it is absent or damaged."""
    return load_receipt(folder)[0]


def run_folders(profile: str) -> Iterator[Path]:
    """All finished or started run folders of a profile, in order of stage and run.

    Work folders (`.partial`, `.failed`, `.old`) and the engine's own folder are left out.
    """
    for stage in sorted(paths.runs_dir(profile).glob("[0-9][0-9]_*")):
        for folder in sorted(stage.iterdir()):
            if folder.is_dir() and not folder.name.endswith(WORK_SUFFIXES):
                yield folder


def read_receipts(profile: str) -> dict[str, Receipt]:
    """All valid receipts of a profile: `stage/run` -> receipt."""
    found = (read_receipt(folder) for folder in run_folders(profile))
    return {receipt.id: receipt for receipt in found if receipt}
