"""As little of `esp32` as it takes to build a gateway that never runs: a flash that is blank, and stays so."""


class Partition:
    TYPE_DATA = 1

    @classmethod
    def find(cls, type, label=None):
        return [cls()] if label == "journal" else []

    def readblocks(self, block, buf, offset=0):
        for i in range(len(buf)):
            buf[i] = 0xFF

    def writeblocks(self, block, buf, offset=None):
        pass

    def ioctl(self, op, arg):
        return 256 if op == 4 else 4096 if op == 5 else 0


class NVS:
    def __init__(self, namespace):
        self._values = {}

    def get_i32(self, key):
        if key not in self._values:
            raise OSError(-4354)
        return self._values[key]

    def set_i32(self, key, value):
        self._values[key] = value

    def commit(self):
        pass
