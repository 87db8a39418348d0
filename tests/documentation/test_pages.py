"""The pages: lengths of lines, links and anchors, defined terms, figures beside tables, every name in the reference."""

import re

import pytest

from docs.tools import api, commands
from docs.tools.figures import EXPERIMENTS, FIGURES, has_figures, markdown_tables, read_table
from docs.tools.hooks import COPIED, generated
from tests.documentation.pages import CODE, DOCS, FENCE, ROOT, anchors, broken, markdown, prose
from worldsim.cli.command import SettingsCommand
from worldsim.cli.table import COMMANDS

PAGES = markdown()
LIMIT = 120


def long_lines(text: str) -> list[int]:
    """Numbers of the lines of a page that are too long, outside of tables, and of what is one link alone."""
    may_be_long = re.compile(r"\s*\|.*|\s*(- )?!?\[.*\]\(.*\)(\{.*\})?\W*")
    lines = enumerate(text.splitlines(), 1)
    return [number for number, line in lines if len(line) > LIMIT and not may_be_long.fullmatch(line)]


def test_no_line_is_too_long():
    assert long_lines("a " * 61 + "\n| " + "b " * 70 + "\n" + f"[{'c' * 130}](d.md)\n" + "short\n") == [1]
    assert {page: found for page, text in PAGES.items() if (found := long_lines(text))} == {}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_links_and_anchors_lead_somewhere():
    made = {
        page: "# A b\n\n[x](nowhere.md) [y](#a-b) [z](#c) [w](made.md#d) [v](made.md#e)\n" for page in ("docs/a.md",)
    }
    assert broken(made, {"made.md": "## D"}) == ["docs/a.md: nowhere.md", "docs/a.md: #c", "docs/a.md: made.md#e"]
    assert broken(PAGES, generated()) == []


def test_anchors_are_those_of_the_site():
    assert anchors("# `A`: b, c!\n```\n# no\n```\n## Twice\n## Twice\n") == {"a-b-c", "twice", "twice_1"}


# Names, units and words in capitals that are no terms of the field; keys of a keyboard.
NAMES = set(
    re.findall(
        r"\S+",
        """
        AMD CPU GPU GIF JSON CSV YAML URL RGB ROM MB GB GUI JDK JPEG EXIF UTC UTF UTF-8 UTF-16 SPDX LGPL CC BY-SA
        ALE HDF5 CONTRIBUTING CHANGELOG README STORE NAME NAME-DATE-TIME STEPS FIRST LAST OR MINECRAFT DIAMOND L6 MIT
        API SIGTERM HTML HTTP HTTPS TCP TLS SSH SVG PNG NPZ SHA OK ID OS LAN IP S3 SDL TIFF VP8 CITATION NOTICE
        MP4 CUDA H100 NCCL NVIDIA RTX CS GO PERSIST
        """,
    )
)
# Words of the field, which are defined wherever one of them is used.
FIELD = re.findall(
    r"\S+",
    """
    bf16 chunk clip collapse compositor counterfactual depth discriminator ego-motion energy_score engine episode
    key_frame latent latent_frame lockstep memory noise null_test pose prefix prompt provenance recall retrieval
    rollout sampling_step sharpness shard signal_level snapshot split store teacher-forced token tokenizer trust
    twin_noises validation zarr cell rank fsspec gloo Kaplan-Meier Platt_scaling cross-entropy_method
    behaviour_cloning inverse_dynamics flow_matching effect_ratio key/value_cache
    """,
)


