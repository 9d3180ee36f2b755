"""Figures from result objects."""
