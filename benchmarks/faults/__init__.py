"""Slowdowns really provoked on this machine, and healthy runs: how often the verdict is right."""
