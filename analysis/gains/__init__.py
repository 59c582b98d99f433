"""Gains of transfer over scratch and what they are made of."""
