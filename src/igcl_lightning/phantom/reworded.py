"""The same reports in other sentences: ordinary radiological English that the report parser was not built on.

Written without looking at the parser's words and rules, to measure it: short telegraphic sentences beside full prose,
places that come first or last, and conclusions in a participle ("blunting of the angle, likely due to an effusion") as
often as in a verb. The graph follows the conventions in `report`; "area of", "focus of" and "degree of" are cues as
"amount of" is there, and a noun of change modifies its observation as the participle would.
"""

from __future__ import annotations

from igcl_lightning.phantom.phrasebook import Phrasebook, Phrases

_ATELECTASIS: Phrases = (
    "the [{side}:A>lobe] [lower:A>lobe] [lobe:A] shows {hedge}[{linear}:*>atelectasis] [atelectasis:*@lobe] .",
    "[streaky:+>opacities] [opacities:+@base~atelectasis] at the [{side}:A>base] [base:A] , {hedge}representing "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
    "[streaky:+>opacities] [{side}:A>basilar] [basilar:A] [opacities:+@basilar~atelectasis] {suggest} "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
    "[volume:+>loss] [loss:+@base~atelectasis] at the [{side}:A>base] [lung:A>base] [base:A] , {hedge}due to "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
    "there is [volume:+>loss] [loss:+@lobe~atelectasis] in the [{side}:A>lobe] [lower:A>lobe] [lobe:A] , "
    "{hedge}secondary to [{linear}:*>atelectasis] [atelectasis:*] .",
    "in the [{side}:A>zone] [lower:A>zone] [zone:A] there is {hedge}[{linear}:*>atelectasis] [atelectasis:*@zone] .",
    "on the [{side}:A] there is {hedge}[{linear}:*>atelectasis] [basilar:A] [atelectasis:*@basilar@{side}] .",
    "[streaky:+>opacities] [opacities:+@lobe~atelectasis] are present in the [{side}:A>lobe] [lower:A>lobe] "
    "[lobe:A] and {suggest} [{linear}:*>atelectasis] [atelectasis:*] .",
    "[crowding:+@vessels@base~atelectasis] of the [vessels:A] at the [{side}:A>base] [base:A] {suggests} "
    "[{linear}:*>atelectasis] [atelectasis:*] .",
)

