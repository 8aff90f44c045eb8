"""One builder of HTML pages for every command: a file that opens without network, in two themes, on a phone too.

The page holds no script. Its content security policy forbids everything but its own styles and the images inside it, so
nothing that ends up in a page (file names, AU lists of strangers) can load or run anything. Blocks are made by the
functions below, which escape what they are given; `build_report` puts them together.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from auformer.report.table import Table

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
SIGNATURES = {b"\x89PNG": "image/png", b"RIFF": "image/webp", b"\xff\xd8\xff": "image/jpeg"}
RENDERED_ONLY = (
    "Training has seen rendered faces only; how well the result does on photographs of people has not been measured."
)
OCCURRENCE = "Probabilities that an action unit occurs, not intensities."
INTENSITY = (
    "The probability that an action unit occurs, 0 to 1, and its intensity, 0 to 5, are two outputs of the network, "
    "which may disagree."
)
RESPONSIBLE_USE = (
    "An action unit is a visible movement of facial muscles. It does not tell what someone feels or means: this is no "
    "lie detector.",
    OCCURRENCE,
    "Finding action units is biometric processing: ask the people shown for consent, and expect errors to differ "
    "between groups of people.",
)


class Section(NamedTuple):
    """A section of a page.

    Args:
        heading: Plain text.
        blocks: HTML of `paragraph`, `table`, `figure`, `gallery`, `notice` or `code`.
        wide: Let the section take the page's whole width where there is room; the others stand in two columns.
    """

    heading: str
    blocks: Sequence[str]
    wide: bool = False


def paragraph(text: str) -> str:
    """Return a paragraph of plain text.

    >>> paragraph("F1 < 1")
    '<p>F1 &lt; 1</p>'
    """
    return f"<p>{html.escape(text)}</p>"


def notice(heading: str, points: Sequence[str]) -> str:
    """Return a framed box with a heading and a list of plain sentences, for what a reader must not miss."""
    items = "".join(f"<li>{html.escape(point)}</li>" for point in points)
    return f'<aside class="notice"><h3>{html.escape(heading)}</h3><ul>{items}</ul></aside>'


def bullets(heading: str, points: Sequence[str]) -> str:
    """Return a small heading over a list of plain sentences.

    >>> bullets("Seen", ["a < b"])
    '<h3>Seen</h3><ul><li>a &lt; b</li></ul>'
    """
    items = "".join(f"<li>{html.escape(point)}</li>" for point in points)
    return f"<h3>{html.escape(heading)}</h3><ul>{items}</ul>"


def meaning(*, intensity: bool) -> str:
    """What the values of a network are, with or without an intensity head."""
    return INTENSITY if intensity else OCCURRENCE


def demo_note(*, intensity: bool) -> str:
    """What every output of the packaged AU detector says in two lines; its figures are those of its model card."""
    return (
        "This AU detector was trained on rendered faces only and is no measuring instrument: on photographs it ranks "
        "faces by 13 AUs with a mean AUROC of .90 against uncertified readings (see its model card).\n"
        f"{meaning(intensity=intensity)}"
    )


def responsible_use(note: str | None, *, intensity: bool = False) -> str:
    """Return the box about what the numbers are and are not, after a note on their network, such as `RENDERED_ONLY`.

    `intensity`: whether the network gives intensities.
    """
    points = [meaning(intensity=intensity) if point == OCCURRENCE else point for point in RESPONSIBLE_USE]
    return notice("What these numbers are, and what they are not", [note, *points] if note else points)


def code(text: str, label: str) -> str:
    """Return preformatted text in a box of its own that scrolls; `label` names it to screen readers."""
    return f'<pre tabindex="0" role="region" aria-label="{html.escape(label)}"><code>{html.escape(text)}</code></pre>'


def table(one: Table) -> str:
    """Return a table whose first column names the rows; wider than the screen, it scrolls inside its own frame.

    The title is also its name for screen readers; the first column and the footer are never bold.
    """
    head = "".join(f'<th scope="col"><span>{html.escape(name)}</span></th>' for name in one.header)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{_strong(cell, (i, k) in one.bold)}</td>" for k, cell in enumerate(row[1:], 1))
        + "</tr>"
        for i, row in enumerate([*one.rows, *one.footer])
    )
    below = "".join(f'<p class="note">{html.escape(note)}</p>' for note in one.notes)
    name = html.escape(one.title)
    frame = f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">'
    rows = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"{frame}<table><caption>{name}</caption>{rows}</table></div>{below}"


def _strong(text: str, bold: bool) -> str:
    """Return the text of a cell."""
    return f"<strong>{html.escape(text)}</strong>" if bold else html.escape(text)


def figure(light: bytes, dark: bytes | None = None, *, alt: str, caption: str = "") -> str:
    """Return an image, embedded.

    Args:
        light: A PNG, WebP or JPEG file.
        dark: The same image for readers whose system is set to dark.
        alt: What the image shows, for those who cannot see it.
        caption: Plain text below it.

    Raises:
        ValueError: For bytes that are no such file, or an empty `alt`.
    """
    if not alt:
        raise ValueError("Expected `alt` to say what the image shows, but got an empty text")
    night = f'<source srcset="{_data_uri(dark)}" media="(prefers-color-scheme: dark)">' if dark is not None else ""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f'<figure><picture>{night}<img src="{_data_uri(light)}" alt="{html.escape(alt)}"></picture>{below}</figure>'


def gallery(figures: Sequence[str]) -> str:
    """Return small figures in rows, as many in each as there is room for."""
    return f'<div class="gallery">{"".join(figures)}</div>'


def _data_uri(image: bytes) -> str:
    """Return an image file as a data URI."""
    for signature, kind in SIGNATURES.items():
        if image.startswith(signature):
            return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"
    raise ValueError(f"Expected `image` to be a PNG, WebP or JPEG file, but it starts with {image[:4]!r}")


def build_report(title: str, sections: Sequence[Section], *, lead: str = "", footer: str = "") -> str:
    """Return a complete HTML page.

    Title, `lead` (below the title) and `footer` are plain text; the page lists the headings of more than three
    sections.

    Raises:
        ValueError: Without sections.
    """
    if not sections:
        raise ValueError("Expected `sections` to hold at least one section, but got none")
    style = resources.files("auformer").joinpath("assets", "report.css").read_text(encoding="utf-8")
    parts = []
    for number, section in enumerate(sections, 1):
        heading, kind = html.escape(section.heading), ' class="wide"' if section.wide else ""
        opening = f'<section id="s{number}"{kind} aria-labelledby="h{number}"><h2 id="h{number}">{heading}</h2>'
        parts.append(opening + "".join(section.blocks) + "</section>")
    links = "".join(
        f'<li><a href="#s{number}">{html.escape(section.heading)}</a></li>'
        for number, section in enumerate(sections, 1)
    )
    contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if len(sections) > 3 else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{html.escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{html.escape(title)}</h1>{paragraph(lead) if lead else ""}{contents}</header>
<main>
{"".join(part + chr(10) for part in parts)}</main>
<footer>{paragraph(footer) if footer else ""}</footer>
</body>
</html>
"""
