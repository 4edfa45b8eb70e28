"""The same reports in other sentences: ordinary radiological English that the report parser was not built on.

Written without looking at the parser's words and rules, to measure it. Other constructions and other common synonyms
than in `templates`: places that come first, conclusions in a subordinate clause, nouns in place of participles. No
sentence of `templates` or `held_back` is among them. The graph follows the conventions in `report`; "area of" and
"volume of" are cues as "amount of" is there, and a noun of change ("interval development of an effusion") modifies its
observation as the participle would.
"""

from __future__ import annotations

from igcl_lightning.data.phantom.phrasebook import Phrasebook, Phrases

_ATELECTASIS: Phrases = (
    "[vascular:A] [crowding:+@vascular@base~atelectasis] at the [{side}:A>base] [lung:A>base] [base:A] {suggests} "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
    "at the [{side}:A>base] [base:A] there is {hedge}[{linear}:*>atelectasis] [atelectasis:*@base] .",
    "the [{side}:A>lobe] [lower:A>lobe] [lobe:A] is {hedge}[{mildly}:*>atelectatic] [atelectatic:*@lobe] .",
    "in the [{side}:A>lobe] [lower:A>lobe] [lobe:A] , [volume:+>loss] [loss:+@lobe~atelectasis] is seen , which "
    "{suggests} [{linear}:*>atelectasis] [atelectasis:*] .",
)

