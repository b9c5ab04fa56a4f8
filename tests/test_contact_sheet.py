"""The sheet shows every picture where its labels say, and the overlay shows where the head lies."""

from __future__ import annotations

import torch

from expportrait_core.contact_sheet import PAPER, TILE, contact_sheet, overlay


def found(sheet: torch.Tensor, colour: torch.Tensor) -> tuple[int, float, float]:
    """Pixels of that colour, and the row and column of their middle."""
    hit = ((sheet - colour).abs().amax(-1) < 0.01).nonzero()
    return len(hit), *hit.float().mean(0).tolist()


def test_every_picture_has_its_place() -> None:
    colours = torch.rand(7, 3, generator=torch.Generator().manual_seed(0)) * 0.7 + 0.3
    photo, *frames = colours[:, None, None].expand(-1, 64, 64, 3)
    sheet = contact_sheet("title", "subtitle", {"photo": photo}, ["0 s", "1 s", "2 s"],
                          {"normals": torch.stack(frames[:3]), "preview": torch.stack(frames[3:])})  # fmt: skip
    sizes, rows, columns = zip(*(found(sheet, colour) for colour in colours), strict=True)
    assert sizes == (TILE * TILE,) * 7
    assert len(set(rows[:4])) == 1 and len(set(rows[4:])) == 1 and rows[4] > rows[0] + TILE
    assert columns[1:4] == columns[4:] and sorted(columns[:4]) == list(columns[:4])


def test_wide_pictures_keep_their_proportions_and_labels_are_written() -> None:
    def sheet(caption: str) -> torch.Tensor:
        return contact_sheet("", "", {caption: torch.ones(50, 100, 3)}, [], {})

    assert found(sheet(""), torch.ones(3))[0] == TILE * TILE // 2
    paper = torch.tensor(PAPER) / 255
    assert ((sheet("wide") - paper).abs().amax(-1) > 0.2).sum() > TILE * TILE // 2 + 50


def test_overlay_changes_the_head_only_and_traces_its_outline() -> None:
    picture, normals = torch.full((20, 20, 3), 0.5), torch.zeros(20, 20, 3)
    mask = torch.zeros(20, 20)
    mask[5:15, 5:15] = 1
    drawn = overlay(picture, normals, mask, strength=0.5)
    assert torch.equal(drawn[:4], picture[:4]) and torch.equal(drawn[:, 17:], picture[:, 17:])
    assert torch.allclose(drawn[7:13, 7:13], torch.full((6, 6, 3), 0.25))
    assert torch.equal(drawn[5, 5:15], torch.ones(10, 3))
    assert torch.equal(picture, torch.full((20, 20, 3), 0.5))
