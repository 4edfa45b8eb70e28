"""The sentences of phantom reports, in the notation that `report` explains.

Slots: {mild} severity, {mildly} the same as an adverb, {small} size, {patchy} texture, {side}, {place} an anatomical
place and {at} its head noun.
"""

from __future__ import annotations

SLOTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "mild": (("mild", "minimal"), ("moderate",), ("severe", "marked")),
    "mildly": (("mildly", "minimally"), ("moderately",), ("severely", "markedly")),
    "small": (("small", "minimal", "tiny"), ("moderate",), ("large",)),
    "patchy": (("subtle", "hazy", "faint"), ("patchy", "focal"), ("dense", "confluent")),
    "linear": (("linear", "discoid", "mild"), ("moderate", "bandlike"), ("severe", "marked")),
}
"""Words for mild, moderate and severe."""

SENTENCES: dict[str, tuple[str, ...]] = {
    "Atelectasis/one": (
        "there is [{linear}:+>atelectasis] [{side}:A>basilar] [basilar:A] [atelectasis:+@basilar] .",
        "[{linear}:+>atelectasis] [atelectasis:+@base] is seen at the [{side}:A>base] [lung:A>base] [base:A] .",
        "[{side}:A>basilar] [basilar:A] [atelectasis:+@basilar] is noted .",
        "[volume:+>loss] [loss:+@lobe~atelectasis] in the [{side}:A>lobe] [lower:A>lobe] [lobe:A] is consistent with "
        "[{linear}:+>atelectasis] [atelectasis:+] .",
    ),
    "Atelectasis/both": (
        "there is [{linear}:+>atelectasis] [bibasilar:A] [atelectasis:+@bibasilar] .",
        "[bibasilar:A] [atelectasis:+@bibasilar] is present .",
        "[{linear}:+>atelectasis] [atelectasis:+@bases] is seen at the [lung:A>bases] [bases:A] .",
    ),
    "Cardiomegaly": (
        "the [heart:A] is [{mildly}:+>enlarged] [enlarged:+@heart] .",
        "the [heart:A] is [enlarged:+@heart] .",
        "the [cardiac:A>silhouette] [silhouette:A] is [{mildly}:+>enlarged] [enlarged:+@silhouette] .",
        "the [heart:A] [size:A>heart] is [{mildly}:+>enlarged] [enlarged:+@heart] .",
        "there is [{mild}:+>cardiomegaly] [cardiomegaly:+] .",
        "[{mild}:+>enlargement] [enlargement:+@silhouette] of the [cardiac:A>silhouette] [silhouette:A] is noted .",
    ),
    "Consolidation": (
        "there is a [{patchy}:+>opacity] [opacity:+@{at}] in the {place} .",
        "[{patchy}:+>consolidation] [consolidation:+@{at}] is seen in the {place} .",
        "there is [{patchy}:+>consolidation] [consolidation:+@{at}] in the {place} .",
        "{place} [consolidation:+@{at}] is present .",
        "[{patchy}:+>opacity] [opacity:+@{at}~pneumonia] in the {place} is concerning for [pneumonia:?] .",
        "an [opacity:+@{at}~consolidation] in the {place} is consistent with [consolidation:+] .",
    ),
    "Edema": (
        "there is [{mild}:+>edema] [pulmonary:A] [edema:+@pulmonary] .",
        "[{mild}:+>edema] [interstitial:A] [edema:+@interstitial] is present .",
        "[bilateral:A>perihilar] [perihilar:A] [opacities:+@perihilar~edema] are consistent with [{mild}:+>edema] "
        "[pulmonary:A] [edema:+@pulmonary] .",
        "there is [pulmonary:A>vascular] [vascular:A] [congestion:+@vascular] with [{mild}:+>edema] [interstitial:A] "
        "[edema:+@interstitial] .",
        "[pulmonary:A] [edema:+@pulmonary] is noted .",
    ),
    "Pleural Effusion/one": (
        "there is a [{small}:+>effusion] [{side}:A>pleural] [pleural:A] [effusion:+@pleural] .",
        "a [{small}:+>effusion] [{side}:A>pleural] [pleural:A] [effusion:+@pleural] is seen .",
        "there is a [{small}:+>fluid] amount of [{side}:A>pleural] [pleural:A] [fluid:+@pleural] .",
        "there is a [{small}:+>effusion] [pleural:A] [effusion:+@pleural@{side}] on the [{side}:A] .",
        "[blunting:+@angle~effusion] of the [{side}:A>angle] [costophrenic:A>angle] [angle:A] is consistent with a "
        "[{small}:+>effusion] [pleural:A] [effusion:+@pleural] .",
        "[{side}:A>pleural] [pleural:A] [effusion:+@pleural] is noted .",
    ),
    "Pleural Effusion/both": (
        "there are [{small}:+>effusions] [bilateral:A>pleural] [pleural:A] [effusions:+@pleural] .",
        "[{small}:+>effusions] [bilateral:A>pleural] [pleural:A] [effusions:+@pleural] are present .",
        "[bilateral:A>pleural] [pleural:A] [effusions:+@pleural] are noted .",
    ),
    "Pneumothorax": (
        "there is a [{small}:+>pneumothorax] [{side}:A] [pneumothorax:+@{side}] .",
        "a [{small}:+>pneumothorax] [{side}:A] [pneumothorax:+@{side}] is seen .",
        "there is a [{small}:+>pneumothorax] [{side}:A>apical] [apical:A] [pneumothorax:+@apical] .",
        "a [{side}:A>pleural] [pleural:A] [line:+@pleural~pneumothorax] is consistent with a "
        "[{small}:+>pneumothorax] [pneumothorax:+] .",
        "there is a [{small}:+>pneumothorax] [pneumothorax:+@{side}] on the [{side}:A] .",
    ),
}
"""Sentences of the findings section; "/one" and "/both" where one and two sides are said differently."""

