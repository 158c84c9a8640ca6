"""Clusters of similar sequences: search against brute force, engines against each other."""

import shutil
import warnings
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.sequences import clusters as clusters_module
from genomelm_utils.sequences.alphabet import CODE_N, encode, reverse_complement
from genomelm_utils.sequences.background import mutate
from genomelm_utils.sequences.clusters import (
    BUILTIN,
    PROGRAMS,
    choose_engine,
    cluster_sequences,
    link_clusters,
    read_clusters,
    write_clusters,
)
from genomelm_utils.sequences.similar import (
    GAP_EXTEND,
    GAP_OPEN,
    MATCH,
    MISMATCH,
    align_banded,
    build_index,
    choose_word_bp,
    find_similar,
)


def align_by_hand(a, b):
    """Score of the best local alignment with affine gaps, cell by cell, without a band."""
    low = -(10**6)
    h = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
    e, f = np.full_like(h, low), np.full_like(h, low)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            e[i, j] = max(h[i, j - 1] - GAP_OPEN, e[i, j - 1] - GAP_EXTEND)
            f[i, j] = max(h[i - 1, j] - GAP_OPEN, f[i - 1, j] - GAP_EXTEND)
            step = MATCH if a[i - 1] == b[j - 1] else MISMATCH
            h[i, j] = max(0, h[i - 1, j - 1] + step, e[i, j], f[i, j])
    return h.max()


def names_of(n):
    return [f"s{i}" for i in range(n)]


def families(rng, n_families, n_members, length_bp, divergence):
    """Members of families, in random order and on random strands: (codes, family)."""
    ancestors = rng.integers(0, 4, (n_families, length_bp), dtype=np.uint8)
    family = rng.permutation(np.repeat(np.arange(n_families), n_members))
    codes = list(mutate(ancestors[family], divergence, rng))
    turned = rng.random(len(codes)) < 0.5
    return [reverse_complement(c) if t else c for c, t in zip(codes, turned, strict=True)], family


def need(program):
    if not shutil.which(program):
        warnings.warn(f"{program} is not installed: its test is skipped", stacklevel=2)
        pytest.skip(f"needs {program}; on Debian: apt install mmseqs2 cd-hit")


def count_pairs(*labels):
    """Pairs of rows that are together in every one of the clusterings."""
    sizes = pd.DataFrame(dict(enumerate(labels))).value_counts().to_numpy()
    return int((sizes * (sizes - 1) // 2).sum())


# --- alignment and search -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("ACGTTGCAAC", "ACGTTGCAAC", (1.0, 1.0, 1.0)),
        ("ACGTTGCAACTT", "ACGTTGTAACTT", (11 / 12, 1.0, 1.0)),
        ("GGACGTTGCAAC", "ACGTTGCAAC", (1.0, 10 / 12, 1.0)),
        ("ACGTTGCAACGTCA", "ACGTTGCACGTCA", (13 / 14, 1.0, 1.0)),  # one gap
        ("ACGTTNCAACTT", "ACGTTNCAACTT", (11 / 12, 1.0, 1.0)),  # N equals nothing
        ("AAAA", "CCCC", (0.0, 0.0, 0.0)),
    ],
)
def test_alignments_by_hand(a, b, expected):
    assert align_banded(encode(a), encode(b), 0, 8) == pytest.approx(expected)


def test_alignments_reach_the_best_score(rng):
    """The path found scores what the full matrix says: gaps are counted back from its numbers."""
    for _ in range(40):
        a = rng.integers(0, 4, 40, dtype=np.uint8)
        b = mutate(a, 0.15, rng)
        cut = int(rng.integers(5, 30))
        b = np.delete(b, slice(cut, cut + int(rng.integers(0, 3))))
        identity, part_a, part_b = align_banded(a, b, 0, 40)
        rows, columns = round(part_a * 40), round(part_b * len(b))
        found = set()  # scores that a path of these lengths and this identity can have
        for n_columns in range(max(rows, columns), rows + columns + 1):
            n_equal = identity * n_columns
            gaps_a, gaps_b = n_columns - rows, n_columns - columns
            if abs(n_equal - round(n_equal)) > 1e-6 or rows - gaps_b < 0:
                continue
            mismatches = n_columns - gaps_a - gaps_b - round(n_equal)
            if mismatches < 0:
                continue
            base = MATCH * round(n_equal) + MISMATCH * mismatches
            n_gaps = gaps_a + gaps_b
            for n_open in range(int(n_gaps > 0), n_gaps + 1):
                found.add(base - GAP_OPEN * n_open - GAP_EXTEND * (n_gaps - n_open))
        assert align_by_hand(a, b) in found


