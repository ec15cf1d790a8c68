"""deploy/CONFORMANCE.md says what the program does, table by table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.pixels import get_decoder
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, AllTransferSyntaxes, JPEGTransferSyntaxes

from dicom_sr import codes, document, uids
from dicom_sr.findings import Report
from dicom_sr.writer import write
from worker import __version__
from worker.intake import decoding, repair

PAGE = (Path(__file__).parents[3] / "deploy" / "CONFORMANCE.md").read_text()
DUMMIES = {"DA": "20240501", "TM": "101500", "AS": "060Y", "DS": "1", "PN": "A^B"}
CODE = re.compile(r'\((\S+), (\S+), "(.+?)"\)')

Path_ = tuple[BaseTag, ...]


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def literal(cell: str) -> str | None:
    """What stands in a cell as code and alone, None where it holds words."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    return found and found[1]


# --- the attributes of the report


def dummy(keyword: str) -> DataElement:
    """A value that an attribute may have."""
    vr = dictionary_VR(keyword)
    value = [codes.coded(codes.MRI)] if vr == "SQ" else DUMMIES.get(vr, "X")
    return DataElement(tag_for_keyword(keyword), vr, value)


@pytest.fixture
def full(report: Report, sources: list[Dataset], fingerprint: str) -> Dataset:
    """A revision of a report about sources that have everything that is copied."""
    names = {"software_version": __version__, "pipeline_version": 1, "fingerprint": fingerprint}
    predecessor = write(
        report, sources, software_version=__version__, pipeline_version=1, fingerprint="other"
    )
    for source in sources:
        for keyword in (*document._TYPE_2, *document._OPTIONAL):
            source.add(dummy(keyword))
        order = Dataset()
        order.StudyInstanceUID = source.StudyInstanceUID
        for keyword in document._ORDER_TYPE_2:
            order.add(dummy(keyword))
        source.RequestAttributesSequence = [order]
        source.add(dummy("ReferencedPerformedProcedureStepSequence"))
    return write(report, sources, predecessor=predecessor, **names)


@pytest.fixture(scope="session")
def documented() -> dict[Path_, str]:
    """The value cell of every attribute in the table, by its path of tags."""
    rows: dict[Path_, str] = {}
    path: Path_ = ()
    for module, attribute, tag, _, value in table("Attributes"):
        depth = attribute.count("> ")
        assert bool(module) == (depth == 0)
        path = (*path[:depth], Tag(tag.strip("()").replace(",", "")))
        assert path not in rows
        rows[path] = value
    return rows


