"""What a plain `migrate run` asks for."""


class Wanted:
    """`rootfs` or `image` is given."""

    def __init__(self) -> None:
        self.image = ""
        self.rootfs = ""
        self.name = ""
        self.arguments: list[str] = []
        self.environment: list[str] = []
        self.directory = ""
        self.network = "none"
        self.remove_at_exit = False
