"""Pairs: of one genome, apart, definite, inside their part; the same whoever asks; evenly drawn."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.species import build_genome_set, simulate_genome_set, split_species
from genomelm_utils.datasets.species_pairs import PairSampler
from genomelm_utils.sequences.alphabet import N_BASES, encode, reverse_complement
from genomelm_utils.sequences.sequencing_errors import add_errors, split_error_rate
from genomelm_utils.sequences.simulate_species import simulate_species


@pytest.fixture(scope="module")
def genomes(tmp_path_factory):
    simulated = simulate_species(np.random.default_rng(3), n_species=6, bases_per_species=20_000)
    codes = simulated.codes.copy()
    codes[np.random.default_rng(4).integers(len(codes), size=60)] = encode("N")[0]
    simulated = type(simulated)(
        simulated.names, codes, simulated.starts, simulated.table, simulated.truth
    )
    return simulate_genome_set(simulated, tmp_path_factory.mktemp("set"), n_train=4, seed=1)


def set_of(folder, sequences, species, n_train):
    """A genome set with the first `n_train` genomes for training."""
    files = [folder / f"g{i}.fa" for i in range(len(sequences))]
    for file, sequence in zip(files, sequences, strict=True):
        file.write_text(f">{file.stem}\n{sequence}\n")
    table = pd.DataFrame({"file": [file.name for file in files], "species": species})
    wanted = ["train"] * n_train + ["test"] * (len(files) - n_train)
    seed = next(s for s in range(999) if split_species(species, n_train=n_train, seed=s) == wanted)
    return build_genome_set(files, table, folder / "set", n_train=n_train, seed=seed)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_windows_are_definite_apart_and_of_the_part(genomes, part):
    sampler = PairSampler(genomes, part, lengths_bp=[50, 100, 200], seed=7)
    places, pairs = sampler.places(2, 0, 500), sampler.pairs(2, 0, 500)
    start, end = places.start_B2, places.start_B2 + places.length_B2
    assert ((end[:, 0] <= start[:, 1]) | (end[:, 1] <= start[:, 0])).all()
    regions, genome_R = genomes.regions(part)
    for view in (0, 1):
        region = np.searchsorted(regions[:, 0], start[:, view], side="right") - 1
        assert (end[:, view] <= regions[region, 1]).all()
        assert (genome_R[region] == places.genome_B).all()
    for view, codes in enumerate((pairs.first, pairs.second)):
        for row, window in enumerate(codes):
            forward = genomes.store.codes[start[row, view] : end[row, view]]
            turned = places.minus_B2[row, view]
            assert window.max() < N_BASES
            assert np.array_equal(window, reverse_complement(forward) if turned else forward)
    assert np.array_equal(pairs.species, genomes.species_of_genome[places.genome_B])
    assert set(places.length_B2.ravel()) == {50, 100, 200}
    assert 0.4 < places.minus_B2.mean() < 0.6


def test_a_pair_depends_on_seed_step_and_row_only(genomes):
    sampler = PairSampler(genomes, "train", lengths_bp=[100], seed=5)
    whole = sampler.pairs(9, 0, 40)
    other = PairSampler(genomes, "train", lengths_bp=[100], seed=5)
    for start, stop in [(0, 13), (13, 14), (14, 40)]:
        part = other.pairs(9, start, stop)
        assert all(map(np.array_equal, part.first, whole.first[start:stop]))
        assert all(map(np.array_equal, part.second, whole.second[start:stop]))
        assert np.array_equal(part.species, whole.species[start:stop])
    assert len(sampler.pairs(9, 4, 4)) == 0
    for changed in (
        sampler.pairs(10, 0, 40),
        PairSampler(genomes, "train", lengths_bp=[100], seed=6).pairs(9, 0, 40),
    ):
        assert not all(map(np.array_equal, changed.first, whole.first))


def test_every_possible_pair_is_drawn_evenly(tmp_path):
    # 12 bases, N at 5: training keeps 0 to 11; windows of 2 begin at 0-3 and 6-9
    genomes = set_of(tmp_path, ["ACGTANCGTACG", "A" * 12], ["x y", "z w"], 1)
    sampler = PairSampler(genomes, "train", lengths_bp=[2], seed=1, strands="forward")
    starts = sampler.places(0, 0, 60_000).start_B2
    found, counts = np.unique(starts, axis=0, return_counts=True)
    places = [0, 1, 2, 3, 6, 7, 8, 9]
    possible = [[a, b] for a in places for b in places if abs(a - b) >= 2]
    assert found.tolist() == possible
    of_first = {a: sum(1 for pair in possible if pair[0] == a) for a in places}
    expected = np.array([60_000 / len(places) / of_first[a] for a, _ in possible])
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
    assert not sampler.places(0, 0, 100).minus_B2.any()


def test_balance_by_species_or_by_bases(tmp_path):
    sequences = ["ACGT" * 100, "ACGT" * 100, "ACGT" * 400, "ACGT" * 10]
    genomes = set_of(tmp_path, sequences, ["one a", "one a", "two b", "three c"], 3)
    shares = {}
    for balance in ("species", "bases"):
        sampler = PairSampler(genomes, "train", lengths_bp=[10], seed=1, balance=balance)
        shares[balance] = np.bincount(sampler.places(0, 0, 20_000).genome_B, minlength=4) / 20_000
    assert np.allclose(shares["species"], [1 / 4, 1 / 4, 1 / 2, 0], atol=0.02)
    assert np.allclose(shares["bases"], [1 / 6, 1 / 6, 2 / 3, 0], atol=0.02)


def test_a_round_of_rows_holds_every_species_once(genomes):
    sampler = PairSampler(genomes, "train", lengths_bp=[50], seed=7)
    species_of = genomes.species_of_genome
    rounds = species_of[sampler.places(3, 0, 40).genome_B].reshape(10, 4)
    everyone = sorted(set(species_of[(genomes.table["part"] == "train").to_numpy()]))
    assert all(sorted(row) == everyone for row in rounds)
    assert len({tuple(row) for row in rounds}) > 1
    inside = species_of[sampler.places(3, 6, 13).genome_B]
    assert (inside == rounds.ravel()[6:13]).all()


def test_genomes_without_room_are_named_and_long_windows_only_where_they_fit(tmp_path, caplog):
    sequences = ["ACGT" * 100, "ACGT" * 10, "ACGTACGT", "ACGT" * 10]
    genomes = set_of(tmp_path, sequences, ["one a", "two b", "three c", "four d"], 3)
    sampler = PairSampler(genomes, "train", lengths_bp=[10, 100], seed=1)
    assert sampler.skipped.to_dict("records") == [
        {"name": "g2", "reason": "no room for two windows of 10 bp in part train"}
    ]
    assert "left out 1 genomes: g2" in caplog.text
    places = sampler.places(0, 0, 2000)
    assert set(places.genome_B) == {0, 1}
    assert set(places.length_B2[places.genome_B == 1].ravel()) == {10}
    assert set(places.length_B2[places.genome_B == 0].ravel()) == {10, 100}
    with pytest.raises(ValueError, match="no genome of part valid has room for two windows of 100"):
        PairSampler(genomes, "valid", lengths_bp=[100], seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strands": "minus"}, "strands is 'minus', expected one of both, forward"),
        ({"balance": "none"}, "balance is 'none', expected one of species, bases"),
        ({"lengths_bp": []}, "expected lengths of at least 1"),
    ],
)
def test_wrong_options_are_explained(genomes, options, message):
    with pytest.raises(ValueError, match=message):
        PairSampler(genomes, "train", seed=1, **options)


def test_wrong_rows_are_explained(genomes):
    sampler = PairSampler(genomes, "train", lengths_bp=[100], seed=1)
    with pytest.raises(ValueError, match="expected 0 <= start <= stop"):
        sampler.pairs(0, 3, 2)


# ---- sequencing errors


def pair_bytes(pairs):
    return b"|".join(codes.tobytes() for codes in [*pairs.first, *pairs.second])


def test_without_errors_pairs_are_the_bytes_they_always_were(genomes):
    plain = PairSampler(genomes, "train", lengths_bp=[100, 200], seed=5)
    zero = PairSampler(genomes, "train", lengths_bp=[100, 200], seed=5, error_rate=0.0)
    assert pair_bytes(zero.pairs(3, 0, 50)) == pair_bytes(plain.pairs(3, 0, 50))
    pieces = [codes for pair in (plain.pairs(0, 0, 9),) for codes in (*pair.first, *pair.second)]
    digest = hashlib.sha256(b"".join(codes.tobytes() for codes in pieces)).hexdigest()
    assert digest[:16] == "3850ac78cb2202c6"  # of the sampler before there was an error model


def test_errors_change_bases_and_lengths_but_not_where_windows_lie(genomes):
    options = {"lengths_bp": [400], "seed": 5}
    plain = PairSampler(genomes, "train", **options)
    erring = PairSampler(genomes, "train", **options, error_rate=0.2)
    assert np.array_equal(erring.places(1, 0, 90).start_B2, plain.places(1, 0, 90).start_B2)
    clean, read = plain.pairs(1, 0, 90), erring.pairs(1, 0, 90)
    assert np.array_equal(clean.species, read.species)
    assert all(codes.max() < N_BASES for codes in (*read.first, *read.second))
    lengths = np.array([len(codes) for codes in (*read.first, *read.second)])
    rates = split_error_rate(0.2)
    mean = 400 * (1 + rates.insertion - rates.deletion)
    assert len(set(lengths.tolist())) > 10 and lengths.mean() == pytest.approx(mean, abs=4)
    # both windows of a pair have errors of their own: the same bases would get different ones
    rng = np.random.Generator(np.random.Philox(key=[5, 1], counter=[0, 0, 1 + 2 * 7 + 1, 0]))
    assert np.array_equal(read.second[7], add_errors(clean.second[7], rates, rng))
    first = np.random.Generator(np.random.Philox(key=[5, 1], counter=[0, 0, 1 + 2 * 7, 0]))
    assert not np.array_equal(read.second[7], add_errors(clean.second[7], rates, first))


def test_errors_of_a_pair_depend_on_seed_step_and_row_only(genomes):
    sampler = PairSampler(genomes, "train", lengths_bp=[100], seed=5, error_rate=0.1)
    whole = sampler.pairs(9, 0, 40)
    part = PairSampler(genomes, "train", lengths_bp=[100], seed=5, error_rate=0.1).pairs(9, 13, 30)
    assert all(map(np.array_equal, part.first, whole.first[13:30]))
    assert all(map(np.array_equal, part.second, whole.second[13:30]))
    other = PairSampler(genomes, "train", lengths_bp=[100], seed=6, error_rate=0.1)
    assert pair_bytes(other.pairs(9, 0, 40)) != pair_bytes(whole)


def test_an_error_rate_that_is_no_share_is_told(genomes):
    with pytest.raises(ValueError, match="error_rate is 10, expected a share of bases"):
        PairSampler(genomes, "train", lengths_bp=[100], seed=5, error_rate=10)
