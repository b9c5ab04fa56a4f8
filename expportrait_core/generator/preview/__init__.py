"""The photo preview: the 2.5D warp that moves the photo itself by the personalised head. No weights, no diffusion.

Once per photo (`portrait`): `matte` separates person and background and `inpaint` fills what is behind, `registration`
lays the mesh exactly over the photo, `surface` makes the photo its texture, `sheet` hangs hair and clothes beside it,
`eyes` and `mouth` complete what lids and lips hide, `light` estimates where the light comes from. Per frame (`frame`):
the mesh and the sheet are drawn in their new pose (`layers`) and laid over the still background (`animate`).
"""

from .animate import photo_preview

__all__ = ["photo_preview"]
