"""Makes `data/registry.tsv` from a manifest of data files; a maintenance script.

    python -m genomelm_utils.datasets.make_registry MANIFEST.tsv > data/registry.tsv

The manifest has one row per file: path, bytes, content_sha256, what, species, source_repo,
source_commit, source_path, licence, transform (several sources are separated by "; ").
"""

import csv
import sys
from pathlib import Path
from urllib.parse import quote

from genomelm_utils.datasets.derive import DERIVED_FILES
from genomelm_utils.datasets.registry import COLUMNS, NOT_REPRODUCIBLE

HOST = "https://raw.githubusercontent.com"
# What a manifest says about files that are the source's own bytes -> what the registry says.
PLAIN_TRANSFORMS = {
    "byte-exact copy": "copy",
    "gzip -n -9 of the exact source bytes": "gzip",
}


def make_registry(manifest: Path) -> str:
    """The text of the registry, sorted by name."""
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    lines = ["\t".join(COLUMNS)]
    for row in sorted(rows, key=lambda row: row["path"]):
        values = {
            "name": row["path"],
            "content_sha256": row["content_sha256"],
            "bytes": row["bytes"],
            "sources": " ".join(_sources(row, rows)),
            "licence": row["licence"],
            "transform": _transform(row),
            "species": row["species"],
            "what": row["what"],
        }
        lines.append("\t".join(values[column] for column in COLUMNS))
    return "\n".join(lines) + "\n"


def _transform(row: dict[str, str]) -> str:
    plain = PLAIN_TRANSFORMS.get(row["transform"])
    if plain:
        return plain
    function = DERIVED_FILES.get(row["path"])
    return f"derived:{function.__name__}" if function else NOT_REPRODUCIBLE


def _sources(row: dict[str, str], rows: list[dict[str, str]]) -> list[str]:
    """Addresses, or names in the registry where a source is a file of the registry itself."""
    repos, commits, paths = (
        row[key].split("; ") for key in ("source_repo", "source_commit", "source_path")
    )
    names = {}
    for other in rows:
        if other is not row and other["source_repo"] in repos and ";" not in other["source_path"]:
            names[other["source_path"]] = other["path"]
    if len(repos) == 1:
        addresses = [f"{HOST}/{repos[0]}/{commits[0]}/{quote(path)}" for path in paths]
        if len(paths) == 1:
            return addresses
        return [names.get(*pair) for pair in zip(paths, addresses, strict=True)]
    unknown = [path for path in paths if path not in names]
    if unknown:
        raise ValueError(f"{row['path']}: which of {repos} holds {unknown} is not stated")
    return [names[path] for path in paths]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m genomelm_utils.datasets.make_registry MANIFEST.tsv")
    sys.stdout.write(make_registry(Path(sys.argv[1])))
