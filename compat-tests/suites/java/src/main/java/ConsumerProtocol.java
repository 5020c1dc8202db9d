import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;

/** Groups whose partitions the broker assigns (KIP-848): what `Groups` asks of every group, and subscriptions that change. */
final class ConsumerProtocol {
    private static final String AREA = "consumer-protocol ";
    private static final Set<String> OF_EVERY_GROUP = Set.of(
            "a group continues where it committed",
            "two members share the partitions",
            "a member that leaves hands its partitions over",
            "a static member comes back without a rebalance",
            "a group notices added partitions");

    private ConsumerProtocol() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        Groups.scenarios().forEach((name, scenario) -> {
            if (OF_EVERY_GROUP.contains(name)) {
                all.put(AREA + name, scenario);
            }
        });
        all.put(AREA + "a regular expression finds topics", ConsumerProtocol::pattern);
        all.put(AREA + "a subscription changes", ConsumerProtocol::changes);
        all.put(AREA + "a deleted topic is given up", ConsumerProtocol::deleted);
        all.replaceAll((name, scenario) -> cluster -> {
            cluster.consumerProtocol = true;
            try {
                scenario.run(cluster);
            } finally {
                cluster.consumerProtocol = false;
            }
        });
        return all;
    }

    private static void has(Member member, TopicPartition... wanted) throws Exception {
        try {
            Check.waitUntil("the member has " + Set.of(wanted), Cluster.PATIENCE.multipliedBy(2), () -> {
                member.poll();
                return member.consumer.assignment().equals(Set.of(wanted));
            });
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + ", it has " + member.consumer.assignment());
        }
    }

    private static void pattern(Cluster cluster) throws Exception {
        String prefix = cluster.newName();
        cluster.create(prefix + "-one", 1, Map.of());
        cluster.create("not-" + prefix, 1, Map.of());
        try (Member member = cluster.join(prefix + "-one", cluster.newName())) {
            member.consumer.unsubscribe();
            member.consumer.subscribe(new SubscriptionPattern(prefix + "-.*"));
            has(member, new TopicPartition(prefix + "-one", 0));
            cluster.create(prefix + "-two", 1, Map.of());
            has(member, new TopicPartition(prefix + "-one", 0), new TopicPartition(prefix + "-two", 0));
        }
    }

    private static void changes(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String next = cluster.newTopic(1);
        try (Member member = cluster.join(topic, cluster.newName())) {
            has(member, new TopicPartition(topic, 0));
            member.consumer.subscribe(List.of(topic, next));
            has(member, new TopicPartition(topic, 0), new TopicPartition(next, 0));
            member.consumer.subscribe(List.of(next));
            has(member, new TopicPartition(next, 0));
            member.consumer.unsubscribe();
            Check.equal("what is left", member.consumer.assignment(), Set.of());
            member.consumer.subscribe(List.of(topic));
            has(member, new TopicPartition(topic, 0));
        }
    }

    private static void deleted(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String doomed = cluster.newTopic(1);
        // A client that asks for the deleted topic would create it again.
        Map<String, Object> how = Map.of("allow.auto.create.topics", false);
        try (Member member = cluster.join(topic, cluster.newName(), how)) {
            member.consumer.subscribe(List.of(topic, doomed));
            has(member, new TopicPartition(topic, 0), new TopicPartition(doomed, 0));
            cluster.admin.deleteTopics(List.of(doomed)).all().get();
            has(member, new TopicPartition(topic, 0));
        }
    }
}