def test_similar_sequences_are_found_on_both_strands(rng):
    codes, family = families(rng, 20, 3, 170, 0.06)
    index = build_index(codes)
    free = np.zeros(len(codes), dtype=bool)
    for row in range(len(codes)):
        targets, turned, identity = find_similar(index, row, free, 0.8, 0.8)
        assert targets.tolist() == [
            other for other in np.flatnonzero(family == family[row]) if other != row
        ]
        for target, is_turned, same in zip(targets, turned, identity, strict=True):
            other = reverse_complement(codes[target]) if is_turned else codes[target]
            assert same >= np.mean(other == codes[row]) - 1e-9


def test_what_is_too_different_or_too_short_is_not_found(rng):
    a = rng.integers(0, 4, 300, dtype=np.uint8)
    far = mutate(a, 0.3, rng)
    index = build_index([a, far, a[:200], a[:260], np.zeros(300, np.uint8), a[:300] * 0 + CODE_N])
    targets, _, _ = find_similar(index, 0, np.zeros(6, dtype=bool), 0.8, 0.8)
    assert targets.tolist() == [3]


def test_words_grow_with_the_number_of_bases():
    assert [choose_word_bp(n) for n in (10**5, 10**6, 4 * 10**6, 10**12)] == [9, 9, 10, 13]
    with pytest.raises(ValueError, match="sequence 1 has 32768 bases, expected 32767 at most"):
        build_index([encode("ACGT"), np.zeros(1 << 15, np.uint8)])


# --- clusters -------------------------------------------------------------------------------------


def test_families_and_copies_are_clusters(rng):
    codes, family = families(rng, 15, 4, 200, 0.05)
    codes += [codes[0], reverse_complement(codes[1]), encode("ACGTA"), encode("TACGT")]
    found = cluster_sequences(names_of(len(codes)), codes, engine=BUILTIN)
    expected = [*family, family[0], family[1], 99, 99]  # the last two: one short pair of strands
    assert found.n_clusters == 16
    assert count_pairs(found.numbers, expected) == count_pairs(found.numbers)
    assert count_pairs(found.numbers, expected) == count_pairs(expected)
    assert found.engine == "builtin"
    assert found.reason == "as asked; 3 copies joined their first"
    again = cluster_sequences(names_of(len(codes)), codes, engine=BUILTIN)
    np.testing.assert_array_equal(again.representative_S, found.representative_S)


def test_representatives_are_the_longest(rng):
    a = rng.integers(0, 4, 300, dtype=np.uint8)
    found = cluster_sequences(names_of(3), [a[20:], a[:290], a], engine=BUILTIN)
    assert found.representative_S.tolist() == [2, 2, 2]


def test_linked_clusters_leave_no_similar_pair_apart(rng):
    """a, b and c in a chain: a and c are too different, and b is longest for neither of them."""
    a, other = rng.integers(0, 4, (2, 200), dtype=np.uint8)
    b, c = a.copy(), a.copy()
    b[:30] = (a[:30] + 1) % 4
    c[:30], c[170:] = b[:30], (a[170:] + 1) % 4
    codes = [*(np.append(x, np.uint8(0)) for x in (a, c)), reverse_complement(b), other, other]
    found = cluster_sequences(names_of(5), codes, engine=BUILTIN)
    assert found.n_clusters >= 2
    linked = link_clusters(found, codes)
    assert linked.numbers.tolist() == [0, 0, 0, 1, 1]
    assert linked.names == found.names
    assert linked.reason.endswith(" clusters joined others that hold similar sequences")


