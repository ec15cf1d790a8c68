"""report.json under the names that other programs read."""

import json

from dicom_sr.findings import TARGETS, Condition, Level, NotAssessed, NotAssessedReason, Target
from worker.report.report_json import report_document, to_json

FINDING = {
    "condition",
    "side",
    "level",
    "status",
    "severity",
    "probabilities",
    "confidence",
    "point",
    "graded_on",
    "reason",
    "reason_code",
}
POINT = {
    "series_instance_uid",
    "sop_instance_uid",
    "frame",
    "instance_number",
    "column",
    "row",
    "patient_mm",
}


def test_findings_stand_in_the_order_of_the_targets_with_every_key(graded_study):
    """Every finding has all its keys, graded or not, in the order of TARGETS."""
    content = report_document(graded_study)
    assert all(set(finding) == FINDING for finding in content["findings"])
    named = [(f["condition"], f["level"], f["side"]) for f in content["findings"]]
    assert named == [(t.condition, t.level, t.side) for t in TARGETS]


def test_what_the_document_holds_survives_json(graded_study):
    """The document is made of plain JSON types, so reading it back changes nothing."""
    content = report_document(graded_study)
    assert json.loads(to_json(content)) == content


def test_a_graded_finding_says_where_it_points_in_pixels_and_millimetres(graded_study):
    """`patient_mm` is the point's pixel mapped by the plane of the very slice it names."""
    for entry, target in zip(report_document(graded_study)["findings"], TARGETS, strict=True):
        finding = graded_study.report[target]
        if entry["status"] == "not_assessed":
            assert isinstance(finding, NotAssessed)
            continue
        assert set(entry["point"]) == POINT
        volume, index = next(
            (volume, index)
            for volume in graded_study.volumes.all
            for index, header in enumerate(volume.slices)
            if header.image.sop_instance_uid == entry["point"]["sop_instance_uid"]
            and header.image.series_instance_uid == entry["point"]["series_instance_uid"]
        )
        plane = volume.planes[index]
        column, row = plane.to_px(entry["point"]["patient_mm"])
        assert abs(plane.distance_mm(entry["point"]["patient_mm"])) < 1e-3
        assert abs(column - finding.point.column) < 0.01
        assert abs(row - finding.point.row) < 0.01
        assert entry["point"]["instance_number"] == volume.slices[index].instance_number
        assert abs(sum(entry["probabilities"].values()) - 1) < 1e-9
        assert max(entry["probabilities"], key=entry["probabilities"].get) == entry["severity"]


def test_left_lies_at_larger_patient_x_than_right(graded_study):
    """The millimetres of the two sides of one level keep their sides."""
    x = {
        (f["condition"], f["level"], f["side"]): f["point"]["patient_mm"][0]
        for f in report_document(graded_study)["findings"]
        if f["point"]
    }
    pairs = [(x[c, lv, "left"], x[c, lv, "right"]) for c, lv, side in x if side == "left"]
    assert len(pairs) == 10
    assert all(left > right for left, right in pairs)


def test_a_target_not_assessed_has_a_reason_and_nothing_else(graded_study):
    """Without a grade every value is null and the reason is given in words and as a code."""
    entry = report_document(graded_study)["findings"][0]
    values = {entry[key] for key in FINDING - {"condition", "level", "reason", "reason_code"}}
    assert values == {None, "not_assessed"}
    assert entry["reason"] == NotAssessedReason.NO_AXIAL_SLICE.label
    assert entry["reason_code"] == "no_axial_slice"


def test_the_canal_names_the_axial_slice_it_was_graded_on(graded_study):
    """The canal's point lies on another series than the image that was graded."""
    target = Target(Condition.SPINAL_CANAL_STENOSIS, Level.L4_L5)
    entry = report_document(graded_study)["findings"][TARGETS.index(target)]
    assert entry["graded_on"]["series_instance_uid"] != entry["point"]["series_instance_uid"]
    assert set(entry["graded_on"]) == {"series_instance_uid", "sop_instance_uid", "frame"}


def test_every_series_is_either_routed_or_rejected_with_a_reason(graded_study):
    """Routed and rejected together are all decisions, each with a reason."""
    content = report_document(graded_study)
    listed = [d["series_instance_uid"] for d in (*content["routed"], *content["rejected"])]
    decided = [d.series_instance_uid for d in graded_study.routed.decisions]
    assert sorted(listed) == sorted(decided)
    assert all(d["reason"] for d in (*content["routed"], *content["rejected"]))
    assert all(d["role"] for d in content["routed"])
    assert not any(d["role"] for d in content["rejected"])


def test_every_series_carries_its_evidence(graded_study):
    """Each rule that spoke stands under its series with what it says and why, in its order."""
    content = report_document(graded_study)
    evidence = {"rule": "echo_and_repetition", "says": "T2", "because": "by <TE> 100 ms"}
    assert [one["evidence"] for one in content["routed"]] == [[evidence]] * 3
    assert [one["evidence"] for one in content["rejected"]] == [[]]


def test_repairs_and_timings_are_listed(graded_study):
    """Repairs name kind, series and count; timings are by step."""
    content = report_document(graded_study)
    assert content["repairs"] == [
        {
            "kind": "modality_assumed_mr",
            "series_instance_uid": "1.2.3.1",
            "instances": 11,
            "detail": "as the other series",
        }
    ]
    assert content["timings_ms"] == {"headers": 12.3, "grade": 987.0}
    assert content["bundle"]["name"] == "default"
    assert content["bundle"]["version"] == "0.1.0"
    assert content["study_instance_uid"] == "1.2.3"
