"""Reading an expression: SQL text to a tree, within bounds.

1. Text, words and nesting are bounded before sqlglot parses, so hostile text costs milliseconds and stays far from
   Python's recursion limit.
2. Every refusal is an InvalidInput that starts with its place and never repeats a literal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlglot import parse as parse_sql
from sqlglot import tokenize
from sqlglot.errors import ParseError, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from dataops.errors import InvalidInput
from dataops.governance.expression_grammar import node_of
from dataops.governance.expression_tree import Node, RefusedError

MAX_LENGTH = 4096
MAX_TOKENS = 512
MAX_NESTING = 16  # 16 levels take about 400 of Python's 1000 frames in sqlglot's parser


def parse_tree(text: str, *, where: str) -> Node:
    """The tree of `text`.

    Raises
    ------
    InvalidInput : empty, too long or too deep, not SQL, or more than the language has; prefixed with `where`.
    """
    try:
        _require_bounds(text)
        return node_of(_sql_tree(text))
    except RefusedError as refused:
        raise InvalidInput(f"{where}: {refused}") from None
    except ParseError as error:
        first = error.errors[0] if error.errors else {}
        place = f"line {first.get('line', 1)}, column {first.get('col', 1)} of the expression"
        raise InvalidInput(f"{where}: can't be read as SQL at {place}: {first.get('description', 'wrong')}") from None
    except SqlglotError:
        raise InvalidInput(
            f"{where}: can't be read as SQL: a quote that isn't closed, or a strange character"
        ) from None
    except RecursionError:
        raise InvalidInput(f"{where}: the expression is nested too deeply") from None


def _require_bounds(text: str) -> None:
    if not text.strip():
        raise RefusedError("the expression is empty")
    if len(text) > MAX_LENGTH:
        raise RefusedError(f"the expression has {len(text)} characters, at most {MAX_LENGTH} are allowed")
    tokens = tokenize(text)
    if len(tokens) > MAX_TOKENS:
        raise RefusedError(f"the expression has {len(tokens)} words and signs, at most {MAX_TOKENS} are allowed")
    if max(_nesting(tokens), default=0) > MAX_NESTING:
        raise RefusedError(f"the expression is nested deeper than {MAX_NESTING} levels")


def _nesting(tokens: list[Token]) -> Iterator[int]:
    """How deep each token makes the parser recurse: open brackets, open CASEs, and signs or NOTs in a row."""
    opening = {TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE, TokenType.CASE}
    closing = {TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE, TokenType.END}
    prefixes = {TokenType.NOT, TokenType.DASH, TokenType.PLUS, TokenType.TILDE}
    depth = run = 0
    for token in tokens:
        depth += (token.token_type in opening) - (token.token_type in closing)
        run = run + 1 if token.token_type in prefixes else 0
        yield depth + run


def _sql_tree(text: str) -> Any:
    statements = parse_sql(text)
    if len(statements) != 1 or statements[0] is None:
        raise RefusedError(f"expected one expression, found {len(statements)} statements")
    return statements[0]
