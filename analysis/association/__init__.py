"""What goes with gain, as tidy tables."""
