"""lib/mesh/links and routes: ETX, the choice of a parent, and no loops whatever is lost."""

import random

from lib.mesh.frames import NEVER
from lib.mesh.links import DEAD, NEIGHBOURS, STALE_MS, Links, Neighbour
from lib.mesh.routes import Routes, newer
from lib.mesh.ticks import diff, later

WASM = True


def test_ticks_wrap_at_2_to_the_30():
    end = (1 << 30) - 1
    for a, b, expected in ((5, 3, 2), (3, 5, -2), (2, end, 3), (end, 2, -3), (0, 0, 0), (0, 1 << 29, -(1 << 29))):
        assert diff(a, b) == expected
    assert later(end, 1) == 0 and later(end - 5, 10) == 4 and later(3, -5) == end - 1


def test_serial_numbers_of_16_bits():
    assert newer(1, 0) and newer(0, 65535) and newer(0x7FFF, 0)
    assert not newer(0, 0) and not newer(0, 1) and not newer(65535, 0) and not newer(0x8000, 0)


def test_etx_follows_what_is_acknowledged():
    one = Neighbour(2, -60, 0)
    assert one.etx == 200
    for _ in range(100):
        one.sent(True)
    assert 100 <= one.etx <= 110
    for i in range(100):
        one.sent(i % 2 == 0)
    assert 180 <= one.etx <= 220


def test_etx_follows_the_numbers_of_beacons():
    one = Neighbour(2, -60, 0)
    for number in range(0, 512, 2):
        one.counted(number & 255)
    assert 185 <= one.etx <= 200
    one.counted(200)  # the sender began anew: no sample
    assert 185 <= one.etx <= 200


def test_three_failures_make_a_link_dear_and_four_dead():
    one = Neighbour(2, -60, 0)
    one.sent(False)
    one.sent(False)
    assert one.etx == 200
    one.sent(False)
    assert one.etx == 280 and one.fails < DEAD
    one.sent(False)
    assert one.fails == DEAD


def test_a_weak_link_is_dearer_than_its_acknowledgements_say():
    assert Neighbour(2, -86, 0).link() == 200 and Neighbour(2, -94, 0).link() == 360


def test_two_time_outs_are_a_penalty_and_an_answer_takes_it_back():
    one = Neighbour(2, -60, 0)
    assert not one.unanswered() and one.unanswered() and one.link() == 500
    assert [one.unanswered() for _ in range(2)] == [False, True] and one.link() == 800
    one.answered()
    assert one.link() == 200


def test_the_table_of_neighbours_is_bounded_and_keeps_the_better_ones():
    links = Links()
    for ident in range(1, NEIGHBOURS + 1):
        assert links.hear(ident, -70 - ident, 0, None)
    parent = links.get(NEIGHBOURS)  # the weakest
    assert links.hear(100, -90, 5, parent) is None
    assert links.hear(100, -80, 5, parent).id == 100 and links.get(NEIGHBOURS) and not links.get(NEIGHBOURS - 1)
    assert len(links.all) == NEIGHBOURS
    assert links.hear(101, -120, STALE_MS + 2, parent)  # in the place of one that is silent
    links.age(2 * STALE_MS + 10, parent)
    assert links.all == [parent]


def heard(routes, ident, root, seqno, cost, now=0, parent=0):
    """A neighbour of cost 200 as it stands after a beacon."""
    one = routes.links.hear(ident, -60, now, routes.parent)
    if root != one.root or newer(seqno, one.seqno):
        one.advanced = now
    if root != one.root or seqno != one.seqno or cost < one.least:
        one.least = cost
    one.root, one.seqno, one.cost, one.parent = root, seqno, cost, parent
    return one


def test_the_cheapest_way_wins_but_only_by_a_margin():
    routes = Routes(9, False)
    assert routes.cost() == NEVER and routes.hops() == 255
    one = heard(routes, 2, 1, 5, 400)
    assert routes.select(0) and routes.parent is one and routes.cost() == 600 and routes.root == 1
    two = heard(routes, 3, 1, 5, 300)
    assert not routes.select(0)
    two.cost = two.least = 200
    assert routes.select(0) and routes.parent is two


def test_a_dearer_route_is_not_followed_before_its_number_is_newer():
    routes = Routes(9, False)
    one = heard(routes, 2, 1, 5, 200)
    routes.select(0)
    routes.advertised()  # (5, 400)
    other = heard(routes, 3, 1, 5, 400)
    one.fails = 2 * DEAD
    assert routes.select(0) and routes.parent is None
    assert routes.wanted(0) == (other, 1, 6)
    heard(routes, 3, 1, 6, 400)
    assert routes.select(0) and routes.parent is other


