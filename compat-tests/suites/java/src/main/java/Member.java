import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.CloseOptions.GroupMembershipOperation;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads a topic as a member of a group, and keeps what was given to it and taken from it. */
final class Member extends Polled {
    final List<List<Integer>> given = new ArrayList<>();
    final List<List<Integer>> taken = new ArrayList<>();
    final Set<Integer> partitions = new TreeSet<>();
    private final String topic;

    Member(String bootstrap, String topic, String group, Map<String, Object> config, boolean consumerProtocol) {
        super(new KafkaConsumer<>(all(bootstrap, group, config, consumerProtocol), new StringDeserializer(), new StringDeserializer()));
        this.topic = topic;
        consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
                given.add(numbers(assigned));
                partitions.addAll(numbers(assigned));
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> revoked) {
                taken.add(numbers(revoked));
                partitions.removeAll(numbers(revoked));
            }
        });
    }

    private static Map<String, Object> all(
            String bootstrap, String group, Map<String, Object> config, boolean consumerProtocol) {
        Map<String, Object> all = new HashMap<>(Map.of(
                "bootstrap.servers", bootstrap,
                "group.id", group,
                "client.id", group,
                "enable.auto.commit", false,
                "auto.offset.reset", "earliest",
                "partition.assignment.strategy", RangeAssignor.class.getName(),
                "fetch.max.wait.ms", 100,
                "default.api.timeout.ms", (int) Cluster.PATIENCE.toMillis()));
        // Often enough that a rebalance is noticed at once, and a partition that was added.
        all.put("heartbeat.interval.ms", 200);
        all.put("metadata.max.age.ms", 500);
        all.putAll(config);
        if (consumerProtocol) {
            // The broker says how often, and who has what.
            all.keySet().removeAll(Set.of("heartbeat.interval.ms", "session.timeout.ms", "partition.assignment.strategy"));
            all.put("group.protocol", "consumer");
        }
        return all;
    }

    private static List<Integer> numbers(Collection<TopicPartition> partitions) {
        return partitions.stream().map(TopicPartition::partition).sorted().toList();
    }

    void commit(Map<Integer, Long> offsets) {
        Map<TopicPartition, OffsetAndMetadata> all = new HashMap<>();
        offsets.forEach((partition, offset) -> all.put(new TopicPartition(topic, partition), new OffsetAndMetadata(offset)));
        consumer.commitSync(all);
    }

    /** Stops without leaving the group. */
    void die() {
        consumer.close(CloseOptions.timeout(Duration.ofSeconds(1))
                .withGroupMembershipOperation(GroupMembershipOperation.REMAIN_IN_GROUP));
    }

    /** Waits until each of the topic's partitions belongs to one of the members, and each has its share. */
    static void settle(int count, Duration patience, Member... members) throws Exception {
        String shared = count + " partitions are shared evenly by " + members.length + " members";
        try {
            Check.waitUntil(shared, patience, () -> evenly(count, members));
        } catch (AssertionError e) {
            throw new AssertionError(e.getMessage() + ", they have " + Stream.of(members).map(m -> m.partitions).toList());
        }
    }

    private static boolean evenly(int count, Member... members) {
        List<Integer> owned = new ArrayList<>();
        boolean even = true;
        // A consumer rebalances in its polls, so all are polled in turn.
        for (Member member : members) {
            member.poll();
            owned.addAll(member.partitions);
            even &= member.partitions.size() == count / members.length;
        }
        return even && owned.stream().sorted().toList().equals(IntStream.range(0, count).boxed().toList());
    }

    static void settle(int count, Member... members) throws Exception {
        settle(count, Cluster.PATIENCE, members);
    }
}
