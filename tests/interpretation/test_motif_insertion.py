"""Insertion: by hand, random streams, rules, planted grammars, batches; what cannot be inserted."""

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import nn

from genomelm_utils.interpretation import motif_insertion
from genomelm_utils.interpretation.kmer_flips import _uniform
from genomelm_utils.interpretation.motif_draws import (
    SHUFFLED,
    InsertionDraws,
    mix,
    shuffle_motifs,
    uniform,
)
from genomelm_utils.interpretation.motif_insertion import (
    MotifEffects,
    inserted_sequences,
    motif_effects,
)
from genomelm_utils.models.motif_scan import MotifScanner
from genomelm_utils.models.promoter_blocks import PAD_CODE, stack_codes
from genomelm_utils.models.promoter_nets import build_promoter_net
from genomelm_utils.motifs.formats import read_motifs
from genomelm_utils.sequences.alphabet import encode, reverse_complement

GATA, EBOX = np.eye(4)[encode("AGATAAGATC")], np.eye(4)[encode("CCACGTGACC")]


class Counter(nn.Module):
    """Outputs are known sums of motif counts: what insertion must find is known by hand."""

    def __init__(self, motifs: dict[str, np.ndarray], effects_MC: np.ndarray) -> None:
        super().__init__()
        self.scanner = MotifScanner.from_motifs(motifs)
        self.effects_MC = nn.Parameter(torch.tensor(effects_MC, dtype=torch.float32))
        self.dropout = nn.Dropout(0.5)
        self.rows_seen = []

    def forward(self, codes_BL: torch.Tensor) -> torch.Tensor:
        self.rows_seen.append(len(codes_BL))
        return self.dropout(3 + self.scanner(codes_BL) @ self.effects_MC)


def counter() -> Counter:
    return Counter({"gata": GATA, "ebox": EBOX}, [[1.0, 0.0], [0.5, -2.0]])


def random_backgrounds(n: int, length: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4, (n, length)).astype(np.uint8)


def no_motif(rng: np.random.Generator, width: int = 10) -> np.ndarray:
    return rng.dirichlet(np.ones(4) * 5, size=width)


def test_one_copy_has_the_planted_effect() -> None:
    codes = random_backgrounds(40)
    found = motif_effects(counter(), codes, {"gata": GATA, "ebox": EBOX}, copies=1, replicates=3)
    assert found.motifs == ("gata", "ebox")
    assert found.outputs == ("0", "1")
    assert np.allclose(found.effects_MSC[0], [1, 0], atol=1e-6)
    assert np.allclose(found.effects_MSC[1], [0.5, -2], atol=1e-6)
    assert (found.baseline_SC == 3).all()


def test_ten_copies_overwrite_each_other_and_add_up() -> None:
    codes = random_backgrounds(60, 400)
    model = Counter({"gata": GATA}, [[1.0]])
    found = motif_effects(model, codes, {"gata": GATA}, copies=10)
    n_whole = found.effects_MSC[0, :, 0]
    assert n_whole.min() >= 1  # the last copy is always whole
    assert n_whole.max() <= 10
    assert 7 < n_whole.mean() < 9.9  # 400 places for 10 copies of 10 bases


def test_planted_grammar_is_recovered_and_shuffled_motifs_do_nothing(
    rng: np.random.Generator,
) -> None:
    motifs = {"gata": GATA, "ebox": EBOX} | {f"other{i}": no_motif(rng) for i in range(6)}
    every = motifs | shuffle_motifs(motifs)
    codes = random_backgrounds(50)
    found = motif_effects(counter(), codes, every, copies=2, replicates=2)
    mean = dict(zip(found.motifs, found.effects_MSC.mean(1), strict=True))
    assert max(mean, key=lambda name: mean[name][0]) == "gata"
    assert min(mean, key=lambda name: mean[name][1]) == "ebox"
    for name in found.motifs:
        if name not in ("gata", "ebox"):
            assert np.abs(mean[name]).max() < 0.05


