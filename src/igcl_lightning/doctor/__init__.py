"""`igcl doctor`: problems of a store or a config, found before a long run. Nothing is changed.

findings.py       Finding, as a line and as data
opened.py         a store opened for inspection, also a damaged one
*_checks.py       checks of tables, reports, labels, configs and their batches
image_bytes.py    all images without decoding: pointers, equal bytes
looks.py          decoded images: broken, blank, wrong size   likeness.py  near duplicates, rotated images
config.py         a config parsed and built part by part   speed.py  rates of loader and model
page.py           findings and sample pairs as one HTML file   examination.py  all checks in order
"""