def test_files_are_written_as_mmseqs_does_and_read_back(tmp_path, rng):
    codes, _ = families(rng, 5, 3, 150, 0.05)
    found = cluster_sequences(names_of(15), codes, engine=BUILTIN)
    write_clusters(found, tmp_path / "c.tsv")
    lines = (tmp_path / "c.tsv").read_text().splitlines()
    assert len(lines) == 15
    heads = [line.split("\t")[0] for line in lines]
    firsts = [line for i, line in enumerate(lines) if i == 0 or heads[i] != heads[i - 1]]
    assert all(line.split("\t")[0] == line.split("\t")[1] for line in firsts)
    again = read_clusters(tmp_path / "c.tsv")
    of = {name: found.names[r] for name, r in zip(found.names, found.representative_S, strict=True)}
    assert of == {
        name: again.names[r] for name, r in zip(again.names, again.representative_S, strict=True)
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "line 1: 1 columns, expected 2 with a tab"),
        ("a\ta\nb\tb\nb\ta\n", "line 3: 'a' is in the clusters of 'b' and 'a'"),
        ("a\tb\n", "'a' represents 'b' but is not in its own cluster"),
    ],
)
def test_bad_files_are_explained(tmp_path, text, message):
    (tmp_path / "c.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_clusters(tmp_path / "c.tsv")


def test_a_representative_listed_twice_is_read_once(tmp_path):
    (tmp_path / "c.tsv").write_text("a\ta\na\ta\na\tb\n")
    assert read_clusters(tmp_path / "c.tsv").representative_S.tolist() == [0, 0]


def test_the_engine_is_chosen_and_named(monkeypatch):
    monkeypatch.setattr(clusters_module.shutil, "which", lambda name: None)
    assert choose_engine() == (BUILTIN, "neither mmseqs nor cd-hit-est is installed")
    with pytest.raises(FileNotFoundError, match="mmseqs is not installed; on Debian: apt install"):
        choose_engine("mmseqs")
    monkeypatch.setattr(clusters_module.shutil, "which", lambda name: name == "cd-hit-est")
    assert choose_engine() == ("cd-hit-est", "cd-hit-est is installed")
    with pytest.raises(ValueError, match="engine is 'blast', expected one of auto, mmseqs"):
        choose_engine("blast")


@pytest.mark.parametrize(
    ("names", "codes", "options", "message"),
    [
        (["a"], [], {}, "1 names for 0 sequences"),
        (["a", "a"], [encode("AC")] * 2, {}, "name 'a' stands twice"),
        (["a"], [encode("")], {}, "1 sequences are empty, such as 'a'"),
        (["a"], [encode("AC")], {"identity": 0.5}, "identity 0.5, coverage 0.8: expected 0.75"),
        (["a"], [encode("AC")], {"coverage": 0}, "coverage 0: expected"),
    ],
)
def test_bad_arguments_are_explained(names, codes, options, message):
    with pytest.raises(ValueError, match=message):
        cluster_sequences(names, codes, engine=BUILTIN, **options)


# --- installed programs ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", PROGRAMS)
def test_programs_agree_on_families_of_both_strands(engine, rng):
    need(PROGRAMS[engine])
    codes, family = families(rng, 12, 4, 300, 0.04)
    codes += [encode("ACGTACG")]
    found = cluster_sequences(names_of(49), codes, engine=engine)
    assert count_pairs(found.numbers[:48], family) == count_pairs(family)
    assert found.n_clusters == 13
    assert found.engine.startswith(f"{engine} ")
    assert found.engine != f"{engine} "
    assert "too short for it are clusters of their own" in found.reason or engine == "mmseqs"


@pytest.mark.slow
@pytest.mark.parametrize("engine", PROGRAMS)
def test_programs_agree_on_real_promoters(engine, data_dir):
    """Of the pairs that one of the two puts together, most are put together by both."""
    need(PROGRAMS[engine])
    table = pd.read_csv(
        data_dir / "expression" / "florabert_maize_nam" / "merged_seq_genex.csv.gz",
        usecols=["gene_id", "seq"],
    ).head(600)
    codes = [encode(text) for text in table["seq"]]
    ours, theirs = (
        cluster_sequences(table["gene_id"].tolist(), codes, engine=name).numbers
        for name in (BUILTIN, engine)
    )
    both = count_pairs(ours, theirs)
    assert both / (count_pairs(ours) + count_pairs(theirs) - both) > 0.8


def test_brute_force_agrees_on_who_is_similar(rng):
    """Greedy by hand, on ungapped copies: longest first, then in order."""
    codes, _ = families(rng, 6, 5, 160, 0.09)
    found = cluster_sequences(names_of(30), codes, engine=BUILTIN)
    alike = np.eye(30, dtype=bool)
    for i, j in combinations(range(30), 2):
        same = max(np.mean(codes[i] == c) for c in (codes[j], reverse_complement(codes[j])))
        alike[i, j] = alike[j, i] = same >= 0.8
    expected = np.full(30, -1)
    for i in range(30):
        if expected[i] < 0:
            expected[(expected < 0) & alike[i]] = i
    assert (found.representative_S == expected).mean() > 0.9  # gaps make some pairs more alike