def paths(dataset: Dataset, whole: set[Path_], above: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """Path and value of every attribute, but for what lies within the `whole` sequences."""
    for element in dataset:
        path = (*above, element.tag)
        yield path, "" if element.VR == "SQ" else str(element.value)
        if element.VR == "SQ" and path not in whole:
            for item in element.value:
                yield from paths(item, whole, path)


def test_the_report_has_exactly_the_attributes_of_the_table(full, documented):
    """Whatever is copied or made stands in the table, at its place, and nothing else does."""
    whole = {path for path, value in documented.items() if value.startswith("copied whole")}
    whole.add((Tag("ContentSequence"),))
    written = dict([*paths(full.file_meta, whole), *paths(full, whole)])
    assert {names(p) for p in written} == {names(p) for p in documented}


def test_values_named_in_the_table_are_those_written(full, documented):
    """A value that the table gives literally is the one in the report."""
    whole = {(Tag("ContentSequence"),)}
    written = dict([*paths(full.file_meta, whole), *paths(full, whole)])
    given = {path: literal(value) for path, value in documented.items() if literal(value)}
    assert len(given) > 25
    assert {names(p): written[p] for p in given} == {names(p): v for p, v in given.items()}


def names(path: Path_) -> str:
    """A path that people can read."""
    return " > ".join(keyword_for_tag(tag) if dictionary_has_tag(tag) else str(tag) for tag in path)


def test_types_are_those_of_the_sources_code(documented):
    """What is filled in empty is called type 2, what is copied where present is not."""
    types = {tag: kind for _, name, tag, kind, _ in table("Attributes") if ">" not in name}
    by_keyword = {keyword_for_tag(tag.strip("()").replace(",", "")): k for tag, k in types.items()}
    assert {by_keyword[keyword] for keyword in document._TYPE_2} == {"2"}
    assert {by_keyword[keyword] for keyword in document._OPTIONAL} == {"3", "1C"}


def test_uids_on_the_page_are_those_of_the_program():
    """The two fixed UIDs stand on the page, each in its row."""
    fixed = {"Implementation Class UID": uids.IMPLEMENTATION_CLASS_UID}
    fixed["> Coding Scheme UID"] = uids.CODING_SCHEME_UID
    rows = {row[1]: literal(row[4]) for row in table("Attributes")}
    assert {name: rows[name] for name in fixed} == fixed


# --- the content tree and its codes


Item = tuple[int, str, str, Code]


def flat(item: Dataset, depth: int = 0) -> Iterator[Item]:
    """Depth, relationship, value type and name of an item and of all below it."""
    name = item.ConceptNameCodeSequence[0]
    code = Code(name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning)
    yield depth, item.get("RelationshipType", ""), item.ValueType, code
    for child in item.get("ContentSequence", ()):
        yield from flat(child, depth + 1)


def readable(item: Item) -> tuple[object, ...]:
    """An item without the leniency with which pydicom compares codes."""
    depth, relationship, value_type, code = item
    return depth, relationship, value_type, code.value, code.scheme_designator, code.meaning


def test_the_tree_is_that_of_the_table(report, nothing_assessed, sources, fingerprint):
    """Every item that is ever written stands in the table at its depth, and no other."""
    trees = [
        write(
            each, sources, software_version=__version__, pipeline_version=1, fingerprint=fingerprint
        )
        for each in (report, nothing_assessed)
    ]
    written = {readable(item) for tree in trees for item in flat(tree)}
    rows = {
        readable((nesting.count(">"), relationship, value_type, Code(*CODE.match(name).groups())))
        for nesting, relationship, value_type, name, _ in table("Content tree")
    }
    assert written == rows


@pytest.fixture(scope="session")
def program_codes() -> tuple[set[Code], set[Code]]:
    """Every code of codes.py: named constants, and the codes of the value tables."""
    named = {value for value in vars(codes).values() if isinstance(value, Code)}
    tables = [value for value in vars(codes).values() if isinstance(value, Mapping)]
    coded = {code for each in tables for code in each.values() if isinstance(code, Code)}
    assert len(coded) > 20
    return named, coded


def triples(found: set[Code], *, private: bool) -> set[tuple[str, str, str]]:
    """Value, scheme and meaning of the private or of the other codes."""
    return {
        (code.value, code.scheme_designator, code.meaning)
        for code in found
        if (code.scheme_designator == codes.PRIVATE_SCHEME) is private
    }


def test_every_private_code_is_listed(program_codes):
    """The table of 99LUMBAR is that of codes.py, value by value and word by word."""
    named, coded = program_codes
    rows = [(literal(value), meaning) for value, meaning, _ in table("Private codes")]
    expected = {(v, meaning) for v, _, meaning in triples(named | coded, private=True)}
    assert len(rows) == len(set(rows))
    assert set(rows) == expected


def test_every_other_value_is_listed(program_codes):
    """Levels, sides and severities of SNOMED stand in their table."""
    rows = {(literal(v), s, m) for v, s, m, _ in table("Values from other schemes")}
    assert rows == triples(program_codes[1], private=False)


def test_every_other_code_stands_somewhere_on_the_page(program_codes):
    """Concept names and fixed values of the tree are given in full, value, scheme, meaning."""
    on_page = set(CODE.findall(PAGE))
    of_attributes = {codes.PERCENT, codes.PROCESSING_EQUIPMENT}
    named = program_codes[0] - of_attributes
    assert triples(named, private=False) <= on_page


# --- images


def test_transfer_syntaxes_are_those_that_can_be_decoded():
    """Listed is what has a decoder here, with the codec that intake gives it to."""
    readable_here = {}
    for syntax in AllTransferSyntaxes:
        try:
            decoder = get_decoder(UID(syntax))
        except NotImplementedError:
            continue
        codec = decoding._PLUGINS.get(syntax, "gdcm" if syntax in JPEGTransferSyntaxes else "")
        if not codec or codec in decoder.available_plugins:
            readable_here[str(syntax)] = codec or "pydicom"
    rows = {literal(uid): codec for _, uid, codec, _ in table("Transfer syntaxes read")}
    assert rows == readable_here


def test_image_classes_are_those_of_intake():
    """The SOP classes that are read are those that routing takes for MR images."""
    rows = {literal(uid) for _, uid, role in table("SOP classes") if role == "read"}
    assert rows == set(repair.MR_IMAGE_CLASSES)


def test_filled_attributes_are_those_of_repair():
    """The attributes of type 2 that intake fills are listed for both kinds of object."""
    section = PAGE.split("| SOP class | Filled where absent |")[1].split("\n\n")[0]
    rows = [line.strip("|").split("|")[1] for line in section.splitlines()[2:]]
    listed = [tuple(name.strip().replace(" ", "") for name in row.split(",")) for row in rows]
    assert listed == [repair.TYPE_2, repair.TYPE_2_MR]


def test_the_page_names_this_version():
    """A statement belongs to one version of a product."""
    assert f"Orthanc Lumbar {__version__}," in PAGE
