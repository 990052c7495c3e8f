"""Writing to Elasticsearch by rules under which nothing is lost and nothing comes twice, whoever carries the bytes."""

from pinchpoint.delivery.answers import Answer, NoAnswer
from pinchpoint.delivery.bulk import Sender, Settlement
from pinchpoint.delivery.documents import Outgoing

__all__ = ["Answer", "NoAnswer", "Outgoing", "Sender", "Settlement"]
