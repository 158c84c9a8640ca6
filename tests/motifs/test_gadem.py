"""The native engine finds what was planted, nothing where nothing is, the same every time."""

import json

import numpy as np
import pandas as pd
import pytest
from motif_toy import SHARES, plant, reads

from genomelm_utils import motifs
from genomelm_utils.motifs.formats import read_motifs
from genomelm_utils.motifs.motif import Motif
from genomelm_utils.motifs.recovery import score_sites
from genomelm_utils.motifs.rgadem import PAPER_PARAMETERS, PAPER_SEED
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement

QUICK = {"num_generation": 2, "population_size": 40}

#: word, share of 200 sequences of 200 bp, share of redrawn bases
PLANTED = {
    "width 6, all": ("TGACTC", 1.0, 0.0),
    "width 8, half": ("TGACGTTA", 0.5, 0.05),
    "width 10, a third": ("TGACGTCATA", 0.3, 0.08),
    "width 12, a tenth": ("TGACGTTATACC", 0.1, 0.05),
    "width 20, a tenth": ("TGACGTTATACCGGATTAGC", 0.1, 0.1),
    "dyad, half": ("TTGACnnnnnnTATAAT", 0.5, 0.05),
    "dyad, all": ("CGGnnnnnnnnCCGA", 1.0, 0.05),
}


@pytest.mark.parametrize("case", PLANTED)
def test_planted_motifs_are_found(case, rng):
    word, share, redrawn = PLANTED[case]
    texts, truth = plant(rng, word, n=200, share=share, redrawn=redrawn)
    found = motifs.discover(texts, n_motifs=1, seed=1, **QUICK)
    assert len(found) == 1
    motif = found.motifs[0]
    assert reads(motif, word), motif.consensus
    n_true, n_false = score_sites(motif.sites, truth)
    assert n_true >= 0.8 * len(truth)
    assert n_false <= 0.3 * n_true + 5
    strands = motif.sites["strand"].value_counts(normalize=True)
    assert 0.5 <= strands["+"] < 0.8  # turned as most sites read it
    assert found.table().loc[0, "n_background"] <= n_false + 10


def test_six_bases_in_a_tenth_of_many_sequences(rng):
    """As weak as it gets: twice as many exact words as by chance."""
    texts, truth = plant(rng, "TGACTC", n=2000, share=0.1)
    found = motifs.discover(texts, n_motifs=1, seed=1, **QUICK)
    assert reads(found.motifs[0], "TGACTC") and found.motifs[0].width <= 8
    assert score_sites(found.motifs[0].sites, truth)[0] >= 0.8 * len(truth)


def test_nothing_in_random_sequences(rng):
    for _ in range(3):
        texts, _ = plant(rng, "A", n=150, share=0.0)
        found = motifs.discover(texts, n_motifs=3, seed=1, **QUICK)
        assert len(found) == 0
        assert "stopped after 1 searches in a row" in found.notes[-1]
        assert found.table().empty and found.sites().empty


def test_two_motifs_come_one_after_the_other(rng):
    texts, _ = plant(rng, "TGACGTCATA", n=150, share=0.9)
    codes = [encode(text) for text in texts]
    others = rng.random(150) < 0.5
    for row, has in zip(codes, others, strict=True):
        if has:
            row[150:160] = encode("CCATTAGGAC")
    found = motifs.discover(codes, n_motifs=5, seed=1, **QUICK)
    assert len(found) == 2
    assert reads(found.motifs[0], "TGACGTCATA") and reads(found.motifs[1], "CCATTAGGAC")
    both = found.sites()
    for index, sites in both.groupby("index"):
        order = sites.sort_values("start")
        assert (order["start"].to_numpy()[1:] >= order["end"].to_numpy()[:-1]).all(), index


def test_sites_are_what_they_say(rng):
    texts, _ = plant(rng, "TGACGTTATA", n=60, share=0.8, redrawn=0.05)
    given = {"a": "ACGTA", **{f"s{i}": text for i, text in enumerate(texts)}}
    found = motifs.discover(given, n_motifs=1, seed=1, **QUICK)
    motif = found.motifs[0]
    names = list(given)
    for site in motif.sites.itertuples():
        assert site.record == names[site.index]
        bases = encode(given[site.record])[site.start : site.end]
        read = reverse_complement(bases) if site.strand == "-" else bases
        assert decode(read) == site.word
        assert site.p_value <= 2e-4
    words = np.array([list(word) for word in motif.sites["word"]])
    for position in range(motif.width):
        counts = [(words[:, position] == base).sum() for base in "ACGT"]
        assert motif.counts[position].tolist() == counts
    assert motif.n_sites == len(motif.sites)
    assert found.skipped["name"].tolist() == ["a"]
    assert found.parameters["num_generation"] == 2 and found.parameters["seed"] == 1
    assert found.engine.startswith("gadem")


