"""README and docs as they will be read: their code runs, their names exist, their links and tables are complete."""

import re
from pathlib import Path

import pytest

import imbalanced_torch
from imbalanced_torch._losses.weighted import LOSSES
from imbalanced_torch._remedies.class_weight import SCHEMES
from imbalanced_torch._remedies.sampling import STRATEGIES
from imbalanced_torch._remedies.schedule import SCHEDULES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    page.relative_to(ROOT): page.read_text()
    for page in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)


@pytest.mark.parametrize("page", [page for page, text in PAGES.items() if blocks(text)], ids=str)
@pytest.mark.filterwarnings(
    "ignore::imbalanced_torch.UncorrectedDecisionWarning",
    "ignore::PendingDeprecationWarning",  # of matplotlib, where shap makes its colours
    "ignore:__array_wrap__ must accept:DeprecationWarning",  # of numpy, where shap takes tensors
)
def test_the_code_of_a_page_runs_from_top_to_bottom(page):
    namespace = {}
    for block in blocks(PAGES[page]):
        exec(block, namespace)


def test_the_first_example_has_at_most_fifteen_lines_and_takes_a_raw_table(capsys):
    first, namespace = blocks(README)[0], {}
    assert len(first.splitlines()) <= 15
    exec(first, namespace)
    assert "[[" in capsys.readouterr().out
    assert "category" in namespace["model"].columns_.kinds


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 110


@pytest.mark.parametrize("word", [*SCHEMES, *STRATEGIES, *LOSSES, *SCHEDULES])
def test_every_word_stands_in_the_table_of_strategies(word):
    assert re.search(rf'"{word}"`', PAGES[Path("docs/strategies.md")])


@pytest.mark.parametrize(
    "name", sorted({*imbalanced_torch.__all__} - {"CombinedRemedyWarning", "ImbalancedNet", "MLP"})
)
def test_every_public_name_stands_in_the_readme_or_docs(name):
    assert any(name in text for page, text in PAGES.items() if page != Path("docs/api.md"))


LINKS = [(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^):]+)\)", text)]


@pytest.mark.parametrize(("page", "link"), LINKS, ids=str)
def test_every_link_to_a_file_leads_somewhere(page, link):
    name, _, heading = link.partition("#")
    target = ROOT / page.parent / name if name else ROOT / page
    assert target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE) if heading else []
    assert not heading or heading in [re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings]


def test_readme_contributing_and_ci_call_the_same_scripts():
    assert 'pip install -c constraints.txt -e ".[tests]" && sh scripts/test\n' in README
    ci, contributing = ((ROOT / name).read_text() for name in (".ci/run", "CONTRIBUTING.md"))
    for script in ("scripts/test", "scripts/check", "scripts/docs"):
        assert (ROOT / script).exists()
        assert f"sh {script}" in ci
        assert f"sh {script}" in contributing
