"""Keep Beam's remarks from people who asked why their job is slow."""

import logging


def quiet_beam() -> None:
    """Let only errors of Beam through; call it before Beam is imported, since some remarks are made then."""
    logging.getLogger().setLevel(logging.ERROR)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
