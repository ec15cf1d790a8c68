/* Reads a lumbar report from the metadata of OHIF's DICOMweb client: the current report of a study,
   the points of its findings, and the targets without a grade. */
(function () {
  'use strict';

  const COMPREHENSIVE_SR = '1.2.840.10008.5.1.4.1.1.88.33';
  const SCHEME = '99LUMBAR';
  const SEVERITIES = ['Normal/Mild', 'Moderate', 'Severe'];
  const ROLE_OF_CONDITION = { SCS: 'sagittal_t2', NFN: 'sagittal_t1', SAS: 'axial_t2' };
  const IMAGING_MEASUREMENTS = '126010';
  const FINDING = '121071';
  const COMMENT = '121106';
  const QUALITATIVE_EVALUATIONS = 'C0034375';
  const NOT_ASSESSED = 'NA';
  const FINDING_SITE = '363698007';
  const LATERALITY = '272741003';

  // A sequence of one item may be represented by the item itself.
  const list = value =>
    value === undefined || value === null ? [] : Array.isArray(value) ? value : [value];
  const children = item => list(item.ContentSequence);
  const first = value => list(value)[0] ?? {};
  const isNamed = code => item => first(item.ConceptNameCodeSequence).CodeValue === code;
  // "L4/L5 left subarticular stenosis: Severe"
  const targetOf = label => label.split(': ')[0];
  const severityOf = label => SEVERITIES.indexOf(label.split(': ')[1]);

  const isReport = displaySet =>
    displaySet.SOPClassUID === COMPREHENSIVE_SR &&
    list(displaySet.instance?.CodingSchemeIdentificationSequence).some(
      scheme => scheme.CodingSchemeDesignator === SCHEME,
    );

  /** The report without a successor; revisions name their predecessor. */
  function currentReport(displaySets) {
    const reports = displaySets.filter(isReport);
    const replaced = new Set(
      reports
        .flatMap(report => list(report.instance.PredecessorDocumentsSequence))
        .flatMap(study => list(study.ReferencedSeriesSequence))
        .flatMap(series => list(series.ReferencedSOPSequence))
        .map(reference => reference.ReferencedSOPInstanceUID),
    );
    return reports
      .filter(report => !replaced.has(report.instance.SOPInstanceUID))
      .sort((a, b) => Number(b.SeriesNumber) - Number(a.SeriesNumber))[0];
  }

  /** The point of each measurement group: {target, role, image, frame}, the worst finding last. */
  function pointsOf(report) {
    const measurements = children(report.instance).filter(isNamed(IMAGING_MEASUREMENTS));
    return measurements.flatMap(children).flatMap(group => {
      const finding = children(group).find(isNamed(FINDING));
      const comment = children(group).find(isNamed(COMMENT));
      return children(group)
        .filter(item => item.ValueType === 'NUM')
        .flatMap(children)
        .flatMap(children)
        .map(image => first(image.ReferencedSOPSequence))
        .map(reference => ({
          target: targetOf(comment?.TextValue ?? ''),
          role: ROLE_OF_CONDITION[first(finding?.ConceptCodeSequence).CodeValue],
          image: reference.ReferencedSOPInstanceUID,
          frame: Number(reference.ReferencedFrameNumber ?? 1),
        }));
    });
  }

  /** Targets without a grade: a Map of reason to targets. OHIF itself does not show them. */
  function notAssessed(report) {
    const byReason = new Map();
    const evaluations = children(report.instance).filter(isNamed(QUALITATIVE_EVALUATIONS));
    for (const item of evaluations.flatMap(children).filter(isNamed(NOT_ASSESSED))) {
      const valueOf = (parent, code) =>
        first(children(parent).find(isNamed(code))?.ConceptCodeSequence).CodeMeaning ?? '';
      const site = children(item).find(isNamed(FINDING_SITE)) ?? {};
      const level = valueOf(item, FINDING_SITE).match(/L\d\/[LS]\d/)?.[0];
      const parts = [level, valueOf(site, LATERALITY), valueOf(item, FINDING)];
      const reason = first(item.ConceptCodeSequence).CodeMeaning;
      const target = parts
        .filter(Boolean)
        .join(' ')
        .replace(/ [A-Z]/g, letter => letter.toLowerCase());
      byReason.set(reason, [...(byReason.get(reason) ?? []), target]);
    }
    return byReason;
  }

  window.lumbarReport = {
    currentReport,
    first,
    isReport,
    list,
    notAssessed,
    pointsOf,
    severityOf,
    targetOf,
  };
})();
