"""A pretraining run's pieces: no base shared with validation, matched shares, untimed tables."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from genomelm_utils.models.presets import build_masked_lm
from genomelm_utils.pretraining import experiment
from genomelm_utils.pretraining.bits import order0_bits
from genomelm_utils.pretraining.corpus import gather_codes
from genomelm_utils.pretraining.masking import SCHEMES, mask_tokens
from genomelm_utils.pretraining.mlm import pretrain
from genomelm_utils.pretraining.ngrams import count_ngrams
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.genome import store_from_codes
from genomelm_utils.sequences.kmers import kmer_strings
from genomelm_utils.tokenizers.kmer import (
    N_SPECIAL,
    PAD,
    encode_sequences,
    vocab_size,
    vocabulary,
)

K = 3
OPTIONS = {"k": K, "seed": 2, "max_bases": 80, "valid_share": 0.25, "rule": "crops"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Two genomes of three A to one of each other base, the second with a gap."""
    rng = np.random.default_rng(8)
    found = []
    for number, size in enumerate((700_000, 300_000)):
        codes = rng.choice(4, size, p=[0.5, 0.5 / 3, 0.5 / 3, 0.5 / 3]).astype(np.uint8)
        if number:
            codes[10_000:10_500] = 14
        folder = tmp_path_factory.mktemp("stores") / str(number)
        found.append(
            store_from_codes([f"g{number}"], codes, np.array([0, size]), np.empty((0, 2)), folder)
        )
    return found


@pytest.fixture(scope="module")
def corpora(stores):
    return experiment.open_corpora(stores, **OPTIONS)


@pytest.fixture(scope="module")
def ranks_V():
    ranking = pd.DataFrame({"ngram": kmer_strings(K), "norm_pmi_rank_rel": np.arange(1, 4**K + 1)})
    return experiment.read_ranks(ranking, K)


@pytest.fixture(scope="module")
def validation(corpora):
    return experiment.freeze_validation(corpora[1], k=K, rows=48)


# --- pieces ---------------------------------------------------------------------------------------


def test_training_and_held_out_pieces_share_no_base(corpora, stores):
    corpus, _ = corpora
    touched = {}
    for name, part in (("train", corpus._train), ("valid", corpus._valid)):
        crops = corpus._draw(part, 20_000, 9)
        assert gather_codes([s.codes for s in stores], crops).max() < 4
        touched[name] = [np.zeros(s.n_bases, dtype=bool) for s in stores]
        for source, start, n in zip(crops.source, crops.start, crops.length, strict=True):
            touched[name][source][start : start + n] = True
    shared = [(a & b).sum() for a, b in zip(touched["train"], touched["valid"], strict=True)]
    assert shared == [0, 0]
    assert corpus.n_train_bases + corpus.n_valid_bases == 1_000_000 - 500


def test_held_out_rows_depend_on_their_number_only(corpora):
    _, held_out = corpora
    ids, lengths = held_out.batch(0, 0, 16)
    again, _ = held_out.batch(7, 3, 16)
    assert torch.equal(ids, again)
    assert len(lengths) == 16
    assert not torch.equal(ids[:, :20], corpora[0].batch(0, 0, 16)[0][:, :20])


def test_ranks_are_those_of_the_words(ranks_V):
    words = vocabulary(K)
    assert ranks_V[words["AAA"]] == 1
    assert ranks_V[words["TTT"]] == 64
    assert ranks_V[words["AAC"]] == 2
    assert (ranks_V[:N_SPECIAL] == 65).all()


# --- masking --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("corrupt", ["span", "token"])
def test_matched_schemes_hide_the_asked_share(stores, scheme, corrupt):
    # genemask_reference reads positions as token ids: rows of 80 do not fit the 69 of k = 3
    k = K + (scheme == "genemask_reference")
    pieces, _ = experiment.open_corpora(stores, **(OPTIONS | {"k": k}))
    ranks_V = torch.arange(vocab_size(k))
    p = experiment.choose_centre_prob(
        scheme, 0.5, 0.2, pieces=pieces, k=k, ranks_V=ranks_V, corrupt=corrupt
    )
    masks = {"centre_prob": p, "ranks_V": ranks_V, "corrupt": corrupt}
    row = experiment.measure_masking(pieces, k=k, seed=1, scheme=scheme, **masks).iloc[0]
    assert row["hidden_share"] == pytest.approx(0.2, abs=0.012)
    assert row["hidden_share_low"] < row["hidden_share"] < row["hidden_share_high"]
    assert row["masked_share"] > row["hidden_share"]
    kept = row["hidden_after_keep_share"]
    # a tenth of the spans is kept; of single tokens each uncovers k bases
    assert kept == pytest.approx(0.18, abs=0.012) if corrupt == "span" else kept < 0.17
    assert row["masked_per_hidden"] > 1
    assert (row["scheme"], row["centre_prob"]) == (scheme, p)


