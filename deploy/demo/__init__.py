"""The demo: it starts Orthanc, Redis and a worker; the tests start them with the same code."""