NOUNS: dict[str, Phrases] = {
    "Atelectasis/one": (
        "[{side}:A>lobe] [lower:A>lobe] [lobe:A] [{linear}:*>atelectasis] [atelectasis:*@lobe]",
        "[{linear}:*>atelectasis] [{side}:A>lobe] [lower:A>lobe] [lobe:A] [atelectasis:*@lobe]",
        "[{linear}:*>atelectasis] [atelectasis:*@base] in the [{side}:A>base] [base:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@lung] in the [{side}:A>lung] [lower:A>lung] [lung:A]",
        "[{linear}:*>atelectasis] [basilar:A] [atelectasis:*@basilar@{side}] on the [{side}:A]",
        "[{mild}:*>loss] [volume:*>loss] [loss:*@lobe] in the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
        "a area of [{linear}:*>atelectasis] [atelectasis:*@base] at the [{side}:A>base] [base:A]",
        "[subsegmental:*>atelectasis] [atelectasis:*@base] at the [{side}:A>base] [lung:A>base] [base:A]",
        "[partial:*>atelectasis] [atelectasis:*@lobe] of the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
    ),
    "Atelectasis/severe": (
        "[{linear}:*>collapse] [collapse:*@lobe] of the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@lobe] of the [{side}:A>lobe] [lower:A>lobe] [lobe:A]",
        "[extensive:*>atelectasis] [{side}:A>basilar] [basilar:A] [atelectasis:*@basilar]",
        "[{linear}:*>loss] [volume:*>loss] [loss:*@base] at the [{side}:A>base] [lung:A>base] [base:A]",
        "[{linear}:*>atelectasis] [basilar:A] [atelectasis:*@basilar@{side}] on the [{side}:A]",
        "[extensive:*>atelectasis] [{side}:A>lobe] [lower:A>lobe] [lobe:A] [atelectasis:*@lobe]",
    ),
    "Atelectasis/both": (
        "[{linear}:*>atelectasis] [bilateral:A>basilar] [basilar:A] [atelectasis:*@basilar]",
        "[bibasilar:A] [{linear}:*>atelectasis] [atelectasis:*@bibasilar]",
        "[{linear}:*>atelectasis] [basilar:A] [atelectasis:*@basilar@bilaterally] [bilaterally:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@bases] in the [lung:A>bases] [bases:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@bases] of [both:A>bases] [bases:A]",
        "[{mild}:*>loss] [volume:*>loss] [loss:*@lobes] in [both:A>lobes] [lower:A>lobes] [lobes:A]",
        "[{linear}:*>atelectasis] [atelectasis:*@lobes] of the [lower:A>lobes] [lobes:A]",
        "[bilateral:A>lobe] [lower:A>lobe] [lobe:A] [{linear}:*>atelectasis] [atelectasis:*@lobe]",
    ),
    "Cardiomegaly": (
        "[{mild}:*>enlargement] [enlargement:*@shadow] of the [heart:A>shadow] [shadow:A]",
        "[cardiac:A>silhouette] [silhouette:A] [enlargement:*@silhouette]",
        "a [{mild}:*>cardiomegaly] degree of [cardiomegaly:*]",
        "a [{mild}:*>enlargement] degree of [cardiac:A] [enlargement:*@cardiac]",
        "[{mild}:*>enlargement] [enlargement:*@silhouette] of the [cardiomediastinal:A>silhouette] [silhouette:A]",
        "[{mild}:*>prominence] [prominence:*@silhouette] of the [cardiac:A>silhouette] [silhouette:A]",
        "[{mild}:*>prominence] [cardiac:A] [prominence:*@cardiac]",
    ),
    "Consolidation": (
        "a [{patchy}:*>opacity] [opacity:*@{at}] within the {place}",
        "[{patchy}:*>consolidation] [consolidation:*@{at}] within the {place}",
        "[{patchy}:*>consolidation] [consolidation:*@{at}] of the {place}",
        "{place} [{patchy}:*>consolidation] [consolidation:*@{at}]",
        "a {place} [{patchy}:*>opacity] [opacity:*@{at}]",
        "a [{patchy}:*>infiltrate] {place} [infiltrate:*@{at}]",
        "a [{patchy}:*>infiltrate] [infiltrate:*@{at}] within the {place}",
        "[{patchy}:*>opacification] {place} [opacification:*@{at}]",
        "a area of [{patchy}:*>opacity] [opacity:*@{at}] in the {place}",
        "a area of [{patchy}:*>opacification] [opacification:*@{at}] in the {place}",
        "a focus of [consolidation:*@{at}] in the {place}",
        "[pneumonia:*@{at}] in the {place}",
        "{place} [pneumonia:*@{at}]",
        "[{patchy}:*>pneumonia] [pneumonia:*@{at}] of the {place}",
        "[{patchy}:*>disease] [airspace:A] [disease:*@airspace@{at}] of the {place}",
        "[{patchy}:*>consolidation] [airspace:A] [consolidation:*@airspace@{at}] in the {place}",
        "a [{patchy}:*>opacity] [opacity:*@{at}] involving the {place}",
        "a [{patchy}:*>opacity] [opacity:*@{at}] projecting over the {place}",
        "a [{patchy}:*>opacity] [consolidative:*>opacity] [opacity:*@{at}] in the {place}",
        "a [{patchy}:*>opacity] [pulmonary:A] [opacity:*@pulmonary@{at}] in the {place}",
    ),
    "Edema": (
        "[{mild}:*>edema] [edema:*]",
        "a [{mild}:*>edema] degree of [interstitial:A] [edema:*@interstitial]",
        "a [{mild}:*>edema] degree of [pulmonary:A] [edema:*@pulmonary]",
        "[{mild}:*>congestion] [vascular:A] [congestion:*@vascular]",
        "[{mild}:*>congestion] [congestion:*@vasculature] of the [pulmonary:A>vasculature] [vasculature:A]",
        "[{mild}:*>edema] [bilateral:A>perihilar] [perihilar:A] [edema:*@perihilar]",
        "[{mild}:*>edema] [bilateral:A>interstitial] [interstitial:A] [edema:*@interstitial]",
        "[{mild}:*>edema] [pulmonary:A] [edema:*@pulmonary@lungs] in [both:A>lungs] [lungs:A]",
        "[{mild}:*>edema] [diffuse:*>edema] [pulmonary:A] [edema:*@pulmonary]",
        "[{mild}:*>edema] [symmetric:*>edema] [perihilar:A] [edema:*@perihilar]",
    ),
    "Lung Lesion/nodule": (
        "a [{tiny}:*>nodule] [nodule:*@{at}] within the {place}",
        "a {place} [{tiny}:*>nodule] [nodule:*@{at}]",
        "a [{tiny}:*>nodule] [pulmonary:A] [nodule:*@pulmonary@{at}] within the {place}",
        "a [{tiny}:*>opacity] [nodular:*>opacity] [opacity:*@{at}] within the {place}",
        "a [nodular:*>density] [density:*@{at}] projecting over the {place}",
        "a [nodular:*>opacity] [opacity:*@{at}] overlying the {place}",
        "a [{tiny}:*>lesion] [lesion:*@{at}] in the {place}",
        "a [{tiny}:*>lesion] [pulmonary:A] [lesion:*@pulmonary@{at}] in the {place}",
        "a [{tiny}:*>nodule] [nodule:*@{at}] projecting over the {place}",
        "a [{tiny}:*>nodule] [nodule:*@{at}] of the {place}",
        "a [{tiny}:*>nodule] [indeterminate:*>nodule] [nodule:*@{at}] in the {place}",
    ),
    "Lung Lesion/mass": (
        "a [{tiny}:*>mass] [mass:*@{at}] within the {place}",
        "a {place} [{tiny}:*>mass] [mass:*@{at}]",
        "a [{tiny}:*>mass] [mass:*@{at}] of the {place}",
        "a [{tiny}:*>mass] [mass:*@{at}] projecting over the {place}",
        "a [{tiny}:*>mass] [mass:*@{at}] involving the {place}",
        "a [{tiny}:*>mass] [solid:*>mass] [mass:*@{at}] in the {place}",
        "a [{tiny}:*>lesion] [masslike:*>lesion] [lesion:*@{at}] in the {place}",
        "a [{tiny}:*>lesion] [lesion:*@{at}] within the {place}",
        "a [masslike:*>opacity] [opacity:*@{at}] in the {place}",
    ),
    "Pleural Effusion/one": (
        "a [{side}:A] [effusion:*@{side}]",
        "a [{side}:A] sided [effusion:*@{side}]",
        "a [{side}:A>pleural] sided [pleural:A] [effusion:*@pleural]",
        "a [{small}:*>effusion] [effusion:*@{side}] on the [{side}:A]",
        "a [{small}:*>effusion] [layering:*>effusion] [effusion:*@{side}] on the [{side}:A]",
        "a [{small}:*>effusion] [effusion:*@hemithorax] in the [{side}:A>hemithorax] [hemithorax:A]",
        "a [{small}:*>effusion] [effusion:*@base] at the [{side}:A>base] [base:A]",
        "a [{small}:*>effusion] [pleural:A] [effusion:*@pleural@base] at the [{side}:A>base] [lung:A>base] [base:A]",
        "a [{small}:*>fluid] amount of [pleural:A] [fluid:*@pleural@{side}] on the [{side}:A]",
        "a [{small}:*>fluid] amount of [fluid:*@space] in the [{side}:A>space] [pleural:A>space] [space:A]",
        "[fluid:*@space] in the [{side}:A>space] [pleural:A>space] [space:A]",
        "a [{small}:*>effusion] [free:*>effusion] [{side}:A>pleural] [pleural:A] [effusion:*@pleural]",
    ),
    "Pleural Effusion/both": (
        "some [{small}:*>effusions] [effusions:*@bilaterally] [bilaterally:A]",
        "some [bilateral:A] [effusions:*@bilateral]",
        "some [{small}:*>effusions] [layering:*>effusions] [bilateral:A>pleural] [pleural:A] [effusions:*@pleural]",
        "some [{small}:*>effusions] [pleural:A] [effusions:*@pleural@bases] at [both:A>bases] [lung:A>bases] [bases:A]",
        "[bilateral:A>pleural] [pleural:A] [fluid:*@pleural]",
        "a [{small}:*>fluid] amount of [pleural:A] [fluid:*@pleural@bilaterally] [bilaterally:A]",
        "[fluid:*@spaces] in [both:A>spaces] [pleural:A>spaces] [spaces:A]",
    ),
    "Pneumothorax": (
        "a [{side}:A>apical] [apical:A] [pneumothorax:*@apical]",
        "a [pneumothorax:*@{side}] on the [{side}:A]",
        "a [{small}:*>pneumothorax] [pneumothorax:*@apex] at the [{side}:A>apex] [apex:A]",
        "a [pneumothorax:*@apex] at the [{side}:A>apex] [lung:A>apex] [apex:A]",
        "a [{side}:A] [{small}:*>pneumothorax] [pneumothorax:*@{side}]",
        "a [{small}:*>air] amount of [{side}:A>pleural] [pleural:A] [air:*@pleural]",
        "a [{small}:*>pneumothorax] [pneumothorax:*@hemithorax] within the [{side}:A>hemithorax] [hemithorax:A]",
        "[air:*@space] in the [{side}:A>space] [pleural:A>space] [space:A]",
    ),
}

