"""The long form of the parser's properties; a short form of each is in test_parser.py."""

import resource

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_parser import KNOWN_WORDS, PARSER, checked

from igcl_lightning.graphs.parser import SpacyReportParser
from igcl_lightning.graphs.plain_text import plain_text

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
