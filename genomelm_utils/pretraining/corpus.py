"""The pretraining corpus: batches of token ids cut from genomes while training, nothing written.

A batch is a pure function of (seed, step, micro), so resuming and sharing the work between
processes give the same rows. Two rules:

- `crops` (corrected): positions uniform over every place where a crop fits into a stretch of
  definite bases, so that no N is glued over; either strand; regions held out for validation.
- `reference`: GeneMask's released builder (`reference_pieces`): N deleted and the flanks glued, cut
  once into pieces that do not overlap, forward strand only, each piece to validation at random.

Letters: B rows, L bases of a row or ids of a row, R runs or regions, P pieces.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
import torch

from genomelm_utils.sequences.alphabet import CODE_N, complement
from genomelm_utils.tokenizers.kmer import token_ids, wrap_tokens

# Source: GeneMask's corpus notebook: half of the pieces have 511 bases (506 6-mers, 508 ids), the
# others 6..510 with equal probability; the first piece starts within the first 1000 bases.
MAX_BASES = 511
FULL_SHARE = 0.5
FIRST_OFFSET = 1000

BLOCK_BP = 50_000  # held-out regions: far longer than a crop, far shorter than a chromosome arm

_TRAIN, _VALID, _SPLIT, _PIECES = range(4)  # one stream of random numbers per purpose


class Store(Protocol):
    """What a corpus needs of a genome: `sequences.genome.BaseStore` has it."""

    codes: np.ndarray  # uint8[total] base codes of all records
    runs: np.ndarray  # int64[R, 2] stretches of definite bases, none across records
    records: pd.DataFrame  # start, length of each record; read by the reference rule only


@dataclass(frozen=True)
class Crops:
    """Places to cut: int64[B] each; `source` is the number of the array of base codes."""

    source: np.ndarray
    start: np.ndarray
    length: np.ndarray
    is_reverse: np.ndarray

    def __getitem__(self, rows: slice) -> "Crops":
        return Crops(self.source[rows], self.start[rows], self.length[rows], self.is_reverse[rows])


class CropCorpus:
    """Batches of token ids from genomes, each a pure function of (seed, step, micro).

    stores: one or several `BaseStore`s; each base has the same chance whatever its store.
    max_bases: half of the crops have this length, the others k..max_bases-1 with equal probability
    (no longer than the longest region). strands: "both" turns each crop with probability 1/2,
    "forward" never; the reference rule always reads forward. rule: "crops" or "reference", above;
    unlike the released builder the reference rule draws pieces with replacement and keeps the 0.1 %
    that are exact duplicates. valid_share: the share held out for `validation_batches`: of blocks
    of `block_bp` bases (crops), or of pieces (reference). With rule "crops" no training crop
    overlaps a held-out region, on either strand.

    Raises ValueError when the stores hold no stretch of k definite bases, or nothing is left for
    training or validation.
    """

    def __init__(
        self,
        stores: Sequence[Store],
        *,
        k: int,
        seed: int,
        max_bases: int = MAX_BASES,
        strands: str = "both",
        rule: str = "crops",
        valid_share: float = 0.0,
        block_bp: int = BLOCK_BP,
    ) -> None:
        for name, value, choices in (
            ("strands", strands, ("both", "forward")),
            ("rule", rule, ("crops", "reference")),
        ):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
        if not 0 <= valid_share < 1:
            raise ValueError(f"valid_share is {valid_share}, expected in [0, 1)")
        if not k < max_bases <= block_bp:
            raise ValueError(
                f"max_bases is {max_bases}, expected more than k ({k}) and at most block_bp "
                f"({block_bp})"
            )
        self.k, self.seed, self.max_bases, self.rule = k, seed, max_bases, rule
        self.strands = strands if rule == "crops" else "forward"
        build = self._build_regions if rule == "crops" else self._build_pieces
        self._sources, self._train, self._valid = build(stores, valid_share, block_bp)
        self._check_parts(valid_share, block_bp)

    @property
    def n_train_bases(self) -> int:
        """Bases that training crops are cut from."""
        return self._train.n_bases

    @property
    def n_valid_bases(self) -> int:
        """Bases held out for validation."""
        return self._valid.n_bases

    @property
    def training_regions(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of every source: its base codes, and int64[R, 2] what training crops are cut from."""
        return [
            (codes, self._train.regions_of(number)) for number, codes in enumerate(self._sources)
        ]

    def batch(self, step: int, micro: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids int64[B, L], lengths int64[B]): padded to the longest row; lengths count specials.

        step, micro: numbers of the step and of the micro-batch in it, from 0. rows: B.
        """
        return self._encode(self._draw(self._train, rows, _TRAIN, step, micro))

    def validation_batches(self, n_rows: int, rows: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The frozen validation subset: `n_rows` rows of held-out regions, `rows` per batch.

        The same rows for the same seed and n_rows, whatever the size of the batches.
        """
        if not self._valid.n_bases:
            raise ValueError("nothing is held out for validation: give CropCorpus a valid_share")
        crops = self._draw(self._valid, n_rows, _VALID)
        return [self._encode(crops[first : first + rows]) for first in range(0, n_rows, rows)]

    def _draw(self, part: "_Regions | _Pieces", rows: int, *key: int) -> Crops:
        rng = _generator(self.seed, *key)
        source, start, length = part.draw(rng, rows)
        turn = rng.random(rows) < 0.5 if self.strands == "both" else np.zeros(rows, dtype=bool)
        return Crops(source, start, length, turn)

    def _encode(self, crops: Crops) -> tuple[torch.Tensor, torch.Tensor]:
        tokens = token_ids(gather_codes(self._sources, crops), self.k)
        return wrap_tokens(tokens, crops.length - self.k + 1)

    def _build_regions(self, stores: Sequence[Store], valid_share: float, block_bp: int):
        rng = _generator(self.seed, _SPLIT)
        parts = [hold_out(store.runs, valid_share, block_bp, rng) for store in stores]
        train, valid = (
            _Regions(regions, self.k, self.max_bases) for regions in zip(*parts, strict=True)
        )
        return [np.asarray(store.codes) for store in stores], train, valid

    def _build_pieces(self, stores: Sequence[Store], valid_share: float, block_bp: int):
        rng = _generator(self.seed, _PIECES)
        cut = [_cut_records(store, rng, self.k, self.max_bases) for store in stores]
        held_out = [rng.random(len(pieces)) < valid_share for _, pieces in cut]
        train = _Pieces([p[~v] for (_, p), v in zip(cut, held_out, strict=True)])
        valid = _Pieces([p[v] for (_, p), v in zip(cut, held_out, strict=True)])
        return [codes for codes, _ in cut], train, valid

    def _check_parts(self, valid_share: float, block_bp: int) -> None:
        if not self._train.n_bases and not self._valid.n_bases:
            raise ValueError(
                f"the stores hold no stretch of at least {self.k} definite bases to cut from"
            )
        for part, name in ((self._train, "training"), (self._valid, "validation")):
            if not part.n_bases and (name == "training" or valid_share):
                raise ValueError(
                    f"valid_share {valid_share} leaves nothing for {name}: the genome has too few "
                    f"blocks of {block_bp} bases; make block_bp smaller or change valid_share"
                )


