"""Side-by-side benchmarks against installable peers (see README.md in this folder)."""
