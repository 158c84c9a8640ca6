"""The pieces of the report that come from run folders: copies, figures, tables, provenance."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from genomelm_utils.pipeline.image_size import image_size
from genomelm_utils.pipeline.receipts import Receipt, hash_text
from genomelm_utils.pipeline.report_tables import (
    ROWS_SHOWN,
    format_bytes,
    read_table,
    render_table,
)
from genomelm_utils.pipeline.survey import RunView

COPIED = (
    "receipt.json",
    "log.txt",
    "tables/*.csv",
    "figures/*.svg",
    "figures/*.png",
    "figures/*.txt",
)
# A site is for sending: one file over this size is named, not copied.
LARGEST_COPY_BYTES = 20 * 2**20
# Tables of one stage's runs are joined into one when all are at most this long.
JOINED_ROWS = 40


def copy_results(view: RunView, site: Path) -> None:
    """Copy receipt, log, tables and figures of a run into the site; fills `files`, `left_out`.

    A file that is there with the same size and time is left; one that the run no longer has is
    removed. Files over 20 MiB are not copied but listed with their size.
    """
    target = site / view.place
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(path for pattern in COPIED for path in view.folder.glob(pattern)):
        name = path.relative_to(view.folder).as_posix()
        stamp = path.stat()
        if stamp.st_size > LARGEST_COPY_BYTES:
            view.left_out.append(f"{name} ({format_bytes(stamp.st_size)}, not copied)")
            continue
        view.files.append(name)
        copy = target / name
        if not copy.is_file() or _stamp(copy) != _stamp(path):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
    kept = {target / name for name in view.files} | {target / "index.html"}
    for path in [p for p in target.rglob("*") if p.is_file() and p not in kept]:
        path.unlink()


def _stamp(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def remove_old_runs(site: Path, views: Sequence[RunView]) -> None:
    """Take out of the site what belongs to runs that the profile no longer has."""
    kept = {site / view.place for view in views}
    for folder in sorted((site / "runs").glob("*/*")):
        if folder not in kept:
            shutil.rmtree(folder)
    for stage in sorted((site / "runs").glob("*")):
        if not any(stage.iterdir()):
            stage.rmdir()


def write_page(path: Path, html: str) -> None:
    """Write a page, so that a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)


def collect_figures(view: RunView, site: Path) -> list[dict[str, Any]]:
    """The figures of a run: source, size, alternative text; SVG before PNG.

    The caption is the sentence the notebook computed (`Run.save_figure`), where it gave one.
    """
    drawn = (".svg", ".png")
    names = [n for n in view.files if n.startswith("figures/") and Path(n).suffix in drawn]
    stems = dict.fromkeys(Path(name).stem for name in names)
    figures = []
    for stem in stems:
        name = next(f for e in ("svg", "png") if (f := f"figures/{stem}.{e}") in names)
        width, height = image_size((site / view.place / name).read_bytes())
        caption = site / view.place / "figures" / f"{stem}.txt"
        said = caption.read_text(encoding="utf-8").strip() if caption.is_file() else ""
        others = [(Path(n).suffix[1:], f"{view.place}/{n}") for n in names if Path(n).stem == stem]
        figures.append(
            {
                "src": f"{view.place}/{name}",
                "width": width,
                "height": height,
                "alt": f"Figure {stem.replace('_', ' ')} of {view.id}. {said}".strip(),
                "caption": said,
                "title": stem,
                "where": view.id,
                "page": f"{view.place}/index.html",
                "links": others,
            }
        )
    return figures


