"""The three prompt methods, their starts and files."""
