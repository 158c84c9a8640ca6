"""What differs between two tables of the same name, by key columns where there are some."""

import numpy as np
import pandas as pd

NAMES_SHOWN = 4


def compare_tables(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """One line per difference between two tables; an empty list when they are the same.

    Rows are matched by their key columns (`find_keys`), by position where no columns name a row
    in both tables. For each numeric column that differs: how many values, the largest absolute
    and the largest relative difference, and the row of each. Two missing values are equal.
    """
    lines = _compare_names("column", list(old.columns), list(new.columns))
    shared = [name for name in old.columns if name in set(new.columns)]
    keys = find_keys(old[shared], new[shared])
    if keys:
        old_rows, new_rows = _row_names(old, keys), _row_names(new, keys)
        lines += _compare_names("row", list(old_rows), list(new_rows), " by " + ", ".join(keys))
        both = old_rows[old_rows.isin(new_rows)]
        old, new = old.set_index(old_rows).loc[both], new.set_index(new_rows).loc[both]
    else:
        if len(old) != len(new):
            lines.append(f"rows: {len(old)} -> {len(new)}, the shorter part compared by position")
        n_rows = min(len(old), len(new))
        where = pd.Index([f"row {i + 1}" for i in range(n_rows)])
        old, new = old.head(n_rows).set_index(where), new.head(n_rows).set_index(where)
    for name in (n for n in shared if n not in keys):
        lines += _compare_column(str(name), old[name], new[name])
    return lines


def find_keys(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """The columns whose values together name one row in both tables; empty if there are none.

    As few as are needed, in this order: columns with the same values in both tables (a data set,
    a seed, a number of shots) before those without (a count, a remark), text before whole
    numbers, left before right. Fractions are results, never keys.
    """
    candidates = [
        name
        for name in old.columns
        if _kind(old[name]) == _kind(new[name]) != "number" and old[name].nunique() > 1
    ]
    candidates.sort(
        key=lambda n: (set(old[n].dropna()) != set(new[n].dropna()), _kind(old[n]) == "whole")
    )
    keys: list[str] = []
    for name in candidates:
        keys.append(name)
        if not (old.duplicated(keys).any() or new.duplicated(keys).any()):
            return keys
    return []


def _kind(column: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
        return "text"
    return "whole" if pd.api.types.is_integer_dtype(column) else "number"


def _row_names(table: pd.DataFrame, keys: list[str]) -> pd.Series:
    """Each row's name, such as `prom-core, 100`."""
    return table[keys].astype(str).agg(", ".join, axis=1).reset_index(drop=True)


def _compare_names(what: str, old: list, new: list, by: str = "") -> list[str]:
    lines = []
    for verb, names, others in (("removed", old, new), ("added", new, old)):
        known = set(others)
        gone = [str(name) for name in names if name not in known]
        if gone:
            more = f" and {len(gone) - NAMES_SHOWN} more" if len(gone) > NAMES_SHOWN else ""
            shown = "; ".join(gone[:NAMES_SHOWN])
            lines.append(f"{len(gone)} {what}{'s' * (len(gone) > 1)} {verb}{by}: {shown}{more}")
    return lines


def _compare_column(name: str, old: pd.Series, new: pd.Series) -> list[str]:
    if "text" in (_kind(old), _kind(new)):
        return _compare_texts(name, old, new)
    a, b = old.to_numpy(float), new.to_numpy(float)
    lines = []
    one_missing = np.isnan(a) != np.isnan(b)
    if one_missing.any():
        where = old.index[one_missing][0]
        lines.append(f"{name}: {one_missing.sum()} missing in one only, first at {where}")
    differ = ~((a == b) | np.isnan(a) | np.isnan(b))
    if not differ.any():
        return lines
    with np.errstate(invalid="ignore", divide="ignore"):
        absolute = np.where(differ, np.abs(b - a), -1.0)
        relative = np.where(differ, np.abs(b - a) / np.abs(a), -1.0)
    i, j = int(np.argmax(absolute)), int(np.argmax(relative))
    lines.append(
        f"{name}: {differ.sum()} of {len(a)} differ; largest difference {absolute[i]:.6g} "
        f"({a[i]:.6g} -> {b[i]:.6g} at {old.index[i]}); largest relative {relative[j]:.3g}"
        + ("" if i == j else f" ({a[j]:.6g} -> {b[j]:.6g} at {old.index[j]})")
    )
    return lines


def _compare_texts(name: str, old: pd.Series, new: pd.Series) -> list[str]:
    a, b = old.astype(object).to_numpy(), new.astype(object).to_numpy()
    differ = ~((a == b) | (pd.isna(a) & pd.isna(b)))
    if not differ.any():
        return []
    i = int(np.argmax(differ))
    return [
        f"{name}: {differ.sum()} of {len(a)} differ, first {a[i]!r} -> {b[i]!r} at {old.index[i]}"
    ]
