#!/bin/sh
# Starts Orthanc with this installation's users: entrypoint.sh TEMPLATE CONFIGURATION
set -eu
python3 "$(dirname "$0")/configure.py" "$1" "$2"
# Orthanc and its plugins do not need them.
unset LUMBAR_PASSWORD LUMBAR_ORTHANC_PASSWORD
exec Orthanc "$2"
