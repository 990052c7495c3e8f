"""The catalogue of causes and the engine that weighs them."""

from models.causes.catalogue import Cause, load
from models.causes.engine import Attribution, Judgement, attribute

__all__ = ["Attribution", "Cause", "Judgement", "attribute", "load"]