STATEMENTS: dict[str, Phrases] = {
    "Atelectasis/one": _ATELECTASIS,
    "Atelectasis/severe": (
        *_ATELECTASIS,
        "[elevation:+@hemidiaphragm~loss] of the [{side}:A>hemidiaphragm] [hemidiaphragm:A] is {hedge}due to "
        "[{linear}:*>loss] [volume:*>loss] [loss:*] .",
        "the [{side}:A>hemidiaphragm] [hemidiaphragm:A] is [raised:+@hemidiaphragm~atelectasis] , "
        "{hedge}reflecting [{linear}:*>atelectasis] [atelectasis:*] .",
        "the [{side}:A>lobe] [lower:A>lobe] [lobe:A] is {hedge}[collapsed:*@lobe] .",
    ),
    "Atelectasis/both": (
        "[both:A>bases] [lung:A>bases] [bases:A] show {hedge}[{linear}:*>atelectasis] [atelectasis:*@bases] .",
        "[streaky:+>opacities] [bibasilar:A] [opacities:+@bibasilar~atelectasis] , {hedge}representing "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
        "there are [streaky:+>opacities] [opacities:+@bases~atelectasis] in the [lung:A>bases] [bases:A] , "
        "{hedge}due to [{linear}:*>atelectasis] [atelectasis:*] .",
        "[volume:+>loss] [loss:+@lobes~atelectasis] in [both:A>lobes] [lower:A>lobes] [lobes:A] {suggests} "
        "[{linear}:*>atelectasis] [atelectasis:*] .",
        "in [both:A>lobes] [lower:A>lobes] [lobes:A] there is {hedge}[{linear}:*>atelectasis] [atelectasis:*@lobes] .",
    ),
    "Cardiomegaly": (
        "the [heart:A>shadow] [shadow:A] is {hedge}[{mildly}:*>enlarged] [enlarged:*@shadow] .",
        "[heart:A] {hedge}[{mildly}:*>enlarged] [enlarged:*@heart] .",
        "{hedge}[{mildly}:*>enlarged] [enlarged:*@heart] [heart:A] .",
        "the [heart:A] {hedge}shows [{mild}:*>enlargement] [enlargement:*@heart] .",
        "there is {hedge}[{mild}:*>enlargement] [enlargement:*@heart] of the [heart:A] .",
        "the [cardiac:A>silhouette] [silhouette:A] appears {hedge}[{mildly}:*>enlarged] [enlarged:*@silhouette] .",
        "[cardiac:A>silhouette] [silhouette:A] {hedge}[{mildly}:*>enlarged] [enlarged:*@silhouette] .",
        "the [cardiac:A>outline] [outline:A] is {hedge}[{mildly}:*>enlarged] [enlarged:*@outline] .",
        "the [heart:A] is {hedge}[enlarged:*@heart] to a [{mild}:*>enlarged] degree .",
    ),
    "Consolidation": (
        "the {place} shows {hedge}[{patchy}:*>consolidation] [consolidation:*@{at}] .",
        "there is a [{patchy}:+>opacity] [opacity:+@{at}~pneumonia] in the {place} , {hedge}representing "
        "[pneumonia:*] .",
        "a {place} [opacity:+@{at}~pneumonia] {suggests} [pneumonia:*] .",
        "[{patchy}:+>opacification] [opacification:+@{at}~pneumonia] of the {place} is {hedge}due to [pneumonia:*] .",
        "a [{patchy}:+>opacity] [opacity:+@{at}~pneumonia] projects over the {place} , {hedge}reflecting "
        "[pneumonia:*] .",
        "in the {place} there is a [{patchy}:+>opacity] [opacity:+@{at}~consolidation] , {hedge}representing "
        "[consolidation:*] .",
        "projecting over the {place} is {hedge}a [{patchy}:*>opacity] [opacity:*@{at}] .",
        "there is {hedge}[pneumonia:*@{at}] in the {place} .",
        "the {place} {hedge}demonstrates [{patchy}:*>disease] [airspace:A] [disease:*@airspace@{at}] .",
        "[{patchy}:+>opacity] [airspace:A] [opacity:+@airspace@{at}~infection] in the {place} {suggests} "
        "[infection:*] .",
        "a [{patchy}:+>opacity] [opacity:+@{at}~pneumonia] in the {place} raises suspicion for [pneumonia:?] .",
        "[{patchy}:+>opacification] [opacification:+@{at}~pneumonia] in the {place} , suspicious for [pneumonia:?] .",
    ),
    "Edema": (
        "the [pulmonary:A>vessels] [vessels:A] are [indistinct:+@vessels~edema] , {hedge}reflecting "
        "[{mild}:*>edema] [interstitial:A] [edema:*@interstitial] .",
        "the [pulmonary:A>vasculature] [vasculature:A] is [engorged:+@vasculature~edema] , {hedge}reflecting "
        "[{mild}:*>edema] [pulmonary:A] [edema:*@pulmonary] .",
        "[bilateral:A>interstitial] [interstitial:A] [opacities:+@interstitial~edema] {suggest} [{mild}:*>edema] "
        "[pulmonary:A] [edema:*@pulmonary] .",
        "[hazy:+>opacities] [perihilar:A] [opacities:+@perihilar~edema] , {hedge}due to [{mild}:*>edema] "
        "[pulmonary:A] [edema:*@pulmonary] .",
        "[septal:A] [thickening:+@septal~edema] {suggests} [{mild}:*>edema] [interstitial:A] [edema:*@interstitial] .",
        "[perihilar:A] [haziness:+@perihilar~edema] is present , {hedge}secondary to [{mild}:*>edema] [edema:*] .",
        "the [lungs:A] show {hedge}[{mild}:*>edema] [interstitial:A] [edema:*@interstitial@lungs] .",
        "[diffuse:+>opacities] [bilateral:A] [opacities:+@bilateral~edema] {suggest} [{mild}:*>edema] "
        "[pulmonary:A] [edema:*@pulmonary] .",
        "[interstitial:A] [markings:+@interstitial~edema] are [prominent:+>markings] , {hedge}reflecting "
        "[{mild}:*>edema] [edema:*] .",
        "[pulmonary:A>vascular] [vascular:A] [indistinctness:+@vascular~edema] {suggests} [{mild}:*>edema] "
        "[interstitial:A] [edema:*@interstitial] .",
    ),
    "Lung Lesion/nodule": (
        "within the {place} there is {hedge}a [{tiny}:*>nodule] [pulmonary:A] [nodule:*@pulmonary@{at}] .",
        "the {place} shows {hedge}a [{tiny}:*>nodule] [nodule:*@{at}] .",
        "a [{tiny}:+>density] [density:+@{at}~nodule] is seen in the {place} , {hedge}representing a [nodule:*] .",
        "a [nodular:+>density] [density:+@{at}~nodule] in the {place} {suggests} a [pulmonary:A] "
        "[nodule:*@pulmonary] .",
        "[rounded:+>opacity] [opacity:+@{at}~nodule] projecting over the {place} , {hedge}reflecting a [nodule:*] .",
        "overlying the {place} there is a [{tiny}:+>density] [density:+@{at}~nodule] , {hedge}due to a [nodule:*] .",
        "a [{tiny}:+>density] [nodular:+>density] [density:+@{at}~neoplasm] in the {place} is suspicious for "
        "[neoplasm:?] .",
    ),
    "Lung Lesion/mass": (
        "within the {place} there is {hedge}a [{tiny}:*>mass] [mass:*@{at}] .",
        "the {place} shows {hedge}a [{tiny}:*>mass] [mass:*@{at}] .",
        "a [{tiny}:+>density] [density:+@{at}~mass] projects over the {place} , {hedge}representing a [mass:*] .",
        "a [rounded:+>opacity] [opacity:+@{at}~mass] in the {place} {suggests} a [{tiny}:*>mass] [mass:*] .",
        "in the {place} a [{tiny}:+>opacity] [masslike:+>opacity] [opacity:+@{at}~neoplasm] raises concern for "
        "[neoplasm:?] .",
        "overlying the {place} there is a [{tiny}:+>density] [density:+@{at}~mass] , {hedge}due to a [mass:*] .",
    ),
    "Pleural Effusion/one": (
        "[blunting:+@angle~effusion] of the [{side}:A>angle] [costophrenic:A>angle] [angle:A] , {hedge}due to a "
        "[{small}:*>effusion] [effusion:*] .",
        "the [{side}:A>angle] [costophrenic:A>angle] [angle:A] is [blunted:+@angle~effusion] , {hedge}reflecting "
        "a [{small}:*>effusion] [pleural:A] [effusion:*@pleural] .",
        "there is [blunting:+@angle~effusion] of the [{side}:A>angle] [costophrenic:A>angle] [angle:A] , which "
        "{suggests} a [{small}:*>effusion] [effusion:*] .",
        "[obscuration:+@hemidiaphragm~effusion] of the [{side}:A>hemidiaphragm] [hemidiaphragm:A] is {hedge}due "
        "to a [{small}:*>effusion] [pleural:A] [effusion:*@pleural] .",
        "[{side}:A>basilar] [basilar:A] [haziness:+@basilar~effusion] {suggests} a [{small}:*>effusion] "
        "[layering:*>effusion] [effusion:*] .",
        "on the [{side}:A] there is {hedge}a [{small}:*>effusion] [pleural:A] [effusion:*@pleural@{side}] .",
        "in the [{side}:A>hemithorax] [hemithorax:A] there is {hedge}a [{small}:*>effusion] [effusion:*@hemithorax] .",
        "the [{side}:A>space] [pleural:A>space] [space:A] {hedge}contains a [{small}:*>fluid] amount of "
        "[fluid:*@space] .",
        "a [{small}:*>effusion] [pleural:A] [effusion:*@pleural] {hedge}accounts for the "
        "[blunting:+@angle~effusion] of the [{side}:A>angle] [costophrenic:A>angle] [angle:A] .",
    ),
    "Pleural Effusion/both": (
        "[blunting:+@angles~effusions] of [both:A>angles] [costophrenic:A>angles] [angles:A] , {hedge}due to "
        "[{small}:*>effusions] [effusions:*] .",
        "the [costophrenic:A>angles] [angles:A] are [blunted:+@angles@bilaterally~effusions] [bilaterally:A] , "
        "{hedge}reflecting [{small}:*>effusions] [pleural:A] [effusions:*@pleural] .",
        "[both:A>spaces] [pleural:A>spaces] [spaces:A] {hedge}contain a [{small}:*>fluid] amount of [fluid:*@spaces] .",
        "[bibasilar:A] [haziness:+@bibasilar~effusions] {suggests} [{small}:*>effusions] [layering:*>effusions] "
        "[effusions:*] .",
        "there are {hedge}[{small}:*>effusions] [pleural:A] [effusions:*@pleural@bases] at the [lung:A>bases] "
        "[bases:A] .",
    ),
    "Pneumothorax": (
        "on the [{side}:A] there is {hedge}a [{small}:*>pneumothorax] [pneumothorax:*@{side}] .",
        "in the [{side}:A>hemithorax] [hemithorax:A] there is {hedge}a [{small}:*>pneumothorax] "
        "[pneumothorax:*@hemithorax] .",
        "a [pleural:A] [line:+@pleural@apex~pneumothorax] is visible at the [{side}:A>apex] [apex:A] , "
        "{hedge}representing a [{small}:*>pneumothorax] [pneumothorax:*] .",
        "[lucency:+@apex~pneumothorax] is present at the [{side}:A>apex] [lung:A>apex] [apex:A] , {hedge}due to a "
        "[{small}:*>pneumothorax] [pneumothorax:*] .",
        "[{side}:A>apical] [apical:A] [lucency:+@apical~pneumothorax] {suggests} a [{small}:*>pneumothorax] "
        "[pneumothorax:*] .",
        "the [{side}:A>space] [pleural:A>space] [space:A] {hedge}contains a [{small}:*>air] amount of [air:*@space] .",
        "the [{side}:A>apex] [lung:A>apex] [apex:A] shows {hedge}a [{small}:*>pneumothorax] [pneumothorax:*@apex] .",
    ),
}

