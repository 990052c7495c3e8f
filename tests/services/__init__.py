"""Real servers for tests, on loopback, started without containers."""
