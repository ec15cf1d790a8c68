/* What Orthanc Lumbar adds to OHIF 3.13: the series of a report side by side, its points on them.

   The report itself says which series are sagittal T2, sagittal T1 and axial T2: those that its
   points lie on. They are hung in that order, the report's points are restored without a click,
   and each viewport opens on its worst finding; `#target=L4/L5 left subarticular stenosis` behind
   the address opens on that one. Everything else is OHIF's own. */
(function () {
  'use strict';

  const { currentReport, first, isReport, list, notAssessed, placesOf, severityOf, targetOf } =
    window.lumbarReport;

  const ROLES = ['sagittal_t2', 'sagittal_t1', 'axial_t2'];

  // --- which series takes which place

  /** The role of a series: what the report says, else what the headers of its first image say. */
  function roleOf(displaySet, displaySets) {
    const report = currentReport(displaySets);
    if (!report || !displaySet.instances?.length) {
      return undefined;
    }
    const images = new Set(displaySet.instances.map(instance => instance.SOPInstanceUID));
    const places = placesOf(report);
    const own = places.find(({ image }) => images.has(image));
    if (own) {
      return own.role;
    }
    const guess = roleByHeaders(displaySet.instances[0]);
    return places.some(({ role }) => role === guess) ? undefined : guess;
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

  /** The target that the address names, as in `#target=L4/L5 spinal canal stenosis`. */
  const wantedTarget = () => new URLSearchParams(window.location.hash.slice(1)).get('target');

  /** Where a series opens: on the wanted target, else on its worst finding. */
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
    const indexOf = place =>
      images.findIndex(({ image, frame }) => image === place.image && frame === place.frame);
    const here = placesOf(report).filter(place => indexOf(place) >= 0);
    const place = here.find(({ target }) => target === wantedTarget()) ?? here.pop();
    return place && { index: indexOf(place) };
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
      name: 'Lumbar spine with its report',
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

  // --- the report's points on the images

  const COLOURS = ['rgb(120, 200, 170)', 'rgb(255, 180, 70)', 'rgb(255, 105, 97)'];
  const TEXT_PX = 12;
  const TEXT_PADDING_PX = 25; // what OHIF leaves free around a text
  const TEXT_FONT = 'Helvetica Neue, Helvetica, Arial, sans-serif';
  const PATIENCE_MS = 30000;

  /** Restore the current report's points as soon as the images that they lie on are there. */
  async function showReport(app, shown) {
    const { displaySetService, uiNotificationService } = app.servicesManager.services;
    const report = currentReport(displaySetService.getActiveDisplaySets());
    if (!report || shown.has(report)) {
      return;
    }
    shown.add(report);
    tellGaps(report, uiNotificationService);
    await report.load();
    if (!report.isRehydratable) {
      return; // Nothing could be graded: the report holds no point.
    }
    if (!(await everyImageIsThere(report))) {
      uiNotificationService.show({
        title: 'Lumbar report',
        message: 'Images that the report points at are missing; its points are not shown.',
        type: 'error',
      });
      return;
    }
    app.commandsManager.run('hydrateStructuredReport', {
      displaySetInstanceUID: report.displaySetInstanceUID,
    });
    selectWanted(app.servicesManager.services);
  }

  /** Say what was not assessed, and why: a target without a point must not look like a normal one. */
  function tellGaps(report, uiNotificationService) {
    const gaps = [...notAssessed(report)].map(
      ([reason, targets]) =>
        `${reason}: ${targets.length > 3 ? `${targets.length} targets` : targets.join(', ')}`,
    );
    if (gaps.length) {
      uiNotificationService.show({
        title: 'Not assessed',
        message: gaps.join('; '),
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

  async function everyImageIsThere(report) {
    const deadline = Date.now() + PATIENCE_MS;
    while (report.measurements.some(measurement => !measurement.loaded)) {
      if (Date.now() > deadline) {
        return false;
      }
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    return true;
  }

  /** Mark the point that the address names, and make its viewport the active one. */
  function selectWanted({ measurementService, viewportGridService }) {
    const wanted = measurementService
      .getMeasurements()
      .find(({ label }) => targetOf(label) === wantedTarget());
    const viewport = viewportOf(wanted?.displaySetInstanceUID, viewportGridService);
    if (viewport) {
      viewportGridService.setActiveViewportId(viewport.viewportId);
      window.cornerstoneTools.annotation.selection.setAnnotationSelected(wanted.uid, true);
    }
  }

  /** Colour a restored point by its severity, and move its text away from the spine. */
  function dress(measurement, services) {
    const { annotation: annotations } = window.cornerstoneTools;
    const annotation = annotations.state.getAnnotation(measurement.uid);
    const severity = severityOf(measurement.label);
    if (!annotation?.metadata.referencedImageId || severity < 0) {
      return; // Not one of ours.
    }
    const image = window.cornerstone.metaData.get(
      'imagePlaneModule',
      annotation.metadata.referencedImageId,
    );
    if (!image?.rowCosines) {
      return; // Without a plane the text stays where OHIF puts it.
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
      // Below the spine lies bright fat.
      textBoxBackground: axial ? 'rgba(0, 0, 0, 0.7)' : '',
    });
    const { rows, columns } = image;
    const scale = scaleOf(columns, rows, measurement.displaySetInstanceUID, services);
    const side = measurement.label.includes(' left ') === image.rowCosines[0] > 0 ? 1 : -1;
    place(annotation, measurement.label, {
      rows,
      columns,
      side: axial ? side : 0,
      screenPx: 1 / scale,
    });
  }

  /** Move the arrow's tail and its text; the tip is the point, and stays. In pixels of the image.
      `side` is that of the screen on which a recess lies, 0 for sagittal images. */
  function place({ data: { handles }, metadata }, label, { rows, columns, side, screenPx }) {
    const { worldToImageCoords, imageToWorldCoords } = window.cornerstone.utilities;
    const image = metadata.referencedImageId;
    const [column, row] = worldToImageCoords(image, handles.points[0]);
    const length = 0.06 * columns;
    const width = (textWidth(label) + 12) * screenPx;
    const text = { column: 4 * screenPx, row: row - 0.5 * TEXT_PX * screenPx };
    if (side !== 0) {
      // Each recess has its arrow and its text on its own side, below the spine.
      text.column = side > 0 ? Math.max(0, columns - width) : text.column;
      text.row = (side > 0 ? 0.92 : 0.86) * rows;
    } else if (text.column + width > column) {
      text.row += length; // Beside the tail, so that nothing covers the tip.
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

  /** Screen pixels of one image pixel when the image fits the viewport of its series. */
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
        'Where a series opens',
        ([displaySet]) => openingImage(displaySet, displaySetService.getActiveDisplaySets()),
      );
    },
    getCustomizationModule: () => [
      {
        name: 'global',
        // The report has its worst finding last, for viewers that land on it; a list has it first.
        value: { onBeforeSRHydration: { $set: { value: worstFirst } } },
      },
    ],
    getHangingProtocolModule: () => [{ name: 'lumbar', protocol: hangingProtocol() }],
    onModeEnter(app) {
      const { cornerstoneViewportService, measurementService } = app.servicesManager.services;
      const shown = new WeakSet();
      // Once a viewport has its images, the report's points can be drawn.
      cornerstoneViewportService.subscribe(
        cornerstoneViewportService.EVENTS.VIEWPORT_DATA_CHANGED,
        () => showReport(app, shown),
      );
      measurementService.subscribe(
        measurementService.EVENTS.RAW_MEASUREMENT_ADDED,
        ({ measurement }) => dress(measurement, app.servicesManager.services),
      );
    },
  };
})();
