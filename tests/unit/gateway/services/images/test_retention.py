from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.services.images.catalogue import StoredImage
from gateway.services.images.retention import needless_images


def image(name: str, created: float, client_id: str = "api") -> StoredImage:
    return StoredImage(f"{client_id}-{name}", client_id, name, (), "sha256:0", "python", 1, created)


def gone(images: list[StoredImage], used: set[str], keep: int = 2, limit: int = 64) -> list[str]:
    return sorted(i.image_id for i in needless_images(images, used, keep, limit))


# case G13
def test_old_versions_go_and_used_ones_stay() -> None:
    images = [image(f"a-v{n}", n) for n in range(5)] + [image("b-v1", 0)]
    assert gone(images, set()) == ["api-a-v0", "api-a-v1", "api-a-v2"]
    assert gone(images, {"api-a-v0", "api-a-v4"}) == ["api-a-v1"]


def test_a_name_with_a_hyphen_is_one_microservice() -> None:
    images = [image(f"data-vault-v{n}", n) for n in range(3)] + [image("data-v1", 0)]
    assert gone(images, set(), keep=1) == ["api-data-vault-v0", "api-data-vault-v1"]


# case G13
def test_a_client_that_fills_the_gateway_loses_its_own() -> None:
    images = [image(f"flood{n}-v1", 10 + n, "flood") for n in range(6)] + [image("mine-v1", 0)]
    assert gone(images, set(), limit=4) == [f"flood-flood{n}-v1" for n in range(3)]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.sampled_from(["x", "y"])),
        unique=True, max_size=30,
    ),
    st.integers(0, 4), st.integers(0, 12), st.randoms(),
)  # fmt: skip
def test_used_ones_never_go_and_the_limit_holds(
    made: list[tuple[str, int, str]], keep: int, limit: int, random: Random
) -> None:
    images = [image(f"{n}-v{v}", position, c) for position, (n, v, c) in enumerate(made)]
    used = {i.image_id for i in images if random.random() < 0.3}
    removed = {i.image_id for i in needless_images(images, used, keep, limit)}
    assert not removed & used
    left = [i for i in images if i.image_id not in removed]
    assert len(left) <= max(limit, len(used))