def test_same_seed_same_result_on_any_number_of_threads(rng):
    texts, _ = plant(rng, "TGACGTTATA", n=60, share=0.6, redrawn=0.05)
    one, other, third = (
        motifs.discover(texts, n_motifs=2, seed=seed, threads=threads, **QUICK)
        for seed, threads in ((7, 1), (7, 3), (8, 1))
    )
    pd.testing.assert_frame_equal(one.sites(), other.sites())
    assert [m.log10_e for m in one.motifs] == [m.log10_e for m in other.motifs]
    assert reads(third.motifs[0], one.motifs[0].consensus)


def test_reverse_complements_give_the_same_motif(rng):
    texts, _ = plant(rng, "TGACGTTATA", n=80, share=0.7, redrawn=0.05)
    turned = [decode(reverse_complement(encode(text))) for text in texts]
    one, other = (motifs.discover(given, n_motifs=1, seed=1, **QUICK) for given in (texts, turned))
    assert reads(other.motifs[0], "TGACGTTATA")
    assert abs(len(one.motifs[0].sites) - len(other.motifs[0].sites)) <= 3


def test_start_motifs_come_first(rng):
    """Seeded: a weaker motif that is named comes before a stronger one that is not."""
    texts, _ = plant(rng, "TGACGTCATA", n=150, share=0.9)
    codes = [encode(text) for text in texts]
    for row in codes[::3]:
        row[150:160] = encode("CCATTAGGAC")
    start = Motif("weak", np.eye(4)[encode("CATTAGGA")] * 10)
    found = motifs.discover(codes, n_motifs=2, seed=1, start_motifs=[start], **QUICK)
    assert reads(found.motifs[0], "CCATTAGGAC") and reads(found.motifs[1], "TGACGTCATA")
    assert found.parameters["start_motifs"] == ["weak"]


def test_full_scan_lets_sites_overlap(rng):
    """Two motifs, in 20 sequences on common bases: there the second is masked, or it is not."""
    one, other, joined = "TGACGTCATA", "TCATACCATT", "TGACGTCATACCATT"
    rows = rng.choice(4, (140, 100), p=SHARES).astype(np.uint8)
    rows[:60, 20:30], rows[60:120, 40:50] = encode(one), encode(other)
    rows[120:, 50:65] = encode(joined)
    n_shared = {}
    for full in (False, True):
        starts = [Motif(word, np.eye(4)[encode(word)] * 10) for word in (one, other)]
        found = motifs.discover(
            list(rows), n_motifs=2, start_motifs=starts, full_scan=full, ext_trim=False, **QUICK
        )
        assert reads(found.motifs[0], one) and reads(found.motifs[1], other)
        n_shared[full] = (found.motifs[1].sites["index"] >= 120).sum()
    assert n_shared[True] == 20 and n_shared[False] <= 1


def test_simple_repeats_are_masked_when_asked(rng):
    texts, _ = plant(rng, "CACACACACACACACA", n=100, share=0.6)
    plain = motifs.discover(texts, n_motifs=1, seed=1, **QUICK)
    assert reads(plain.motifs[0], "CACACACACACACACA")
    masked = motifs.discover(texts, n_motifs=1, seed=1, mask_r=True, **QUICK)
    assert "bases of simple repeats masked" in masked.notes[0]
    assert not any(reads(m, "CACACACACA") for m in masked.motifs)


def test_a_floor_of_sites(rng):
    texts, truth = plant(rng, "TGACGTCATACC", n=100, share=0.2)
    few = motifs.discover(texts, n_motifs=1, seed=1, min_sites=len(truth) + 30, **QUICK)
    assert len(few) == 0 and f"{len(truth) + 30} sites or more" in few.notes[-1]


def test_places_in_the_middle_count_more(rng):
    """Two motifs as strong as each other: with weights the one in the middle comes first."""
    rows = rng.choice(4, (120, 200), p=SHARES).astype(np.uint8)
    rows[::2, 95:105] = encode("CCATTAGGAC")
    rows[1::2, 5:15] = encode("TGACGTCATA")
    for weight in ("gaussian", "triangular"):
        found = motifs.discover(
            list(rows), n_motifs=1, seed=1, weight_type=weight, width_wt=60, **QUICK
        )
        assert reads(found.motifs[0], "CCATTAGGAC")


