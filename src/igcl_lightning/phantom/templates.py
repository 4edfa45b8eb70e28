"""The sentences of phantom reports in words that the report parser knows: slots in `phrasebook`, marks in `markup`.

A phrase about a finding of one side names the side once, and its zone once if it has one: two findings that change
places then make a report of the same words.
"""

from __future__ import annotations

from igcl_lightning.phantom.phrasebook import Phrasebook, Phrases

_ATELECTASIS: Phrases = (
    "[volume:+>loss] [loss:+@lobe~atelectasis] in the [{side}:A>lobe] [lower:A>lobe] [lobe:A] {suggests} "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
    "[streaky:+>opacities] [opacities:+@base~atelectasis] at the [{side}:A>base] [lung:A>base] [base:A] {suggest} "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
)

_NODULE: Phrases = (
    "a [rounded:+>density] [density:+@{at}~nodule] in the {place} {suggests} a [{tiny}:*>nodule] [nodule:*] .",
    "a [rounded:+>opacity] [opacity:+@{at}~nodule] in the {place} {suggests} a [pulmonary:A] [nodule:*@pulmonary] .",
)

NOUNS: dict[str, Phrases] = {
    "Atelectasis/one": (
        "[{linear}:*>atelectasis] [{side}:A>basilar] [basilar:A] [atelectasis:*@basilar]",
        "[{side}:A>basilar] [basilar:A] [atelectasis:*@basilar]",
        "[{linear}:*>atelectasis] [atelectasis:*@base] at the [{side}:A>base] [lung:A>base] [base:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@lobe] in the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
        "[{side}:A>lobe] [lower:A>lobe] [lobe:A] [atelectasis:*@lobe]",
        "[{linear}:*>atelectasis] [atelectasis:*@base] of the [{side}:A>base] [base:A]",
        "[partial:*>collapse] [collapse:*@lobe] of the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
    ),
    "Atelectasis/both": (
        "[{linear}:*>atelectasis] [bibasilar:A] [atelectasis:*@bibasilar]",
        "[bibasilar:A] [atelectasis:*@bibasilar]",
        "[{linear}:*>atelectasis] [atelectasis:*@bases] at [both:A>bases] [lung:A>bases] [bases:A]",
        "[{linear}:*>atelectasis] [bilateral:A>lobe] [lower:A>lobe] [lobe:A] [atelectasis:*@lobe]",
    ),
    "Cardiomegaly": (
        "[{mild}:*>cardiomegaly] [cardiomegaly:*]",
        "[cardiomegaly:*]",
        "[{mild}:*>enlargement] [enlargement:*@silhouette] of the [cardiac:A>silhouette] [silhouette:A]",
        "[{mild}:*>enlargement] [enlargement:*@heart] of the [heart:A]",
        "[{mild}:*>enlargement] [cardiac:A] [enlargement:*@cardiac]",
    ),
    "Consolidation": (
        "a [{patchy}:*>opacity] [opacity:*@{at}] in the {place}",
        "a [{patchy}:*>opacity] {place} [opacity:*@{at}]",
        "a {place} [opacity:*@{at}]",
        "[{patchy}:*>consolidation] [consolidation:*@{at}] in the {place}",
        "[{patchy}:*>consolidation] {place} [consolidation:*@{at}]",
        "{place} [consolidation:*@{at}]",
        "a [{patchy}:*>infiltrate] [infiltrate:*@{at}] in the {place}",
        "[{patchy}:*>opacification] [opacification:*@{at}] of the {place}",
        "a [{patchy}:*>opacity] [airspace:A] [opacity:*@airspace@{at}] in the {place}",
    ),
    "Edema": (
        "[{mild}:*>edema] [pulmonary:A] [edema:*@pulmonary]",
        "[{mild}:*>edema] [interstitial:A] [edema:*@interstitial]",
        "[{mild}:*>edema] [interstitial:A>pulmonary] [pulmonary:A] [edema:*@pulmonary]",
        "[{mild}:*>edema] [perihilar:A] [edema:*@perihilar]",
        "[pulmonary:A] [edema:*@pulmonary]",
    ),
    "Lung Lesion/nodule": (
        "a [{tiny}:*>nodule] [nodule:*@{at}] in the {place}",
        "a [{tiny}:*>nodule] {place} [nodule:*@{at}]",
        "a {place} [nodule:*@{at}]",
        "a [{tiny}:*>nodule] [pulmonary:A] [nodule:*@pulmonary@{at}] in the {place}",
        "a [{tiny}:*>opacity] [nodular:*>opacity] [opacity:*@{at}] in the {place}",
        "a [nodular:*>opacity] [opacity:*@{at}] projecting over the {place}",
    ),
    "Lung Lesion/mass": (
        "a [{tiny}:*>mass] [mass:*@{at}] in the {place}",
        "a [{tiny}:*>mass] {place} [mass:*@{at}]",
        "a {place} [mass:*@{at}]",
        "a [{tiny}:*>opacity] [masslike:*>opacity] [opacity:*@{at}] in the {place}",
    ),
    "Pleural Effusion/one": (
        "a [{small}:*>effusion] [{side}:A>pleural] [pleural:A] [effusion:*@pleural]",
        "a [{small}:*>fluid] amount of [{side}:A>pleural] [pleural:A] [fluid:*@pleural]",
        "a [{small}:*>effusion] [pleural:A] [effusion:*@pleural@{side}] on the [{side}:A]",
        "a [{side}:A>pleural] [pleural:A] [effusion:*@pleural]",
        "a [{small}:*>effusion] [{side}:A] sided [effusion:*@{side}]",
        "a [{small}:*>effusion] [{side}:A] [effusion:*@{side}]",
        "a [{small}:*>effusion] [layering:*>effusion] [{side}:A>pleural] [pleural:A] [effusion:*@pleural]",
    ),
    "Pleural Effusion/both": (
        "some [{small}:*>effusions] [bilateral:A>pleural] [pleural:A] [effusions:*@pleural]",
        "some [bilateral:A>pleural] [pleural:A] [effusions:*@pleural]",
        "some [{small}:*>effusions] [bilateral:A] [effusions:*@bilateral]",
    ),
    "Pneumothorax": (
        "a [{small}:*>pneumothorax] [{side}:A] [pneumothorax:*@{side}]",
        "a [{small}:*>pneumothorax] [{side}:A>apical] [apical:A] [pneumothorax:*@apical]",
        "a [{small}:*>pneumothorax] [pneumothorax:*@{side}] on the [{side}:A]",
        "a [{side}:A] [pneumothorax:*@{side}]",
        "a [{small}:*>pneumothorax] [pneumothorax:*@apex] at the [{side}:A>apex] [lung:A>apex] [apex:A]",
        "a [{small}:*>pneumothorax] [{side}:A] sided [pneumothorax:*@{side}]",
    ),
}

