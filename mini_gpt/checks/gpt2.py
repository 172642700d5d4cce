"""Checks for the exercises of the chapter on GPT-2."""
