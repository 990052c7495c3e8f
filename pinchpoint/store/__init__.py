"""Where records live: in memory, in a lake of Parquet files, in Elasticsearch."""

from pinchpoint.store.base import IncidentFilter, SetAside, Split, Store, open_store

__all__ = ["IncidentFilter", "SetAside", "Split", "Store", "open_store"]
