"""Tests on the real frameworks: collected by `make test-frameworks` alone, which makes their environment."""

import os

if os.environ.get("PINCHPOINT_FRAMEWORKS") != "1":
    collect_ignore_glob = ["test_*.py"]
