"""Figures: frames first, then drawing."""
