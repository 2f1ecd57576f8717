"""Starts the gateway."""
from gateway import app

app.main()
