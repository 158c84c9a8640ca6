"""The store of bases: same content as the FASTA, same bytes twice, clear errors."""

import gzip
import subprocess
import sys

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.fasta import read_fasta
from genomelm_utils.sequences.genome import (
    build_store,
    hash_content,
    open_store,
    store_from_codes,
)


@pytest.fixture
def two_files(tmp_path):
    (tmp_path / "a.fa").write_bytes(b">a1\nACGTNNGGcc\n>empty\n>a2\nNNN\n")
    (tmp_path / "b.fa.gz").write_bytes(gzip.compress(b">b1\nttAC\n"))
    return [tmp_path / "a.fa", tmp_path / "b.fa.gz"]


@pytest.fixture
def store(two_files, tmp_path):
    return build_store(two_files, tmp_path / "store")


def test_content_by_hand(store):
    assert store.n_bases == 17
    assert decode(store.codes) == "ACGTNNGGCCNNNTTAC"
    assert store.runs.tolist() == [[0, 4], [6, 10], [13, 17]]
    assert store.soft.tolist() == [[8, 10], [13, 15]]
    records = store.records
    assert list(records.columns) == ["name", "start", "length", "n_definite", "gc"]
    assert records["name"].tolist() == ["a1", "a2", "b1"]
    assert records["start"].tolist() == [0, 10, 13]
    assert records["length"].tolist() == [10, 3, 4]
    assert records["n_definite"].tolist() == [8, 0, 4]
    assert records["gc"].tolist()[::2] == [0.75, 0.25]
    assert np.isnan(records["gc"][1])


def test_sources_and_skipped_records_are_kept(store, two_files):
    assert [source["file"] for source in store.info["sources"]] == ["a.fa", "b.fa.gz"]
    assert [source["skipped"] for source in store.info["sources"]] == [["empty"], []]
    plain = two_files[1].with_name("plain.fa")
    plain.write_bytes(gzip.decompress(two_files[1].read_bytes()))
    assert store.info["sources"][1]["content_sha256"] == hash_content(plain)


def test_a_truncated_gzip_file_has_no_hash(two_files):
    two_files[1].write_bytes(two_files[1].read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"b\.fa\.gz: truncated or damaged gzip file"):
        hash_content(two_files[1])


def test_bases_are_mapped_not_read(store):
    assert isinstance(store.codes, np.memmap)


def test_fetch(store):
    assert decode(store.fetch("a1", 2, 7)) == "GTNNG"
    assert decode(store.fetch("b1", 0, 4)) == "TTAC"
    assert decode(store.fetch("b1", 1, 1)) == ""
    for start, end in [(-1, 2), (0, 5), (3, 2)]:
        with pytest.raises(ValueError, match=f"region b1:{start}-{end} .*<= 4"):
            store.fetch("b1", start, end)
    with pytest.raises(ValueError, match=r"no record 'b12'; did you mean 'b1'"):
        store.fetch("b12", 0, 1)


@pytest.mark.parametrize(
    ("width", "step", "starts"),
    [(4, 1, [0, 6, 13]), (3, 1, [0, 1, 6, 7, 13, 14]), (2, 2, [0, 2, 6, 8, 13, 15]), (5, 1, [])],
)
def test_windows_lie_in_runs(store, width, step, starts):
    assert store.windows(width, step).tolist() == starts


def test_windows_need_a_width(store):
    with pytest.raises(ValueError, match="at least 1 base"):
        store.windows(0, 1)