STATEMENTS: dict[str, Phrases] = {
    "Atelectasis/one": _ATELECTASIS,
    "Atelectasis/severe": (
        *_ATELECTASIS,
        "[elevation:+@hemidiaphragm~atelectasis] of the [{side}:A>hemidiaphragm] [hemidiaphragm:A] {suggests} "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
    ),
    "Atelectasis/both": (
        "[bibasilar:A] [opacities:+@bibasilar~atelectasis] {suggest} [{linear}:*>atelectasis] [atelectasis:*] .",
        "[streaky:+>opacities] [opacities:+@bases~atelectasis] at the [lung:A>bases] [bases:A] {suggest} "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
    ),
    "Cardiomegaly": (
        "the [heart:A] is {hedge}[{mildly}:*>enlarged] [enlarged:*@heart] .",
        "the [heart:A] is {hedge}[enlarged:*@heart] .",
        "the [cardiac:A>silhouette] [silhouette:A] is {hedge}[{mildly}:*>enlarged] [enlarged:*@silhouette] .",
        "the [cardiomediastinal:A>silhouette] [silhouette:A] is {hedge}[{mildly}:*>enlarged] [enlarged:*@silhouette] .",
        "[heart:A] [size:A>heart] is {hedge}[{mildly}:*>enlarged] [enlarged:*@heart] .",
        "the [heart:A] appears {hedge}[{mildly}:*>enlarged] [enlarged:*@heart] .",
    ),
    "Consolidation": (
        "a [{patchy}:+>opacity] [opacity:+@{at}~pneumonia] in the {place} {suggests} [pneumonia:*] .",
        "a {place} [opacity:+@{at}~consolidation] {suggests} [{patchy}:*>consolidation] [consolidation:*] .",
        "[{patchy}:+>opacification] [opacification:+@{at}~consolidation] of the {place} {suggests} [consolidation:*] .",
        "a [{patchy}:+>opacity] [opacity:+@{at}~pneumonia] in the {place} is concerning for [pneumonia:?] .",
    ),
    "Edema": (
        "[bilateral:A>perihilar] [perihilar:A] [opacities:+@perihilar~edema] {suggest} [{mild}:*>edema] [pulmonary:A] "
        "[edema:*@pulmonary] .",
        "there is [pulmonary:A>vascular] [vascular:A] [congestion:+@vascular] with {hedge}[{mild}:*>edema] "
        "[interstitial:A] [edema:*@interstitial] .",
        "[interstitial:A] [markings:+@interstitial~edema] {suggest} [{mild}:*>edema] [pulmonary:A] "
        "[edema:*@pulmonary] .",
        "[cephalization:+@vasculature~edema] of the [pulmonary:A>vasculature] [vasculature:A] {suggests} "
        "[{mild}:*>edema] [interstitial:A] [edema:*@interstitial] .",
    ),
    "Lung Lesion/nodule": _NODULE,
    "Lung Lesion/mass": (
        "a {place} [rounded:+>density] [density:+@{at}~mass] {suggests} a [{tiny}:*>mass] [mass:*] .",
        "a [{tiny}:+>opacity] [rounded:+>opacity] [opacity:+@{at}~mass] in the {place} {suggests} a [mass:*] .",
    ),
    "Pleural Effusion/one": (
        "[blunting:+@angle~effusion] of the [{side}:A>angle] [costophrenic:A>angle] [angle:A] {suggests} a "
        "[{small}:*>effusion] [pleural:A] [effusion:*@pleural] .",
        "[obscuration:+@hemidiaphragm~effusion] of the [{side}:A>hemidiaphragm] [hemidiaphragm:A] {suggests} a "
        "[{small}:*>effusion] [pleural:A] [effusion:*@pleural] .",
    ),
    "Pleural Effusion/both": (
        "[blunting:+@angles~effusions] of [both:A>angles] [costophrenic:A>angles] [angles:A] {suggests} "
        "[{small}:*>effusions] [pleural:A] [effusions:*@pleural] .",
    ),
    "Pneumothorax": (
        "a [{side}:A>pleural] [pleural:A] [line:+@pleural~pneumothorax] {suggests} a [{small}:*>pneumothorax] "
        "[pneumothorax:*] .",
        "[lucency:+@apex~pneumothorax] at the [{side}:A>apex] [apex:A] {suggests} a [{small}:*>pneumothorax] "
        "[pneumothorax:*] .",
    ),
}

