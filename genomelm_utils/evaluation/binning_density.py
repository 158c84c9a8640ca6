"""How many rows, and how alike, are around each row? Sums of similarities, block by block.

Shapes: S sequences, D width, B rows of a block, R and M rows on two sides.
"""

import numpy as np
import torch


def keep_similar(similar: torch.Tensor, gamma: np.float32) -> torch.Tensor:
    """The same tensor with entries below gamma set to 0, in place."""
    below = float(np.nextafter(gamma, np.float32(-1)))  # kept are those greater than this
    return torch.nn.functional.threshold_(similar, below, 0.0)


def densities(rows_SD: torch.Tensor, gamma: np.float32, block_rows: int) -> torch.Tensor:
    """Sum of similarities of at least gamma to all rows, oneself included, float64 [S].

    Block by block, each pair of blocks once: the matrix is symmetric.
    """
    density_S = torch.zeros(len(rows_SD), dtype=torch.float64, device=rows_SD.device)
    for begin in range(0, len(rows_SD), block_rows):
        rows_BD = rows_SD[begin : begin + block_rows]
        for other in range(begin, len(rows_SD), block_rows):
            similar = keep_similar(rows_BD @ rows_SD[other : other + block_rows].T, gamma)
            density_S[begin : begin + block_rows] += similar.sum(1, dtype=torch.float64)
            if other > begin:
                density_S[other : other + block_rows] += similar.sum(0, dtype=torch.float64)
    return density_S


def similarity_sums(
    rows_RD: torch.Tensor, others_MD: torch.Tensor, gamma: np.float32, block_rows: int
) -> torch.Tensor:
    """Sum of similarities of at least gamma of each row to the others, float64 [R]."""
    sums_R = torch.zeros(len(rows_RD), dtype=torch.float64, device=rows_RD.device)
    for begin in range(0, len(rows_RD), block_rows):
        rows_BD = rows_RD[begin : begin + block_rows]
        for others_BD in others_MD.split(block_rows):
            similar = keep_similar(rows_BD @ others_BD.T, gamma)
            sums_R[begin : begin + block_rows] += similar.sum(1, dtype=torch.float64)
    return sums_R


def first_untouched(
    rows_SD: torch.Tensor,
    labels_S: torch.Tensor,
    spent_at_S: torch.Tensor,
    gamma: np.float32,
    block_rows: int,
) -> int | None:
    """First row that no row binned after it was spent is a neighbour of; None if there is none."""
    for begin in range(0, len(rows_SD), block_rows):
        rows_BD = rows_SD[begin : begin + block_rows]
        touched_B = torch.zeros(len(rows_BD), dtype=torch.bool, device=rows_SD.device)
        for other in range(0, len(rows_SD), block_rows):
            near = rows_BD @ rows_SD[other : other + block_rows].T >= float(gamma)
            later = (
                labels_S[None, other : other + block_rows]
                > spent_at_S[begin : begin + block_rows, None]
            )
            touched_B |= (near & later).any(1)
        untouched = (~touched_B).nonzero()[:, 0]
        if len(untouched):
            return begin + int(untouched[0])
    return None
