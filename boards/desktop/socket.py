"""The host's `socket`, with a resolver that fails, and blocks for it, while ./network.json says so (see network.py)."""
import sys

_path = sys.path
sys.path = ()  # so that these find the built-in module and not this file
try:
    from socket import *  # noqa: F403
    from socket import AF_INET, inet_pton
    from socket import getaddrinfo as _host_getaddrinfo
finally:
    sys.path = _path

import json  # noqa: E402
import time  # noqa: E402

_EAI_FAIL = -202  # lwIP's; the chip's resolver errors are negative


def _is_address(host):
    try:
        return bool(inet_pton(AF_INET, host))
    except OSError:
        return False


def getaddrinfo(host, port, *args):
    """Resolve as the host does; a name (not an address) gives OSError -202 after dns_ms when told to fail."""
    try:
        with open("network.json") as file:
            net = json.load(file)
    except OSError:
        net = {}
    if net.get("fail") in ("no_ap", "password", "no_address", "no_dns") and not _is_address(host):
        time.sleep_ms(net.get("dns_ms", 1000))
        raise OSError(_EAI_FAIL)
    return _host_getaddrinfo(host, port, *args)
