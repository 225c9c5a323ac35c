"""Rules that do nothing: they concern no dataset, nobody or no column, or another rule always says as much. Pure.

1. A name or pattern that nothing has is reported once, with the rules that say it; a rule that concerns no situation
   at all, or covers no column, is reported by itself.
2. A rule is *contained* in another if every request and column that it is about is the other's too, and the other does
   the same or more. Patterns are compared as text: what is reported is certain, not all that is certain is reported.
3. A rule is *overruled* if in every situation and for every column a deny decides instead, or a mask
   that says nothing about the value. Masks that neither stands in for the other deny the column: a collision
   (`policy_check`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from dataops.errors import near_match
from dataops.governance.contract import UNCLASSIFIED, Column
from dataops.governance.mask import overrules
from dataops.governance.names import folded
from dataops.governance.policy_world import (
    FindingKind,
    KnownDataset,
    PolicyFinding,
    Severity,
    Situation,
    World,
    finding_at,
    situations_by_rule,
    spell_names,
    spell_rule,
)
from dataops.governance.rules import ANY, Rule, RuleEffect, classifications_of

_RESTRICTING = frozenset({RuleEffect.DENY, RuleEffect.MASK})


def find_unreachable(world: World, situations: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Rules that concern nothing, and names in rules that nothing has."""
    yield from _unknown_names(world)
    by_rule = situations_by_rule(situations)
    for rule in world.rules:
        met = by_rule.get(rule.qualified, [])
        if met:
            yield from _unknown_columns(world, rule, met)
        elif rule.holds_at(world.at) and (why := _why(world, rule)):
            message = f"{spell_rule(rule)} concerns no request: {why}"
            yield _warn(world, rule, FindingKind.UNREACHABLE, "", message)


def _why(world: World, rule: Rule) -> str | None:
    """Why nobody's request is the rule's; None where a name that doesn't exist says it already."""
    datasets = [one for one in world.datasets.values() if _matching(one.name, rule.datasets)]
    if not world.datasets:
        return "there is no dataset"
    if not datasets or set(rule.principals) - set(world.principals):
        return None
    zones = sorted({one.zone for one in datasets})
    if not {ANY, *zones} & set(rule.zones):
        return f"its datasets are in zone {', '.join(zones)}, and it says {', '.join(rule.zones)}"
    return "nobody whom it names asks for what it names"


def _unknown_names(world: World) -> Iterator[PolicyFinding]:
    """Roles, users and dataset patterns of rules that don't exist, each once."""
    held = {role for roles in world.principals.values() for role in roles}
    folded_roles = {folded(role) for role in held}
    known: tuple[tuple[str, str, Collection[str], Callable[[str], bool]], ...] = (
        ("roles", "no principal has the role", held, lambda role: folded(role) in folded_roles),
        ("principals", "principals.yaml has no user", world.principals, lambda user: user in world.principals),
        ("datasets", "no dataset is called", world.datasets, lambda name: _matches_any(name, world.datasets)),
    )
    for key, message, names, exists in known:
        saying: dict[str, list[Rule]] = {}
        for rule in world.rules:
            for word in getattr(rule, key):
                if word != ANY and not exists(word):
                    saying.setdefault(word, []).append(rule)
        for word, rules in saying.items():
            said = f"{message} '{word}', which {_spell_rules(rules)} name{'s' if len(rules) == 1 else ''}"
            yield _unknown(world, rules, key, said, near_match(word, names))