def collect_tables(views: Sequence[RunView], site: Path, sinks: Iterable[str]) -> list[dict]:
    """The tables of all runs, in the order of the stages, as the index shows them.

    Tables of the same name and columns from several runs of a stage become one, with a column
    `run`, when each is at most 40 rows long; otherwise each stands alone. Those of the last stages
    (sinks) are shown open.
    """
    groups: dict[tuple[str, str], list[RunView]] = {}
    for view in views:
        for name in (n for n in view.files if n.startswith("tables/")):
            groups.setdefault((view.stage, name), []).append(view)
    tables = []
    for (stage, name), owners in groups.items():
        frames = [read_table(site / view.place / name) for view in owners]
        if len(owners) > 1 and _can_join(frames):
            parts = [f.assign(run=v.run) for f, v in zip(frames, owners, strict=True)]
            joined = pd.concat(parts, ignore_index=True)
            joined.insert(0, "run", joined.pop("run"))
            shown = [(joined, owners)]
        else:
            shown = [(frame, [view]) for frame, view in zip(frames, owners, strict=True)]
        tables += [_describe(stage, name, *each, stage in set(sinks)) for each in shown]
    return tables


def _can_join(frames: list[pd.DataFrame]) -> bool:
    first = list(frames[0].columns)
    return "run" not in first and all(
        list(frame.columns) == first and len(frame) <= JOINED_ROWS for frame in frames
    )


def _describe(
    stage: str, name: str, table: pd.DataFrame, owners: list[RunView], open_: bool
) -> dict[str, Any]:
    n_rows, n_columns = table.shape
    where = stage if len(owners) > 1 else owners[0].id
    # A joined table is shown whole: cutting it would show the first runs only.
    limit = ROWS_SHOWN if len(owners) == 1 else len(table)
    note = f"The first {limit} of {n_rows} rows." if n_rows > limit else ""
    links = [
        (f"{view.run}.csv" if len(owners) > 1 else Path(name).name, f"{view.place}/{name}")
        for view in owners
    ]
    return {
        "name": Path(name).stem,
        "anchor": f"{where}-{Path(name).stem}".replace("/", "-"),
        "stage": where if len(owners) == 1 else f"{stage}, {len(owners)} runs",
        "size": f"{n_rows} row{'s' * (n_rows != 1)}, {n_columns} column{'s' * (n_columns != 1)}",
        "html": render_table(table, limit),
        "note": note,
        "links": links,
        "open": open_ and n_rows > 0,
    }


def collect_provenance(views: Sequence[RunView]) -> list[tuple[str, str, str]]:
    """What the receipts say of commit, machine and versions: what, value, in which runs."""
    receipts = [view.receipt for view in views if view.receipt]
    getters: dict[str, Callable[[Receipt], Any]] = {
        "commit": lambda r: r.git.get("commit"),
        "uncommitted changes": lambda r: r.git.get("diff_sha256") or "none",
        "host": lambda r: r.host,
        "python": lambda r: r.python,
    }
    for part in ("device", "versions"):
        for name in dict.fromkeys(n for r in receipts for n in getattr(r, part)):
            getters[name] = lambda r, part=part, name=name: getattr(r, part).get(name)
    rows = []
    for what, get in getters.items():
        holders: dict[str, list[str]] = {}
        for receipt in receipts:
            holders.setdefault(_plain(get(receipt)), []).append(receipt.id)
        for value, ids in holders.items():
            where = "all" if len(ids) == len(receipts) else ", ".join(ids)
            rows.append((what, value, where))
    return rows


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "not recorded" if value in (None, "") else str(value)


def notebook_piece(
    view: RunView, page: Path, render: Callable[[Path, str], str]
) -> tuple[str, str]:
    """Key and HTML of a run's notebook, taken from the page of before when the key is the same.

    The key covers the notebook's bytes and the code that renders it, so that a page is rendered
    again exactly when it would come out differently.
    """
    notebook = view.notebook
    if notebook is None:
        return "none", f"<p>{escape(view.id)} has not produced a notebook yet.</p>"
    code = Path(__file__).with_name("report_notebook.py").read_text(encoding="utf-8")
    key = hash_text(code + notebook.read_text(encoding="utf-8"))
    if page.is_file():
        _, mark, rest = page.read_text(encoding="utf-8").partition(f"<!--notebook {key}-->\n")
        piece, end, _ = rest.rpartition("\n<!--/notebook-->")
        if mark and end:
            return key, piece
    return key, render(notebook, view.id)