def test_trained_network_shows_what_it_was_trained_on(rng: np.random.Generator) -> None:
    """A small network learns that one motif raises and one lowers; insertion tells which."""
    codes = rng.integers(0, 4, (400, 60)).astype(np.uint8)
    value = np.zeros(400, np.float32)
    for motif, effect in ((GATA, 1.0), (EBOX, -1.0)):
        for row in np.flatnonzero(rng.random(400) < 0.5):
            start = rng.integers(0, 51)
            codes[row, start : start + 10] = motif.argmax(1)
            value[row] += effect
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(4, 16, 10), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 1)
    )
    hot = torch.from_numpy(np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy())
    target = torch.from_numpy(value)[:, None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(150):
        rows = torch.from_numpy(np.random.default_rng(step).integers(0, 400, 100))
        loss = (network(hot[rows]) - target[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    class FromCodes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, codes_BL: torch.Tensor) -> torch.Tensor:
            return self.network(torch.eye(4)[codes_BL.long()].transpose(1, 2))

    motifs = {"gata": GATA, "ebox": EBOX} | {f"other{i}": no_motif(rng) for i in range(8)}
    found = motif_effects(
        FromCodes(), random_backgrounds(100, 60, 7), motifs | shuffle_motifs(motifs), copies=1
    )
    mean = dict(zip(found.motifs, found.effects_MSC[:, :, 0].mean(1), strict=True))
    assert max(mean, key=mean.get) == "gata"
    assert min(mean, key=mean.get) == "ebox"
    for name in ("gata", "ebox"):
        assert abs(mean[name]) > 0.5
        assert abs(mean[name + SHUFFLED]) < 0.25


@pytest.mark.parametrize("rule", ["corrected", "reference"])
def test_neither_batches_nor_other_motifs_change_a_result(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, codes = counter(), random_backgrounds(13)
    model.dropout.p = 0.0
    motifs = {"gata": GATA * 0.7 + 0.075, "ebox": EBOX * 0.7 + 0.075}
    options = {"copies": 3, "replicates": 4, "seed": 5, "rule": rule}
    whole = motif_effects(model, codes, motifs, **options)
    assert whole.effects_MSC.std() > 0.1
    for rows in (1, 7, 20):
        monkeypatch.setattr(motif_insertion, "DRAW_ROWS", rows)
        again = motif_effects(model, codes, motifs, batch_rows=rows, **options)
        assert np.array_equal(again.effects_MSC, whole.effects_MSC)
    alone = motif_effects(model, codes, {"ebox": motifs["ebox"]}, **options)
    assert np.array_equal(alone.effects_MSC[0], whole.effects_MSC[1])
    turned = motif_effects(model, codes, dict(reversed(motifs.items())), **options)
    assert np.array_equal(turned.effects_MSC[::-1], whole.effects_MSC)
    other = motif_effects(model, codes, motifs, **(options | {"seed": 6}))
    assert not np.array_equal(other.effects_MSC, whole.effects_MSC)


def test_the_reference_keeps_dropout_on_and_corrected_does_not() -> None:
    """The released script's noise, and that it is gone; nothing of the model is left changed."""
    model, codes = counter(), random_backgrounds(20)
    flat = {"flat": np.full((6, 4), 0.25)}
    model.train()
    model.dropout.eval()
    before = torch.random.get_rng_state()
    quiet = motif_effects(model, codes, flat, rule="corrected")
    noisy = motif_effects(model, codes, flat, rule="reference")
    assert np.abs(quiet.effects_MSC).max() == 0
    assert np.abs(noisy.effects_MSC).max() > 2  # 3 is dropped, or doubled
    assert model.training
    assert not model.dropout.training
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_baseline_is_made_once_and_by_the_reference_for_each_motif() -> None:
    codes = random_backgrounds(10)
    motifs = {"gata": GATA, "ebox": EBOX}
    rows = {}
    for rule in ("corrected", "reference"):
        model = counter()
        motif_effects(model, codes, motifs, replicates=3, rule=rule)
        rows[rule] = sum(model.rows_seen)
    assert rows == {"corrected": 10 + 2 * 10 * 3, "reference": 10 + 2 * 10 * (3 + 1)}


def test_batch_norm_learns_nothing_under_either_rule() -> None:
    net = build_promoter_net("LegNetMini", {"a": ["x"]}, channels=[16, 16]).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for rule in ("corrected", "reference"):
        motif_effects(net, random_backgrounds(6), {"gata": GATA}, copies=1, rule=rule)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training


@pytest.mark.parametrize("strands", ["forward", "both"])
def test_the_predicted_sequences_can_be_made_again(strands: str) -> None:
    model, codes = counter(), random_backgrounds(15)
    motifs = {"gata": GATA * 0.8 + 0.05, "ebox": EBOX * 0.8 + 0.05}
    options = {"copies": 4, "seed": 9, "strands": strands}
    found = motif_effects(model, codes, motifs, replicates=3, **options)
    with torch.no_grad():
        values = [
            model.eval()(inserted_sequences(codes, motifs, "ebox", replicate=r, **options)).numpy()
            for r in range(3)
        ]
    expected = np.mean(values, axis=0) - found.baseline_SC
    assert np.allclose(found.effects_MSC[1], expected, atol=1e-6)
    assert np.ptp(values, axis=0).max() > 0  # replicates are different draws
    with pytest.raises(ValueError, match="no motif 'tata', expected one of: gata, ebox"):
        inserted_sequences(codes, motifs, "tata")


def draws(matrices: dict[str, np.ndarray], copies: int = 1, both: bool = False, short=False):
    return InsertionDraws(matrices, 3, copies, both, short, torch.device("cpu"))


def insert(one: InsertionDraws, codes: torch.Tensor, lengths: list[int], n: int) -> np.ndarray:
    rows = torch.arange(n)
    zeros = torch.zeros(n, dtype=torch.int64)
    return one.insert(
        codes.expand(n, -1), torch.tensor(lengths).expand(n), zeros, rows, zeros, 1
    ).numpy()


@pytest.mark.parametrize("short", [False, True])
def test_places_are_uniform_and_the_last_is_one_of_them(short: bool) -> None:
    """The released script draws from [0, L - w), so that the last place never comes."""
    background = torch.full((1, 24), 3, dtype=torch.uint8)
    word = np.eye(4)[[0, 1, 2, 1, 0]]
    found = insert(draws({"m": word}, short=short), background, [24], 6000)
    start = (found == 0).argmax(1)
    assert ((found != 3).sum(1) == 5).all()
    counts = np.bincount(start, minlength=20)
    n_places = 19 if short else 20
    assert (counts[n_places:] == 0).all()
    assert chisquare(counts[:n_places]).pvalue > 1e-3


def test_bases_follow_the_matrix() -> None:
    background = torch.full((1, 3), 3, dtype=torch.uint8)
    matrix = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.5, 0.5, 0.0], [1 / 3, 1 / 3, 1 / 3, 0.0]])
    found = insert(draws({"m": matrix}), background, [3], 8000)
    for column, expected in zip(found.T, matrix, strict=True):
        counts = np.bincount(column, minlength=4)
        assert (counts[expected == 0] == 0).all()
        shown = expected > 0
        assert chisquare(counts[shown], 8000 * expected[shown]).pvalue > 1e-3


