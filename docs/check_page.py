"""Open a page in headless Chromium: accessibility by axe-core, errors of the console, screenshots. `make page` runs it.

    python docs/check_page.py runs/page/report.html [--axe axe.min.js]

Writes light.png, dark.png and narrow.png (360 pixels wide) beside the page. The exit status is 1 for a serious
finding, an error of the console or a request. Without Chromium or axe-core (`apt-get install chromium`, `npm install
--no-save axe-core`) it says what is missing, and the exit status is 0.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr", "--v=0")
UNREACHABLE = "--proxy-server=127.0.0.1:9"
"""A proxy that is not there: a page that asks any host for anything gets an error in the console."""

DARK = "--blink-settings=preferredColorScheme=0"
LIGHT = "--blink-settings=preferredColorScheme=1"
SERIOUS = ("serious", "critical")
NARROW = 360
SHOTS = {"light": (1100, 6000, LIGHT), "dark": (1100, 6000, DARK)}
AXE = Path("node_modules/axe-core/axe.min.js")

RUN = """
axe.run(document, {resultTypes: ["violations"]}).then(found => {
  const where = v => v.nodes.map(node => node.html).slice(0, 3);
  const kept = found.violations.map(v => ({impact: v.impact, id: v.id, help: v.help, where: where(v)}));
  const all = document.createElement("pre");
  all.id = "axe-found";
  all.textContent = JSON.stringify(kept);
  document.body.append(all);
});
"""


def main() -> int:
    """Check a page; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--axe", type=Path, default=AXE, metavar="FILE", help=f"axe-core (default: {AXE})")
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    lacking = [*["chromium"] * (browser is None), *[str(options.axe)] * (not options.axe.is_file())]
    if browser is None or lacking:
        sys.stdout.write(f"{options.page}: not checked, there is no {' and no '.join(lacking)}\n")
        return 0
    text = options.page.read_text(encoding="utf-8")
    faults = []
    for scheme in (LIGHT, DARK):
        found, said = run_axe(browser, text, options.axe, scheme)
        faults += said
        for each in found:
            sys.stdout.write(f"axe, {each['impact']}: {each['help']} ({each['id']}): {each['where']}\n")
        faults += [each["id"] for each in found if each["impact"] in SERIOUS]
    for name, (width, height, scheme) in SHOTS.items():
        faults += shoot(browser, options.page.resolve(), options.page.with_name(f"{name}.png"), width, height, scheme)
    with tempfile.TemporaryDirectory() as folder:
        # A window of headless Chromium is no narrower than 500 pixels, a frame in it is.
        frame = Path(folder) / "narrow.html"
        style = f"border: 0; width: {NARROW}px; height: 8000px"
        frame.write_text(f'<body style="margin: 0"><iframe style="{style}" src="{options.page.resolve().as_uri()}">')
        faults += shoot(browser, frame, options.page.with_name("narrow.png"), NARROW + 140, 8000, LIGHT)
    for fault in dict.fromkeys(faults):
        sys.stdout.write(f"{options.page}: {fault}\n")
    sys.stdout.write(f"{options.page}: {'faults' if faults else 'no serious finding, no error, no request'}\n")
    return 1 if faults else 0


def run_axe(browser: str, text: str, axe: Path, scheme: str) -> tuple[list[dict], list[str]]:
    """Return what axe-core finds in a page, and errors of the console; the page itself has no script."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        script = axe.read_text(encoding="utf-8")
        copy.write_text(text.replace("</body>", f"<script>{script}</script><script>{RUN}</script></body>"), "utf-8")
        words = [scheme, UNREACHABLE, "--virtual-time-budget=60000", "--dump-dom", copy.as_uri()]
        done = subprocess.run([browser, *OPTIONS, *words], capture_output=True, text=True, timeout=300, check=True)
    found = re.search(r'<pre id="axe-found">(.*?)</pre>', done.stdout, re.DOTALL)
    if found is None:
        return [], ["axe-core did not finish"]
    return json.loads(html.unescape(found[1])), errors(done.stderr)


def shoot(browser: str, page: Path, picture: Path, width: int, height: int, scheme: str) -> list[str]:
    """Write a screenshot, and return errors of the console."""
    words = [scheme, UNREACHABLE, f"--screenshot={picture}", f"--window-size={width},{height}", page.as_uri()]
    done = subprocess.run([browser, *OPTIONS, *words], capture_output=True, text=True, timeout=300, check=True)
    return errors(done.stderr)


def errors(log: str) -> list[str]:
    """Return lines of the console, which a page without scripts leaves empty."""
    return [line.partition("] ")[2] for line in log.splitlines() if "CONSOLE" in line]


if __name__ == "__main__":
    sys.exit(main())
