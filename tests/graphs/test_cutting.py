import textwrap
import tracemalloc

import pytest

from igcl_lightning.graphs.cutting import LONGEST_STATEMENT, LONGEST_WORD
from igcl_lightning.graphs.parser import SpacyReportParser

PARSER = SpacyReportParser()
SIGNS = {"OBS-DP": "+", "OBS-U": "?", "OBS-DA": "-"}


def statements(text):
    return [part for sentence in PARSER._cut(text) for part in PARSER._cut.statements(sentence) if part.strip()]


def said(text):
    """Return the nouns of the observations in a text, each with its sign."""
    nouns = (
        "effusion",
        "edema",
        "enlarged",
        "pneumothorax",
        "nodule",
        "fracture",
        "clear",
        "normal",
        "mass",
        "pacemaker",
    )
    entities = [entity for entity in PARSER.parse(text).entities if entity.name in nouns]
    return " ".join(f"{entity.name}{SIGNS[entity.label]}" for entity in entities)


@pytest.mark.parametrize(
    "text",
    [
        "No effusion\nThe heart is enlarged",
        "no effusion\nheart enlarged",
        "NO EFFUSION\nHEART ENLARGED",
        "No effusion\n\nheart enlarged",
        "No effusion The heart is enlarged",
        "no effusion heart enlarged",
        "no effusion the heart is enlarged",
        "No effusion - heart enlarged",
        "No effusion | heart enlarged",
        "No effusion // heart enlarged",
        "No effusion \u2022 heart enlarged",
        "No effusion \u00b7 heart enlarged",
        "No effusion * heart enlarged",
        "- No effusion\n- heart enlarged",
        "-No effusion\n-Heart enlarged",
        "/No effusion /Heart enlarged",
        "\u2022No effusion\n\u2022Heart enlarged",
        "1. No effusion\n2. Heart enlarged",
        "1.No effusion\n2.Heart enlarged",
        "1) No effusion 2) heart enlarged",
        "(1) No effusion (2) Heart enlarged",
        "1)No effusion\n2)Heart enlarged",
        "#1 No effusion\n#2 Heart enlarged",
        "a) No effusion\nb) heart enlarged",
        "I. No effusion\nII. Heart enlarged",
        "No effusion<br>Heart enlarged",
        "No effusion<br/>heart enlarged",
        "<p>No effusion</p><p>heart enlarged</p>",
        "<ul><li>No effusion</li>\n<li>Heart enlarged</li></ul>",
        "No effusion&nbsp;&bull;&nbsp;heart enlarged",
        "No effusion\\nHeart enlarged",
        "Pleura: no effusion\nHeart: enlarged",
        "Pleura: no effusion Heart: enlarged",
        "Pleura:\nno effusion\nHeart:\nenlarged",
        "Effusion: none\nHeart: enlarged",
        "Effusion: N\nHeart: enlarged",
        "Effusion: no. Heart: enlarged.",
        "Effusion: No\nHeart: enlarged",
        "Effusion: no, heart: enlarged",
        "Effusion: negative; heart: enlarged",
        "Effusion: none seen. Heart: enlarged.",
        "Effusion=none, heart enlarged",
        "Effusion - none. Heart - enlarged.",
        "Effusion .... none\nHeart enlarged",
        "Effusion? No. Heart enlarged? Yes.",
        "Effusion (-), heart enlarged (+)",
        "Effusion(-), heart enlarged(+)",
        "Effusion: -\nHeart: enlarged",
        "Effusion:\nNone\nHeart:\nEnlarged",
        "Effusion\tnone\nHeart\tenlarged",
        "[ ] Effusion\n[x] Heart enlarged",
        "[ ] Effusion [x] Heart enlarged",
        "\u2610 Effusion\n\u2611 Heart enlarged",
        "( ) Effusion\n(x) Heart enlarged",
        "Effusion [ ]\nHeart enlarged [x]",
        "<tr><td>Effusion</td><td>none</td></tr><tr><td>Heart</td><td>enlarged</td></tr>",
        "Tip at T8.No effusion.Heart enlarged.",
        "Film of 9:15.No effusion.Heart enlarged.",
        "Compared with ___.No effusion.Heart enlarged.",
        "No effusion in the RLL.Heart enlarged.",
        "no effusion.heart enlarged.",
        "NO EFFUSION.HEART ENLARGED.",
        "No effusion..Heart enlarged..",
        "1..No effusion.. 2..Heart enlarged..",
        "1. No effusion.2. Heart enlarged.",
        "1.-No effusion.\n2.-Heart enlarged.",
        "1:No effusion 2:Heart enlarged",
        "1,No effusion\n2,Heart enlarged",
        "1-No effusion 2-Heart enlarged",
        "1-) No effusion 2-) Heart enlarged",
        "[1]No effusion [2]Heart enlarged",
        "a)No effusion b)heart enlarged",
        "I.No effusion.II.Heart enlarged.",
        "\u2460No effusion \u2461Heart enlarged",
        "(No effusion.)Heart enlarged.",
        ".No effusion\n.Heart enlarged",
        "-No effusion.-Heart enlarged.",
        "*No effusion *Heart enlarged",
        "No effusion;Heart enlarged",
        "No effusion / right heart enlarged",
        "No effusion   Heart enlarged",
        "Effusion No\nHeart enlarged",
        "Effusion N\nHeart enlarged",
        "Effusion: N.\nHeart: enlarged.",
        "Effusion - no\nHeart - enlarged",
        "Effusion\tNo\nHeart\tenlarged",
        "Effusion      No\nHeart         enlarged",
        "| Effusion | No |\n| Heart | enlarged |",
        "Effusion;No\nHeart;enlarged",
        "Effusion,No\nHeart enlarged",
        "Effusion\nNo\nHeart enlarged\nYes",
        "Effusion: 0 mm. Heart: enlarged",
        'Effusion: "no"\nHeart: enlarged',
        "**Effusion:** *no*\n**Heart:** __enlarged__",
        "Effusion:no;Heart:enlarged",
        "Effusion:NO Heart:ENLARGED",
        "Effusion (either side): no; heart: enlarged",
        "Effusion: right none, left none\nHeart: enlarged",
        "Effusion: Right [none] Left [none]\nHeart: [enlarged]",
        "Effusion: [x] none [ ] small\nHeart: [ ] normal [x] enlarged",
        "Effusion [x] none [ ] small\nHeart [ ] normal [x] enlarged",
        "Effusion? [ ] yes [x] no\nHeart? [ ] normal [x] enlarged",
        "Effusion: no [x] yes [ ]\nHeart enlarged [x]",
        "Effusion \u2610 Heart enlarged \u2611",
        "(-) Effusion (+) Heart enlarged",
        "Effusion? None seen. Heart? Enlarged.",
        "Effusion -ve, heart enlarged +ve",
        "Effusion/thickening: no effusion. Heart: enlarged.",
        "Absent: effusion\nHeart enlarged",
    ],
)
def test_a_denial_ends_with_its_statement(text):
    assert said(text) == "effusion- enlarged+"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Effusion: yes, left\nEdema: no", "effusion+ edema-"),
        ("Effusion: ?\nEdema: +", "effusion? edema+"),
        ("Effusion is negative, edema is positive.", "effusion- edema+"),
        ("PLEURA: No evidence of effusion", "effusion-"),
        ("Effusion:\nEdema: none", "edema-"),
        ("Pneumothorax: [ ]\nEdema [x]", "pneumothorax- edema+"),
        ("No consolidation large effusion or edema", "effusion- edema-"),
        ("No effusion - or edema", "effusion- edema-"),
        ("lungs clear heart normal no effusion mild edema", "clear+ normal+ effusion- edema+"),
        ("No acute fracture left lung nodule", "fracture- nodule-"),
        ("Edema: right small, left none", "edema+"),
        ("Effusion? Small, left. Edema? Fever.", "effusion+ edema?"),
        ("No effusion / edema / nodule", "effusion- edema- nodule-"),
        ("No effusion / overt edema", "effusion- edema-"),
        ("Edema: no evidence. Effusion: none identified", "edema- effusion-"),
        ("Effusion: R- L+\nEdema: R-, L-", "effusion+ edema-"),
        ("Heart is enlarged period No effusion comma edema period Mass full stop", "enlarged+ effusion- edema- mass+"),
        ("Effusion over the interval period\nedema", "effusion+ edema+"),
        ("no effusion right upper anterior lateral chest wall is normal", "effusion- normal+"),
        ("effusion;yes\nedema;no\nmass;yes", "effusion+ edema- mass+"),
        ("effusion   no\nedema   yes\nmass N", "effusion- edema+ mass-"),
        ("no edema period left effusion period new line mass period", "edema- effusion+ mass+"),
        ("over the period of a week no edema mass period", "edema- mass-"),
        ("no mass left pacemaker in place", "mass- pacemaker+"),
        ("no mass or left pacemaker", "mass- pacemaker-"),
        ("Edema cannot be ruled in or out. In another patient mass was seen.", "edema?"),
    ],
)
def test_answers(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Not seen: effusion; edema. Nodule.", "effusion- edema- nodule+"),
        ("The following are absent: effusion, edema and nodule", "effusion- edema- nodule-"),
        ("None of the following is present: effusion, edema", "effusion- edema-"),
        ("Pertinent negatives: effusion, edema\nPertinent positives: nodule", "effusion- edema- nodule+"),
        ("No evidence of: 1) effusion 2) edema", "effusion- edema-"),
        ("No evidence of: - effusion - edema", "effusion- edema-"),
        ("No evidence of:\n- effusion\n- edema\nNodule on the left", "effusion- edema- nodule+"),
        ("No evidence of:\n\n1. effusion.\n2. edema.\n\n3. Nodule.", "effusion- edema- nodule+"),
        ("Negative for:\neffusion\nedema\n\nnodule", "effusion- edema- nodule+"),
        (
            "The lungs show no\n\u2022 effusion\n\u2022 nodule\n\u2022 The heart is enlarged",
            "effusion- nodule- enlarged+",
        ),
        ("Not present:\n- effusion\nPresent:\n- nodule", "effusion- nodule+"),
        ("No change in:\n- effusion\n- nodule", "effusion+ nodule+"),
        ("No enlargement of the mass:\n- nodule", "nodule+"),
        ("No evidence of\na. effusion\nb. edema\nNodule on the left", "effusion- edema- nodule+"),
        ("Absent\n- effusion\n- edema\n\nNodule", "effusion- edema- nodule+"),
        ("Negative for:\neffusion\nright and left upper and middle and lower lung nodule", "effusion- nodule+"),
        ("No evidence of:\n- effusion\n\n- edema", "effusion- edema+"),
    ],
)
def test_a_heading_denies_its_list(text, expected):
    assert said(text) == expected