def test_both_strands_turn_half_of_the_copies() -> None:
    background = torch.full((1, 5), 3, dtype=torch.uint8)
    word = encode("AACGC")
    found = insert(draws({"m": np.eye(4)[word]}, both=True), background, [5], 4000)
    forward = (found == word).all(1)
    backward = (found == reverse_complement(word)).all(1)
    assert (forward | backward).all()
    assert forward.mean() == pytest.approx(0.5, abs=0.03)
    assert (insert(draws({"m": np.eye(4)[word]}), background, [5], 50) == word).all()


def test_motifs_stay_inside_of_short_sequences_and_padding_stays_padding() -> None:
    codes = stack_codes([np.full(12, 3, np.uint8), np.full(40, 3, np.uint8)])
    found = insert(draws({"m": np.eye(4)[[0] * 5]}, copies=4), codes[:1], [12], 500)
    assert (found[:, 12:] == PAD_CODE).all()
    assert ((found == 0).sum(1) >= 5).all()
    effects = motif_effects(counter(), codes, {"gata": GATA}, copies=1)
    assert np.allclose(effects.effects_MSC[0, :, 0], 1)


def test_random_numbers_are_those_of_the_flips() -> None:
    """The same hash in numpy's unsigned numbers, for keys that make states overflow."""
    keys = np.array([0, 1, -5, 2**62, 77]), np.array([3, 2**40, 0, -1, 9])
    state = torch.full((5,), 12, dtype=torch.int64)
    for key in keys:
        state = mix(state, torch.from_numpy(key))
    expected = np.floor(_uniform(12, *keys) * 2**24) / 2**24
    assert uniform(state).tolist() == expected.tolist()


