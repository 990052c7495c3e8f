"""Every error a user can meet, as one tree.

::

    PinchpointError            exit status 1
    ├── InputError             an input cannot be read as what it claims to be
    │   └── UnknownFormat      no reader recognises the input
    ├── RecordError            a record does not fit its schema
    ├── StoreError             a store cannot do what was asked
    │   └── SegmentError       one segment of a store is torn or corrupt
    ├── IncidentNotFound       no incident has this id
    └── UsageError             exit status 2: what the user typed or configured cannot be meant
        ├── ConfigError        pinchpoint.toml holds an unknown key or a bad value
        └── CauseFileError     a cause file breaks the rules of the catalogue

Each message says what happened, where, and the next step. Only the command line turns errors into exit statuses.
"""


class PinchpointError(Exception):
    """Something a user can mend; the message is meant for them."""

    exit_status = 1


class InputError(PinchpointError):
    """An input cannot be read as what it claims to be."""


class UnknownFormat(InputError):
    """No reader recognises the input."""


class RecordError(PinchpointError):
    """A record does not fit its schema."""


class StoreError(PinchpointError):
    """A store cannot do what was asked of it."""


class SegmentError(StoreError):
    """One segment of a store is torn or corrupt; the others stay readable."""


class IncidentNotFound(PinchpointError):
    """No incident in the store has this id."""


class UsageError(PinchpointError):
    """What the user typed or configured cannot be meant."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration file holds an unknown key or a bad value."""


class CauseFileError(UsageError):
    """A cause file breaks the rules of the catalogue."""
