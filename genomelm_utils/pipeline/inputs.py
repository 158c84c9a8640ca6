"""Data files of a stage: which files a name means, their hashes, and whether they are here."""

import csv
import json
from functools import lru_cache
from pathlib import Path

from genomelm_utils import paths
from genomelm_utils.pipeline.params import nearest
from genomelm_utils.pipeline.receipts import hash_file, hash_json, write_json_atomic


@lru_cache(maxsize=4)
def _read_registry(file: Path, mtime_ns: int) -> dict[str, str]:
    with file.open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["name"]: row["content_sha256"] for row in rows}


def registry_hashes() -> dict[str, str]:
    """Name -> SHA-256 of the uncompressed content, for every file in data/registry.tsv."""
    file = paths.registry_file()
    return _read_registry(file, file.stat().st_mtime_ns) if file.is_file() else {}


def registry_names(name: str) -> list[str]:
    """Registry files that a name means: the file itself, or all files below a folder; else none."""
    hashes = registry_hashes()
    if name in hashes:
        return [name]
    folder = name.rstrip("/") + "/"
    return [known for known in hashes if known.startswith(folder)]


def user_path(name: str) -> Path:
    """The path of a name that is not in the registry: absolute, or from the project's root."""
    return paths.ROOT / Path(name).expanduser()


def hash_inputs(names: list[str], where: str) -> dict[str, str]:
    """File name -> SHA-256 of its content, for registry names, registry folders, and user's paths.

    A user's folder gets one hash over its files. Hashes of user's files are remembered by size and
    time in data/interim. Raises FileNotFoundError for a name that is neither.
    """
    hashes = {}
    for name in names:
        known = registry_names(name)
        if known:
            hashes |= {item: registry_hashes()[item] for item in known}
        elif user_path(name).exists():
            hashes[name] = _hash_path(user_path(name))
        else:
            files = registry_hashes()
            raise FileNotFoundError(
                f"{where} is {name!r}, expected a name in data/registry.tsv or a file that exists "
                f"({user_path(name)} does not){nearest(name, files)}"
            )
    return hashes


def _hash_path(path: Path) -> str:
    """The content hash of a file, or of a folder's files with their names."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return hash_json({file.relative_to(path).as_posix(): _hash_path(file) for file in files})
    memory = paths.interim_dir() / "input_hashes.json"
    try:
        known = json.loads(memory.read_text())
    except (FileNotFoundError, ValueError):
        known = {}
    stamp = path.stat()
    entry = known.get(str(path.resolve()))
    if entry and entry[:2] == [stamp.st_size, stamp.st_mtime_ns]:
        return entry[2]
    content_hash = hash_file(path)
    known[str(path.resolve())] = [stamp.st_size, stamp.st_mtime_ns, content_hash]
    write_json_atomic(memory, known)
    return content_hash


def fetch_inputs(needed: dict[str, list[str]]) -> None:
    """Have every registry file here and verified, downloading what is not.

    needed: registry name -> stages that read it, for the message.
    Raises one FileNotFoundError listing all files missing or damaged, and whence to get them.
    """
    if not needed:
        return
    from genomelm_utils.datasets.registry import fetch_file

    problems = []
    for name, users in needed.items():
        try:
            fetch_file(name)
        except (OSError, ValueError) as error:
            problems.append(f"  {name} (for {', '.join(users)}): {error}")
    if problems:
        files = "file is" if len(problems) == 1 else "files are"
        raise FileNotFoundError(
            f"{len(problems)} data {files} missing or damaged; nothing was started. "
            "Set GENOMELM_DATA (or --data-dir) to a folder that has them:\n" + "\n".join(problems)
        )


def locate_input(name: str) -> Path:
    """The path of a data file or folder: the registry's (fetched, verified) or the user's own."""
    names = registry_names(name)
    if not names:
        path = user_path(name)
        if not path.exists():
            raise FileNotFoundError(
                f"{name} is neither in data/registry.tsv nor a file ({path}); check the spelling"
            )
        return path
    from genomelm_utils.datasets.registry import fetch_file

    files = [fetch_file(item) for item in names]
    if names == [name]:
        return files[0]
    folders = {
        file.parents[len(Path(item).parts) - len(Path(name).parts) - 1]
        for item, file in zip(names, files, strict=True)
    }
    if len(folders) > 1:
        listed = " and ".join(sorted(map(str, folders)))
        raise FileNotFoundError(
            f"{name}: its files lie partly in {listed}, expected all in one; "
            "complete the folder that GENOMELM_DATA names"
        )
    return folders.pop()
