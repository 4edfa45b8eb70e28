import pytest

from igcl_lightning.graphs.plain_text import plain_text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("No edema.", "No edema."),
        ("Line one.\nLine two.", "Line one.\nLine two."),
        ("<p>No <b>edema</b> &amp; no mass</p>", "\n\nNo edema & no mass\n\n"),
        ("No edema<BR />\nmass", "No edema\n mass"),
        ("<b>Findings:</b>\nNo edema", "Findings:\nNo edema"),
        ("<td>Edema</td> <td class='x'>none</td>", "Edema: none"),
        ("&lt;p&gt;No edema&lt;/p&gt;", "\n\nNo edema\n\n"),
        ("nodule &lt;5 mm", "nodule <5 mm"),
        ("nodule < 5 mm and > 3 mm", "nodule < 5 mm and > 3 mm"),
        ("R&D; A&B", "R&D; A&B"),
        ("No&nbsp;edema&#44; no mass", "No edema, no mass"),
        ("No edema.\\nMass.\\r\\nNodule.", "No edema.\nMass.\nNodule."),
        ("**Edema**: *no*, __mass__ _yes_", "Edema: no, mass yes"),
        ("___ year old, [**Name**], 3 * 4, *Edema *Mass", "___ year old, [**Name**], 3 * 4, *Edema *Mass"),
        ("\ufeffNo ede\u00adma", "No edema"),
        ("No edema comma no mass period Hernia period", "No edema, no mass. Hernia."),
        ("Stable over the period\nSame period", "Stable over the period\nSame period"),
    ],
)
def test_markup_is_removed(text, plain):
    assert plain_text(text) == plain
    assert plain_text(plain) == plain
