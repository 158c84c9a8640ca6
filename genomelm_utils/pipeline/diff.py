"""What differs between two runs, or two profiles: parameters, code, data, machine and numbers."""

from pathlib import Path
from typing import Any

from genomelm_utils import paths
from genomelm_utils.pipeline.diff_tables import compare_tables
from genomelm_utils.pipeline.receipts import RECEIPT_NAME, Receipt, load_receipt, run_folders
from genomelm_utils.pipeline.report_tables import read_table

ABSENT = "(absent)"
HASH_LETTERS = 10


def diff_runs(a: str | Path, b: str | Path) -> str:
    """A text with everything in which two runs, or all runs of two profiles, differ.

    a, b: a run folder, a `receipt.json`, `profile/stage/run`, or the name of a profile; both name
        runs or both name profiles. Read as: from a, the old one, to b, the new one.
    Numbers are compared between tables of the same name by their key columns; figures and
    checkpoints by the hashes in the receipts. Whether the files still are what the receipts
    recorded is the question of `verify`; a table that is gone is said to be.
    Errors: FileNotFoundError for a name that is no run; ValueError for a run against a profile.
    """
    profiles = [_is_profile(a), _is_profile(b)]
    if all(profiles):
        return _diff_profiles(str(a), str(b))
    if any(profiles):
        raise ValueError(
            f"expected two runs or two profiles, found {a} and {b}; "
            "name the run of the profile as profile/stage/run"
        )
    return "\n".join([f"{a} -> {b}", *_diff_folders(find_run(a), find_run(b))])


def find_run(name: str | Path) -> Path:
    """The run folder that a name stands for: a folder, a receipt, or `profile/stage/run`.

    Errors: FileNotFoundError listing what was looked for and the runs that are near.
    """
    given = Path(name)
    if given.name == RECEIPT_NAME and given.is_file():
        return given.parent
    if (given / RECEIPT_NAME).is_file():
        return given
    parts = str(name).strip("/").split("/")
    if len(parts) == 3 and (paths.run_dir(*parts) / RECEIPT_NAME).is_file():
        return paths.run_dir(*parts)
    known = [folder.relative_to(paths.runs_dir(parts[0])) for folder in run_folders(parts[0])]
    have = f"; {parts[0]} has {', '.join(map(str, known))}" if known else ""
    raise FileNotFoundError(
        f"{name}: expected a run folder with {RECEIPT_NAME}, such a file, or profile/stage/run, "
        f"found none{have}"
    )


def _is_profile(name: str | Path) -> bool:
    text = str(name).strip("/")
    return "/" not in text and paths.runs_dir(text).is_dir()


def _diff_profiles(a: str, b: str) -> str:
    old, new = ({str(f.relative_to(paths.runs_dir(p))): f for f in run_folders(p)} for p in (a, b))
    lines = [f"{a} -> {b}"]
    lines += [f"only in {a}: {name}" for name in old if name not in new]
    lines += [f"only in {b}: {name}" for name in new if name not in old]
    for name in (n for n in old if n in new):
        lines += ["", name, *_diff_folders(old[name], new[name])]
    return "\n".join(lines)


def _diff_folders(a: Path, b: Path) -> list[str]:
    """All sections for two run folders; one line when there is nothing to say."""
    receipts = []
    for folder in (a, b):
        receipt, reason = load_receipt(folder)
        if receipt is None:
            return [f"  {folder}: {reason}; nothing to compare"]
        receipts.append(receipt)
    old, new = receipts
    if old.key == new.key and old.results_sha256 == new.results_sha256:
        head = ["  same inputs, same results"]
    elif old.key == new.key:
        head = ["  same parameters, code, data and parents, yet different results"]
    else:
        head = []
    return (
        head
        + _diff_identity(old, new)
        + _diff_surroundings(old, new)
        + _diff_outputs(a, b, old, new)
    )


