"""When and by which state of the software a page was made."""

from __future__ import annotations

import subprocess
from datetime import date
from importlib.metadata import version
from pathlib import Path


def made_today() -> str:
    """`Made on 2030-01-31 with version 1.2.3, commit 0123456789ab`; without a commit where the
    software is no checkout, and said where files of it were changed since."""
    text = f"Made on {date.today().isoformat()} with version {version('mvlpt-transfer')}"
    commit = (
        _git("rev-parse", "--short=12", "HEAD") if _git("ls-files", Path(__file__).name) else ""
    )
    if not commit:
        return f"{text}."
    changed = " with changes" if _git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{text}, commit {commit}{changed}."


def _git(*words: str) -> str:
    """What git says in the folder of this file; "" where it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
