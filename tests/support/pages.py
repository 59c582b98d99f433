"""A report's page, taken apart."""

from __future__ import annotations

import re
from html import unescape


def apart(page: str) -> tuple[str, str]:
    """The page without its scripts, and these."""
    scripts = re.findall("<script.*?</script>", page, re.S)
    return re.sub("<script.*?</script>", "", page, flags=re.S), "\n".join(scripts)


def prose(page: str) -> str:
    """What is read on the page, without data."""
    return unescape(re.sub(r"<[^>]*>", " ", re.sub(r'"data:[^"]*"', "", apart(page)[0])))
