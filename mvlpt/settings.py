"""The documentation of every key of a configuration."""

from __future__ import annotations

from mvlpt_core.contract.schema import table
from mvlpt_core.contract.settings import Study


def settings_table(markdown: bool) -> str:
    """Every key of a configuration, one after the other."""
    rows = list(table(Study))
    if not markdown:
        parts = []
        for row in rows:
            more = f" Change it {row['change']}." if row["change"] else ""
            default = f" Default: {row['default']}." if row["default"] else ""
            parts.append(
                f"{row['key']}\n    {row['meaning']}\n    {row['expected']}.{default}{more}"
            )
        return "\n".join(parts)
    lines = [
        "# Every key of a configuration",
        "",
        "Made by `mvlpt settings --markdown` from the models that check a configuration.",
        "",
        "| key | legal values | default | meaning | when to change it |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        cells = (row[name].replace("|", "\\|") for name in list(row))
        key, expected, default, meaning, change = cells
        shown = f"`{default}`" if default not in ("", "required") else default
        lines.append(f"| `{key}` | {expected} | {shown} | {meaning} | {change} |")
    return "\n".join(lines)
