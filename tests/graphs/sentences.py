"""Invented sentences with their graphs, each for one phenomenon: what the parser promises.

A sentence stands with its graph: [words:label relations]. Labels: A anatomy, + present, ? uncertain, - absent.
Relations, sorted: >x modify, @x located_at, ~x suggestive_of. What stands outside the brackets is no entity.
"""

SENTENCES = {
    # Inside a phrase
    "a finding alone": "[Cardiomegaly:+] .",
    "modifiers": "[Small:+ >nodule] [calcified:+ >nodule] [nodule:+] .",
    "a side without anatomy": "There is a [left:A] [pneumothorax:+ @left] .",
    "anatomy before": "[Small:+ >effusion] [right:A >pleural] [pleural:A] [effusion:+ @pleural] .",
    "side and zone of an anatomy": "[Right:A >lobe] [upper:A >lobe] [lobe:A] [consolidation:+ @lobe] .",
    "adjective after the noun": "[Lower:A >lobe] [lobe:A] [airspace:A] [opacity:+ @airspace @lobe] .",
    "abbreviated lobe": "[RLL:A] [atelectasis:+ @RLL] .",
    "modifiers around anatomy": "[Large:+ >mass] [left:A >hilar] [hilar:A] [spiculated:+ >mass] [mass:+ @hilar] .",
    "modifiers in a list": "[Patchy:+ >opacities] and [linear:+ >opacities] [opacities:+] .",
    "side, then modifier": "[Bilateral:A] , [hazy:+ >opacities] [opacities:+ @Bilateral] .",
    "adjectives in a list": "[Hilar:A] and [mediastinal:A] [adenopathy:+ @Hilar @mediastinal] .",
    "volume as modifier": "[Volume:+ >loss] [loss:+ @lung] in the [left:A >lung] [lung:A] .",
    "amount of": "A [moderate:+ >fluid] amount of [left:A >pleural] [pleural:A] [fluid:+ @pleural] .",
    "hyphens": "[Left:A] - sided [effusion:+ @Left] with [ground - glass:+ >opacity] [opacity:+] .",
    "British spelling": "[Mild:+ >oedema] [interstitial:A] [oedema:+ @interstitial] and [haemothorax:+] .",
    "upper case": "[LARGE:+ >EFFUSION] [RIGHT:A] [EFFUSION:+ @RIGHT] .",
    "generic after a finding": "[Emphysema:+ >changes] [changes:+] .",
    "part with its device": "[PICC:+] with its [tip:+ >PICC @SVC] in the [SVC:A] .",
    "worsening as modifier": "[Worsening:+ >edema] [pulmonary:A] [edema:+ @pulmonary] .",
    "part of a device": "[PICC line:+] [tip:+ >PICC line @SVC] in the [SVC:A] .",
    "missing words": "[Opacity:+ @base] [left:A >base] [base:A] .",
    # Places
    "place after": "[Opacity:+ @zone] in the [left:A >zone] [mid:A >zone] [zone:A] .",
    "seen in a place": "A [nodule:+ @lobe] is seen within the [right:A >lobe] [middle:A >lobe] [lobe:A] .",
    "both sides of a finding": "[Pleural:A] [effusion:+ @Pleural @right] on the [right:A] .",
    "places in a list": "[Opacities:+ @apex @base] at the [left:A >base] [base:A] and the [right:A >apex] [apex:A] .",
    "coordinated zones": "[Opacity:+ @lobes] in the [upper:A >lobes] and [lower:A >lobes] [lobes:A] .",
    "place of a place": "[Consolidation:+ @apex] in the [apex:A >lung] of the [left:A >lung] [lung:A] .",
    "place first": "In the [left:A >lung] [lung:A] there is a [mass:+ @lung] .",
    "tube and its place": "[Endotracheal tube:+ @carina] above the [carina:A] .",
    "silhouetting": "[Opacity:+ @border] obscuring the [right:A >border] [heart:A >border] [border:A] .",
    # States of an anatomy
    "predicate": "The [heart:A] is [mildly:+ >enlarged] [enlarged:+ @heart] .",
    "state before": "[Clear:+ @lungs] [lungs:A] .",
    "state after": "[Lungs:A] [clear:+ @Lungs] .",
    "colon": "[Lungs:A] : [hyperinflated:+ @Lungs] .",
    "property": "[Heart:A] [size:A >Heart] is [normal:+ @Heart] .",
    "normal in size": "The [heart:A] is [normal:+ @heart] in size .",
    "of normal size": "The [heart:A] is of [normal:+ @heart] [size:A >heart] .",
    "silhouette": "[Enlarged:+ @silhouette] [cardiac:A >silhouette] [silhouette:A] .",
    "sign of an anatomy": "[Elevation:+ @hemidiaphragm] of the [left:A >hemidiaphragm] [hemidiaphragm:A] .",
    "state of several": "[Heart:A] and [mediastinum:A] are [within normal limits:+ @Heart @mediastinum] .",
    "state before several": "[Normal:+ @heart @mediastinum] [heart:A] and [mediastinum:A] .",
    "states in a list": "The [aorta:A] is [tortuous:+ @aorta] and [calcified:+ @aorta] .",
    "two statements": "[Heart:A] [normal:+ @Heart] and the [lungs:A] are [clear:+ @lungs] .",
    "state across but": "The [lungs:A] are [hyperinflated:+ @lungs] but [clear:+ @lungs] .",
    "change of a finding": "The [effusion:+] is [unchanged:+ >effusion] .",
    "change of several": "[Effusion:+] and [edema:+] have [improved:+ >Effusion >edema] .",
    "afterthought": "[Nodule:+ @lobe] in the [left:A >lobe] [lobe:A] , [stable:+ >Nodule] .",
    "size in a field": "[Heart:A] : [size:A >Heart] is [normal:+ @Heart] .",
    "a value after dashes": "[Heart:A] -- [enlarged:+ @Heart] .",
    # Denial
    "British spelling of a denial": "The [nodule:-] is no longer visualised .",
    "no": "No [pneumothorax:-] .",
    "modifiers are denied too": "No [focal:- >consolidation] [consolidation:-] .",
    "list under one denial": "No [pleural:A] [effusion:- @pleural] , [pneumothorax:-] or [edema:-] .",
    "no evidence of": "No evidence of [acute:- >disease] [cardiopulmonary:A] [disease:- @cardiopulmonary] .",
    "unknown word in between": "No worrisome [nodule:-] .",
    "not": "The [heart:A] is not [enlarged:- @heart] .",
    "free of": "The [lungs:A] are free of [consolidation:- @lungs] .",
    "without": "[Cardiomegaly:+] without [edema:-] .",
    "denial after": "[Effusion:-] or [pneumothorax:-] is not seen .",
    "resolved": "The [pneumothorax:-] has resolved .",
    "but ends a denial": "No [effusion:-] but [small:+ >pneumothorax] [pneumothorax:+] .",
    "with ends a denial": "No [pneumothorax:-] with [stable:+ >edema] [edema:+] .",
    "a new subject ends a denial": "No [effusion:-] and the [heart:A] is [enlarged:+ @heart] .",
    "a normal state ends a denial": "No [effusion:-] , [clear:+ @lungs] [lungs:A] .",
    "unchanged ends a denial": "No [effusion:-] , [unchanged:+ >cardiomegaly] [cardiomegaly:+] .",
    "a full statement ends a denial": "No [effusion:-] is seen , [heart:A] [enlarged:+ @heart] .",
    "pseudo-denial": "No change in the [large:+ >effusion] [effusion:+] .",
    "denied conclusion": "No [opacity:- ~pneumonia] to suggest [pneumonia:-] .",
    # Doubt
    "possible": "Possible [small:? >effusion] [effusion:?] .",
    "doubt goes on at or": "Probable [atelectasis:?] or [scarring:?] .",
    "doubt ends at and": "Possible [edema:?] and [cardiomegaly:+] .",
    "doubt after": "A [nodule:?] cannot be excluded .",
    "not excluded": "[Pneumonia:?] is not excluded .",
    "versus": "[Atelectasis:?] versus [pneumonia:?] .",
    # Conclusions
    "consistent with": "[Opacity:+ ~pneumonia] consistent with [pneumonia:+] .",
    "may represent": "[Opacity:+ ~atelectasis ~edema] which may represent [atelectasis:?] or [edema:?] .",
    "concerning for": "[Nodule:+ @lobe ~malignancy] in the [left:A >lobe] [lobe:A] is concerning for [malignancy:?] .",
    "conclusion from a state": "[Blunted:+ @angle ~effusion] [left:A >angle] [angle:A] due to [effusion:+] .",
    # No entities
    "de-identification marks": "XXXX [opacity:+ @lung] in the ___ [lung:A] .",
    "looks like anatomy": "Chest pain and heart rate of 90 .",
    "generic alone": "Findings were discussed .",
    "anatomy alone": "Views of the chest .",
    # Lists under one negation
    "list: textbook triple": (
        "There is no [focal:- >consolidation] [airspace:A] [consolidation:- @airspace] , [pleural:A] "
        "[effusion:- @pleural] or [pneumothorax:-] ."
    ),
    "list: four members, nor": (
        "No [infiltrate:-] , [edema:-] , [pleural:A] [effusion:- @pleural] , nor [pneumothorax:-] ."
    ),
    "list: and": "No [pneumothorax:-] and no [pleural:A] [effusion:- @pleural] .",
    "list: neither nor": "Neither [effusion:-] nor [pneumothorax:-] is identified .",
    "list: evidence of": (
        "There is no radiographic evidence of [pneumonia:-] , [congestive heart failure:-] , or [effusion:-] ."
    ),
    "list: slash": "No [effusion:-] / [pneumothorax:-] .",
    "list: modifiers on each": (
        "No [large:- >effusion] [effusion:-] or [suspicious:- >nodule] [pulmonary:A] [nodule:- @pulmonary] is seen ."
    ),
    "list: side inside": (
        "No [right:A] [pneumothorax:- @right] or [left:A >pleural] [pleural:A] [effusion:- @pleural] ."
    ),
    "list: without, three": (
        "[Stable:+ >cardiomegaly] [cardiomegaly:+] without [edema:-] , [effusion:-] , or [consolidation:-] ."
    ),
    "list: free of": "The [lungs:A] are free of [edema:- @lungs] , [masses:- @lungs] , and [infiltrates:- @lungs] .",
    "list: no masses or adenopathy": "No [masses:-] or [mediastinal:A] [adenopathy:- @mediastinal] .",
    "list: shared modifier": "No [focal:- >consolidation] [consolidation:-] or [mass:-] .",
    "list: shared anatomy adjective": "No [pleural:A] [effusion:- @pleural] or [thickening:- @pleural] .",
    "list: definite": "No definite [effusion:-] or [pneumothorax:-] .",
    "list: lack of": "There is absence of [consolidation:-] or [edema:-] .",
    # Pseudo-negation
    "pseudo: no significant change": "No significant change in the [bibasilar:A] [opacities:+ @bibasilar] .",
    "pseudo: no interval change": "There has been no interval change in [mild:+ >cardiomegaly] [cardiomegaly:+] .",
    "pseudo: no interval increase": "No interval increase in the [left:A >pleural] [pleural:A] [effusion:+ @pleural] .",
    "pseudo: without significant change": (
        "[Moderate:+ >edema] [pulmonary:A] [edema:+ @pulmonary] without significant change ."
    ),
    "pseudo: not significantly changed": "The [right:A] [pneumothorax:+ @right] has not significantly changed .",
    "pseudo: no change bare": "No significant interval change .",
    "pseudo: not excluded": "[Early:? >pneumonia] [pneumonia:?] is not excluded .",
    "pseudo: cannot be ruled out": (
        "A [small:? >effusion] [left:A >pleural] [pleural:A] [effusion:? @pleural] cannot be ruled out ."
    ),
    "pseudo: cannot exclude": "Cannot exclude [superimposed:? >infection] [infection:?] .",
    "pseudo: difficult to exclude": "[Underlying:? >consolidation] [consolidation:?] would be difficult to exclude .",
    "pseudo: no longer seen": "The [left:A] [pneumothorax:- @left] is no longer visualized .",
    "pseudo: no longer enlarged": "The [heart:A] is no longer [enlarged:- @heart] .",
    "pseudo: no new": "No [new:- >opacities] [opacities:-] .",
    "pseudo: no new, old stays": (
        "No [new:- >consolidation] [consolidation:-] , with [stable:+ >scarring] [apical:A] [scarring:+ @apical] ."
    ),
    "pseudo: not only": "There is not only [edema:+] but also a [right:A >pleural] [pleural:A] [effusion:+ @pleural] .",
    "pseudo: no improvement": (
        "There is no improvement in the [right:A >lobe] [lower:A >lobe] [lobe:A] [pneumonia:+ @lobe] ."
    ),
    # Hedges before and after
    "hedge: question of": "Question of a [tiny:? >pneumothorax] [left:A >apical] [apical:A] [pneumothorax:? @apical] .",
    "hedge: may be": "There may be a [trace:? >effusion] [right:A] [effusion:? @right] .",
    "hedge: possibly": "There is possibly [mild:? >edema] [interstitial:A] [edema:? @interstitial] .",
    "hedge: questionable": "Questionable [nodular:? >opacity] [opacity:? @apex] at the [right:A >apex] [apex:A] .",
    "hedge: suspected after": "A [small:? >effusion] [left:A] [effusion:? @left] is suspected .",
    "hedge: likely after": "[Mild:? >atelectasis] [bibasilar:A] [atelectasis:? @bibasilar] is likely .",
    "hedge: unlikely after": "[Pneumonia:?] is felt to be unlikely .",
    "hedge: unlikely to represent": "The [opacity:+ ~pneumonia] is unlikely to represent [pneumonia:?] .",
    "hedge: less likely": (
        "[Linear:+ >opacity] [lingular:A] [opacity:+ @lingular ~pneumonia ~scarring] likely represents "
        "[scarring:?] , less likely [pneumonia:?] ."
    ),
    "hedge: state": "The [heart:A] is probably [mildly:? >enlarged] [enlarged:? @heart] .",
    "hedge: state, may be": "The [cardiac:A >silhouette] [silhouette:A] may be [enlarged:? @silhouette] .",
    "hedge: ends at comma clause": (
        "Possible [small:? >effusion] [left:A] [effusion:? @left] , but no [pneumothorax:-] ."
    ),
    "hedge: should be considered": "[Atypical:? >infection] [infection:?] should be considered .",
    "hedge: presumed": "Presumed [atelectasis:? @base] at the [left:A >base] [base:A] .",
    "hedge: can not, split": "[Pneumonia:?] can not be excluded in the right clinical setting .",
    "hedge: possible after, two": "[Atelectasis:?] or [infiltrate:?] is possible .",
    "hedge: definite follows": "Possible [pneumonia:?] in addition to [known:+ >emphysema] [emphysema:+] .",
    # Where negation ends
    "end: but": (
        "No [focal:- >consolidation] [consolidation:-] but there is [mild:+ >congestion] [pulmonary:A "
        ">vascular] [vascular:A] [congestion:+ @vascular] ."
    ),
    "end: however": (
        "There is no [pneumothorax:-] ; however , a [moderate:+ >effusion] [right:A] [effusion:+ @right] "
        "[persists:+ >effusion] ."
    ),
    "end: however without semicolon": "No [pneumonia:-] is seen , however the [heart:A] is [enlarged:+ @heart] .",
    "end: although": (
        "No [overt:- >edema] [edema:-] , although the [pulmonary:A >vasculature] [vasculature:A] is "
        "[engorged:+ @vasculature] ."
    ),
    "end: although first": (
        "Although no [effusion:-] is seen , there is [blunting:+ @angle] of the [left:A >angle] "
        "[costophrenic:A >angle] [angle:A] ."
    ),
    "end: with": "No [pneumothorax:-] with [stable:+ >scarring] [biapical:A] [scarring:+ @biapical] .",
    "end: new clause": (
        "No [pleural:A] [effusion:- @pleural] and there is [minimal:+ >atelectasis] [left:A >basilar] "
        "[basilar:A] [atelectasis:+ @basilar] ."
    ),
    "end: other than": (
        "No [acute:- >abnormality] [abnormality:-] other than [mild:+ >atelectasis] [basilar:A] "
        "[atelectasis:+ @basilar] ."
    ),
    "end: except for": (
        "The [lungs:A] are [clear:+ @lungs] except for a [calcified:+ >granuloma] [granuloma:+ @lobe] in "
        "the [left:A >lobe] [upper:A >lobe] [lobe:A] ."
    ),
    "end: aside from": (
        "Aside from [minimal:+ >scarring] [scarring:+] , no [focal:- >abnormality] [abnormality:-] is seen ."
    ),
    "end: semicolon": "No [effusion:-] ; [mild:+ >hyperinflation] [hyperinflation:+] .",
    "end: while": (
        "The [right:A >lung] [lung:A] is [clear:+ @lung] while the [left:A >base] [base:A] shows "
        "[atelectasis:+ @base] ."
    ),
    "end: subject swap": (
        "No [pneumothorax:-] is present and [small:+ >effusions] [bilateral:A >pleural] [pleural:A] "
        "[effusions:+ @pleural] are [unchanged:+ >effusions] ."
    ),
    # Negation behind
    "behind: absent": "[Pleural:A] [effusion:- @Pleural] is absent .",
    "behind: is not seen": "A [pneumothorax:-] is not seen .",
    "behind: not demonstrated, list": "[Consolidation:-] , [effusion:-] and [pneumothorax:-] are not demonstrated .",
    "behind: has resolved": "The [right:A >pleural] [pleural:A] [effusion:- @pleural] has resolved .",
    "behind: has completely resolved": "Previously seen [edema:-] has completely resolved .",
    "behind: nearly resolved": (
        "The [right:A >pleural] [pleural:A] [effusion:+ @pleural] has [nearly resolved:+ >effusion] ."
    ),
    "behind: has cleared": "The [opacity:- @base] at the [left:A >base] [base:A] has cleared .",
    "behind: not identified after place": (
        "[Nodule:- @lobe] in the [right:A >lobe] [middle:A >lobe] [lobe:A] is not identified ."
    ),
    "behind: not evident": "[Acute:- >fracture] [rib:A] [fracture:- @rib] is not evident .",
    "front: negative for": (
        "Negative for [pneumothorax:-] , [effusion:-] , or [acute:- >consolidation] [consolidation:-] ."
    ),
    "front: interval resolution": "Interval resolution of [pulmonary:A] [edema:- @pulmonary] .",
    "front: resolved as adjective": "Resolved [left:A] [pneumothorax:- @left] .",
    # Coordination of places
    "places: one side, two zones": (
        "[Patchy:+ >opacities] [opacities:+ @lobes] in the [right:A >lobes] [upper:A >lobes] and "
        "[lower:A >lobes] [lobes:A] ."
    ),
    "places: two sides, two zones": (
        "[Consolidation:+ @lobes] in the [right:A >lobes] [lower:A >lobes] and [left:A >lobes] [upper:A "
        ">lobes] [lobes:A] ."
    ),
    "places: both bases": "[Streaky:+ >opacities] [opacities:+ @bases] at [both:A >bases] [lung:A >bases] [bases:A] .",
    "places: lobe and lingula": (
        "[Consolidation:+ @lingula @lobe] involving the [left:A >lobe] [lower:A >lobe] [lobe:A] and [lingula:A] ."
    ),
    "places: abbreviations": "[Infiltrates:+ @LLL @RLL] in the [RLL:A] and [LLL:A] .",
    "places: left greater than right": (
        "[Bilateral:A >pleural] [pleural:A] [effusions:+ @left @pleural @right] , [left:A] greater than [right:A] ."
    ),
    "places: right more than left": (
        "[Bibasilar:A] [opacities:+ @Bibasilar @left @right] , [right:A] more than [left:A] ."
    ),
    "places: right and left": "[Right:A >pleural] and [left:A >pleural] [pleural:A] [effusions:+ @pleural] .",
    "places: bilateral": "[Bilateral:A >interstitial] [interstitial:A] [opacities:+ @interstitial] .",
    "places: bibasilar": "[Mild:+ >atelectasis] [bibasilar:A] [atelectasis:+ @bibasilar] .",
    "places: bilaterally": "[Small:+ >effusions] [pleural:A] [effusions:+ @bilaterally @pleural] [bilaterally:A] .",
    "places: two findings each their own": (
        "[Left:A >lobe] [upper:A >lobe] [lobe:A] [nodule:+ @lobe] and [right:A >basilar] [basilar:A] "
        "[atelectasis:+ @basilar] ."
    ),
    "places: one place for two findings": "[Effusion:+] and [atelectasis:+ @base] at the [left:A >base] [base:A] .",
    "places: throughout": (
        "[Diffuse:+ >opacities] [reticular:+ >opacities] [opacities:+ @lungs] throughout [both:A >lungs] [lungs:A] ."
    ),
    "places: overlying": (
        "A [rounded:+ >density] [density:+ @rib] overlying the [right:A >rib] [fifth:A >rib] [rib:A] ."
    ),
    "places: between anatomies": "[Nodular:+ >density] [density:+ @hilum] adjacent to the [left:A >hilum] [hilum:A] .",
    # Conclusions
    "conclude: may represent": (
        "[Retrocardiac:A] [opacity:+ @Retrocardiac ~atelectasis] may represent [atelectasis:?] ."
    ),
    "conclude: could reflect or": (
        "[Hazy:+ >opacity] [opacity:+ @base ~aspiration ~pneumonia] at the [right:A >base] [base:A] "
        "could reflect [aspiration:?] or [pneumonia:?] ."
    ),
    "conclude: concerning for": (
        "[Right:A >lobe] [upper:A >lobe] [lobe:A] [consolidation:+ @lobe ~pneumonia] concerning for [pneumonia:?] ."
    ),
    "conclude: suspicious for": (
        "[Spiculated:+ >mass] [mass:+ @LUL ~malignancy] in the [LUL:A] , suspicious for [malignancy:?] ."
    ),
    "conclude: versus": (
        "[Left:A >basilar] [basilar:A] [opacity:+ @basilar ~atelectasis ~infiltrate] , [atelectasis:?] "
        "versus [infiltrate:?] ."
    ),
    "conclude: differential includes": (
        "[Opacity:+ @lobe ~atelectasis ~pneumonia] in the [left:A >lobe] [lower:A >lobe] [lobe:A] , "
        "differential includes [atelectasis:?] and [pneumonia:?] ."
    ),
    "conclude: likely representing": (
        "[Linear:+ >opacities] [bibasilar:A] [opacities:+ @bibasilar ~atelectasis] likely representing "
        "[subsegmental:? >atelectasis] [atelectasis:?] ."
    ),
    "conclude: likely after comma": (
        "[Opacity:+ @base ~atelectasis] at the [left:A >base] [base:A] , likely [atelectasis:?] ."
    ),
    "conclude: compatible with": (
        "[Interstitial:A] [prominence:+ @Interstitial ~edema] compatible with [mild:+ >edema] [edema:+] ."
    ),
    "conclude: secondary to": (
        "[Blunting:+ @angle ~scarring] of the [right:A >angle] [costophrenic:A >angle] [angle:A] "
        "secondary to [pleural:A] [scarring:+ @pleural] ."
    ),
    "conclude: likely secondary to": (
        "[Left:A >lung] [lung:A] [opacification:+ @lung ~effusion] is likely secondary to a [large:? "
        ">effusion] [effusion:?] ."
    ),
    "conclude: suggestive of": "[Perihilar:A] [haziness:+ @Perihilar ~edema] suggestive of [edema:?] .",
    "conclude: favored": "The [opacity:+ @RLL ~atelectasis] in the [RLL:A] is favored to represent [atelectasis:?] .",
    "conclude: raises possibility": (
        "[Cavitary:+ >lesion] [lesion:+ @lobe ~TB] in the [right:A >lobe] [upper:A >lobe] [lobe:A] "
        "raises the possibility of [TB:?] ."
    ),
    "conclude: generic subject": "These findings may represent [early:? >pneumonia] [pneumonia:?] .",
    "conclude: findings consistent with": "Findings consistent with [CHF:+] .",
    "conclude: from a state": "The [lungs:A] are [hyperinflated:+ @lungs ~COPD] , consistent with [COPD:+] .",
    "conclude: two findings, one conclusion": "[Cardiomegaly:+] and [edema:+ ~CHF] consistent with [CHF:+] .",
    "conclude: denied": "No findings to suggest [congestive heart failure:-] .",
    "conclude: related to": (
        "[Left:A >lung] [lung:A] [volume:+ >loss] [loss:+ @lung ~atelectasis] related to [atelectasis:+] ."
    ),
    # Modifiers behind
    "post: opacities, left basilar": "[Opacities:+ @basilar] , [left:A >basilar] [basilar:A] .",
    "post: which is small": "[Right:A >pleural] [pleural:A] [effusion:+ @pleural] which is [small:+ >effusion] .",
    "post: small after comma": "[Pneumothorax:+ @right] , [small:+ >Pneumothorax] , on the [right:A] .",
    "post: predicate size": "The [pleural:A] [effusions:+ @pleural] are [small:+ >effusions] .",
    "post: index style": "[Effusion:+] , pleural , small .",
    "post: that is calcified": (
        "A [nodule:+ @lung] in the [left:A >lung] [lung:A] that is [densely:+ >calcified] [calcified:+ >nodule] ."
    ),
    "post: moderate in size": "The [left:A] [effusion:+ @left] is [moderate:+ >effusion] in size .",
    "post: range": "[Mild to moderate:+ >cardiomegaly] [cardiomegaly:+] .",
    # Measurements
    "measure: before": "A [2 cm:+ >nodule] [nodule:+ @lung] in the [left:A >lung] [lung:A] .",
    "measure: measuring": (
        "[Nodule:+ @lobe] measuring [5 mm:+ >Nodule] in the [right:A >lobe] [upper:A >lobe] [lobe:A] ."
    ),
    "measure: two axes": "There is a [1.3 x 2.0 cm:+ >mass] [mass:+ @hilum] at the [right:A >hilum] [hilum:A] .",
    "measure: hyphen": "A [7 - mm:+ >granuloma] [calcified:+ >granuloma] [granuloma:+ @lingula] in the [lingula:A] .",
    "measure: is approximately": "The [mass:+] is approximately [3.5 cm:+ >mass] in diameter .",
    "measure: uncertain": "Possible [6 mm:? >nodule] [nodule:? @apex] at the [left:A >apex] [apex:A] .",
    "measure: tip above carina": "[ETT:+] [tip:+ >ETT @carina] is [4 cm:+ >tip] above the [carina:A] .",
    "measure: tube terminates": (
        "The [endotracheal tube:+ @carina] terminates [2.5 cm:+ >endotracheal tube] above the [carina:A] ."
    ),
    "measure: up to": "[Pulmonary:A] [nodules:+ @Pulmonary] measuring up to [8 mm:+ >nodules] .",
    "measure: no unit is none": "Radiograph obtained at 0630 hours on day 3 .",
    "measure: pneumothorax": (
        "[Right:A >apical] [apical:A] [pneumothorax:+ @apical] , [12 mm:+ >pneumothorax] in thickness ."
    ),
    # Comparison
    "compare: increased": (
        "Compared to the prior study , the [left:A >pleural] [pleural:A] [effusion:+ @pleural] has "
        "[increased:+ >effusion] ."
    ),
    "compare: slightly decreased": (
        "In comparison with the study of XXXX , the [right:A] [pneumothorax:+ @right] has [slightly:+ "
        ">decreased] [decreased:+ >pneumothorax] ."
    ),
    "compare: interval improvement": "Interval [improvement:+ >edema] of [pulmonary:A] [edema:+ @pulmonary] .",
    "compare: interval increase in": (
        "Interval [increase:+ >effusions] in [bilateral:A >pleural] [pleural:A] [effusions:+ @pleural] ."
    ),
    "compare: stable appearance of": (
        "[Stable:+ >opacity] appearance of the [right:A >lobe] [upper:A >lobe] [lobe:A] [opacity:+ @lobe] ."
    ),
    "compare: unchanged from": "[Cardiomegaly:+] is [unchanged:+ >Cardiomegaly] from prior .",
    "compare: has worsened": "[Bibasilar:A] [atelectasis:+ @Bibasilar] has [worsened:+ >atelectasis] since yesterday .",
    "compare: new since": (
        "[Patchy:+ >opacity] [opacity:+ @RLL] in the [RLL:A] is [new:+ >opacity] since the prior exam ."
    ),
    "compare: markedly improved": "The [edema:+] has [markedly:+ >improved] [improved:+ >edema] .",
    "compare: increased in size": (
        "The [nodule:+ @lung] in the [left:A >lung] [lung:A] has [increased:+ >nodule] in size ."
    ),
    "compare: again seen": "Again seen is [extensive:+ >emphysema] [subcutaneous:A] [emphysema:+ @subcutaneous] .",
    "compare: as before": (
        "As compared to the previous radiograph , there is [unchanged:+ >enlargement] [cardiac:A] "
        "[enlargement:+ @cardiac] ."
    ),
    "compare: grossly unchanged state": (
        "The [cardiomediastinal:A >silhouette] [silhouette:A] is grossly [unchanged:+ @silhouette] ."
    ),
    "compare: interval development": (
        "Interval [development:+ >effusion] of a [small:+ >effusion] [left:A] [effusion:+ @left] ."
    ),
    "compare: stable chest": "[Stable:+ @chest] [chest:A] radiograph .",
    "compare: both change words": (
        "The [right:A] [effusion:+ @right] has [decreased:+ >effusion] while the [pneumothorax:+] is "
        "[stable:+ >pneumothorax] ."
    ),
    # Section headers
    "header: findings": "FINDINGS : The [lungs:A] are [clear:+ @lungs] .",
    "header: numbered impression": (
        "IMPRESSION : 1 . [Stable:+ >cardiomegaly] [cardiomegaly:+] . 2 . No [acute:- >disease] "
        "[cardiopulmonary:A] [disease:- @cardiopulmonary] ."
    ),
    "header: both": "FINDINGS : [Heart:A] [size:A >Heart] is [normal:+ @Heart] . IMPRESSION : No [pneumonia:-] .",
    "header: organ as label": (
        "[HEART:A] : [Mild:+ >cardiomegaly] [cardiomegaly:+ @HEART] . [BONES:A] : No [acute:- >fracture] "
        "[fracture:- @BONES] ."
    ),
    "header: numbered without header": (
        "1 . [Small:+ >effusion] [left:A] [effusion:+ @left] . 2 . [Pneumothorax:-] is no longer seen ."
    ),
    "header: comparison": "COMPARISON : Chest radiograph from XXXX . FINDINGS : No [effusion:-] .",
    # De-identification
    "deid: XXXX for an adjective": "There is XXXX [opacity:+ @base] at the [left:A >base] [base:A] .",
    "deid: XXXX inside a denial": "No XXXX [effusion:-] or [pneumothorax:-] .",
    "deid: blanks for a date": "Since ___ , the [effusion:+] has [increased:+ >effusion] .",
    "deid: XXXX for a cue": "XXXX are clear .",
    "deid: XXXX behind": "[Degenerative:+ >changes] [changes:+ @spine] of the [spine:A] , XXXX .",
    # Abbreviations
    "abbr: RLL PNA": "[RLL:A] [PNA:+ @RLL] .",
    "abbr: CHF uncertain": "[Mild:? >CHF] [CHF:?] cannot be excluded .",
    "abbr: no PTX": "No [PTX:-] or [effusion:-] .",
    "abbr: ETT and NGT": "[ETT:+] and [NGT:+] are in standard position .",
    "abbr: PICC SVC": "[Right:A] [PICC:+ @Right] [tip:+ >PICC @SVC] in the [mid:A >SVC] [SVC:A] .",
    "abbr: COPD": "[Hyperinflation:+ ~COPD] consistent with [COPD:+] .",
    "abbr: TB": "No evidence of [active:- >TB] [TB:-] .",
    "abbr: CABG": "Status post [CABG:+] .",
    "abbr: AICD": "[Left:A] - sided [AICD:+ @Left] is in place .",
    "abbr: LUL": "[Calcified:+ >nodule] [LUL:A] [nodule:+ @LUL] .",
    # Misspellings
    "typo: pnuemothorax": "No [pnuemothorax:-] is seen .",
    "typo: atelectisis": "[Bibasilar:A] [atelectisis:+ @Bibasilar] .",
    "typo: consolidaton": "No [focal:- >consolidaton] [consolidaton:-] or [effussion:-] .",
    "typo: cardiomegally": "[Stable:+ >cardiomegally] [cardiomegally:+] .",
    "typo: effussion": "[Small:+ >effussion] [left:A >pleural] [pleural:A] [effussion:+ @pleural] .",
    "typo: infiltate": "[Right:A >lobe] [lower:A >lobe] [lobe:A] [infiltate:+ @lobe] .",
    "typo: anatomy": "[Opacity:+ @hemithroax] in the [left:A >hemithroax] [hemithroax:A] .",
    # Upper case and one-liners
    "case: no acute": "NO [ACUTE:- >DISEASE] [CARDIOPULMONARY:A] [DISEASE:- @CARDIOPULMONARY] .",
    "case: place": "[PATCHY:+ >INFILTRATE] [INFILTRATE:+ @LOBE] IN THE [LEFT:A >LOBE] [LOWER:A >LOBE] [LOBE:A] .",
    "case: state": "[HEART:A] [SIZE:A >HEART] IS [WITHIN NORMAL LIMITS:+ @HEART] .",
    "case: hedge": "POSSIBLE [SMALL:? >EFFUSION] [RIGHT:A >PLEURAL] [PLEURAL:A] [EFFUSION:? @PLEURAL] .",
    "line: normal chest": "[Normal:+ @chest] [chest:A] .",
    "line: no acute process": "No [acute:- >process] [cardiopulmonary:A] [process:- @cardiopulmonary] .",
    "line: no active disease": "No [active:- >disease] [disease:-] .",
    "line: CHF": "[Congestive heart failure:+] .",
    "line: acute abnormality": (
        "No evidence of [acute:- >abnormality] [intrathoracic:A] [abnormality:- @intrathoracic] ."
    ),
    "line: without full stop": "[Left:A >basilar] [basilar:A] [atelectasis:+ @basilar]",
    # Fragments
    "fragment: run-on": "[Heart:A] [normal:+ @Heart] , [lungs:A] [clear:+ @lungs] , no [effusion:-] or [PTX:-] .",
    "fragment: comma list of findings": "[Cardiomegaly:+] , [edema:+] , [small:+ >effusions] [effusions:+] .",
    "fragment: missing preposition": "[Nodule:+ @lung] [right:A >lung] [lung:A] , [stable:+ >Nodule] .",
    "fragment: state list": "[Lungs:A] [clear:+ @Lungs] , no [infiltrates:-] .",
    # Devices
    "device: standard position": "The [endotracheal tube:+] and [nasogastric tube:+] are in standard position .",
    "device: tip of": (
        "[Tip:+ >endotracheal tube @carina] of the [endotracheal tube:+] is [3 cm:+ >Tip] above the [carina:A] ."
    ),
    "device: jugular": (
        "[Right:A >internal jugular] [internal jugular:A] [central venous catheter:+ @internal jugular] "
        "with [tip:+ >central venous catheter @cavoatrial junction] at the [cavoatrial junction:A] ."
    ),
    "device: subclavian": (
        "[Left:A >subclavian] [subclavian:A] [catheter:+ @subclavian @superior vena cava] terminates in "
        "the [superior vena cava:A] ."
    ),
    "device: coiled": "The [NGT:+ @esophagus] is [coiled:+ >NGT] in the [esophagus:A] .",
    "device: side port": "[Enteric tube:+] [side port:+ >Enteric tube @diaphragm] is below the [diaphragm:A] .",
    "device: mainstem": (
        "The [ETT:+ @bronchus] terminates in the [right:A >bronchus] [mainstem:A >bronchus] [bronchus:A] ."
    ),
    "device: removed": "The [left:A] [chest tube:- @left] has been removed .",
    "device: removal without": "Interval removal of the [right:A] [chest tube:- @right] without [pneumothorax:-] .",
    "device: placement": "Interval placement of a [right:A] [chest tube:+ @right] .",
    "device: pacemaker leads": (
        "[Left:A >wall] [chest:A >wall] [wall:A] [pacemaker:+ @wall] with [leads:+ @atrium @ventricle] "
        "in the [right:A >atrium] [atrium:A] and [right:A >ventricle] [ventricle:A] ."
    ),
    "device: Swan-Ganz": (
        "[Swan - Ganz catheter:+ @artery] ends in the [right:A >artery] [pulmonary:A >artery] [artery:A] ."
    ),
    "device: port": (
        "[Right:A >wall] [chest:A >wall] [wall:A] [port:+ @wall] with [tip:+ >port @SVC] in the [lower:A "
        ">SVC] [SVC:A] ."
    ),
    "device: denied": "No [central line:-] is seen .",
    "device: unchanged": "The [left:A] [PICC line:+ @left] is [unchanged:+ >PICC line] in position .",
    "device: two tips": (
        "[ETT:+] [tip:+ >ETT @carina] above the [carina:A] and [NGT:+] [tip:+ >NGT @stomach] in the [stomach:A] ."
    ),
    # States of an anatomy
    "state: heart size and contours": (
        "[Heart:A] [size:A >Heart] and [mediastinal:A >contours] [contours:A] are [normal:+ @Heart @contours] ."
    ),
    "state: two adjectives one noun": (
        "The [cardiac:A >silhouettes] and [mediastinal:A >silhouettes] [silhouettes:A] are [stable:+ @silhouettes] ."
    ),
    "state: hila": "The [hila:A] are [unremarkable:+ @hila] .",
    "state: borderline": "[Heart:A] [size:A >Heart] is [borderline:+ @Heart] .",
    "state: upper limits": "[Heart:A] [size:A >Heart] is at the [upper limits of normal:+ @Heart] .",
    "state: not widened": "The [mediastinum:A] is not [widened:- @mediastinum] .",
    "state: diaphragm": (
        "The [left:A >hemidiaphragm] [hemidiaphragm:A] is [mildly:+ >elevated] [elevated:+ @hemidiaphragm] ."
    ),
    "state: flattened": "[Flattened:+ @diaphragms] [diaphragms:A] and [hyperexpanded:+ @lungs] [lungs:A] .",
    "state: bones": "The [osseous:A >structures] [structures:A] are [intact:+ @structures] .",
    "state: visualized bones": "Visualized [bony:A >structures] [structures:A] are [unremarkable:+ @structures] .",
    "state: osteopenic": "[Bones:A] are [diffusely:+ >osteopenic] [osteopenic:+ @Bones] .",
    "state: vasculature": "[Pulmonary:A >vasculature] [vasculature:A] is [within normal limits:+ @vasculature] .",
    "state: aorta": "[Tortuous:+ @aorta] [thoracic:A >aorta] [aorta:A] with [calcification:+ @arch] of the [arch:A] .",
    "state: aortic knob": "[Calcification:+ @knob] of the [aortic:A >knob] [knob:A] .",
    "state: low volumes": "[Lung:A] [volumes:A >Lung] are [low:+ @Lung] .",
    "state: low volumes before": (
        "[Low:+ @lung] [lung:A] [volumes:A >lung] with [crowding:+ @vasculature] of the [vasculature:A] ."
    ),
    "state: trachea": "The [trachea:A] is [midline:+ @trachea] .",
    "state: angles": "[Costophrenic:A >angles] [angles:A] are [sharp:+ @angles] .",
    "state: normal in size and contour": "The [heart:A] is [normal:+ @heart] in size and contour .",
    "state: otherwise clear": "The [lungs:A] are otherwise [clear:+ @lungs] .",
    "state: clear bilaterally": "[Lungs:A] are [clear:+ @Lungs @bilaterally] [bilaterally:A] .",
    "state: soft tissues": "The [soft tissues:A] are [unremarkable:+ @soft tissues] .",
    "state: several anatomies": "[Heart:A] , [hila:A] , and [mediastinum:A] are [normal:+ @Heart @hila @mediastinum] .",
    "state: hilar fullness": "[Right:A >hilar] [hilar:A] [fullness:+ @hilar] .",
    "state: lungs demonstrate no": "The [lungs:A] demonstrate no [consolidation:- @lungs] .",
    "state: denied shift": "No [mediastinal:A] [shift:- @mediastinal] .",
    # Surgery, spine, granulomas and the rest
    "surgery: wires": "Median [sternotomy wires:+] are [intact:+ >sternotomy wires] .",
    "surgery: pneumonectomy": "Status post [right:A] [pneumonectomy:+ @right] .",
    "surgery: clips": "[Surgical clips:+ @quadrant] in the [right:A >quadrant] [upper:A >quadrant] [quadrant:A] .",
    "surgery: changes": "[Postsurgical:+ >changes] [changes:+ @lung] in the [left:A >lung] [lung:A] .",
    "surgery: thoracentesis": "No [pneumothorax:-] status post [right:A] [thoracentesis:+ @right] .",
    "spine: degenerative changes": (
        "[Mild:+ >changes] [degenerative:+ >changes] [changes:+ @spine] of the [thoracic:A >spine] [spine:A] ."
    ),
    "spine: osteophytes": (
        "[Multilevel:+ >osteophytes] [osteophytes:+ @spine] along the [thoracic:A >spine] [spine:A] ."
    ),
    "spine: scoliosis": "[Mild:+ >scoliosis] [thoracic:A] [scoliosis:+ @thoracic] .",
    "spine: compression deformity": (
        "[Old:+ >deformity] [compression:+ >deformity] [deformity:+ @spine] in the [lower:A >spine] "
        "[thoracic:A >spine] [spine:A] ."
    ),
    "bone: healed fractures": "[Old:+ >fractures] [healed:+ >fractures] [left:A >rib] [rib:A] [fractures:+ @rib] .",
    "bone: no acute": "No [acute:- >abnormality] [osseous:A] [abnormality:- @osseous] .",
    "granuloma": "[Calcified:+ >granuloma] [granuloma:+ @base] at the [right:A >base] [lung:A >base] [base:A] .",
    "calcified nodes": "[Calcified:+ @lymph nodes] [hilar:A >lymph nodes] [lymph nodes:A] .",
    "prior disease": "Evidence of [prior:+ >disease] [granulomatous:+ >disease] [disease:+] .",
    "chronic changes": "[Chronic:+ >changes] [interstitial:A] [changes:+ @interstitial] .",
    "pleural thickening": "[Biapical:A >pleural] [pleural:A] [thickening:+ @pleural] .",
    "hiatal hernia": "[Moderate:+ >hernia] [hiatal:A] [hernia:+ @hiatal] .",
    "free air": "No [free air:- @diaphragm] under the [diaphragm:A] .",
    # Short ways to write, and where a denial ends
    "versus with a full stop": "[Effusion:?] vs. [atelectasis:?] .",
    "slashes: rule out": "r / o [pneumonia:?] .",
    "slashes: without": "[Lungs:A] [clear:+ @Lungs] w / o [effusion:-] .",
    "resolved after what persists": (
        "[Right:A] [effusion:+ @Right] [persists:+ >effusion] , [left:A] [effusion:- @left] has resolved ."
    ),
    "not resolved": "[Pneumonia:+] has not resolved .",
    "partly resolved": "[Partial resolution of:+ >effusion] [effusion:+] .",
    "none": "[Effusion:-] : none .",
    "isn't": "There isn't a [pneumothorax:-] .",
    "a described finding after a denial": ("No [pneumothorax:-] , [small:+ >effusion] [right:A] [effusion:+ @right] ."),
    "a list of denials with a size": "No [consolidation:-] , [large:- >effusion] [effusion:-] or [pneumothorax:-] .",
    "no more than": "No more than a [trace:+ >effusion] [effusion:+] .",
    "after a device": "No [pneumothorax:-] following [chest tube:+] placement .",
    "worse than": "[Opacity:+ @left @lobes @right] in the [lower:A >lobes] [lobes:A] , [left:A] worse than [right:A] .",
    "considering is no doubt here": "Considering technical factors the [heart:A] is [enlarged:+ @heart] .",
    "considering is a doubt here": "Consider [pneumonia:?] .",
    "vertebra": "[Fracture:+ @T8] of [T8:A] .",
    "a finding after a state": "[Heart:A] is [enlarged:+ @Heart ~effusion] , a finding suggestive of [effusion:?] .",
    # Where a denial ends, and what denies nothing
    "scope: the nodule is not seen on the": "The [nodule:+] is not seen on the lateral view .",
    "scope: a mass is visible on the frontal": (
        "A [mass:+] is visible on the frontal film but cannot be identified on the lateral radiograph ."
    ),
    "scope: a lingular opacity not clearly seen on": (
        "A [lingular:A] [opacity:+ @lingular] , not clearly seen on the second view ."
    ),
    "scope: opacity at the base which is not": (
        "[Opacity:+ @base] at the [base:A] , which is not visible on the prior ."
    ),
    "scope: nodule not seen on the pa image": "[Nodule:+] not seen on the PA image .",
    "scope: no effusion on the left and a": (
        "No [effusion:- @left] on the [left:A] and a [small:+ >effusion] [effusion:+ @right] on the [right:A] ."
    ),
    "scope: no effusion on the right small effusion": (
        "No [effusion:- @right] on the [right:A] , [small:+ >effusion] [effusion:+ @left] on the [left:A] ."
    ),
    "scope: no consolidation on the right and mild": (
        "No [consolidation:- @right] on the [right:A] and [mild:+ >atelectasis] [atelectasis:+ @left] on the [left:A] ."
    ),
    "scope: negative for pneumonia but positive for nodules": (
        "Negative for [pneumonia:-] but positive for [nodules:+] ."
    ),
    "scope: positive for edema negative for pneumothorax": ("Positive for [edema:+] , negative for [pneumothorax:-] ."),
    "scope: the edema has improved the pneumothorax has": (
        "The [edema:+] has [improved:+ >edema] , the [pneumothorax:-] has resolved ."
    ),
    "scope: consolidation persists effusion has resolved": (
        "[Consolidation:+] [persists:+ >Consolidation] , [effusion:-] has resolved ."
    ),
    "scope: the atelectasis is unchanged and the pneumothorax": (
        "The [atelectasis:+] is [unchanged:+ >atelectasis] and the [pneumothorax:-] is no longer seen ."
    ),
    "scope: normal chest without acute process": (
        "[Normal:+ @chest] [chest:A] without [acute:- >process] [process:-] ."
    ),
    "scope: cardiomegaly without acute disease": "[Cardiomegaly:+] without [acute:- >disease] [disease:-] .",
    "scope: without acute infiltrate": "Without [acute:- >infiltrate] [infiltrate:-] .",
    "scope: followup to ensure resolution of the pneumonia": (
        "Follow - up to ensure resolution of the [pneumonia:+] ."
    ),
    "scope: repeat films are advised to document clearing": (
        "Repeat films are advised to document clearing of the [consolidation:+] ."
    ),
    "scope: edema is also absent": "[Edema:-] is also absent .",
    "scope: effusion is now absent": "[Effusion:-] is now absent .",
    "scope: neither effusion nor edema are present": "Neither [effusion:-] nor [edema:-] are present .",
    "scope: this study excludes a large effusion": "This study excludes a [large:- >effusion] [effusion:-] .",
    "scope: a pneumothorax has been ruled out": "A [pneumothorax:-] has been ruled out .",
    "scope: a skin fold mimics a pneumothorax": "A skin fold mimics a pneumothorax .",
    "scope: a skin fold mimicking a pneumothorax is": "A skin fold mimicking a pneumothorax is seen .",
    "scope: the density simulates a nodule": "The [density:+] simulates a nodule .",
    "scope: a fat pad that resembles a mass": "A fat pad that resembles a mass .",
    "scope: costochondral calcification should not be mistaken for": (
        "[Costochondral:A] [calcification:+ @Costochondral] should not be mistaken for a nodule ."
    ),
    "scope: no evidence whatsoever of pneumothorax": "No evidence whatsoever of [pneumothorax:-] .",
    "scope: the lungs show neither consolidation nor effusion": (
        "The [lungs:A] show neither [consolidation:- @lungs] nor "
        "[effusion:-] but the [heart:A] is [enlarged:+ @heart] ."
    ),
    "scope: the small effusion described earlier is not": (
        "The [small:? >effusion] [effusion:?] described earlier is not convincing ."
    ),
    "scope: no consolidation and no effusion on the": (
        "No [consolidation:-] , and no [effusion:- @left] on the [left:A] , but a "
        "[trace:+ >effusion] [effusion:+ @right] on the [right:A] ."
    ),
    "scope: cardiomegaly no edema small effusion": (
        "[Cardiomegaly:+] , no [edema:-] , [small:+ >effusion] [effusion:+] ."
    ),
    "scope: no pneumothorax after the chest tube was": "No [pneumothorax:-] after the [chest tube:+] was placed .",
    "scope: failure to clear the consolidation": "Failure to clear the [consolidation:+] .",
    "scope: no pneumothorax following removal of the drain": (
        "No [pneumothorax:-] following removal of the [drain:-] ."
    ),
    "scope: there is no consolidation a small effusion": (
        "There is no [consolidation:-] ; a [small:+ >effusion] [effusion:+] is present ."
    ),
    "scope: no pneumothorax although there is a moderate": (
        "No [pneumothorax:-] , although there is a [moderate:+ >effusion] [effusion:+] ."
    ),
    "scope: no evidence of pneumothorax effusions are stable": (
        "No evidence of [pneumothorax:-] ; [effusions:+] are [stable:+ >effusions] ."
    ),
    "scope: the left costophrenic angle is sharp and": (
        "The [left:A >angle] [costophrenic:A >angle] [angle:A] is [sharp:+ @angle] and there is no [effusion:-] ."
    ),
    "scope: no nodule is visible on the frontal": (
        "No [nodule:-] is visible on the frontal view , but a [nodule:+] is present on the lateral view ."
    ),
    "scope: nodule is seen only on the frontal": (
        "[Nodule:+] is seen only on the frontal view and not on the lateral ."
    ),
    "scope: the opacity is not appreciated on the": (
        "The [opacity:+ @lateral] is not appreciated on the [lateral:A] ."
    ),
    "scope: the mass cannot be seen on the": "The [mass:+] cannot be seen on the frontal projection .",
    "scope: not identified on the second projection the": (
        "Not identified on the second projection , the [nodule:+ @base] lies in the [left:A >base] [base:A] ."
    ),
    "scope: the right lung is clear and there": (
        "The [right:A >lung] [lung:A] is [clear:+ @lung] , and there is a [mass:+ @left] in the [left:A] ."
    ),
    "scope: edema has cleared but the effusions have": "[Edema:-] has cleared but the [effusions:+] have not .",
    "scope: the pneumothorax has resolved while the effusion": (
        "The [pneumothorax:-] has resolved , while the [effusion:+] [persists:+ >effusion] ."
    ),
    "scope: nothing to suggest a pneumothorax or an": "Nothing to suggest a [pneumothorax:-] or an [effusion:-] .",
    "scope: there is no pneumothorax nor is there": ("There is no [pneumothorax:-] , nor is there an [effusion:-] ."),
    "scope: there is neither a nodule nor a": "There is neither a [nodule:-] nor a [mass:-] .",
    "scope: neither effusion nor pneumothorax heart enlarged": (
        "Neither [effusion:-] nor [pneumothorax:-] ; [heart:A] [enlarged:+ @heart] ."
    ),
    "scope: both effusions have resolved": "[Both:A] [effusions:- @Both] have resolved .",
    "scope: atelectasis rather than consolidation": "[Atelectasis:+] rather than [consolidation:-] .",
    "scope: atelectasis not pneumonia": "[Atelectasis:+] , not [pneumonia:-] .",
    "scope: this is scarring and not a nodule": "This is [scarring:+] and not a [nodule:-] .",
    "scope: small effusion but no longer any pneumothorax": (
        "[Small:+ >effusion] [effusion:+] but no longer any [pneumothorax:-] ."
    ),
    "scope: there is no consolidation apart from a": (
        "There is no [consolidation:-] apart from a [small:+ >opacity] [opacity:+ @base] at the [base:A] ."
    ),
    "scope: no abnormality save for a small granuloma": (
        "No [abnormality:-] save for a [small:+ >granuloma] [granuloma:+] ."
    ),
    "scope: no effusion with the exception of blunting": (
        "No [effusion:-] , with the exception of [blunting:+ @angle] of the [left:A >angle] [angle:A] ."
    ),
    "scope: no acute disease with the exception of": (
        "No [acute:- >disease] [disease:-] with the exception of a [small:+ >nodule] [nodule:+] ."
    ),
    "scope: the lungs are not without abnormality": "The [lungs:A] are not without [abnormality:+ @lungs] .",
    "scope: pneumothorax has been excluded": "[Pneumothorax:-] has been excluded .",
    "scope: ct has ruled out a mass": "CT has ruled out a [mass:-] .",
    "scope: the mass has been ruled out by": "The [mass:-] has been ruled out by CT .",
    "scope: absence of edema": "Absence of [edema:-] .",
    "scope: negative study for pneumonia": "Negative study for [pneumonia:-] .",
    "scope: the study is negative for pneumothorax and": (
        "The study is negative for [pneumothorax:-] and [effusion:-] ."
    ),
    "scope: positive for consolidation and effusion": "Positive for [consolidation:+] and [effusion:+] .",
    "scope: effusion is positive": "[Effusion:+] is positive .",
    "scope: no pneumothorax catheter in place": "No [pneumothorax:-] , [catheter:+] in place .",
    "scope: no focal consolidation with mild vascular congestion": (
        "No [focal:- >consolidation] [consolidation:-] , with "
        "[mild:+ >congestion] [vascular:A] [congestion:+ @vascular] ."
    ),
    "scope: without effusion or pneumothorax the lungs show": (
        "Without [effusion:-] or [pneumothorax:-] , the [lungs:A] show [nodules:+ @lungs] ."
    ),
    "scope: no new consolidation the old opacity persists": (
        "No [new:- >consolidation] [consolidation:-] ; the [old:+ >opacity] [opacity:+] [persists:+ >opacity] ."
    ),
    # Doubt
    "doubt: there could also be a small effusion": "There could also be a [small:? >effusion] [effusion:?] .",
    "doubt: there may also be a small effusion": "There may also be a [small:? >effusion] [effusion:?] .",
    "doubt: there might as well be some edema": "There might as well be some [edema:?] .",
    "doubt: there may well be a nodule": "There may well be a [nodule:?] .",
    "doubt: a small effusion could also be present": "A [small:? >effusion] [effusion:?] could also be present .",
    "doubt: there could conceivably be a pneumothorax": "There could conceivably be a [pneumothorax:?] .",
    "doubt: pneumonia": "? [pneumonia:?]",
    "doubt: left base opacity pneumonia": "[Left:A >base] [base:A] [opacity:+ @base] ? [pneumonia:?] .",
    "doubt: effusion": "? ? [effusion:?]",
    "doubt: opacity at the base atelectasis": "[Opacity:+ @base] at the [base:A] ( ? [atelectasis:?] ) .",
    "doubt: rll opacity pneumonia": "[RLL:A] [opacity:+ @RLL ~pneumonia] , ? [pneumonia:?] .",
    "doubt: either atelectasis or pneumonia": "Either [atelectasis:?] or [pneumonia:?] .",
    "doubt: this is either an effusion or pleural": (
        "This is either an [effusion:? @pleural] or [pleural:A] [thickening:? @pleural] ."
    ),
    "doubt: pneumothorax could not be completely ruled out": ("[Pneumothorax:?] could not be completely ruled out ."),
    "doubt: pneumothorax cant be ruled out": "[Pneumothorax:?] can't be ruled out .",
    "doubt: pneumothorax cant be excluded": "[Pneumothorax:?] can't be excluded .",
    "doubt: a nodule couldnt be excluded": "A [nodule:?] couldn't be excluded .",
    "doubt: an effusion cannot be ruled out entirely": "An [effusion:?] cannot be ruled out entirely .",
    "doubt: an effusion cannot reliably be excluded": "An [effusion:?] cannot reliably be excluded .",
    "doubt: pneumonia cannot be confidently ruled out": "[Pneumonia:?] cannot be confidently ruled out .",
    "doubt: pneumonia has not been excluded": "[Pneumonia:?] has not been excluded .",
    "doubt: pneumonia has not been ruled out": "[Pneumonia:?] has not been ruled out .",
    "doubt: pneumonia is not entirely excluded": "[Pneumonia:?] is not entirely excluded .",
    "doubt: we cant rule out an effusion": "We can't rule out an [effusion:?] .",
    "doubt: one cannot exclude a small pneumothorax": (
        "One cannot exclude a [small:? >pneumothorax] [pneumothorax:?] ."
    ),
    "doubt: neither mass nor infiltrate is excluded": "Neither [mass:?] nor [infiltrate:?] is excluded .",
    "doubt: the lungs are not free of edema": "The [lungs:A] are not free of [edema:+ @lungs] .",
    "doubt: not free of edema": "Not free of [edema:+] .",
    "doubt: there is no doubt about the effusion": "There is no doubt about the [effusion:+] .",
    "doubt: there is no doubt that there is": "There is no doubt that there is an [effusion:+] .",
    "doubt: undoubtedly a pneumothorax": "Undoubtedly a [pneumothorax:+] .",
    "doubt: absence of a pneumothorax cannot be confirmed": "Absence of a [pneumothorax:?] cannot be confirmed .",
    "doubt: a nodule has to be considered": "A [nodule:?] has to be considered .",
    "doubt: a nodule must be considered": "A [nodule:?] must be considered .",
    "doubt: one must consider pneumonia": "One must consider [pneumonia:?] .",
    "doubt: suspicious for but not diagnostic of a": (
        "Suspicious for , but not diagnostic of , a [hilar:A] [mass:? @hilar] ."
    ),
    "doubt: pneumonia is not likely": "[Pneumonia:?] is not likely .",
    "doubt: pneumonia is improbable": "[Pneumonia:?] is improbable .",
    "doubt: the finding is not diagnostic of pneumonia": "The finding is not diagnostic of [pneumonia:?] .",
    "doubt: effusion is equivocal": "[Effusion:?] is equivocal .",
    "doubt: i suspect a small effusion": "I suspect a [small:? >effusion] [effusion:?] .",
    "doubt: more likely atelectasis than pneumonia": "More likely [atelectasis:?] than [pneumonia:?] .",
    "doubt: this could well represent pneumonia": "This could well represent [pneumonia:?] .",
    "doubt: effusion is difficult to rule out": "[Effusion:?] is difficult to rule out .",
    "doubt: pneumonia may be present": "[Pneumonia:?] may be present .",
    "doubt: pneumonia might be considered": "[Pneumonia:?] might be considered .",
    "doubt: nodule suspected": "[Nodule:?] suspected .",
    "doubt: i cannot be certain that there is": "I cannot be certain that there is no [effusion:?] .",
    # Changes that did not happen
    "change: the effusion has not increased": "The [effusion:+] has not increased .",
    "change: the effusion is no worse": "The [effusion:+] is no worse .",
    "change: the edema is no better": "The [edema:+] is no better .",
    "change: the nodule is not larger": "The [nodule:+] is not larger .",
    "change: the pneumothorax is no larger than before": "The [pneumothorax:+] is no larger than before .",
    "change: the effusion has not changed": "The [effusion:+] has not changed .",
    "change: the opacity has not improved": "The [opacity:+] has not improved .",
    "change: edema has not worsened": "[Edema:+] has not worsened .",
    "change: the effusion did not increase": "The [effusion:+] did not increase .",
    "change: the nodule did not grow": "The [nodule:+] did not grow .",
    "change: effusion hasnt decreased": "[Effusion:+] hasn't decreased .",
    "change: the consolidation is not progressing": "The [consolidation:+] is not progressing .",
    "change: effusion is without increase": "[Effusion:+] is without increase .",
    "change: no further increase of the effusion": "No further increase of the [effusion:+] .",
    "change: no larger effusion": "No [larger:- >effusion] [effusion:-] .",
    "change: the pneumothorax has not enlarged": "The [pneumothorax:+] has not enlarged .",
    "change: the lines are unchanged and the effusion": (
        "The [lines:+] are [unchanged:+ >lines] and the [effusion:+] is not any larger ."
    ),
    "change: the effusion has not grown": "The [effusion:+] has not grown .",
    "change: effusion no increase": "[Effusion:+] : no increase .",
    "change: the effusion shows no increase": "The [effusion:+] shows no increase .",
    "change: the nodule shows no growth": "The [nodule:+] shows no growth .",
    "change: the pneumothorax is not getting larger": "The [pneumothorax:+] is not getting larger .",
    "change: edema is neither better nor worse": "[Edema:+] is neither better nor worse .",
    "change: the opacity is not any worse": "The [opacity:+] is not any worse .",
    "change: no worsening of the edema": "No worsening of the [edema:+] .",
    "change: the effusion has failed to decrease": "The [effusion:+] has failed to decrease .",
    "change: there has been no increase in the": "There has been no increase in the size of the [effusion:+] .",
    "change: there is no enlargement of the nodule": "There is no [enlargement:-] of the [nodule:+] .",
    "change: the opacity has not cleared": "The [opacity:+] has not cleared .",
    "change: the infiltrate did not improve": "The [infiltrate:+] did not improve .",
    "change: the consolidation has not progressed": "The [consolidation:+] has not progressed .",
    "change: the effusion is not bigger than before": "The [effusion:+] is not bigger than before .",
    "change: effusions are not larger": "[Effusions:+] are not larger .",
    "change: the pneumothorax is no smaller": "The [pneumothorax:+] is no smaller .",
    "change: no further improvement of the edema": "No further improvement of the [edema:+] .",
    "change: without worsening of the edema": "Without worsening of the [edema:+] .",
    # Where a finding is not, and views
    "place: right effusion none on the left": "[Right:A] [effusion:+ @Right] , none on the left .",
    "place: small right effusion but not on the": (
        "[Small:+ >effusion] [right:A] [effusion:+ @right] , but not on the left ."
    ),
    "place: consolidation of the left lung sparing the": (
        "[Consolidation:+ @lung] of the [left:A >lung] [lung:A] , sparing the apex ."
    ),
    "place: opacities throughout the right lung with sparing": (
        "[Opacities:+ @lung] throughout the [right:A >lung] [lung:A] with sparing of the base ."
    ),
    "place: edema spares the apices": "[Edema:+] spares the apices .",
    "place: nodule seen on both views": "[Nodule:+] seen on both views .",
    "place: the mass is visible on two views": "The [mass:+] is visible on two views .",
    "place: the patient is rotated to the left": "The patient is rotated to the left .",
    "place: patient rotated to the right": "Patient rotated to the right .",
    "place: opacity on the left lateral view": "[Opacity:+] on the left lateral view .",
    "place: opacity in the right but not the": "[Opacity:+ @right] in the [right:A] but not the left lung .",
    "place: nodule projecting on the frontal view over": (
        "[Nodule:+ @apex] projecting on the frontal view over the [right:A >apex] [apex:A] ."
    ),
    "place: effusion on the right none on the": "[Effusion:+ @right] on the [right:A] , none on the left .",
    "place: effusion on the right but not the": "[Effusion:+ @right] on the [right:A] but not the left .",
    "place: opacities in all lobes except the lingula": ("[Opacities:+ @lobes] in all [lobes:A] except the lingula ."),
    "place: opacities throughout the lungs excluding the apices": (
        "[Opacities:+ @lungs] throughout the [lungs:A] excluding the apices ."
    ),
    "place: edema with relative sparing of the apices": "[Edema:+] with relative sparing of the apices .",
    "place: the consolidation does not involve the apex": "The [consolidation:+] does not involve the apex .",
    "place: consolidation of the lower lobe without involvement": (
        "[Consolidation:+ @lobe] of the [lower:A >lobe] [lobe:A] without [involvement:- @lingula] of the [lingula:A] ."
    ),
    "place: the nodule is seen on both projections": "The [nodule:+] is seen on both projections .",
    "place: slight rotation to the right": "Slight rotation to the right .",
    "place: the film is rotated to the left": "The film is rotated to the left .",
    # Another time, person or study: not in the graph
    "when: history of pneumonia": "History of pneumonia .",
    "when: history of lung cancer with new nodule": "History of lung cancer with [new:+ >nodule] [nodule:+] .",
    "when: known history of copd": "Known history of COPD .",
    "when: prior history of tuberculosis no active disease": (
        "Prior history of tuberculosis , no [active:- >disease] [disease:-] now ."
    ),
    "when: past medical history of chf": "Past medical history of CHF .",
    "when: patient has a history of pneumothorax": "Patient has a history of pneumothorax .",
    "when: pneumonia treated two years ago": "Pneumonia treated two years ago .",
    "when: he had pneumonia last year": "He had pneumonia last year .",
    "when: father died of lung cancer": "Father died of lung cancer .",
    "when: mother has tuberculosis": "Mother has tuberculosis .",
    "when: family history of lung cancer": "Family history of lung cancer .",
    "when: brother with sarcoidosis lungs are clear": ("Brother with sarcoidosis . [Lungs:A] are [clear:+ @Lungs] ."),
    "when: family member with tb": "Family member with TB .",
    "when: if fever develops consider pneumonia": "If fever develops , consider pneumonia .",
    "when: if there is concern for a mass": "If there is concern for a mass , CT could be obtained .",
    "when: if pneumothorax is suspected obtain expiratory views": (
        "If pneumothorax is suspected , obtain expiratory views ."
    ),
    "when: should an effusion develop a decubitus view": ("Should an effusion develop , a decubitus view would help ."),
    "when: ct to identify a small nodule": "CT to identify a small nodule .",
    "when: ct is recommended to look for a": "CT is recommended to look for a mass .",
    "when: ct is more sensitive for small nodules": "CT is more sensitive for small nodules .",
    "when: recommend ct for characterization of the nodule": ("Recommend CT for characterization of the [nodule:+] ."),
    "when: recommend decubitus films to detect an effusion": "Recommend decubitus films to detect an effusion .",
    "when: evaluate for pneumonia": "Evaluate for [pneumonia:?] .",
    "when: question of pneumonia in a patient with": "Question of [pneumonia:?] in a patient with fever .",
    "when: query pneumothorax": "Query [pneumothorax:?] .",
    "when: assess for edema": "Assess for [edema:?] .",
    "when: rule out pneumothorax": "Rule out [pneumothorax:?] .",
    "when: clinical question pneumonia": "Clinical question : pneumonia .",
    "when: reason for exam effusion": "Reason for exam : effusion .",
    "when: the patient was referred for pneumonia": "The patient was referred for pneumonia .",
    "when: on the previous film there was an": "On the previous film there was an effusion .",
    "when: the prior study showed an effusion now": "The prior study showed an effusion , now resolved .",
    "when: the effusion seen last week is no": "The [effusion:-] seen last week is no longer present .",
    "when: after drainage of a large effusion the": (
        "After drainage of a [large:- >effusion] [effusion:-] , the [effusion:-] can no longer be made out ."
    ),
    "when: to exclude a nodule ct is advised": "To exclude a [nodule:?] , CT is advised .",
    "when: in case of a pneumothorax call the": "In case of a pneumothorax , call the surgeon .",
    "when: followup in case pneumonia develops": "Follow - up in case pneumonia develops .",
    "when: previously treated for tuberculosis": "Previously treated for tuberculosis .",
    "when: remote history of rib fracture": "Remote history of rib fracture .",
    "when: old rib fracture": "[Old:+ >fracture] [rib:A] [fracture:+ @rib] .",
    "when: known emphysema": "[Known:+ >emphysema] [emphysema:+] .",
    "when: he suffered from tuberculosis as a child": "He suffered from tuberculosis as a child .",
    "when: status post treatment for pneumonia": "Status post treatment for pneumonia .",
    "when: prior pneumothorax now resolved": "[Prior:- >pneumothorax] [pneumothorax:-] , now resolved .",
    "when: pneumothorax last month": "Pneumothorax last month .",
    "when: her sister has lung cancer": "Her sister has lung cancer .",
    "when: strong family history of cancer": "Strong family history of cancer .",
    "when: there is a family history of tuberculosis": "There is a family history of tuberculosis .",
    "when: his uncle had mesothelioma": "His uncle had mesothelioma .",
    "when: ct could be performed to exclude a": "CT could be performed to exclude a [mass:?] .",
    "when: ct would help exclude a mass": "CT would help exclude a [mass:?] .",
    "when: mri may show a fracture not seen": "MRI may show a [fracture:-] not seen here .",
    "when: if an effusion is suspected ultrasound is": "If an effusion is suspected , ultrasound is advised .",
    "when: if symptoms persist repeat film to exclude": "If symptoms persist , repeat film to exclude pneumonia .",
    "when: when fever develops pneumonia must be considered": (
        "When fever develops , [pneumonia:?] must be considered ."
    ),
    "when: unless there is clinical concern for pneumonia": (
        "Unless there is clinical concern for pneumonia , no follow - up is needed ."
    ),
    "when: in the event of a pneumothorax repeat": "In the event of a pneumothorax , repeat the film .",
    "when: should a pneumothorax occur call us": "Should a pneumothorax occur , call us .",
    "when: ct may be useful to look for": "CT may be useful to look for emphysema .",
    "when: to detect small nodules ct is better": "To detect small nodules , CT is better .",
    "when: small nodules may be missed on radiographs": (
        "[Small:? >nodules] [nodules:?] may be missed on radiographs ."
    ),
    "when: a small nodule could be obscured": "A [small:? >nodule] [nodule:?] could be obscured .",
    "when: suspected pneumonia clinically": "Suspected [pneumonia:?] clinically .",
    "when: the clinician asks about a pneumothorax": "The clinician asks about a [pneumothorax:?] .",
    "when: patient with known lung cancer now with": (
        "Patient with [known:+ >cancer] [lung:A] [cancer:+ @lung] , now with [effusion:+] ."
    ),
    "when: patient known to have sarcoidosis": "Patient [known:+ >sarcoidosis] to have [sarcoidosis:+] .",
    "when: the prior radiograph demonstrated a left effusion": ("The prior radiograph demonstrated a left effusion ."),
    "when: earlier films showed an effusion which has": "Earlier films showed an [effusion:-] , which has gone .",
    "scope: another side": (
        "No [effusion:- @right] on the [right:A] , [dense:+ >opacity] [opacity:+ @left] on the [left:A] ."
    ),
    "scope: and a": "No [consolidation:-] and a [calcified:+ >nodule] [nodule:+] .",
    "when: devices stay": "History of [chest tube:+] and pneumothorax .",
    "when: years ago in the middle": "The [nodule:+] seen two years ago is [calcified:+ >nodule] .",
    "when: weeks ago and a change": "[Increased:+ >effusion] [effusion:+] from two weeks ago .",
    "when: consistent with a history": "[Hyperinflation:+ ~emphysema] in keeping with a history of [emphysema:+] .",
    "doubt: cannot discount": "Cannot discount a [small:? >effusion] [left:A] [effusion:? @left] .",
    "doubt: neither can be dismissed": "Neither [edema:?] nor [infection:?] can be dismissed .",
    "doubt: uncertain that": "It is not certain that there is a [nodule:?] .",
    "doubt: doubt about": "There is some doubt about a [fracture:?] .",
    "doubt: in doubt": "The [pneumothorax:?] is in doubt .",
    "doubt: if real": "A [nodule:? @apex] , if real , lies at the [apex:A] .",
    "doubt: small if any": "Small if any [effusion:?] .",
    "doubt: suggest without proof": "The [opacities:+ ~edema] suggest but do not prove [edema:?] .",
    "doubt: favored over": "[Atelectasis:?] is favored over [pneumonia:?] .",
    "doubt: less likely than": "[Pneumonia:?] is less likely than [edema:?] .",
    "doubt: favored at the end": "[Atelectasis:?] favored .",
    "doubt: unlikely after or": "[Edema:+] or , less likely , [pneumonia:?] .",
    "doubt: unlikely after a comma": "[Edema:?] is likely , [pneumonia:?] less likely .",
    "doubt: may or may not": "There may or may not be an [effusion:?] .",
    "doubt: cannot be distinguished": "[Atelectasis:?] cannot be distinguished from [consolidation:?] .",
    "doubt: difficult to distinguish": "It is difficult to distinguish [edema:?] from [pneumonia:?] .",
    "doubt: hidden behind": (
        "[Fluid:? @hemidiaphragm] may be hiding behind the [left:A >hemidiaphragm] [hemidiaphragm:A] ."
    ),
    "doubt: suspected in a place": "[Nodule:? @lingula] suspected in the [lingula:A] .",
    "doubt: neither confirmed nor excluded": "A [fracture:?] can be neither confirmed nor excluded .",
    "doubt: with or without": "[Atelectasis:+] with or without [effusion:?] .",
    "doubt: primary consideration": "[Pneumonia:?] is the primary consideration .",
    "doubt: to make sure that no": "CT to make sure that no [mass:?] lies behind the [consolidation:+] .",
    "doubt: absence not assured": "The absence of an [effusion:?] cannot be assumed .",
    "doubt: no doubt": "Without question the [effusion:+] is [larger:+ >effusion] .",
    "scope: a known place": "No [nodule:-] behind the [consolidation:+] .",
    "scope: neither has increased": "Neither [effusion:+] has increased .",
    "scope: neither has changed": "Neither [nodule:+] has changed .",
    "scope: none on one side": (
        "[Effusions:- @right] : none on the [right:A] , [moderate:+ >Effusions] on the [left:A] ."
    ),
    "scope: gone on one side": "[Pneumothorax:- @left] gone on the [left:A] , still present on the [right:A] .",
    "scope: no recurrence": "No recurrence of the [pneumothorax:-] .",
    "scope: until it has cleared": "Repeat film until the [pneumonia:+] has cleared .",
    "scope: stopping short": "[Consolidation:+] stopping short of the minor fissure .",
    "place: a list of places": (
        "[Fractures:+ @clavicle @rib] of the [left:A >rib] [fifth:A "
        ">rib] [rib:A] and of the [right:A >clavicle] [clavicle:A] ."
    ),
    "when: in a year": "Known prior pneumonia in 2014 .",
    "when: year in brackets": "Treated pneumonia ( 2015 ) .",
    "when: bare year": "Pneumothorax 2018 .",
    "when: in a month": "A left effusion was drained in May .",
    "when: on a date": "The pneumothorax of 3/4/2016 was small .",
    "when: a month and a change": "The [effusion:+] has [increased:+ >effusion] since March .",
    "when: a date and a denial": "The [nodule:-] seen in 2010 is not seen .",
    "when: a date and the present": "[Cardiomegaly:+] is present , as in 2014 .",
    "when: a pacemaker with its year": "[Pacemaker:+] implanted in 2015 .",
    "when: surgery in a year": "[Lobectomy:+] in 2008 for a mass .",
    "when: larger than in": "[Effusion:+] larger than in March .",
    "when: then and now": "[Nodule:+] of 5 mm in 2010 , now [8 mm:+ >Nodule] .",
    "when: had once and has now": "The patient had pneumonia and now has an [effusion:+] .",
    "when: with what is left": (
        "He had pleurisy as a child , with [residual:+ >thickening] [pleural:A] [thickening:+ @pleural] ."
    ),
    "when: history that persists": "History of [effusion:+] , which [persists:+ >effusion] .",
    "when: status post a disease": "Status post pneumonia .",
    "when: status post an old fracture": "Status post [old:+ >fracture] [rib:A] [fracture:+ @rib] .",
    "when: on the prior film seen": "On the prior film a small effusion was seen .",
    "when: seen on the last film": "Effusion was present on the last film .",
    "when: previously there was": "Previously there was an effusion .",
    "when: previously noted": "The previously noted [effusion:+] [persists:+ >effusion] .",
    "when: had at the start": "Had a chest tube until last week .",
    "when: there had been": "There had been an effusion .",
    "when: episodes of": "Previous episodes of pneumonia .",
    "when: film taken for": "New since the film taken for pneumonia is an [effusion:+] .",
    "when: none today": "A [pneumothorax:-] was drained on Monday ; none today .",
    "when: like her mother": "Like her mother , she has [cardiomegaly:+] .",
    "when: were there": "Were there an effusion , it would layer .",
    "when: may develop": "A pneumothorax may develop .",
    "when: if the nodule": "If the [nodule:+] grows , biopsy is advised .",
    "when: should the": "Should the [consolidation:+] persist , CT is advised .",
    "when: a tube that may be needed": "A chest tube may be needed .",
    "when: better at showing": "CT would be better at showing a nodule .",
    "when: compared with a date": "Compared with March 2016 , [small:+ >effusion] [effusion:+] .",
    "when: date of the study": "Chest radiograph of 3/4/2016 : [small:+ >effusion] [effusion:+] .",
    "scope: is not at the end": "[Edema:+] is present , [effusion:-] is not .",
    "scope: a finished list": "[Edema:+] and [effusion:+] are present , [pneumothorax:-] is absent .",
    "scope: an enlarged organ": "Without [effusion:-] , [heart:A] [enlarged:+ @heart] .",
    "scope: only": "No [consolidation:-] , only [atelectasis:+] .",
    "scope: an old fracture": "No [abnormality:-] , [old:+ >fractures] [rib:A] [fractures:+ @rib] .",
    "scope: no fewer than": "No fewer than [three:+ >nodules] [nodules:+] .",
    "scope: now otherwise": "[Heart:A] was not [enlarged:- @Heart] previously , now [enlarged:+ @Heart] .",
    "scope: what an absence means": "Absence of [lung:A] [markings:- @lung ~pneumothorax] indicates [pneumothorax:+] .",
    "scope: absence of what suggests": "Absence of findings to suggest [pneumonia:-] .",
    "scope: but no": "No [consolidation:-] , [cardiomegaly:+] but no [edema:-] .",
    "doubt: whether it is new": "It is uncertain whether the [effusion:+] is new .",
    "doubt: whether it is one": "It is uncertain whether the [opacity:?] is [atelectasis:?] .",
    "doubt: cannot be evaluated": "[Pneumothorax:?] cannot be evaluated .",
    "doubt: not assessable": "[Small:? >effusion] [effusion:?] is not assessable .",
    "answer: what follows a comma": "[Opacity:-] : no , probable [pneumonia:?] .",
    "answer: what follows an answer": "[Opacity:-] neg , probable [pneumonia:?] .",
    "number of findings": "[Two:+ >nodules] [calcified:+ >nodules] [nodules:+] .",
    "number of an anatomy": "[Fracture:+ @ribs] of two [ribs:A] .",
    # No entities
    "none: comparison": "Comparison is made to the prior study .",
    "none: correlation": "Clinical correlation is recommended .",
    "none: discussed": "Findings were discussed with Dr. X .",
    "none: views": "Frontal and lateral views of the chest were obtained .",
    "none: limited": "The exam is limited by patient rotation .",
    "none: follow-up": "Recommend chest CT for further evaluation .",
    "none: cut off": "The left costophrenic angle is excluded from the field of view .",
    "none: history": "INDICATION : Shortness of breath .",
}
