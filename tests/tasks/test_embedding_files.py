import gzip
import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch

from genomelm_utils.models.alibi_bert import AlibiBertModel, alibi_config
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.fasta import write_fasta
from genomelm_utils.tasks import embedding_files
from genomelm_utils.tasks.embedding import embed
from genomelm_utils.tasks.embedding_files import embed_file, read_embeddings
from genomelm_utils.tokenizers.bpe import train_bpe


@pytest.fixture(scope="module")
def tokenizer():
    rng = np.random.default_rng(0)
    return train_bpe([decode(rng.integers(0, 4, 500, dtype=np.uint8)) for _ in range(20)], 40)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 32}
    return AlibiBertModel(alibi_config("micro", vocab_size=40, **sizes)).eval()


@pytest.fixture
def contigs(rng):
    return [rng.integers(0, 4, n, dtype=np.uint8) for n in rng.integers(3, 300, 25)]


@pytest.fixture
def fasta(tmp_path, contigs):
    path = tmp_path / "contigs.fa"
    write_fasta(path, [f"00{i} some words" for i in range(25)], contigs)
    return path


@pytest.mark.parametrize("name", ["x.npy", "x.parquet"])
@pytest.mark.parametrize("block_records", [4, 1000])
def test_a_file_gives_what_its_sequences_give(
    tmp_path, model, tokenizer, contigs, fasta, name, block_records
):
    out = tmp_path / "made" / name
    done = embed_file(fasta, out, model, tokenizer, block_records=block_records, progress=False)
    table, values = read_embeddings(out)
    assert np.abs(values - embed(model, tokenizer, contigs)).max() < 1e-5
    assert values.dtype == np.float32
    assert table["name"].tolist() == [f"00{i}" for i in range(25)]
    assert table["n_bases"].tolist() == [len(one) for one in contigs]
    assert (done.n_sequences, done.n_skipped, done.width) == (25, 0, 32)
    assert not list(out.parent.glob("*.partial"))


def test_the_array_can_stay_on_disk(tmp_path, model, tokenizer, fasta):
    embed_file(fasta, tmp_path / "x.npy", model, tokenizer)
    _, values = read_embeddings(tmp_path / "x.npy", mmap=True)
    assert isinstance(values, np.memmap)


def test_gzipped_fastq_and_options_go_through(tmp_path, model, tokenizer, contigs):
    path = tmp_path / "reads.dat"
    lines = [f"@r{i}\n{decode(one)}\n+\n{'I' * len(one)}\n" for i, one in enumerate(contigs)]
    path.write_bytes(gzip.compress("".join(lines).encode()))
    options = {"strands": "both", "window_bp": 100, "overlap": 0.2}
    embed_file(path, tmp_path / "x.npy", model, tokenizer, token_budget=300, **options)
    values = read_embeddings(tmp_path / "x.npy")[1]
    assert np.abs(values - embed(model, tokenizer, contigs, **options)).max() < 1e-5


def test_what_is_left_out_is_counted_named_and_logged_once(tmp_path, model, tokenizer, caplog):
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGTACGT\n>b\n>c\nNNNNNNNN\n>d\nACG\n")
    with caplog.at_level(logging.WARNING):
        done = embed_file(path, tmp_path / "x.npy", model, tokenizer, min_bp=5)
    assert (done.n_sequences, done.n_skipped) == (1, 3)
    skipped = pd.read_csv(done.skipped_path)
    assert skipped["name"].tolist() == ["b", "c", "d"]
    assert caplog.text.count("no definite base") == 1


def test_the_same_again_is_left_alone_and_other_settings_are_not(
    tmp_path, model, tokenizer, fasta, monkeypatch
):
    out = tmp_path / "x.npy"
    first = embed_file(fasta, out, model, tokenizer)
    stamp = out.stat().st_mtime_ns
    again = embed_file(fasta, out, model, tokenizer, token_budget=50)
    assert again.reused and not first.reused and out.stat().st_mtime_ns == stamp
    assert (again.n_sequences, again.n_bases) == (first.n_sequences, first.n_bases)
    receipt = json.loads((tmp_path / "x.npy.json").read_text())
    assert receipt["made_of"]["strands"] == "forward"
    assert not embed_file(fasta, out, model, tokenizer, strands="both").reused
    assert not embed_file(fasta, out, model, tokenizer, strands="both", reuse=False).reused