NOUNS: dict[str, Phrases] = {
    "Atelectasis/one": (
        "[{linear}:*>atelectasis] [{side}:A>basal] [basal:A] [atelectasis:*@basal]",
        "[{linear}:*>atelectasis] [subsegmental:*>atelectasis] [atelectasis:*@base] in the [{side}:A>base] "
        "[lung:A>base] [base:A]",
        "[{side}:A>basilar] [basilar:A] [subsegmental:*>atelectasis] [atelectasis:*@basilar]",
        "[{linear}:*>change] [atelectatic:*>change] [change:*@base] at the [{side}:A>base] [base:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@zone] in the [{side}:A>zone] [lower:A>zone] [zone:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@base] involving the [{side}:A>base] [lung:A>base] [base:A]",
        "[{side}:A>lobe] [lower:A>lobe] [lobe:A] [volume:*>loss] [loss:*@lobe]",
        "a area of [{linear}:*>atelectasis] [atelectasis:*@lobe] within the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
    ),
    "Atelectasis/severe": (
        "[{linear}:*>loss] [volume:*>loss] [loss:*@lobe] of the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
        "[{linear}:*>collapse] [{side}:A>lobe] [lower:A>lobe] [lobe:A] [collapse:*@lobe]",
        "[extensive:*>atelectasis] [atelectasis:*@lobe] involving the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
        "[{linear}:*>atelectasis] [{side}:A>basal] [basal:A] [atelectasis:*@basal]",
        "[substantial:*>atelectasis] [atelectasis:*@base] at the [{side}:A>base] [lung:A>base] [base:A]",
    ),
    "Atelectasis/both": (
        "[{linear}:*>atelectasis] [bibasal:A] [atelectasis:*@bibasal]",
        "[{linear}:*>change] [bibasilar:A] [atelectatic:*>change] [change:*@bibasilar]",
        "[{linear}:*>atelectasis] [atelectasis:*@lobes] in [both:A>lobes] [lower:A>lobes] [lobes:A]",
        "[{linear}:*>atelectasis] [bilateral:A>basal] [basal:A] [atelectasis:*@basal]",
        "[{linear}:*>atelectasis] [dependent:*>atelectasis] [atelectasis:*@bases] at the [lung:A>bases] [bases:A]",
        "[volume:*>loss] [loss:*@bases] at [both:A>bases] [lung:A>bases] [bases:A]",
    ),
    "Cardiomegaly": (
        "[{mild}:*>cardiomegaly] [generalized:*>cardiomegaly] [cardiomegaly:*]",
        "[{mild}:*>enlargement] [global:*>enlargement] [cardiac:A] [enlargement:*@cardiac]",
        "[{mild}:*>enlargement] [enlargement:*@silhouette] of the [cardiopericardial:A>silhouette] [silhouette:A]",
        "[{mild}:*>enlargement] [enlargement:*@shadow] of the [cardiac:A>shadow] [shadow:A]",
        "[{mild}:*>enlargement] [cardiac:A>silhouette] [silhouette:A] [enlargement:*@silhouette]",
        "[{mild}:*>enlargement] [enlargement:*@contour] of the [cardiac:A>contour] [contour:A]",
    ),
    "Consolidation": (
        "[{patchy}:*>disease] [airspace:A] [disease:*@airspace@{at}] in the {place}",
        "[{patchy}:*>opacification] [airspace:A] [opacification:*@airspace@{at}] within the {place}",
        "a [{patchy}:*>opacity] [parenchymal:A] [opacity:*@parenchymal@{at}] within the {place}",
        "a [{patchy}:*>opacity] [alveolar:A] [opacity:*@alveolar@{at}] in the {place}",
        "a area of [{patchy}:*>consolidation] [consolidation:*@{at}] within the {place}",
        "a area of [{patchy}:*>opacification] {place} [opacification:*@{at}]",
        "a [{patchy}:*>opacity] [opacity:*@{at}] projected over the {place}",
        "a [{patchy}:*>opacity] [opacity:*@{at}] overlying the {place}",
        "[{patchy}:*>consolidation] [consolidation:*@{at}] involving the {place}",
        "[{patchy}:*>pneumonia] {place} [pneumonia:*@{at}]",
        "[{patchy}:*>consolidation] [pneumonic:*>consolidation] [consolidation:*@{at}] of the {place}",
        "a {place} [infiltrate:*@{at}]",
    ),
    "Edema": (
        "[{mild}:*>edema] [alveolar:A] [edema:*@alveolar]",
        "[{mild}:*>edema] [diffuse:*>edema] [interstitial:A] [edema:*@interstitial]",
        "[{mild}:*>edema] [cardiogenic:*>edema] [pulmonary:A] [edema:*@pulmonary]",
        "[{mild}:*>edema] [bilateral:A>pulmonary] [pulmonary:A] [edema:*@pulmonary]",
        "[{mild}:*>edema] [interstitial:A] [edema:*@interstitial@lungs] throughout [both:A>lungs] [lungs:A]",
        "[{mild}:*>edema] [edema:*@lungs] in [both:A>lungs] [lungs:A]",
        "[{mild}:*>oedema] [pulmonary:A] [oedema:*@pulmonary]",
        "[{mild}:*>congestion] [pulmonary:A>vascular] [vascular:A] [congestion:*@vascular]",
        "[{mild}:*>congestion] [pulmonary:A>venous] [venous:A] [congestion:*@venous]",
    ),
    "Lung Lesion/nodule": (
        "a [{tiny}:*>density] [nodular:*>density] [density:*@{at}] in the {place}",
        "a [{tiny}:*>density] {place} [nodular:*>density] [density:*@{at}]",
        "a [{tiny}:*>nodule] [nodule:*@{at}] projected over the {place}",
        "a [{tiny}:*>nodule] [parenchymal:A] [nodule:*@parenchymal@{at}] within the {place}",
        "a [{tiny}:*>nodule] [noncalcified:*>nodule] [nodule:*@{at}] in the {place}",
        "a [{tiny}:*>lesion] [nodular:*>lesion] [lesion:*@{at}] within the {place}",
        "a {place} [nodular:*>shadow] [shadow:*@{at}]",
        "a [{tiny}:*>nodule] [nodule:*@{at}] overlying the {place}",
    ),
    "Lung Lesion/mass": (
        "a [{tiny}:*>mass] [pulmonary:A] [mass:*@pulmonary@{at}] in the {place}",
        "a [{tiny}:*>mass] [parenchymal:A] [mass:*@parenchymal@{at}] within the {place}",
        "a [{tiny}:*>density] [masslike:*>density] [density:*@{at}] in the {place}",
        "a [{tiny}:*>mass] [mass:*@{at}] occupying the {place}",
        "a [sizable:*>mass] {place} [mass:*@{at}]",
        "a {place} [masslike:*>lesion] [lesion:*@{at}]",
    ),
    "Pleural Effusion/one": (
        "a [{small}:*>effusion] [{side}:A>pleural] sided [pleural:A] [effusion:*@pleural]",
        "a [{small}:*>effusion] [{side}:A>basal] [basal:A] [effusion:*@basal]",
        "a [{small}:*>effusion] [effusion:*@base] at the [{side}:A>base] [lung:A>base] [base:A]",
        "a [{small}:*>effusion] [pleural:A] [effusion:*@pleural@hemithorax] within the [{side}:A>hemithorax] "
        "[hemithorax:A]",
        "a [{small}:*>fluid] volume of [{side}:A>pleural] [pleural:A] [fluid:*@pleural]",
        "a [{small}:*>fluid] amount of [fluid:*@space] within the [{side}:A>space] [pleural:A>space] [space:A]",
        "a [{small}:*>collection] [{side}:A>pleural] [pleural:A] [collection:*@pleural]",
        "[{side}:A>pleural] [pleural:A] [fluid:*@pleural]",
    ),
    "Pleural Effusion/both": (
        "some [{small}:*>effusions] [bilateral:A>basal] [basal:A] [effusions:*@basal]",
        "some [{small}:*>effusions] [effusions:*@bases] at [both:A>bases] [lung:A>bases] [bases:A]",
        "some [{small}:*>effusions] [pleural:A] [effusions:*@pleural@bilaterally] [bilaterally:A]",
        "a [{small}:*>fluid] volume of [bilateral:A>pleural] [pleural:A] [fluid:*@pleural]",
        "a [{small}:*>fluid] amount of [fluid:*@spaces] within [both:A>spaces] [pleural:A>spaces] [spaces:A]",
    ),
    "Pneumothorax": (
        "a [{small}:*>pneumothorax] [pneumothorax:*@hemithorax] in the [{side}:A>hemithorax] [hemithorax:A]",
        "a [{small}:*>pneumothorax] [apical:A] [pneumothorax:*@apical@{side}] on the [{side}:A]",
        "a [{small}:*>pneumothorax] [{side}:A>apical] sided [apical:A] [pneumothorax:*@apical]",
        "a [{small}:*>pneumothorax] [pneumothorax:*@apex] along the [{side}:A>apex] [lung:A>apex] [apex:A]",
        "a [{small}:*>air] amount of [air:*@space] in the [{side}:A>space] [pleural:A>space] [space:A]",
        "a [{side}:A] sided [pneumothorax:*@{side}]",
    ),
}