def reference_pieces(
    codes: np.ndarray, rng: np.random.Generator, k: int = 6, max_bases: int = MAX_BASES
) -> tuple[np.ndarray, np.ndarray]:
    """(codes without N, pieces): GeneMask's cut of one chromosome, the flanks of N glued together.

    pieces is int64[P, 2], intervals in the coordinates of the codes without N: adjacent, of
    511 bases with probability 1/2 and else of 6..510, the first at a random offset below 1000. The
    last base of the chromosome is never used; what is left for the last piece is dropped (the
    released code's treatment of it is not known; it is less than one piece per chromosome). Other
    ambiguity codes stay and give `[UNK]`; lower case is not seen in base codes.
    """
    codes = codes[codes != CODE_N]
    if not codes.size:
        return codes, np.empty((0, 2), dtype=np.int64)
    first = int(rng.integers(0, min(FIRST_OFFSET, codes.size)))
    # no piece is shorter than k: enough of them to reach the end, drawn in one go
    ends = [np.array([first])]
    while ends[-1][-1] < codes.size:
        n_more = (codes.size - int(ends[-1][-1])) // max_bases + 1
        ends.append(ends[-1][-1] + np.cumsum(draw_lengths(rng, n_more, k, max_bases)))
    borders = np.concatenate(ends)
    borders = borders[borders < codes.size]
    return codes, np.stack([borders[:-1], borders[1:]], axis=1)


def draw_lengths(rng: np.random.Generator, rows: int, k: int, max_bases: int) -> np.ndarray:
    """int64[B]: bases per row, `max_bases` with probability 1/2, else uniform k..max_bases-1."""
    is_full = rng.random(rows) < FULL_SHARE
    return np.where(is_full, max_bases, rng.integers(k, max_bases, rows))


