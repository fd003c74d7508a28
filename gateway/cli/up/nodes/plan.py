"""Plans the gateways of `hecate up --nodes N`: names, folders, environments. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.up.plan import HOST, Plan
from settings.secret import Secret


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One gateway of the cluster."""

    name: str
    plan: Plan  # its state folder; ports 0: any free ones
    log: Path

    def environment(
        self, environ: Mapping[str, str], cloud: tuple[str, int], member: "ClusterPlan"
    ) -> dict[str, str]:
        """Return its settings.

        Args:
            environ: of this program.
            cloud: the URL, and the port of its MQTT.
            member: the cluster.
        """
        return {
            **self.plan.gateway_environment(environ, *cloud),
            "HECATE_GATEWAY_NODE_NAME": self.name,
            "HECATE_GATEWAY_CLUSTER_ADMIT": "secret",
            "HECATE_GATEWAY_CLUSTER_SECRET": member.secret.reveal(),
            "HECATE_GATEWAY_CLUSTER_HOST": HOST,
            "HECATE_GATEWAY_CLUSTER_PORT": str(member.ports[self.name]),
            "HECATE_GATEWAY_CLUSTER_PEERS": ",".join(member.addresses()),
            "HECATE_GATEWAY_CLUSTER_DISCOVERY": "false",  # loopback has no multicast
        }


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The secret and the ports of the gateways."""

    secret: Secret
    ports: Mapping[str, int]  # of the cluster, by the name of the node

    def addresses(self) -> list[str]:
        """Return where all of them are."""
        return [f"{HOST}:{port}" for port in self.ports.values()]


def plan_nodes(plan: Plan, count: int) -> Sequence[NodePlan]:
    """Return the gateways; their state folders are beside each other."""
    names = [f"node-{number}" for number in range(1, count + 1)]
    free = plan.free_ports()
    return [
        NodePlan(name, Plan(plan.state / "nodes" / name, free, 0), plan.logs / f"{name}.log")
        for name in names
    ]
