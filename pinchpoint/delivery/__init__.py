"""Writing to Elasticsearch by rules under which nothing is lost and nothing comes twice, whoever carries the bytes."""

from pinchpoint.delivery.bulk import Answer, NoAnswer, Outgoing, Sender, Settlement

__all__ = ["Answer", "NoAnswer", "Outgoing", "Sender", "Settlement"]
