"""The graph of stages as one inline SVG: columns by depth, a box per stage, a line per run.

Layered drawing in three steps: depth of each stage (longest way from a source), an order in each
column by the mean position of the neighbours, and straight-through lanes for the edges that skip
a column. Status is said three times, by symbol, by word and by colour, so that neither a
colour-blind reader nor a screen reader depends on the colour.
Source: the three steps are those of Sugiyama, Tagawa and Toda 1981, IEEE Trans. SMC 11, 109-125.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise

BOX_PX, GAP_PX, ROW_PX, HEAD_PX, PAD_PX = 206, 40, 22, 32, 8
SPACE_PX, LANE_PX, MARGIN_PX = 22, 14, 10
RUNS_SHOWN = 10
# A wide graph shrinks to the page down to this scale, then it scrolls.
SMALLEST_SCALE = 0.75
SYMBOLS = {"done": "✓", "stale": "↻", "failed": "✗", "not run": "○"}


@dataclass
class RunMark:
    """One line of a box: a run, what became of it, and where its page is."""

    name: str
    status: str
    href: str


@dataclass
class StageBox:
    """One box of the drawing: a stage, its runs, and the stages it takes its inputs from."""

    stage: str
    parents: list[str]
    runs: list[RunMark] = field(default_factory=list)
    more_href: str = "#status"


def stage_depths(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Depth of each stage: 0 without parents, otherwise one more than its deepest parent.

    Errors: ValueError naming the stages when they depend on each other in a circle.
    """
    depths: dict[str, int] = {}
    waiting = dict(parents)
    while waiting:
        ready = [s for s, above in waiting.items() if all(p in depths for p in above)]
        if not ready:
            raise ValueError(
                f"stages wait for each other or for a stage that is not there: {sorted(waiting)}"
            )
        for stage in ready:
            depths[stage] = 1 + max((depths[p] for p in waiting.pop(stage)), default=-1)
    return depths


def draw_graph(boxes: Sequence[StageBox]) -> str:
    """The whole graph as an `<svg>` element, ready to be put into a page.

    boxes: one per stage, in any order; parents that are not among them are left out.
    The colours come from the page's CSS classes (`g-done`, `g-stale`, `g-failed`, `g-not-run`).
    """
    known = {box.stage: box for box in sorted(boxes, key=lambda box: box.stage)}
    parents = {s: [p for p in box.parents if p in known] for s, box in known.items()}
    columns, chains = _lay_lanes(parents, stage_depths(parents))
    heights = {name: _height(known.get(name)) for column in columns for name in column}
    places, width, height = _place(columns, heights)
    edges = [_draw_edge(chain, places, heights) for chain in chains]
    drawn = [_draw_box(box, *places[box.stage]) for box in known.values()]
    title = f"{len(known)} stages with {sum(len(box.runs) for box in boxes)} runs"
    return (
        f'<svg class="graph" role="img" aria-label="Graph of {title}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" '
        f'style="min-width:{round(SMALLEST_SCALE * width)}px"><title>{title}</title>'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="g-tip" d="M0 0 8 4 0 8z"/></marker></defs>'
        f"{''.join(edges)}{''.join(drawn)}</svg>"
    )


def _lay_lanes(
    parents: Mapping[str, Sequence[str]], depths: Mapping[str, int]
) -> tuple[list[list[str]], list[list[str]]]:
    """Columns of names, lanes included, and each edge as the chain of names it passes."""
    columns: list[list[str]] = [[] for _ in range(max(depths.values(), default=0) + 1)]
    for stage in sorted(depths):
        columns[depths[stage]].append(stage)
    chains = []
    for stage, above in sorted(parents.items()):
        for parent in sorted(above):
            between = range(depths[parent] + 1, depths[stage])
            lanes = [f"{parent} > {stage} @{column}" for column in between]
            for column, lane in zip(between, lanes, strict=True):
                columns[column].append(lane)
            chains.append([parent, *lanes, stage])
    return _order(columns, chains), chains


def _order(columns: list[list[str]], chains: list[list[str]]) -> list[list[str]]:
    """The columns sorted by the mean place of the neighbours, swept to and fro four times."""
    before: dict[str, list[str]] = {name: [] for column in columns for name in column}
    after: dict[str, list[str]] = {name: [] for name in before}
    for chain in chains:
        for left, right in pairwise(chain):
            before[right].append(left)
            after[left].append(right)
    for sweep in range(4):
        neighbours, walk = (before, columns[1:]) if sweep % 2 == 0 else (after, columns[-2::-1])
        for column in walk:
            place = {
                name: (rank + 0.5) / len(names)
                for names in columns
                for rank, name in enumerate(names)
            }
            column.sort(key=lambda name: _mean_place(name, neighbours[name], place))
    return columns


