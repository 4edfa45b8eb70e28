"""Figures as parts of a page."""

import re
from xml.etree import ElementTree

from matplotlib.figure import Figure

from igcl_lightning.evaluation.plots import PALETTE
from igcl_lightning.evaluation.svg import as_svg


def drawn(colour=PALETTE[1]):
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 0.123456], color=colour, marker="s", label="<igcl> & co")
    axes.grid(color="0.9")
    axes.set_title("x < y")
    figure.legend()
    return figure


def test_two_figures_share_no_ids_and_refer_to_their_own():
    first, second = (ElementTree.fromstring(as_svg(drawn(), name, "a figure")) for name in ("one", "two"))
    for root, start in ((first, "one-"), (second, "two-")):
        ids = [each.get("id") for each in root.iter() if each.get("id")]
        assert len(ids) == len(set(ids))
        assert all(each.startswith(start) for each in ids)
        text = ElementTree.tostring(root, encoding="unicode")
        used = {*re.findall(r"url\(#([^)]+)\)", text), *re.findall(r'href="#([^"]+)"', text)}
        assert used
        assert used <= set(ids)


def test_the_page_decides_the_colours_and_nothing_is_embedded():
    text = as_svg(drawn(), "one", 'said "so"')
    assert "var(--method-1)" in text
    assert "currentColor" in text
    assert "var(--rule)" in text
    assert not re.search(r"#(?:d55e00|000000|e6e6e6)", text, re.IGNORECASE)
    assert not re.search(r"http|xmlns|<style|<metadata|<script|font-face|base64", text)
    assert 'role="img"' in text
    assert 'aria-label="said &quot;so&quot;"' in text
    assert "&lt;igcl&gt; &amp; co" in text, "text stays text"


def test_the_same_figure_is_the_same_text_and_its_size_is_that_of_the_figure():
    assert as_svg(drawn(), "one", "a") == as_svg(drawn(), "one", "a")
    assert "--width: 288px" in as_svg(drawn(), "one", "a")  # 3 inches of 96 pixels
