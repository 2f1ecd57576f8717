"""Starts the gateway, unless boot.py, whose names these are too, found that it must not run."""
if not globals().get("safe"):
    from gateway import app

    app.main()