def test_probability_stays_as_given_where_nothing_is_matched(corpora, ranks_V):
    options = {"pieces": corpora[0], "k": K, "ranks_V": ranks_V, "corrupt": "span"}
    assert experiment.choose_centre_prob("genemask", 0.0176, 0.0, **options) == 0.0176
    with pytest.raises(ValueError, match="expected one of contiguous"):
        experiment.choose_centre_prob("genmask", 0.0176, 0.2, **options)


def test_measured_shares_are_those_of_the_batches(corpora, ranks_V, monkeypatch):
    """By hand over two batches; the interval is Student's over them."""
    pieces, _ = corpora
    masks = {"centre_prob": 0.05, "ranks_V": ranks_V, "corrupt": "span"}
    shares, n_masked, n_hidden = [], 0, 0
    for step in range(experiment.SHARE_BATCHES):
        ids, lengths = pieces.batch(step, 0, experiment.SHARE_ROWS)
        generator = torch.Generator().manual_seed(5 * experiment.SHARE_BATCHES + step)
        found = mask_tokens(ids, lengths, scheme="contiguous", k=K, generator=generator, **masks)
        shares.append(found.masked_BL.sum().item() / (lengths - 2).sum().item())
        n_masked += found.masked_BL.sum().item()
        n_hidden += found.hidden_bases_B.sum().item()
    row = experiment.measure_masking(pieces, k=K, seed=5, scheme="contiguous", **masks).iloc[0]
    assert row["masked_share"] == pytest.approx(np.mean(shares))
    half = stats.t.ppf(0.975, len(shares) - 1) * stats.sem(shares)
    assert row["masked_share_high"] - row["masked_share"] == pytest.approx(half)
    assert row["masked_per_hidden"] == pytest.approx(n_masked / n_hidden)


def test_drawn_mask_hides_exactly_what_no_visible_token_covers(corpora, ranks_V):
    masks = {"scheme": "genemask", "centre_prob": 0.05, "ranks_V": ranks_V, "corrupt": "span"}
    text = experiment.draw_mask(corpora[0], k=K, seed=3, **masks)
    lines = {line[:8].strip(): line[8:] for line in text.splitlines()}
    bases, masked, hidden = lines["bases"], lines["masked"], lines["hidden"]
    assert len(bases) == len(masked) == len(hidden) == 80
    n_tokens = 80 - K + 1
    assert masked[n_tokens:] == "." * (K - 1)
    for i, mark in enumerate(hidden):
        covering = masked[max(0, i - K + 1) : min(i, n_tokens - 1) + 1]
        assert (mark == "#") == (set(covering) == {"m"})
    assert "#" in hidden
    ids = corpora[0].batch(0, 0, 16)[0]
    assert any(torch.equal(row, encode_sequences([encode(bases)], K)[0][0]) for row in ids)
    assert text == experiment.draw_mask(corpora[0], k=K, seed=3, **masks)


# --- baselines ------------------------------------------------------------------------------------


def test_baselines_are_counted_on_the_training_part_only(corpora, validation, stores):
    table = experiment.measure_baselines(corpora[0], validation)
    bits = table["bits_per_base"].tolist()
    assert table["name"].tolist() == [
        "guessing",
        "base composition",
        "Markov chain, 5 bases to the left",
    ]
    assert bits[0] == 2
    # A and T are 1/2 and 1/6, so 1/3 each on both strands, C and G 1/6 each: 1.918 bits. The bases
    # to the left tell something of the row's strand, with which a base has 1.792 bits.
    assert bits[1] == pytest.approx(1.9183, abs=0.002)
    assert 1.75 < bits[2] < 1.95
    parts = [count_ngrams(c, r, n_max=1).counts[1] for c, r in corpora[0].training_regions]
    counts = sum(parts)
    assert counts.sum() == corpora[0].n_train_bases
    assert bits[1] == order0_bits({1: counts + counts[::-1]})


