"""Tables as HTML: numbers to the right, as many digits as the column's own size asks for."""

import math
from html import escape
from pathlib import Path

import pandas as pd

ROWS_SHOWN = 30
SIGNIFICANT_DIGITS = 4
# Names up to this length are not broken over two lines.
SHORT_LETTERS = 28
RIGHT, SHORT = ' class="num"', ' class="short"'


def read_table(path: Path) -> pd.DataFrame:
    """A table of a run. Text stays text (`NA`, `None`); only empty fields count as missing.

    A file without any column is an empty table.
    """
    try:
        return pd.read_csv(path, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return pd.DataFrame()


def render_table(table: pd.DataFrame, n_rows: int = ROWS_SHOWN) -> str:
    """The first rows of a table as `<table>`, with one format per numeric column.

    A float column shows four significant digits of its largest value and the same number of
    decimals throughout; a value that would keep fewer than two of its digits, or is 10 million or
    more, is written in powers of ten. Integers are grouped by thousands. Missing values are a dash.
    """
    shown = table.head(n_rows)
    columns = [_format_column(shown.iloc[:, i]) for i in range(shown.shape[1])]
    head = "".join(
        f'<th scope="col"{kind}>{_breakable(str(name))}</th>'
        for name, (_, kind) in zip(table.columns, columns, strict=True)
    )
    rows = "".join(
        "<tr>" + "".join(f"<td{kind}>{cells[row]}</td>" for cells, kind in columns) + "</tr>"
        for row in range(len(shown))
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def format_number(value: float, decimals: int) -> str:
    """A number with thin spaces between thousands; powers of ten where digits would be lost."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value and (abs(value) < 10.0 ** (1 - decimals) * (decimals > 0) or abs(value) >= 1e7):
        mantissa, exponent = f"{value:.{SIGNIFICANT_DIGITS - 1}e}".split("e")
        return f"{mantissa}×10<sup>{int(exponent)}</sup>".replace("-", "−")
    return f"{value:,.{decimals}f}".replace(",", "\u202f").replace("-", "−")


def format_seconds(seconds: float | None) -> str:
    """A duration for a reader: `0.4 s`, `38 s`, `4 min 05 s`, `2 h 07 min`; a dash for None."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_bytes(n_bytes: float | None) -> str:
    """A size for a reader, in powers of 1024: `512 B`, `3.4 MiB`, `1.2 GiB`; a dash for None."""
    if n_bytes is None:
        return "–"
    size, units = float(n_bytes), ["B", "KiB", "MiB", "GiB", "TiB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} B" if units[0] == "B" else f"{size:.3g} {units[0]}"


def _format_column(column: pd.Series) -> tuple[list[str], str]:
    """The cells of a column as HTML, and the attribute that says how they stand."""
    if pd.api.types.is_bool_dtype(column):
        return ["yes" if value else "no" for value in column], ""
    if not pd.api.types.is_numeric_dtype(column):
        texts = ["–" if pd.isna(value) else str(value) for value in column]
        short = all(len(text) <= SHORT_LETTERS for text in texts)
        return [escape(text) for text in texts], SHORT if short else ""
    whole = pd.api.types.is_integer_dtype(column) or bool((column.dropna() % 1 == 0).all())
    if whole:
        return [_format_integer(value) for value in column], RIGHT
    decimals = _decimals(column)
    return [format_number(float(value), decimals) for value in column], RIGHT


def _format_integer(value: float) -> str:
    if pd.isna(value) or not math.isfinite(value):
        return format_number(float("nan") if pd.isna(value) else float(value), 0)
    return f"{int(value):,}".replace(",", "\u202f").replace("-", "−")


def _decimals(column: pd.Series) -> int:
    """Decimals that show four significant digits of the column's largest finite value."""
    finite = column[column.abs() < math.inf].abs()
    largest = float(finite.max()) if len(finite) else 0.0
    if largest == 0:
        return 0
    return min(max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(largest))), 6)


def _breakable(name: str) -> str:
    """A column name that may break after an underscore, so that numbers keep narrow columns."""
    return escape(name).replace("_", "_<wbr>")
