"""The long form of the parser's properties; a short form of each is in test_parser.py."""

import random
import resource
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_parser import KNOWN_WORDS, PARSER, checked

from igcl_lightning.graphs.identity import graph_key
from igcl_lightning.graphs.labels import labels_from_graph
from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.plain_text import plain_text
from igcl_lightning.reports.sections import choose_text

pytestmark = pytest.mark.soak


@settings(max_examples=20_000, deadline=None)
@given(st.text(max_size=400) | st.lists(st.sampled_from([*KNOWN_WORDS, "XXXX", "\n\n", "3.5", "-"])).map(" ".join))
def test_any_text_parses_into_a_graph_that_passes_the_checks(text):
    graph = PARSER.parse(text)

    assert graph == checked(graph)
    assert "".join(graph.words) == "".join(plain_text(text.encode("utf-8", "replace").decode()).split())


def test_memory_does_not_grow_with_the_number_of_reports():
    parser = SpacyReportParser()

    def peak(numbers):
        for number in numbers:
            parser.parse(f"Small effusion number{number} of study{number}. No edema at place{number}.")
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    filled = peak(range(200_000))
    assert peak(range(200_000, 500_000)) - filled < 40  # MiB


# fmt: off
UNITS = [
    ",", "(", "-", ".", "?", "!", ";", ":", "=", "|", "/", "\\", "*", "_", "#", "&", "<", "\t", "..", "--", "//", "**",
    "[]", "()", "<p", "</b>", "&nbsp;", "\\n", "1.", "1)", "a)", "(1)", "I.", "[1]", "[x]", "( )", "\u2610", "\u2022",
    "XXXX", "___", "edema", "no", "not", "3.5", "Findings:", "A:B ", "x.no", "Edema;", "edema-", "Edema:no",
    "edema or ", "no effusion, ", "Heart? Enlarged. ",
    "Effusion: right none left small ", "No mass:\n- edema\n", "Edema | no | ",
    "?a", "a:", "iVBORw0KGgo", "No evidence of:\n- mass\n",
    "Edema [x] none [ ] mild ", "no edema / small mass ", "tube No. 1 ", "heart is large and the lungs are clear ",
    "small left effusion and ", "1.5 x ", "likely ", "  Mass", "edema\n", "Edema\tNo\n", "*a* ",
]
# fmt: on
MOST_SECONDS, MOST_MEMORY = 10, 300  # for 1 MB; MiB


def work(text):
    """Return the seconds of the process from the sections of a text to its labels, and the growth of memory in MiB."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    graph = PARSER.parse(choose_text(text))
    graph_key(graph)
    labels_from_graph(graph)
    return time.process_time() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@pytest.mark.parametrize("unit", UNITS)
def test_a_megabyte_of_a_repeated_unit(unit):
    seconds, memory = work((unit * (1_000_000 // len(unit) + 1))[:1_000_000])

    assert seconds < MOST_SECONDS
    assert memory < MOST_MEMORY


@pytest.mark.parametrize("seed", range(20))
def test_a_megabyte_of_mixed_units(seed):
    draw = random.Random(seed)
    units = draw.choices([*UNITS, " ", "\n", *KNOWN_WORDS], k=draw.randint(2, 40))
    text = "".join(draw.choices(units, k=500_000))[:1_000_000]
    seconds, memory = work(text)

    assert seconds < MOST_SECONDS
    assert memory < MOST_MEMORY