def _unknown_columns(world: World, rule: Rule, met: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Names and patterns of `rule` that no column has."""
    if rule.effect in (RuleEffect.FILTER, RuleEffect.GROUP):
        return
    datasets = {one.dataset.name: one.dataset for one in met}
    where = f"of {spell_names(sorted(datasets))}"
    own = [column for dataset in datasets.values() if dataset.contract for column in dataset.contract.columns]
    names = [name for column in own for name in (column.name, *column.origins)]
    names += [name for dataset in datasets.values() for name in dataset.promised]
    known = {folded(around) for name in names for around in _with_all_around(name)}
    for name in rule.names:
        if folded(name) not in known:
            message = f"{spell_rule(rule)} names '{name}', and no column {where} is called that"
            yield _unknown(world, [rule], "columns", message, near_match(name, names))
    tags = {tag for column in _may_be_inherited(world, datasets.values(), own) for tag in classifications_of(column)}
    for pattern in rule.classifications:
        if pattern != ANY and not any(fnmatchcase(tag, folded(pattern)) for tag in tags):
            message = f"{spell_rule(rule)} says '{pattern}', and no column {where} is classified so"
            yield _unknown(world, [rule], "columns", message, near_match(pattern, tags))


def _unknown(world: World, rules: Sequence[Rule], key: str, message: str, near: str) -> PolicyFinding:
    """A word of `rules` that means nothing here: a slip, if another is near; else perhaps of what is to come."""
    idle = [rule for rule in rules if rule.effect != RuleEffect.ALLOW]
    severity = Severity.ERROR if idle and near.startswith(" Did you mean") else Severity.WARNING
    consequence = " So written, the word restricts nothing." if idle else ""
    place = world.place((idle or rules)[0], key)
    return finding_at(place, severity, FindingKind.UNREACHABLE, f"{message}.{near}{consequence}")


def _with_all_around(name: str) -> list[str]:
    """A column's name, and those of the structs that it lies in: a rule that restricts may name them."""
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _may_be_inherited(world: World, datasets: Iterable[KnownDataset], own: Sequence[Column]) -> Sequence[Column]:
    """The columns whose classifications may turn up: what a job will make inherits those of what it reads."""
    if all(dataset.contract for dataset in datasets):
        return own
    return [column for dataset in world.datasets.values() if dataset.contract for column in dataset.contract.columns]


def find_overruled(world: World, situations: Sequence[Situation]) -> Iterator[PolicyFinding]:
    """Allow rules of which everything is denied, masks in whose place a deny or another mask always stands."""
    by_rule = situations_by_rule(situations)
    for rule in world.rules:
        if rule.effect not in (RuleEffect.ALLOW, RuleEffect.MASK):
            continue
        met = by_rule.get(rule.qualified, [])
        pairs = [(one, column) for one in met for column in one.columns if rule.covers(column)]
        if rule.effect == RuleEffect.MASK:  # where nothing is allowed, nothing is masked either
            pairs = [(one, column) for one, column in pairs if one.covering(column, RuleEffect.ALLOW)]
        if not pairs or any(one.dataset.contract is None for one in met):
            continue
        stronger = _always_stronger(rule, pairs)
        if stronger:
            gives = "gives nothing" if rule.effect == RuleEffect.ALLOW else "never decides"
            columns = spell_names(sorted({column.name for _, column in pairs}))
            message = f"{spell_rule(rule)} {gives}: of {columns} it is always overruled by {_spell_rules(stronger)}"
            yield _warn(world, rule, FindingKind.OVERRULED, "", message)


def _always_stronger(rule: Rule, pairs: Sequence[tuple[Situation, Column]]) -> list[Rule]:
    """The rules that decide instead of `rule`; none if it decides anywhere."""
    found: dict[str, Rule] = {}
    for situation, column in pairs:
        stronger = list(situation.covering(column, RuleEffect.DENY))
        # what is stored under a mask already isn't masked again: the other one may decide there
        if rule.effect == RuleEffect.MASK and not stronger and not column.masks:
            stronger = [other for other in situation.covering(column, RuleEffect.MASK) if _overrules(other, rule)]
        if not stronger:
            return []
        found.update((one.qualified, one) for one in stronger)
    return [found[name] for name in sorted(found)]


def _overrules(one: Rule, other: Rule) -> bool:
    return one.mask is not None and other.mask is not None and overrules(one.mask.kind, other.mask.kind)


def find_shadowed(world: World) -> Iterator[PolicyFinding]:
    """Rules that are equal to another one, or contained in it; of equal ones the later."""
    rules = [rule for rule in world.rules if rule.holds_at(world.at)]
    for position, rule in enumerate(rules):
        for other_position, other in enumerate(rules):
            if other is rule or not contains(other, rule):
                continue
            equal = contains(rule, other)
            if equal and other_position > position:
                continue
            says = "says the same as" if equal else "is contained in"
            message = f"{spell_rule(rule)} {says} {spell_rule(other)}: without it nothing would change"
            yield _warn(world, rule, FindingKind.SHADOWED, "", message)
            break


def contains(wider: Rule, rule: Rule) -> bool:
    """Whether `wider` surely does all that `rule` does: for the same requests and columns and more."""
    if wider.effect != rule.effect or not _does_as_much(wider, rule):
        return False
    return (
        _readers_within(rule, wider)
        and _words_within(rule.purposes, wider.purposes)
        and _words_within(rule.zones, wider.zones)
        and _patterns_within(rule.datasets, wider.datasets)
        and _columns_within(rule, wider)
    )


def _does_as_much(wider: Rule, rule: Rule) -> bool:
    if rule.effect == RuleEffect.ALLOW:
        return wider.expires_at is None or (rule.expires_at is not None and rule.expires_at <= wider.expires_at)
    if rule.effect == RuleEffect.GROUP:
        return (wider.min_size or 1) >= (rule.min_size or 1)
    same_filter = (wider.where and wider.where.sql) == (rule.where and rule.where.sql)
    return wider.mask == rule.mask and same_filter


def _readers_within(rule: Rule, wider: Rule) -> bool:
    if ANY in wider.roles:
        return rule.effect != RuleEffect.ALLOW
    roles = {folded(role) for role in wider.roles}
    return {folded(role) for role in rule.roles} <= roles and set(rule.principals) <= set(wider.principals)


def _words_within(words: Collection[str], wider: Collection[str]) -> bool:
    return ANY in wider or set(words) <= set(wider)


def _columns_within(rule: Rule, wider: Rule) -> bool:
    if rule.effect in (RuleEffect.FILTER, RuleEffect.GROUP):
        return True
    if wider.effect in _RESTRICTING and ANY in wider.classifications:
        return True
    listed = {folded(name) for name in wider.names}
    if not {folded(name) for name in rule.names} <= listed:
        return False
    if rule.effect == RuleEffect.ALLOW and UNCLASSIFIED in map(folded, rule.classifications):
        # no pattern of an allowing rule reaches what nobody classified
        return UNCLASSIFIED in map(folded, wider.classifications) and _patterns_within(
            [one for one in rule.classifications if folded(one) != UNCLASSIFIED], wider.classifications
        )
    return _patterns_within(rule.classifications, wider.classifications)


def _patterns_within(patterns: Iterable[str], wider: Collection[str]) -> bool:
    return all(any(_pattern_within(folded(one), folded(other)) for other in wider) for one in patterns)


def _pattern_within(pattern: str, wider: str) -> bool:
    """Whether `wider` surely matches whatever `pattern` does.

    A ``*`` of the wider one takes any text, so also another ``*``; ``?`` and ``[`` say too little to compare.
    """
    if wider in (pattern, ANY):
        return True
    return not set("[") & set(pattern) and not set("?[") & set(wider) and fnmatchcase(pattern, wider)


def _matches_any(pattern: str, names: Iterable[str]) -> bool:
    return any(_matching(name, [pattern]) for name in names)


def _matching(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(folded(name), folded(pattern)) for pattern in patterns)


def _spell_rules(rules: Sequence[Rule]) -> str:
    return ", ".join(spell_rule(rule) for rule in rules[:3]) + (f" and {len(rules) - 3} more" if len(rules) > 3 else "")


def _warn(world: World, rule: Rule, kind: FindingKind, key: str, message: str) -> PolicyFinding:
    return finding_at(world.place(rule, key), Severity.WARNING, kind, message)