@pytest.mark.parametrize("width", range(15, 80, 3))
def test_wrapped_prose_is_read_as_one_text(width):
    text = (
        "There is no pleural effusion, pulmonary edema or pneumothorax. The small nodule in the right upper lobe is "
        "unchanged since the study of Dr. Example. A right Port-A-Cath ends in the superior vena cava. No fracture of "
        "the visualized ribs or of the left clavicle is seen. The heart is normal in size."
    )
    assert PARSER.parse(textwrap.fill(text, width)) == PARSER.parse(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Nodule of 1.5 cm. Level T8 - T9.", ["Nodule of 1.5 cm.", "Level T8 - T9."]),
        ("Cardiac And Mediastinal Contours Are Normal", ["Cardiac And Mediastinal Contours Are Normal"]),
        ("Tip of the Swan-Ganz catheter", ["Tip of the Swan-Ganz catheter"]),
        ("small left\nEffusion", ["small left Effusion"]),
        ("edema on the left\nHeart is normal", ["edema on the left", "Heart is normal"]),
        ("1. Edema.\n2. Mass", ["1.", "Edema.", "2.", "Mass"]),
        ("Hernia, grade 2) no edema", ["Hernia, grade 2) no edema"]),
        ("Is there edema? No.", ["Is there edema? No."]),
        ("Mass | Normal XXXX", ["Mass", "|", "Normal XXXX"]),
        ("No edema.\nStable severe L1\nXXXX deformity", ["No edema.", "Stable severe L1 XXXX deformity"]),
        ("Seen by A.Smith and B.Jones at 9.30 a.m.today", ["Seen by A.Smith and B.Jones at 9.30 a.m.today"]),
        ("Ratio of 16.2/24.7. Tube No. 2 is out.", ["Ratio of 16.2/24.7.", "Tube No. 2 is out."]),
        ("1. Level 2, T3 and a 2-cm mass", ["1.", "Level 2, T3 and a 2-cm mass"]),
        ("Hernia? - Yes\nEdema no, mass yes", ["Hernia? - Yes", "Edema no, mass yes"]),
        ("No edema /NG tube in place", ["No edema", "/", "NG tube in place"]),
        ("No edema ->Small nodule", ["No edema", "->", "Small nodule"]),
        ("Hernia? - None seen. Heart? - Large", ["Hernia? - None seen.", "Heart? - Large"]),
        ("No edema\\.br\\Mass", ["No edema", "Mass"]),
        ("No edema,\nNo mass,\nWide mediastinum,", ["No edema,", "No mass,", "Wide mediastinum,"]),
        ("Edema - none\nHernia - large", ["Edema - none", "Hernia - large"]),
        ("Edema is seen - wide hila - mass", ["Edema is seen", "-", "wide hila", "-", "mass"]),
        ("2/L5 and 3/S1 fractures", ["2/L5 and 3/S1 fractures"]),
        (
            "The findings were discussed at length with the attending physician\nSmith on the phone.",
            ["The findings were discussed at length with the attending physician Smith on the phone."],
        ),
        (
            "Patient with moderately enlarged heart and a new small effusion\nPICC in place\nin the atrium\nno edema",
            [
                "Patient with moderately enlarged heart and a new small effusion PICC in place in the atrium",
                "no edema",
            ],
        ),
        (
            "there is a moderately enlarged heart and a new and small effusion\nblunting the left angle\nno edema",
            ["there is a moderately enlarged heart and a new and small effusion blunting the left angle", "no edema"],
        ),
    ],
)
def test_statements(text, parts):
    assert statements(text) == parts


def test_long_words_and_statements_are_cut():
    parts = statements("x" * 250 + " small edema" * 200)

    assert [len(part.split()[0]) for part in parts[:1]] == [LONGEST_WORD]
    assert max(map(len, parts)) <= LONGEST_STATEMENT
    assert "".join("".join(parts).split()) == "x" * 250 + "smalledema" * 200


@pytest.mark.parametrize(
    "unit", [",", "(", "-", "\t", "//", "(-) ", "1.5 x ", "a", "<p", "no effusion, ", "likely ", "?a"]
)
def test_time_is_linear_in_unspaced_and_repetitive_texts(unit):
    text = unit * (60_000 // len(unit))  # minutes if time were quadratic

    assert "".join(PARSER.parse(text).words) == "".join(text.split())


def test_memory_does_not_grow_with_the_length_of_a_word_that_might_be_misspelt():
    word = "iVBORw0KGgo" * 2_000
    tracemalloc.start()
    assert PARSER.parse(f"{word}:\nNo edema.").entities[0].tokens == "edema"
    assert tracemalloc.get_traced_memory()[1] < 20e6  # 250 MB with each of its misspellings
    tracemalloc.stop()