FRAMES: dict[str, Phrases] = {
    "definite": (
        "{a}{core} {is} visible .",
        "{a}{core} {is} apparent .",
        "{a}{core} {is} observed .",
        "{a}{core} can be seen .",
        "there {is} evidence of {a}{core} .",
        "the frontal view shows {a}{core} .",
        "this examination reveals {a}{core} .",
        "also noted {is} {a}{core} .",
        "the study is positive for {a}{core} .",
        "the radiograph is remarkable for {a}{core} .",
        "the chest radiograph demonstrates {a}{core} .",
    ),
    "probable": (
        "there {is} very likely {a}{core} .",
        "there {is} presumably {a}{core} .",
        "{a}{core} {is} highly likely .",
        "{a}{core} {is} probable .",
        "{a}{core} {is} likely present .",
        "{a}{core} {is} strongly suspected .",
        "suspect {a}{core} .",
        "the findings most likely represent {a}{core} .",
        "findings are most consistent with {a}{core} .",
        "the appearance favors {a}{core} .",
    ),
    "possible": (
        "there {is} possibly {a}{core} .",
        "there is concern for {a}{core} .",
        "{a}{core} could be present .",
        "{a}{core} might be present .",
        "{a}{core} cannot be ruled out .",
        "{a}{core} {is} not entirely excluded .",
        "cannot exclude {a}{core} .",
        "question {a}{core} .",
        "findings may represent {a}{core} .",
        "findings are suspicious for {a}{core} .",
        "findings suggest {a}{core} .",
        "the possibility of {a}{core} cannot be excluded .",
        "the appearance raises the possibility of {a}{core} .",
    ),
}

