"""What follows `--` is Snakemake's; a word that belongs to no option is refused, not passed on."""

import subprocess
import sys

import pytest

from genomelm_utils import paths
from genomelm_utils.pipeline import cli


def test_options_after_two_dashes_are_snakemakes():
    given = cli.parse_arguments(["run", "--only", "01", "--jobs", "2", "--", "--keep-going", "x"])
    assert (given.only, given.jobs) == (["01"], 2)
    assert given.executor_arguments == ["--keep-going", "x"]
    assert cli.parse_arguments(["run", "--only", "01", "--only", "03"]).executor_arguments == []


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--only", "01_data", "03_tokenizers"],
        ["run", "--only", "01_data", "03_tokenizers", "--jobs", "1", "--", "--keep-going"],
        ["run", "--only", "01_data", "--jobs", "1", "03_tokenizers"],
        ["plan", "--only", "01_data", "03_tokenizers"],
        ["list", "--only", "01_data", "03_tokenizers"],
    ],
)
def test_a_second_stage_without_only_is_refused_in_one_sentence(words, capsys):
    assert cli.main(words) == cli.USER_ERROR
    text = capsys.readouterr().err
    assert text.startswith("run_all.py: 03_tokenizers: belongs to no option of ")
    assert "repeat --only (--only 01_data --only 03_tokenizers)" in text
    assert text.count("\n") == 1


def test_what_else_belongs_to_nothing_is_refused(capsys):
    assert cli.main(["diff", "a", "b", "c"]) == cli.USER_ERROR
    assert "c: belongs to no option of diff" in capsys.readouterr().err
    assert cli.main(["plan", "--", "--keep-going"]) == cli.USER_ERROR
    assert "only run takes options for Snakemake" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", "01", "--bogus"])
    assert stopped.value.code == cli.USER_ERROR


def test_a_reader_that_has_enough_ends_it_quietly():
    """`run_all.py list | head`: no traceback, whatever the reader leaves unread."""
    command = [sys.executable, str(paths.ROOT / "run_all.py"), "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        said = process.stderr.read().decode()
    assert (process.returncode, said) == (1, "")