def _mean_place(name: str, neighbours: list[str], place: dict[str, float]) -> float:
    if not neighbours:
        return place[name]
    return sum(place[other] for other in neighbours) / len(neighbours)


def _height(box: StageBox | None) -> int:
    if box is None:
        return LANE_PX
    lines = min(len(box.runs), RUNS_SHOWN) + (len(box.runs) > RUNS_SHOWN)
    return HEAD_PX + ROW_PX * max(lines, 1) + PAD_PX


def _place(
    columns: list[list[str]], heights: dict[str, int]
) -> tuple[dict[str, tuple[int, int]], int, int]:
    """Upper left corner of everything, and the size of the whole drawing, in px."""
    tall = [sum(heights[n] for n in names) + SPACE_PX * (len(names) - 1) for names in columns]
    full = max(tall, default=0)
    places = {}
    for column, names in enumerate(columns):
        y = MARGIN_PX + (full - tall[column]) // 2
        for name in names:
            places[name] = (MARGIN_PX + column * (BOX_PX + GAP_PX), y)
            y += heights[name] + SPACE_PX
    width = 2 * MARGIN_PX + len(columns) * (BOX_PX + GAP_PX) - GAP_PX
    return places, width, full + 2 * MARGIN_PX


def _draw_edge(
    chain: list[str], places: dict[str, tuple[int, int]], heights: dict[str, int]
) -> str:
    points = []
    for name in chain:
        x, y = places[name]
        middle = y + (heights[name] // 2 if " > " in name else HEAD_PX // 2)
        points.append((x, middle, x + BOX_PX))
    path = f"M{points[0][2]} {points[0][1]}"
    for (_, y0, x0), (x1, y1, x1_end) in pairwise(points):
        path += f" C{x0 + GAP_PX // 2} {y0} {x1 - GAP_PX // 2} {y1} {x1} {y1}"
        path += f" H{x1_end}" if (x1, y1, x1_end) != points[-1] else ""
    return f'<path class="g-edge" marker-end="url(#arrow)" d="{path}"/>'


def _draw_box(box: StageBox, x: int, y: int) -> str:
    worst = worst_status([run.status for run in box.runs])
    head = box.runs[0].href if len(box.runs) == 1 else box.more_href
    parts = [
        f'<g class="g-{worst.replace(" ", "-")}">',
        f'<rect class="g-box" x="{x}" y="{y}" width="{BOX_PX}" height="{_height(box)}" rx="8"/>',
        f'<path class="g-bar" d="M{x + 8} {y}a8 8 0 0 0-8 8v{_height(box) - 16}a8 8 0 0 0 8 8z"/>',
        f'<a href="{escape(head)}"><text class="g-head" x="{x + 18}" y="{y + 21}">'
        f"{escape(_clip(box.stage, 23))}</text></a></g>",
    ]
    line = y + HEAD_PX + 14
    for run in box.runs[:RUNS_SHOWN]:
        parts.append(_draw_run(run, x + 18, line))
        line += ROW_PX
    if len(box.runs) > RUNS_SHOWN:
        more = f"and {len(box.runs) - RUNS_SHOWN} more"
        parts.append(
            f'<a href="{escape(box.more_href)}"><text class="g-run" x="{x + 36}" y="{line}">'
            f"{more}</text></a>"
        )
    return "".join(parts)


def _draw_run(run: RunMark, x: int, y: int) -> str:
    label = escape(f"{run.name}: {run.status}")
    body = (
        f"<title>{label}</title>"
        f'<text class="g-mark" x="{x}" y="{y}">{SYMBOLS[run.status]}</text>'
        f'<text class="g-run" x="{x + 18}" y="{y}">{escape(_clip(run.name, 21))}</text>'
    )
    linked = f'<a href="{escape(run.href)}" aria-label="{label}">{body}</a>' if run.href else body
    return f'<g class="g-{run.status.replace(" ", "-")}">{linked}</g>'


def worst_status(statuses: Sequence[str]) -> str:
    """The status that speaks for several runs: failed before stale before not run before done."""
    for status in ("failed", "stale", "not run"):
        if status in statuses:
            return status
    return "done" if statuses else "not run"


def _clip(text: str, n_letters: int) -> str:
    return text if len(text) <= n_letters else text[: n_letters - 1] + "…"