CHANGES: dict[str, Phrases] = {
    "new": (
        "{maybe}[new:*>{head}] {core} .",
        "{a}{maybe}{core} {is} [new:*>{head}] .",
        "{a}{maybe}{core} {is} [new:*>{head}] compared with the prior examination .",
        "[new:*>{head}] since the prior study {is} {a}{maybe}{core} .",
        "there {is} {a}{maybe}{core} , [new:*>{head}] from the prior study .",
        "{a}{maybe}{core} {has} [developed:*>{head}] since the prior study .",
        "compared to the prior study , {a}{maybe}{core} {has} [appeared:*>{head}] .",
        "[development:*>{head}] of {a}{maybe}{core} since the last examination .",
    ),
    "unchanged": (
        "{maybe}[stable:*>{head}] {core} .",
        "{maybe}[unchanged:*>{head}] {core} compared to the prior study .",
        "{a}{maybe}{core} {is} [stable:*>{head}] .",
        "{a}{maybe}{core} , [unchanged:*>{head}] .",
        "the {maybe}{core} {has} [persisted:*>{head}] .",
        "the {maybe}{core} {is} [stable:*>{head}] in appearance compared to the prior study .",
        "the previously seen {maybe}{core} {is} [unchanged:*>{head}] .",
        "[unchanged:*>{head}] from the prior study {is} {a}{maybe}{core} .",
        "there {is} {a}{maybe}{core} , [similar:*>{head}] to the prior study .",
    ),
    "increased": (
        "{maybe}[increased:*>{head}] {core} compared to the prior study .",
        "the {maybe}{core} {has} [increased:*>{head}] since the prior study .",
        "the {maybe}{core} {is} [increased:*>{head}] from the prior study .",
        "the {maybe}{core} {has} [progressed:*>{head}] in the interval .",
        "[worsening:*>{head}] of the {maybe}{core} since the prior examination .",
        "there has been [progression:*>{head}] of the {maybe}{core} .",
        "there is interval [increase:*>{head}] in the {maybe}{core} .",
        "{a}{maybe}{core} , [worse:*>{head}] than before .",
        "the {maybe}{core} {is} [worsening:*>{head}] .",
        "compared to the prior study , the {maybe}{core} {has} [worsened:*>{head}] .",
    ),
    "decreased": (
        "{maybe}[decreased:*>{head}] {core} compared to the prior study .",
        "the {maybe}{core} {has} [decreased:*>{head}] since the prior study .",
        "the {maybe}{core} {is} [decreased:*>{head}] from the prior study .",
        "[improvement:*>{head}] in the {maybe}{core} since the prior examination .",
        "there has been a [reduction:*>{head}] in the {maybe}{core} .",
        "there is interval [decrease:*>{head}] in the {maybe}{core} .",
        "{a}{maybe}{core} , [improved:*>{head}] from the previous study .",
        "the {maybe}{core} {is} [improving:*>{head}] .",
        "compared to the prior study , the {maybe}{core} {has} [decreased:*>{head}] .",
    ),
    "resolved": (
        "resolved {core} .",
        "the previously seen {core} {has} resolved .",
        "the {core} {has} cleared in the interval .",
        "the previously described {core} {is} gone .",
        "there has been interval resolution of the {core} .",
        "resolution of the previously seen {core} .",
        "the {core} seen on the prior study {has} resolved .",
        "the {core} {is} no longer present .",
        "the {core} {has} resolved since the prior study .",
        "the previously seen {core} {is} no longer visible .",
    ),
}