def test_a_newer_number_is_asked_for_by_another_way_each_time_the_cheapest_first():
    routes = Routes(9, False)
    one = heard(routes, 2, 1, 5, 200)
    routes.select(0)
    routes.advertised()  # (5, 400)
    one.fails = 2 * DEAD
    for ident, cost in ((3, 900), (4, 400), (5, 500)):
        heard(routes, ident, 1, 5, cost)
    routes.select(0)
    assert [routes.wanted(0)[0].id for _ in range(5)] == [4, 5, 3, 4, 5]


def test_the_only_way_is_given_up_later_than_one_of_two():
    for others in (0, 1):
        routes = Routes(9, False)
        one = heard(routes, 2, 1, 5, 200)
        routes.select(0)
        if others:
            heard(routes, 3, 1, 5, 300)
        fails = 0
        while routes.parent is one:
            fails += 1
            one.sent(False)
            routes.select(0)
        assert fails == (4 if others else 8)


def test_one_that_was_better_may_become_dearer():
    routes = Routes(9, False)
    one = heard(routes, 2, 1, 5, 200)
    routes.select(0)
    routes.advertised()
    heard(routes, 2, 1, 5, 790)
    assert not routes.select(0) and routes.parent is one
    heard(routes, 2, 1, 5, 810)  # so much dearer that its own way must be gone
    assert routes.select(0) and not routes.parent


def test_neither_a_child_nor_a_stale_root_nor_no_route_is_followed():
    routes = Routes(9, False)
    heard(routes, 2, 1, 5, 200, parent=9)
    heard(routes, 3, 1, 5, NEVER)
    heard(routes, 4, 0, 0, 0)
    assert not routes.select(0)
    heard(routes, 5, 1, 5, 200)
    assert routes.select(0) and routes.parent.id == 5
    assert routes.select(STALE_MS + 1) and routes.parent is None


def test_a_way_of_more_than_15_hops_is_none():
    routes = Routes(9, False)
    one = heard(routes, 2, 1, 5, 1500)
    one.hops = 15
    assert not routes.select(0)
    one.hops = 14
    assert routes.select(0) and routes.hops() == 15


def test_a_root_that_stands_still_is_stale_after_a_week_too():
    routes = Routes(9, False)
    one = heard(routes, 2, 1, 5, 200)
    now = 0
    for _ in range(7 * 24 * 60):
        now = later(now, 60000)
        one.hear(-60, now)
        routes.links.age(now, None)
        assert not routes.usable(one, now) or diff(now, 0) in range(STALE_MS + 1)


def test_each_root_has_its_own_distance():
    routes = Routes(9, False)
    one = heard(routes, 2, 1, 5, 0)
    routes.select(0)
    routes.advertised()
    one.fails = DEAD
    heard(routes, 3, 100, 1, 5000)
    assert routes.select(0) and routes.root == 100
    for root in range(200, 230):
        heard(routes, 4, root, 1, 0)
        routes.select(0)
        routes.advertised()
    assert len(routes._floors) == 8


def test_there_is_never_a_loop_whatever_is_lost():
    """20 nodes whose links come and go and whose beacons are mostly lost; whoever follows parents gets to the root."""
    random.seed(11)
    n = 20
    nodes = [None] + [Routes(ident, ident == 1) for ident in range(1, n + 1)]
    links = {(a, b) for a in range(1, n + 1) for b in range(a + 1, n + 1) if random.randrange(5) == 0}
    switched = 0
    for step in range(3000):
        now = step * 100
        if step % 50 == 0:
            nodes[1].own = nodes[1].own + 1 & 0xFFFF
        if step % 7 == 0:
            a, b = 1 + random.randrange(n), 1 + random.randrange(n)
            links ^= {(min(a, b), max(a, b))} if a != b else set()
        sender = 1 + random.randrange(n)
        routes = nodes[sender]
        routes.advertised()
        for other in range(1, n + 1):
            if (min(sender, other), max(sender, other)) in links and random.randrange(3):
                to = nodes[other]
                one = heard(to, sender, routes.root, routes.seqno(), routes.cost(), now,
                            routes.parent.id if routes.parent else 0)  # fmt: skip
                one.fails = DEAD * (random.randrange(20) == 0)
                one.etx = 100 + random.randrange(300)
                switched += to.select(now)
        for ident in range(2, n + 1):
            seen, at = set(), ident
            while at != 1 and nodes[at].parent:
                assert at not in seen, (step, seen)
                seen.add(at)
                at = nodes[at].parent.id
    assert switched > 100, switched