@pytest.mark.parametrize("rule", ["crops", "reference"])
def test_markov_baseline_knows_the_strands_that_rows_are_read_from(tmp_path, rule):
    """A periodic genome: five bases settle the next on either strand, so the chain knows it all."""
    codes = np.tile(encode("AACAGATCCGCTGGTTACCGTA"), 15_000)
    store = store_from_codes(["g"], codes, np.array([0, len(codes)]), [], tmp_path / "s")
    pieces, held_out = experiment.open_corpora([store], **(OPTIONS | {"rule": rule}))
    assert pieces.strands == ("both" if rule == "crops" else "forward")
    frozen = experiment.freeze_validation(held_out, k=K, rows=64)
    bits = experiment.measure_baselines(pieces, frozen).set_index("name")["bits_per_base"]
    assert bits["base composition"] > 1.9
    assert bits.iloc[2] < 0.25  # but for spans at the start of a row, with little on the left


def test_a_small_genome_is_divided_finely_enough(tmp_path, rng):
    codes = rng.integers(0, 4, 60_000, dtype=np.uint8)
    store = store_from_codes(["g"], codes, np.array([0, 60_000]), [], tmp_path / "s")
    parts = [experiment.open_corpora([store], **(OPTIONS | {"seed": s}))[0] for s in range(12)]
    shares = [pieces.n_valid_bases / 60_000 for pieces in parts]
    assert np.mean(shares) == pytest.approx(0.25, abs=0.06)
    lengths = {int(length) for pieces in parts for length in pieces._train.length}
    assert {length % 1500 for length in lengths} == {0}


# --- training tables ------------------------------------------------------------------------------

HISTORY = pd.DataFrame(
    {
        "step": [0, 10, 20],
        "train_loss": [np.nan, 4.0, 3.0],
        "valid_bits_per_base": [2.0, np.nan, 1.5],
        "valid_loss": [4.2, np.nan, 3.5],
    }
)
BASELINES = pd.DataFrame(
    {"name": ["guessing", "composition", "chain"], "bits_per_base": [2.0, 1.9, 1.7]}
)


def test_tidy_history_keeps_numbers_and_drops_times():
    timed = HISTORY.assign(**dict.fromkeys(experiment.TIMING, 1.23))
    table = experiment.tidy_history(timed, "genemask")
    assert list(table.columns) == ["scheme", "step", "train_loss", "bits_per_base", "valid_loss"]
    assert set(table["scheme"]) == {"genemask"}
    pd.testing.assert_frame_equal(table, experiment.tidy_history(HISTORY, "genemask"))
    assert "valid_bits_per_base" in HISTORY  # the caller's table is as it was


@pytest.fixture(scope="module")
def trained(corpora, validation, ranks_V, tmp_path_factory):
    """The same short training twice."""
    masks = {"scheme": "genemask", "centre_prob": 0.05, "ranks_V": ranks_V, "corrupt": "span"}
    return [
        pretrain(
            corpora[0], validation, folder=tmp_path_factory.mktemp("trained"), preset="micro", k=K,
            steps=6, warmup_steps=1, peak_lr=0.002, rows_per_step=4, micro_batches=1, eval_every=3,
            save_every=6, log_every=2, progress=False, seed=1, **masks,
        )
        for _ in range(2)
    ]  # fmt: skip


def test_tables_of_two_trainings_are_the_same_bytes(trained):
    texts = [
        experiment.tidy_history(t.fit.history, "genemask").to_csv(index=False) for t in trained
    ]
    assert texts[0] == texts[1]
    raw = trained[0].fit.history
    times = [name for name in raw if name.endswith("_s")]
    assert {"wall_s", "eval_s", "tokens_per_s"} <= set(times)
    table = experiment.tidy_history(raw, "genemask")
    assert not [name for name in table if name.endswith("_s")]
    assert set(raw) - set(times) - {"valid_bits_per_base"} <= set(table)


