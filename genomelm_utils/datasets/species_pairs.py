"""Pairs for contrastive training: two windows of one genome that do not overlap.

Shape suffixes: B pairs, R regions (stretches of definite bases), G genomes, K window lengths.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.datasets.species import GenomeSet
from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.sequences.sequencing_errors import add_errors, split_error_rate

logger = logging.getLogger(__name__)

#: Published pairs are 10,000 bp; shorter windows are there because real contigs are shorter.
LENGTHS_BP = (500, 1000, 2000, 5000, 10_000, 20_000)
NO_SPECIES = -1  # the species' number of pairs read from a file, which has none
_N_DRAWS = 8  # random numbers per pair: species, genome, two lengths, two places, two strands
_DRAWS_PER_COUNT = 4  # numbers that one count of the Philox counter gives


@dataclass(frozen=True)
class Pairs:
    """A batch of pairs: base codes of both windows (lists of uint8 arrays) and species int64[B].

    Species are numbers in `GenomeSet.species`; `NO_SPECIES` where nobody knows.
    """

    first: list[np.ndarray]
    second: list[np.ndarray]
    species: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class PairPlaces:
    """Where the windows of a batch lie: genome int64[B]; start (global in the store), length
    int64[B, 2]; minus bool[B, 2], turned to the other strand."""

    genome_B: np.ndarray
    start_B2: np.ndarray
    length_B2: np.ndarray
    minus_B2: np.ndarray


class PairSampler:
    """Pairs of windows of one genome, drawn on demand; nothing is kept.

    Both windows lie in the genome's share of a part, hold definite bases only, do not overlap, and
    are equally likely at every place where they fit; lengths and strands are drawn for each on its
    own. A pair depends on the seed, the step and its row alone, so that batches can be made in any
    order, by any number of processes.

    Args:
        genomes: where to cut from.
        part: `train`, `valid` (the ends of the training genomes) or `test`.
        lengths_bp: window lengths, each as likely as the others. In a genome whose share of the
            part is too small for two windows of a length, only the shorter ones are used.
        seed: of all draws.
        strands: `both` turns each window to the other strand with chance 1/2; `forward` never.
        balance: `species` draws all species equally often, and of each one of its genomes; `bases`
            draws genomes by their number of bases, as published pairs were. Draws are stratified:
            as many consecutive rows of a step as there are species hold each of them once
            (`species`), so that a batch has as many different negatives as it can.
        error_rate: share of a window's bases with a sequencing error, as long reads have them, see
            `sequences.sequencing_errors`; drawn for each window on its own, where it lies does not
            change. A window of L bases is then L + insertions - deletions long: L (1 - 0.12
            error_rate) on average. 0 gives the genome's own bases. Of the part `valid` too, so
            leave it 0 there.

    Raises ValueError when no genome of the part has room for two windows of the shortest length.
    Genomes without room are left out, named in `.skipped` (name, reason) and in the log.
    """

    def __init__(
        self,
        genomes: GenomeSet,
        part: str,
        *,
        lengths_bp: Sequence[int] = LENGTHS_BP,
        seed: int,
        strands: str = "both",
        balance: str = "species",
        error_rate: float = 0.0,
    ) -> None:
        _check_choice("strands", strands, ("both", "forward"))
        _check_choice("balance", balance, ("species", "bases"))
        if not len(lengths_bp) or min(lengths_bp) < 1:
            raise ValueError(f"lengths_bp is {list(lengths_bp)}, expected lengths of at least 1")
        self.genomes, self.part, self.seed, self.strands = genomes, part, seed, strands
        self._error_rates = split_error_rate(error_rate)
        self.lengths_bp = np.unique(np.asarray(lengths_bp, dtype=np.int64))
        self._codes = np.asarray(genomes.store.codes)
        self._lay_out()
        self._weigh(balance)

    def pairs(self, step: int, start: int, stop: int) -> Pairs:
        """The pairs of rows `start` to `stop` of a step."""
        places = self.places(step, start, stop)
        views = [
            [
                reverse_complement(self._codes[begin : begin + length])
                if turned
                else self._codes[begin : begin + length].copy()
                for begin, length, turned in zip(
                    places.start_B2[:, view].tolist(),
                    places.length_B2[:, view].tolist(),
                    places.minus_B2[:, view].tolist(),
                    strict=True,
                )
            ]
            for view in (0, 1)
        ]
        if self._error_rates.total:
            views = [self._read(view, codes, step, start) for view, codes in enumerate(views)]
        return Pairs(*views, self.genomes.species_of_genome[places.genome_B])

    def places(self, step: int, start: int, stop: int) -> PairPlaces:
        """Where the pairs of rows `start` to `stop` of a step lie."""
        draws = self._draw(step, start, stop)
        spread_B = self._spread(draws[0], step, start, stop)
        genome_B = self._order_G[np.searchsorted(self._chance_G, spread_B, side="right")]
        a, b = (np.floor(u * self._n_lengths_G[genome_B]).astype(np.int64) for u in draws[2:4])
        length_B2 = self.lengths_bp[np.stack([a, b], axis=1)]
        begin = self._room_KR[a, self._first_G[genome_B]]
        rank = begin + np.floor(draws[4] * self._total_KG[a, genome_B]).astype(np.int64)
        region_B, first_B = self._locate(a, rank)
        second_B = self._place_second(draws[5], genome_B, b, region_B, first_B, length_B2)
        minus_B2 = np.stack(draws[6:8], axis=1) < (0.5 if self.strands == "both" else 0)
        return PairPlaces(genome_B, np.stack([first_B, second_B], axis=1), length_B2, minus_B2)

    def _draw(self, step: int, start: int, stop: int) -> np.ndarray:
        """Random numbers float64[_N_DRAWS, B] that depend on seed, step and row only.

        Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox).
        """
        if step < 0 or not 0 <= start <= stop:
            raise ValueError(f"step {step}, rows {start} to {stop}: expected 0 <= start <= stop")
        bits = np.random.Philox(key=np.array([self.seed, step], dtype=np.uint64))
        bits.advance(start * _N_DRAWS // _DRAWS_PER_COUNT)
        return np.random.Generator(bits).random((stop - start, _N_DRAWS)).T

    def _read(
        self, view: int, windows: list[np.ndarray], step: int, start: int
    ) -> list[np.ndarray]:
        """The windows of rows `start`, ... with sequencing errors, each from its own stream."""
        key = np.array([self.seed, step], dtype=np.uint64)
        # counters far above those of `_draw`, and below those of `_spread`
        counters = ([0, 0, 1 + 2 * row + view, 0] for row in range(start, start + len(windows)))
        streams = (np.random.Generator(np.random.Philox(key=key, counter=c)) for c in counters)
        return [
            add_errors(codes, self._error_rates, rng)
            for codes, rng in zip(windows, streams, strict=True)
        ]

    def _spread(self, draw_B: np.ndarray, step: int, start: int, stop: int) -> np.ndarray:
        """Draws from [0, 1) in as many equal strata as there are species, each once per round."""
        n = self._n_strata
        rounds = range(start // n, -(-stop // n))
        key = np.array([self.seed, step], dtype=np.uint64)
        # counters far above those of `_draw`: one stream of random numbers per round
        streams = (np.random.Philox(key=key, counter=[0, 0, 0, 1 + r]) for r in rounds)
        orders = [np.random.Generator(stream).permutation(n) for stream in streams]
        stratum = np.concatenate([*orders, np.zeros(0, np.int64)])[start - rounds.start * n :]
        return (stratum[: stop - start] + draw_B) / n

    def _place_second(
        self,
        draw_B: np.ndarray,
        genome_B: np.ndarray,
        length_index_B: np.ndarray,
        region_B: np.ndarray,
        first_B: np.ndarray,
        length_B2: np.ndarray,
    ) -> np.ndarray:
        """Starts of the second windows: any place but those that overlap the first window.

        Places are ranked along the genome; those lost are consecutive, so that a rank at or
        behind the first of them moves up by their number.
        """
        b = length_index_B
        begin_B = self._regions[region_B, 0]
        room_B = self._room_KR[b, region_B + 1] - self._room_KR[b, region_B]
        low = np.maximum(first_B - length_B2[:, 1] + 1, begin_B)
        high = np.minimum(first_B + length_B2[:, 0], begin_B + room_B)
        n_lost = np.maximum(high - low, 0)
        n_free = self._total_KG[b, genome_B] - n_lost
        assert (n_free > 0).all()
        rank = self._room_KR[b, self._first_G[genome_B]] + np.floor(draw_B * n_free).astype(int)
        first_lost = self._room_KR[b, region_B] + low - begin_B
        return self._locate(b, rank + np.where(rank >= first_lost, n_lost, 0))[1]

    def _locate(self, length_index: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Region and global start of the window of a rank among all places of its length."""
        n_columns = self._room_KR.shape[1]
        shift = self._room_KR[0, -1] + 1  # the shortest length has the most places
        flat = (self._room_KR + shift * np.arange(len(self.lengths_bp))[:, None]).ravel()
        at = np.searchsorted(flat, rank + shift * length_index, side="right") - 1
        region = at - n_columns * length_index
        return region, self._regions[region, 0] + rank - self._room_KR[length_index, region]

    def _lay_out(self) -> None:
        """Rank the places of windows of every length along the part's regions."""
        self._regions, genome_R = self.genomes.regions(self.part)
        n_genomes = len(self.genomes.table)
        borders = np.searchsorted(genome_R, np.arange(n_genomes + 1))
        self._first_G = borders[:-1]
        width_R = self._regions[:, 1] - self._regions[:, 0]
        room = np.maximum(width_R - self.lengths_bp[:, None] + 1, 0)
        self._room_KR = np.pad(np.cumsum(room, axis=1), ((0, 0), (1, 0)))  # places before a region
        self._total_KG = self._room_KR[:, borders[1:]] - self._room_KR[:, borders[:-1]]
        # a window takes fewer than 2 L of the other's places, wherever it lies
        self._n_lengths_G = (self._total_KG >= 2 * self.lengths_bp[:, None]).sum(axis=0)
        self._n_bases_G = np.bincount(genome_R, width_R, minlength=n_genomes)
        small = (self._n_lengths_G == 0) & (self._n_bases_G > 0)
        self.skipped = pd.DataFrame(
            {
                "name": self.genomes.table["genome"][small],
                "reason": f"no room for two windows of {self.lengths_bp[0]} bp in part {self.part}",
            }
        ).reset_index(drop=True)
        if (self._n_lengths_G == 0).all():
            raise ValueError(
                f"{self.genomes.folder}: no genome of part {self.part} has room for two windows of "
                f"{self.lengths_bp[0]} bp without ambiguous bases; give shorter lengths_bp"
            )
        if small.any():
            logger.warning("left out %d genomes: %s", small.sum(), ", ".join(self.skipped["name"]))

    def _weigh(self, balance: str) -> None:
        """The chance of every usable genome, species by species, cumulated up to and with it."""
        species_G = self.genomes.species_of_genome
        usable_G = self._n_lengths_G > 0
        weight_G = np.where(usable_G, self._n_bases_G, 0.0)
        if balance == "species":
            weight_G = usable_G / np.maximum(np.bincount(species_G, usable_G)[species_G], 1)
        by_species = np.argsort(species_G, kind="stable")
        self._order_G = by_species[usable_G[by_species]]
        self._n_strata = len(np.unique(species_G[usable_G]))
        weight_G = weight_G[self._order_G]
        self._chance_G = np.cumsum(weight_G / weight_G.sum())
        # rounding must neither leave the table nor move a species over its stratum's border
        self._chance_G = np.round(self._chance_G, 12)
        self._chance_G[-1] = 1.0


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