def test_short_sequences_and_ambiguous_bases(rng):
    texts, _ = plant(rng, "TGACGTCATA", n=60, share=1.0, length=14)
    texts = [text[:3] + "N" + text[3:] for text in texts] + ["TGACGT"]
    found = motifs.discover(texts, n_motifs=1, seed=1, max_space_width=3, **QUICK)
    for word in found.sites()["word"]:
        assert "N" not in word


# real sequences, and rGADEM's own results

FOXA1, CTCF = "chip_foxa1.fasta", "chip_ctcf_hg19.fa.gz"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "n", "factor"), [(FOXA1, None, "FOXA1"), (CTCF, 300, "CTCF"), (CTCF, 3000, "CTCF")]
)
def test_the_first_motif_of_peaks_is_that_of_their_factor(file, n, factor, data_dir):
    from genomelm_utils.motifs.compare import match_motifs
    from genomelm_utils.motifs.records import collect

    data = collect(data_dir / "motifs" / file)
    pieces = np.split(data.codes, data.starts[1:-1])[:n]
    found = motifs.discover(pieces, n_motifs=1, seed=PAPER_SEED, **PAPER_PARAMETERS)
    assert found.table().loc[0, "share"] > 0.7
    for known in ("JASPAR_CORE_2016_vertebrates.meme.gz", "H12CORE_meme_format.meme.gz"):
        matches = match_motifs(found.motifs, read_motifs(data_dir / "motifs" / known), n_best=5)
        names = (matches["known_name"] + " " + matches["known"]).str.strip().str.upper()
        # the factors FOXA1, 2 and 3 bind the same words
        assert names.iloc[0].startswith(factor.removesuffix("1")), names.tolist()
        hits = names.str.contains(factor)
        assert hits.any() and matches.loc[hits, "q_value"].iloc[0] < 1e-3


@pytest.fixture(scope="module")
def golden(data_dir):
    """Folder with rGADEM's own results; without it the test is skipped, loudly."""
    folder = data_dir.parent / "golden"
    if not (folder / "rgadem_runs.json").is_file():
        pytest.skip("needs rGADEM's results: rgadem_runs.json in a folder golden beside the data")
    return folder


@pytest.mark.slow
def test_as_good_as_rgadem_on_its_planted_set(golden):
    """rGADEM 2.55.0 found 134 of 153 sites with 11 false ones, in 721 CPU seconds."""
    import time

    runs = json.loads((golden / "rgadem_runs.json").read_text())["sets"]["planted"]
    truth = pd.read_csv(golden / "planted_truth.tsv", sep="\t")
    truth["index"] = truth["record"].str[1:].astype(int)
    truth["end"] = truth["start"] + 10
    theirs = runs["motifs"][0]
    table = pd.DataFrame(theirs["sites"], columns=["index", "start", "strand"])
    table["end"] = table["start"] + len(theirs["consensus"])
    rgadem = Motif("rgadem", np.ones((12, 4)), sites=table)
    before = time.process_time()
    found = motifs.discover(
        golden / "planted.fa", n_motifs=3, seed=PAPER_SEED, threads=1, **PAPER_PARAMETERS
    )
    assert time.process_time() - before < runs["user_s"] / 10
    assert len(found) == 1  # as rGADEM
    n_true, n_false = score_sites(found.motifs[0].sites, truth)
    their_true, their_false = score_sites(rgadem.sites, truth)
    assert n_true >= their_true and n_false <= their_false


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ctcf300", "foxa1", "planted"])
def test_the_motifs_of_rgadem_are_found(name, golden, data_dir):
    from genomelm_utils.motifs.records import collect
    from genomelm_utils.motifs.refine import same_motif

    file = {
        "ctcf300": data_dir / "motifs" / CTCF,
        "foxa1": data_dir / "motifs" / FOXA1,
        "planted": golden / "planted.fa",
    }[name]
    runs = json.loads((golden / "rgadem_runs.json").read_text())["sets"][name]
    data = collect(file)
    pieces = np.split(data.codes, data.starts[1:-1])[: 300 if name == "ctcf300" else None]
    found = motifs.discover(pieces, n_motifs=3, seed=PAPER_SEED, **PAPER_PARAMETERS)
    for theirs in runs["motifs"]:
        matrix = np.array(theirs["pwm_ACGT_rows"]).T
        assert any(same_motif(matrix, ours.probabilities, 6) for ours in found.motifs), theirs[
            "consensus"
        ]
