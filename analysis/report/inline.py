"""Drawings inside a page: an SVG file as an element that takes few bytes and clashes with no other."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from mvlpt_core.contract.errors import InputError
from mvlpt_core.contract.files import first_line

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d*\.?\d+(?:e-?\d+)?")
_TOKEN = re.compile(rf"[A-Za-z]|{_NUMBER.pattern}")
_HOISTED = ("clip-path", "class")  # a group's children share these with one mention
_NAMES = {"x", "y", "width", "height", "transform"}  # attributes that are rounded
_CORNERS = "stroke-linejoin:round;stroke-linecap:butt"  # as Matplotlib's files say of everything


def inline(svg: str, own: str, title: str, shown: float, widest: int) -> tuple[str, int]:
    """An SVG file as an element of a page, to be read out as `title`, and its width there in pixels.

    `shown`: pixels for a point; one wider than `widest` has the class `wide`. Its ids and classes begin with
    `own`, since those of a page must differ; fonts have others to fall back on. What repeats is said once:
    styles as classes, a group's common class and clip path at the group; ids that nothing refers to, bare
    groups and decimals beyond a tenth of a point (in shared shapes a hundredth) go.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        _plain(element)
    for parent in root.iter():
        for child in [c for c in parent if c.tag in ("metadata", "style")]:
            parent.remove(child)
    _rename(root, own)
    sheet = _classes(root, own)
    _shorten(root, 1)
    _fold(root)
    box = str(root.get("viewBox"))
    width = round(float(box.split()[2]) * shown)
    root.attrib.clear()
    if width > widest:
        root.set("class", "wide")
    looks = {"role": "img", "aria-label": title, "width": f"{width}", "viewBox": box}
    root.attrib.update({**looks, "style": _CORNERS})
    if sheet:
        style = ElementTree.Element("style")
        style.text = sheet
        root.insert(0, style)
    return ElementTree.tostring(root, encoding="unicode"), width


def _plain(element: ElementTree.Element) -> None:
    """Names without namespaces, which HTML does not need, and no blanks between elements."""
    element.tag = element.tag.rpartition("}")[2]
    items = {key.rpartition("}")[2]: value for key, value in element.items()}
    element.attrib.clear()
    element.attrib.update(items)
    if element.tag not in ("text", "tspan") and not (element.text or "").strip():
        element.text = None
    if not (element.tail or "").strip():
        element.tail = None


def _rename(root: ElementTree.Element, own: str) -> None:
    wanted = {name for _, value in _values(root) for name in _REFERENCE.findall(value)}
    wanted |= {value[1:] for key, value in _values(root) if key == "href" and value[0] == "#"}
    names: dict[str, str] = {}
    for element in root.iter():
        if element.get("id") in wanted:
            name = str(element.get("id"))
            element.set("id", names.setdefault(name, f"{own}-{len(names)}"))
        else:
            element.attrib.pop("id", None)
    for element in root.iter():
        for key, value in element.items():
            if key == "href" and value[1:] in names:
                element.set(key, f"#{names[value[1:]]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda m: f"url(#{names.get(m[1], m[1])})", value))


def _values(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    return (item for element in root.iter() for item in element.items())


def _classes(root: ElementTree.Element, own: str) -> str:
    """Styles that occur several times as classes; colours of cells stay with the cells."""
    for element in root.iter():
        style = element.get("style")
        if style is None:
            continue
        style = style.replace("'DejaVu Sans'", "'DejaVu Sans',Verdana").replace(": ", ":")
        rules = [rule.strip() for rule in style.split(";") if rule.strip()]
        colour = [rule for rule in rules if rule.startswith("fill:#")]
        if colour:
            rules.remove(colour[0])
            element.set("fill", colour[0][5:])
        element.attrib.pop("style")
        if rules:
            element.set("style", ";".join(rules))
    counts = Counter(value for key, value in _values(root) if key == "style")
    names = {style: f"{own}_{i}" for i, style in enumerate(s for s, n in counts.items() if n > 1)}
    for element in root.iter():
        name = names.get(element.get("style", ""))
        if name:
            element.attrib.pop("style")
            element.set("class", name)
    return "".join(f".{name}{{{style}}}" for style, name in names.items())


def _shorten(element: ElementTree.Element, digits: int) -> None:
    """Round places, and write straight lines as such."""
    if element.tag == "defs":
        digits = 2
    if element.get("transform", "").startswith("rotate(-0 "):
        element.attrib.pop("transform")
    if "d" in element.attrib:
        element.set("d", path(element.attrib["d"], digits))
    for key, value in element.items():
        if key in _NAMES:
            element.set(key, _NUMBER.sub(lambda found: number(float(found[0]), 2), value))
    for child in element:
        _shorten(child, digits)


def path(line: str, digits: int) -> str:
    """A path of absolute commands with rounded numbers; horizontal and vertical lines are H and V."""
    out, at = [], ("", "")
    tokens = _TOKEN.findall(line)
    command, i = "", 0
    while i < len(tokens):
        if tokens[i].isalpha():
            command = tokens[i]
            i += 1
        count = {"M": 2, "L": 2, "Q": 4, "C": 6, "Z": 0}[command.upper()]
        numbers = [number(float(token), digits) for token in tokens[i : i + count]]
        i += count
        if command == "L" and numbers[1] == at[1]:
            out.append(f"H{numbers[0]}")
        elif command == "L" and numbers[0] == at[0]:
            out.append(f"V{numbers[1]}")
        else:
            out.append(command + " ".join(numbers))
        if numbers:
            at = (numbers[-2], numbers[-1])
    return "".join(out)


def number(value: float, digits: int) -> str:
    """As few letters as say the rounded number."""
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _fold(parent: ElementTree.Element) -> None:
    """Give what all children of a group have to the group, and leave out groups that say nothing."""
    children: list[ElementTree.Element] = []
    for child in list(parent):
        _fold(child)
        bare = child.tag == "g" and not child.attrib
        children += list(child) if bare else [child]
    parent[:] = [c for c in children if c.tag not in ("g", "defs") or len(c)]
    if parent.tag != "g" or len(parent) < 2:
        return
    for key in _HOISTED:
        common = {child.get(key) for child in parent}
        moved = key == "clip-path" and any("transform" in child.attrib for child in parent)
        if len(common) == 1 and None not in common and key not in parent.attrib and not moved:
            parent.set(key, str(common.pop()))
            for child in parent:
                child.attrib.pop(key)


def raster(png: Path, width: int) -> bytes:
    """A PNG file for a page that shows it `width` pixels wide: twice as many, for fine screens, in 256
    colours. Raises InputError for a file that is no picture."""
    try:
        with Image.open(png) as opened:
            image = opened.convert("RGB")
    except OSError as error:
        raise InputError(f"{png}: expected a PNG file ({first_line(error)})") from None
    if image.width > 2 * width:
        image = image.resize((2 * width, round(image.height * 2 * width / image.width)))
    packed = io.BytesIO()
    image.quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()
