"""Drawings inside a page look as their files do, in fewer bytes."""

import io
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from mvlpt_analysis.report.inline import inline, number, path, raster
from mvlpt_core.contract.errors import InputError

SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt"
 height="8pt" viewBox="0 0 10 8"><!-- a --><metadata>x</metadata>
 <defs><path id="p" d="M 0.123456 1 \nL 2 1"/><clipPath id="c"><rect x="0.126" y="0"/></clipPath></defs>
 <g id="unused"><g><use xlink:href="#p" style="fill: #123456; stroke: red" x="1.23456"/></g>
 <use xlink:href="#p" style="stroke: red"/></g>
 <g clip-path="url(#c)"><text style="font: 6px 'DejaVu Sans'"
  transform="rotate(-0 1 2)">0.04219  a</text></g></svg>
"""


def test_a_drawing_becomes_part_of_the_page():
    drawn, width = inline(SVG, "own", 'a "b" <c>', shown=2, widest=640)
    assert width == 20
    assert drawn.startswith(
        '<svg role="img" aria-label="a &quot;b&quot; &lt;c&gt;" width="20" view'
    )
    ElementTree.fromstring(drawn)
    for part in (
        '<path id="own-0" d="M0.12 1H2"',
        'href="#own-0"',
        'clip-path="url(#own-1)"',
        '<rect x="0.13" y="0"',
        ">0.04219  a<",
        "'DejaVu Sans',Verdana",
        ".own_0{stroke:red}",
        'fill="#123456"',
    ):
        assert part in drawn, part
    for gone in ("metadata", "unused", "rotate", "xlink", "<!--"):
        assert gone not in drawn
    assert drawn.count("own_0") == 2  # said of the group, not of each of its two shapes
    assert 'class="wide"' in inline(SVG, "own", "a", shown=2, widest=19)[0]


def test_two_drawings_share_no_name():
    pages = [inline(SVG, own, "a", 2, 640)[0] for own in ("gains-1", "gains-20")]
    names = [set(re.findall(r'(?:id="|\.)(gains[^"{]+)', page)) for page in pages]
    assert all(len(found) == 3 for found in names)
    assert not names[0] & names[1]


@pytest.mark.parametrize(
    ("line", "digits", "expected"),
    [
        ("M 1.04 2 L 5.06 2 L 5.06 3 L 1 3 z", 1, "M1 2H5.1V3H1z"),
        ("M -0.001 .5 \nC 1 2 3 4 5 6 \nL 5 7", 2, "M0 0.5C1 2 3 4 5 6V7"),
        ("M 1e-07 10 Q 1 2 100 20", 1, "M0 10Q1 2 100 20"),
    ],
)
def test_paths_keep_their_places(line, digits, expected):
    assert path(line, digits) == expected


def test_numbers_are_rounded_not_cut():
    assert [number(x, 1) for x in (1.96, -0.04, 100.0, 20, -3.25)] == [
        "2",
        "0",
        "100",
        "20",
        "-3.2",
    ]


def test_a_map_of_cells_takes_a_third(tmp_path):
    """A heatmap with a number in every cell: all are there, in a third of the bytes."""
    mpl.use("Agg")
    figure, ax = plt.subplots()
    ax.pcolormesh(np.random.default_rng(0).random((20, 20)), edgecolors="white", linewidth=0.4)
    for i in range(400):
        ax.text(i % 20 + 0.5, i // 20 + 0.5, f"c{i}", fontsize=6, ha="center")
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(tmp_path / "map.svg")
    plt.close(figure)
    svg = (tmp_path / "map.svg").read_text()
    drawn, _ = inline(svg, "map", "a map", 140 / 72, 640)
    assert len(drawn) < len(svg) / 3
    assert len(set(re.findall(r">(c\d+)<", drawn))) == 400
    colours = re.findall(r"fill: (#\w{6})", svg.split("QuadMesh_1")[1].split("matplotlib.axis")[0])
    assert len(colours) == 400
    assert [c for c in re.findall(r'fill="(#\w+)"', drawn) if c in set(colours)] == colours


def test_a_picture_is_as_fine_as_a_screen_shows(tmp_path):
    steps = np.linspace(0, 255, 3000).astype(np.uint8)
    Image.fromarray(np.tile(steps, (900, 1))).convert("RGB").save(tmp_path / "a.png")
    small = Image.open(io.BytesIO(raster(tmp_path / "a.png", 500)))
    assert small.size == (1000, 300)
    seen = np.asarray(small.convert("L")).astype(int)
    assert np.abs(seen[150] - np.linspace(0, 255, 1000)).max() <= 4
    assert Image.open(io.BytesIO(raster(tmp_path / "a.png", 2000))).size == (3000, 900)
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"b\.png: expected a PNG file"):
        raster(tmp_path / "b.png", 10)
