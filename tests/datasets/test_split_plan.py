"""Rows of records, groups that stay together, and parts of the sizes asked for, or as released."""

import numpy as np
import pytest

from genomelm_utils.datasets.class_records import FastaClasses, Record
from genomelm_utils.datasets.record_groups import group_records
from genomelm_utils.datasets.split_plan import (
    PARTS,
    SHARES,
    Cut,
    check_shares,
    choose_strands,
    plan_split,
    split_like_genomenlp,
)
from genomelm_utils.sequences.letters import Kind, reverse_complement_text

DNA, PROTEIN = Kind("dna", "as asked"), Kind("protein", "as asked")


def records_of(*texts, label=0, file="f.fa"):
    return [Record(file, f"r{i}", label, text) for i, text in enumerate(texts)]


# --- rows ----------------------------------------------------------------------------------


def test_chunks_and_their_other_strands():
    record = Record("f", "r", 0, "AACGTTS")
    assert list(Cut(3, True).rows(record, DNA)) == [
        *[("r__PARTIAL_SEQ_CHUNK_0", "AAC"), ("r__PARTIAL_SEQ_CHUNK_0__RC", "GTT")],
        *[("r__PARTIAL_SEQ_CHUNK_1", "GTT"), ("r__PARTIAL_SEQ_CHUNK_1__RC", "AAC")],
        *[("r__PARTIAL_SEQ_CHUNK_2", "S"), ("r__PARTIAL_SEQ_CHUNK_2__RC", "S")],
    ]
    reference = dict(Cut(None, True, "reference").rows(record, DNA))
    assert reference == {"r": "AACGTTS", "r__RC": "WAACGTT"}
    assert dict(Cut().rows(record, PROTEIN)) == {"r": "AACGTTS"}


@pytest.mark.parametrize("chunk", [None, 1, 3, 7, 100])
@pytest.mark.parametrize("strands", [False, True])
def test_counted_as_they_are_cut(chunk, strands):
    cut = Cut(chunk, strands)
    for n in (1, 6, 7, 8):
        assert len(list(cut.rows(Record("f", "r", 0, "A" * n), DNA))) == cut.count(n)


def test_strands_by_kind():
    assert choose_strands(DNA, None) and choose_strands(Kind("rna", ""), True)
    assert not choose_strands(PROTEIN, None) and not choose_strands(DNA, False)
    for kind in (PROTEIN, Kind("text", "a table")):
        with pytest.raises(ValueError, match="which has no reverse complement: leave it out"):
            choose_strands(kind, True)


@pytest.mark.parametrize("arguments", [(0,), (None, True, "both")])
def test_cuts_out_of_range(arguments):
    with pytest.raises(ValueError, match="expected"):
        Cut(*arguments)


# --- groups --------------------------------------------------------------------------------


def test_copies_and_other_strands_are_together():
    texts = ["AACG", "CGTT", "AACG", "AACC"]
    table, groups = group_records(records_of(*texts), DNA, "sequence", 1)
    assert groups.tolist() == [0, 0, 0, 1]
    assert table["n_letters"].tolist() == [4] * 4
    assert group_records(records_of(*texts), PROTEIN, "sequence", 1)[1].tolist() == [0, 1, 0, 2]
    alone = group_records(records_of(*texts), DNA, "sequence", 1, alone=True)[1]
    assert alone.tolist() == [0, 1, 2, 3]


def test_relatives_are_together(rng):
    source = "".join(rng.choice(list("ACGT"), 400))
    changed = source[:200] + "ACGT" + source[204:]
    other = "".join(rng.choice(list("ACGT"), 400))
    texts = [source, other, reverse_complement_text(changed)]
    for groups in ("shared_words", "clusters"):
        assert group_records(records_of(*texts), DNA, groups, 40)[1].tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="clusters are for DNA and RNA, the input is protein"):
        group_records(records_of("MELT"), PROTEIN, "clusters", 40)
    with pytest.raises(ValueError, match="groups is 'name'"):
        group_records(records_of("MELT"), PROTEIN, "name", 40)


