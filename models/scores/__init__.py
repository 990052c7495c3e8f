"""Scores of what is out of line: scikit-learn estimators and plain functions over NumPy arrays, all deterministic."""
