"""The README's map and tables are true: the files it names exist, its tables are those drawn."""

import re

import pytest

from genomelm_utils import paths

README = (paths.ROOT / "README.md").read_text()


def test_files_of_the_map_exist():
    block = README.split("## The map")[1].split("```")[1]
    top, package = block.split("genomelm_utils/\n")
    names = re.findall(r"^([\w./]+)", top, flags=re.M)
    names += re.findall(r"^  (\w+(?:\.py|/))", package, flags=re.M)
    assert len(names) > 15
    for name in names:
        if not name.startswith("data/runs"):
            known = [paths.ROOT / name, paths.ROOT / "genomelm_utils" / name]
            assert any(path.exists() for path in known), f"README's map names {name}"


def test_pictures_and_linked_files_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (paths.ROOT / target).is_file(), f"README links to {target}"


def test_main_table_is_the_published_one():
    published = paths.figures_dir() / "small" / "genemask" / "main_accuracy.md"
    table = README.split("<!-- main_accuracy -->")[1].split("<!-- end -->")[0].strip()
    assert table == published.read_text().strip()


def test_short_table_quotes_the_main_one():
    short = README.split("The main table")[1].split("<details>")[0]
    cells = set(re.findall(r"0\.\d{3} \[[^\]]+\]", short))
    assert len(cells) > 20
    full = README.split("<!-- main_accuracy -->")[1].split("<!-- end -->")[0]
    assert cells <= set(re.findall(r"0\.\d{3} \[[^\]]+\]", full))


@pytest.mark.parametrize(
    "switch", re.findall(r"`([a-z_]+): ", README.split("## Reference")[1].split("##")[0])
)
def test_switches_are_parameters_of_a_notebook(switch):
    sources = "".join(path.read_text() for path in paths.notebook_files())
    assert re.search(rf"\b{switch}: (str|bool|float)", sources), f"no notebook has {switch}"
