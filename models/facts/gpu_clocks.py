"""Facts of what holds the clocks of a GPU low: heat, power, a setting."""

from models.facts.gpu import all_held_back, at_work, beyond, median, of_suspect, peers, straggles, suspect
from models.facts.ranks import RANKS, ROTATING_SHARE, STRAGGLER_RATIO, rank_ratios, skew_share, slowest
from models.facts.registry import Scope, fact
from models.view import Booleans, Entity

CLOCKS = "clocks of the GPUs, and which rank is on which (gpu.clock.sm_hz)"
THROTTLING = "why the clocks of the GPUs are low (gpu.throttled.* or gpu.clocks_event.*)"
POWER = "power limits of the GPUs (gpu.power.limit_w)"

#: Below this share of the highest clock, with nothing else to hold it back, it is a setting: boards for desktops reach 0.85.
SET_LOW_RATIO = 0.80
#: A GPU is as hot as it may be this near to the temperature at which hardware slows it down, or from here on where that is unknown.
HOT_MARGIN_C = 5.0
HOT_C = 85.0
#: What is below this share of the time says nothing against a GPU that runs free.
FREE_RATIO = 0.05


def _share(gpu: Entity, inside: Booleans, counters: tuple[str, ...], flags: tuple[str, ...]) -> float | None:
    """Share of the time by counters, which miss nothing between two readings; by flags where nobody read those."""
    for names in (counters, flags):
        known = [value for name in names if (value := gpu.mean(name, inside)) is not None]
        if known:
            return min(max(known), 1.0)
    return None


def heat(gpu: Entity, inside: Booleans) -> float | None:
    """Share of the time at lower clocks for heat."""
    return _share(gpu, inside, ("gpu.throttled.thermal_s", "gpu.throttled.software_thermal_s", "gpu.throttled.hardware_thermal_s"),
                  ("gpu.clocks_event.software_thermal", "gpu.clocks_event.hardware_thermal"))


def power_cap(gpu: Entity, inside: Booleans) -> float | None:
    """Share of the time at lower clocks for the power limit."""
    return _share(gpu, inside, ("gpu.throttled.power_s",), ("gpu.clocks_event.software_power_cap",))


def power_brake(gpu: Entity, inside: Booleans) -> float | None:
    """Share of the time at half the clocks or less because the power supply asked for it."""
    share = _share(gpu, inside, ("gpu.throttled.power_brake_s",), ("gpu.clocks_event.power_brake",))
    if share is None and (slowed := gpu.mean("gpu.clocks_event.hardware_slowdown", inside)) is not None:
        # the older flag is up for heat too
        return max(slowed - (gpu.mean("gpu.clocks_event.hardware_thermal", inside) or 0.0), 0.0)
    return share


def clock(gpu: Entity, inside: Booleans) -> float | None:
    """Clock of the multiprocessors while the GPU works, in Hz."""
    return at_work(gpu, "gpu.clock.sm_hz", inside)


def clock_to_max(gpu: Entity, inside: Booleans) -> float | None:
    """Clock at work over the highest the GPU can have."""
    now, most = clock(gpu, inside), gpu.mean("gpu.clock.sm_max_hz", inside)
    return None if now is None or not most else now / most


def application_to_max(gpu: Entity, inside: Booleans) -> float | None:
    """Clock that applications are set to over the highest the GPU can have."""
    now, most = gpu.mean("gpu.clock.sm_application_hz", inside), gpu.mean("gpu.clock.sm_max_hz", inside)
    return None if now is None or not most else now / most


def limit_to_default(gpu: Entity, inside: Booleans) -> float | None:
    """Power limit in force over the one the board was made for."""
    now, made_for = gpu.mean("gpu.power.limit_w", inside), gpu.mean("gpu.power.default_limit_w", inside)
    return None if now is None or not made_for else now / made_for


