"""Every Python block of the documentation runs, page by page, from the first to the last."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHERS = ("leak.md", "label-delay.md", "performance.md")
"""Pages that say what was measured; the tests of the examples hold them."""
PAGES = ["README.md"] + [
    f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in OTHERS
]


@pytest.mark.parametrize("page", PAGES)
def test_page_runs(page, tmp_path, monkeypatch):
    text = (ROOT / page).read_text()
    monkeypatch.chdir(tmp_path)
    # the processes of a search have a test of their own; here each would only import LightGBM once more
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    names = {"__name__": "page"}
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_links_lead_somewhere():
    for page in [*PAGES, "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/performance.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
