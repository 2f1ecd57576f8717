"""An NVS that keeps what is committed: 32-bit numbers under keys of at most 15 characters."""


class Nvs:
    """`kept` is what a start finds in it; what was only set is not there yet."""

    def __init__(self):
        self.kept = {}
        self._set = {}

    def get_i32(self, key):
        if key not in self.kept:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return self.kept[key]

    def set_i32(self, key, value):
        assert -(1 << 31) <= value < 1 << 31 and len(key) <= 15
        self._set[key] = value

    def commit(self):
        self.kept.update(self._set)
        self._set.clear()
