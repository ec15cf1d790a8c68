/* OHIF's configuration beside Orthanc: one origin, DICOMweb under /dicom-web.
   What Orthanc Lumbar adds to the viewer is in lumbar.js, loaded before this file. */
window.config = {
  routerBasename: '/ohif',
  extensions: [window.lumbarExtension],
  modes: [],
  // A study with a lumbar report is hung by it, every other as OHIF does.
  modesConfiguration: {
    '@ohif/mode-longitudinal': {
      hangingProtocol: { $set: ['lumbar', 'default'] },
      // Three series side by side and the findings beside them; the list of series opens with a
      // click.
      routes: {
        0: {
          layoutInstance: {
            props: {
              leftPanelClosed: { $set: true },
              rightPanels: {
                $set: ['@ohif/extension-measurement-tracking.panelModule.trackedMeasurements'],
              },
              rightPanelClosed: { $set: false },
            },
          },
        },
      },
    },
  },
  customizationService: {
    // The points are the models': a radiologist who drags one would make it say what nobody said.
    'panelMeasurement.disableEditing': { $set: true },
    // A tour over the first images of the first visit helps nobody who came to read a study.
    'ohif.tours': { $set: [] },
  },
  // Measurements are shown as they come, without asking whether to track their series.
  measurementTrackingMode: 'none',
  disableConfirmationPrompts: true,
  investigationalUseDialog: { option: 'configure', days: 30 },
  showStudyList: true,
  showWarningMessageForCrossOrigin: false,
  showErrorDetails: 'production',
  strictZSpacingForVolumeViewport: true,
  maxNumberOfWebWorkers: 3,
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  defaultDataSourceName: 'orthanc',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'orthanc',
      configuration: {
        friendlyName: 'Orthanc',
        name: 'orthanc',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        wadoUriRoot: '/dicom-web',
        imageRendering: 'wadors',
        thumbnailRendering: 'wadors',
        qidoSupportsIncludeField: false,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        enableStudyLazyLoad: true,
        omitQuotationForMultipartRequest: true,
        bulkDataURI: { enabled: true, relativeResolution: 'studies' },
      },
    },
  ],
};
