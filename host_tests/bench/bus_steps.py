"""Does what bus.py does, and times each step of its tasks (timed.py): the last line has {"tasks"} as well.

A task's row is [name, steps, longest in us, cpu in ms].
"""

import timed  # first: it wraps what becomes a task

# isort: split
import json

import bus

polls = bus.run()
print(json.dumps({"polls": polls, "tasks": [[name] + timed.tasks[name] for name in sorted(timed.tasks)]}))
