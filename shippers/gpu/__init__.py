"""Readings and events of GPUs, read in a process of its own that can be killed when the driver hangs."""
