from collections import Counter

import pytest

from igcl_lightning.data.sources import covidx, nih_cxr14, openi, rsna, siim, vindr
from igcl_lightning.errors import IgclError
from igcl_lightning.graphs.labels import label_table, labels_from_graph
from igcl_lightning.graphs.parser import default_parser
from igcl_lightning.graphs.prompts import PromptLine, joined_prompts, make_prompts, read_prompts
from igcl_lightning.graphs.schema import Relation

SHIPPED = make_prompts(read_prompts())
SCHEMES = {scheme: [label.name for label in labels] for scheme, labels in label_table().items()}


def test_the_shipped_prompts_are_the_graphs_that_the_parser_makes_of_their_texts():
    """The encoder has seen graphs of the parser, so a prompt made by rule must look like one."""
    for prompt in SHIPPED:
        for graph in (prompt.present, prompt.absent):
            parsed = default_parser().parse(graph.text)
            assert (graph.entities, set(graph.relations)) == (parsed.entities, set(parsed.relations)), graph.text


def prompts_of(label):
    return make_prompts(line for line in read_prompts() if line.is_of(label))


OTHERWISE = {
    "Consolidation": "airspace opacity",  # an opacity by the rule of labels
    "Cardiomegaly": "silhouette",  # which CheXpert's rule takes for the heart
    "Pneumonia": "infection",  # likewise
    "Hernia": "hiatal",  # most hernias on chest radiographs, though the rule of labels leaves them out
}
"""What radiologists say of a label in words that a rule of `labels_from_graph` keeps apart."""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_shipped_prompt_states_its_label_and_its_denial_does_not(scheme):
    for label in SCHEMES[scheme]:
        for _, present, absent in prompts_of(label):
            stated = labels_from_graph(present, scheme)[label] == 1
            assert stated or OTHERWISE.get(label, "?") in present.text, present.text
            assert labels_from_graph(absent, scheme)[label] != 1, absent.text


@pytest.mark.parametrize(("scheme", "least"), [("chexpert", 12), ("nih", 8)])
def test_each_label_of_a_scheme_has_several_different_statements(scheme, least):
    for label in SCHEMES[scheme]:
        texts = Counter(prompt.present.text for prompt in prompts_of(label))
        assert len(texts) >= least, label
        assert max(texts.values()) == 1, label


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


def test_labels_of_the_readers_have_prompts_however_they_are_spelt():
    readers = [*nih_cxr14.LABELS, *openi.LABELS, rsna.LABEL, siim.LABEL, *covidx.LABELS, *vindr.KAGGLE_LABELS]
    padchest = [
        "normal",
        "pleural effusion",
        "copd signs",
        "aortic elongation",
        "scoliosis",
        "costophrenic angle blunting",
    ]
    assert [label for label in (*readers, *padchest) if not prompts_of(label)] == ["Other lesion"]
    assert not prompts_of("Effusio")


def test_other_names_of_a_label_follow_it():
    line = PromptLine("Lung Lesion | Nodule|nodule/mass", "[nodule]")
    assert all(map(line.is_of, ("lung_lesion", "NODULE", "Nodule/Mass")))
    assert not any(map(line.is_of, ("Lung", "Mass")))
    (prompt,) = make_prompts([line])
    assert (line.name, prompt.label) == ("Lung Lesion", "Lung Lesion")
