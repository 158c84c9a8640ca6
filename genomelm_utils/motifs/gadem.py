"""The GADEM method natively: spaced dyads, a genetic search over them, EM, sites, masking.

One search finds one motif: dyads are proposed by over-representation, a genetic algorithm crosses
and changes them, each becomes a matrix that EM fits to a part of the sequences, and ln(E) of that
fit is its fitness. The best few are fitted to all sequences, their ends extended and trimmed; the
best of them becomes the motif if ln(E) and the number of sites allow. Its sites are masked, and the
next search begins. Written from the method as published (Li 2009, J. Comput. Biol. 16:317), not
from the program.

Shape suffixes: P bases of all sequences, S sequences, W positions of a motif.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from genomelm_utils.motifs.background import (
    Background,
    draw_background,
    fit_background,
    read_background,
)
from genomelm_utils.motifs.dyads import Dyad, breed, draw_dyads, log_n_dyads, propose, rank_words
from genomelm_utils.motifs.em import EmData, Fit, run_em, word_numbers
from genomelm_utils.motifs.motif import Motif
from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.motifs.records import SearchSet, count_definite, find_simple_repeats
from genomelm_utils.motifs.refine import best_stretch, extend_and_trim, log_n_ends, same_motif
from genomelm_utils.motifs.scores import log_e_value
from genomelm_utils.motifs.sites import Called, Scanned, call_sites, count_sites, trim_sites
from genomelm_utils.motifs.split import split_sites
from genomelm_utils.sequences.alphabet import CODE_N

logger = logging.getLogger(__name__)

#: Bases that dyads are tried on, at most, and that a motif is fitted to in the end. Chosen: 50,000
#: are 250 sequences of 200 bases, where a motif of a tenth of them stands out.
TRIED_BASES = 50_000
FITTED_BASES = 2_000_000
#: Share of the sequences that is taken to hold a motif before EM. Chosen.
START_GAMMA = 0.5
#: EM steps after which the worse half of the new dyads is given up, and how still a matrix has to
#: be while dyads are only compared. Chosen.
FIRST_STEPS = 4
STILL = 5e-3
#: Candidates of a search that are fitted to all sequences: the fittest, and of the most
#: over-represented dyads those that became none of them (a motif of few sequences shows in all of
#: them, not in the part that dyads are tried on). Chosen.
N_REFINED, N_UNTRIED = 4, 2

MAX_SPLITS = 3  # of one matrix: four motifs in it


class Candidate(NamedTuple):
    """A dyad, what EM made of it, and ln(E)."""

    dyad: Dyad
    fit: Fit
    log_e: float


def search(
    data: SearchSet,
    *,
    n_motifs: int,
    seed: int,
    parameters: Parameters,
    start_motifs: Sequence[Motif] = (),
    threads: int = 1,
) -> tuple[list[Motif], Background, tuple[str, ...]]:
    """Motifs in the order of their finding, the background, and sentences on what was done.

    start_motifs: matrices to begin with, each fitted and kept if it is good enough; then the search
    goes on without. The result does not depend on `threads`.
    """
    state = State(data, parameters, seed, threads)
    for motif in start_motifs:
        if len(state.motifs) < n_motifs:
            state.take(state.refine([state.fit_start(motif)]))
    failures = 0
    while len(state.motifs) < n_motifs and failures < parameters.stop_criterion:
        failures = 0 if state.take(state.refine(state.evolve())) else failures + 1
    notes = [f"{state.n_masked:,} bases of simple repeats masked"] if parameters.mask_r else []
    if len(state.motifs) < n_motifs:
        notes.append(
            f"stopped after {failures} searches in a row without a motif of ln(E) up to "
            f"{parameters.e_value:g} and {state.fewest_sites} sites or more"
        )
    return state.motifs, state.background, tuple(notes)


class State:
    """What a run knows: the sequences with what was found masked, the background, the motifs."""

    def __init__(self, data: SearchSet, parameters: Parameters, seed: int, threads: int) -> None:
        self.data, self.parameters, self.threads = data, parameters, threads
        self.rng = np.random.default_rng(seed)
        self.motifs: list[Motif] = []
        self.n_masked = 0
        self.fewest_sites = parameters.fewest_sites(len(data))
        self.codes = data.codes.copy()
        if parameters.mask_r:
            masked = data.mask(find_simple_repeats(data.codes, data.starts))
            self.n_masked = int((masked.codes != data.codes).sum())
            self.codes = masked.codes
        self.scanned = self.codes.copy()
        self.background = (
            read_background(parameters.b_file_name)
            if parameters.b_file_name
            else fit_background(self.codes)
        )
        self.backgrounds = self._draw_backgrounds()

    def _draw_backgrounds(self) -> Scanned | None:
        n_sets = self.parameters.num_backg_sets
        if not n_sets:
            return None
        rng = np.random.default_rng(self.rng.integers(2**63))
        lengths = np.tile(np.diff(self.data.starts), n_sets)
        return Scanned(*draw_background(self.background, lengths, rng))

    def evolve(self) -> list[Candidate]:
        """The best candidates of one genetic search, no two of them the same motif."""
        left = count_definite(self.codes, self.data.starts)
        shares = self.background.shares
        words = rank_words(self.codes, self.parameters, shares)
        data = self._em_data(self._draw_records(self.parameters.f_em, TRIED_BASES), left)
        size = self.parameters.population_size
        proposed = propose(self.codes, left, self.data.starts, words, self.parameters, size)
        population = proposed[: size // 2]
        population += draw_dyads(size - len(population), words, self.parameters, self.rng)
        known: dict[Dyad, Candidate] = {}
        for generation in range(self.parameters.num_generation):
            self._try_out([d.canonical() for d in population], data, known)
            best = sorted(known.values(), key=_by_e)[: size // 2]
            if generation + 1 < self.parameters.num_generation:
                parents = [one.dyad for one in best]
                population = breed(parents, size - len(parents), words, self.parameters, self.rng)
        kept = self._distinct(best, N_REFINED)
        start = Fit(np.empty((0, 4)), START_GAMMA, 0.0, np.empty(0))
        raw = [
            Candidate(dyad, start._replace(probabilities=dyad.matrix(shares)), 0.0)
            for dyad in proposed[: size // 2]
        ]
        return kept + self._distinct(raw, N_UNTRIED, kept)

    def _try_out(self, dyads: Sequence[Dyad], data: EmData, known: dict[Dyad, Candidate]) -> None:
        """EM from each dyad that was not tried before; to the end from the better half of them."""
        new = list(dict.fromkeys(dyad for dyad in dyads if dyad not in known))
        inverse = {width: data.inverse_background(width) for width in {d.width for d in new}}
        shares, parameters = self.background.shares, self.parameters
        first = min(FIRST_STEPS, parameters.num_em)

        def begin(dyad: Dyad) -> Candidate:
            start = Fit(dyad.matrix(shares), START_GAMMA, 0.0, np.empty(0))
            return improve(Candidate(dyad, start, 0.0), first)

        def improve(one: Candidate, steps: int = parameters.num_em - first) -> Candidate:
            width = one.dyad.width
            start = (one.fit.probabilities, one.fit.gamma)
            fit = run_em(data, *start, steps, inverse=inverse[width], moved=STILL)
            log_e = log_e_value(fit.llr, width, log_n_dyads(one.dyad, parameters))
            return Candidate(one.dyad, fit, log_e)

        tried = sorted(self._map(begin, new), key=_by_e)
        half = (len(tried) + 1) // 2
        tried = self._map(improve, tried[:half]) + tried[half:]
        known.update((one.dyad, one) for one in tried)

    def _distinct(
        self, best: Sequence[Candidate], n: int, others: Sequence[Candidate] = ()
    ) -> list[Candidate]:
        """The first n that are another motif than each other and than `others`."""
        kept: list[Candidate] = []
        window = self.parameters.slide_win_pwm
        for one in best:
            matrix = one.fit.probabilities
            known = [other.fit.probabilities for other in (*others, *kept)]
            if not any(same_motif(matrix, other, window) for other in known):
                kept.append(one)
            if len(kept) == n:
                break
        return kept

    def fit_start(self, motif: Motif) -> Candidate:
        """A given matrix as a candidate."""
        n = motif.n_sites
        shares = self.background.shares
        matrix = (motif.probabilities * n + shares) / (n + 1)
        none = Dyad(0, 3, max(motif.width - 6, 0), 0, 3)
        return Candidate(none, Fit(matrix, START_GAMMA, 0.0, motif.counts), 0.0)

    def refine(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Candidates fitted to all sequences, ends extended and trimmed; the best first."""
        left = count_definite(self.codes, self.data.starts)
        self.fitted = self._em_data(self._draw_records(1.0, FITTED_BASES), left)

        def fit(one: Candidate) -> Candidate:
            found = extend_and_trim(self.fitted, one.fit, self.parameters)
            trials = log_n_dyads(one.dyad, self.parameters) + log_n_ends(self.parameters)
            log_e = log_e_value(found.llr, len(found.probabilities), trials)
            return one._replace(fit=found, log_e=log_e)

        return sorted(self._map(fit, candidates), key=_by_e)

    def take(self, candidates: Sequence[Candidate]) -> bool:
        """The best candidate that is good enough becomes the next motif; its sites are masked."""
        for one in candidates:
            if one.log_e > self.parameters.e_value:
                return False
            one, called = self._call(one)
            if len(called.table) < self.fewest_sites or one.log_e > self.parameters.e_value:
                continue
            sites = called.table.copy()
            sites["record"] = [self.data.names[i] for i in sites["index"]]
            sites["index"] = self.data.index[sites["index"].to_numpy()]
            motif = Motif(
                f"gadem_{len(self.motifs) + 1}",
                called.counts,
                log10_e=one.log_e / np.log(10),
                sites=sites,
                n_background=self._count_in_background(called),
            )
            self.motifs.append(turn_to_plus(motif))
            self._mask(called.covered)
            logger.info(
                "motif %d: %s, %d sites, ln(E) %.1f",
                len(self.motifs), motif.consensus, len(sites), one.log_e,
            )  # fmt: skip
            return True
        return False

    def _call(self, one: Candidate) -> tuple[Candidate, Called]:
        """The sites of a candidate; of two motifs in one matrix those of the larger."""
        scanned = Scanned(self.scanned, self.data.starts)
        rivals: list[np.ndarray] = []
        matrix = one.fit.probabilities
        called = call_sites(scanned, matrix, self.background, self.parameters)
        for _ in range(MAX_SPLITS):
            parts = split_sites(called.words, self.background.shares, self.fewest_sites)
            if parts is None:
                break
            rivals.append(parts.smaller)
            fit = run_em(self.fitted, parts.larger, one.fit.gamma * parts.share, 0)
            trials = log_n_dyads(one.dyad, self.parameters) + log_n_ends(self.parameters)
            one = one._replace(fit=fit, log_e=log_e_value(fit.llr, len(matrix), trials))
            called = call_sites(scanned, parts.larger, self.background, self.parameters, rivals)
        if rivals and self.parameters.ext_trim:
            called = trim_sites(called, *best_stretch(called.counts, self.background.shares, 0))
        return one, called

    def _count_in_background(self, called: Called) -> float:
        """Sites of the same cut in a set of background sequences, in the mean."""
        if self.backgrounds is None:
            return float("nan")
        n = count_sites(self.backgrounds, called, self.background, self.parameters)
        return n / self.parameters.num_backg_sets

    def _mask(self, covered: np.ndarray) -> None:
        self.codes = _masked(self.codes, covered)
        if not self.parameters.full_scan:
            self.scanned = _masked(self.scanned, covered)

    def _draw_records(self, share: float, max_bases: int) -> np.ndarray:
        """Numbers of a random part of the sequences, in order."""
        n = len(self.data)
        mean_bp = len(self.codes) / n
        wanted = max(min(int(np.ceil(share * n)), int(max_bases / mean_bp)), min(n, 3))
        return np.sort(self.rng.permutation(n)[:wanted])

    def _em_data(self, records: np.ndarray, left: np.ndarray) -> EmData:
        """What EM needs of some of the sequences, copied together."""
        starts = self.data.starts
        lengths = np.diff(starts)[records]
        new_starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(starts[records] - new_starts[:-1], lengths) + np.arange(new_starts[-1])
        codes = self.codes[places]
        return EmData(
            codes,
            new_starts,
            left[places],
            word_numbers(codes),
            self.background.running_cost(codes, new_starts),
            place_weights(new_starts, self.parameters),
            np.arange(len(records)),
            self.background.shares,
        )

    def _map(self, function: Callable, items: Sequence) -> list:
        if self.threads == 1 or len(items) < 2:
            return [function(one) for one in items]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(function, items))


