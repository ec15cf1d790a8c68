/* OHIF configuration for the same origin as Orthanc, with DICOMweb under /dicom-web.
   The Orthanc Lumbar extension is in lumbar.js, which is loaded before this file. */
window.config = {
  routerBasename: '/ohif',
  extensions: [window.lumbarExtension],
  modes: [],
  // The lumbar hanging protocol applies to studies with a lumbar report, the default to all others.
  modesConfiguration: {
    '@ohif/mode-longitudinal': {
      hangingProtocol: { $set: ['lumbar', 'default'] },
      // Three series side by side with the measurement panel; the series list is closed.
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
    // Measurements are locked: a moved point would no longer be the point of the report.
    'panelMeasurement.disableEditing': { $set: true },
    // No introduction tour.
    'ohif.tours': { $set: [] },
  },
  // Show measurements without asking whether to track their series.
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
