"""Defines [services]: isolation, the images that a gateway takes, and the room for them."""

from dataclasses import dataclass, replace

from gateway.services.images.limits import MIB, ImageLimits
from gateway.services.images.rules import ImageRules
from gateway.services.images.signature import load_trusted_keys
from gateway.services.limits import ServiceLimits
from gateway.services.runtimes.isolation import IsolationPolicy

UID_MIN, UID_MAX = 1000, 2**31 - 1  # below are those of the system; many programs use 31 bits
UPLOAD_MIB_MAX = 4096
CONTENT_FACTOR = 2  # an image may be twice as large as its archive, unpacked


@dataclass(frozen=True, slots=True)
class ServicesSettings:
    """Microservices: their [isolation](isolation.md), and their [images](deploying.md#images)."""

    isolation: str = "best"  # "strict": start no microservice whose isolation lacks anything
    uid_first: int = 1_900_000_000  # the uids of containers, of a gateway that runs as root
    uid_count: int = 10_000
    devices: tuple[str, ...] = ()  # device files that microservices may open: "/dev/ttyUSB*"
    trusted_keys: tuple[str, ...] = ()  # of signers of images: "ed25519:…", or files with one
    require_signature: bool = False  # refuse images that none of trusted_keys has signed
    upload_mib: int = 64  # the largest archive; unpacked an image may have twice as much
    images_mib: int = 1024  # of all images together, unpacked
    image_files: int = 10_000  # of one image
    pull_hosts: tuple[str, ...] = ()  # images are pulled from: "example.com", "*.example.com"
    v1_paths: bool = False  # serve microservices also at their path without the client id
    versions: int = 5  # kept of each container, with the one that runs
    probation_s: float = 10.0  # a version that ends earlier is left for the one before
    starts: int = 4  # containers that start at once when the gateway starts
    stop_s: float = 30.0  # for requests and handlers of a replaced version: [limits] stop_s
    store_mib: int = 64  # of the files of a container: [limits] store_mib
    log_mib: int = 1  # of each of the two files of a log: [limits] log_mib
    free_mib: int = 8  # on the disk, or deployments are refused
    rollouts: str = "account"  # nodes of this account may deploy here; "no": none may

    def check(self) -> None:
        """Refuse unknown words, uids of people, unreadable keys, and sizes that cannot work."""
        if self.rollouts not in ("account", "no"):
            raise ValueError(f'rollouts = "{self.rollouts}": must be "account" or "no"')
        for name in ("versions", "starts", "store_mib", "log_mib", "probation_s", "stop_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} = {getattr(self, name):g}: must be more than 0")
        if self.isolation not in ("best", "strict"):
            raise ValueError(f'isolation = "{self.isolation}": must be "best" or "strict"')
        if not UID_MIN <= self.uid_first <= UID_MAX:
            raise ValueError(f"uid_first = {self.uid_first}: must be {UID_MIN} to {UID_MAX}")
        if not 1 <= self.uid_count <= UID_MAX + 1 - self.uid_first:
            raise ValueError(f"uid_count = {self.uid_count}: uids must be at most {UID_MAX}")
        self._check_images()

    def _check_images(self) -> None:
        if self.require_signature and not self.trusted_keys:
            raise ValueError("require_signature needs trusted_keys: no image could be deployed")
        load_trusted_keys(self.trusted_keys)
        if not 1 <= self.upload_mib <= UPLOAD_MIB_MAX:
            raise ValueError(f"upload_mib = {self.upload_mib}: must be 1 to {UPLOAD_MIB_MAX}")
        if self.images_mib < 1 or self.image_files < 1:
            raise ValueError("images_mib and image_files must be at least 1")
        for host in self.pull_hosts:
            if not host or "/" in host or ("*" in host and host != "*" and host[:2] != "*."):
                raise ValueError(f'pull_hosts: "{host:.80}": must be like "example.com"')

    def rules(self) -> ImageRules:
        """Return the rules for images."""
        return ImageRules(
            load_trusted_keys(self.trusted_keys),
            self.require_signature,
            self.images_mib * MIB,
            tuple(host.lower() for host in self.pull_hosts),
            self.v1_paths,
        )

    def isolation_policy(self) -> IsolationPolicy:
        """Return the isolation of containers."""
        uids = range(self.uid_first, self.uid_first + self.uid_count)
        return IsolationPolicy(self.isolation == "strict", uids, self.devices)

    def limits(self) -> ServiceLimits:
        """Return the limits of microservices."""
        upload_bytes = self.upload_mib * MIB
        image = ImageLimits(upload_bytes, CONTENT_FACTOR * upload_bytes, self.image_files)
        return replace(
            ServiceLimits(),
            image=image,
            rules=self.rules(),
            versions=self.versions,
            probation_s=self.probation_s,
            starts=self.starts,
            takes_rollouts=self.rollouts == "account",
            drain_s=self.stop_s,
            store_bytes=self.store_mib * MIB,
            log_bytes=self.log_mib * MIB,
            free_bytes=self.free_mib * MIB,
        )
