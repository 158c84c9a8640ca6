"""Which rows can be neighbours at all? Cells of like rows, so that not every pair is asked.

    cells = find_cells(rows, gamma, recall=0.95)
    density = cell_densities(rows, cells, gamma, block_rows=1024)

An inverted file: rows lie in cells around the centres of a spherical K-means, and from a cell only
those cells are looked at whose centres are near enough to its own. How near is asked of a pilot:
rows drawn at random whose neighbours among all rows are counted.

Shapes: S sequences, D width, K cells, P pilot rows, B rows of a block.

Source: inverted file of Sivic and Zisserman (2003), as in FAISS; symmetric threshold on the cosine
of centres, found with a pilot: ours.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch

from genomelm_utils.evaluation.binning_density import keep_similar

logger = logging.getLogger(__name__)

CELLS_PER_ROOT = 4  # cells: this times the root of S. Source: guidelines of FAISS, 4 to 16
MIN_CELL_ROWS = 39  # on average; Source: FAISS asks for as many to train a centre
TRAINED_ROWS = 32  # per cell, drawn, that the centres are trained on
ROUNDS = 4  # of K-means; cells need to be like, not optimal
PILOT_ROWS = 256  # a mean recall of 0.95 is known to about 0.01
MAX_CANDIDATES = 1 << 16  # rows looked at per row, on average: what keeps the work linear in S
LEVELS = 4096  # of the cosine of centres, for counting pairs
ROUNDING = 1e-6  # of a cosine of two centres


@dataclass
class Cells:
    """Rows in cells, and the cells looked at from each.

    cell_S: int64 [S]. probed: for every cell a sorted int64 tensor of cells, itself included; b is
    in the list of a whenever a is in that of b. recall: share of a row's neighbours that lie in
    probed cells, mean over the pilot's rows (NaN when none has a neighbour). why: in words.
    """

    cell_S: torch.Tensor
    probed: list[torch.Tensor]
    recall: float
    why: str
    order_S: torch.Tensor = field(init=False)
    starts_K1: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._sort()

    def __len__(self) -> int:
        return len(self.probed)

    def _sort(self) -> None:
        self.order_S = self.cell_S.argsort(stable=True)
        sizes_K = torch.bincount(self.cell_S, minlength=len(self.probed))
        self.starts_K1 = torch.nn.functional.pad(sizes_K.cumsum(0), (1, 0))

    def keep(self, rows: torch.Tensor) -> None:
        """Goes on with these rows, numbered anew; cells stay, and may be empty."""
        self.cell_S = self.cell_S[rows]
        self._sort()

    def rows_in(self, cells: torch.Tensor) -> torch.Tensor:
        """Rows of these cells, cell after cell, int64."""
        begin, sizes = self.starts_K1[cells], self.starts_K1[cells + 1] - self.starts_K1[cells]
        shift = torch.repeat_interleave(begin - (sizes.cumsum(0) - sizes), sizes)
        return self.order_S[shift + torch.arange(len(shift), device=shift.device)]

    def meet(self, rows: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(those of the rows in one cell, all rows that are looked at from there), per cell."""
        by_cell = rows[self.cell_S[rows].argsort(stable=True)]
        found, sizes = self.cell_S[by_cell].unique_consecutive(return_counts=True)
        for cell, mine in zip(found.tolist(), by_cell.split(sizes.tolist()), strict=True):
            yield mine, self.rows_in(self.probed[cell])


