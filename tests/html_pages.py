"""What every page of one file must have, read with the parser of the standard library: a plain check, no browser."""

import re
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "br", "img", "link", "input", "hr", "col"}
HEADINGS = ("h1", "h2", "h3", "h4")


class Page(HTMLParser):
    """A page as a list of (tag, attributes, tags around it), and the faults of its nesting."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.faults, self.open, self.text = [], [], [], []
        self.feed(html)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")

    def handle_data(self, data):
        self.text.append(data)

    def of(self, *tags):
        return [attributes for tag, attributes, _ in self.elements if tag in tags]


def faults_of(html):
    """Return what is wrong with a page, as lines."""
    page = Page(html)
    return [
        *page.faults,
        *_ids(page),
        *_headings(page),
        *_texts(page),
        *_tables(page),
        *_requests(html, page),
    ]


def _ids(page):
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    yield from (f"id {name} stands twice" for name in set(ids) if ids.count(name) > 1)
    for _, attributes, _ in page.elements:
        named = attributes.get("aria-labelledby", "").split()
        if attributes.get("href", "").startswith("#"):
            named.append(attributes["href"][1:])
        named += re.findall(r"url\(#([^)]+)\)", " ".join(value or "" for value in attributes.values()))
        yield from (f"nothing has the id {name}" for name in named if name not in ids)


def _headings(page):
    levels = [int(tag[1]) for tag, _, _ in page.elements if tag in HEADINGS]
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"headings are {levels}, not one h1 and then others"
    yield from (f"h{after} follows h{before}" for before, after in pairwise(levels) if after > before + 1)


def _texts(page):
    yield from ("an img has no alt" for attributes in page.of("img") if not attributes.get("alt"))
    for attributes in page.of("svg"):
        named = attributes.get("role") == "img" and attributes.get("aria-label")
        if not named and attributes.get("aria-hidden") != "true":
            yield "an svg has no text"
    for _, attributes, _ in page.elements:
        if "tabindex" in attributes and not (attributes.get("role") and attributes.get("aria-label")):
            yield "what can be focused has no role or label"
    (root,) = page.of("html")
    if not root.get("lang") or len(page.of("main")) != 1 or not "".join(page.text).strip():
        yield "no language, no main, or no text"


def _tables(page):
    yield from ("a th has no scope" for attributes in page.of("th") if attributes.get("scope") not in ("row", "col"))
    if len(page.of("caption")) != len(page.of("table")):
        yield "a table has no caption"
    yield from (
        "a table cannot be scrolled" for tag, _, around in page.elements if tag == "table" and around[-1] != "div"
    )


def _requests(html, page):
    for tag, attributes, _ in page.elements:
        if tag in ("script", "link", "iframe", "object", "embed", "base", "form"):
            yield f"there is a {tag}"
        yield from (f"{name} is a script" for name in attributes if name.startswith("on"))
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            if not (attributes.get(name) or "#").startswith(("#", "data:image/")):
                yield f"{name} asks for {attributes[name][:60]}"
    yield from (f"asks for {found}" for found in re.findall(r"@import|url\((?!#)[^)]*\)|https?://", html))