def free(gpu: Entity, inside: Booleans) -> bool | None:
    """Whether neither heat nor power nor voltage holds the clocks low; None when nobody measured heat and power."""
    needed = [heat(gpu, inside), power_cap(gpu, inside)]
    more = [power_brake(gpu, inside), gpu.mean("gpu.throttled.reliability_s", inside), gpu.mean("gpu.throttled.board_limit_s", inside)]
    return None if None in needed else max(share for share in (*needed, *more) if share is not None) <= FREE_RATIO


@fact("gpu.throttled.thermal_ratio", "ratio", THROTTLING)
def thermal(scope: Scope) -> float | None:
    """Share of the time in which heat held the GPU's clocks low, beyond before and beyond the others."""
    return beyond(scope, heat)


@fact("gpu.throttled.power_ratio", "ratio", THROTTLING)
def power(scope: Scope) -> float | None:
    """Share of the time in which the power limit held the GPU's clocks low, beyond before and beyond the others."""
    return beyond(scope, power_cap)


@fact("gpu.throttled.power_brake_ratio", "ratio", THROTTLING)
def brake(scope: Scope) -> float | None:
    """Share of the time in which the power supply made the GPU slow down, beyond before and beyond the others."""
    return beyond(scope, power_brake)


@fact("gpu.unthrottled", "flag", THROTTLING)
def unthrottled(scope: Scope) -> float | None:
    """Neither heat nor power held the GPU's clocks low."""
    one = suspect(scope)
    known = None if one is None else free(one.gpu, scope.inside)
    return None if known is None else float(known)


@fact("gpu.clock_loss_ratio", "ratio", CLOCKS)
def clock_loss(scope: Scope) -> float | None:
    """How much lower the GPU's clock is at work than before, than that of the others, or than its highest."""
    one = suspect(scope)
    now = None if one is None else clock(one.gpu, scope.inside)
    if one is None or now is None:
        return None
    if scope.before is not None:
        usual = clock(one.gpu, scope.before)
    elif straggles(scope):
        usual = median(clock(peer, scope.inside) for peer in peers(scope, one))
    else:
        usual = one.gpu.mean("gpu.clock.sm_max_hz", scope.inside)
    return max(1 - now / usual, 0.0) if usual else None


@fact("gpu.hot_clock_loss_ratio", "ratio", f"{CLOCKS} and temperatures of the GPUs")
def hot_clock_loss(scope: Scope) -> float | None:
    """How much lower the GPU's clock is while it is as hot as it may be; only where nobody read why the clocks are low."""
    left, degrees = margin(scope), temperature(scope)
    if degrees is None or thermal(scope) is not None:
        return None
    hot = left <= HOT_MARGIN_C if left is not None else degrees >= HOT_C
    return clock_loss(scope) if hot else 0.0


@fact("gpu.clock_to_max_ratio", "ratio", CLOCKS)
def clock_share(scope: Scope) -> float | None:
    """The GPU's clock at work over the highest it can have."""
    return of_suspect(scope, clock_to_max)


@fact("gpu.application_clock_ratio", "ratio", "application clocks of the GPUs (gpu.clock.sm_application_hz)")
def application_clock(scope: Scope) -> float | None:
    """Clock that applications are set to over the highest the GPU can have."""
    return of_suspect(scope, application_to_max)


@fact("gpu.clock_setting_ratio", "ratio", THROTTLING)
def clock_setting(scope: Scope) -> float | None:
    """Share of the time in which a setting held the GPU's clocks low, beyond before and beyond the others."""
    return beyond(scope, lambda gpu, inside: gpu.mean("gpu.clocks_event.application_clocks", inside))


@fact("gpu.temperature_celsius", "°C", "temperatures of the GPUs (gpu.temperature_celsius)")
def temperature(scope: Scope) -> float | None:
    """Temperature of the GPU at work."""
    return of_suspect(scope, lambda gpu, inside: at_work(gpu, "gpu.temperature_celsius", inside))


