"""Formats of text that a contract may name, as patterns in RE2's language. Pure.

A pattern says what a text looks like, not whether the address exists. Sources: ``email`` the HTML standard's "valid
e-mail address", ``hostname`` RFC 1123, ``uri`` RFC 3986 (characters and scheme), ``uuid`` RFC 9562, ``ipv4`` dotted
decimal without leading zeros (RFC 6943), ``ipv6`` RFC 4291 section 2.2 without zones.
"""

from __future__ import annotations

from collections.abc import Mapping

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HEX = "[0-9A-Fa-f]"
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"(?:{_OCTET}\.){{3}}{_OCTET}"
_GROUP = f"{_HEX}{{1,4}}"


def _ipv6() -> str:
    """Eight groups; ``::`` stands for one or more of zeros; the last two may be written as IPv4."""
    # `n` groups on the left of the double colon leave at most 7 - n on its right
    sides = [f"(?:{_GROUP}:){{1,{n}}}(?::{_GROUP}){{1,{7 - n}}}" for n in range(1, 7)]
    whole = [f"(?:{_GROUP}:){{7}}{_GROUP}", f"(?:{_GROUP}:){{1,7}}:", f":(?::{_GROUP}){{1,7}}", "::", *sides]
    # the same for the six groups before an IPv4 address, each with its colon
    mixed_sides = [f"(?:{_GROUP}:){{1,{n}}}(?::{_GROUP}){{0,{5 - n}}}:" for n in range(1, 6)]
    mixed = [f"(?:{_GROUP}:){{6}}", f"::(?:{_GROUP}:){{0,5}}", *mixed_sides]
    return f"{'|'.join(whole)}|(?:{'|'.join(mixed)}){_IPV4}"


FORMATS: Mapping[str, str] = {
    "email": rf"[A-Za-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})*",
    "hostname": rf"{_LABEL}(?:\.{_LABEL})*",
    "ipv4": _IPV4,
    "ipv6": _ipv6(),
    "uri": rf"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%{_HEX}{{2}})+",
    "uuid": f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}",
}