def test_same_input_same_bytes(two_files, tmp_path):
    first, second = (build_store(two_files, tmp_path / name).folder for name in ("s1", "s2"))
    names = sorted(path.name for path in first.iterdir())
    assert names == ["codes.npy", "records.csv", "runs.npy", "soft.npy", "store.json"]
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_rebuild_replaces_and_leaves_nothing_behind(two_files, tmp_path, store):
    again = build_store(two_files[1], store.folder)
    assert again.records["name"].tolist() == ["b1"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.fa", "b.fa.gz", "store"}


def test_failure_leaves_the_old_store(two_files, tmp_path, store):
    bad = tmp_path / "bad.fa"
    bad.write_text(">x\nAC!\n")
    with pytest.raises(ValueError, match="holds '!'"):
        build_store([two_files[0], bad], store.folder)
    assert open_store(store.folder).records["name"].tolist() == ["a1", "a2", "b1"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.fa", "b.fa.gz", "bad.fa", "store"}


def test_a_folder_of_something_else_is_not_replaced(two_files, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no store"):
        build_store(two_files, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").is_file()


def test_names_are_unique_over_files(two_files, tmp_path):
    with pytest.raises(ValueError, match=r"'b1' is used more than once .*b.fa.gz.*b.fa.gz"):
        build_store([two_files[1], two_files[1]], tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_no_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one FASTA"):
        build_store([], tmp_path / "store")


def test_missing_store_and_missing_files(tmp_path, store):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_store(tmp_path / "none")
    for name in ("codes.npy", "runs.npy", "store.json"):
        (store.folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=f"{name}: missing.*build the store again"):
            open_store(store.folder)


@pytest.mark.parametrize("name", ["codes.npy", "records.csv", "runs.npy", "soft.npy", "store.json"])
def test_a_cut_file_is_damaged(store, name):
    path = store.folder / name
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=f"{name}: damaged.*build the store again"):
        open_store(store.folder)


def test_other_format_and_other_size(store):
    np.save(store.folder / "codes.npy", np.zeros(5, np.uint8))
    with pytest.raises(ValueError, match=r"holds uint8\(5,\), expected uint8\(17,\)"):
        open_store(store.folder)
    (store.folder / "store.json").write_text('{"format": 0}')
    with pytest.raises(ValueError, match="store format 0, expected 1"):
        open_store(store.folder)


def test_store_from_codes(tmp_path):
    codes = encode("ACGTNACG")
    soft = np.array([[1, 7]])
    store = store_from_codes(["x", "NA"], codes, np.array([0, 3, 8]), soft, tmp_path / "s")
    assert store.records["name"].tolist() == ["x", "NA"]
    assert store.soft.tolist() == [[1, 3], [3, 7]]
    assert store.runs.tolist() == [[0, 3], [3, 4], [5, 8]]
    assert decode(store.fetch("NA", 0, 5)) == "TNACG"
    nothing = np.empty((0, 2))
    with pytest.raises(ValueError, match="need 3 boundaries from 0 to 8"):
        store_from_codes(["x", "y"], codes, np.array([0, 8]), nothing, tmp_path / "t")
    with pytest.raises(ValueError, match="at least one base"):
        store_from_codes(["x", "y"], codes, np.array([0, 8, 8]), nothing, tmp_path / "t")
    with pytest.raises(ValueError, match="used more than once"):
        store_from_codes(["x", "x"], codes, np.array([0, 3, 8]), nothing, tmp_path / "t")


def test_composition_over_blocks(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("genomelm_utils.sequences.genome._BLOCK", 16)
    lengths = rng.integers(1, 50, 40)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    codes = rng.integers(0, 6, starts[-1], dtype=np.uint8)
    names = [f"r{i}" for i in range(40)]
    records = store_from_codes(names, codes, starts, np.empty((0, 2)), tmp_path / "s").records
    for i, piece in enumerate(np.split(codes, starts[1:-1])):
        definite = piece[piece < 4]
        assert records["n_definite"][i] == len(definite)
        if len(definite):
            assert records["gc"][i] == pytest.approx(np.isin(definite, [1, 2]).mean())


def test_opening_needs_no_numba(store):
    code = (
        "import sys; from genomelm_utils.sequences.genome import open_store;"
        f"open_store({str(store.folder)!r}); assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_yeast_store_holds_the_file(data_dir, tmp_path):
    path = data_dir / "genomes/yeast/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz"
    store, records = build_store(path, tmp_path / "yeast"), read_fasta(path)
    assert np.array_equal(store.codes, records.codes)
    assert store.records["length"].sum() == store.n_bases == records.starts[-1]
    name, start = store.records["name"][3], store.records["start"][3]
    assert np.array_equal(store.fetch(name, 100, 200), records.codes[start + 100 : start + 200])