MAYBE: dict[str, Phrases] = {
    "definite": ("",),
    "probable": (
        "probable ",
        "likely ",
        "suspected ",
        "presumed ",
    ),
    "possible": (
        "possible ",
        "questionable ",
        "equivocal ",
    ),
}

HEDGE: dict[str, Phrases] = {
    "definite": ("",),
    "probable": (
        "likely ",
        "probably ",
        "very likely ",
        "presumably ",
    ),
    "possible": (
        "possibly ",
        "perhaps ",
        "potentially ",
    ),
}

SUGGESTS: dict[str, Phrases] = {
    "definite": (
        "represents",
        "reflects",
        "indicates",
        "is secondary to",
        "is related to",
        "is attributable to",
    ),
    "probable": (
        "is most consistent with",
        "is likely due to",
        "is likely secondary to",
        "probably reflects",
        "is thought to represent",
        "presumably represents",
        "likely indicates",
    ),
    "possible": (
        "suggests",
        "is suggestive of",
        "could reflect",
        "may be due to",
        "may indicate",
        "raises suspicion for",
        "possibly represents",
        "is concerning for",
    ),
}

SUGGEST: dict[str, Phrases] = {
    "definite": (
        "represent",
        "reflect",
        "indicate",
        "are secondary to",
        "are related to",
        "are attributable to",
    ),
    "probable": (
        "are most consistent with",
        "are likely due to",
        "are likely secondary to",
        "probably reflect",
        "are thought to represent",
        "presumably represent",
        "likely indicate",
    ),
    "possible": (
        "suggest",
        "are suggestive of",
        "could reflect",
        "may be due to",
        "may indicate",
        "raise suspicion for",
        "possibly represent",
        "are concerning for",
    ),
}

