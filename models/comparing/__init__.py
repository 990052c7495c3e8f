"""Two runs held against each other: what changed in their steps, their operations and their settings."""