def find_cells(
    rows_SD: torch.Tensor, gamma: float, *, recall: float, seed: int = 0, block_rows: int = 1024
) -> Cells:
    """Cells of unit rows, probed so that `recall` of the neighbours at `gamma` are looked at.

    recall: in (0, 1]; 1 looks at all cells: exact, and no work is saved. Less than asked is found
    where that would take more than `MAX_CANDIDATES` rows per row, and a warning says so. The pilot
    stands for the rows at large: neighbours of rare kinds of rows may be found less often.
    Work: S x K x D multiply-adds for the cells, S x P x D for the pilot. Memory: 8 bytes per row,
    blocks of `block_rows` x K.
    """
    rng = np.random.default_rng(seed)
    n_cells = max(
        1, min(round(CELLS_PER_ROOT * len(rows_SD) ** 0.5), len(rows_SD) // MIN_CELL_ROWS)
    )
    centres_KD, cell_S = _cluster(rows_SD, n_cells, rng, block_rows)
    n_cells = len(centres_KD)
    if recall >= 1:
        every = torch.arange(n_cells, device=rows_SD.device)
        return Cells(cell_S, [every] * n_cells, 1.0, f"all of {n_cells} cells are looked at")
    sizes_K = torch.bincount(cell_S, minlength=n_cells)
    pilot = torch.from_numpy(np.sort(rng.permutation(len(rows_SD))[:PILOT_ROWS])).to(cell_S.device)
    counts_PK = count_neighbours(rows_SD, pilot, cell_S, n_cells, gamma, block_rows)
    cosine_PK = centres_KD[cell_S[pilot]] @ centres_KD.T
    wanted = _lowest_needed(cosine_PK, counts_PK, recall)
    affordable = _lowest_affordable(centres_KD, sizes_K, block_rows)
    threshold = max(wanted, affordable)
    probed = _probed_cells(centres_KD, threshold, block_rows)
    found = _recall_at(cosine_PK, counts_PK, threshold)
    seen = float(sum(sizes_K[one].sum() * sizes_K[i] for i, one in enumerate(probed)))
    held = f"hold {found:.1%} of the neighbours of {len(pilot)} rows drawn"
    if np.isnan(found):
        held = f"were not chosen by the neighbours of {len(pilot)} rows drawn, which have none"
    why = (
        f"of {n_cells} cells those with a cosine of centres of {threshold:.3f} or more are looked "
        f"at, {seen / len(rows_SD):.0f} rows per row; they {held}"
    )
    if affordable > wanted and not found >= recall:
        logger.warning("%s: less than %g, for more than %d rows per row are not looked at",
                       why, recall, MAX_CANDIDATES)  # fmt: skip
    return Cells(cell_S, probed, found, why)


def cell_densities(
    rows_SD: torch.Tensor, cells: Cells, gamma: np.float32, block_rows: int
) -> torch.Tensor:
    """As `binning_density.densities`, of rows in probed cells only; each pair of cells once."""
    density_S = torch.zeros(len(rows_SD), dtype=torch.float64, device=rows_SD.device)
    starts = cells.starts_K1.tolist()
    for cell, probed in enumerate(cells.probed):
        for mine in cells.order_S[starts[cell] : starts[cell + 1]].split(block_rows):
            mine_BD = rows_SD[mine]
            for other in cells.rows_in(probed[probed >= cell]).split(block_rows):
                similar = keep_similar(mine_BD @ rows_SD[other].T, gamma)
                density_S[mine] += similar.sum(1, dtype=torch.float64)
                later = cells.cell_S[other] > cell
                similar = similar[:, later] if not bool(later.all()) else similar
                density_S[other[later]] += similar.sum(0, dtype=torch.float64)
    return density_S


def count_neighbours(
    rows_SD: torch.Tensor,
    pilot: torch.Tensor,
    cell_S: torch.Tensor,
    n_cells: int,
    gamma: float,
    block_rows: int,
) -> torch.Tensor:
    """Neighbours of the pilot's rows in every cell, themselves not counted, float64 [P, K]."""
    counts = torch.zeros(len(pilot) * n_cells, dtype=torch.float64, device=rows_SD.device)
    for begin in range(0, len(rows_SD), block_rows):
        near_PB = rows_SD[pilot] @ rows_SD[begin : begin + block_rows].T >= float(np.float32(gamma))
        row, column = near_PB.nonzero().unbind(1)
        column += begin
        other = column != pilot[row]
        flat = row[other] * n_cells + cell_S[column[other]]
        counts.index_add_(0, flat, torch.ones_like(flat, dtype=torch.float64))
    return counts.view(len(pilot), n_cells)


def _cluster(
    rows_SD: torch.Tensor, n_cells: int, rng: np.random.Generator, block_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit centres [K, D] of a spherical K-means on a part of the rows, and the cell of each row.

    Cells that no row is in are left out.
    """
    drawn = rng.permutation(len(rows_SD))[: n_cells * TRAINED_ROWS]
    trained = rows_SD[torch.from_numpy(np.sort(drawn)).to(rows_SD.device)]
    start = np.sort(rng.permutation(len(trained))[:n_cells])
    centres_KD = trained[torch.from_numpy(start).to(rows_SD.device)]
    for _ in range(ROUNDS):
        sums_KD = torch.zeros_like(centres_KD)
        sums_KD.index_add_(0, _nearest(trained, centres_KD, block_rows), trained)
        length_K = torch.linalg.vector_norm(sums_KD, dim=1, keepdim=True)
        centres_KD = torch.where(length_K > 0, sums_KD / length_K.clamp(min=1e-30), centres_KD)
    del trained
    used, cell_S = _nearest(rows_SD, centres_KD, block_rows).unique(return_inverse=True)
    return centres_KD[used], cell_S


def _nearest(rows_SD: torch.Tensor, centres_KD: torch.Tensor, block_rows: int) -> torch.Tensor:
    return torch.cat([(part @ centres_KD.T).argmax(1) for part in rows_SD.split(block_rows)])


def _lowest_needed(cosine_PK: torch.Tensor, counts_PK: torch.Tensor, recall: float) -> float:
    """The highest threshold at which the pilot's recall is what was asked for; -1 without any."""
    weights_PK = _shares(counts_PK)
    if not len(weights_PK):
        return -1.0
    cosines, order = cosine_PK[counts_PK.sum(1) > 0].flatten().sort(descending=True)
    held = weights_PK.flatten()[order].cumsum(0)
    enough = min(int((held < recall).sum()), len(held) - 1)
    return float(cosines[enough]) - ROUNDING


def _recall_at(cosine_PK: torch.Tensor, counts_PK: torch.Tensor, threshold: float) -> float:
    weights_PK = _shares(counts_PK)
    if not len(weights_PK):
        return float("nan")
    seen = cosine_PK[counts_PK.sum(1) > 0] >= threshold
    return float((weights_PK * seen).sum())


def _shares(counts_PK: torch.Tensor) -> torch.Tensor:
    """Of rows with neighbours: share of them in each cell, divided by the number of such rows."""
    counts_PK = counts_PK[counts_PK.sum(1) > 0]
    return counts_PK / counts_PK.sum(1, keepdim=True) / max(len(counts_PK), 1)


def _lowest_affordable(centres_KD: torch.Tensor, sizes_K: torch.Tensor, block_rows: int) -> float:
    """The lowest threshold with at most `MAX_CANDIDATES` rows looked at per row."""
    pairs = torch.zeros(LEVELS, dtype=torch.float64, device=centres_KD.device)
    sizes_K = sizes_K.double()
    for begin in range(0, len(centres_KD), block_rows):
        cosine_BK = centres_KD[begin : begin + block_rows] @ centres_KD.T
        level = ((1 - cosine_BK) * (LEVELS / 2)).long().clamp(0, LEVELS - 1)
        weight_BK = sizes_K[begin : begin + block_rows, None] * sizes_K
        pairs.index_add_(0, level.flatten(), weight_BK.flatten())
    n_levels = int((pairs.cumsum(0) <= MAX_CANDIDATES * sizes_K.sum()).sum())
    return -2.0 if n_levels == LEVELS else 1 - 2 * n_levels / LEVELS


def _probed_cells(
    centres_KD: torch.Tensor, threshold: float, block_rows: int
) -> list[torch.Tensor]:
    """For every cell itself and those with a centre as near; found once per pair: symmetric."""
    n = len(centres_KD)
    own = torch.arange(n, device=centres_KD.device)
    pairs = [torch.stack([own, own], 1)]
    for begin in range(0, n, block_rows):
        near = (centres_KD[begin : begin + block_rows] @ centres_KD.T >= threshold).triu(begin + 1)
        found = near.nonzero()
        found[:, 0] += begin
        pairs += [found, found.flip(1)]
    first, second = torch.cat(pairs).unbind(1)
    keys = (first * n + second).sort().values
    sizes = torch.bincount(keys // n, minlength=n)
    return list((keys % n).split(sizes.tolist()))
