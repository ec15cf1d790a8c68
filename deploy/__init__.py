"""What brings Orthanc Lumbar to a machine."""