STATEMENTS: dict[str, Phrases] = {
    "Atelectasis/one": (
        *_ATELECTASIS,
        "[linear:+>opacities] [opacities:+@base~atelectasis] in the [{side}:A>base] [lung:A>base] [base:A] {suggest} "
        "[subsegmental:*>atelectasis] [atelectasis:*] .",
    ),
    "Atelectasis/severe": (
        *_ATELECTASIS,
        "the [{side}:A>hemidiaphragm] [hemidiaphragm:A] is [elevated:+@hemidiaphragm~atelectasis] , which {suggests} "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
        "the [{side}:A>lobe] [lower:A>lobe] [lobe:A] is {hedge}[partially:*>collapsed] [collapsed:*@lobe] .",
    ),
    "Atelectasis/both": (
        "at [both:A>bases] [lung:A>bases] [bases:A] there is {hedge}[{linear}:*>atelectasis] [atelectasis:*@bases] .",
        "[linear:+>opacities] [opacities:+@bases~atelectasis] at [both:A>bases] [bases:A] {suggest} "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
        "[vascular:A] [crowding:+@vascular@bases~atelectasis] at the [lung:A>bases] [bases:A] {suggests} "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
    ),
    "Cardiomegaly": (
        "there is {hedge}a [{mildly}:*>enlarged] [enlarged:*@silhouette] [cardiac:A>silhouette] [silhouette:A] .",
        "{hedge}[{mildly}:*>enlarged] [enlarged:*@silhouette] [cardiopericardial:A>silhouette] [silhouette:A] .",
        "the [cardiac:A>shadow] [shadow:A] is {hedge}[{mildly}:*>enlarged] [enlarged:*@shadow] .",
        "[cardiac:A] [size:A>cardiac] is {hedge}[{mildly}:*>enlarged] [enlarged:*@cardiac] .",
        "the [cardiac:A>contours] [contours:A] are {hedge}[{mildly}:*>enlarged] [enlarged:*@contours] .",
        "the appearances of the [heart:A] {suggest} [{mild}:*>cardiomegaly] [cardiomegaly:*@heart] .",
    ),
    "Consolidation": (
        "in the {place} , there is {hedge}[{patchy}:*>disease] [airspace:A] [disease:*@airspace@{at}] .",
        "within the {place} there is {hedge}a [{patchy}:*>opacity] [opacity:*@{at}] .",
        "the {place} is {hedge}[consolidated:*@{at}] .",
        "the {place} is {hedge}[opacified:*@{at}] .",
        "findings {suggest} {place} [pneumonia:*@{at}] .",
        "the appearances {suggest} [pneumonia:*@{at}] in the {place} .",
        "[{patchy}:+>opacification] [opacification:+@{at}~infection] within the {place} {suggests} [infection:*] .",
        "a [{patchy}:+>opacity] [opacity:+@{at}~process] overlying the {place} {suggests} an [infectious:*>process] "
        "[process:*] .",
        "[{patchy}:+>opacity] [airspace:A] [opacity:+@airspace@{at}~pneumonia] in the {place} could reflect "
        "[pneumonia:?] in the appropriate clinical setting .",
        "a [{patchy}:+>opacity] [opacity:+@{at}~pneumonia] is seen in the {place} , which {suggests} [pneumonia:*] .",
    ),
    "Edema": (
        "the [pulmonary:A>vasculature] [vasculature:A] is [indistinct:+@vasculature~edema] , which {suggests} "
        "[{mild}:*>edema] [interstitial:A] [edema:*@interstitial] .",
        "[bilateral:A>perihilar] [perihilar:A] [haziness:+@perihilar~edema] {suggests} [{mild}:*>edema] [pulmonary:A] "
        "[edema:*@pulmonary] .",
        "[septal:A] [lines:+@septal@bases~edema] at the [lung:A>bases] [bases:A] {suggest} [{mild}:*>edema] "
        "[interstitial:A] [edema:*@interstitial] .",
        "[engorgement:+@vessels~edema] of the [pulmonary:A>vessels] [vessels:A] {suggests} [{mild}:*>edema] "
        "[edema:*] .",
        "[prominent:+>markings] [interstitial:A] [markings:+@interstitial@lungs~edema] throughout [both:A>lungs] "
        "[lungs:A] {suggest} [{mild}:*>edema] [pulmonary:A] [edema:*@pulmonary] .",
        "findings {suggest} [{mild}:*>edema] [pulmonary:A] [edema:*@pulmonary] .",
        "in [both:A>lungs] [lungs:A] there is {hedge}[{mild}:*>edema] [interstitial:A] [edema:*@interstitial@lungs] .",
    ),
    "Lung Lesion/nodule": (
        "in the {place} there is {hedge}a [{tiny}:*>nodule] [nodule:*@{at}] .",
        "projected over the {place} is {hedge}a [{tiny}:*>nodule] [nodule:*@{at}] .",
        "the {place} {hedge}contains a [{tiny}:*>nodule] [nodule:*@{at}] .",
        "a [{tiny}:+>density] [density:+@{at}~nodule] overlying the {place} {suggests} a [nodule:*] .",
        "a [{tiny}:+>opacity] [nodular:+>opacity] [opacity:+@{at}~malignancy] in the {place} raises concern for "
        "[malignancy:?] .",
    ),
    "Lung Lesion/mass": (
        "in the {place} , there is {hedge}a [{tiny}:*>mass] [mass:*@{at}] .",
        "the {place} {hedge}contains a [{tiny}:*>mass] [mass:*@{at}] .",
        "a [{tiny}:+>density] [density:+@{at}~mass] overlying the {place} {suggests} a [mass:*] .",
        "a [{tiny}:+>opacity] [masslike:+>opacity] [opacity:+@{at}~malignancy] in the {place} is worrisome for "
        "[malignancy:?] .",
    ),
    "Pleural Effusion/one": (
        "the [{side}:A>angle] [costophrenic:A>angle] [angle:A] is [blunted:+@angle~effusion] , which {suggests} a "
        "[{small}:*>effusion] [pleural:A] [effusion:*@pleural] .",
        "[{side}:A>angle] [costophrenic:A>angle] [angle:A] [blunting:+@angle~effusion] {suggests} a "
        "[{small}:*>effusion] [effusion:*] .",
        "the [{side}:A>hemidiaphragm] [hemidiaphragm:A] is [obscured:+@hemidiaphragm~fluid] , which {suggests} a "
        "[{small}:*>fluid] amount of [pleural:A] [fluid:*@pleural] .",
        "[haziness:+@base~effusion] at the [{side}:A>base] [lung:A>base] [base:A] {suggests} a [{small}:*>effusion] "
        "[layering:*>effusion] [pleural:A] [effusion:*@pleural] .",
        "at the [{side}:A>base] [base:A] there is {hedge}a [{small}:*>effusion] [pleural:A] "
        "[effusion:*@pleural@base] .",
        "the [{side}:A>hemithorax] [hemithorax:A] {hedge}contains a [{small}:*>effusion] [pleural:A] "
        "[effusion:*@pleural@hemithorax] .",
    ),
    "Pleural Effusion/both": (
        "[both:A>angles] [costophrenic:A>angles] [angles:A] are [blunted:+@angles~effusions] , which {suggests} "
        "[{small}:*>effusions] [pleural:A] [effusions:*@pleural] .",
        "at [both:A>bases] [lung:A>bases] [bases:A] there are {hedge}[{small}:*>effusions] [pleural:A] "
        "[effusions:*@pleural@bases] .",
        "[bilateral:A>angle] [costophrenic:A>angle] [angle:A] [blunting:+@angle~effusions] {suggests} "
        "[{small}:*>effusions] [pleural:A] [effusions:*@pleural] .",
    ),
    "Pneumothorax": (
        "a [visceral:A>pleural] [pleural:A] [line:+@pleural@apex~pneumothorax] at the [{side}:A>apex] [apex:A] "
        "{suggests} a [{small}:*>pneumothorax] [pneumothorax:*] .",
        "a [pleural:A] [edge:+@pleural@apex~pneumothorax] is visible at the [{side}:A>apex] [lung:A>apex] [apex:A] , "
        "which {suggests} a [{small}:*>pneumothorax] [pneumothorax:*] .",
        "[hyperlucency:+@apex~pneumothorax] of the [{side}:A>apex] [lung:A>apex] [apex:A] {suggests} a "
        "[{small}:*>pneumothorax] [pneumothorax:*] .",
        "at the [{side}:A>apex] [lung:A>apex] [apex:A] there is {hedge}a [{small}:*>pneumothorax] "
        "[pneumothorax:*@apex] .",
        "on the [{side}:A] , there is {hedge}a [{small}:*>pneumothorax] [apical:A] [pneumothorax:*@apical@{side}] .",
    ),
}

