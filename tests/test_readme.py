"""README as it will be read: its code runs, its names exist, its table is complete."""

import re
from pathlib import Path

import pytest

import imbalanced_torch
from imbalanced_torch._class_weight import SCHEMES
from imbalanced_torch._sampling import STRATEGIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_code_of_the_readme_runs_from_top_to_bottom(capsys):
    namespace = {}
    for block in BLOCKS:
        exec(block, namespace)
    assert capsys.readouterr().out.startswith("{'imbalancednetclassifier__")


def test_the_first_example_has_at_most_fifteen_lines():
    assert len(BLOCKS[0].splitlines()) <= 15


@pytest.mark.parametrize("word", [*SCHEMES, *STRATEGIES])
def test_every_word_stands_in_the_table_of_strategies(word):
    assert f'="{word}"`' in README


@pytest.mark.parametrize(
    "name", sorted({*imbalanced_torch.__all__} - {"CombinedRemedyWarning", "ImbalancedNet", "MLP"})
)
def test_every_strategy_object_stands_in_the_readme(name):
    assert name in README


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_every_link_to_a_file_leads_somewhere(link):
    assert (ROOT / link).exists()


def test_ci_runs_the_test_command_of_the_readme():
    assert README.count("pytest") == 1
    assert "grep -m 1 'pytest' README.md" in (ROOT / ".ci" / "run").read_text()
