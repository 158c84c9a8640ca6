"""Checkpoints that are whole or not there: temporary folder, hashes, then one rename.

`folder/checkpoints/step-00000500/` holds the model in Hugging Face format, `training_state.pt`
(optimiser, position, history, settings) and `checkpoint.json` with the SHA-256 of every file.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

logger = logging.getLogger(__name__)

MANIFEST = "checkpoint.json"
STATE = "training_state.pt"
_PARTIAL = ".partial-"
_DAMAGED = "damaged-"


def checkpoints_dir(folder: Path) -> Path:
    """The folder of all checkpoints of a training."""
    return Path(folder) / "checkpoints"


def checkpoint_dir(folder: Path, step: int) -> Path:
    """The folder of the checkpoint written after `step` updates."""
    return checkpoints_dir(folder) / f"step-{step:08d}"


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """Step -> folder of every complete checkpoint, oldest first."""
    found = sorted(checkpoints_dir(folder).glob("step-[0-9]*"))
    return {int(path.name.removeprefix("step-")): path for path in found if path.is_dir()}


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends well.

    After an error, or a kill, `path` is what it was before, or not there if it was not. An older
    `path` is moved aside first, because a folder that is not empty cannot be replaced in one move.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f"{_PARTIAL}{path.name}-{os.getpid()}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        if path.exists():
            stale = path.parent / f"{_PARTIAL}old-{path.name}-{os.getpid()}"
            path.replace(stale)
            partial.replace(path)
            shutil.rmtree(stale, ignore_errors=True)
        else:
            partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def clear_partial(folder: Path) -> None:
    """Remove what killed processes left half-written among the checkpoints."""
    for path in checkpoints_dir(folder).glob(f"{_PARTIAL}*"):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def hide_bars() -> Iterator[None]:
    """Inside, transformers draws no progress bars for reading and writing; then as before."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def save_checkpoint(folder: Path, step: int, task: nn.Module, state: dict[str, Any]) -> Path:
    """The folder of a new checkpoint: `task.model`, and `state` with the rest of the task.

    Args:
        folder: the training's folder.
        step: finished updates.
        task: module whose `.model` is a `PreTrainedModel`; other parameters go into the state. Its
            method `save_beside(folder)`, if it has one, writes further files for other programs.
        state: plain Python values and tensors only (it is read back with `weights_only=True`).
    Raises: OSError (disk full, no permission) that names the checkpoint that still stands.
    """
    path = checkpoint_dir(folder, step)
    outside = {k: v for k, v in task.state_dict().items() if not k.startswith("model.")}
    try:
        with write_folder(path) as partial, hide_bars():
            task.model.save_pretrained(partial)
            if hasattr(task, "save_beside"):
                task.save_beside(partial)
            torch.save({**state, "step": step, "outside_model": outside}, partial / STATE)
            hashes = {item.name: hash_file(item) for item in sorted(partial.iterdir())}
            text = json.dumps({"step": step, "sha256": hashes}, indent=1)
            (partial / MANIFEST).write_text(text + "\n")
    except OSError as error:
        stands = max(list_checkpoints(folder), default=None)
        rest = (
            f"the checkpoint of step {stands} stands: make room and resume from it"
            if stands is not None
            else "there is no earlier one: make room and start again"
        )
        raise OSError(error.errno, f"{path}: could not be written ({error}); {rest}") from error
    return path


def verify_checkpoint(path: Path) -> None:
    """Nothing for a checkpoint whose files all have the hashes written at saving.

    Raises: ValueError naming the damaged file, the hash expected and found, and what to do.
    """
    damage = _find_damage(Path(path))
    if damage:
        raise ValueError(
            f"{damage}; take another checkpoint, or resume its training, which sets damaged ones "
            "aside"
        )


def _find_damage(path: Path) -> str:
    """What is wrong with a checkpoint's files, empty where nothing is."""
    try:
        hashes = dict(json.loads((path / MANIFEST).read_text())["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return (
            f"{path / MANIFEST} is missing or unreadable ({error}), expected the SHA-256 of each "
            "file"
        )
    for name, expected in hashes.items():
        item = path / name
        found = hash_file(item) if item.is_file() else "no such file"
        if found != expected:
            return f"{item} is damaged: expected SHA-256 {expected}, found {found}"
    return ""


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint whose files are whole, or None.

    Damaged ones above it are set aside as `damaged-step-...`, each with a warning that names the
    file and both hashes, so that a training can go on from what is left.
    """
    found = list(list_checkpoints(folder).values())
    while found:
        path = found.pop()
        damage = _find_damage(path)
        if not damage:
            return path
        aside = path.with_name(f"{_DAMAGED}{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
        rest = found[-1].name if found else "the start: there is no earlier checkpoint"
        logger.warning("%s; set aside as %s, going on from %s", damage, aside.name, rest)
    return None


def read_state(path: Path) -> dict[str, Any]:
    """The training state of a verified checkpoint, tensors on the CPU; runs no pickled code."""
    verify_checkpoint(path)
    return torch.load(Path(path) / STATE, map_location="cpu", weights_only=True)


def load_weights(path: Path, task: nn.Module, state: dict[str, Any]) -> None:
    """Put the weights of a checkpoint into `task`, in place and strictly."""
    with hide_bars():
        saved = type(task.model).from_pretrained(path)
    found = saved.state_dict()  # and what the class adds that this model lacks, such as a pooler
    task.model.load_state_dict({k: found[k] for k in task.model.state_dict() if k in found})
    missing = set(state["outside_model"]) ^ {
        name for name in task.state_dict() if not name.startswith("model.")
    }
    if missing:
        raise ValueError(f"{path}: the task's own parameters differ from the saved: {missing}")
    task.load_state_dict(state["outside_model"], strict=False)


def check_settings(saved: dict[str, Any], given: dict[str, Any], path: Path) -> None:
    """Nothing when both settings are equal; otherwise ValueError names each difference."""
    keys = sorted(set(saved) | set(given))
    absent = "nothing"
    differences = [
        f"{key}: saved {saved.get(key, absent)!r}, now {given.get(key, absent)!r}"
        for key in keys
        if saved.get(key, absent) != given.get(key, absent)
    ]
    if differences:
        raise ValueError(
            f"{path} was written with other settings ({'; '.join(differences)}); a resumed "
            "training would not equal an uninterrupted one: use the saved values, or another folder"
        )


def prune_checkpoints(folder: Path, keep: int, best_step: int | None) -> None:
    """Delete all checkpoints but the `keep` newest and the best."""
    found = list_checkpoints(folder)
    kept = {*list(found)[-keep:], best_step}
    for step, path in found.items():
        if step not in kept:
            shutil.rmtree(path)
