"""Finished trainings handed from one run of a stage to another, below a folder both know.

Every run keeps its own whole copy, so that its outputs are those its receipt names; the shared
folder only saves the training. It must belong to one state of the code (`Run.shared` sees to that):
a key tells configuration and data, not what the code does with them.
"""

import json
import shutil
import tempfile
from pathlib import Path

RESULT = "result.json"
#: Checkpoints of a training that is over, and what is being written.
_LEFT_OUT = shutil.ignore_patterns("training", "*.partial", RESULT)


def fetch_training(key: str, place: Path, shared: Path) -> bool:
    """Copy the finished training with that key to `place`; False where there is none.

    `result.json`, which marks a training as finished, comes last.
    """
    source = shared / place.name
    if not _is_finished(source, key):
        return False
    shutil.copytree(source, place, ignore=_LEFT_OUT, dirs_exist_ok=True)
    partial = place / f"{RESULT}.partial"
    shutil.copyfile(source / RESULT, partial)
    partial.replace(place / RESULT)
    return True


def share_training(key: str, place: Path, shared: Path) -> bool:
    """Copy a finished training from `place` to the shared folder, whole or not at all.

    False where another run was faster: what lies there stays. Two runs that train the same at the
    same time both do so, and one copy is kept.
    """
    target = shared / place.name
    if _is_finished(target, key):
        return False
    shared.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=shared) as scratch:
        new = Path(scratch) / place.name
        shutil.copytree(place, new, ignore=_LEFT_OUT)
        shutil.copyfile(place / RESULT, new / RESULT)
        try:
            new.rename(target)
        except OSError:  # it is there by now, and not empty
            if not _is_finished(target, key):
                raise
            return False
    return True


def _is_finished(folder: Path, key: str) -> bool:
    path = folder / RESULT
    return path.is_file() and json.loads(path.read_text())["key"] == key