def test_a_negative_is_with_the_record_it_was_made_of():
    records = records_of("AACG", "AAAA", "CCCC")
    for name, text in (("NULL_F_r1", "GGGG"), ("RC_NULL_D_r2", "TTTT"), ("NULL_B_none", "ACAC")):
        records.append(Record("n.fa", name, 1, text))
    # r1 is AAAA and TTTT its other strand: so r1, r2 and their negatives are all linked
    assert group_records(records, DNA, "sequence", 1)[1].tolist() == [0, 1, 1, 1, 1, 2]


# --- parts ---------------------------------------------------------------------------------


@pytest.fixture
def many(rng):
    texts = ["".join(rng.choice(list("ACGT"), n)) for n in rng.integers(20, 90, 400)]
    texts += [reverse_complement_text(text) for text in texts[:40]] + texts[40:60]
    labels = np.arange(len(texts)) % 4 == 0
    return [
        Record("f.fa", f"r{i}", int(label), text)
        for i, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]


@pytest.mark.parametrize("cut", [Cut(), Cut(None, True), Cut(30, True)])
def test_nothing_made_of_one_sequence_is_in_two_parts(many, cut):
    plan = plan_split(many, DNA, cut, shares={"train": 0.7, "test": 0.2, "valid": 0.1}, seed=1)
    part_of = {}
    rows = [(text, name) for record in many for name, text in cut.rows(record, DNA)]
    assert len(rows) == len(plan.part_R)
    for record, part in zip(many, plan.records["part"], strict=True):
        key = min(record.text, reverse_complement_text(record.text))
        assert part_of.setdefault(key, part) == part
    label_R = np.repeat(plan.records["label"], plan.records["n_rows"]).to_numpy()
    for i, share in enumerate((0.7, 0.2, 0.1)):
        assert (plan.part_R == i).mean() == pytest.approx(share, abs=0.02)
        assert label_R[plan.part_R == i].mean() == pytest.approx(label_R.mean(), abs=0.03)
    counts = plan.count(["a", "b"])
    assert counts["n_rows"].sum() == len(plan.part_R)
    assert counts["part"].tolist() == [part for part in PARTS for _ in range(2)]


def test_the_seed_decides(many):
    plans = [plan_split(many, DNA, Cut(), seed=seed).part_R.tolist() for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]


def test_the_reference_deals_rows(many):
    cut = Cut(None, True)
    plan = plan_split(many, DNA, cut, split="reference", seed=1)
    assert (plan.records["part"] == "several").sum() > 50
    assert np.bincount(plan.part_R).tolist() == [828, 46, 46]
    in_order = plan_split(many, DNA, cut, split="reference", shuffle=False, seed=1)
    assert (np.diff(in_order.part_R.astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("n", "sizes"),
    [(13_528, (12_175, 677, 676)), (10_799, (9719, 540, 540)), (100, (90, 5, 5))],
)
def test_sizes_as_published(rng, n, sizes):
    parts = split_like_genomenlp(n, SHARES, rng)
    assert tuple(map(len, parts.values())) == sizes
    assert np.sort(np.concatenate(list(parts.values()))).tolist() == list(range(n))


def test_other_shares(rng):
    shares = {"train": 0.7, "test": 0.2, "valid": 0.1}  # sums to 0.9999999999999999
    assert check_shares(shares) == shares
    # the released code gives test the share of valid, and the other way round
    assert [len(p) for p in split_like_genomenlp(1000, shares, rng).values()] == [699, 101, 200]
    assert [len(p) for p in split_like_genomenlp(10, check_shares({"train": 1}), rng).values()] == [
        10, 0, 0,
    ]  # fmt: skip
    parts = split_like_genomenlp(10, check_shares({"train": 0.5, "test": 0.5}), rng)
    assert [len(part) for part in parts.values()] == [5, 5, 0]


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({"train": 0.9}, "sum to 1"),
        ({"train": 1.1, "test": -0.1}, "from 0 to 1"),
        ({"train": 0.9, "tests": 0.1}, "expected train, test, valid"),
        ({"test": 1.0}, "share of train is 0"),
    ],
)
def test_shares_out_of_range(shares, expected):
    with pytest.raises(ValueError, match=expected):
        check_shares(shares)


