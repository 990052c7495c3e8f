"""What brings records in: live sources, file formats and the agent; no analysis."""
