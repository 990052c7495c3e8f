"""Every error a user can meet, as one tree.

::

    PinchpointError            exit status 1
    ├── InputError             an input cannot be read as what it claims to be
    │   └── UnknownFormat      no reader recognises the input
    ├── RecordError            a record does not fit its schema
    ├── StoreError             a store cannot do what was asked
    │   ├── SegmentError       one segment of a store is torn or corrupt
    │   ├── StoreUnreachable   nothing answers where the store should be
    │   ├── StoreRefused       the server answers and does not let us: password, privilege, version, certificate
    │   ├── DeliveryRefused    a server takes no document until a person acts
    │   ├── DeliveryTimeout    a server took no document for too long
    │   └── DeadLetterError    what a server rejects cannot be set aside
    ├── IncidentNotFound       no incident has this id
    └── UsageError             exit status 2: what the user typed or configured cannot be meant
        ├── ConfigError        pinchpoint.toml holds an unknown key or a bad value
        ├── CauseFileError     a cause file breaks the rules of the catalogue
        └── MappingFileError   a file that says what documents of others mean breaks its rules

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


class StoreUnreachable(StoreError):
    """Nothing answers where the store should be."""


class StoreRefused(StoreError):
    """The server answers and does not let us: a wrong password, a missing privilege, another version, a bad certificate."""


class DeliveryRefused(StoreError):
    """A server takes no document until a person acts; nothing is lost, the documents are still to be sent."""

    @classmethod
    def of(cls, target: str, status: int, kind: str, reason: str) -> "DeliveryRefused":
        """The sentence for an answer: what was refused, why, and what to do.

        >>> str(DeliveryRefused.of("pinchpoint-cause-default", 403, "security_exception", "")).partition(".")[0]
        'the key or user may not write to pinchpoint-cause-default (403)'
        """
        said = f" ({reason})" if reason else f" ({status})"
        if status == 401:
            return cls(f"Elasticsearch does not know the key or password that is used{said}. "
                       "Make a new key with: pinchpoint setup elasticsearch")
        if kind == "cluster_block_exception":
            return cls(f"{target} cannot be written: it is read-only{said}. Take the block off with: "
                       f"PUT {target}/_settings {{\"index.blocks.write\": null, \"index.blocks.read_only_allow_delete\": null}}")
        if status == 403:
            return cls(f"the key or user may not write to {target}{said}. Make a key with the privilege: pinchpoint setup elasticsearch")
        if status == 404:
            return cls(f"Elasticsearch has no {target}{said}. Install the templates first: pinchpoint setup elasticsearch")
        return cls(f"Elasticsearch refuses bulks to {target}: {status} {kind}{said}. Is there a proxy in between?")


class DeliveryTimeout(StoreError):
    """A server took no document for longer than the caller waits; nothing is lost, the documents are still to be sent."""


class DeadLetterError(StoreError):
    """What a server rejects cannot be set aside; it counts as not sent."""


class IncidentNotFound(PinchpointError):
    """No incident in the store has this id."""


class UsageError(PinchpointError):
    """What the user typed or configured cannot be meant."""

    exit_status = 2


class ConfigError(UsageError):
    """A configuration file holds an unknown key or a bad value."""


class CauseFileError(UsageError):
    """A cause file breaks the rules of the catalogue."""


class MappingFileError(UsageError):
    """A file that says what documents of others mean breaks its rules."""
