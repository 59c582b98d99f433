"""The part of the report that one can play with: a heatmap with menus, details of a pair, tables."""