def hold_out(
    runs: np.ndarray, valid_share: float, block_bp: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(train, valid): int64[R, 2] regions, runs cut into blocks of which a share is held out.

    Blocks start at the start of their run; neighbouring blocks of the same part are one region, so
    that with valid_share 0 the train regions are the runs themselves.
    """
    n_blocks = -(-(runs[:, 1] - runs[:, 0]) // block_bp)
    run = np.repeat(np.arange(len(runs)), n_blocks)
    within = np.arange(len(run)) - (np.cumsum(n_blocks) - n_blocks)[run]
    start = runs[run, 0] + within * block_bp
    end = np.minimum(start + block_bp, runs[run, 1])
    is_valid = rng.random(len(run)) < valid_share
    opens = np.ones(len(run), dtype=bool)
    opens[1:] = (run[1:] != run[:-1]) | (is_valid[1:] != is_valid[:-1])
    closes = np.append(opens[1:], True)[: len(run)]
    regions = np.stack([start[opens], end[closes]], axis=1)
    return regions[~is_valid[opens]], regions[is_valid[opens]]


def gather_codes(sources: Sequence[np.ndarray], crops: Crops) -> np.ndarray:
    """uint8[B, L]: the base codes of crops, 5' to 3' of their strand; behind the end anything."""
    width = int(crops.length.max(initial=0))
    last = crops.length[:, None] - 1
    offset = np.minimum(np.arange(width), last)
    offset = np.where(crops.is_reverse[:, None], last - offset, offset) + crops.start[:, None]
    codes = np.empty(offset.shape, dtype=np.uint8)
    for number in np.unique(crops.source):
        mine = crops.source == number
        codes[mine] = sources[number][offset[mine]]
    codes[crops.is_reverse] = complement(codes[crops.is_reverse])
    return codes


class _Regions:
    """Regions to draw crops from, every valid start with the same probability."""

    def __init__(self, regions: Sequence[np.ndarray], k: int, max_bases: int) -> None:
        self.k, self.max_bases = k, max_bases
        table = np.concatenate(
            [np.insert(r, 0, number, axis=1) for number, r in enumerate(regions)]
            or [np.empty((0, 3), dtype=np.int64)]
        )
        length = table[:, 2] - table[:, 1]
        # longest first: the regions that a crop fits into are then the first so many
        order = np.argsort(-length, kind="stable")
        order = order[length[order] >= k]
        self.source, self.start, self.length = table[order, 0], table[order, 1], length[order]
        self.before = np.concatenate([[0], np.cumsum(self.length)])
        self.n_bases = int(self.before[-1])

    def regions_of(self, source: int) -> np.ndarray:
        """int64[R, 2] of one source, in the order of its bases."""
        return _intervals_of(self, source)

    def draw(self, rng: np.random.Generator, rows: int) -> tuple[np.ndarray, ...]:
        length = np.minimum(draw_lengths(rng, rows, self.k, self.max_bases), self.length[0])
        n_fit = np.searchsorted(-self.length, -length, side="right")
        pick = rng.integers(0, self._starts_before(n_fit, length))
        low, high = np.zeros(rows, dtype=np.int64), n_fit
        while (high - low > 1).any():
            middle = (low + high) // 2
            is_before = self._starts_before(middle, length) <= pick
            low, high = np.where(is_before, middle, low), np.where(is_before, high, middle)
        start = self.start[low] + pick - self._starts_before(low, length)
        return self.source[low], start, length

    def _starts_before(self, region: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Valid starts of a crop in all regions before a given one (of those it fits into)."""
        return self.before[region] - region * (length - 1)


class _Pieces:
    """Fixed pieces, each drawn with the same probability."""

    def __init__(self, pieces: Sequence[np.ndarray]) -> None:
        self.source = np.repeat(np.arange(len(pieces)), [len(p) for p in pieces])
        table = np.concatenate([*pieces, np.empty((0, 2), dtype=np.int64)])
        self.start, self.length = table[:, 0], table[:, 1] - table[:, 0]
        self.n_bases = int(self.length.sum())

    def regions_of(self, source: int) -> np.ndarray:
        """int64[P, 2] of one source, in the order of its bases."""
        return _intervals_of(self, source)

    def draw(self, rng: np.random.Generator, rows: int) -> tuple[np.ndarray, ...]:
        pick = rng.integers(0, len(self.start), rows)
        return self.source[pick], self.start[pick], self.length[pick]


def _intervals_of(part: "_Regions | _Pieces", source: int) -> np.ndarray:
    """int64[R, 2] intervals of one source, sorted by their start."""
    mine = part.source == source
    intervals = np.stack([part.start[mine], part.start[mine] + part.length[mine]], axis=1)
    return intervals[np.argsort(intervals[:, 0])]


def _cut_records(
    store: Store, rng: np.random.Generator, k: int, max_bases: int
) -> tuple[np.ndarray, np.ndarray]:
    """(codes without N of all records end to end, pieces in their coordinates)."""
    glued, pieces, total = [], [], 0
    for start, length in zip(store.records["start"], store.records["length"], strict=True):
        codes, intervals = reference_pieces(store.codes[start : start + length], rng, k, max_bases)
        glued.append(codes)
        pieces.append(intervals + total)
        total += codes.size
    return np.concatenate(glued), np.concatenate(pieces)


def _generator(seed: int, *key: int) -> np.random.Generator:
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=key)
    return np.random.Generator(np.random.Philox(sequence))
