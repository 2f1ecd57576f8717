"""A mesh of gateways: readings up to a root, commands down, time outward (docs/mesh.md says which bytes).

Sans-I/O: no clock, no socket, no radio inside. `node.Node` wires the parts; who drives it passes frames and the time.

    frames    the layout: types, lengths, constants          ticks     ms that wrap
    guard     who may be believed: site, replay, MAC          secrecy   end to end: AES-CCM under a member's own key
    links     neighbours and how good the link to each is     routes    which of them leads to a root, without loops
    queue     frames on their way through this node           custody   an origin's batches, until the root has them
    collect   a root: batches in, acknowledgements out        down      commands and results at a node
    orders    a root: commands on their way                   nettime   the time of the network
    channel   finding the site's radio channel                counts    what was dropped, and when it is worth an event
"""
