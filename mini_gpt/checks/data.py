"""Checks for the exercises of the chapter on data."""