FRAMES: dict[str, Phrases] = {
    "definite": (
        "{a}{core} {is} demonstrated .",
        "{a}{core} {is} visualized .",
        "{a}{core} {is} evident .",
        "{a}{core} can be appreciated .",
        "the radiograph shows {a}{core} .",
        "the current study demonstrates {a}{core} .",
        "note is made of {a}{core} .",
        "findings include {a}{core} .",
    ),
    "probable": (
        "there {is} most likely {a}{core} .",
        "there {is} probably {a}{core} .",
        "{a}{core} {is} probably present .",
        "{a}{core} {is} favored .",
        "findings favor {a}{core} .",
        "the appearances most likely reflect {a}{core} .",
        "{a}{core} {is} thought to be present .",
        "findings are highly suspicious for {a}{core} .",
    ),
    "possible": (
        "there might be {a}{core} .",
        "there could be {a}{core} .",
        "{a}{core} {is} not excluded .",
        "{a}{core} {is} difficult to exclude .",
        "cannot rule out {a}{core} .",
        "{a}{core} may be present .",
        "the possibility of {a}{core} is raised .",
        "question of {a}{core} .",
    ),
}

CHANGES: dict[str, Phrases] = {
    "new": (
        "there has been interval [development:*>{head}] of {a}{maybe}{core} .",
        "interval [development:*>{head}] of {a}{maybe}{core} .",
        "{a}{maybe}{core} {has} [developed:*>{head}] since the previous examination .",
        "{a}{maybe}{core} {has} [appeared:*>{head}] in the interval .",
        "in comparison with the previous radiograph , there {is} {a}{maybe}[new:*>{head}] {core} .",
        "since the prior radiograph , there {is} {a}{maybe}[new:*>{head}] {core} .",
    ),
    "unchanged": (
        "{a}{maybe}{core} {is} again demonstrated , [similar:*>{head}] to the prior examination .",
        "the {maybe}{core} {has} remained [stable:*>{head}] .",
        "again seen {is} the {maybe}[unchanged:*>{head}] {core} .",
        "redemonstration of {a}{maybe}[stable:*>{head}] {core} .",
        "the {maybe}{core} {is} [unchanged:*>{head}] in appearance .",
        "there {is} {a}{maybe}[persisting:*>{head}] {core} .",
        "compared to the prior radiograph , the {maybe}{core} {is} [unchanged:*>{head}] .",
    ),
    "increased": (
        "interval [increase:*>{head}] in the {maybe}{core} .",
        "there has been interval [worsening:*>{head}] of the {maybe}{core} .",
        "interval [progression:*>{head}] of the {maybe}{core} .",
        "the {maybe}{core} {is} [worse:*>{head}] than on the previous examination .",
        "there {is} {a}{maybe}[progressive:*>{head}] {core} .",
        "in the interval , the {maybe}{core} {has} [increased:*>{head}] .",
    ),
    "decreased": (
        "interval [decrease:*>{head}] in the {maybe}{core} .",
        "there has been interval [improvement:*>{head}] in the {maybe}{core} .",
        "interval [regression:*>{head}] of the {maybe}{core} .",
        "the {maybe}{core} {has} [diminished:*>{head}] since the previous examination .",
        "the {maybe}{core} {has} [lessened:*>{head}] .",
        "compared with the previous radiograph , the {maybe}{core} {has} [improved:*>{head}] .",
    ),
    "resolved": (
        "there has been interval clearing of the {core} .",
        "the previously seen {core} {has} disappeared .",
        "the previously described {core} {is} no longer visualized .",
        "the {core} {is} no longer evident .",
        "the previously noted {core} {has} since resolved .",
    ),
}

