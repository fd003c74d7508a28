"""Chooses images to remove: old versions beyond a rollback, and those over the limit."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Set

from gateway.services.images.catalogue import StoredImage


def needless_images(
    images: Iterable[StoredImage], used: Set[str], old_versions: int, limit: int
) -> list[StoredImage]:
    """Return the images to remove.

    Args:
        images: all that there are.
        used: ids of those that a container runs; they stay.
        old_versions: how many unused images of one microservice stay, the newest.
        limit: how many images there may be. Beyond it the client with the most unused images
            loses its oldest, so that no client pushes out the images of another.
    """
    newest_first = sorted(images, key=lambda image: image.created, reverse=True)
    unused: dict[tuple[str, str], list[StoredImage]] = defaultdict(list)
    for image in newest_first:
        if image.image_id not in used:
            unused[image.client_id, _microservice(image.name)].append(image)
    needless = [image for versions in unused.values() for image in versions[old_versions:]]
    kept = [image for versions in unused.values() for image in versions[:old_versions]]
    excess = len(newest_first) - len(needless) - limit
    for _ in range(min(excess, len(kept))):
        ((client_id, _count),) = Counter(image.client_id for image in kept).most_common(1)
        oldest = min(
            (image for image in kept if image.client_id == client_id), key=lambda i: i.created
        )
        kept.remove(oldest)
        needless.append(oldest)
    return needless


def _microservice(image_name: str) -> str:
    """Return the microservice's part of an image's name: climate of climate-v1."""
    return image_name.rpartition("-v")[0] or image_name
