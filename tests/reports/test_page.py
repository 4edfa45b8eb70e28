import json
import re
from html import unescape
from xml.etree import ElementTree

import pytest

from igcl_lightning.graphs.drawing import LABEL_STYLES, label_style
from igcl_lightning.graphs.schema import LABEL_ID, Entity, Relation, ReportGraph
from igcl_lightning.graphs.shapes import drawings
from igcl_lightning.reports.page import report_part, write_page
from igcl_lightning.reports.parsing import parse_reports
from igcl_lightning.reports.sources import open_source

GRAPH = ReportGraph(
    "Probable <b> mass & $ x_1 $ of 5 mm in the left lung , no edema .",
    (
        Entity("<b> mass", "OBS-U", 1, 2, "probable"),
        Entity("5 mm", "OBS-M", 8, 9),
        Entity("left lung", "ANAT-DP", 12, 13),
        Entity("edema", "OBS-DA", 16, 16),
    ),
    (Relation(0, "located_at", 2), Relation(1, "modify", 0)),
)


WRITTEN = "Probable <b> mass\n& $ x_1 $  of 5 mm in the left\nlung, no edema.\n"


def part(graph, text=""):
    return report_part("a <i>", graph, text)


def page(tmp_path, *graphs, **options):
    path = tmp_path / "page.html"
    parts = [report_part(f"report <{number}>", graph, "") for number, graph in enumerate(graphs)]
    write_page(path, parts, **({"source": "made & up", "parser": "rules-1", "total": len(graphs)} | options))
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    return path.read_text("utf-8")


def visible(html):
    return re.sub(r"\s+", " ", re.sub(r"<style>.*</style>|<[^>]*>", "", html, flags=re.DOTALL))


def shown_text(html):
    text = re.search('<p class="text">(.*?)</p>', html, re.DOTALL)[1]
    return unescape(re.sub("&nbsp;<small>.*?</small>|<[^>]*>", "", text))


def drawn(html):
    return [ElementTree.fromstring(picture) for picture in re.findall("<svg.*?</svg>", html, re.DOTALL)]


def test_text_is_whole_and_escaped_with_its_entities_marked():
    html = part(GRAPH).html
    assert "&lt;b&gt; mass" in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&amp; $ x_1 $ of" in html
    marks = re.findall(r'<mark class="([\w-]+)" title="\1">(.*?)</mark>', html)
    assert marks == [
        ("OBS-U", "&lt;b&gt; mass&nbsp;<small>probable</small>"),
        ("OBS-M", "5 mm"),
        ("ANAT-DP", "left lung"),
        ("OBS-DA", "edema"),
    ]
    assert "</mark>, no" in html


def test_text_keeps_its_spaces_and_lines():
    html = part(GRAPH, WRITTEN).html
    assert shown_text(html) == WRITTEN
    assert ">left\nlung</mark>" in html
    assert (
        shown_text(part(GRAPH, WRITTEN + "FINDINGS").html)
        == "Probable <b> mass & $ x_1 $ of 5 mm in the left lung, no edema."
    )


def test_overlapping_entities_repeat_no_text():
    words = "small left lower lobe effusion"
    spans = ((0, 0), (1, 3), (2, 3), (3, 4))
    entities = tuple(Entity(" ".join(words.split()[i : j + 1]), "OBS-DP", i, j) for i, j in spans)
    assert shown_text(part(ReportGraph(words, entities)).html) == words


def test_each_component_is_an_inline_picture_that_holds_its_words():
    html = part(GRAPH).html
    words = [sorted(text.text for text in picture.iter("text")) for picture in drawn(html)]
    assert words == [["5 mm", "<b> mass", "left lung", "located_at", "modify"], ["edema"]]
    assert 'id="' not in html
    assert "url(" not in html