MAYBE: dict[str, Phrases] = {
    "definite": ("",),
    "probable": ("presumed ", "strongly suspected "),
    "possible": ("equivocal ", "potential "),
}

HEDGE: dict[str, Phrases] = {
    "definite": ("",),
    "probable": ("most likely ", "in all likelihood "),
    "possible": ("potentially ", "questionably "),
}

SUGGESTS: dict[str, Phrases] = {
    "definite": ("is in line with", "is indicative of", "is typical of", "is due to", "reflects"),
    "probable": (
        "most likely represents",
        "is most likely due to",
        "is highly suggestive of",
        "is most compatible with",
        "favors",
    ),
    "possible": (
        "might represent",
        "may reflect",
        "raises the possibility of",
        "raises concern for",
        "is worrisome for",
    ),
}

SUGGEST: dict[str, Phrases] = {
    "definite": ("are in line with", "are indicative of", "are typical of", "reflect"),
    "probable": ("most likely represent", "are highly suggestive of", "are most compatible with", "favor"),
    "possible": ("might represent", "may reflect", "raise the possibility of", "raise concern for"),
}

DENIED: dict[str, Phrases] = {
    "Atelectasis": (
        "[lobar:A] [atelectasis:-@lobar]",
        "[atelectatic:->change] [change:-]",
        "[volume:->loss] [loss:-]",
        "[lobar:A] [volume:->loss] [loss:-@lobar]",
    ),
    "Cardiomegaly": (
        "[cardiac:A] [enlargement:-@cardiac]",
        "[enlargement:-@heart] of the [heart:A]",
        "[enlargement:-@silhouette] of the [cardiac:A>silhouette] [silhouette:A]",
    ),
    "Consolidation": (
        "[focal:->process] [airspace:A] [process:-@airspace]",
        "[airspace:A] [disease:-@airspace]",
        "[focal:->infiltrate] [infiltrate:-]",
        "[pulmonary:A] [infiltrate:-@pulmonary]",
        "[lobar:A] [consolidation:-@lobar]",
        "[confluent:->opacity] [opacity:-]",
        "[acute:->pneumonia] [pneumonia:-]",
    ),
    "Edema": (
        "[edema:-]",
        "[frank:->edema] [pulmonary:A] [edema:-@pulmonary]",
        "[vascular:A] [congestion:-@vascular]",
        "[pulmonary:A>venous] [venous:A] [congestion:-@venous]",
        "[alveolar:A] [edema:-@alveolar]",
    ),
    "Lung Lesion": (
        "[discrete:->nodule] [nodule:-]",
        "[dominant:->nodule] [lung:A] [nodule:-@lung]",
        "[lung:A] [mass:-@lung]",
        "[suspicious:->lesion] [pulmonary:A] [lesion:-@pulmonary]",
        "[pulmonary:A] [mass:-@pulmonary]",
    ),
    "Pleural Effusion": (
        "[large:->effusion] [pleural:A] [effusion:-@pleural]",
        "[pleural:A] [collection:-@pleural]",
        "[basal:A] [effusion:-@basal]",
        "[layering:->effusion] [effusion:-]",
        "[free:->fluid] [pleural:A] [fluid:-@pleural]",
    ),
    "Pneumothorax": (
        "[pneumothorax:-]",
        "[apical:A] [pneumothorax:-@apical]",
        "[large:->pneumothorax] [pneumothorax:-]",
        "[tension:->pneumothorax] [pneumothorax:-]",
    ),
}