FRAMES: dict[str, Phrases] = {
    "definite": (
        "there {is} {a}{core} .",
        "{a}{core} {is} seen .",
        "{a}{core} {is} present .",
        "{a}{core} {is} noted .",
        "{a}{core} {is} identified .",
        "{core} .",
    ),
    "probable": (
        "there {is} {a}{maybe}{core} .",
        "there {is} likely {a}{core} .",
        "{a}{core} {is} likely .",
        "{a}{core} {is} suspected .",
        "{maybe}{core} .",
    ),
    "possible": (
        "there {is} {a}{maybe}{core} .",
        "there may be {a}{core} .",
        "{a}{core} {is} possible .",
        "{a}{core} cannot be excluded .",
        "{maybe}{core} .",
    ),
}

CHANGES: dict[str, Phrases] = {
    "new": (
        "there {is} {a}{maybe}[new:*>{head}] {core} .",
        "{a}{maybe}[new:*>{head}] {core} {is} seen .",
        "{a}{maybe}{core} {is} [new:*>{head}] since the prior study .",
    ),
    "unchanged": (
        "{a}{maybe}{core} {is} [unchanged:*>{head}] .",
        "{a}{maybe}{core} {is} [stable:*>{head}] since the prior study .",
        "there {is} {a}{maybe}[stable:*>{head}] {core} .",
        "{maybe}[persistent:*>{head}] {core} .",
        "{a}{maybe}{core} {is} again seen , [unchanged:*>{head}] .",
    ),
    "increased": (
        "{a}{maybe}{core} {has} [increased:*>{head}] .",
        "{a}{maybe}{core} {has} [worsened:*>{head}] compared to the prior study .",
        "there {is} {a}{maybe}[worsening:*>{head}] {core} .",
    ),
    "decreased": (
        "{a}{maybe}{core} {has} [decreased:*>{head}] .",
        "{a}{maybe}{core} {has} [improved:*>{head}] compared to the prior study .",
        "there {is} {a}{maybe}[improving:*>{head}] {core} .",
    ),
    "resolved": (
        "the {core} {has} resolved .",
        "{a}{core} {is} no longer seen .",
        "interval resolution of the {core} .",
    ),
}

