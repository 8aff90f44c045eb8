"""`auformer predict` beside the build of an earlier commit, on the same files, in turn.

    python -m experiments.speed.bench_predict_before_after --pairs 5

Both builds are taken out of git, and each runs in a virtual environment of its own, which sees the same packages. Each
work is done by both, one after the other, as often as `--pairs` says; a figure is the median over pairs of the ratio
within a pair, so that a busy machine meets both. CPU time stands beside time, since it does not depend on what else
runs. Every work is a process of its own, from its start to the files on disk, with the defaults of its build.

Works: a video of 640 x 360 with a face that moves; one of 1920 x 1080 with two; a folder of photographs (rendered, of
about 250 x 250 pixels, and a few of 12 megapixels) with and without figures; one photograph; scenes without a face. The
work `memory` is the later build's alone: the peak of two videos, one six times as long as the other. Beside them the
floor in this process: decoding, one pass of the landmark network and one of the AU network, a frame each.

What `--works` leaves out stays as it was measured before. A run that was stopped goes on with `--more`: pairs of the
same two commits on the same files count, and only what is missing of `--pairs` is measured. Writes
`predict_before_after.json` and `.md` after every pair.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from auformer.data.images import write_image
from auformer.data.manifest import read_predictions
from auformer.scoring.tables import Table
from auformer.synthetic import AU_NAMES, Identity, Renderer, sample_scene
from experiments.harness import ROOT, circumstances, new_parser, write_result
from experiments.speed.bench_predict import RATE, write_clip

BEFORE = "6d07a71"
LONGER, FLAT = 6, 1.05  # lengths of the videos of `memory`, and how much more the longer one may take
TARGETS = {"video": 4.0, "large_video": 4.0, "folder": 3.0, "folder_defaults": 6.0, "photo": 2.5}
NAMES = {
    "video": "video 640 x 360, one face", "large_video": "video 1920 x 1080, two faces",
    "folder": "folder of photographs, no figures", "folder_defaults": "the same, each build's defaults",
    "photo": "one photograph, cold start, with its figure",
    "empty": "rendered scenes without a face, no figures", "memory": "peak memory by length of a video",
}  # fmt: skip
FACES = {"video": 1, "large_video": 2}  # faces in a frame
SCENES = 200  # of the work `empty`
Measured = dict[str, float]


def build(folder: Path, commit: str) -> list[str]:
    """Words that run the `auformer` of a commit, in an environment of its own in a new folder."""
    tree, home = folder / "tree", folder / "venv"
    tree.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "x", "-C", str(tree)], input=archive, check=True)
    venv.create(home, with_pip=False)
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([str(python), "-c", ask], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    lines = f"{tree}\n{sysconfig.get_paths()['purelib']}\n"  # plain paths: the editable install of today is not seen
    Path(site, "tree.pth").write_text(lines, encoding="utf-8")
    return [str(python), "-m", "auformer"]


# A process's peak memory is inherited from the one that starts it, so a small one does. Its words: the command.
_STARTER = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
seconds, cpu = time.perf_counter() - start, used.ru_utime + used.ru_stime
print(json.dumps({"code": code, "seconds": seconds, "cpu": cpu, "peak_mb": used.ru_maxrss / 1024}))
"""


def timed(words: list[str], cwd: Path) -> Measured:
    """Seconds, CPU seconds and peak MB of a process."""
    starter = [sys.executable, "-I", "-S", "-c", _STARTER, *words]
    done = subprocess.run(starter, cwd=cwd, stdout=subprocess.PIPE, text=True, check=True)
    found: Measured = json.loads(done.stdout)
    if found.pop("code") not in (0, 1):  # 1: photographs without a face
        raise SystemExit(f"{' '.join(words)} failed")
    return found


