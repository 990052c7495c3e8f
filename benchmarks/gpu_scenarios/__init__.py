"""Runs on simulated fleets of GPUs, slow for a known reason or healthy: how often the verdict is right."""