CHANGE_WORDS: dict[str, Phrases] = {
    "new": ("new",),
    "unchanged": ("unchanged", "stable"),
    "increased": ("increased", "worsening"),
    "decreased": ("decreased", "improving"),
}
"""Adjectives of the impression."""

MAYBE: dict[str, Phrases] = {
    "definite": ("",),
    "probable": ("probable ", "likely ", "suspected "),
    "possible": ("possible ", "questionable "),
}

HEDGE: dict[str, Phrases] = {
    "definite": ("",),
    "probable": ("probably ", "presumably "),
    "possible": ("possibly ", "perhaps "),
}

SUGGESTS: dict[str, Phrases] = {
    "definite": ("is consistent with", "is compatible with", "is in keeping with", "represents"),
    "probable": ("likely represents", "likely reflects", "probably represents"),
    "possible": ("may represent", "could represent", "is suspicious for"),
}

SUGGEST: dict[str, Phrases] = {
    "definite": ("are consistent with", "are compatible with", "are in keeping with", "represent"),
    "probable": ("likely represent", "likely reflect", "probably represent"),
    "possible": ("may represent", "could represent", "are suspicious for"),
}

DENIED: dict[str, Phrases] = {
    "Atelectasis": ("[atelectasis:-]", "[lobar:A] [collapse:-@lobar]"),
    "Cardiomegaly": ("[cardiomegaly:-]",),
    "Consolidation": (
        "[focal:->consolidation] [consolidation:-]",
        "[consolidation:-]",
        "[focal:->opacity] [airspace:A] [opacity:-@airspace]",
        "[infiltrate:-]",
        "[pneumonia:-]",
    ),
    "Edema": (
        "[pulmonary:A] [edema:-@pulmonary]",
        "[interstitial:A] [edema:-@interstitial]",
        "[overt:->edema] [pulmonary:A] [edema:-@pulmonary]",
        "[pulmonary:A>vascular] [vascular:A] [congestion:-@vascular]",
    ),
    "Lung Lesion": (
        "[nodule:-]",
        "[pulmonary:A] [nodule:-@pulmonary]",
        "[suspicious:->nodule] [pulmonary:A] [nodule:-@pulmonary]",
        "[mass:-]",
    ),
    "Pleural Effusion": (
        "[pleural:A] [effusion:-@pleural]",
        "[pleural:A] [fluid:-@pleural]",
        "[effusion:-]",
    ),
    "Pneumothorax": ("[pneumothorax:-]",),
}

DENIALS: Phrases = (
    "no {denied} .",
    "there is no {denied} .",
    "no evidence of {denied} .",
    "there is no evidence of {denied} .",
    "no {denied} is seen .",
    "no {denied} is identified .",
    "negative for {denied} .",
    "absence of {denied} .",
    "no definite {denied} .",
)

DENIALS_OF_ONE: Phrases = (
    "{denied} is not seen .",
    "{denied} is not identified .",
    "{denied} is absent .",
)

