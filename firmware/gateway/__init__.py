"""The application of the gateway."""
VERSION = "0.1.0"  # of the firmware