def turn_to_plus(motif: Motif) -> Motif:
    """The motif as most of its sites read it; at a tie the reading that sorts first."""
    turned = motif.reverse_complement()
    n_minus = int((motif.sites["strand"] == "-").sum())
    as_it_is = (n_minus, motif.consensus)
    other_way = (len(motif.sites) - n_minus, turned.consensus)
    return motif if as_it_is <= other_way else turned


def _by_e(one: Candidate) -> tuple[float, Dyad]:
    return one.log_e, one.dyad


def _masked(codes: np.ndarray, covered: np.ndarray) -> np.ndarray:
    return np.where(covered, np.uint8(CODE_N), codes)


def place_weights(starts: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Weight of a window with its middle at each place, float32[P]; empty where all count the same.

    `gaussian`: a bell over the middle of the sequence with `width_wt` as four standard deviations;
    `triangular`: falls from the middle to 0 at half of `width_wt` on both sides. A floor of 0.01
    keeps sites elsewhere possible (chosen).
    """
    if parameters.weight_type == "uniform":
        return np.empty(0, np.float32)
    lengths = np.diff(starts)
    off = np.arange(starts[-1]) - np.repeat(starts[:-1] + lengths / 2, lengths)
    if parameters.weight_type == "gaussian":
        weight = np.exp(-0.5 * (off / (parameters.width_wt / 4)) ** 2)
    else:
        weight = 1 - np.abs(off) / (parameters.width_wt / 2)
    return np.maximum(weight, 0.01).astype(np.float32)
