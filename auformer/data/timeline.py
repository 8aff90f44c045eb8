"""Times of the frames of a video, in seconds from the first one, rising whatever the container's time stamps do."""

from __future__ import annotations

from array import array

NOMINAL_FPS = 25.0  # of a video that has neither time stamps nor a rate, as FFmpeg takes it


class Timeline:
    """Turns time stamps in presentation order into times that rise.

    A gap stays a gap and a variable rate stays variable. Where stamps begin again, as in recordings joined by copying,
    time goes on by a frame's length. A single stamp that is out of place is replaced and moves nothing behind it.

    Args:
        step: Seconds from one frame to the next, where stamps do not say.

    >>> line = Timeline(0.04)
    >>> [round(line.place(stamp), 2) for stamp in (5.0, 5.04, 5.2, 0.0, 0.04, None, 0.12)]
    [0.0, 0.04, 0.2, 0.24, 0.28, 0.32, 0.36]
    """

    def __init__(self, step: float) -> None:
        self.step = step
        self._shift: float | None = None  # from stamps to times; None before the first frame
        self._before: float | None = (
            None  # the shift before the last stamp went back, while that may be one stamp alone
        )
        self._last = 0.0

    def place(self, stamp: float | None) -> float:
        """The time of the next frame in seconds, from its stamp in seconds; None where it has none."""
        if self._shift is None:
            self._shift = -(stamp or 0.0)
            return 0.0
        following = self._last + self.step
        if stamp is None:
            time = following
        else:
            time = stamp + self._shift
            if self._before is not None:
                plain = stamp + self._before
                if plain > self._last and abs(plain - following) <= abs(time - following):
                    time, self._shift = plain, self._before
                self._before = None
            if time <= self._last:
                self._before, self._shift = self._shift, self._shift + following - time
                time = following
        self._last = time
        return time


class Slots:
    """Time stamps for containers without presentation times, from the places of their packets.

    An AVI file is a row of slots, one per frame time; an empty slot is a frame that the recorder dropped. Packets lie
    in coding order, so that stamps handed on by the decoder jump to and fro around B-frames. A frame is shown a fixed
    number of packets behind its turn: frame j belongs into the slot of packet j + delay, less the delay.
    """

    def __init__(self) -> None:
        self._slots = array("q")
        self._delay = -1
        self._frames = 0

    @property
    def delay(self) -> int:
        """How many packets a frame waits for its turn; 0 until the first frame is known."""
        return max(0, self._delay)

    def packet(self, slot: int) -> None:
        """Note the slot of the next packet."""
        self._slots.append(slot)

    def frame(self, slot: int | None) -> int | None:
        """The slot of the next frame, from that of the packet with which it left the decoder; None behind the last."""
        if self._delay < 0:
            known = slot is not None and slot in self._slots
            self._delay = self._slots.index(slot) if known else 0  # type: ignore[arg-type]
        place = self._frames + self._delay
        self._frames += 1
        if not self._delay and slot is not None:  # each packet is a frame
            return slot
        return self._slots[place] if place < len(self._slots) else None

    def in_order(self, count: int) -> list[int | None]:
        """The slots of the first frames, so many; None behind the last."""
        places = range(self.delay, self.delay + count)
        return [self._slots[place] if place < len(self._slots) else None for place in places]
