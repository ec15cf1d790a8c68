/* Orthanc Lumbar extension for OHIF 3.13: shows the series of a report with the report's points.

   The report determines which series are sagittal T2, sagittal T1 and axial T2: those with its
   points. They are shown in that order, the report's points are loaded automatically, and each
   viewport opens on its worst finding. The URL fragment `#target=L4/L5 left subarticular stenosis`
   selects a finding instead. Everything else is standard OHIF. */
(function () {
  'use strict';

  const { currentReport, first, isReport, list, notAssessed, pointsOf, severityOf, targetOf } =
    window.lumbarReport;

  const ROLES = ['sagittal_t2', 'sagittal_t1', 'axial_t2'];

  // --- series and viewports

  /** The role of a series, from the report, else from the headers of its first image. */
  function roleOf(displaySet, displaySets) {
    const report = currentReport(displaySets);
    if (!report || !displaySet.instances?.length) {
      return undefined;
    }
    const images = new Set(displaySet.instances.map(instance => instance.SOPInstanceUID));
    const points = pointsOf(report);
    const own = points.find(({ image }) => images.has(image));
    if (own) {
      return own.role;
    }
    const role = roleByHeaders(displaySet.instances[0]);
    return points.some(point => point.role === role) ? undefined : role;
  }

  function roleByHeaders(image) {
    const frame = first(image.SharedFunctionalGroupsSequence);
    const orientation = list(
      image.ImageOrientationPatient ??
        first(frame.PlaneOrientationSequence).ImageOrientationPatient,
    ).map(Number);
    const echoTime = Number(image.EchoTime ?? first(frame.MREchoSequence).EffectiveEchoTime);
    if (image.Modality !== 'MR' || orientation.length !== 6 || !(echoTime > 0)) {
      return undefined;
    }
    const [rowX, rowY, rowZ, columnX, columnY, columnZ] = orientation;
    const normal = [
      rowY * columnZ - rowZ * columnY,
      rowZ * columnX - rowX * columnZ,
      rowX * columnY - rowY * columnX,
    ].map(Math.abs);
    const axis = normal.indexOf(Math.max(...normal));
    const isT2 = echoTime > 50;
    return { '0true': 'sagittal_t2', '0false': 'sagittal_t1', '2true': 'axial_t2' }[
      `${axis}${isT2}`
    ];
  }

  /** The target in the URL fragment, as in `#target=L4/L5 spinal canal stenosis`. */
  const requestedTarget = () => new URLSearchParams(window.location.hash.slice(1)).get('target');

  /** The initial image of a series: that of the requested target, else of its worst finding. */
  function openingImage(displaySet, displaySets) {
    const report = currentReport(displaySets);
    if (!report || !displaySet) {
      return undefined;
    }
    const images = displaySet.instances.flatMap(instance =>
      Array.from({ length: Number(instance.NumberOfFrames ?? 1) }, (_, n) => ({
        image: instance.SOPInstanceUID,
        frame: n + 1,
      })),
    );
    const indexOf = point =>
      images.findIndex(({ image, frame }) => image === point.image && frame === point.frame);
    const inSeries = pointsOf(report).filter(point => indexOf(point) >= 0);
    const point = inSeries.find(({ target }) => target === requestedTarget()) ?? inSeries.pop();
    return point && { index: indexOf(point) };
  }

  function hangingProtocol() {
    const ofRole = role => ({
      seriesMatchingRules: [
        { attribute: 'lumbarRole', constraint: { equals: { value: role } }, required: true },
      ],
    });
    const viewport = role => ({
      viewportOptions: {
        viewportId: role,
        viewportType: 'stack',
        toolGroupId: 'default',
        initialImageOptions: { custom: 'lumbarImage', defaultValue: { preset: 'middle' } },
        allowUnmatchedView: true,
      },
      displaySets: [{ id: role }],
    });
    return {
      id: 'lumbar',
      name: 'Lumbar spine with report',
      protocolMatchingRules: [
        { attribute: 'lumbarReport', constraint: { equals: { value: true } }, required: true },
      ],
      displaySetSelectors: Object.fromEntries(ROLES.map(role => [role, ofRole(role)])),
      stages: [
        {
          name: 'Sagittal T2, sagittal T1, axial T2',
          viewportStructure: { layoutType: 'grid', properties: { rows: 1, columns: 3 } },
          viewports: ROLES.map(viewport),
        },
      ],
      numberOfPriorsReferenced: -1,
    };
  }

  // --- points on the images

  const COLOURS = ['rgb(120, 200, 170)', 'rgb(255, 180, 70)', 'rgb(255, 105, 97)'];
  const TEXT_PX = 12;
  const TEXT_PADDING_PX = 25; // OHIF's padding around a text
  const TEXT_FONT = 'Helvetica Neue, Helvetica, Arial, sans-serif';
  const LOAD_TIMEOUT_MS = 30000;

  /** Load the points of the current report once their images are loaded. */
  async function showReport(app, shown) {
    const { displaySetService, uiNotificationService } = app.servicesManager.services;
    const report = currentReport(displaySetService.getActiveDisplaySets());
    if (!report || shown.has(report)) {
      return;
    }
    shown.add(report);
    notifyNotAssessed(report, uiNotificationService);
    await report.load();
    if (!report.isRehydratable) {
      return; // No target was graded: the report has no point.
    }
    if (!(await allImagesLoaded(report))) {
      uiNotificationService.show({
        title: 'Lumbar report',
        message: 'Images referenced by the report are missing; its points are not shown.',
        type: 'error',
      });
      return;
    }
    app.commandsManager.run('hydrateStructuredReport', {
      displaySetInstanceUID: report.displaySetInstanceUID,
    });
    selectRequested(app.servicesManager.services);
  }

  /** List the targets without a grade, so that they are not mistaken for normal ones. */
  function notifyNotAssessed(report, uiNotificationService) {
    const reasons = [...notAssessed(report)].map(
      ([reason, targets]) =>
        `${reason}: ${targets.length > 3 ? `${targets.length} targets` : targets.join(', ')}`,
    );
    if (reasons.length) {
      uiNotificationService.show({
        title: 'Not assessed',
        message: reasons.join('; '),
        type: 'warning',
        duration: 60000,
      });
    }
  }

  function worstFirst({ storedMeasurementByAnnotationType: byType, displaySet }) {
    if (isReport(displaySet)) {
      Object.values(byType).forEach(measurements => measurements.reverse());
    }
    return byType;
  }

  async function allImagesLoaded(report) {
    const deadline = Date.now() + LOAD_TIMEOUT_MS;
    while (report.measurements.some(measurement => !measurement.loaded)) {
      if (Date.now() > deadline) {
        return false;
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    return true;
  }

  /** Select the point of the requested target and activate its viewport. */
  function selectRequested({ measurementService, viewportGridService }) {
    const requested = measurementService
      .getMeasurements()
      .find(({ label }) => targetOf(label) === requestedTarget());
    const viewport = viewportOf(requested?.displaySetInstanceUID, viewportGridService);
    if (viewport) {
      viewportGridService.setActiveViewportId(viewport.viewportId);
      window.cornerstoneTools.annotation.selection.setAnnotationSelected(requested.uid, true);
    }
  }

  /** Colour a point by its severity and move its text away from the spine. */
  function styleMeasurement(measurement, services) {
    const { annotation: annotations } = window.cornerstoneTools;
    const annotation = annotations.state.getAnnotation(measurement.uid);
    const severity = severityOf(measurement.label);
    if (!annotation?.metadata.referencedImageId || severity < 0) {
      return; // Not a measurement of a lumbar report.
    }
    const image = window.cornerstone.metaData.get(
      'imagePlaneModule',
      annotation.metadata.referencedImageId,
    );
    if (!image?.rowCosines) {
      return; // Without a plane OHIF's own text position is kept.
    }
    const axial = Math.abs(image.rowCosines[0]) > 0.5;
    const colour = COLOURS[severity];
    const states = ['', 'Highlighted', 'Selected', 'Locked'];
    annotations.config.style.setAnnotationStyles(measurement.uid, {
      ...Object.fromEntries(states.map(state => [`color${state}`, colour])),
      ...Object.fromEntries(states.map(state => [`textBoxColor${state}`, colour])),
      lineDash: '',
      lineWidthSelected: '2.5',
      textBoxFontSize: `${TEXT_PX}px`,
      textBoxFontFamily: TEXT_FONT,
      // The text covers bright fat, so it needs a background.
      textBoxBackground: axial ? 'rgba(0, 0, 0, 0.7)' : '',
    });
    const { rows, columns } = image;
    const scale = scaleOf(columns, rows, measurement.displaySetInstanceUID, services);
    const side = measurement.label.includes(' left ') === image.rowCosines[0] > 0 ? 1 : -1;
    placeArrow(annotation, measurement.label, {
      rows,
      columns,
      side: axial ? side : 0,
      screenPx: 1 / scale,
    });
  }

  /** Move the tail and the text of an arrow; its tip, the point, is not moved. Units are image
      pixels. `side` is the screen side of a recess, 0 for sagittal images. */
  function placeArrow({ data: { handles }, metadata }, label, { rows, columns, side, screenPx }) {
    const { worldToImageCoords, imageToWorldCoords } = window.cornerstone.utilities;
    const image = metadata.referencedImageId;
    const [column, row] = worldToImageCoords(image, handles.points[0]);
    const length = 0.06 * columns;
    const width = (textWidth(label) + 12) * screenPx;
    const text = { column: 4 * screenPx, row: row - 0.5 * TEXT_PX * screenPx };
    if (side !== 0) {
      // The arrow and text of a recess are on its side, below the spine.
      text.column = side > 0 ? Math.max(0, columns - width) : text.column;
      text.row = (side > 0 ? 0.92 : 0.86) * rows;
    } else if (text.column + width > column) {
      text.row += length; // Next to the tail, so that the tip is not covered.
    }
    handles.points[1] = imageToWorldCoords(image, [column + (side || 1) * length, row + length]);
    handles.textBox.hasMoved = true;
    handles.textBox.worldPosition = imageToWorldCoords(image, [
      text.column - TEXT_PADDING_PX * screenPx,
      text.row - TEXT_PADDING_PX * screenPx,
    ]);
  }

  function textWidth(text) {
    const context = document.createElement('canvas').getContext('2d');
    context.font = `${TEXT_PX}px ${TEXT_FONT}`;
    return context.measureText(text).width;
  }

  /** Screen pixels per image pixel if the image fits the viewport of its series. */
  function scaleOf(columns, rows, displaySet, { cornerstoneViewportService, viewportGridService }) {
    const id = viewportOf(displaySet, viewportGridService)?.viewportId;
    const element = cornerstoneViewportService.getCornerstoneViewport(id)?.element;
    return element ? Math.min(element.clientWidth / columns, element.clientHeight / rows) : 1;
  }

  function viewportOf(displaySet, viewportGridService) {
    return [...viewportGridService.getState().viewports.values()].find(
      ({ displaySetInstanceUIDs }) => displaySetInstanceUIDs.includes(displaySet),
    );
  }

  window.lumbarExtension = {
    id: 'orthanc-lumbar',
    preRegistration({ servicesManager }) {
      const { displaySetService, hangingProtocolService } = servicesManager.services;
      hangingProtocolService.addCustomAttribute(
        'lumbarRole',
        'Role in a lumbar report',
        (displaySet, options) => roleOf(displaySet, options.displaySets),
      );
      hangingProtocolService.addCustomAttribute(
        'lumbarReport',
        'Has a lumbar report',
        (_, options) => Boolean(currentReport(options.displaySets ?? [])),
      );
      hangingProtocolService.addCustomAttribute(
        'lumbarImage',
        'Initial image of a series',
        ([displaySet]) => openingImage(displaySet, displaySetService.getActiveDisplaySets()),
      );
    },
    getCustomizationModule: () => [
      {
        name: 'global',
        // The report lists its worst finding last, because viewers open the last one; the panel
        // lists it first.
        value: { onBeforeSRHydration: { $set: { value: worstFirst } } },
      },
    ],
    getHangingProtocolModule: () => [{ name: 'lumbar', protocol: hangingProtocol() }],
    onModeEnter(app) {
      const { cornerstoneViewportService, measurementService } = app.servicesManager.services;
      const shown = new WeakSet();
      // The points can be drawn once a viewport has its images.
      cornerstoneViewportService.subscribe(
        cornerstoneViewportService.EVENTS.VIEWPORT_DATA_CHANGED,
        () => showReport(app, shown),
      );
      measurementService.subscribe(
        measurementService.EVENTS.RAW_MEASUREMENT_ADDED,
        ({ measurement }) => styleMeasurement(measurement, app.servicesManager.services),
      );
    },
  };
})();
