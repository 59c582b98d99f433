"""A page in a headless browser without a network, and what a script sees and does there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
# Runs `steps` once the page has drawn its charts; what they return is left in the page as text.
PROBE = """
(async () => {
  const settle = () => new Promise((done) => setTimeout(done, 300));
  const menu = async (name, label) => {
    const select = document.querySelector(`select[name="${name}"]`);
    select.selectedIndex = [...select.options].findIndex((option) => option.label === label);
    select.dispatchEvent(new Event("change", { bubbles: true }));
    await settle();
  };
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const said = (path) => path.getAttribute("aria-label").split(": ")[0];
  const cells = () => all("#play-map .layer_0_marks path");
  const cell = (source, target) => cells().find((path) => said(path) === `${source} to ${target}`);
  const table = (within) =>
    all("tr", within).map((row) => [...row.cells].map((cell) => cell.textContent));
  const point = async (what, kind) => {
    const box = what.getBoundingClientRect();
    const place = { bubbles: true, cancelable: true, view: window, clientX: box.x + 3, clientY: box.y + 3 };
    what.dispatchEvent(new PointerEvent(kind, place));
    what.dispatchEvent(new MouseEvent(kind.replace("pointer", "mouse"), place));
    await settle();
  };
  const press = async (what, key) => {
    what.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    await settle();
  };
  let found;
  try {
    for (let i = 0; i < 200 && !document.documentElement.dataset.played; i++) await settle();
    found = await (async () => { STEPS })();
  } catch (error) { found = { error: String(error.stack) }; }
  parent.postMessage(JSON.stringify(found), "*");
})();
"""
# Windows have a least width, frames have none; what the page tells is left here as text.
FRAME = """<!DOCTYPE html><body style="margin:0"><pre id="probe"></pre>
<iframe src="probed.html" style="border:0;width:{width}px;height:{height}px"></iframe>
<script>onmessage = (told) => {{ document.getElementById("probe").textContent = told.data; }};</script>"""


def run(
    page: Path,
    steps: str,
    tmp_path: Path,
    width: int = 1200,
    height: int = 1000,
    dark: bool = False,
) -> Any:
    """What the JavaScript `steps` return, which may use what `PROBE` defines, in a copy of `page` in a
    window of this size in pixels. Fails where the page reports an error."""
    options = ["--force-dark-mode"] if dark else []
    for _ in range(3):  # on a busy machine its time may be over before the page has answered
        done = _chromium(page, steps, tmp_path, width, height, "--dump-dom", *options)
        errors = re.findall(r"CONSOLE.*(?:Uncaught|Refused|ERROR|violates).*", done.stderr)
        assert not errors, errors
        told = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
        assert told is not None, done.stderr
        if told[1]:
            break
    found = json.loads(unescape(told[1]))
    assert not (isinstance(found, dict) and "error" in found), found
    return found


def _chromium(
    page: Path, steps: str, tmp_path: Path, width: int, height: int, *options: str
) -> subprocess.CompletedProcess[str]:
    script = PROBE.replace("STEPS", steps)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = page.read_text(encoding="utf-8")
    policy = "script-src 'unsafe-eval'"
    assert text.count(policy) == 1
    before, _, after = text.replace(policy, f"{policy} 'sha256-{digest}'").rpartition("</body>")
    probed = f"{before}<script>{script}</script></body>{after}"
    (tmp_path / "probed.html").write_text(probed, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=width, height=height), encoding="utf-8")
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--proxy-server=127.0.0.1:9", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=60000", f"--window-size={max(width, 500)},{height}"]
    command += ["--enable-logging=stderr", *options, frame.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