def glossary() -> set[str]:
    """Terms that the glossary defines, in lower case."""
    heads = re.findall(r"^\*\*(.+?)\*\*\n:   \S", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    return {term.strip().lower() for head in heads for term in head.split(",")}


def undefined(pages: dict[str, str], defined: set[str]) -> dict[str, list[str]]:
    """Abbreviations and words of the field that pages use and the glossary lacks."""
    found: dict[str, list[str]] = {}
    for page, text in pages.items():
        said = prose(text)
        capitals = set(re.findall(r"\b[A-Z][A-Z0-9]+(?:-[A-Z0-9]+)*\b", said)) - NAMES
        capitals = {one for one in capitals if not re.fullmatch(r"F\d+", one) or one == "F1"}
        words = {term for one in FIELD if re.search(rf"\b{re.escape(term := one.replace('_', ' '))}s?\b", said, re.I)}
        if missing := sorted(one for one in capitals | words if one.lower() not in defined):
            found[page] = missing
    return found


def test_terms_that_are_used_are_defined():
    assert undefined({"a": "An RSSM has a latent frame; `ABC`."}, set()) == {"a": ["RSSM", "latent", "latent frame"]}
    assert undefined(PAGES, glossary()) == {}


def test_the_glossary_defines_what_is_used():
    said = " ".join(prose(text) for page, text in PAGES.items() if page != "docs/glossary.md").lower()
    assert [term for term in sorted(glossary()) if term not in said] == []


RECORDS = sorted(EXPERIMENTS.glob("2*.md"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_an_experiment_says_what_was_asked_and_its_tables_are_files(path):
    text = path.read_text()
    assert re.fullmatch(r"20\d\d-\d\d-\d\d-[a-z0-9-]+", path.stem)
    asked = [text.index(f"**{word}.**") for word in ("Asked", "Done", "Found", "Decided")]
    assert asked == sorted(asked) and re.search(r"^Date: 20\d\d-\d\d-\d\d\. Machine: ", text, re.MULTILINE)
    for number, table in enumerate(markdown_tables(text), 1):
        if has_figures(table):
            assert read_table(f"{path.stem}-{number}") == table


def test_every_file_of_figures_belongs_to_an_experiment_and_every_experiment_is_listed():
    stems = {path.stem for path in RECORDS}
    assert {path.stem.rpartition("-")[0] for path in FIGURES.glob("*.csv")} <= stems
    assert set(re.findall(r"\]\((2[\w-]+)\.md\)", (EXPERIMENTS / "index.md").read_text())) >= stems


def test_benchmarks_say_how_they_were_measured():
    sections = (DOCS / "benchmarks.md").read_text().split("\n## ")[1:]
    assert len(sections) > 5
    for section in sections:
        for word in ("- Command: ", "- Seed: ", "- Machine: ", "- Date: 20", "Record: "):
            assert word in section, (section.splitlines()[0], word)
        assert markdown_tables(section), section.splitlines()[0]


def test_every_public_name_is_in_the_reference():
    pages, known = "\n".join(api.pages().values()), api.modules()
    shown = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    names = [name for module, path in known.items() for name in api.public_names(module, path)]
    assert len(names) > 1000 and "worldsim.load" in names and "worldsim.datasets.store.store.EpisodeStore.read" in names
    # A page shows every public name of the modules that it lists.
    prefixes = ([".".join(name.split(".")[:n]) for n in range(name.count("."), 0, -1)] for name in names)
    owners = [next(prefix for prefix in each if prefix in known) for each in prefixes]
    assert sorted({owner for owner in owners if owner not in shown}) == []


def test_every_command_and_setting_is_in_the_reference():
    pages = commands.pages()
    for name, command in COMMANDS.items():
        text = pages[commands.path_of(name)]
        for key, one in SettingsCommand(name, command).schema.settings.items():
            row = next(line for line in text.splitlines() if line.startswith(f"| `{key}` |"))
            assert len(row.split("|")) == 5, row
            assert one.type_name in row or one.about.choices, row
        assert f"({name.replace(' ', '-')}.md)" in pages[f"{commands.FOLDER}/index.md"]


def test_files_at_the_top_are_pages_whose_links_hold_there():
    pages = generated()
    assert set(COPIED.values()) <= set(pages)
    inside = {f"docs/{page}": pages[page] for page in COPIED.values()}
    assert broken(inside | PAGES, pages) == []


def test_code_is_not_taken_for_prose():
    assert prose("a `B` [c](D) <!-- E -->\n```\nF\n```\n").split() == ["a", "[c]"]
    assert FENCE.sub("", "```\nx\n```") == "" and CODE.sub("", "`x`") == ""
