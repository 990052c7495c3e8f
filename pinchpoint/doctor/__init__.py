"""Tells why nothing arrives, or what is wrong with a store: checks that look and never write."""

from pinchpoint.doctor.check import Check, State, Subject

__all__ = ["Check", "State", "Subject"]
