/* A lumbar report as its readers in the viewer need it, from the metadata that OHIF's DICOMweb
   client gives: which report is the current one, where its findings point, what has no grade. */
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

  // A sequence of one item may come as the item itself.
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

  /** The report that no other one replaces; reports are chained by their predecessors. */
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

  /** Where each measurement group points: {target, role, image, frame}, the worst finding last. */
  function placesOf(report) {
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

  /** What has no grade, by its reason: Map of reason to targets. OHIF itself shows none of it. */
  function notAssessed(report) {
    const byReason = new Map();
    const evaluations = children(report.instance).filter(isNamed(QUALITATIVE_EVALUATIONS));
    for (const item of evaluations.flatMap(children).filter(isNamed(NOT_ASSESSED))) {
      const valueOf = (parent, code) =>
        first(children(parent).find(isNamed(code))?.ConceptCodeSequence).CodeMeaning ?? '';
      const site = children(item).find(isNamed(FINDING_SITE)) ?? {};
      const level = valueOf(item, FINDING_SITE).match(/L\d\/[LS]\d/)?.[0];
      const words = [level, valueOf(site, LATERALITY), valueOf(item, FINDING)];
      const reason = first(item.ConceptCodeSequence).CodeMeaning;
      const target = words
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
    placesOf,
    severityOf,
    targetOf,
  };
})();