DENIALS: Phrases = (
    "no {denied} is demonstrated .",
    "no {denied} is visualized .",
    "no {denied} can be appreciated .",
    "the study shows no {denied} .",
    "no radiographic evidence of {denied} .",
    "there are no findings to suggest {denied} .",
    "there is no suggestion of {denied} .",
    "no sign of {denied} .",
    "no obvious {denied} .",
    "no {denied} is apparent .",
    "the examination is negative for {denied} .",
    "no {denied} is evident .",
)

DENIALS_OF_ONE: Phrases = (
    "{denied} is not demonstrated .",
    "{denied} is not evident .",
    "{denied} is not appreciated .",
    "{denied} cannot be identified .",
)

DEVICES: dict[str, Phrases] = {
    "endotracheal tube": (
        "the [tip:+>tube@carina] of the [endotracheal tube:+] lies above the [carina:A] .",
        "an [ETT:+@carina] ends above the [carina:A] .",
        "the [ETT:+] [tip:+>ETT@carina] projects above the [carina:A] .",
        "an [ET tube:+@carina] is seen terminating above the [carina:A] .",
        "[endotracheal tube:+] in situ , with [tip:+>tube@trachea] in the [mid:A>trachea] [trachea:A] .",
        "the [endotracheal tube:+] is in satisfactory position .",
    ),
    "nasogastric tube": (
        "an [NG tube:+@stomach] courses into the [stomach:A] .",
        "the [enteric tube:+@diaphragm] passes below the [diaphragm:A] .",
        "the [tip:+>tube@stomach] of the [NG tube:+] projects over the [stomach:A] .",
        "a [feeding tube:+@stomach] ends within the [stomach:A] .",
        "there is an [enteric tube:+] with its [tip:+>tube@stomach] in the [stomach:A] .",
    ),
    "central venous catheter/side": (
        "a [{side}:A>IJ] [IJ:A] [line:+@IJ@SVC] ends in the [SVC:A] .",
        "a [{side}:A] sided [PICC:+@{side}@SVC] terminates in the [SVC:A] .",
        "the [tip:+>catheter@junction] of a [{side}:A>jugular] [internal jugular:A] "
        "[central venous catheter:+@jugular] lies at the [cavoatrial junction:A] .",
        "a [{side}:A>subclavian] [subclavian:A] [central line:+@subclavian] has its [tip:+>line@cava] in the "
        "[superior vena cava:A] .",
    ),
    "central venous catheter": (
        "a [central venous catheter:+] has its [tip:+>catheter@cava] in the [superior vena cava:A] .",
        "the [tip:+>line@SVC] of the [central line:+] is in the [SVC:A] .",
        "a [PICC:+@SVC] ends in the [SVC:A] .",
        "there is a [central venous line:+@junction] terminating at the [cavoatrial junction:A] .",
    ),
    "pacemaker/side": (
        "a [{side}:A>pectoral] [pectoral:A] [pacemaker:+@pectoral] is present .",
        "a [{side}:A] sided [pacer:+@{side}] is in situ .",
        "a [pacing device:+@wall] overlies the [{side}:A>wall] [chest:A>wall] [wall:A] .",
        "a [pacemaker:+@hemithorax] projects over the [{side}:A>hemithorax] [hemithorax:A] .",
    ),
    "pacemaker": (
        "[cardiac:A] [pacemaker:+@cardiac] in situ .",
        "a [pacing device:+] is present .",
        "[pacing leads:+@heart] project over the [heart:A] .",
        "there is a [pacer:+] with [leads:+] in satisfactory position .",
    ),
    "sternotomy wires": (
        "median [sternotomy wires:+] are in place .",
        "the [sternal wires:+] are [intact:+>wires] .",
        "[intact:+>wires] median [sternotomy wires:+] .",
        "[sternal wires:+] are demonstrated .",
        "the patient has undergone median [sternotomy:+] .",
    ),
    "chest tube/side": (
        "a [{side}:A] sided [thoracostomy tube:+@{side}] is present .",
        "a [{side}:A] [intercostal drain:+@{side}] is in situ .",
        "a [chest tube:+@hemithorax] projects over the [{side}:A>hemithorax] [hemithorax:A] .",
        "a [chest tube:+@{side}] is present on the [{side}:A] .",
        "there is a [{side}:A] [chest drain:+@{side}] .",
    ),
    "chest tube": (
        "an [intercostal drain:+] is present .",
        "[chest tube:+] in situ .",
        "there is a [thoracostomy tube:+] .",
        "a [chest drain:+] is demonstrated .",
    ),
}

