"""As little of `network` as the import and the constructor of a station take."""

STA_IF = 0
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202


class WLAN:
    PM_NONE = 0

    def __init__(self, interface):
        pass