def test_what_is_told():
    both = records_of("AACG", "AAAA") + records_of("CGTT", "CCCC", label=1)
    plan = plan_split(both, DNA, Cut(), shares={"train": 0.5, "test": 0.5}, seed=1)
    assert plan.conflicts == 1
    assert plan.warnings[0].startswith("1 groups hold sequences of more than one class")
    few = records_of("AACG") + records_of("CCCC", label=1)
    plan = plan_split(few, DNA, Cut(), seed=1)
    assert "test has rows of 0 of 2 classes: there are too few groups" in plan.warnings
    with pytest.raises(ValueError, match="split is 'random'"):
        plan_split(few, DNA, Cut(), split="random", seed=1)


# --- real data -----------------------------------------------------------------------------


@pytest.fixture
def promoters(data_dir):
    folder = data_dir / "classification" / "genomenlp"
    return FastaClasses([folder / "promoter.fasta.gz", folder / "non_promoter.fasta.gz"])


@pytest.mark.parametrize(("chunk", "n_rows"), [(None, 13_528), (50, 27_056), (27, 40_584)])
def test_rows_of_promoters(promoters, chunk, n_rows):
    plan = plan_split(promoters, promoters.kind, Cut(chunk, True), split="reference", seed=1)
    assert len(plan.part_R) == n_rows
    if chunk is None:
        assert np.bincount(plan.part_R).tolist() == [12_175, 677, 676]


def test_relatives_of_promoters_stay_together(promoters):
    plan = plan_split(promoters, promoters.kind, Cut(None, True), groups="shared_words", seed=1)
    assert plan.records["group"].nunique() == 6111
    assert plan.records.groupby("group")["part"].nunique().max() == 1
    shares = np.bincount(plan.part_R) / len(plan.part_R)
    assert shares == pytest.approx(np.array([0.9, 0.05, 0.05]), abs=0.001)
    # overlapping pieces of one place of the genome, called promoter and not
    assert plan.warnings == (
        f"{plan.conflicts} groups hold sequences of more than one class; each stays whole",
    )
    assert plan.conflicts == 32


def test_relatives_among_promoters_and_among_proteins(promoters, data_dir):
    table, groups = group_records(promoters, promoters.kind, "shared_words", 40)
    sizes = np.bincount(groups[table["label"] == 0])
    sizes = sizes[sizes > 0]
    assert (len(sizes), sizes.max(), sizes[sizes > 1].sum()) == (2802, 7, 1016)
    _, same = group_records(promoters, promoters.kind, "sequence", 40)
    assert len(same) - (same.max() + 1) == 12 // 2  # twelve are the other strand of another
    folder = data_dir / "tokenisation" / "protein"
    proteins = FastaClasses([folder / "dna_binding.fa.gz", folder / "rna_binding.fa.gz"])
    assert group_records(proteins, proteins.kind, "shared_words", 20)[1].max() + 1 == 5875
    assert group_records(proteins, proteins.kind, "sequence", 20)[1].max() + 1 == 4081 + 2737


def test_chunks_of_proteins(data_dir):
    folder = data_dir / "tokenisation" / "protein"
    records = FastaClasses([folder / "dna_binding.fa.gz", folder / "rna_binding.fa.gz"])
    plan = plan_split(records, records.kind, Cut(512), split="reference", seed=1)
    assert np.bincount(plan.part_R).tolist() == [9719, 540, 540]
    counts = plan.count(records.class_names).groupby("label")["n_rows"].sum()
    assert counts.tolist() == [6449, 4350]
    assert (plan.records["n_letters"].groupby(plan.records["label"]).sum()).tolist() == [
        2_263_649,
        1_513_389,
    ]
