"""Power cuts at each operation of a journal's life, in each way: `journal_cuts.py PART PARTS NESTED` or `mutant NAME`.

Case number i of the enumeration is tried by part i mod PARTS; after it NESTED more times, each with a second cut at a
random operation of what follows. With `mutant` the journal is wrong on purpose. The last line of the output is JSON.
"""

import json
import random
import sys

sys.path.append(sys.argv[0].rsplit("/", 2)[0] + "/unit")

from fake_cuts import BLOCKS, Workload, check
from fake_nor import Nor

FRAMES = 300  # of the life: the ring goes round four times


def cuts(part, parts, nested):
    tried, lost, said = [0, 0], 0, []
    before = Nor(BLOCKS)
    for i, (name, world, floor) in enumerate(Workload(1, FRAMES).cases()):
        if i % parts != part:
            continue
        before.copy(world.nor)
        random.seed(i)
        for turn in range(1 + nested):
            world.nor.copy(before)
            at = random.randrange(1, 60) if turn else 0
            try:
                check(world.clone(world.nor), floor, at)
            except Exception as error:
                lost += 1
                said.append("%s, then at %d: %r" % (name, at, error))
            tried[turn > 0] += 1
        if i // parts % 200 == 0:
            print("%d of some 10,000 cuts, %d lost" % (i, lost))
    return {"single": tried[0], "nested": tried[1], "lost": lost, "said": said[:5]}


def mutant(name):
    from fake_mutants import count

    tried, wrong, example = count(name, 1, 60)
    return {"tried": tried, "wrong": wrong, "example": example}


if sys.argv[1] == "mutant":
    print(json.dumps(mutant(sys.argv[2])))
else:
    print(json.dumps(cuts(*[int(text) for text in sys.argv[1:]])))
