"""Places and bases of inserted motifs: random, but a function of what they are drawn for.

Every number is a hash of (seed, motif, background, replicate, copy, position), computed where
the sequences are. So it is the same on every device, in any batch, with any other motifs around.

Shapes: M motifs, K copies, W positions of the widest motif, L bases, N rows of a batch.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from genomelm_utils.models.motif_scan import NamedMotif, motif_matrices
from genomelm_utils.sequences.alphabet import N_BASES

#: Ends the name of a motif whose positions were shuffled (see `shuffle_motifs`).
SHUFFLED = "~shuffled"

Motifs = Mapping[str, np.ndarray] | Sequence[NamedMotif]


class InsertionDraws:
    """Draws copies of motifs and writes them into rows (see the head of this file).

    last_place_left_out: a copy never ends at the last base, as in the released script.
    """

    def __init__(
        self,
        matrices: Mapping[str, np.ndarray],
        seed: int,
        copies: int,
        both_strands: bool,
        last_place_left_out: bool,
        device: torch.device,
    ) -> None:
        self.copies, self.both_strands, self.short = copies, both_strands, last_place_left_out
        self.widths = [len(matrix) for matrix in matrices.values()]
        self.width_M = torch.tensor(self.widths, device=device)
        below_MW3 = torch.ones(len(matrices), max(self.widths), N_BASES - 1)
        for m, matrix_W4 in enumerate(matrices.values()):
            below = matrix_W4.cumsum(1)[:, : N_BASES - 1]
            # a base of probability 0 at the end must not come up because a sum is 1 - 1e-17
            below[below > 1 - 1e-12] = 1
            below_MW3[m, : len(below)] = torch.from_numpy(below).float()
        self.below_MW3 = below_MW3.to(device)
        keys = [_key_of(seed, name) for name in matrices]
        self.key_M = torch.tensor(keys, device=device)

    def insert(
        self,
        codes_NL: torch.Tensor,
        lengths_N: torch.Tensor,
        motif_N: torch.Tensor,
        row_N: torch.Tensor,
        replicate_N: torch.Tensor,
        replicates: int,
    ) -> torch.Tensor:
        """The rows with the motif in them; rows of replicate `replicates` and above as they are."""
        n_rows, length = codes_NL.shape
        width_N = self.width_M[motif_N]
        widest = max(self.widths)
        place_W = torch.arange(widest, device=codes_NL.device)
        inside_NW = (place_W < width_N[:, None]) & (replicate_N < replicates)[:, None]
        state_N = mix(mix(self.key_M[motif_N], row_N), replicate_N)
        below_NW3 = self.below_MW3[motif_N]
        # one more column takes what is not to be written
        out = torch.cat([codes_NL, codes_NL.new_zeros((n_rows, 1))], dim=1)
        for copy in range(self.copies):
            copy_N = mix(state_N, torch.full_like(state_N, copy))
            n_places_N = lengths_N - width_N + (0 if self.short else 1)
            start_N = (uniform(mix(copy_N, torch.zeros_like(copy_N))) * n_places_N).long()
            draw_NW = uniform(mix(copy_N[:, None], place_W + 2))
            base_NW = (draw_NW[..., None] >= below_NW3).sum(-1)
            if self.both_strands:
                turned_N = uniform(mix(copy_N, torch.ones_like(copy_N))) < 0.5
                mirror_NW = (width_N[:, None] - 1 - place_W).clamp(min=0)
                other_NW = N_BASES - 1 - base_NW.gather(1, mirror_NW)
                base_NW = torch.where(turned_N[:, None], other_NW, base_NW)
            column_NW = torch.where(inside_NW, start_N[:, None] + place_W, length)
            out.scatter_(1, column_NW, base_NW.to(out.dtype))
        return out[:, :length]


def _key_of(seed: int, name: str) -> int:
    """A signed 64-bit number of a seed and a motif's name; a shuffled motif has its original's."""
    text = f"{seed}:{name.removesuffix(SHUFFLED)}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _shift(state: torch.Tensor, bits: int) -> torch.Tensor:
    """State shifted right, filled up with zeros although its numbers are signed."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


_GOLDEN_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def mix(state: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """A new int64 state of a state and a key, the same on every device.

    Source: finaliser of SplitMix64, Steele, Lea & Flood 2014 (doi 10.1145/2660193.2660195), as in
    `interpretation.kmer_flips`.
    """
    state = state + key + _GOLDEN_GAMMA
    state = (state ^ _shift(state, 30)) * _MIX_1
    state = (state ^ _shift(state, 27)) * _MIX_2
    return state ^ _shift(state, 31)


def uniform(state: torch.Tensor) -> torch.Tensor:
    """float32 in [0, 1) of the upper 24 bits of a state."""
    return _shift(state, 40).float() * 2.0**-24


def shuffle_motifs(motifs: Motifs, seed: int = 0) -> dict[str, np.ndarray]:
    """Each motif with its positions in random order, named 'name~shuffled': a control.

    It stands where its original stands (see `motif_effects`) and overwrites as much, with the same
    letters on average; only their order differs. The order is never the original one, unless all
    positions are alike.
    """
    shuffled = {}
    for name, matrix_W4 in motif_matrices(motifs).items():
        rng = np.random.default_rng(_key_of(seed, name) % 2**63)
        order = rng.permutation(len(matrix_W4))
        alike = (matrix_W4 == matrix_W4[0]).all()
        while not alike and np.array_equal(matrix_W4[order], matrix_W4):
            order = rng.permutation(len(matrix_W4))
        shuffled[name + SHUFFLED] = matrix_W4[order]
    return shuffled