def write_large_clip(path: Path, frames: int) -> None:
    """Two rendered faces that move in a video of 1920 x 1080 pixels."""
    from fractions import Fraction

    import av

    renderer, size = Renderer(320), (1080, 1920)
    faces = [renderer.bake(Identity.sample(40_010 + k)) for k in range(2)]
    shown = [[renderer.render(face, np.full(len(AU_NAMES), 0.03 * k)).image for k in range(5)] for face in faces]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"preset": "veryfast", "crf": "20"})
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for k in range(frames):
            canvas = np.full((*size, 3), 110, np.uint8)
            for number, images in enumerate(shown):
                x, y = int(300 + 900 * number + 120 * np.sin(k / 40)), int(350 + 80 * np.cos(k / 31 + number))
                canvas[y : y + 320, x : x + 320] = images[k // 6 % 5]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(canvas, format="rgb24")))
        container.mux(stream.encode(None))


def write_long_clip(short: Path, path: Path, times: int) -> None:
    """A video several times in a row, its packets copied."""
    import av

    with av.open(str(short)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy, packets = target.add_stream_from_template(stream), [one for one in source.demux(stream) if one.size]
        length = max(one.pts + one.duration for one in packets)
        for turn in range(times):
            for one in packets:
                new = av.Packet(bytes(one))
                new.pts, new.dts, new.time_base = one.pts + turn * length, one.dts + turn * length, one.time_base
                new.duration, new.is_keyframe, new.stream = one.duration, one.is_keyframe, copy
                target.mux(new)


def memory(words: list[str], folder: Path, minutes: int) -> dict[str, Any]:
    """Peak MB of the later build on a video of so many minutes, and on one six times as long."""
    write_clip(folder / "short.mp4", 60 * RATE * minutes)
    write_long_clip(folder / "short.mp4", folder / "long.mp4", LONGER)
    found: dict[str, Any] = {"minutes": [minutes, LONGER * minutes]}
    for name in ("short", "long"):
        one = timed([*words, "predict", f"{name}.mp4", "--out", f"out_{name}"], folder)
        rows = len(read_predictions(folder / f"out_{name}" / "predictions.csv"))
        found |= {f"{name}_mb": round(one["peak_mb"], 1), f"{name}_seconds": round(one["seconds"], 1)}
        found[f"{name}_rows"] = rows
    return found | {"ratio": round(found["long_mb"] / found["short_mb"], 3)}


def write_folder(folder: Path, small: int, large: int) -> None:
    """Rendered photographs of about 250 x 250 pixels, and large ones of 4000 x 3000."""
    renderer = Renderer(200)
    for k in range(small + large):
        face = renderer.bake(Identity.sample(40_100 + k))
        image = np.full((252, 248, 3), 120, np.uint8)
        image[20:220, 24:224] = renderer.render(face, np.zeros(len(AU_NAMES))).image
        if k >= small:
            image = cv2.resize(image, (4000, 3000), interpolation=cv2.INTER_CUBIC)
        write_image(folder / f"{k:04d}.jpg", image, quality=92)


def write_scenes(folder: Path, number: int) -> None:
    """Backgrounds of the renderer and patterns, none with a face, of 320 x 320 pixels."""
    from experiments.pretraining.train_certainty import pattern

    renderer = Renderer(320)
    for k in range(number):
        rng = np.random.default_rng([995, k])
        if k % 2:
            image = cv2.cvtColor(
                cv2.resize(pattern(rng), (320, 320), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB
            )
        else:
            wall = renderer.background(rng, **sample_scene(rng, "AB"[k // 2 % 2])[1])
            image = np.clip(wall * 255, 0, 255).astype(np.uint8)
        write_image(folder / f"{k:04d}.png", image)


def agreement(before: Path, after: Path) -> dict[str, float]:
    """How far the rows of two tables of one source differ: share of rows with a face in both, probabilities, boxes."""
    from auformer.predict.tracking import overlap

    tables = [read_predictions(path).query("status == 'ok'") for path in (before, after)]
    key = ["subject", "frame", "face"]
    joined = tables[0].merge(tables[1], on=key, suffixes=("", "_new"))
    probs = [name for name in tables[0] if name.endswith("_prob")]
    away = np.abs(joined[probs].to_numpy(float) - joined[[f"{name}_new" for name in probs]].to_numpy(float))
    boxes = [joined[[f"{side}{end}" for side in "xywh"]].to_numpy(float).tolist() for end in ("", "_new")]
    if joined.empty:
        return {"rows_before": len(tables[0]), "rows_after": len(tables[1]), "rows_in_both": 0}
    ious = [overlap(one, other) for one, other in zip(*boxes, strict=True)]
    return {
        "rows_before": len(tables[0]), "rows_after": len(tables[1]), "rows_in_both": len(joined),
        "probability_away": round(float(away.mean()), 4), "box_overlap": round(float(np.mean(ious)), 3),
    }  # fmt: skip


def floor(clip: Path, faces: int, frames: int = 120) -> dict[str, float]:
    """CPU milliseconds a frame with so many faces of what cannot be left out, in this process with one thread."""
    from auformer.data.video import read_video
    from auformer.faces import make_detector
    from auformer.faces.regressor import ask, square_of
    from auformer.models.onnx_file import open_demo

    cv2.setNumThreads(1)
    start, images = time.process_time(), []
    for frame in read_video(clip):
        images.append(frame.image())
        if len(images) == frames:
            break
    decoding = time.process_time() - start
    (face, *_) = make_detector("cascade")(images[0])
    grey, square = cv2.cvtColor(images[0], cv2.COLOR_RGB2GRAY), square_of(face.points)
    start = time.process_time()
    for _ in images:
        ask(grey, square)
    landmarks, network = time.process_time() - start, open_demo(threads=1)
    if network is None:
        raise SystemExit("run python -m experiments.pretraining.export_demo_detector first")
    batch = np.zeros((16, 3, *network.image_size), np.float32)
    network.outputs(batch)
    start = time.process_time()
    for _ in range(len(images) // 16):
        network.outputs(batch)
    parts = {"decode": decoding, "landmarks": landmarks}
    found = {name: 1e3 * value / len(images) for name, value in parts.items()}
    found["landmarks"] *= faces
    found["network"] = 1e3 * faces * (time.process_time() - start) / (len(images) // 16 * 16)
    return {name: round(value, 2) for name, value in found.items()} | {"all": round(sum(found.values()), 2)}


def run_pair(words: dict[str, list[str]], arguments: list[str], folder: Path) -> dict[str, Measured]:
    """Both builds on one work, one after the other; what they write stays in the folder."""
    pair = {}
    for name, command in words.items():
        shutil.rmtree(folder / f"out_{name}", ignore_errors=True)
        pair[name] = timed([*command, "predict", *arguments, "--out", f"out_{name}"], folder)
    return pair


def every_frame(words: list[str], arguments: list[str], folder: Path) -> None:
    """Let the later build detect faces in every frame, for `summary` to compare with."""
    shutil.rmtree(folder / "out_every", ignore_errors=True)
    timed([*words, "predict", *arguments, "--detect-every", "1", "--out", "out_every"], folder)


def summary(pairs: list[dict[str, Measured]], folder: Path) -> dict[str, Any]:
    """Medians, ratios within pairs, and how far the tables of the last pair agree.

    The AU detectors of two builds may differ, so a followed video is compared with the later build's own detection in
    every frame, where that is there.
    """
    result: dict[str, Any] = {"pairs": len(pairs)}
    for what in ("seconds", "cpu", "peak_mb"):
        for name in ("before", "after"):
            result[f"{what}_{name}"] = round(statistics.median(pair[name][what] for pair in pairs), 3)
        result[f"{what}_ratio"] = round(statistics.median(p["before"][what] / p["after"][what] for p in pairs), 2)
    outs = {name: folder / f"out_{name}" for name in ("before", "after")}
    sizes = {name: sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) for name, out in outs.items()}
    beside = folder / "out_every" if (folder / "out_every").is_dir() else outs["before"]
    found = agreement(beside / "predictions.csv", outs["after"] / "predictions.csv")
    return result | found | {f"bytes_{name}": size for name, size in sizes.items()}


def page(result: dict[str, Any]) -> str:
    """Markdown."""
    rows, works = [], result["works"]
    for name, one in works.items():
        if name == "memory":
            continue
        target = TARGETS.get(name)
        verdict = "" if target is None else "met" if one["seconds_ratio"] >= target else "missed"
        faces = f"{one['rows_in_both']} of {one['rows_before']}; {one['rows_after']} now"
        speeds = [one["seconds_before"], one["seconds_after"], one["seconds_ratio"], one["cpu_ratio"]]
        same = [one.get("probability_away", ""), one.get("box_overlap", ""), faces]
        wanted = [f"{target:g}" if target else "", verdict, f"{1 / one['peak_mb_ratio']:.2f}"]
        named = f"{NAMES[name]} ({one['size']}; {one['pairs']} pairs)"
        rows.append([str(cell) for cell in (named, *speeds, *wanted, *same)])
    header = [
        "work", "before, s", "after, s", "times as fast", "by CPU time", "target", "verdict", "peak memory",
        "probabilities differ by", "overlap of boxes", "rows with a face in both",
    ]  # fmt: skip
    shown = [
        f"* {NAMES[name]}: `{one['command']}`, load {one['load']}, commit {one['commit']}"
        for name, one in works.items()
    ]
    flat = works.get("memory")
    return f"""# Predictions beside the build of commit {result["before"]}

Each work by both builds in turn, a process each from its start to the files on disk, with each build's defaults;
medians over pairs of the ratio within a pair. Peak memory is after over before. The load counts the builds' own
threads, two to three on an idle machine; the two builds met what else ran alike, and CPU time stands beside time. Rows
of videos are compared with the later build's own detection in every frame, others with the earlier build's, which has
another AU detector.

{Table(header, rows).markdown()}

{_floor_words(result)}
{_memory_words(flat)}{chr(10).join(shown)}

{result["machine"]}.
"""


def _floor_words(result: dict[str, Any]) -> str:
    """What a frame of each video costs at least, and what it takes: CPU time."""
    said = []
    for work, parts in result.get("floors", {}).items():
        one, each = result["works"][work], ", ".join(f"{name} {value} ms" for name, value in parts.items())
        taken = 1e3 * one["cpu_after"] / int(one["size"].split()[0])
        said.append(
            f"CPU time a frame of the {NAMES[work]}: {taken:.1f} ms with start and end; the floor in one thread, "
            f"without them: {each}.\n"
        )
    return "\n".join(said)


def _memory_words(one: dict[str, Any] | None) -> str:
    """Peak memory by length."""
    if one is None:
        return ""
    short, long = one["minutes"]
    verdict = "met" if one["ratio"] <= FLAT else "missed"
    return (
        f"Peak memory of the later build: {one['short_mb']} MB for {short} minutes of the 640 x 360 video, "
        f"{one['long_mb']} MB for {long} minutes, {one['ratio']} times (target: at most {FLAT}, {verdict}).\n\n"
    )


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = new_parser(__doc__)
    parser.add_argument("--works", nargs="+", choices=list(NAMES), default=list(NAMES), help="default: all")
    parser.add_argument("--pairs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=900, help="of the videos (default: %(default)s)")
    parser.add_argument("--photos", type=int, nargs=2, default=(500, 50), help="small and large (default: 500 50)")
    parser.add_argument("--minutes", type=int, default=10, help="of the shorter video of `memory` (default: 10)")
    parser.add_argument("--more", action="store_true", help="go on: pairs of these commits on these files count")
    parser.add_argument("--before", default=BEFORE, help="commit (default: %(default)s)")
    parser.add_argument("--after", default="HEAD", help="commit (default: %(default)s)")
    args = parser.parse_args(argv)
    known = args.out / "predict_before_after.json"
    result = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {"works": {}}
    commits = {name: commit_of(getattr(args, name)) for name in ("before", "after")}
    result |= {"before": args.before, "machine": circumstances()["machine"], "floors": result.get("floors", {})}

    def keep() -> None:
        result["works"] = {one: result["works"][one] for one in NAMES if one in result["works"]}
        write_result(args.out, "predict_before_after", result, page(result))

    with tempfile.TemporaryDirectory() as name:
        folder, words = Path(name), dict[str, list[str]]()
        for work in args.works:
            told = f"--works {work} --frames {args.frames} --photos {args.photos[0]} {args.photos[1]}"
            facts: dict[str, Any] = {"command": f"python -m experiments.speed.bench_predict_before_after {told}"}
            before = result["works"].get(work, {})
            size = _size(work, args.frames, args.photos, args.minutes)
            facts |= {"size": size, "commits": commits}
            same = args.more and before.get("size") == size and before.get("commits") == commits
            runs = before.get("runs", []) if same else []
            if same and (work == "memory" or len(runs) >= args.pairs):
                continue
            words = words or {name: build(folder / name, commit) for name, commit in commits.items()}
            if work == "memory":
                facts["command"] = (
                    f"python -m experiments.speed.bench_predict_before_after --works memory --minutes {args.minutes}"
                )
                result["works"][work] = memory(words["after"], folder, args.minutes) | facts | circumstances()
                keep()
                continue
            given = _write(work, folder, args.frames, args.photos)
            shutil.rmtree(folder / "out_every", ignore_errors=True)
            while len(runs) < args.pairs:
                runs.append(run_pair(words, given, folder))
                if "video" in work and not (folder / "out_every").is_dir():
                    every_frame(words["after"], given, folder)
                found = summary(runs, folder)
                result["works"][work] = found | facts | circumstances("onnxruntime", "torch") | {"runs": runs}
                keep()
                print(work, json.dumps(found), flush=True)
            if work in FACES:
                result["floors"][work] = floor(folder / given[0], FACES[work])
                keep()
    return result


def commit_of(name: str) -> str:
    """The first 12 digits of the commit that a name means."""
    words = ["git", "rev-parse", "--short=12", f"{name}^{{commit}}"]
    return subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _size(work: str, frames: int, photos: tuple[int, int], minutes: int) -> str:
    """How much a work is."""
    return {
        "video": f"{frames} frames", "large_video": f"{frames} frames", "photo": "cold",
        "empty": f"{SCENES} images, of which a row is a false alarm",
        "memory": f"{minutes} and {LONGER * minutes} minutes",
    }.get(work, f"{photos[0]} small, {photos[1]} of 12 megapixels")  # fmt: skip


def _write(work: str, folder: Path, frames: int, photos: tuple[int, int]) -> list[str]:
    """Make the files of a work: its arguments."""
    if work == "video":
        write_clip(folder / "video.mp4", frames)
        return ["video.mp4"]
    if work == "large_video":
        write_large_clip(folder / "large.mp4", frames)
        return ["large.mp4"]
    if work == "empty":
        (folder / "empty").mkdir()
        write_scenes(folder / "empty", SCENES)
        return ["empty", "--no-plot"]
    if work == "photo":
        (folder / "one").mkdir()
        write_folder(folder / "one", 1, 0)
        return ["one/0000.jpg"]
    if not (folder / "photos").is_dir():
        (folder / "photos").mkdir()
        write_folder(folder / "photos", *photos)
    return ["photos", *(["--no-plot"] if work == "folder" else [])]


if __name__ == "__main__":
    main()