DENIED: dict[str, Phrases] = {
    "Atelectasis": (
        "[basilar:A] [atelectasis:-@basilar]",
        "[significant:->atelectasis] [atelectasis:-]",
        "[segmental:->atelectasis] [atelectasis:-]",
        "[lung:A] [collapse:-@lung]",
        "[collapse:-]",
    ),
    "Cardiomegaly": (
        "[significant:->cardiomegaly] [cardiomegaly:-]",
        "[enlargement:-@shadow] of the [cardiac:A>shadow] [shadow:A]",
        "[enlargement:-@silhouette] of the [cardiomediastinal:A>silhouette] [silhouette:A]",
        "[significant:->enlargement] [cardiac:A] [enlargement:-@cardiac]",
    ),
    "Consolidation": (
        "[airspace:A] [consolidation:-@airspace]",
        "[airspace:A] [opacity:-@airspace]",
        "[focal:->opacity] [opacity:-]",
        "[focal:->pneumonia] [pneumonia:-]",
        "[lobar:A] [pneumonia:-@lobar]",
        "[confluent:->consolidation] [consolidation:-]",
        "[acute:->infiltrate] [infiltrate:-]",
        "[parenchymal:A] [consolidation:-@parenchymal]",
    ),
    "Edema": (
        "[acute:->edema] [pulmonary:A] [edema:-@pulmonary]",
        "[significant:->edema] [pulmonary:A] [edema:-@pulmonary]",
        "[pulmonary:A] [congestion:-@pulmonary]",
        "[overt:->congestion] [vascular:A] [congestion:-@vascular]",
        "[overt:->edema] [edema:-]",
        "[congestion:-]",
    ),
    "Lung Lesion": (
        "[suspicious:->nodule] [nodule:-]",
        "[suspicious:->mass] [mass:-]",
        "[lung:A] [nodule:-@lung]",
        "[focal:->lesion] [lung:A] [lesion:-@lung]",
        "[discrete:->mass] [mass:-]",
        "[pulmonary:A] [lesion:-@pulmonary]",
    ),
    "Pleural Effusion": (
        "[sizable:->effusion] [pleural:A] [effusion:-@pleural]",
        "[significant:->effusion] [pleural:A] [effusion:-@pleural]",
        "[substantial:->effusion] [effusion:-]",
        "[fluid:-@space] in the [pleural:A>space] [space:A]",
        "[effusion:-]",
    ),
    "Pneumothorax": (
        "[pneumothorax:-]",
        "[significant:->pneumothorax] [pneumothorax:-]",
        "[sizable:->pneumothorax] [pneumothorax:-]",
        "[pleural:A] [air:-@pleural]",
        "[air:-@space] in the [pleural:A>space] [space:A]",
    ),
}

DENIALS: Phrases = (
    "no {denied} is visible .",
    "no {denied} is present .",
    "no {denied} is observed .",
    "no {denied} is noted .",
    "no {denied} is detected .",
    "no evidence for {denied} .",
    "no findings to suggest {denied} .",
    "no convincing evidence of {denied} .",
    "without evidence of {denied} .",
    "there is no radiographic evidence of {denied} .",
    "there is no sign of {denied} .",
    "there is no visible {denied} .",
    "there is no apparent {denied} .",
    "the radiograph shows no {denied} .",
    "the radiograph is negative for {denied} .",
)

DENIALS_OF_ONE: Phrases = (
    "{denied} is not visible .",
    "{denied} is not present .",
    "{denied} is not visualized .",
    "{denied} is not detected .",
    "{denied} is excluded .",
)

DEVICES: dict[str, Phrases] = {
    "endotracheal tube": (
        "the [endotracheal tube:+] [tip:+>tube@carina] lies above the [carina:A] .",
        "an [endotracheal tube:+@carina] ends above the [carina:A] .",
        "[ETT:+] [tip:+>ETT@carina] above the [carina:A] .",
        "an [endotracheal tube:+] is present , its [tip:+>tube@carina] above the [carina:A] .",
        "the [tip:+>ETT@trachea] of the [ETT:+] lies in the [mid:A>trachea] [trachea:A] .",
        "the [ETT:+@trachea] ends in the [mid:A>trachea] [trachea:A] .",
        "[endotracheal tube:+] in good position .",
        "the [endotracheal tube:+] is appropriately positioned .",
    ),
    "nasogastric tube": (
        "an [enteric tube:+@stomach] terminates in the [stomach:A] .",
        "the [NGT:+@stomach] ends in the [stomach:A] .",
        "[NGT:+] [tip:+>NGT@stomach] in the [stomach:A] .",
        "the [nasogastric tube:+@diaphragm] passes below the [diaphragm:A] .",
        "a [nasogastric tube:+@stomach] courses into the [stomach:A] .",
        "a [nasogastric tube:+] is present with its [tip:+>tube@stomach] projecting over the [stomach:A] .",
        "the [tip:+>tube@stomach] of the [enteric tube:+] lies in the [stomach:A] .",
        "the [nasogastric tube:+@diaphragm] courses below the [diaphragm:A] with its [tip:+>tube@stomach] in the "
        "[stomach:A] .",
    ),
    "central venous catheter/side": (
        "a [{side}:A] [PICC line:+@{side}@SVC] ends in the [SVC:A] .",
        "the [tip:+>line@SVC] of the [{side}:A] [PICC line:+@{side}] lies in the [SVC:A] .",
        "a [{side}:A] sided [PICC line:+@{side}] is seen with its [tip:+>line@SVC] in the [SVC:A] .",
        "a [{side}:A>jugular] [internal jugular:A] [central line:+@jugular@SVC] terminates in the [SVC:A] .",
        "a [{side}:A>IJ] [IJ:A] [catheter:+@IJ] has its [tip:+>catheter@junction] at the [cavoatrial junction:A] .",
        "a [{side}:A>subclavian] [subclavian:A] [line:+@subclavian@cava] ends in the [superior vena cava:A] .",
        "a [{side}:A] [central venous catheter:+@{side}@junction] terminates at the [cavoatrial junction:A] .",
        "[{side}:A>IJ] [IJ:A] [central line:+@IJ] with [tip:+>line@SVC] in the [SVC:A] .",
    ),
    "central venous catheter": (
        "a [central line:+@SVC] ends in the [SVC:A] .",
        "the [tip:+>catheter@junction] of the [central venous catheter:+] lies at the [cavoatrial junction:A] .",
        "[PICC line:+] [tip:+>line@SVC] in the [SVC:A] .",
        "a [PICC line:+@junction] terminates at the [cavoatrial junction:A] .",
        "a [central venous catheter:+] is present , its [tip:+>catheter@SVC] projecting over the [SVC:A] .",
        "the [central venous catheter:+] is in good position .",
    ),
    "pacemaker/side": (
        "a [{side}:A] [pacemaker:+@{side}] is present .",
        "a [{side}:A>wall] [chest:A>wall] [wall:A] [pacemaker:+@wall] is noted .",
        "a [pacemaker:+@wall] overlies the [{side}:A>wall] [chest:A>wall] [wall:A] .",
        "a [{side}:A] sided [pacemaker:+@{side}] is seen with [leads:+@heart] projecting over the [heart:A] .",
        "[{side}:A>pectoral] [pectoral:A] [pacemaker:+@pectoral] with [leads:+] in good position .",
        "there is a [pacemaker:+@{side}] on the [{side}:A] .",
    ),
    "pacemaker": (
        "a [pacemaker:+] is present .",
        "[pacemaker:+] in place .",
        "there is a [pacemaker:+] .",
        "[pacemaker leads:+@heart] project over the [heart:A] .",
        "the [pacemaker leads:+] are in good position .",
        "[pacemaker leads:+@heart] terminate in the [heart:A] .",
    ),
    "sternotomy wires": (
        "[sternotomy wires:+] are present .",
        "there are median [sternotomy wires:+] .",
        "median [sternotomy wires:+] are present and [intact:+>wires] .",
        "the [sternotomy wires:+] appear [intact:+>wires] .",
        "[intact:+>wires] [sternotomy wires:+] are noted .",
        "status post median [sternotomy:+] .",
        "the patient has had a median [sternotomy:+] .",
    ),
    "chest tube/side": (
        "a [{side}:A] [chest tube:+@{side}] is present .",
        "[{side}:A] [chest tube:+@{side}] in place .",
        "a [chest tube:+@{side}] is seen on the [{side}:A] .",
        "there is a [{side}:A] sided [chest tube:+@{side}] .",
        "a [{side}:A] sided [pleural drain:+@{side}] is in place .",
        "a [pleural drain:+@space] lies in the [{side}:A>space] [pleural:A>space] [space:A] .",
    ),
    "chest tube": (
        "a [chest tube:+] is present .",
        "there is a [chest tube:+] .",
        "[chest tube:+] in place .",
        "a [pleural drain:+] is present .",
        "the [chest tube:+] is in good position .",
    ),
}

