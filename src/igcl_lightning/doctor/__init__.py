"""`igcl doctor`: what is wrong with a store or a config, found before a long run. Nothing is ever changed.

findings.py       Finding, and its forms as a line and as data
opened.py         a store opened in order to be looked at
*_checks.py       what is read of tables, reports, labels, configs
image_bytes.py    all images without decoding them: pointers, equal bytes
looks.py          images decoded: broken, blank, of another size   likeness.py  near duplicates, turned images
config.py         a config parsed and built part by part   speed.py  loader or model: which is the limit
page.py           findings and sample pairs as one HTML file   examination.py  all of it in order
"""
