"""Pictures and clips: what is written is read back, upright, in the same colours; what is no picture is refused."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from expportrait_core import media
from expportrait_core.assets import ASSETS

CORNERS = torch.tensor([[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 0]], [[0, 1, 1], [0.5, 0.5, 0.5]]])
"""[3, 2, 3]: a picture that looks different in every orientation."""


def blocks(side: int = 16) -> torch.Tensor:
    """[3·side, 2·side, 3]: `CORNERS` as blocks that survive compression."""
    return CORNERS.repeat_interleave(side, 0).repeat_interleave(side, 1)


def colours_of_blocks(picture: torch.Tensor, side: int = 16) -> torch.Tensor:
    """The blocks' middles [3, 2, 3]."""
    return picture[side // 2 :: side, side // 2 :: side]


def encode(pixels: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


# ---------------------------------------------------------------------------------------------------------- pictures


def test_built_in_photo_is_the_astronaut() -> None:
    skimage_data = pytest.importorskip("skimage.data")
    expected = torch.from_numpy(skimage_data.astronaut()) / 255
    assert torch.equal(media.read_picture(ASSETS / "astronaut.png")[0], expected)


def test_png_round_trip_under_a_name_with_umlauts_and_kanji(tmp_path: Path) -> None:
    picture = torch.randint(0, 256, (7, 5, 3), generator=torch.Generator().manual_seed(1)) / 255
    path = media.write_picture(tmp_path / "Üß 顔" / "näme.png", picture)
    assert torch.equal(media.read_picture(path)[0], picture)
    assert [p.name for p in path.parent.iterdir()] == ["näme.png"]  # nothing temporary is left


def test_sixteen_bits_keep_their_steps(tmp_path: Path) -> None:
    ramp = np.arange(0, 65536, 257, dtype=np.uint16)[None, :, None].repeat(3, 2) + np.uint16(1)
    (tmp_path / "ramp.png").write_bytes(encode(ramp, ".png"))
    read = media.read_picture(tmp_path / "ramp.png")[0, 0, :, 0]
    assert torch.allclose(read * 65535, torch.from_numpy(ramp[0, :, 0].astype(np.float32)), atol=0.02)


def test_grey_becomes_three_channels(tmp_path: Path) -> None:
    (tmp_path / "grey.png").write_bytes(encode(np.array([[0, 51, 255]], np.uint8), ".png"))
    assert torch.allclose(media.read_picture(tmp_path / "grey.png")[0, 0], torch.tensor([[0.0], [0.2], [1.0]]))


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_transparency_shows_the_background(tmp_path: Path, depth: type) -> None:
    whole = np.iinfo(depth).max
    rgba = np.array([[[whole, 0, 0, whole], [whole, 0, 0, 0], [whole, 0, 0, whole // 5]]], depth)
    (tmp_path / "cut.png").write_bytes(encode(rgba[..., [2, 1, 0, 3]], ".png"))
    read = media.read_picture(tmp_path / "cut.png", background=(0.0, 1.0, 0.0))[0, 0]
    assert torch.allclose(read, torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.2, 0.8, 0]]), atol=1e-4)


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with an EXIF block that holds nothing but the orientation."""
    tiff = b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_photos_are_turned_upright(tmp_path: Path, orientation: int, turns: int) -> None:
    """`turns` quarter turns counter-clockwise bring the stored picture upright."""
    stored = (blocks().rot90(-turns, (0, 1)) * 255).to(torch.uint8).numpy()
    jpeg = encode(np.ascontiguousarray(stored[..., ::-1]), ".jpg")
    (tmp_path / "phone.jpg").write_bytes(with_orientation(jpeg, orientation))
    read = media.read_picture(tmp_path / "phone.jpg")[0]
    assert torch.allclose(colours_of_blocks(read), CORNERS, atol=0.03)


def test_alpha_is_turned_with_its_colours() -> None:
    """A turned picture with alpha is found by its colours, in all eight EXIF orientations."""
    rgba = np.random.default_rng(0).integers(0, 255, (4, 5, 4), dtype=np.uint8)
    for turns in range(4):
        for upright in (np.rot90(rgba, turns), np.rot90(rgba[:, ::-1], turns)):
            assert np.array_equal(media._turned_like(rgba, upright[..., :3]), upright)


@pytest.mark.parametrize("content", [b"", b"not a picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_no_picture_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "fake.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"fake\.png is not a picture"):
        media.read_picture(tmp_path / "fake.png")


@pytest.mark.parametrize("read", [media.read_picture, media.read_clip, media.inspect_clip, media.read_images])
def test_missing_file_is_a_sentence(tmp_path: Path, read) -> None:
    with pytest.raises(ValueError, match="There is no file .*gone"):
        read(tmp_path / "gone.mp4")


# ------------------------------------------------------------------------------------------------------------- clips


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Five frames of 48 × 32 at 30000/1001 frames a second; frame i is the blocks, i times a fifth darker."""
    frames = blocks() * (1 - torch.arange(5) / 5)[:, None, None, None]
    return media.write_clip(tmp_path / "Film ü.mp4", frames, fps=30000 / 1001)


def test_clip_round_trip_keeps_colours_order_and_speed(clip: Path) -> None:
    frames, fps = media.read_clip(clip)
    assert frames.shape == (5, 48, 32, 3) and fps == pytest.approx(30000 / 1001)
    for i, frame in enumerate(frames):
        assert torch.allclose(colours_of_blocks(frame), CORNERS * (1 - i / 5), atol=0.025), f"frame {i}"


def test_clip_is_h264_for_browsers(clip: Path) -> None:
    """yuv420p with its colours declared, and the index in front of the data."""
    with av.open(str(clip)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_odd_sizes_get_a_copied_edge(tmp_path: Path) -> None:
    frames, _ = media.read_clip(media.write_clip(tmp_path / "odd.mp4", torch.ones(1, 47, 31, 3)))
    assert frames.shape == (1, 48, 32, 3) and frames.min() > 0.97


def test_streams_equal_the_whole(clip: Path) -> None:
    whole, _ = media.read_clip(clip)
    assert torch.equal(torch.cat(list(media.stream_clip(clip, chunk=2))), whole)
    assert torch.equal(torch.cat(list(media.stream_clip(clip, chunk=2, start=1, stop=4))), whole[1:4])


def test_writing_takes_chunks(clip: Path, tmp_path: Path) -> None:
    whole, fps = media.read_clip(clip)
    media.write_clip(tmp_path / "whole.mp4", whole, fps)
    media.write_clip(tmp_path / "chunks.mp4", media.stream_clip(clip, chunk=2), fps)
    assert torch.equal(media.read_clip(tmp_path / "chunks.mp4")[0], media.read_clip(tmp_path / "whole.mp4")[0])


@pytest.mark.parametrize(("rotation", "matrix"), [
    (90, (0, -1, 1, 0)), (180, (-1, 0, 0, -1)), (270, (0, 1, -1, 0)),
])  # fmt: skip
def test_clips_of_phones_are_turned_upright(tmp_path: Path, rotation: int, matrix: tuple[int, ...]) -> None:
    """The turn stands in the track header, as a matrix (a, b, 0, c, d, 0, x, y, 1) in 16.16 and 2.30 fixed point."""
    stored = blocks().rot90(-rotation // 90, (0, 1))
    path = media.write_clip(tmp_path / "phone.mp4", stored[None])
    data = bytearray(path.read_bytes())
    a, b, c, d = (n << 16 for n in matrix)
    identity, turned = (struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) for a, b, c, d in [
        (1 << 16, 0, 0, 1 << 16), (a, b, c, d),
    ])  # fmt: skip
    place = data.index(identity, data.index(b"tkhd"))
    data[place : place + len(turned)] = turned
    path.write_bytes(data)

    clip, (frames, _) = media.inspect_clip(path), media.read_clip(path)
    assert (clip.rotation, clip.height, clip.width) == (rotation, 48, 32)
    assert torch.allclose(colours_of_blocks(frames[0]), CORNERS, atol=0.025)


def test_a_write_that_fails_leaves_the_old_file(clip: Path) -> None:
    before = clip.read_bytes()

    def breaks_off():
        yield torch.zeros(1, 48, 32, 3)
        raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        media.write_clip(clip, breaks_off())
    assert clip.read_bytes() == before
    assert list(clip.parent.iterdir()) == [clip]


def test_bad_clips_are_sentences(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "text.mp4").write_bytes(b"not a clip")
    with pytest.raises(ValueError, match=r"text\.mp4 is not a clip"):
        media.read_clip(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.rate = 8000
        container.mux([*stream.encode(silence), *stream.encode(None)])
    with pytest.raises(ValueError, match=r"sound\.mp4 holds no video"):
        media.read_clip(tmp_path / "sound.mp4")
    with pytest.raises(ValueError, match="no frames from 99 on"):
        media.read_clip(clip, start=99)
    with pytest.raises(ValueError, match="no frames to write"):
        media.write_clip(tmp_path / "empty.mp4", torch.zeros(0, 8, 8, 3))


def test_a_clip_that_was_cut_short_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = media.write_clip(tmp_path / "whole.mp4", torch.rand(60, 64, 64, 3), 25)
    assert len(media.read_clip(whole)[0]) == 60 and not caplog.records
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames = len(media.read_clip(cut)[0])
    assert 0 < frames < 58
    assert f"cut.mp4 says that it has 60 frames, and {frames} could be read" in caplog.text


# ---- variable frame rates


def clip_of_times(path: Path, times_ms: list[int], codec: str = "libx264") -> Path:
    """Frame i, shown at that time, has the grey value 3 i (of 255)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30, options={"crf": "1"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for i, time in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 3 * i, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def numbers(path: Path, **how: int) -> list[int]:
    """Which frames reading gives."""
    frames = torch.cat(list(media.stream_clip(path, 7, **how)))
    return (255 * frames.mean((1, 2, 3)) / 3).round().int().tolist()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_variable_frame_rate_keeps_its_timing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    """A phone that slows from 25 to 12.5 frames a second in the dark, and drops two frames later on."""
    times = [40 * i for i in range(30)] + [40 * 30 + 80 * i for i in range(20)] + [40 * (72 + i) for i in range(30)]
    path = clip_of_times(tmp_path / f"phone{suffix}", times)
    clip, read = media.inspect_clip(path), numbers(path)
    assert clip.fps == pytest.approx(25) and clip.num_frames == len(read) == 102 and not caplog.records[1:]
    for i, frame in enumerate(read):  # always the nearest frame
        assert abs(times[frame] - 40 * i) == min(abs(time - 40 * i) for time in times)
    assert read == sorted(read) and set(read) == set(range(80))
    assert (
        f"phone{suffix} has a variable frame rate. It is read at an even one of 25 frames per second, so that it keeps "
        f"its timing: of its 80 frames 0 are left out, and 22 copies fill its gaps. Export it at a constant one"
    ) in caplog.text
    assert numbers(path, start=25, stop=60) == read[25:60]
    assert len(media.read_clip(path)[0]) == 102 and media.read_clip(path)[1] == clip.fps


def test_frames_that_come_in_bursts_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    times = sorted([50 * i for i in range(40)] + [1000 + i for i in range(1, 9)])
    read = numbers(clip_of_times(tmp_path / "burst.mkv", times))
    assert len(read) == 40 and max(abs(times[frame] - 50 * i) for i, frame in enumerate(read)) <= 8
    assert "8 are left out, and 0 copies" in caplog.text


@pytest.mark.parametrize("fps", [24, 30000 / 1001, 60])
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx264"), (".gif", "gif")])
def test_constant_rates_stay_frame_for_frame(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fps: float, suffix: str, codec: str
) -> None:
    """Time stamps are rounded to milliseconds, and in a GIF to hundredths of a second; one frame may be late."""
    times = [round(1000 / fps * i) for i in range(85)]
    times[40] += 6
    path = clip_of_times(tmp_path / f"even{suffix}", times, codec)
    with av.open(str(path)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    frames = torch.cat(list(media.stream_clip(path, 7)))
    assert len(frames) == decoded == 85 and not caplog.records
    assert media.inspect_clip(path).fps == pytest.approx(fps, rel=0.01)


def test_times_that_cannot_be_right_are_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = clip_of_times(tmp_path / "jump.mkv", [40 * i for i in range(20)] + [10**7 + 40 * i for i in range(20)])
    assert numbers(path) == list(range(40)) and "jump too far to be right, so its 40 frames" in caplog.text


def test_a_long_variable_clip_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = clip_of_times(tmp_path / "long.mkv", [40 * i + 40 * (i > 20) * (i - 20) for i in range(60)])
    decoded, plain = 0, media._upright_rgb

    def counted(frame: av.VideoFrame) -> np.ndarray:
        nonlocal decoded
        decoded += 1
        return plain(frame)

    monkeypatch.setattr(media, "_upright_rgb", counted)
    next(media.stream_clip(path, 5))
    assert decoded == 5


def test_pictures_and_clips_are_told_apart(clip: Path) -> None:
    assert media.read_images(ASSETS / "astronaut.png")[1] is None
    assert media.read_images(clip)[1] == pytest.approx(30000 / 1001)