def stop_at_third():
    """`embed` that is interrupted in its third block."""
    calls = []

    def embed_or_stop(*args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return embed(*args, **options)

    return embed_or_stop


def test_an_interrupted_run_leaves_nothing_under_the_name(
    tmp_path, model, tokenizer, fasta, monkeypatch
):
    monkeypatch.setattr(embedding_files, "embed", stop_at_third())
    with pytest.raises(KeyboardInterrupt):
        embed_file(fasta, tmp_path / "x.npy", model, tokenizer, block_records=4)
    assert not (tmp_path / "x.npy").exists() and not list(tmp_path.glob("*.partial"))
    monkeypatch.undo()
    assert not embed_file(fasta, tmp_path / "x.npy", model, tokenizer).reused


@pytest.mark.parametrize("name", ["x.npy", "x.parquet"])
def test_an_interrupted_run_leaves_earlier_embeddings_and_their_names(
    tmp_path, model, tokenizer, fasta, monkeypatch, name
):
    out = tmp_path / "made" / name
    embed_file(fasta, out, model, tokenizer)
    before = {path.name: path.read_bytes() for path in out.parent.iterdir()}
    monkeypatch.setattr(embedding_files, "embed", stop_at_third())
    with pytest.raises(KeyboardInterrupt):
        embed_file(fasta, out, model, tokenizer, min_bp=100, block_records=2)
    assert {path.name: path.read_bytes() for path in out.parent.iterdir()} == before
    monkeypatch.undo()
    assert embed_file(fasta, out, model, tokenizer).reused
    shorter = embed_file(fasta, out, model, tokenizer, min_bp=100)
    table, values = read_embeddings(out)
    assert len(table) == len(values) == shorter.n_sequences < 25


def test_mistakes_in_the_file_come_up_before_anything_is_computed(
    tmp_path, model, tokenizer, monkeypatch
):
    monkeypatch.setattr(embedding_files, "embed", lambda *args, **options: pytest.fail("computed"))
    path = tmp_path / "x.fa"
    path.write_text(">a\nACGT\n>b\nAC\n>a\nGG\n")
    with pytest.raises(ValueError, match="two records are named 'a'"):
        embed_file(path, tmp_path / "x.npy", model, tokenizer, block_records=1)
    with pytest.raises(ValueError, match=r"expected a name that ends in \.npy or \.parquet"):
        embed_file(path, tmp_path / "x.csv", model, tokenizer)
    with pytest.raises(FileNotFoundError, match="no such file"):
        embed_file(tmp_path / "none", tmp_path / "x.npy", model, tokenizer)


def test_reading_without_file_or_names_or_with_too_few(tmp_path, model, tokenizer, fasta):
    out = tmp_path / "x.npy"
    with pytest.raises(FileNotFoundError, match="make it with"):
        read_embeddings(out)
    np.save(out, np.zeros((2, 3), np.float32))
    with pytest.raises(FileNotFoundError, match="has no names"):
        read_embeddings(out)
    (tmp_path / "x.npy.names.csv").write_text("name,n_bases\nNA,3\n")
    with pytest.raises(ValueError, match=r"has 2 rows and x\.npy\.names\.csv 1 names"):
        read_embeddings(out)


def test_a_file_that_grows_while_it_is_read_is_an_error(
    tmp_path, model, tokenizer, fasta, monkeypatch
):
    class Growing(embedding_files.RecordStream):
        def __iter__(self):
            yield from super().__iter__()
            write_fasta(fasta, ["a"], [np.zeros(9, np.uint8)])

    monkeypatch.setattr(embedding_files, "RecordStream", Growing)
    with pytest.raises(ValueError, match="changed while it was read"):
        embed_file(fasta, tmp_path / "x.npy", model, tokenizer)
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": None}, "no column 'name'"),
        ({"embedding": None}, "no column 'embedding'"),
        ({"n_bases": ["4", "5"]}, "n_bases does not hold whole numbers"),
        ({"name": ["a", "a"]}, "'a' stands in more than one row"),
        ({"embedding": ["x", "y"]}, "expected floating-point numbers"),
    ],
)
def test_a_parquet_file_of_something_else_is_told(tmp_path, change, message):
    columns = {"name": ["a", "b"], "n_bases": [4, 5], "embedding": [[0.5, 1.0], [2.0, 3.0]]}
    columns = {name: value for name, value in (columns | change).items() if value is not None}
    pd.DataFrame(columns).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=message):
        read_embeddings(tmp_path / "x.parquet")
