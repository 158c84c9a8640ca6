"""Bins of contigs without labels: the modified K-medoid of DNABERT-S, without its N x N matrix.

    gamma, why = split_threshold(first_halves, second_halves, rng)
    binning = bin_contigs(features, gamma)

The densest row is a seed; the rows within gamma of it are averaged, three times over; the last set
is a bin, leaves the pool, and no longer counts in the density of the others.

Shapes: S sequences, D width, A rows still in the pool, M members of a new bin, R rows in reach.

Source: the released evaluation of DNABERT-S (arXiv 2402.08777): three passes; means of unit vectors
are not scaled back to length one.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from genomelm_utils.evaluation.binning_cells import Cells, cell_densities, find_cells
from genomelm_utils.evaluation.binning_density import densities, first_untouched, similarity_sums
from genomelm_utils.evaluation.feature_rows import unit_rows

logger = logging.getLogger(__name__)

PASSES = 3  # of the reference
TIE = 2.0**-22  # densities this close, relatively, are a tie: four units in the last place, float32
ANGLE_MARGIN = 1e-2  # radians; what rounding can do to the angle of a float32 row is below 1e-3
ANGLE_GROUPS = 4  # of the members of a bin, for finding who has lost a neighbour
MAX_EXACT = 1_000_000  # contigs; with more, each is asked about part of the others only
RECALL = 0.95  # of neighbours, when not all are asked
NEIGHBOURS = ("auto", "exact", "approximate")
POOL_SHARE = 0.75  # the pool is copied together when fewer of its rows than this are still free


class Binning(NamedTuple):
    """Bins of contigs, and what happened on the way.

    labels: int64 [S]; -1 is unbinned. `fixed`: 1..n_bins in the order the bins were found;
    `reference`: the reference's iteration numbers, with gaps.
    n_iterations: seeds that counted towards `max_bins`; n_empty_seeds: those whose bin was empty
    (`reference`: counted); n_small_bins: bins dropped as smaller than `min_bin_size`;
    limit_reached: rows were left when `max_bins` was reached; a warning says so when any of them
    has as many free neighbours as a bin needs. neighbours: exact or approximate, and why.
    """

    labels: np.ndarray
    n_bins: int
    n_iterations: int
    n_empty_seeds: int
    n_small_bins: int
    limit_reached: bool
    neighbours: str


def bin_contigs(
    features_SD: np.ndarray,
    gamma: float,
    *,
    mode: str = "fixed",
    min_bin_size: int = 10,
    max_bins: int = 1000,
    device: str | torch.device | None = None,
    block_rows: int = 1024,
    neighbours: str = "auto",
    recall: float = RECALL,
    seed: int = 0,
) -> Binning:
    """Bin label of every row.

    features_SD: any length, they are scaled to one here. gamma: similarity (cosine) in (0, 1) at
    which two rows are neighbours: `evaluation.binning_threshold`. device: None takes CUDA where
    there is one. Memory: at most 2.4 float32 copies of the features, and blocks of
    `block_rows` x `block_rows` float32. Work: S x S x D / 2 multiply-adds for the densities, less
    than that for their updates, three products of the pool with a vector per bin.

    mode `fixed`: a seed without members is skipped and does not count towards `max_bins`; the
    search ends when every row is in a bin or has been a seed; ids are compact. `reference`: when
    only rows that were seeds are left, rows already in a bin are seeds once more, and when that
    finds nothing, the iterations up to `max_bins` are spent on the same row (here they are counted,
    not run); ids keep their gaps. Otherwise the two are the same algorithm.

    Identity with the dense float32 algorithm: rows, products and means are float32 as there, sums
    are float64. Labels are the same unless a similarity lies within rounding (about 1e-7) of gamma
    or two densities do. Densities within 2^-22 of the largest are a tie, and the first row wins: so
    copies of a contig, or another block size, do not change the result. Rows that end up alone are
    all equally dense (1): here they are numbered by row, there by the rounding of their sums; that
    shows with `min_bin_size` 1 only.

    neighbours `approximate`: densities are sums over neighbours in like cells of rows only
    (`binning_cells.find_cells`: so many cells that `recall` of the neighbours are found; `seed`
    draws them). Members of a bin are still found among all rows: what can differ is which row is
    the next seed, and rows none of whose neighbours were found are alone. With `recall` 1 it is
    the exact algorithm. `auto`: exact up to `MAX_EXACT` rows and in `reference` mode. Work is then
    S x (cells, pilot and rows looked at) x D; memory 16 bytes more per row than exact.

    Errors: ValueError for a gamma outside (0, 1), an unknown mode, sizes below 1, rows that are
    not finite or all zero, `approximate` in `reference` mode, a recall outside (0, 1], and a device
    without float64 (Apple's GPU).
    """
    check_options(gamma, mode, min_bin_size, max_bins, block_rows, neighbours, recall)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "mps":
        raise ValueError("binning sums in float64, which Apple's GPU (mps) lacks; take cpu")
    kind, why = choose_neighbours(neighbours, mode, len(features_SD))
    rows_SD = torch.from_numpy(unit_rows(features_SD)).to(device)
    cells = None
    with exact_products(), torch.inference_mode():
        if kind == "approximate":
            cells = find_cells(rows_SD, gamma, recall=recall, seed=seed, block_rows=block_rows)
            why = f"{why}; {cells.why}"
        logger.info("neighbours: %s, %s", kind, why)
        reference = mode == "reference"
        search = Search(rows_SD, gamma, max_bins, block_rows, reference=reference, cells=cells)
        search.run()
    found_S = search.labels_S.cpu().numpy()
    labels_S, n_small = drop_small(found_S, min_bin_size, compact=mode == "fixed")
    if search.limit_reached and search.top_left >= gamma * min_bin_size:  # of interest, that is
        logger.warning(
            "binning stopped after %d bins with %d of %d contigs not looked at; raise max_bins",
            search.iteration,
            int((found_S < 0).sum()),
            len(found_S),
        )
    n_bins = len(np.unique(labels_S[labels_S > 0]))
    return Binning(
        labels_S,
        n_bins,
        search.iteration,
        search.n_empty_seeds,
        n_small,
        search.limit_reached,
        f"{kind}: {why}",
    )


def choose_neighbours(neighbours: str, mode: str, n_rows: int) -> tuple[str, str]:
    """`exact` or `approximate`, and why: as given, or by the number of rows."""
    if neighbours != "auto":
        return neighbours, "given"
    if mode == "reference":
        return "exact", "the reference mode always is"
    if n_rows > MAX_EXACT:
        return "approximate", f"{n_rows:,} contigs are more than {MAX_EXACT:,}"
    return "exact", f"{n_rows:,} contigs are no more than {MAX_EXACT:,}"


def check_options(
    gamma: float,
    mode: str,
    min_bin_size: int,
    max_bins: int,
    block_rows: int,
    neighbours: str = "auto",
    recall: float = RECALL,
) -> None:
    """ValueError that says which option is wrong (see `bin_contigs`)."""
    if not 0 < gamma < 1:
        raise ValueError(f"gamma is {gamma}, expected a cosine similarity in (0, 1)")
    if mode not in ("fixed", "reference"):
        raise ValueError(f"mode is {mode!r}, expected 'fixed' or 'reference'")
    if neighbours not in NEIGHBOURS:
        raise ValueError(f"neighbours is {neighbours!r}, expected one of {', '.join(NEIGHBOURS)}")
    if neighbours == "approximate" and mode == "reference":
        raise ValueError(
            "neighbours is 'approximate' in mode 'reference', which repeats the released algorithm "
            "exactly; take mode 'fixed'"
        )
    if not 0 < recall <= 1:
        raise ValueError(f"recall is {recall}, expected a share of the neighbours in (0, 1]")
    for name, value in (
        ("min_bin_size", min_bin_size),
        ("max_bins", max_bins),
        ("block_rows", block_rows),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}, expected 1 or more")


@contextmanager
def exact_products() -> Iterator[None]:
    """Full float32 products inside; TF32 or bf16 would move similarities across gamma."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def drop_small(labels_S: np.ndarray, min_size: int, compact: bool) -> tuple[np.ndarray, int]:
    """Labels with bins below `min_size` set to -1 (and ids 1, 2, ...), and how many these were."""
    bins, inverse_S, sizes = np.unique(labels_S, return_inverse=True, return_counts=True)
    small = (bins > 0) & (sizes < min_size)
    kept = (bins > 0) & ~small
    ids = np.where(kept, np.cumsum(kept) if compact else bins, -1)
    return ids[inverse_S], int(small.sum())


class Search:
    """The state of one binning: the pool of rows not in a bin, and their densities.

    A row that was a seed once is spent: it stays in the pool, and can join a bin, but is no seed
    again. Densities of spent and binned rows are -inf.
    """

    def __init__(
        self,
        rows_SD: torch.Tensor,
        gamma: float,
        max_bins: int,
        block_rows: int,
        reference: bool,
        cells: Cells | None = None,
    ):
        self.rows_SD, self.max_bins, self.block = rows_SD, max_bins, block_rows
        self.reference, self.cells = reference, cells
        self.gamma = np.float32(gamma)
        n, device = len(rows_SD), rows_SD.device
        self.labels_S = torch.full((n,), -1, dtype=torch.int64, device=device)
        self.spent_at_S = torch.zeros(n, dtype=torch.float64, device=device)
        self.pool_AD = rows_SD
        self.index_A = torch.arange(n, device=device)
        self.free_A = torch.ones(n, dtype=torch.bool, device=device)
        if cells is None:
            self.density_A = densities(rows_SD, self.gamma, block_rows)
        else:
            self.density_A = cell_densities(rows_SD, cells, self.gamma, block_rows)
        self.iteration = self.n_empty_seeds = 0
        self.limit_reached, self.top_left = False, -np.inf

    def run(self) -> None:
        """Bin after bin until nothing is left, or the limit is reached."""
        while bool(self.free_A.any()):
            top = float(self.density_A.max())
            if top == -np.inf and not self.reference:
                return  # rows left were seeds once, and no bin came to them
            if self.iteration >= self.max_bins:
                self.limit_reached, self.top_left = True, top
                return
            if top == -np.inf:
                self.seed_again()
            elif top < 1 + self.gamma - 1e-4:
                self.take_isolated()
            else:
                self.take_densest(top)

    def take_densest(self, top: float) -> None:
        """One bin around the densest row that was no seed yet, the first one at a tie."""
        seed = int((self.density_A >= top * (1 - TIE)).nonzero()[0, 0])
        self.density_A[seed] = -torch.inf
        self.spent_at_S[self.index_A[seed]] = self.iteration + 0.5
        if not self.grow(self.pool_AD[seed]):
            self.n_empty_seeds += 1
            self.iteration += self.reference

    def take_isolated(self) -> None:
        """All at once: rows without a free neighbour, each a bin of its own, in order of rows.

        Exactly what seed after seed would come to: such a row gathers itself and changes nobody's
        density.
        """
        lone = (self.density_A > -torch.inf).nonzero()[:, 0][: self.max_bins - self.iteration]
        ids = self.iteration + 1 + torch.arange(len(lone), device=lone.device)
        self.labels_S[self.index_A[lone]] = ids
        self.spent_at_S[self.index_A[lone]] = ids.double()
        self.free_A[lone] = False
        self.density_A[lone] = -torch.inf
        self.iteration += len(lone)

    def seed_again(self) -> None:
        """Reference only: every free row was a seed, so a spent or binned row is one again.

        There, spent and binned rows hold -100 and still lose the density of later members next to
        them: the first row that still has exactly -100 is the largest. If nothing comes of it,
        nothing has changed, and it is the largest again until the limit.
        """
        seed = first_untouched(self.rows_SD, self.labels_S, self.spent_at_S, self.gamma, self.block)
        assert seed is not None, "the rows of the last iteration are untouched"
        if not self.grow(self.rows_SD[seed]):
            self.n_empty_seeds += self.max_bins - self.iteration
            self.iteration = self.max_bins
        elif self.labels_S[seed] != self.iteration:  # set to -100 before members were taken
            self.spent_at_S[seed] = self.iteration - 0.5

    def grow(self, centre_D: torch.Tensor) -> bool:
        """Makes the next bin around a vector; False, and nothing changes, when it is empty."""
        for _ in range(PASSES):
            used_D = centre_D
            similar_A = self.pool_AD @ used_D
            members = (self.free_A & (similar_A >= self.gamma)).nonzero()[:, 0]
            if len(members) == 0:
                return False
            centre_D = self.pool_AD[members].mean(0, dtype=torch.float64).float()
        self.iteration += 1
        self.labels_S[self.index_A[members]] = self.iteration
        self.spent_at_S[self.index_A[members]] = self.iteration
        self.free_A[members] = False
        self.density_A[members] = -torch.inf
        self.lower_densities(members, similar_A, float(torch.linalg.vector_norm(used_D)))
        self.shrink()
        return True

    def lower_densities(
        self, members: torch.Tensor, similar_A: torch.Tensor, centre_length: float
    ) -> None:
        """Takes the new members out of the densities of the rows that are still to be seeds.

        Rows out of reach are left out, exactly: neighbours are within arccos(gamma) of each other,
        and angles obey the triangle inequality, here with the centre. The members are taken in
        groups by their angle, or a single far one would extend the reach of all.
        """
        angle_A = torch.arccos((similar_A / centre_length).clamp(-1, 1))
        open_A = self.density_A > -torch.inf
        for members_M, met in self.meet(members, angle_A):
            reach = angle_A[members_M].max() + np.arccos(float(self.gamma)) + ANGLE_MARGIN
            near = met[open_A[met] & (angle_A[met] <= reach)]
            member_rows_MD = self.pool_AD[members_M]
            for near_R in near.split(self.block):
                self.density_A[near_R] -= similarity_sums(
                    self.pool_AD[near_R], member_rows_MD, self.gamma, self.block
                )

    def meet(
        self, members: torch.Tensor, angle_A: torch.Tensor
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Groups of the members, and the rows whose densities they can be in: by angle, or cell."""
        if self.cells is not None:
            yield from self.cells.meet(members)
            return
        members = members[angle_A[members].argsort()]
        everyone = (self.density_A > -torch.inf).nonzero()[:, 0]
        for group in members.split(min(self.block, -(-len(members) // ANGLE_GROUPS))):
            yield group, everyone

    def shrink(self) -> None:
        """Copies the free rows together when enough have left: products get shorter."""
        if int(self.free_A.sum()) < POOL_SHARE * len(self.free_A):
            free = self.free_A.nonzero()[:, 0]
            self.pool_AD, self.index_A = self.pool_AD[free], self.index_A[free]
            self.density_A, self.free_A = self.density_A[free], self.free_A[free]
            if self.cells is not None:
                self.cells.keep(free)