def _diff_identity(old: Receipt, new: Receipt) -> list[str]:
    code = {"notebook": old.notebook, **old.modules}, {"notebook": new.notebook, **new.modules}
    return [
        *_section("parameters", old.params, new.params),
        *_section("seeds", old.seeds, new.seeds),
        *_section("code", *code, hashes=True),
        *_section("data", old.inputs, new.inputs, hashes=True),
        *_section("parents", old.parents, new.parents, hashes=True),
    ]


def _diff_surroundings(old: Receipt, new: Receipt) -> list[str]:
    machine = [{"host": r.host, "python": r.python, **r.device} for r in (old, new)]
    cost = [
        {"wall_s": round(r.wall_s, 1), "peak_memory_mib": round(r.peak_memory_mib)}
        for r in (old, new)
    ]
    return [
        *_section("commit", old.git, new.git, hashes=True),
        *_section("versions", old.versions, new.versions),
        *_section("machine", *machine),
        *_section("cost", *cost),
    ]


def _section(title: str, old: dict, new: dict, hashes: bool = False) -> list[str]:
    """A title and one line `name: old -> new` per difference; nothing where there is none."""
    names = [*old, *(name for name in new if name not in old)]
    lines = [
        f"    {name}: {_show(old.get(name, ABSENT), hashes)} -> "
        f"{_show(new.get(name, ABSENT), hashes)}"
        for name in names
        if old.get(name, ABSENT) != new.get(name, ABSENT)
    ]
    return [f"  {title}", *lines] if lines else []


def _show(value: Any, hashes: bool) -> str:
    text = "none" if value is None else str(value)
    return text if not hashes or text == ABSENT else text[:HASH_LETTERS]


def _diff_outputs(a: Path, b: Path, old: Receipt, new: Receipt) -> list[str]:
    """Tables number by number, everything else by hash."""
    names = sorted(set(old.outputs) | set(new.outputs))
    tables = [name for name in names if name.startswith("tables/") and name.endswith(".csv")]
    others = [name for name in names if name not in tables and name != "executed.ipynb"]
    lines, same = [], 0
    for name in tables:
        found = _diff_table(name, a, b, old, new)
        same += not found
        if found:
            lines += [f"    {name}", *(f"      {line}" for line in found)]
    if tables:
        lines.insert(0, f"  tables: {same} of {len(tables)} identical")
    return lines + _diff_hashes(others, old, new)


def _diff_table(name: str, a: Path, b: Path, old: Receipt, new: Receipt) -> list[str]:
    for receipt, other in ((old, "added"), (new, "removed")):
        if name not in receipt.outputs:
            return [other]
    if old.outputs[name]["sha256"] == new.outputs[name]["sha256"]:
        return []
    lost = [str(folder / name) for folder in (a, b) if not (folder / name).is_file()]
    if lost:
        return [f"differs by hash; numbers not compared, for {' and '.join(lost)} is gone"]
    found = compare_tables(read_table(a / name), read_table(b / name))
    return found or ["same numbers, written differently (row order or digits)"]


def _diff_hashes(names: list[str], old: Receipt, new: Receipt) -> list[str]:
    lines = []
    for kind in dict.fromkeys(name.split("/")[0] for name in names):
        group = [name for name in names if name.split("/")[0] == kind]
        verdicts = {name: _verdict(name, old, new) for name in group}
        equal = sum(verdict == "identical" for verdict in verdicts.values())
        lines.append(f"  {kind}: {equal} of {len(group)} identical")
        lines += [
            f"    {n}: {verdict}" for n, verdict in verdicts.items() if verdict != "identical"
        ]
    return lines


def _verdict(name: str, old: Receipt, new: Receipt) -> str:
    if name not in old.outputs:
        return "added"
    if name not in new.outputs:
        return "removed"
    same = old.outputs[name]["sha256"] == new.outputs[name]["sha256"]
    return "identical" if same else "differs"