PHRASES: dict[str, tuple[str, ...]] = {
    "Atelectasis/one": (
        "[{linear}:+>atelectasis] [{side}:A>basilar] [basilar:A] [atelectasis:+@basilar]",
        "[{side}:A>basilar] [basilar:A] [atelectasis:+@basilar]",
        "[atelectasis:+@lobe] in the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
    ),
    "Atelectasis/both": (
        "[{linear}:+>atelectasis] [bibasilar:A] [atelectasis:+@bibasilar]",
        "[bibasilar:A] [atelectasis:+@bibasilar]",
    ),
    "Cardiomegaly": (
        "[{mild}:+>cardiomegaly] [cardiomegaly:+]",
        "[cardiomegaly:+]",
        "[enlarged:+@silhouette] [cardiac:A>silhouette] [silhouette:A]",
        "[{mildly}:+>enlarged] [enlarged:+@heart] [heart:A]",
    ),
    "Consolidation": (
        "{place} [consolidation:+@{at}]",
        "{place} [opacity:+@{at}]",
        "[{patchy}:+>consolidation] [consolidation:+@{at}] in the {place}",
    ),
    "Edema": (
        "[{mild}:+>edema] [pulmonary:A] [edema:+@pulmonary]",
        "[pulmonary:A] [edema:+@pulmonary]",
        "[{mild}:+>edema] [interstitial:A] [edema:+@interstitial]",
    ),
    "Pleural Effusion/one": (
        "[{small}:+>effusion] [{side}:A>pleural] [pleural:A] [effusion:+@pleural]",
        "[{side}:A>pleural] [pleural:A] [effusion:+@pleural]",
    ),
    "Pleural Effusion/both": (
        "[{small}:+>effusions] [bilateral:A>pleural] [pleural:A] [effusions:+@pleural]",
        "[bilateral:A>pleural] [pleural:A] [effusions:+@pleural]",
    ),
    "Pneumothorax": (
        "[{small}:+>pneumothorax] [{side}:A] [pneumothorax:+@{side}]",
        "[{side}:A] [pneumothorax:+@{side}]",
        "[{small}:+>pneumothorax] [{side}:A>apical] [apical:A] [pneumothorax:+@apical]",
    ),
}
"""Phrases of the impression; two may be joined by "and"."""

DENIED: dict[str, tuple[str, ...]] = {
    "Atelectasis": ("[atelectasis:-]",),
    "Cardiomegaly": ("[cardiomegaly:-]",),
    "Consolidation": (
        "[focal:->consolidation] [consolidation:-]",
        "[consolidation:-]",
        "[focal:->opacity] [opacity:-]",
    ),
    "Edema": (
        "[pulmonary:A] [edema:-@pulmonary]",
        "[interstitial:A] [edema:-@interstitial]",
        "[vascular:A] [congestion:-@vascular]",
    ),
    "Pleural Effusion": (
        "[pleural:A] [effusion:-@pleural]",
        "[pleural:A] [fluid:-@pleural]",
    ),
    "Pneumothorax": ("[pneumothorax:-]",),
}
"""What can stand behind a negation."""

DENIALS: tuple[str, ...] = ("no {denied} .", "there is no {denied} .", "no evidence of {denied} .")

NORMAL_HEART: tuple[str, ...] = (
    "the [heart:A] [size:A>heart] is [normal:+@heart] .",
    "[heart:A] [size:A>heart] is [normal:+@heart] .",
    "the [heart:A] is [normal:+@heart] in size .",
    "the [heart:A] is not [enlarged:-@heart] .",
    "the [cardiac:A>silhouette] [silhouette:A] is [normal:+@silhouette] .",
    "the [cardiomediastinal:A>silhouette] [silhouette:A] is [unremarkable:+@silhouette] .",
)

CLEAR_LUNGS: tuple[str, ...] = (
    "the [lungs:A] are [clear:+@lungs] .",
    "[lungs:A] are [clear:+@lungs] .",
    "[clear:+@lungs] [lungs:A] .",
)

SHARP_ANGLES: tuple[str, ...] = ("the [costophrenic:A>angles] [angles:A] are [sharp:+@angles] .",)

BYSTANDERS: tuple[str, ...] = (
    "the [mediastinal:A>contours] [contours:A] are [normal:+@contours] .",
    "the [osseous:A>structures] [structures:A] are [intact:+@structures] .",
    "the [bony:A>thorax] [thorax:A] is [intact:+@thorax] .",
)
"""Sentences about what no finding touches."""

RAISED_DIAPHRAGM: str = "the [{side}:A>hemidiaphragm] [hemidiaphragm:A] is [elevated:+@hemidiaphragm] ."
"""Said of a severe one-sided atelectasis."""

NORMAL_IMPRESSIONS: tuple[str, ...] = (
    "no [acute:->process] [cardiopulmonary:A] [process:-@cardiopulmonary] .",
    "no [acute:->abnormality] [cardiopulmonary:A] [abnormality:-@cardiopulmonary] .",
    "there is no evidence of [acute:->disease] [cardiopulmonary:A] [disease:-@cardiopulmonary] .",
    "[normal:+@chest] [chest:A] radiograph .",
)
