"""A finished head changed by hand: more or less of what makes it this person, or seen in another picture."""

from __future__ import annotations

from ..printable import printable
from ..types import PersonalizedHead, SMPLXFit


def with_strength(
    head: PersonalizedHead,
    identity: float = 1.0,  # times Δg: 0 is the parametric head, above 1 a caricature
    wrinkles: float = 1.0,  # times Δf of its own clip
) -> PersonalizedHead:
    """The head with its offsets scaled."""
    if identity == 1 and wrinkles == 1:
        return head
    return head.replace(static_offsets=head.static_offsets * identity, dynamic_offsets=head.dynamic_offsets * wrinkles)


def with_portrait(
    head: PersonalizedHead,
    fit: SMPLXFit,  # of the picture that is going to be animated; its first frame counts
) -> PersonalizedHead:
    """The same head seen in another picture of the person: that picture's pose and camera, without wrinkles of its own.

    Raises:
        ValueError: the fit was made with another head model.
    """
    fit.require_space(head.model)
    if fit.model_id != head.model_id:
        raise ValueError(
            f"The portrait's fit was made with the head model '{printable(fit.model_id)}', the head with "
            f"'{head.model_id}'. Track the portrait with the head model that the head was made with."
        )
    portrait = fit.to(head.betas.device).frames([0]).replace(betas=head.betas)
    return head.replace(fit=portrait, dynamic_offsets=head.dynamic_offsets.new_zeros(1, *head.static_offsets.shape))
