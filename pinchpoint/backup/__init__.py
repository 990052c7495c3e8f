"""Backups of a store: made, checked, listed, put back."""
