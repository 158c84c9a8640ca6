"""Thin-notebook rules: an argument a reader can follow, a function a batch can call."""

import ast
import json
import re

import pytest

from genomelm_utils import paths

NOTEBOOKS = paths.notebook_files()
MAX_CODE_CELLS, MAX_LINES = 20, 15
ABSOLUTE = re.compile(r"""["'](/(home|work|tmp|root|Users|mnt|data)|[A-Z]:\\\\|~/)""")
FORBIDDEN = {
    "installs": re.compile(r"pip install|conda install|apt-get"),
    "blanket warning filter": re.compile(r"filterwarnings|simplefilter"),
    "absolute path": ABSOLUTE,
}


def cells(path, kind: str) -> list[dict]:
    """The cells of one kind, their source joined."""
    notebook = json.loads(path.read_text())
    return [
        {**cell, "text": "".join(cell["source"])}
        for cell in notebook["cells"]
        if cell["cell_type"] == kind
    ]


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 6


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def notebook(request):
    return request.param


def test_first_cell_tells_what_it_is_about(notebook):
    first = json.loads(notebook.read_text())["cells"][0]
    text = "".join(first["source"])
    assert first["cell_type"] == "markdown"
    assert text.startswith(f"# {notebook.stem[:2]} ")
    for word in ("**Question.**", "**Needs**", "**Gives**", "**Time**", "**Feeds**"):
        assert word in text, f"the first cell lacks {word}"


def test_one_parameters_cell_with_a_meaning_on_every_line(notebook):
    tagged = [c for c in cells(notebook, "code") if "parameters" in c["metadata"].get("tags", [])]
    assert len(tagged) == 1
    line = re.compile(r"^(\w+: [\w\[\], ]+ = .+  # .+|# .+)$")
    for text in filter(None, tagged[0]["text"].splitlines()):
        assert line.match(text), f"not `name: type = value  # meaning`: {text}"
        assert text.count("=") <= 1, f"papermill cannot read a second = sign: {text}"


def test_cells_are_few_and_short(notebook):
    code = cells(notebook, "code")
    assert len(code) <= MAX_CODE_CELLS
    for cell in code:
        if "parameters" not in cell["metadata"].get("tags", []):
            assert len(cell["text"].splitlines()) <= MAX_LINES, cell["text"]


def test_logic_lives_in_the_package(notebook):
    for cell in cells(notebook, "code"):
        tree = ast.parse(cell["text"])
        for node in ast.walk(tree):
            kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While)
            assert not isinstance(node, kinds), f"a definition or loop in: {cell['text']}"
        for rule, pattern in FORBIDDEN.items():
            assert not pattern.search(cell["text"]), f"{rule} in: {cell['text']}"


def test_committed_without_outputs(notebook):
    for cell in cells(notebook, "code"):
        assert cell["outputs"] == [] and cell["execution_count"] is None


def test_kernel_is_named_so_that_papermill_finds_it(notebook):
    assert json.loads(notebook.read_text())["metadata"]["kernelspec"]["name"] == "python3"


def test_every_figure_in_the_text_is_followed_by_computed_words(notebook):
    """Markdown cells carry no measured numbers: those are computed and shown by code."""
    for cell in cells(notebook, "markdown"):
        assert not re.search(r"\b0\.\d{3,}\b", cell["text"]), f"a typed-in result? {cell['text']}"
