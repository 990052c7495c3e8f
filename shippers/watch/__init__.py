"""Run a command and keep what it leaves behind: its steps, its output, the host under it."""
