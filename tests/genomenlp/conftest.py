"""Files to try genomeNLP's verbs on, and how to call them."""

import numpy as np
import pytest

from genomelm_utils.genomenlp import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder: a.fa and b.fa, 60 sequences of DNA each, of unlike composition."""
    rng = np.random.default_rng(5)
    for name, shares in (("a", [0.4, 0.1, 0.1, 0.4]), ("b", [0.1, 0.4, 0.4, 0.1])):
        texts = ["".join(rng.choice(list("ACGT"), 50, p=shares)) for _ in range(60)]
        records = "".join(f">{name}{i} x, y\n{text}\n" for i, text in enumerate(texts))
        (tmp_path / f"{name}.fa").write_text(records)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder, capsys):
    """run(verb, *arguments): (status, lines on standard output, text on standard error)."""

    def call(*arguments):
        status = main.main([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return call
