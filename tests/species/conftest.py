"""Running `python -m genomelm_utils.species` within the test's process."""

import pytest

from genomelm_utils.species import main


@pytest.fixture
def call_main(capsys):
    """call_main(*arguments): (status, stdout, stderr)."""

    def call(*arguments):
        status = main.main([str(one) for one in arguments])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.fixture
def run(folder, tmp_path, call_main, monkeypatch):
    """run(*arguments, out=name): (status, out, stdout, stderr); inputs by their names in `folder`.

    `folder` is the test module's. The working folder is the one of inputs; outputs are in
    `tmp_path`.
    """
    monkeypatch.chdir(folder)

    def call(*arguments, out="result.tsv"):
        path = tmp_path / "out" / out
        status, *said = call_main(*arguments, "--out", path)
        return status, path, *said

    return call
