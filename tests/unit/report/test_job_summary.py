"""A run in Markdown for the page of a CI job: what stands in it, and that texts of tests stay texts."""

from __future__ import annotations

from pytest_clnrm.report.job_summary import Bad, Summary, job_summary


def test_a_run() -> None:
    """Counts as pytest has them, failures with their text, what was flaky or slow, where the report is."""
    text = job_summary(
        Summary(
            counts={"passed": 3, "failed": 1, "odd": 1},
            duration_s=12.3,
            bad=[Bad(nodeid="a.clnrm.toml::x", outcome="failed", message="no", text="line 1\n\nline 2\n")],
            slow=[(f"t.py::test_{number}", number / 10) for number in range(9)],
            flaky=["b.clnrm.toml::y"],
            report="out/report.html",
        )
    )
    assert text.startswith("### pytest: 1 failed, 3 passed, 1 odd in 12 s\n\n")
    assert (
        "<details><summary>FAILED <code>a.clnrm.toml::x</code> no</summary>\n\n"
        "<pre>line 1\n\nline 2</pre>\n\n</details>\n"
    ) in text
    assert "Run what failed again: `pytest --lf`" in text
    assert "Flaky, failed and then passed: <code>b.clnrm.toml::y</code>" in text
    rows = [line for line in text.splitlines() if line.startswith("| <code>")]
    assert rows[0] == "| <code>t.py::test&#95;8</code> | 0.8 |"
    assert len(rows) == 5
    assert "Report: <code>out/report.html</code>" in text


def test_a_run_without_failures() -> None:
    """Tells nothing of any."""
    assert job_summary(Summary(counts={"passed": 1}, duration_s=0.2)) == "### pytest: 1 passed in 0 s\n\n"
    assert job_summary(Summary(counts={}, duration_s=0.2)) == "### pytest: nothing was run in 0 s\n\n"


def test_texts_stay_texts() -> None:
    """No tag, link, image, or end of the place in which they stand; names do not break a table."""
    bad = Bad(
        nodeid="x.py::test[![i](http://e/)|<b>]",
        outcome="error",
        message="</summary> <img src=x>",
        text="</pre></details><script>\n```\n# x",
    )
    text = job_summary(Summary(counts={"error": 1}, duration_s=1, bad=[bad], slow=[(bad.nodeid, 1.0)]))
    assert "<img" not in text
    assert "<script" not in text
    assert text.count("</pre>") == text.count("</details>") == text.count("</summary>") == 1
    assert "&lt;/pre&gt;&lt;/details&gt;&lt;script&gt;\n```\n# x" in text
    (row,) = (line for line in text.splitlines() if line.startswith("| <code>"))
    assert row.count("|") == 3
    assert "](" not in text


def test_what_is_long_is_cut() -> None:
    """Each failure, their number, and names; the service takes 1 MiB."""
    bad = [
        Bad(nodeid="x" * 1000, outcome="failed", message="m" * 1000, text="t" * 100_000) for _ in range(30)
    ]
    text = job_summary(Summary(counts={"failed": 30}, duration_s=1, bad=bad))
    assert text.count("<details>") == 20
    assert "[... 96000 characters left out]" in text
    assert "10 more failures are in the log." in text
    assert len(text) < 200_000
