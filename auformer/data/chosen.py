"""Some frames of a video, at less than the cost of all: what none of them depends on is not decoded.

The file is read packet by packet, a group at a time: a key frame on which everything up to the next one depends. The
packets say which frames a group shows, and when. A group without a frame that is wanted is passed over; in others
decoding ends with the last frame that is wanted and leaves out those that no frame refers to. (Leaving out the loop
filter, as players do, would change frames that refer to one that was not filtered.)

Places, times and pixels are those of `read_video`. Where the packets leave a doubt, the video is read again in that
way, without a word: see `_Doubt`. Damage in what is not decoded goes unnoticed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from auformer.data.packets import is_hidden
from auformer.data.timeline import Slots, Timeline
from auformer.data.video import ERRORS, Video, VideoFrame

# Codecs with key frames behind which nothing refers to what was before them: all of VP8 and VP9 (RFC 6386, 5; VP9
# bitstream specification, 7.2), IDR pictures alone of H.264 and H.265 (ITU-T H.264, 3.69, and H.265, 3.67).
_RESET_BY_KEY = frozenset({"vp8", "vp9"})
_IDR = {"h264": (5,), "hevc": (19, 20)}  # types of NAL units
_SLICES = (1, 5)  # the same, of whole slices of H.264
_START = re.compile(rb"\x00\x00\x01")  # before each NAL unit in streams without lengths (Annex B)
_MOST = 64 * 2**20  # bytes of packets that wait for the end of a group [ours]
_STOPPED = 2  # among verdicts: no later frame is wanted


class _Doubt(Exception):
    """The packets do not say for certain what decoding all of them would show."""


def read_chosen(
    path: str | Path, keep: Callable[[int, float], bool | None], *, threads: int = 0
) -> Iterator[VideoFrame]:
    """Those frames of `read_video` that are wanted, with the same places, times and images.

    Args:
        path: The file.
        keep: Called once for each frame in order, with its place and its time in seconds: whether it is wanted; None
            where neither it nor any later one is.
        threads: Of the decoder; 0 for as many as it likes.

    Raises:
        ValueError: As `read_video`.
    """
    verdicts = bytearray()  # by place: what `keep` has said, once and for both ways of reading

    def verdict(index: int, time: float) -> int:
        if index == len(verdicts):
            said = keep(index, time)
            verdicts.append(_STOPPED if said is None else said)
        return verdicts[index]

    given = -1
    with Video(path, threads=threads) as video:
        video.warn()
        try:
            for frame in _by_groups(video, verdict):
                yield frame
                given = frame.index
            return
        except (_Doubt, *ERRORS):
            pass
    with Video(path, threads=threads) as video:
        for frame in video.frames(warn=False):
            said = verdict(frame.index, frame.time_s)
            if said == _STOPPED:
                return
            if said and frame.index > given:
                yield frame


def _by_groups(video: Video, verdict: Callable[[int, float], int]) -> Iterator[VideoFrame]:
    """The frames that are wanted, as long as there is no doubt."""
    intra = bool(video.stream.codec_context.codec.intra_only)
    alone = intra or video.facts.codec in _RESET_BY_KEY or video.facts.codec in _IDR
    if not alone or not video.stamped or (video.numbers_packets and not intra):
        raise _Doubt
    reader, group, size = _Reader(video, verdict, intra=intra), list[Any](), 0
    for packet in video.packets(Slots()):
        if not packet.size:
            continue
        if packet.is_corrupt:
            raise _Doubt
        if reader.begins(packet):
            yield from reader.read(group)
            if reader.stopped:
                break
            group, size = [], 0
        elif not group:
            raise _Doubt
        group.append(packet)
        size += packet.size
        if size > _MOST:
            raise _Doubt
    if not reader.stopped:
        yield from reader.read(group)
    yield from reader.rest()
    if not reader.stopped and (reader.index < 0 or video.shortfall(reader.index, reader.time)):
        raise _Doubt


class _Reader:
    """Reads group after group.

    Attributes:
        index: Place of the last frame so far, wanted or not.
        time: Its time in seconds.
        stopped: Whether no later frame is wanted.
    """

    def __init__(self, video: Video, verdict: Callable[[int, float], int], *, intra: bool) -> None:
        self._video, self._verdict, self._intra = video, verdict, intra
        self._codec = video.facts.codec
        self._nal_length = _length_size(self._codec, video.stream.codec_context.extradata or b"")
        self._line, self._last_stamp = Timeline(video.step), -(2**63)
        self._due = deque[tuple[int, int, float, bool]]()  # frames that must come: stamp, place, time, whether wanted
        self.index, self.time, self.stopped = -1, 0.0, False

    def begins(self, packet: Any) -> bool:
        """Whether nothing from this packet on refers to what was before."""
        if not packet.is_keyframe or self._codec not in _IDR:
            return bool(packet.is_keyframe)
        return any(kind in _IDR[self._codec] for kind, _ in self._units(packet))

    def read(self, group: list[Any]) -> Iterator[VideoFrame]:
        """The frames that a group brings, of which some may be of groups before it."""
        shown = [packet for packet in group if not packet.is_discard and not is_hidden(packet, self._codec)]
        stamps = {id(packet): self._stamp(packet) for packet in shown}
        shown.sort(key=lambda packet: stamps[id(packet)])
        first, wanted = self.index < 0, set[int]()
        for packet in shown:
            stamp = stamps[id(packet)]
            if stamp <= self._last_stamp:
                raise _Doubt
            time = self._line.place(float(stamp * self._video.stream.time_base))
            said = self._verdict(self.index + 1, time)
            if said == _STOPPED:
                self.stopped = True
                break
            self.index, self.time, self._last_stamp = self.index + 1, time, stamp
            self._video.last_length = float((packet.duration or 0) * self._video.stream.time_base)
            if said or first:  # that the first group shows what its packets say is seen by decoding all of it
                wanted.add(id(packet))
                self._due.append((stamp, self.index, time, bool(said)))
        yield from self._decode(group, wanted)

    def rest(self) -> Iterator[VideoFrame]:
        """What waits in the decoder."""
        yield from self._arrived(self._video.stream.codec_context.decode(None))
        if self._due:
            raise _Doubt

    def _decode(self, group: list[Any], wanted: set[int]) -> Iterator[VideoFrame]:
        """Decode those packets of a group (by `id`) that are wanted, and what they need."""
        last = max((place for place, packet in enumerate(group) if id(packet) in wanted), default=-1)
        for packet in group[: last + 1]:
            if id(packet) in wanted or not (self._intra or self._is_disposable(packet)):
                yield from self._arrived(packet.decode())

    def _arrived(self, frames: list[Any]) -> Iterator[VideoFrame]:
        """Of decoded frames those that are wanted."""
        for frame in frames:
            stamp = frame.dts if self._video.numbers_packets else frame.pts
            if stamp is None or frame.is_corrupt:
                raise _Doubt
            if self._due and stamp > self._due[0][0]:  # one that should have come before
                raise _Doubt
            if self._due and stamp == self._due[0][0]:
                _, index, time, wanted = self._due.popleft()
                if wanted:
                    yield VideoFrame(index, time, frame, self._video)

    def _stamp(self, packet: Any) -> int:
        stamp = packet.dts if self._video.numbers_packets else packet.pts
        if stamp is None:
            raise _Doubt
        return int(stamp)

    def _is_disposable(self, packet: Any) -> bool:
        """Whether no other frame refers to that of a packet; known of H.264 alone."""
        if self._codec != "h264":
            return False
        units = list(self._units(packet))
        slices = [reference for kind, reference in units if kind in _SLICES]
        return bool(slices) and not any(slices) and all(kind in (*_SLICES, 6, 9, 12) for kind, _ in units)

    def _units(self, packet: Any) -> Iterator[tuple[int, int]]:
        """Type and, of H.264, `nal_ref_idc` of each NAL unit of a packet."""
        data, size, at = bytes(packet), self._nal_length, 0
        starts = []
        if not size:
            starts = [found.end() for found in _START.finditer(data)]
        while size and at + size < len(data):
            starts.append(at + size)
            at += size + int.from_bytes(data[at : at + size], "big")
        for start in starts:
            if start < len(data):
                head = data[start]
                yield (head & 0x1F, head >> 5 & 3) if self._codec == "h264" else (head >> 1 & 0x3F, 1)


def _length_size(codec: str, extradata: bytes) -> int:
    """Bytes that say a NAL unit's length, by the decoder's configuration (ISO/IEC 14496-15); 0 for start codes."""
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or len(extradata) <= place or extradata[0] != 1:
        return 0
    return (extradata[place] & 3) + 1