def test_shuffled_motifs_keep_their_letters_and_their_places(rng: np.random.Generator) -> None:
    matrix = no_motif(rng)
    shuffled = shuffle_motifs({"m": matrix, "flat": np.full((4, 4), 0.25)}, seed=1)
    assert np.allclose(sorted(shuffled["m~shuffled"].tolist()), sorted(matrix.tolist()))
    assert not np.allclose(shuffled["m~shuffled"], matrix)
    assert shuffle_motifs({"m": matrix}, seed=1)["m~shuffled"].tolist() == (
        shuffled["m~shuffled"].tolist()
    )
    word = np.eye(4)[[0, 1, 2, 1, 0]]
    background = torch.full((1, 30), 3, dtype=torch.uint8)
    own, control = (
        insert(draws(one), background, [30], 200)
        for one in ({"m": word}, shuffle_motifs({"m": word}))
    )
    assert ((own != 3) == (control != 3)).all()
    assert (own != control).any()


def test_outputs_are_named_by_the_network_or_by_hand() -> None:
    heads = {"a": ["x", "y"], "b": ["z"]}
    net = build_promoter_net("LegNetMini", heads, channels=[16, 16])
    codes = random_backgrounds(5)
    found = motif_effects(net, codes, {"gata": GATA}, task="a")
    assert found.outputs == ("x", "y")
    assert motif_effects(net, codes, {"gata": GATA}, task="b").effects_MSC.shape == (1, 5, 1)
    with pytest.raises(ValueError, match="task is None, expected one of: a, b"):
        motif_effects(net, codes, {"gata": GATA})
    with pytest.raises(ValueError, match="3 names for 2 outputs"):
        motif_effects(net, codes, {"gata": GATA}, task="a", outputs=["p", "q", "r"])


def test_motifs_come_from_a_meme_file(tmp_path) -> None:
    """Comments are no motifs; a row of zeros is told with its line before anything is inserted."""
    rows = "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in GATA)
    head = "MEME version 4\n\n# a comment\nALPHABET= ACGT\n\nMOTIF gata GATA1\n"
    head += "letter-probability matrix: alength= 4 w= 10 nsites= 20 E= 0\n"
    file = tmp_path / "motifs.meme"
    file.write_text(head + rows + "# another\n\nURL http://example.org\n")
    found = motif_effects(counter(), random_backgrounds(5), read_motifs(file), copies=1)
    assert found.motifs == ("gata",)
    assert np.allclose(found.effects_MSC[0, :, 0], 1)
    file.write_text(head + rows.replace("0 0 1 0", "0 0 0 0", 1))
    with pytest.raises(ValueError, match=r"motifs\.meme, line 9: probabilities sum to 0, exp"):
        read_motifs(file)


def test_saved_and_loaded(tmp_path) -> None:
    found = motif_effects(counter(), random_backgrounds(9), {"gata": GATA}, replicates=2)
    found.save(tmp_path / "effects.npz")
    loaded = MotifEffects.load(tmp_path / "effects.npz")
    assert (loaded.motifs, loaded.outputs) == (found.motifs, found.outputs)
    assert loaded.settings == found.settings
    assert np.allclose(loaded.effects_MSC, found.effects_MSC, rtol=1e-3, atol=1e-3)
    assert [p.name for p in tmp_path.iterdir()] == ["effects.npz"]


class Broken(nn.Module):
    def __init__(self, value: float, columns: int = 1) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((columns,), value))

    def forward(self, codes_BL: torch.Tensor) -> torch.Tensor:
        return self.value if len(self.value) > 1 else self.value.expand(len(codes_BL), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"copies": 0}, "copies is 0, expected at least 1"),
        ({"replicates": 0}, "replicates is 0"),
        ({"batch_rows": 0}, "batch_rows is 0"),
        ({"strands": "minus"}, "strands is 'minus', expected forward or both"),
        ({"rule": "old"}, "rule is 'old', expected corrected or reference"),
        ({"motifs": {"long": np.full((61, 4), 0.25)}}, "motif 'long' has 61 positions, background"),
        (
            {"motifs": {"long": np.full((60, 4), 0.25)}, "rule": "reference"},
            "motif 'long' has 60 positions",
        ),
        ({"motifs": {}}, "no motif"),
        ({"model": Broken(float("nan"))}, "expected finite numbers"),
        ({"model": Broken(1.0, 2)}, r"the model gave \[2\] for 8 sequences"),
    ],
)
def test_wrong_arguments_are_refused(change: dict, message: str) -> None:
    arguments = {"model": counter(), "backgrounds": random_backgrounds(8), "motifs": {"gata": GATA}}
    with pytest.raises(ValueError, match=message):
        motif_effects(**(arguments | change))


def test_a_motif_as_long_as_the_background_fits() -> None:
    found = motif_effects(counter(), random_backgrounds(3, 10), {"gata": GATA}, copies=1)
    assert np.allclose(found.effects_MSC[0, :, 0], 1)
