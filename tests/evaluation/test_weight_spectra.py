"""Weight matrices of model folders: which are read, what is said about them."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from genomelm_utils.evaluation.weight_spectra import (
    analyse_model,
    describe_models,
    eigenvalues,
    iter_matrices,
    model_names,
    summarise_models,
)


def save_distilbert(folder, vocab: int = 120, dim: int = 64, layers: int = 2, positions: int = 70):
    """A small random DistilBERT classifier on disk."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=vocab, dim=dim, hidden_dim=4 * dim, n_layers=layers, n_heads=2,
        max_position_embeddings=positions,
    )  # fmt: skip
    model = DistilBertForSequenceClassification(config)
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    save_distilbert(place)
    return place


def test_the_matrices_of_the_encoder_are_read(folder):
    """Two embeddings and six matrices per layer; neither biases, norms nor the head."""
    found = dict(iter_matrices(folder))
    assert len(found) == 2 + 6 * 2
    names = list(found)
    assert names[:2] == [
        "distilbert.embeddings.position_embeddings",
        "distilbert.embeddings.word_embeddings",
    ]
    assert [name for name in names if "layer.1." in name] == names[-6:]
    assert not [name for name in names if "classifier" in name]
    assert found[names[1]].shape == (120, 64)


def test_published_size_has_38_matrices_and_61_million_parameters():
    """Without building 61 million numbers: sizes from the configuration alone."""
    from transformers import DistilBertConfig, DistilBertForSequenceClassification

    from genomelm_utils.evaluation.weight_spectra import HEADS

    with torch.device("meta"):
        model = DistilBertForSequenceClassification(DistilBertConfig(vocab_size=22_753))
    assert sum(p.numel() for p in model.parameters()) == 60_988_418 == 43_514_114 + 768 * 22_753
    matrices = [n for n, p in model.named_parameters() if p.ndim == 2 and not n.startswith(HEADS)]
    assert len(matrices) == 38


def test_eigenvalues_are_squared_singular_values(rng, monkeypatch):
    from genomelm_utils.evaluation import weight_spectra

    monkeypatch.setattr(weight_spectra, "BLOCK_ROWS", 7)
    for shape in ((30, 12), (12, 30)):
        matrix = rng.normal(size=shape).astype(np.float32)
        wanted = np.sort(np.linalg.svd(matrix.astype(float), compute_uv=False) ** 2)
        np.testing.assert_allclose(eigenvalues(matrix), wanted, rtol=1e-9)


def test_the_same_as_weightwatcher(folder):
    """alpha, D, tail, norms and stable rank of every matrix, by the other program."""
    weightwatcher = pytest.importorskip("weightwatcher", reason="needs weightwatcher")
    from transformers import AutoModel

    theirs = weightwatcher.WeightWatcher(model=AutoModel.from_pretrained(folder)).analyze(
        min_evals=50, max_evals=10_000, plot=False
    )
    ours = analyse_model(folder, n_random=0).set_index("layer")
    theirs["layer"] = "distilbert." + theirs["longname"].str.removesuffix(".weight")
    theirs = theirs.set_index("layer").loc[ours.index]
    pairs = {
        "alpha": "alpha", "distance": "D", "n_tail": "num_pl_spikes", "xmin": "xmin",
        "xmax": "xmax", "stable_rank": "stable_rank", "frobenius_norm": "norm",
        "spectral_norm": "spectral_norm", "log_alpha_norm": "log_alpha_norm",
    }  # fmt: skip
    for mine, other in pairs.items():
        wanted = theirs[other].astype(float)
        np.testing.assert_allclose(ours[mine], wanted, rtol=2e-4, err_msg=mine)


def test_a_matrix_with_a_known_tail_is_told_from_random_weights(tmp_path, rng):
    """Singular values are planted so that eigenvalues follow a power law of exponent 3."""
    from safetensors.numpy import save_file

    n = 200
    left, _ = np.linalg.qr(rng.normal(size=(300, n)))
    right, _ = np.linalg.qr(rng.normal(size=(n, n)))
    values = (1 - (np.arange(n) + 0.5) / n) ** (-1 / 2.0)  # quantiles of the law
    planted = (left * np.sqrt(values)) @ right.T
    random = rng.normal(0, 0.02, (300, n))
    weights = {"layer.0.weight": planted, "layer.1.weight": random}
    save_file({k: v.astype(np.float32) for k, v in weights.items()}, tmp_path / "model.safetensors")
    table = analyse_model(tmp_path, "toy", n_resamples=20)
    assert table["alpha"][0] == pytest.approx(3.0, abs=0.15)
    assert table["alpha_low"][0] < 3.0 < table["alpha_high"][0]
    assert table["like_random"].tolist() == [False, True]
    assert table["status"].tolist() == ["in range", "under-trained"]
    summary = summarise_models(table)
    assert summary.loc[0, ["n_matrices", "n_in_range", "n_like_random"]].tolist() == [2, 1, 1]
    assert "toy: mean alpha" in describe_models(summary)


def test_untrained_networks_are_called_untrained(folder):
    summary = summarise_models(analyse_model(folder, "fresh", seed=3))
    assert summary["n_like_random"][0] > summary["n_matrices"][0] / 2
    assert "not trained, or hardly" in describe_models(summary)


def test_same_numbers_twice_and_from_a_pickled_checkpoint(folder, tmp_path):
    first = analyse_model(folder, "a")
    pd.testing.assert_frame_equal(first, analyse_model(folder, "a"))
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder)
    named = {f"distilbert.{name}": tensor for name, tensor in model.state_dict().items()}
    torch.save(named, tmp_path / "pytorch_model.bin")
    pd.testing.assert_frame_equal(first, analyse_model(tmp_path, "a"))


def test_weights_in_pieces(folder, tmp_path):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    pd.testing.assert_frame_equal(analyse_model(folder, "a"), analyse_model(tmp_path, "a"))


def test_folders_without_large_matrices_or_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither model.safetensors"):
        analyse_model(tmp_path)
    from safetensors.torch import save_file

    save_file({"layer.weight": nn.Linear(20, 20).weight.detach()}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="lower min_values"):
        analyse_model(tmp_path)
    assert len(analyse_model(tmp_path, min_values=10)) == 1


def test_names_of_folders_that_are_called_alike():
    assert model_names(["a/model_files", "b/model_files"]) == ["a/model_files", "b/model_files"]
    assert model_names(["x/one", "y/two"]) == ["one", "two"]
    with pytest.raises(ValueError, match="given twice"):
        model_names(["a", "a"])
