"""A folder for PYTHONPATH: what each Python process that is watched does first."""
