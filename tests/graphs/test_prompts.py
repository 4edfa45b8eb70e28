from collections import Counter

import pytest

from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.labels import label_table, labels_from_graph
from igcl_lightning.graphs.parser import default_parser
from igcl_lightning.graphs.prompts import PromptLine, joined_prompts, make_prompts, read_prompts
from igcl_lightning.graphs.schema import Relation

SHIPPED = make_prompts(read_prompts())


def test_the_shipped_prompts_are_the_graphs_that_the_parser_makes_of_their_texts():
    """The encoder has seen graphs of the parser, so a prompt made by rule must look like one."""
    for prompt in SHIPPED:
        for graph in (prompt.present, prompt.absent):
            parsed = default_parser().parse(graph.text)
            assert (graph.entities, set(graph.relations)) == (parsed.entities, set(parsed.relations)), graph.text


def test_a_shipped_prompt_states_its_label_and_its_denial_does_not():
    for label, present, absent in SHIPPED:
        stated = labels_from_graph(present)
        # Radiologists call a consolidation an airspace opacity, which CheXpert's labels keep apart.
        assert stated["Lung Opacity" if present.text.startswith("airspace opacity") else label] == 1, present.text
        assert labels_from_graph(absent)[label] != 1, absent.text


def test_each_label_of_chexpert_has_at_least_twelve_different_statements():
    distinct = {(prompt.label, prompt.present.text) for prompt in SHIPPED}
    assert len(distinct) == len(SHIPPED)
    count = Counter(label for label, _ in distinct)
    assert count.keys() == {label.name for label in label_table()["chexpert"]}
    assert min(count.values()) >= 12


def test_a_line_is_a_statement_for_each_choice_of_words_with_places_modifiers_and_certainty():
    line = PromptLine("Edema", "[?{|very mild}] (left upper_lobe) [?edema] in [?chf] of the (lung)")
    plain, mild = make_prompts([line])
    assert mild.present.text == "very mild left upper lobe edema in chf of the lung ."
    assert [(entity.tokens, entity.label, entity.hedge) for entity in mild.present.entities] == [
        ("very", "OBS-U", "possible"),
        ("mild", "OBS-U", "possible"),
        ("left", "ANAT-DP", ""),
        ("upper lobe", "ANAT-DP", ""),
        ("edema", "OBS-U", "possible"),
        ("chf", "OBS-U", "possible"),
        ("lung", "ANAT-DP", ""),
    ]
    assert set(mild.present.relations) == {
        *(Relation(0, "modify", 1), Relation(2, "modify", 3), Relation(1, "modify", 5), Relation(4, "modify", 5)),
        *(Relation(5, "located_at", 3), Relation(5, "located_at", 6)),
    }
    assert plain.present.text == "left upper lobe edema in chf of the lung ."
    assert plain.absent == mild.absent
    assert plain.absent.text == "no left upper lobe edema in chf of the lung ."
    assert {entity.label for entity in plain.absent.entities} == {"ANAT-DP", "OBS-DA"}


def test_joined_prompts_state_a_label_several_times_beginning_with_each_statement():
    lines = [PromptLine("a", "[{w|x|y|z}]", "no [-{w|x|y|z}]"), PromptLine("b", "[v]")]
    joined = joined_prompts(make_prompts(lines), 2)
    assert [prompt.present.text for prompt in joined] == ["w . y .", "x . z .", "y . w .", "z . x .", "v ."]
    assert [prompt.absent.text for prompt in joined][:2] == ["no w . no y .", "no x . no z ."]
    assert joined_prompts(SHIPPED, 1) == SHIPPED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Edema [edema]", "line 2: not a label, a tab and a statement"),
        ("Edema\t[edema]\tno [-edema]\tmore", "line 2: not a label, a tab and a statement"),
        ("Edema\t[edema", "line 2: '.edema': a bracket that is not closed"),
        ("Edema\t{mild [edema]", "line 2: '.mild .edema.': a bracket that is not closed"),
        ("Edema\twet lungs", "line 2: 'wet lungs': no observation in square brackets"),
        ("Edema\t[{edema|fluid}]", "line 2: 'no': no observation in square brackets; give the denial a column"),
        ("# Edema", "no prompts in it"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, text, message):
    (tmp_path / "mine.tsv").write_text(f"# label\n{text}\n")
    with pytest.raises(IgclError, match=message):
        read_prompts(tmp_path / "mine.tsv")
    with pytest.raises(IgclError, match="none.tsv: no file of prompts that can be read"):
        read_prompts(tmp_path / "none.tsv")