def test_summary_of_a_training(trained):
    history = experiment.tidy_history(HISTORY, "genemask")
    shares = pd.DataFrame([{"masked_share": 0.15, "hidden_share": 0.08}])
    row = experiment.summarise_training(trained[0], history, BASELINES, shares).iloc[0]
    assert row["parameters"] == sum(p.numel() for p in trained[0].model.parameters())
    assert (row["scheme"], row["steps"]) == ("genemask", 6)
    assert (row["masked_share"], row["hidden_share"]) == (0.15, 0.08)
    assert (row["bits_first"], row["bits_last"], row["bits_best"]) == (2.0, 1.5, 1.5)
    assert (row["bits_composition"], row["bits_markov"]) == (1.9, 1.7)
    worse = history.assign(bits_per_base=[1.4, 1.3, 1.6])
    row = experiment.summarise_training(trained[0], worse, BASELINES, shares).iloc[0]
    assert (row["bits_last"], row["bits_best"]) == (1.6, 1.3)


@pytest.mark.parametrize(("last", "word"), [(1.5, "better than"), (1.8, "not better than")])
def test_sentence_compares_with_the_best_baseline(last, word):
    history = experiment.tidy_history(HISTORY, "genemask")
    history.loc[2, "bits_per_base"] = last
    assert experiment.describe_training(history, BASELINES) == (
        f"genemask: 2.000 bits per hidden base before training, {last:.3f} after 20 steps; {word} "
        "chain (1.700)."
    )


# --- predictions ----------------------------------------------------------------------------------


class Oracle(torch.nn.Module):
    """Knows every token: the true ids of one batch, as logits."""

    def __init__(self, ids_BL, offset=0):
        super().__init__()
        self.ids_BL, self.offset = ids_BL, offset
        self.seen = []

    def logits(self, ids_1L, positions_N, mask_1L):
        self.seen.append((ids_1L, mask_1L))
        own = ids_1L[0] >= N_SPECIAL
        row = next(r for r in self.ids_BL if torch.equal(r[: len(own)][own], ids_1L[0][own]))
        true = (row[positions_N] - N_SPECIAL + self.offset) % 4**K + N_SPECIAL
        return torch.nn.functional.one_hot(true, N_SPECIAL + 4**K).float() * 50


def test_shown_predictions_agree_where_the_model_is_right(corpora, validation, monkeypatch):
    ids_BL, _ = corpora[1].batch(0, 0, 48)
    oracle = Oracle(ids_BL)
    monkeypatch.setattr(
        experiment, "predict_tokens", lambda m, i, p, mask=None: m.logits(i, p, mask)
    )
    text = experiment.show_predictions(oracle, validation, K)
    true, agrees, model = (line[8:] for line in text.splitlines())
    assert len(true) == experiment.SHOWN_BASES == len(model) == len(agrees)
    assert "|" in agrees
    for t, a, m in zip(true, agrees, model, strict=True):
        assert (m == ".") == (a == " ")
        assert m in (".", t)
    wrong = Oracle(ids_BL, offset=1)  # always another last base
    wrong_text = experiment.show_predictions(wrong, validation, K)
    assert wrong_text.splitlines()[1].count("|") < agrees.count("|")
    # hidden bases shown are hidden in the frozen batch of that row
    batch = validation[0]
    row = next(i for i, codes in enumerate(batch.codes_BT)
               if decode(codes[:60].clamp(min=0).numpy().astype(np.uint8)) == true)  # fmt: skip
    assert [m != "." for m in model] == batch.hidden_BT[row, :60].tolist()


def test_shown_predictions_attend_no_padding_and_leave_the_model(corpora, validation):
    # large weights: what is attended shows in the predictions
    model = build_masked_lm("micro", K, seed=0, initializer_range=0.5).eval()
    batch = validation[0]
    wide = SimpleNamespace(**vars(batch))
    pad = torch.full((len(batch.input_ids_BL), 9), PAD)
    wide.input_ids_BL = torch.cat([batch.input_ids_BL, pad], dim=1)
    n = batch.input_ids_BL.shape[1]
    mask = torch.ones_like(batch.input_ids_BL)
    given = batch.attention_mask_BL if batch.attention_mask_BL is not None else mask
    wide.attention_mask_BL = torch.cat([given, torch.zeros_like(pad)], dim=1)
    wide.positions_N = batch.positions_N // n * (n + 9) + batch.positions_N % n
    none = torch.full((len(pad), 9), -1)
    wide.codes_BT = torch.cat([batch.codes_BT, none], dim=1)
    wide.hidden_BT = torch.cat([batch.hidden_BT, none > 0], dim=1)
    texts = [experiment.show_predictions(model, [b], K) for b in (batch, wide)]
    assert texts[0] == texts[1]
    assert not model.training
