"""The `meshems` command: what the person at the desk needs beside the firmware."""

__version__ = "0.1.0"
