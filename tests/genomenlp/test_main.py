"""The frame of genomeNLP's verbs: one table, instant help, errors as one sentence."""

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from genomelm_utils.genomenlp import VERBS, main, options

REPOSITORY = Path(__file__).resolve().parents[2]


def test_help_lists_every_verb(capsys):
    assert main.main([]) == main.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, verb in VERBS.items():
        assert any(line.split()[:1] == [name] and verb.about in line for line in lines)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_options_examples_and_a_function(name):
    module = main.find_module(name)
    parser = main.build_parser(name, module)
    assert f"{options.PROGRAM} {name}" in parser.format_help()
    assert callable(getattr(module, name))
    assert name in module.EXAMPLES[name]


@pytest.mark.parametrize("name", ["", *VERBS])
def test_help_is_instant(name):
    """Nothing that computes is imported: numpy and pandas alone would take longer."""
    code = f"""
import sys
from genomelm_utils.genomenlp.main import main
try:
    main(["{name}", "--help"] if "{name}" else ["--help"])
except SystemExit:
    pass
assert not {{"numpy", "pandas", "torch", "datasets"}} & set(sys.modules)"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, capture_output=True)


def test_unknown_verb_names_the_nearest(capsys):
    assert main.main(["parse_sp_token"]) == 2
    assert "did you mean parse_sp_tokens?" in capsys.readouterr().err


def test_errors_are_one_sentence(tmp_path, capsys):
    assert main.main(["parse_sp_tokens", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err == (
        f"parse_sp_tokens: {tmp_path / 'none.json'}: no such file, expected a unigram tokenizer "
        "(JSON)\n"
    )
    (tmp_path / "bad.json").write_text("{")
    assert main.main(["parse_sp_tokens", str(tmp_path / "bad.json")]) == 2
    assert "damaged or no tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("0", None), ("x", None), ("9", None)])
def test_whole_numbers(text, expected):
    parse = options.whole(1, 8)
    if expected is None:
        with pytest.raises(argparse.ArgumentTypeError, match="1 to 8"):
            parse(text)
    else:
        assert parse(text) == expected


def test_shares():
    assert options.share("0.25") == 0.25
    with pytest.raises(argparse.ArgumentTypeError, match="0 to 1"):
        options.share("1.5")
