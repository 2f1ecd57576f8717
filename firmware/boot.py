"""Runs before main.py: collect early and often, so that the heap does not grow into what Wi-Fi and TLS need."""
import gc

gc.threshold(16384)