def test_a_label_is_as_wide_as_its_box_allows_in_any_font():
    for picture in drawn(part(GRAPH).html):
        for box in picture.iter("g"):
            rect, text = box
            assert float(text.get("textLength")) < float(rect.get("width"))
            assert float(text.get("x")) == pytest.approx(float(rect.get("x")) + float(rect.get("width")) / 2, abs=0.2)
            assert float(rect.get("x")) + float(rect.get("width")) <= float(picture.get("viewBox").split()[2])


def test_an_arrow_ends_at_the_border_of_its_tail():
    graph = ReportGraph(
        "big mass", (Entity("big", "OBS-DP", 0, 0), Entity("mass", "OBS-DP", 1, 1)), (Relation(0, "modify", 1),)
    )
    (drawing,) = drawings(graph)
    ((line,), tail) = drawing.arrows, drawing.boxes[1]
    assert line.name == "modify"
    assert line.points[0][1] < line.at[1] < line.points[-1][1] == pytest.approx(tail.top)
    assert tail.left < line.points[-1][0] < tail.left + tail.width


def test_head_names_source_and_parser_and_counts_labels(tmp_path):
    html = page(tmp_path, GRAPH, ReportGraph(""), total=1234)
    shown = visible(html)
    assert "made &amp; up" in shown
    assert "the first 2 of 1,234 reports, read by rules-1" in shown
    assert (
        "anatomy (ANAT-DP): 1 present (OBS-DP): 0 uncertain (OBS-U): 1 absent (OBS-DA): 1 measure (OBS-M): 1" in shown
    )
    assert "ANAT-M" not in shown
    assert "1 report, read" in visible(page(tmp_path, GRAPH))


def test_the_page_needs_no_network_and_no_script(tmp_path):
    html = page(tmp_path, GRAPH)
    assert not re.search(r"<(script|link|img|iframe|object)|@import|src=|href=.(?!#)|\son\w+=", html)
    assert "http" not in html
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_everything_a_source_says_is_escaped(tmp_path):
    nasty = "<script>alert(1)</script>"
    graph = ReportGraph(nasty, (Entity(nasty, "OBS-DP", 0, 0),))
    html = page(tmp_path, graph, source=nasty, parser=nasty)
    assert html.count("&lt;script&gt;") == 5  # title, head, parser, text and box
    assert "<script" not in html
    assert "<0>" not in html


def test_reports_without_text_or_entities_say_so():
    assert visible(report_part("a", ReportGraph(""), " ").html).strip() == "a no text no entities"
    assert visible(report_part("a", ReportGraph("Nothing here ."), "").html).strip() == "a Nothing here. no entities"


def test_every_label_has_a_style_of_its_own(tmp_path):
    styles = [label_style(label) for label in LABEL_ID]
    assert len({(style.fill, style.edge, style.line) for style in styles}) == len(LABEL_ID)
    assert len({style.meaning for style in styles}) == len(LABEL_ID)
    html = page(tmp_path, GRAPH)
    assert all(f".{label} {{ --fill: {label_style(label).fill};" in html for label in LABEL_ID)
    assert list(LABEL_STYLES.values()) == styles[: len(LABEL_STYLES)]


def test_a_page_is_small():
    words = " ".join(f"finding{number}" for number in range(40))
    graph = ReportGraph(words, tuple(Entity(word, "OBS-DP", i, i) for i, word in enumerate(words.split())))
    assert len(part(graph).html) < 30_000


@pytest.mark.parametrize("limit", [2, 50])
def test_pages_of_a_run_show_the_first_reports(tmp_path, limit):
    source = tmp_path / "r.jsonl"
    source.write_text("".join(json.dumps({"id": f"n{n}", "text": "No edema."}) + "\n" for n in range(7)))
    parse_reports(open_source(source), tmp_path / "g.jsonl", page=tmp_path / "p.html", page_limit=limit)
    html = (tmp_path / "p.html").read_text()
    assert re.findall("<h3>(.*)</h3>", html) == [f"n{n}" for n in range(min(limit, 7))]
    assert "r.jsonl" in html
