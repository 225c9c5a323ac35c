from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from dataops.models.markdown import number, plain, table


def test_a_pipe_stays_in_its_cell():
    assert table(("a", "b"), [(plain("x|y"), "1")]) == ["| a | b |", "| --- | --- |", r"| x\|y | 1 |"]


def test_a_backslash_before_a_pipe_does_not_free_it():
    assert plain("\\|") == "\\\\\\|"


def test_html_links_and_headings_are_text():
    assert plain("<script>alert()</script>") == "&lt;script>alert()&lt;/script>"
    assert plain("[here](http://x)") == r"\[here\](http://x)"
    assert plain("# title") == r"\# title"


def test_lines_are_joined_and_hidden_characters_shown():
    assert plain("a\n\n# b") == r"a \# b"
    assert plain("a\x1b[31mb") == r"aU+001B\[31mb"
    assert plain("nurse\u202eexe\u2028x") == "nurseU+202EexeU+2028x"


@given(st.text())
@example("\u0085|\x0b\x0c\x1c\u2029")
def test_no_text_leaves_its_line_or_cell(text):
    shown = plain(text)
    assert len(shown.splitlines()) <= 1
    bare = shown.replace("\\\\", "")
    assert all(bare[i - 1] == "\\" for i, char in enumerate(bare) if char in "|`*[]~#!")
    assert "<" not in shown
    assert shown.isprintable()


def test_numbers_read_well():
    assert [number(x) for x in (None, 1234567, 0.899996, 1.0, "x|y", True)] == [
        "n/a", "1,234,567", "0.899996", "1", r"x\|y", "True",
    ]  # fmt: skip
