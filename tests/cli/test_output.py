"""Tables line up, numbers to the right; nothing that a terminal obeys gets through."""

from __future__ import annotations

import json

import pytest

from dataops.cli.output import headline, print_error, print_facts, print_table, spell_bytes


def test_columns_line_up_with_numbers_to_the_right(capsys):
    print_table(["name", "rows"], [["a", 12_345], ["long name", None], ["b", 7]])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name         rows", "a          12,345", "long name       -", "b               7"]


def test_wide_and_combining_characters_count_as_what_they_take(capsys):
    print_table(["name", "x"], [["日本", "1"], ["e\u0301a", "1"], ["abcd", "1"]])
    assert capsys.readouterr().out.splitlines()[1:] == ["日本  1", "e\u0301a    1", "abcd  1"]


def test_an_empty_table_says_so(capsys):
    print_table(["name"], [], empty="nothing here: make one")
    assert capsys.readouterr().out == "nothing here: make one\n"


def test_a_line_break_does_not_break_a_table(capsys):
    print_table(["name"], [["a\nb"]])
    assert capsys.readouterr().out.splitlines() == ["name", "a b"]


def test_facts_line_up_also_over_several_lines(capsys):
    print_facts({"made by": "a\nb", "rows": 1234})
    assert capsys.readouterr().out.splitlines() == ["made by  a", "         b", "rows     1,234"]


@pytest.mark.parametrize("code", [0x07, 0x08, 0x0D, 0x1B, 0x7F, 0x9B])
def test_terminal_controls_are_shown_not_obeyed(capsys, code):
    print_table([f"a{chr(code)}"], [[f"b{chr(code)}"]])
    print_facts({f"c{chr(code)}": f"d{chr(code)}"})
    print_error("Conflict", f"e{chr(code)}", as_json=False)
    printed = capsys.readouterr()
    assert chr(code) not in printed.out + printed.err
    assert f"e\\x{code:02x}" in printed.err


def test_an_error_as_json_is_one_document(capsys):
    print_error("Conflict", "no\nmore", as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"error": {"family": "Conflict", "message": "no\nmore"}}
    assert printed.err == "error: no\nmore\n"


@pytest.mark.parametrize(
    ("size_bytes", "spelled"),
    [(0, "0 bytes"), (999, "999 bytes"), (1234, "1.2 kB"), (357_430, "357 kB"), (5e12, "5.0 TB")],
)
def test_sizes_are_spelled_for_people(size_bytes, spelled):
    assert spell_bytes(size_bytes) == spelled


def test_a_headline_is_the_primary_metric_on_each_dataset_also_where_it_is_undefined():
    metrics = {"holdout": {"overall": {"brier": 0.1, "roc_auc": 0.92346}}, "new": {"overall": {"roc_auc": None}}}
    assert headline(metrics, "roc_auc") == "roc_auc 0.9235 on holdout, roc_auc - on new"
    assert headline({"holdout": metrics["holdout"]}, None) == "brier 0.1000 on holdout"
