"""Inner validation: how many groups choose a setting, and which validate which."""

from __future__ import annotations

from collections.abc import Sequence

from serbench.errors import ProtocolError, did_you_mean
from serbench.protocols.evaluation import Group, InnerRule

INNER_ALL_UP_TO = 12
"""Groups up to which `--inner auto` validates every group; above, `INNER_ABOVE` neighbours."""
INNER_ABOVE = 4
INNER_NEEDS = 3
"""Groups that inner validation needs: one to test, one to validate, one to train on."""
TURNS_NEED = 2
"""Parts of the training data that validating them in turn needs."""


def check_inner(requested: str) -> None:
    """Check that `--inner` is auto, all, none or an even number.

    Raises
    ------
    ProtocolError : anything else, or an odd number: only an even ring is symmetric.
    """
    if requested not in ("auto", "all", "none") and not (requested.isdecimal() and int(requested) >= 2):
        todo = did_you_mean(requested, ("auto", "all", "none"))
        raise ProtocolError("--inner", f"'{requested}'", "auto, all, none, or an even number of groups", todo)
    if requested.isdecimal() and int(requested) % 2:
        raise ProtocolError("--inner", requested, "an even number, half of it on each side of the ring")


def inner_rule(requested: str, n_groups: int) -> InnerRule:
    """Resolve `--inner auto|all|K|none` for a number of groups.

    >>> inner_rule("auto", 10), inner_rule("auto", 32).neighbours
    (InnerRule(name='all', reason=''), 4)
    """
    check_inner(requested)
    if requested == "none":
        return InnerRule("none", "--inner none")
    if n_groups < INNER_NEEDS:
        return InnerRule("none", f"{n_groups} test groups; choosing settings needs {INNER_NEEDS}")
    if requested == "auto":
        requested = "all" if n_groups <= INNER_ALL_UP_TO else str(INNER_ABOVE)
    return InnerRule("all" if requested.isdecimal() and int(requested) >= n_groups - 1 else requested)


def inner_in_turn(requested: str, n_parts: int) -> InnerRule:
    """Resolve `--inner` where the test data is none of the parts that are validated in turn.

    Raises
    ------
    ProtocolError : a number of groups: there is no ring, as no part is tested.
    """
    check_inner(requested)
    if requested == "none":
        return InnerRule("none", "--inner none")
    if requested.isdecimal():
        todo = "Use --inner auto: validating each part of the training data costs one fit only"
        raise ProtocolError("--inner", f"{requested}, for training data that is not tested", "auto, all or none", todo)
    if n_parts < TURNS_NEED:
        return InnerRule("none", f"{n_parts} group to train on; choosing settings needs {TURNS_NEED}")
    return InnerRule("all")


def ring(groups: Sequence[Group]) -> list[Group]:
    """Order groups on a ring: by name within each sex, the sexes interleaved evenly."""
    placed = []
    for sex in sorted({group.sex for group in groups}):
        same = sorted((g for g in groups if g.sex == sex), key=lambda g: g.name)
        placed += [((i + 0.5) / len(same), sex, group.name, group) for i, group in enumerate(same)]
    return [group for *_, group in sorted(placed, key=lambda place: place[:3])]


def validated_groups(groups: Sequence[Group], rule: InnerRule) -> dict[str, list[Group]]:
    """Return the groups that validate the settings for each group, by its name."""
    if rule.name == "none":
        return {group.name: [] for group in groups}
    if rule.neighbours is None:
        return {outer.name: [g for g in groups if g is not outer] for outer in groups}
    circle = ring(groups)
    steps = [step for k in range(1, rule.neighbours // 2 + 1) for step in (-k, k)]
    return {g.name: [circle[(i + step) % len(circle)] for step in steps] for i, g in enumerate(circle)}
