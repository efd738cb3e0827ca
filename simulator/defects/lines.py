"""Wrong about what is a frame."""
# ruff: noqa: D102 - what a method is asked, and for what, is told where it is right

from cobs import cobs

from protocols.framing import MIN_FRAME_BYTES, Decoder, Frame


class AnyChecksum(Decoder):
    """Frames with a wrong CRC are taken."""

    def feed(self, data: bytes) -> list[Frame]:
        *whole, self._pending = ((self._pending or b"") + data).split(b"\0")
        frames = []
        for chunk in filter(None, whole):
            try:
                raw = cobs.decode(chunk)
            except cobs.DecodeError:
                continue
            if len(raw) >= MIN_FRAME_BYTES:
                frames.append(Frame(raw))
        return frames


class DeafAfterDamage(Decoder):
    """The frame after a damaged one is lost too."""

    def feed(self, data: bytes) -> list[Frame]:
        dropped = self.dropped.total
        frames = super().feed(data)
        return frames if self.dropped.total == dropped else frames[1:]


class WholeFramesOnly(Decoder):
    """Frames that come in pieces are lost."""

    def feed(self, data: bytes) -> list[Frame]:
        return Decoder().feed(data)
