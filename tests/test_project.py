"""What a project has beside its code: the site's navigation, the API's pages, workflows, forms, what is packed."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest
import yaml

import imbalanced_torch

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*_*.yml"))
SITE = runpy.run_path(str(ROOT / "docs" / "conf.py"))
PAGES = sorted(page.stem for page in (ROOT / "docs").glob("*.md"))
API = (ROOT / "docs" / "api.md").read_text()


def listed(text):
    return [word for word in text.split() if word in imbalanced_torch.__all__]


def steps(workflow):
    return [step for job in yaml.safe_load(workflow.read_text())["jobs"].values() for step in job["steps"]]


def test_every_page_stands_in_the_navigation_once():
    named = [page for pages in SITE["navigation"](PAGES).values() for page in pages]
    assert sorted([*named, "index"]) == PAGES
    assert len(set(named)) == len(named)


def test_a_page_that_nothing_is_known_of_stands_in_the_navigation_and_one_that_is_not_there_does_not():
    navigation = SITE["navigation"](["index", "install", "a_new_page"])
    assert navigation == {"Start": ["install"], "More": ["a_new_page"]}


def test_the_api_lists_every_public_name_once():
    assert sorted(listed(API + SITE["unlisted"](API))) == sorted(imbalanced_torch.__all__)


def test_a_public_name_that_the_api_does_not_list_stands_at_its_end():
    assert listed(SITE["unlisted"](API.replace("   MLPEnsemble\n", ""))) == ["MLPEnsemble"]
    assert SITE["unlisted"](API, imbalanced_torch.__all__[:3]) == ""


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_runs_scripts_that_exist_on_pinned_actions(workflow):
    assert yaml.safe_load(workflow.read_text())["name"] == workflow.stem
    for step in steps(workflow):
        assert {"run", "uses"} & step.keys()
        for script in re.findall(r"(?:ba)?sh ((?:scripts|\.ci)/\w+)", step.get("run", "")):
            assert (ROOT / script).exists()
        assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v1)", step.get("uses", "actions/checkout@v4"))


def test_the_site_is_built_by_the_same_command_here_in_ci_and_in_its_workflow():
    install = 'pip install -c constraints.txt -e ".[docs]"'
    runs = [step.get("run") for step in steps(ROOT / ".github" / "workflows" / "docs.yml")]
    assert [run for run in runs if run] == [install, "sh scripts/docs"]
    assert f"`{install} && sh scripts/docs`" in (ROOT / "CONTRIBUTING.md").read_text()
    assert "sh scripts/docs\n" in (ROOT / ".ci" / "run").read_text()


def test_only_the_job_that_publishes_may_and_it_has_no_password():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    may = [name for name, job in workflow["jobs"].items() if job.get("permissions", {}).get("id-token") == "write"]
    assert may == ["publish"]
    assert "secrets." not in text


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.name)
def test_an_issue_form_has_a_label_for_each_of_its_fields(form):
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= content.keys()
    assert all(field["attributes"]["label"] for field in content["body"])
    ids = [field["id"] for field in content["body"]]
    assert len(set(ids)) == len(ids)


def test_a_report_of_a_bug_asks_for_the_versions():
    fields = {field["id"]: field for field in yaml.safe_load(FORMS[0].read_text())["body"]}
    assert "show_versions()" in fields["versions"]["attributes"]["label"]
    assert fields["versions"]["validations"]["required"]


def test_the_citation_is_of_this_version_and_license():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == imbalanced_torch.__version__
    assert citation["license"] == PYPROJECT["project"]["license"]
    assert citation["authors"] == [{"name": "The imbalanced-torch developers"}]


def test_what_is_packed_is_there_and_no_page_of_the_project_is_left_out():
    included = set(PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"])
    assert [name for name in included if not (ROOT / name.removeprefix("/")).exists()] == []
    here = [f"/{path.name}" for pattern in ("*.md", "*.cff", "constraints*.txt") for path in ROOT.glob(pattern)]
    assert set(here) <= included


def test_what_the_site_needs_is_pinned():
    pinned = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    needed = [requirement.partition(">=")[0] for requirement in PYPROJECT["project"]["optional-dependencies"]["docs"]]
    assert set(needed) <= pinned


def test_every_extra_that_the_page_on_installing_names_exists():
    names = re.findall(r"^\| (`.*?) \|", (ROOT / "docs" / "install.md").read_text(), flags=re.MULTILINE)
    extras = [extra for cell in names[1:] for extra in re.findall(r"`(\w+)`", cell)]
    assert extras
    assert set(extras) <= PYPROJECT["project"]["optional-dependencies"].keys()
