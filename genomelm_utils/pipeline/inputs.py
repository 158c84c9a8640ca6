"""Data files of a stage: which files a name means, their hashes, and whether they are here."""

from pathlib import Path

from genomelm_utils import paths
from genomelm_utils.datasets.registry import (
    content_sha256,
    fetch_file,
    load_registry,
    missing_files,
)
from genomelm_utils.pipeline.params import nearest
from genomelm_utils.pipeline.receipts import hash_json


def registry_hashes() -> dict[str, str]:
    """Name -> SHA-256 of the uncompressed content, for every file in data/registry.tsv."""
    if not paths.registry_file().is_file():
        return {}
    return {name: entry.content_sha256 for name, entry in load_registry().items()}


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

    A user's folder gets one hash over its files. Raises FileNotFoundError for a name that is
    neither.
    """
    hashes, registry = {}, registry_hashes()
    for name in names:
        known = registry_names(name)
        if known:
            hashes |= {item: registry[item] for item in known}
        elif user_path(name).exists():
            hashes[name] = _hash_path(user_path(name))
        else:
            raise FileNotFoundError(
                f"{where} is {name!r}, expected a name in data/registry.tsv or a file that exists "
                f"({user_path(name)} does not){nearest(name, registry)}"
            )
    return hashes


def _hash_path(path: Path) -> str:
    """The content hash of a file, or of a folder's files with their names."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return hash_json({file.relative_to(path).as_posix(): _hash_path(file) for file in files})
    return content_sha256(path)


def fetch_inputs(needed: dict[str, list[str]]) -> None:
    """Have every registry file here and verified, downloading what is not.

    needed: registry name -> stages that read it, for the message.
    Raises one FileNotFoundError listing all files missing or damaged, and whence to get them.
    """
    damaged, reason = [], ""
    for name in missing_files(needed):
        try:
            fetch_file(name)
        except FileNotFoundError as error:  # most likely offline: do not wait for each file
            reason = str(error).splitlines()[0]
            break
    absent = missing_files(needed)
    for name in needed:
        if name not in absent:
            try:
                fetch_file(name)
            except (OSError, ValueError) as error:
                damaged.append(f"  {name} (for {', '.join(needed[name])}): {error}")
    registry = load_registry() if absent else {}
    missing = [
        f"  {name} (for {', '.join(needed[name])}) from {' '.join(registry[name].sources)}"
        for name in absent
    ]
    if missing or damaged:
        raise FileNotFoundError(
            f"data files: {len(missing)} missing, {len(damaged)} damaged; nothing was started. Set "
            "GENOMELM_DATA (or --data-dir) to a folder that has them, or connect to the network\n"
            + "\n".join([*missing, *damaged, *([reason] if reason else [])])
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