CLEAR_LUNGS: Phrases = (
    "[both:A>lungs] [lungs:A] are [clear:+@lungs] .",
    "the [lung:A>fields] [fields:A] are [clear:+@fields] .",
    "the [lungs:A] appear [clear:+@lungs] .",
    "[clear:+@fields] [lung:A>fields] [fields:A] .",
    "the [pulmonary:A>parenchyma] [parenchyma:A] is [clear:+@parenchyma] .",
    "the [lungs:A] are [well aerated:+@lungs] without [focal:->opacity] [opacity:-] .",
    "[both:A>lungs] [lungs:A] are free of [airspace:A] [disease:-@airspace@lungs] .",
    "no [focal:->abnormality] [lung:A] [abnormality:-@lung] .",
    "no [parenchymal:A] [abnormality:-@parenchymal] is identified .",
    "[lungs:A] are [unremarkable:+@lungs] .",
)

NORMAL_HEART: Phrases = (
    "[cardiac:A] [size:A>cardiac] is [normal:+@cardiac] .",
    "[normal:+@heart] [heart:A] [size:A>heart] .",
    "[cardiac:A] [size:A>cardiac] is [within normal limits:+@cardiac] .",
    "the [cardiac:A>contour] [contour:A] is [normal:+@contour] .",
    "the [cardiac:A>shadow] [shadow:A] is [unremarkable:+@shadow] .",
    "there is no [enlargement:-@heart] of the [heart:A] .",
    "the [heart:A] shows no [enlargement:-@heart] .",
    "the [cardiopericardial:A>silhouette] [silhouette:A] is not [enlarged:-@silhouette] .",
    "[unremarkable:+@silhouette] [cardiac:A>silhouette] [silhouette:A] .",
    "the [cardiomediastinal:A>contours] [contours:A] are [within normal limits:+@contours] .",
)

NORMAL_IMPRESSIONS: Phrases = (
    "no [acute:->finding] [cardiopulmonary:A] [finding:-@cardiopulmonary] .",
    "no [acute:->disease] [intrathoracic:A] [disease:-@intrathoracic] is identified .",
    "no radiographic evidence of [acute:->disease] [intrathoracic:A] [disease:-@intrathoracic] .",
    "there is no [acute:->pathology] [cardiopulmonary:A] [pathology:-@cardiopulmonary] .",
    "no [active:->disease] [pulmonary:A] [disease:-@pulmonary] is demonstrated .",
    "the examination shows no [acute:->abnormality] [cardiopulmonary:A] [abnormality:-@cardiopulmonary] .",
)

NORMAL_CHESTS: Phrases = (
    "the [chest:A] radiograph is [normal:+@chest] .",
    "[normal:+@chest] appearance of the [chest:A] .",
    "[unremarkable:+@chest] examination of the [chest:A] .",
    "radiographically [normal:+@chest] [chest:A] .",
)

REWORDED = Phrasebook(
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
"""The reworded phrasing."""