DEVICES: dict[str, Phrases] = {
    "endotracheal tube": (
        "the [endotracheal tube:+@carina] terminates above the [carina:A] .",
        "the [endotracheal tube:+] [tip:+>tube@carina] is above the [carina:A] .",
        "an [endotracheal tube:+] is in standard position .",
        "the [endotracheal tube:+] is seen with its [tip:+>tube@trachea] in the [mid:A>trachea] [trachea:A] .",
    ),
    "nasogastric tube": (
        "the [nasogastric tube:+@stomach] terminates in the [stomach:A] .",
        "the [enteric tube:+@diaphragm] extends below the [diaphragm:A] .",
        "the [nasogastric tube:+] [tip:+>tube@stomach] is in the [stomach:A] .",
        "an [orogastric tube:+] is in place with its [tip:+>tube@stomach] in the [stomach:A] .",
    ),
    "central venous catheter/side": (
        "a [{side}:A>jugular] [internal jugular:A] [central venous catheter:+@jugular@cava] terminates in the "
        "[superior vena cava:A] .",
        "a [{side}:A>jugular] [internal jugular:A] [catheter:+@jugular] is present with its [tip:+>catheter@cava] in "
        "the [superior vena cava:A] .",
        "a [{side}:A] sided [central venous line:+@{side}@junction] ends in the [cavoatrial junction:A] .",
    ),
    "central venous catheter": (
        "a [central venous catheter:+@cava] terminates in the [superior vena cava:A] .",
        "the [central line:+] [tip:+>line@junction] is at the [cavoatrial junction:A] .",
    ),
    "pacemaker/side": (
        "a [{side}:A>wall] [chest:A>wall] [wall:A] [pacemaker:+@wall] is in place .",
        "a [{side}:A] sided [pacemaker:+@{side}] is noted .",
        "a [{side}:A>wall] [chest:A>wall] [wall:A] [generator:+@wall] is seen with [leads:+@ventricle] in the "
        "[ventricle:A] .",
    ),
    "pacemaker": ("a [pacemaker:+] is in place .", "a [pacemaker:+] is noted with [leads:+] in expected position ."),
    "sternotomy wires": (
        "median [sternotomy wires:+] are [intact:+>wires] .",
        "median [sternotomy wires:+] are noted .",
        "the patient is status post median [sternotomy:+] .",
    ),
    "chest tube/side": (
        "a [{side}:A] [chest tube:+@{side}] is in place .",
        "a [{side}:A] sided [chest tube:+@{side}] is noted .",
        "a [{side}:A] [pleural drain:+@{side}] is seen .",
    ),
    "chest tube": ("a [chest tube:+] is in place .", "a [pleural drain:+] is noted ."),
}

CLEAR_LUNGS: Phrases = (
    "the [lungs:A] are [clear:+@lungs] .",
    "[lungs:A] are [clear:+@lungs] .",
    "[clear:+@lungs] [lungs:A] .",
    "the [lungs:A] are [well expanded and clear:+@lungs] .",
    "the [lungs:A] are free of [focal:->consolidation] [consolidation:-@lungs] .",
    "the [lungs:A] are [clear:+@lungs] without [focal:->consolidation] [consolidation:-] .",
    "the [lungs:A] are [clear:+@lungs] without evidence of [pneumonia:-] .",
)

NORMAL_HEART: Phrases = (
    "the [heart:A] [size:A>heart] is [normal:+@heart] .",
    "[heart:A] [size:A>heart] is [normal:+@heart] .",
    "the [heart:A] is [normal:+@heart] in size .",
    "the [heart:A] is not [enlarged:-@heart] .",
    "the [cardiac:A>silhouette] [silhouette:A] is [normal:+@silhouette] .",
    "the [cardiomediastinal:A>silhouette] [silhouette:A] is [unremarkable:+@silhouette] .",
    "[heart:A] [size:A>heart] is [within normal limits:+@heart] .",
)

NORMAL_IMPRESSIONS: Phrases = (
    "no [acute:->process] [cardiopulmonary:A] [process:-@cardiopulmonary] .",
    "no [acute:->abnormality] [cardiopulmonary:A] [abnormality:-@cardiopulmonary] .",
    "there is no evidence of [acute:->disease] [cardiopulmonary:A] [disease:-@cardiopulmonary] .",
    "no [acute:->abnormality] [intrathoracic:A] [abnormality:-@intrathoracic] .",
)

NORMAL_CHESTS: Phrases = (
    "[normal:+@chest] [chest:A] radiograph .",
    "[unremarkable:+@chest] [chest:A] radiograph .",
)

KNOWN = Phrasebook(
    nouns=NOUNS,
    statements=STATEMENTS,
    frames=FRAMES,
    changes=CHANGES,
    maybe=MAYBE,
    hedge=HEDGE,
    suggests=SUGGESTS,
    suggest=SUGGEST,
    denied=DENIED,
    denials=DENIALS,
    denials_of_one=DENIALS_OF_ONE,
    devices=DEVICES,
    clear_lungs=CLEAR_LUNGS,
    normal_heart=NORMAL_HEART,
    normal_impressions=NORMAL_IMPRESSIONS,
    normal_chests=NORMAL_CHESTS,
)
"""The standard phrasing."""
