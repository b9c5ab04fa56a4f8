"""The numbers of named points of a face in the landmark schemes: the one place that knows which point is which.

`mediapipe478` is MediaPipe's face mesh (google-ai-edge/mediapipe, `face_mesh_connections.py`): 468 points of the skin,
then the irises. `ibug68` is iBUG's markup (Sagonas et al. 2013), `ibug51` the same without the 17 points of the jaw
line. Right and left are the person's, and the right side comes first.
"""

from __future__ import annotations

MEDIAPIPE, IBUG, IBUG51 = SCHEMES = ("mediapipe478", "ibug68", "ibug51")
"""From the richest to the poorest."""

NUM_LANDMARKS, NUM_MESH = 478, 468  # MediaPipe's, with and without the irises: of each its centre and four ends
JAW_LINE = 17  # iBUG's first points

# ------------------------------------------------------------------------------------------------- MediaPipe's features

FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176,
             149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)  # fmt: skip
# from the outer corner over the upper lid to the inner corner, and back along the lower lid
RIGHT_EYELIDS = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYELIDS = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
EYELIDS = RIGHT_EYELIDS + LEFT_EYELIDS
# both from the right corner along the lower lip to the left corner, and back along the upper lip
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = OUTER_LIPS + INNER_LIPS
# from the outer end inwards
UPPER_BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
LOWER_BROWS = ((46, 53, 52, 65, 55), (276, 283, 282, 295, 285))
BROWS = tuple(number for line in UPPER_BROWS + LOWER_BROWS for number in line)
NOSE = (1, 2, 4, 5, 6, 168, 197, 195, 98, 97, 326, 327, 64, 294, 48, 278, 129, 358, 19, 94)

# ---------------------------------------------------------------------------------------------- one scheme from another

# iBUG-68 out of MediaPipe's points: jaw line, brows, nose, eyes, outer lips, inner lips. The jaw line is MediaPipe's
# face oval, which lies up to a centimetre inside iBUG's at the ears.
IBUG68_FROM_MEDIAPIPE = (
    127, 234, 93, 58, 172, 136, 150, 176, 152, 400, 379, 365, 397, 288, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91,
    78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
FROM_MEDIAPIPE = {
    MEDIAPIPE: tuple(range(NUM_LANDMARKS)), IBUG: IBUG68_FROM_MEDIAPIPE, IBUG51: IBUG68_FROM_MEDIAPIPE[JAW_LINE:],
}  # fmt: skip
"""Which of MediaPipe's points each scheme consists of."""

# -------------------------------------------------------------------------------------- the same points of every scheme

OUTER_EYE_CORNERS = {MEDIAPIPE: (33, 263), IBUG: (36, 45), IBUG51: (19, 28)}
EYES = {
    MEDIAPIPE: ((33, 133, 160, 158, 144, 153), (263, 362, 387, 385, 373, 380)),
    IBUG: ((36, 39, 37, 38, 41, 40), (45, 42, 44, 43, 46, 47)),
}
"""Of each eye the outer and inner corner, two points of the upper lid and the two below them."""

INNER_MOUTH = {MEDIAPIPE: (78, 308, 13, 14), IBUG: (60, 64, 62, 66), IBUG51: (43, 47, 45, 49)}
"""Of the lips' inner border the right and left corner, the middle of the upper lip and of the lower lip."""

LIP_RING = {IBUG: tuple(range(60, 68)), IBUG51: tuple(range(43, 51)), MEDIAPIPE: IBUG68_FROM_MEDIAPIPE[60:]}
"""Eight points around the lips' inner border, from the right corner over the upper lip."""
