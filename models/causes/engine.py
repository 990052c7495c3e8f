"""Weigh the causes of a symptom against each other: they compete for the same lost seconds."""

import dataclasses

from models.causes.catalogue import Cause, Clause
from models.facts import FACTS
from models.facts.registry import Scope
from models.symptoms import Symptom
from models.view import STANDSTILLS
from pinchpoint import human

#: Evidence of at least this strength supports or excludes.
HOLDS = 0.5
#: A cause with less than this share of the lost seconds is not named.
LEAST_SHARE = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """One measured fact, and how strongly it speaks."""

    fact: str
    value: float | None
    baseline: float | None
    limit: float
    above: bool
    strength: float | None
    """0 does not hold, 0.5 holds, 1 holds strongly; None when it could not be measured."""


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What the evidence says of one cause."""

    cause: Cause
    strength: float
    """Mean strength of what is required; 0 when any of it is missing."""
    confidence: float
    evidence: tuple[Evidence, ...]
    because: str | None
    """Why it was ruled out; None when it is supported."""
    unknown: tuple[str, ...]
    """Required facts that could not be measured."""
    nearness: float
    """Share of what is required that holds: how near it came."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attribution:
    """Causes with their share of the lost seconds, most first; what was ruled out; what nobody explains."""

    named: tuple[tuple[Judgement, float], ...]
    rejected: tuple[Judgement, ...]
    unexplained_s: float


def attribute(symptom: Symptom, causes: dict[str, Cause]) -> Attribution:
    """Split the lost seconds of a symptom among the causes that its evidence supports.

    The seconds lost in a part of the step are split among the causes that explain that part, by the square of the strength of
    their evidence, so that a clear cause is not diluted by a vague one. Of errors and hangs the seconds may be unknown: then
    all supported causes are named, the surest first. What a cause that explains every part may claim is
    weighed at half, since what is nearer explains better. Causes below `LEAST_SHARE` give their seconds back as unexplained.
    """
    judged = [judge(cause, symptom) for cause in causes.values() if _concerns(cause, symptom)]
    supported = [one for one in judged if one.because is None]
    claims: dict[str, float] = dict.fromkeys((one.cause.name for one in supported), 0.0)
    for part, seconds in symptom.lost.items():
        weights = {one.cause.name: one.strength**2 * (0.5 if part not in one.cause.explains else 1.0)
                   for one in supported if _explains(one.cause, part) and not _stands_back(one.cause, part, supported)}
        whole = sum(weights.values())
        for name, weight in weights.items():
            claims[name] += seconds * weight / whole
    least = LEAST_SHARE * symptom.lost_seconds
    named = sorted(((one, claims[one.cause.name]) for one in supported if claims[one.cause.name] >= least),
                   key=lambda pair: (-pair[1], -pair[0].confidence, pair[0].cause.id))
    rejected = sorted((one for one in judged if one.because is not None and not one.cause.umbrella),
                      key=lambda one: (-one.nearness, one.cause.id))
    return Attribution(tuple(named), tuple(rejected), max(symptom.lost_seconds - sum(seconds for _, seconds in named), 0.0))


def _concerns(cause: Cause, symptom: Symptom) -> bool:
    """Whether a cause could explain a noticeable part of the symptom at all."""
    if cause.onset and symptom.scope.before is None:
        return False
    explained = [seconds for part, seconds in symptom.lost.items() if _explains(cause, part)]
    return bool(explained) and sum(explained) >= LEAST_SHARE * symptom.lost_seconds


def _explains(cause: Cause, part: str) -> bool:
    return part in cause.explains or ("all" in cause.explains and part not in STANDSTILLS)


def _stands_back(cause: Cause, part: str, supported: list[Judgement]) -> bool:
    """An umbrella never ends a chain while a cause below it is supported; a change only explains what nothing nearer does."""
    others = [one.cause for one in supported if one.cause is not cause and _explains(one.cause, part)]
    if cause.umbrella:
        return any(not one.umbrella for one in others)
    if cause.onset:
        return any(not one.umbrella and not one.onset for one in others)
    return False


