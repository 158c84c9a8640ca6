"""Which edits change a stage's code hash: constants and statements do, words do not."""

import pytest

from genomelm_utils.pipeline import code
from genomelm_utils.pipeline.code import hash_modules, hash_notebook

HELPER = '"""Doc."""\n\nimport os\n\nSTEPS = 3\n\ndef f(x):\n    """Doc."""\n    return x + STEPS\n'


@pytest.mark.parametrize(
    ("edited", "changes"),
    [
        (HELPER.replace("Doc", "Other words"), False),
        (HELPER.replace("STEPS = 3", "# why\nSTEPS = 3  # how\n\n"), False),
        (HELPER.replace('"""Doc."""\n', ""), False),
        (HELPER.replace("STEPS = 3", "STEPS = 4"), True),
        (HELPER.replace("x + STEPS", "x - STEPS"), True),
        (HELPER.replace("import os", "import sys"), True),
    ],
)
def test_module_hash(project, edited, changes):
    project.module("helper.py", HELPER)
    before = hash_modules({"helper"})
    project.module("helper.py", edited)
    assert (hash_modules({"helper"}) != before) == changes


def test_imports_are_followed_everywhere(project):
    project.module("toy/__init__.py", "")
    project.module("toy/a.py", "def f():\n    from . import b\n    from toy.sub.c import X\n")
    project.module("toy/b.py", "import json, toy.d as d\n")
    project.module("toy/d.py", "")
    project.module("toy/sub/__init__.py", "from ..e import Y\n")
    project.module("toy/sub/c.py", "X = 1\n")
    project.module("toy/e.py", "Y = 1\n")
    project.module("toy/unused.py", "")
    found = set(hash_modules({"toy.a"}))
    assert found == {"toy", "toy.a", "toy.b", "toy.d", "toy.e", "toy.sub", "toy.sub.c"}


def test_how_stages_run_is_not_what_they_compute(project):
    path = project.notebook("01_data", "n: int = 1  # n")
    modules = hash_notebook(path)[1]
    assert "genomelm_utils.pipeline.context" in modules
    assert "genomelm_utils.pipeline.receipts" not in modules
    path = project.notebook("01_data", "n: int = 1  # n", "import genomelm_utils.pipeline.machine")
    assert "genomelm_utils.pipeline.machine" in hash_notebook(path)[1]


@pytest.mark.parametrize(
    ("params", "cell", "changes"),
    [
        ("n: int = 2  # other words", "x = 1", False),
        ("n: int = 1  # n", "x = 1  # a comment\n\n", False),
        ("n: int = 1  # n", "x = 2", True),
        ("n: int = 1  # n", "%time\nx = 1", True),
        ("n: int = 1  # n", "x = 1\n!ls", True),
        ("n: int = 1  # n", "x = = 1", True),
    ],
)
def test_notebook_hash(project, params, cell, changes):
    before = hash_notebook(project.notebook("01_data", "n: int = 1  # n", "x = 1"))
    assert (hash_notebook(project.notebook("01_data", params, cell)) != before) == changes


def test_magic_lines_are_text_and_imports_beside_them_count(project):
    project.module("helper.py", "A = 1\n")
    cell = "%matplotlib inline\nif True:\n    !ls\n    import helper\nprint('%s'\n      % 3)"
    first = hash_notebook(project.notebook("01_data", "", cell))
    assert "helper" in first[1]
    other = hash_notebook(project.notebook("01_data", "", cell.replace("inline", "agg")))
    assert other[0] != first[0]
    whole = hash_notebook(project.notebook("01_data", "", "%%bash\nls"))
    assert whole[0] != hash_notebook(project.notebook("01_data", "", "%%bash\npwd"))[0]


def test_markdown_does_not_count(project):
    path = project.notebook("01_data", "", "x = 1")
    before = hash_notebook(path)
    path.write_text(path.read_text().replace("# Stage 01_data", "# Another title"))
    assert hash_notebook(path) == before


def test_broken_module_still_has_a_hash(project):
    project.module("helper.py", "def f(:\n")
    before = hash_modules({"helper"})
    project.module("helper.py", "def f(::\n")
    assert hash_modules({"helper"}) != before


def test_the_package_itself_is_found_without_a_project_copy(project):
    assert (code.PACKAGE_PARENT / "genomelm_utils").is_dir()
    assert "genomelm_utils.paths" in hash_modules({"genomelm_utils.paths"})
