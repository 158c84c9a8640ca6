"""An executed notebook as a piece of HTML that asks the network for nothing.

nbconvert's own pages fetch require.js, MathJax, mermaid and the widget manager from public hosts.
Here only its inner template is used, live widgets are left out, formulas become inline SVG at
build time, and whatever would still load something from elsewhere is taken out and named.
"""

import base64
from html import escape
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from jinja2 import pass_context
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from traitlets.config import Config

from genomelm_utils.pipeline.image_size import image_size

FORMULA_PX = 17
WIDGET = "application/vnd.jupyter.widget-view+json"


def render_notebook(path: Path, label: str) -> str:
    """The cells of a notebook as HTML, without head, style or script.

    label: what the notebook is called in the alternative texts, such as `02_pmi_ranking/default`.
    Silently done: scripts are taken out, and live widgets, which are progress bars: without their
    script they would stand at 0 % for ever.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if WIDGET not in out.get("data", {})]
    html, _ = _PageExporter(config=_page_config()).from_notebook_node(notebook)
    soup = BeautifulSoup(html, "html.parser")
    _drop_foreign(soup)
    _label_images(soup, label)
    for table in soup.find_all("table"):
        table.attrs.pop("border", None)
        table.wrap(soup.new_tag("div", attrs={"class": "scroll", "tabindex": "0"}))
    return str(soup)


def formula_svg(latex: str) -> str:
    """A formula as inline SVG in the text's own colour, or as code where it cannot be drawn.

    matplotlib's mathtext knows a large part of LaTeX's mathematics, not its environments.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser
    from matplotlib.textpath import TextPath

    text = f"${' '.join(latex.split())}$"
    font = FontProperties(family="STIXGeneral", math_fontfamily="stix", size=FORMULA_PX)
    try:
        box = MathTextParser("path").parse(text, dpi=72, prop=font)
        outline = TextPath((0, 0), text, size=FORMULA_PX, prop=font)
    except (ValueError, RuntimeError):
        return f'<code class="formula">{escape(latex)}</code>'
    width, height, depth = (round(float(v) + 1, 1) for v in (box.width, box.height, box.depth))
    return (
        f'<svg class="formula" role="img" aria-label="{escape(latex.strip())}" width="{width}" '
        f'height="{height}" viewBox="0 {round(depth - height, 1)} {width} {height}" '
        f'style="vertical-align:{-depth}px">'
        f'<path fill="currentColor" d="{_path_d(outline)}"/></svg>'
    )


def _path_d(outline) -> str:
    """A matplotlib path as SVG path data, y pointing down."""
    letters = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}
    parts = []
    for points, code in outline.iter_segments(simplify=False, curves=True):
        numbers = (
            ""
            if code == 79
            else " ".join(f"{v * (1 if i % 2 == 0 else -1):.2f}" for i, v in enumerate(points))
        )
        parts.append(letters[int(code)] + numbers)
    return "".join(parts)


class _FormulaRenderer(IPythonRenderer):
    def inline_math(self, body: str) -> str:
        return formula_svg(body)

    def block_math(self, body: str) -> str:
        # mathtext sets every fraction small unless it is asked for a display fraction.
        large = body.replace(r"\frac", r"\dfrac")
        return f'<span class="formula-block">{formula_svg(large)}</span>'

    def latex_environment(self, name: str, body: str) -> str:
        return f'<span class="formula-block">{formula_svg(body)}</span>'


class _PageExporter(HTMLExporter):
    @pass_context
    def markdown2html(self, context, source: str) -> str:
        """Markdown with formulas drawn instead of left to a script."""
        attachments = context.get("cell", {}).get("attachments", {})
        renderer = _FormulaRenderer(
            escape=False, attachments=attachments, exclude_anchor_links=True
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def _page_config() -> Config:
    config = Config()
    config.HTMLExporter.template_name = "lab"
    config.HTMLExporter.template_file = "base.html.j2"
    config.HTMLExporter.exclude_input_prompt = True
    config.HTMLExporter.exclude_output_prompt = True
    config.NbConvertBase.display_data_priority = [
        "text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg",
        "text/latex", "text/plain",
    ]  # fmt: skip
    return config


def _drop_foreign(soup: BeautifulSoup) -> None:
    """Takes out scripts and everything that would be loaded from somewhere else."""
    for tag in soup.find_all(["script", "link", "iframe", "object", "embed", "base", "meta"]):
        tag.decompose()
    for tag in soup.find_all(["img", "source", "video", "audio"]):
        source = str(tag.get("src", ""))
        tag.attrs.pop("srcset", None)
        if not source.startswith("data:"):
            note = soup.new_tag("em")
            note.string = f"[left out, because it is not part of this page: {source}]"
            tag.replace_with(note)
    for tag in soup.find_all(True):
        for name in [n for n in tag.attrs if n.lower().startswith("on")]:
            del tag.attrs[name]


def _label_images(soup: BeautifulSoup, label: str) -> None:
    """Gives each image its size and a text made of its number and the heading above it."""
    heading, number = "", 0
    for tag in soup.find_all(["h1", "h2", "h3", "h4", "img"]):
        if tag.name != "img":
            heading = tag.get_text(" ", strip=True)
            continue
        number += 1
        width, height = _embedded_size(tag)
        tag.attrs["width"] = str(tag.attrs.get("width") or width)
        tag.attrs["height"] = str(tag.attrs.get("height") or height)
        if str(tag.attrs.get("alt", "")).startswith(("No description", "")):
            tag.attrs["alt"] = f"Image {number} of {label}" + (f": {heading}" if heading else "")


def _embedded_size(image: Tag) -> tuple[int, int]:
    kind, _, body = str(image["src"]).partition(",")
    return image_size(base64.b64decode(body) if kind.endswith("base64") else body.encode())
