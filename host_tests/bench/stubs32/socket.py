"""The 32-bit build for browsers has no `socket`: enough that it can be imported."""

AF_INET, SOCK_STREAM, SOCK_DGRAM = 2, 1, 2
