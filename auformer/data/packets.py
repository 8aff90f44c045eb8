"""When the frames of a video are shown, by its packets alone: nothing is decoded, so that damage moves nothing."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auformer.data.diagnosis import reason
from auformer.data.timeline import Slots, Timeline
from auformer.data.video import ERRORS, Video, VideoFrame


def frame_times(path: str | Path) -> list[float]:
    """Time of each frame in seconds from the first, in presentation order.

    No more than the first frame is decoded, so that frames which a decoder leaves out have their times too; all are
    where some packets have no time stamp.

    Raises:
        ValueError: It is no video, or cannot be read to its end.
    """
    with Video(path, threads=1) as video:
        try:
            stamps = _slot_stamps(video) if video.numbers_packets else _packet_stamps(video)
        except ERRORS as error:
            raise ValueError(f"{path} cannot be read to its end: {reason(error)}") from error
        if stamps is not None:
            line = Timeline(video.step)
            return [line.place(stamp) for stamp in stamps]
    with Video(path, threads=1) as video:
        return [frame.time_s for frame in video.sound_frames() if isinstance(frame, VideoFrame)]


def nearest_index(times: Sequence[float], time: float) -> int:
    """Place of the time that is nearest to another in a rising sequence.

    >>> [nearest_index([0.0, 0.04, 0.08], time) for time in (-1.0, 0.03, 0.05, 9.0)]
    [0, 1, 1, 2]
    """
    place = bisect_left(times, time)
    if place and (place == len(times) or time - times[place - 1] <= times[place] - time):
        place -= 1
    return place


def _packet_stamps(video: Video) -> list[float | None] | None:
    """Time stamps of all frames that are shown, in presentation order; each None in a container without any.

    None in place of all where some packets have none, as the second fields of frames.
    """
    stamps: list[float | None] = []
    part: list[float] = []  # between two restarts of the stream's clock
    newest: int | None = None  # of key frames
    start = video.opening()
    for packet in video.container.demux(video.stream):
        if not packet.size or packet.is_discard or is_hidden(packet, video.facts.codec):
            continue
        if not video.stamped:
            stamps.append(None)
            continue
        if packet.pts is None:
            return None
        if start is not None and not stamps and packet.pts < start:
            continue
        if packet.is_keyframe:
            if newest is not None and packet.pts <= newest:
                stamps += sorted(part)
                part = []
            newest = packet.pts
        part.append(float(packet.pts * video.stream.time_base))
    return [*stamps, *sorted(part)]


def is_hidden(packet: Any, codec: str) -> bool:
    """Whether a packet is decoded and not shown: VP8 has such reference frames (RFC 6386, 9.1, `show_frame`)."""
    return codec == "vp8" and not memoryview(packet)[0] & 0x10


def _slot_stamps(video: Video) -> list[float | None]:
    """As `_packet_stamps`, of a container that says no more than the place of each packet."""
    slots, count, known = Slots(), 0, False
    for packet in video.container.demux(video.stream):
        if not packet.size:
            continue
        if packet.dts is not None:
            slots.packet(packet.dts)
        count += 1
        if not known and (decoded := packet.decode()):  # how many packets a frame waits for its turn
            slots.frame(decoded[0].dts)
            known = True
    base = video.stream.time_base
    return [None if slot is None else float(slot * base) for slot in slots.in_order(count)]
