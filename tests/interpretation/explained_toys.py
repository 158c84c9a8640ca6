"""Small models whose answer is known: a motif scanner built by hand, BERT classifiers."""

import numpy as np
import torch
from torch import nn

from genomelm_utils.interpretation.explained_bases import OneHotNetwork
from genomelm_utils.models.presets import bert_config
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.tasks.classification import Classifier
from genomelm_utils.tasks.encoder import build_classifier

WORD = "TGACTCA"  # AP-1


class MotifScanner(nn.Module):
    """relu(matches - (width - 1)) summed over places: how often the word stands there, exactly."""

    def __init__(self, word: str = WORD) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 1, len(word))
        self.relu = nn.ReLU()
        with torch.no_grad():
            self.conv.weight.zero_()
            self.conv.weight[0, torch.from_numpy(encode(word)).long(), torch.arange(len(word))] = 1
            self.conv.bias.fill_(1.0 - len(word))

    def forward(self, hot_BCL: torch.Tensor) -> torch.Tensor:
        return self.relu(self.conv(hot_BCL)).sum((1, 2))[:, None]


def scanner(word: str = WORD) -> OneHotNetwork:
    network = MotifScanner(word).eval()
    return OneHotNetwork(network, lambda hot, codes: network(hot), ["count"])


def plant(rng: np.random.Generator, n: int, length: int, word: str = WORD):
    """(random sequences with the word once in each, bool [n, length] where it stands)."""
    codes = rng.integers(0, 4, (n, length)).astype(np.uint8)
    start = rng.integers(0, length - len(word) + 1, n)
    place = start[:, None] + np.arange(len(word))
    codes[np.arange(n)[:, None], place] = encode(word)
    truth = np.zeros((n, length), dtype=bool)
    truth[np.arange(n)[:, None], place] = True
    return codes, truth


def random_classifier(k: int = 3, n_classes: int = 2, seed: int = 0, heads: int = 2) -> Classifier:
    """A k-mer BERT with random weights, large enough to disagree with itself."""
    config = bert_config(
        "micro", k, hidden_size=16, num_attention_heads=heads, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    model, _ = build_classifier(config, k, n_classes, seed)
    return Classifier(model.eval(), k)