CLEAR_LUNGS: Phrases = (
    "[lungs:A] [clear:+@lungs] .",
    "the [lungs:A] are [clear:+@lungs@bilaterally] [bilaterally:A] .",
    "the [lungs:A] are [normal:+@lungs] .",
    "[normal:+@lungs] [lungs:A] .",
    "[both:A>lungs] [lungs:A] appear [clear:+@lungs] .",
    "the [lung:A>fields] [fields:A] appear [clear:+@fields] .",
    "no [focal:->abnormality] [pulmonary:A] [abnormality:-@pulmonary] is seen .",
    "the [lungs:A] show no [focal:->abnormality] [abnormality:-@lungs] .",
    "the [lungs:A] show no [consolidation:-@lungs] .",
    "[clear:+@lungs] [lungs:A] without [focal:->opacity] [opacity:-] .",
)

NORMAL_HEART: Phrases = (
    "[heart:A] [normal:+@heart] in size .",
    "the [size:A>heart] of the [heart:A] is [normal:+@heart] .",
    "the [heart:A] appears [normal:+@heart] in size .",
    "the [heart:A>shadow] [shadow:A] is [normal:+@shadow] .",
    "[normal:+@silhouette] [cardiac:A>silhouette] [silhouette:A] .",
    "the [cardiomediastinal:A>silhouette] [silhouette:A] is [normal:+@silhouette] .",
    "the [cardiac:A>silhouette] [silhouette:A] is [within normal limits:+@silhouette] .",
    "the [cardiac:A>silhouette] [silhouette:A] is not [enlarged:-@silhouette] .",
    "no [enlargement:-@silhouette] of the [cardiac:A>silhouette] [silhouette:A] .",
    "the [heart:A] is [unremarkable:+@heart] .",
    "[cardiac:A>silhouette] [silhouette:A] [normal:+@silhouette] .",
)

NORMAL_IMPRESSIONS: Phrases = (
    "no [acute:->disease] [pulmonary:A] [disease:-@pulmonary] .",
    "no [acute:->process] [intrathoracic:A] [process:-@intrathoracic] is seen .",
    "no radiographic evidence of [acute:->disease] [cardiopulmonary:A] [disease:-@cardiopulmonary] .",
    "[acute:->disease] [cardiopulmonary:A] [disease:-@cardiopulmonary] is not seen .",
    "there is no [acute:->process] [intrathoracic:A] [process:-@intrathoracic] .",
    "no [active:->disease] [cardiopulmonary:A] [disease:-@cardiopulmonary] .",
    "the radiograph shows no [acute:->disease] [intrathoracic:A] [disease:-@intrathoracic] .",
    "negative for [acute:->abnormality] [cardiopulmonary:A] [abnormality:-@cardiopulmonary] .",
)

NORMAL_CHESTS: Phrases = (
    "[normal:+@chest] [chest:A] .",
    "the [chest:A] is [normal:+@chest] .",
    "the [chest:A] is [unremarkable:+@chest] .",
    "[normal:+@chest] [chest:A] examination .",
    "[chest:A] radiograph [within normal limits:+@chest] .",
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