@fact("gpu.temperature_margin_celsius", "°C", "temperatures of the GPUs and their limit (gpu.temperature.*)")
def margin(scope: Scope) -> float | None:
    """Degrees left before heat slows the GPU down."""
    return of_suspect(scope, _margin)


def _margin(gpu: Entity, inside: Booleans) -> float | None:
    told = at_work(gpu, "gpu.temperature.margin_celsius", inside)
    now, limit = at_work(gpu, "gpu.temperature_celsius", inside), gpu.mean("gpu.temperature.slowdown_celsius", inside)
    return told if told is not None else limit - now if now is not None and limit is not None else None


@fact("gpu.power_to_limit_ratio", "ratio", POWER)
def power_to_limit(scope: Scope) -> float | None:
    """Power of the GPU at work over its limit."""

    def measure(gpu: Entity, inside: Booleans) -> float | None:
        used, limit = at_work(gpu, "gpu.power_w", inside), gpu.mean("gpu.power.limit_w", inside)
        return None if used is None or not limit else used / limit

    return of_suspect(scope, measure)


@fact("gpu.power_limit_loss_ratio", "ratio", f"{POWER}; {THROTTLING}")
def power_limit_loss(scope: Scope) -> float | None:
    """How much lower the power limit that holds the GPU back is than before, than that of the others, or than the board's own."""
    one = suspect(scope)
    share = None if one is None else power_cap(one.gpu, scope.inside)
    now = None if one is None else one.gpu.mean("gpu.power.limit_w", scope.inside)
    if one is None or share is None or now is None:
        return None
    if scope.before is not None:
        usual = one.gpu.mean("gpu.power.limit_w", scope.before)
    elif straggles(scope):
        usual = median(peer.mean("gpu.power.limit_w", scope.inside) for peer in peers(scope, one))
    else:
        usual = one.gpu.mean("gpu.power.default_limit_w", scope.inside)
    if not usual:
        return None
    # a limit that the GPU does not reach holds nothing back
    return max(1 - now / usual, 0.0) if share > FREE_RATIO else 0.0


@fact("gpu.power_limit_ratio", "ratio", POWER)
def power_limit(scope: Scope) -> float | None:
    """Power limit of the GPU over the one the board was made for."""
    return of_suspect(scope, limit_to_default)


@fact("gpu.held_back_ratio", "ratio", f"{CLOCKS}; {THROTTLING}")
def held_back(scope: Scope) -> float | None:
    """Share of its clock that the median GPU of the run lacks for heat, a lowered power limit or a setting."""
    return median(_held_back(one.gpu, scope.inside) for one in scope.view.placed)


@fact("skew.rotating", "flag", f"{RANKS}; {CLOCKS}")
def rotating(scope: Scope) -> float | None:
    """Ranks wait for the last one all along, they take turns in being it, and their GPUs are not held back."""
    place, share = slowest(scope), skew_share(scope)
    if place is None or share is None:
        return None
    even = share >= ROTATING_SHARE and rank_ratios(scope)[place] < STRAGGLER_RATIO
    return float(scope.before is None and even and not all_held_back(scope))


def _held_back(gpu: Entity, inside: Booleans) -> float | None:
    """The clock that is lacking, if there is a reason for it that is no fault of the load: a cap at the default limit is normal."""
    now = clock_to_max(gpu, inside)
    if now is None:
        return None
    limit, setting = limit_to_default(gpu, inside), application_to_max(gpu, inside)
    capped = (power_cap(gpu, inside) or 0.0) >= 0.2 and limit is not None and limit <= 0.9
    reasons = ((heat(gpu, inside) or 0.0) >= 0.2, capped, (power_brake(gpu, inside) or 0.0) >= 0.05,
               now < SET_LOW_RATIO and ((setting is not None and setting < SET_LOW_RATIO) or bool(free(gpu, inside))))
    return max(1 - now, 0.0) if any(reasons) else 0.0
