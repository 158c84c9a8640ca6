"""Is a profile reproduced? Receipts that hold, files that are unchanged, numbers in their ranges.

The ranges stand in `params/expected.yaml`, each with the reason why it is expected:

    demo:
      04_pretraining/*:
        - table: summary
          where: {metric: bits_per_base}
          column: value
          in: [1.2, 2.0]
          why: two bits is what guessing costs
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from genomelm_utils import paths
from genomelm_utils.pipeline.receipts import collect_outputs
from genomelm_utils.pipeline.report_tables import read_table
from genomelm_utils.pipeline.survey import RunView, survey_runs
from genomelm_utils.pipeline.yaml_text import load_yaml

RANGE_KEYS = {"table", "where", "column", "in", "why"}
MARKS = {True: "[OK]", False: "[FAIL]", None: "[--]"}
NAMES_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One line of the result: where it looked, what was expected and found; ok None = could not."""

    ok: bool | None
    where: str
    expected: str
    found: str

    def __str__(self) -> str:
        line = f"{MARKS[self.ok]:<6} {self.where}: expected {self.expected}"
        return line if self.ok and self.found == self.expected else f"{line}, found {self.found}"


@dataclass(frozen=True)
class ExpectedRange:
    """One line of `params/expected.yaml`: the values of a column lie in [low, high].

    runs   `stage/run`, where the run may be a pattern
    where  column -> value; the rows that are meant, all rows when empty
    """

    runs: str
    table: str
    where: dict[str, Any]
    column: str
    low: float
    high: float
    why: str


def verify_profile(profile: str) -> tuple[str, bool]:
    """A text with one line per check, and whether the profile is reproduced.

    A profile is reproduced when every run it asks for has a receipt that holds (nothing is stale),
    every output still has the hash that the receipt recorded, every data file at hand has the hash
    that was read, and every number in `params/expected.yaml` lies in its range. A profile that did
    not run, or for which no range is expected, is not reproduced.
    Errors: those of a parameter file or a file of expected ranges that is wrong.
    """
    ranges = read_ranges(profile)
    views = survey_runs(profile).runs
    checks = [
        *(check for view in views for check in _check_run(view)),
        *_check_inputs(views),
        *_check_ranges(profile, ranges, views),
    ]
    failed = [check for check in checks if check.ok is False]
    unseen = sum(check.ok is None for check in checks)
    verdict = f"reproduced: all {len(checks) - unseen} checks hold"
    if failed:
        absent = sum(view.receipt is None for view in views)
        why = f"{absent} of {len(views)} runs did not run; " if absent else ""
        verdict = f"not reproduced: {why}{len(failed)} of {len(checks)} checks fail"
    if unseen:
        verdict += f" ({unseen} could not be made)"
    lines = [*map(str, checks), f"{profile}: {verdict}"]
    if any(view.status != "done" for view in views):
        lines.append(f"bring it up to date: python run_all.py run --profile {profile}")
    return "\n".join(lines), not failed


def read_ranges(profile: str) -> list[ExpectedRange]:
    """The expected ranges of a profile; empty when the file or the profile's part is absent.

    Errors: ValueError naming the entry for a key that is missing or unknown, or a range that is
    not two numbers in order.
    """
    file = paths.params_dir() / "expected.yaml"
    if not file.is_file():
        return []
    source = f"params/{file.name}"
    content = load_yaml(file.read_text(encoding="utf-8"), source) or {}
    entries = (content.get(profile) or {}) if isinstance(content, dict) else content
    if not isinstance(entries, dict):
        raise ValueError(f"{source}: expected profile -> stage/run -> list, found {entries!r}")
    return [
        _parse_range(runs, entry, f"{source}: {profile}: {runs}[{i}]")
        for runs, listed in entries.items()
        for i, entry in enumerate(listed)
    ]


def _parse_range(runs: str, entry: Any, where: str) -> ExpectedRange:
    keys = set(entry) if isinstance(entry, dict) else set()
    if not (RANGE_KEYS - {"where"} <= keys <= RANGE_KEYS):
        raise ValueError(
            f"{where}: expected the keys {', '.join(sorted(RANGE_KEYS))} (where is optional), "
            f"found {', '.join(sorted(map(str, keys))) or entry!r}"
        )
    bounds = entry["in"]
    numbers = isinstance(bounds, list) and [isinstance(b, int | float) for b in bounds]
    if numbers != [True, True] or not bounds[0] <= bounds[1]:
        raise ValueError(f"{where}.in is {bounds!r}, expected [low, high] with low <= high")
    low, high = map(float, bounds)
    selection = dict(entry.get("where") or {})
    return ExpectedRange(
        runs, entry["table"], selection, entry["column"], low, high, str(entry["why"])
    )


