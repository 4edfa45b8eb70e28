import pytest

from igcl_lightning.data.phantom import phantom_study
from igcl_lightning.graphs.parser import SpacyReportParser


@pytest.fixture(scope="module")
def parser():
    return SpacyReportParser()


def test_word_order_does_not_change_the_key(parser):
    one = parser.parse("Small left pleural effusion. No pneumothorax.")
    other = parser.parse("No pneumothorax. Small left pleural effusion.")
    assert one.text != other.text
    assert one.key() == other.key()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Left pleural effusion and right lung opacity.", "Right pleural effusion and left lung opacity."),
        # The same words and the same pairs of words: only a modifier's modifier, so to speak, tells them apart.
        (
            "Opacity in the right upper lobe. Nodule in the left lower lobe.",
            "Opacity in the left lower lobe. Nodule in the right upper lobe.",
        ),
        (
            "Small left pleural effusion. Large right pleural effusion.",
            "Large left pleural effusion. Small right pleural effusion.",
        ),
    ],
)
def test_the_same_words_at_other_places_have_another_key_and_other_facts(parser, one, other):
    first, second = parser.parse(one), parser.parse(other)
    assert sorted(first.text.lower().split()) == sorted(second.text.lower().split())
    assert first.key() != second.key()
    assert set(first.facts()) != set(second.facts())


def test_hard_negatives_have_different_keys():
    pairs = [
        [phantom_study(2 * pair + twin, size=64, variant="hard_negatives") for twin in (0, 1)] for pair in range(60)
    ]
    keys = [(one.graph.key(), other.graph.key()) for one, other in pairs if one.graph.entities and other.graph.entities]
    assert len(keys) > 50
    assert all(one != other for one, other in keys)
