"""The tables of what engines cannot do, in docs/engines.md and docs/kubernetes.md, made from :data:`LACKS`.

``python -m clnrm_testing.engine_tables``, started in ``tests``, writes them. A table stands between
``<!-- what engines lack -->`` or ``<!-- what a cluster lacks -->`` and ``<!-- end of lacks -->``.
"""

from __future__ import annotations

from pathlib import Path

from clnrm_testing.capabilities import LACKS

_DOCS = Path(__file__).parents[2] / "docs"
PAGES = (_DOCS / "engines.md", _DOCS / "kubernetes.md")
_OF_ENGINES, _OF_A_CLUSTER, _END = (
    "<!-- what engines lack -->\n",
    "<!-- what a cluster lacks -->\n",
    "<!-- end of lacks -->\n",
)


def with_table(text: str) -> str:
    """Return the text of a page with the table between its marks as it should be."""
    mark = _OF_ENGINES if _OF_ENGINES in text else _OF_A_CLUSTER
    before, _, rest = text.partition(mark)
    _, end, behind = rest.partition(_END)
    assert end, f"the page lacks the lines {mark}{_END}"
    return f"{before}{mark}{_of_engines() if mark == _OF_ENGINES else _of_a_cluster()}{end}{behind}"


def _of_engines() -> str:
    rows = [(each.engine, each.what, each.meaning) for each in LACKS if each.engine != "a cluster"]
    return _table(("engine", "what", "what it means"), *rows)


def _of_a_cluster() -> str:
    rows = [(each.what, each.meaning) for each in LACKS if each.engine == "a cluster"]
    return _table(("what", "on a cluster"), *rows)


def _table(head: tuple[str, ...], *rows: tuple[str, ...]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(with_table(page.read_text(encoding="utf-8")), encoding="utf-8")