def _check_run(view: RunView) -> Iterator[Check]:
    found = "up to date" if view.status == "done" else f"{view.status} ({view.reason})"
    yield Check(view.status == "done", view.id, "up to date", found)
    if view.receipt is None:
        return
    recorded, present = view.receipt.outputs, collect_outputs(view.folder)
    problems = {
        "missing": [name for name in recorded if name not in present],
        "changed": [
            name
            for name in recorded
            if name in present and present[name]["sha256"] != recorded[name]["sha256"]
        ],
        "not in the receipt": [name for name in present if name not in recorded],
    }
    expected = f"{len(recorded)} outputs as the receipt recorded them"
    told = "; ".join(f"{what}: {_shorten(names)}" for what, names in problems.items() if names)
    yield Check(not told, view.id, expected, told or expected)


def _check_inputs(views: Sequence[RunView]) -> Iterator[Check]:
    """Each data file of the registry once, where it is at hand; a user's own files are re-hashed
    when the plan is made, and a change shows there.
    """
    from genomelm_utils.datasets.registry import content_sha256, find_file, load_registry

    receipts = [view.receipt for view in views if view.receipt]
    inputs = dict(item for receipt in receipts for item in receipt.inputs.items())
    known = load_registry() if inputs else {}
    for name, recorded in sorted(inputs.items()):
        if name not in known:
            continue
        path = find_file(name)
        if path is None:
            yield Check(None, f"data {name}", f"content {recorded[:10]}", "no such file at hand")
            continue
        found = content_sha256(path)
        yield Check(
            found == recorded,
            f"data {name}",
            f"content {recorded[:10]}",
            f"content {found[:10]}" + ("" if found == recorded else f" in {path}"),
        )


def _check_ranges(
    profile: str, ranges: Sequence[ExpectedRange], views: Sequence[RunView]
) -> Iterator[Check]:
    if not ranges:
        yield Check(
            False, "params/expected.yaml", f"ranges for {profile}", "none: no number can be judged"
        )
    for expected in ranges:
        meant = [view for view in views if fnmatchcase(view.id, expected.runs)]
        if not meant:
            yield Check(
                False, expected.runs, "a run of that name", "none in this profile's parameters"
            )
        for view in meant:
            yield _check_range(expected, view)


def _check_range(expected: ExpectedRange, view: RunView) -> Check:
    rows = ", ".join(f"{name}={value}" for name, value in expected.where.items())
    where = f"{view.id} tables/{expected.table}.csv {expected.column}" + (
        f" where {rows}" if rows else ""
    )
    wanted = f"[{expected.low:g}, {expected.high:g}] ({expected.why})"
    path = view.folder / "tables" / f"{expected.table}.csv"
    if not path.is_file():
        return Check(False, where, wanted, "no such table")
    try:
        values = select_values(read_table(path), expected.where, expected.column)
    except ValueError as error:
        return Check(False, where, wanted, str(error))
    ok = bool(values.between(expected.low, expected.high).all())
    found = f"{values.min():.6g}"
    if len(values) > 1:
        found += f" to {values.max():.6g} in {len(values)} rows"
    if values.isna().any():
        found = f"{values.isna().sum()} missing of {len(values)} values"
    return Check(ok, where, wanted, found)


def select_values(table: pd.DataFrame, where: dict[str, Any], column: str) -> pd.Series:
    """The numbers of a column in the rows where all named columns have the named values.

    Errors: ValueError for a column that is absent or holds no numbers, and when no row is left.
    """
    absent = [name for name in [*where, column] if name not in table.columns]
    if absent:
        raise ValueError(f"no column {', '.join(absent)} (it has {', '.join(table.columns)})")
    for name, value in where.items():
        table = table[_equals(table[name], value)]
    if table.empty:
        raise ValueError("no such row")
    if not pd.api.types.is_numeric_dtype(table[column]):
        raise ValueError(f"text such as {table[column].iloc[0]!r}")
    return table[column].astype(float)


def _equals(column: pd.Series, value: Any) -> pd.Series:
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and isinstance(value, int | float):
        return column == value
    return column.astype(str) == str(value)


def _shorten(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
