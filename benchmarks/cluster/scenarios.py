"""Lists the scenarios of clusters and their targets."""

from benchmarks.cluster.figures import ClusterScenario, ClusterSize, ClusterTarget, Judgement
from benchmarks.cluster.hosts import measure_discovery, measure_idle, measure_power_loss
from benchmarks.cluster.many_members import measure_many_members
from benchmarks.cluster.take_over import measure_calls, measure_take_over

QUICK_SIZE = ClusterSize(rounds=2, calls=30, members=30, member_rounds=1, window_s=1.0)
CLUSTER_SCENARIOS = (
    ClusterScenario(
        "discovery",
        "a node finds its supernode by multicast",
        measure_discovery,
        (ClusterTarget("found by multicast: ms", 500),),
    ),
    ClusterScenario(
        "take_over",
        "the supernode is killed",
        measure_take_over,
        (
            ClusterTarget("new supernode after kill: ms", 1000),
            ClusterTarget("SEP back after take-over: ms", 2000),
        ),
    ),
    ClusterScenario(
        "power_loss",
        "the supernode loses its power",
        measure_power_loss,
        (ClusterTarget("new supernode after power loss: ms", 3000),),
    ),
    ClusterScenario(
        "calls",
        "calls from node to node over the network",
        measure_calls,
        (ClusterTarget("direct call to another node: ms", 3, Judgement.MEDIAN),),
    ),
    ClusterScenario("idle", "traffic of nodes that have nothing to do", measure_idle),
    ClusterScenario(
        "members",
        "many members at one supernode, which is killed",
        measure_many_members,
        (
            ClusterTarget("all members registered after kill: s", 5),
            ClusterTarget("other clients meanwhile, p99: ms", 100),
        ),
    ),
)
