"""Embeddings: files that TensorBoard reads, centroids without padding, composition taken out."""

import numpy as np
import pandas as pd
import pytest
import torch

from genomelm_utils.interpretation.expression_embeddings import (
    map_embeddings,
    mean_of_tokens,
    regress_out,
    species_centroids,
    stack_embeddings,
    write_projector,
)

GENES = pd.DataFrame(
    {"gene_id": ["g1", "g2", "g3"], "line": "B73", "sequence": ["ACGT", "CC", "GTN"]}
)


def make_stack(rng, **settings):
    promoters, tissues = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
    return stack_embeddings(promoters, tissues, GENES, ["leaf", "root"], **settings)


def test_promoters_stand_above_tissues(rng):
    promoters, tissues = rng.normal(size=(3, 5)), rng.normal(size=(2, 5))
    rows, names = stack_embeddings(promoters, tissues, GENES, ["leaf", "root"])
    assert rows.dtype == np.float32
    assert rows == pytest.approx(np.vstack([promoters, tissues]), abs=1e-6)
    assert names["kind"].tolist() == ["promoter"] * 3 + ["tissue"] * 2
    assert names["name"].tolist() == ["g1", "g2", "g3", "leaf", "root"]
    assert names["sequence"].tolist() == ["ACGT", "CC", "GTN", "", ""]


def test_a_sample_has_no_promoter_twice(rng):
    rows, names = make_stack(rng, n_promoters=2, seed=1)
    assert names["name"].tolist()[-2:] == ["leaf", "root"]
    assert names["name"].is_unique
    assert len(rows) == 4
    assert len(make_stack(rng, n_promoters=9)[0]) == 5


def test_projector_files_hold_what_was_given(rng, tmp_path):
    rows, names = make_stack(rng)
    (tmp_path / "other.txt").write_text("stays")
    assert write_projector(tmp_path, rows, names) == tmp_path
    assert np.loadtxt(tmp_path / "tensors.tsv") == pytest.approx(rows, rel=1e-6)
    read = pd.read_csv(tmp_path / "metadata.tsv", sep="\t", keep_default_na=False)
    assert read.equals(names)
    assert (tmp_path / "other.txt").exists()


def test_tensorboard_reads_the_configuration(rng, tmp_path):
    config_pb2 = pytest.importorskip("tensorboard.plugins.projector.projector_config_pb2")
    from google.protobuf import text_format

    write_projector(tmp_path, *make_stack(rng))
    text = (tmp_path / "projector_config.pbtxt").read_text()
    config = text_format.Parse(text, config_pb2.ProjectorConfig())
    assert len(config.embeddings) == 1
    assert (tmp_path / config.embeddings[0].tensor_path).is_file()
    assert (tmp_path / config.embeddings[0].metadata_path).is_file()


def test_map_has_a_place_for_each(rng):
    rows, names = make_stack(rng)
    table = map_embeddings(rows, names)
    assert table[["x", "y"]].notna().all(axis=None)
    assert list(table) == ["kind", "name", "line", "sequence", "projection", "x", "y"]


def test_padding_and_special_ids_have_no_part():
    hidden = torch.tensor([[[9.0], [1], [3], [9]], [[9], [5], [9], [7]]])
    ids = torch.tensor([[0, 7, 8, 1], [0, 7, 1, 2]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    before = mask.clone()
    assert mean_of_tokens(hidden, ids, mask, (0, 1)).tolist() == [[2.0], [5.0]]
    assert (mask == before).all()
    with pytest.raises(ValueError, match="row 1 of the batch has no token"):
        mean_of_tokens(hidden, torch.tensor([[0, 7, 8, 1], [0, 1, 1, 2]]), mask, (0, 1))


def test_centroids_do_not_depend_on_batches(rng):
    rows = rng.normal(size=(23, 4))
    species = rng.choice(["maize", "barley"], 23)
    whole, table = species_centroids([(rows, species)])
    parts = [(rows[i : i + 5], species[i : i + 5]) for i in range(0, 23, 5)]  # the last has three
    assert species_centroids(parts)[0] == pytest.approx(whole)
    assert table["species"].tolist() == ["barley", "maize"]
    assert table["n_promoters"].sum() == 23
    assert whole[1] == pytest.approx(rows[species == "maize"].mean(0))
    with pytest.raises(ValueError, match="there is no embedding"):
        species_centroids([])
    with pytest.raises(ValueError, match="2 embeddings for 1 species"):
        species_centroids([(rows[:2], ["maize"])])


def test_composition_is_taken_out_and_nothing_else(rng):
    shares = rng.dirichlet(np.ones(4), 40)
    own = rng.normal(size=(40, 3))
    composed = shares @ rng.normal(size=(4, 3)) * 10
    residual, explained = regress_out(composed, shares)
    assert explained == pytest.approx(1)
    assert residual == pytest.approx(np.zeros((40, 3)), abs=1e-9)
    residual, explained = regress_out(own + composed, shares)
    assert residual == pytest.approx(regress_out(own, shares)[0], abs=1e-9)
    assert residual.T @ shares == pytest.approx(np.zeros((3, 4)), abs=1e-9)
    assert explained == pytest.approx(1 - np.square(residual).sum() / np.square(
        own + composed - (own + composed).mean(0)).sum())  # fmt: skip
    assert regress_out(own, shares)[1] < 0.3
    with pytest.raises(ValueError, match="G of at least 5"):
        regress_out(own[:4], shares[:4])


def test_what_does_not_fit_is_told(rng, tmp_path):
    rows, names = make_stack(rng)
    with pytest.raises(ValueError, match=r"promoter embeddings \(3, 5\) and tissue .* \(2, 4\)"):
        stack_embeddings(np.ones((3, 5)), np.ones((2, 4)), GENES, ["leaf", "root"])
    with pytest.raises(ValueError, match="for 3 genes and 1 tissues"):
        stack_embeddings(np.ones((3, 5)), np.ones((2, 5)), GENES, ["leaf"])
    with pytest.raises(ValueError, match="4 embeddings and names of shape"):
        write_projector(tmp_path, rows[:4], names)
    with pytest.raises(ValueError, match="row 3 of the names holds a tab"):
        write_projector(tmp_path, rows, names.replace("leaf", "le\taf"))