def judge(cause: Cause, symptom: Symptom) -> Judgement:
    """Hold one cause against the facts."""
    scope = symptom.scope
    required = [_weigh(clause, scope) for clause in cause.required]
    supporting = [_weigh(clause, scope) for clause in cause.supporting]
    excluding = [_weigh(clause, scope) for clause in cause.excluding]
    evidence = tuple(one for one in (*required, *supporting) if one.strength is not None and one.strength >= HOLDS)
    unknown = tuple(name for clause, one in zip(cause.required, required, strict=True) if one.strength is None for name in clause.facts)
    because = _because(required, excluding, cause, unknown)
    strength = sum(one.strength or 0.0 for one in required) / len(required) if because is None else 0.0
    holding = sum(one.strength is not None and one.strength >= HOLDS for one in required)
    return Judgement(cause, strength, _confidence(strength, supporting, excluding), evidence, because, unknown, holding / len(required))


def _confidence(strength: float, supporting: list[Evidence], excluding: list[Evidence]) -> float:
    """Strength of what is required, lowered by support that is missing and by exclusions that could not be checked."""
    confidence = strength
    if supporting:
        confidence *= 0.75 + 0.25 * sum(one.strength or 0.0 for one in supporting) / len(supporting)
    for one in excluding:
        confidence *= 0.95 if one.strength is None else 1.0 - 0.5 * one.strength
    return min(confidence, 0.99)


def _because(required: list[Evidence], excluding: list[Evidence], cause: Cause, unknown: tuple[str, ...]) -> str | None:
    for one, clause in zip(excluding, cause.excluding, strict=True):
        if one.strength is not None and one.strength >= HOLDS:
            return f"{clause.because} ({tell(one.fact, one.value)})"
    for one in required:
        if one.strength is not None and one.strength < HOLDS:
            if FACTS[one.fact].unit == "flag":
                return f"{FACTS[one.fact].meaning[0].lower()}{FACTS[one.fact].meaning[1:]}: {tell(one.fact, one.value)}"
            word = "above" if one.above else "below"
            return f"{FACTS[one.fact].meaning[0].lower()}{FACTS[one.fact].meaning[1:]} is {tell(one.fact, one.value)}, " \
                   f"it needs {word} {tell(one.fact, one.limit)}"
    if unknown:
        return f"not measured: {', '.join(sorted({FACTS[name].needs for name in unknown}))}"
    return None


def _weigh(clause: Clause, scope: Scope) -> Evidence:
    if clause.any_of:
        found = [_weigh(one, scope) for one in clause.any_of]
        known = [one for one in found if one.strength is not None]
        return max(known, key=lambda one: one.strength or 0.0) if known else found[0]
    assert clause.fact is not None  # noqa: S101 (a clause has a fact or alternatives: catalogue._clause)
    value = FACTS[clause.fact].measure(scope)
    before = scope.baseline()
    baseline = FACTS[clause.fact].measure(before) if before is not None and before.steps else None
    above = clause.strong > clause.some
    reached = None if value is None else strength(value, clause.some, clause.strong)
    return Evidence(clause.fact, value, baseline, clause.some, above, reached)


def strength(value: float, some: float, strong: float) -> float:
    """How strongly a value speaks: 0 short of the limit `some`, 0.5 at it, 1 from the limit `strong` on.

    >>> [strength(value, 0.1, 0.2) for value in (0.09, 0.1, 0.15, 0.3)]
    [0.0, 0.5, 0.75, 1.0]
    """
    reached = (value - some) / (strong - some)
    return 0.0 if reached < 0 else min(0.5 + 0.5 * reached, 1.0)


def tell(fact: str, value: float | None) -> str:
    """A fact's value with its unit, for people.

    >>> tell("data_wait.share", 0.334)
    '33 %'
    """
    return "unknown" if value is None else in_unit(value, FACTS[fact].unit)


def in_unit(value: float, unit: str) -> str:
    """A value with its unit, in few digits.

    >>> in_unit(0.0123, "s"), in_unit(21504, "bytes"), in_unit(0.004, "ratio")
    ('12.3 ms', '21.5 kB', '0.4 %')
    """
    match unit:
        case "ratio":
            return human.share(value)
        case "flag":
            return "yes" if value else "no"
        case "s":
            return human.seconds(value)
        case "bytes" | "bytes/s":
            return human.size(value) + unit[5:]
        case "1/s":
            return f"{human.three_digits(value)} a second"
        case "errors" | "ranks" if value == 1:
            return f"1 {unit[:-1]}"
    return f"{human.three_digits(value)} {unit}"
