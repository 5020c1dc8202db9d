import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.Errors;

/** Committed offsets: kept, replaced, refused, deleted. */
final class Commits {
    /** Kafka's offset.metadata.max.bytes, which counts characters. */
    private static final int METADATA_MAX = 4_096;

    private Commits() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("a commit's metadata comes back", Commits::metadata);
        all.put("a group without commits starts where its reset says", Commits::neverCommitted);
        all.put("offsets committed without a subscription", Commits::withoutSubscription);
        all.put("a commit by no member is refused", Commits::byNoMember);
        all.put("offsets of an empty group altered", Commits::altered);
        all.put("offsets of a group deleted", Commits::deleted);
        return all;
    }

    static Map<String, Scenario> held() {
        return Map.of("a held record is no lag of a group", Commits::noLag);
    }

    static RemoveMembersFromConsumerGroupOptions removing(String instance) {
        return new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove(instance)));
    }

    private static Map<Integer, OffsetAndMetadata> at(int partition, long offset) {
        return Map.of(partition, new OffsetAndMetadata(offset));
    }

    private static Map<TopicPartition, OffsetAndMetadata> of(String topic, Map<Integer, OffsetAndMetadata> offsets) {
        Map<TopicPartition, OffsetAndMetadata> all = new HashMap<>();
        offsets.forEach((partition, offset) -> all.put(new TopicPartition(topic, partition), offset));
        return all;
    }

    /** Commits as no member of the group: with what is assigned, and no subscription. */
    private static Object commit(Cluster cluster, String group, String topic, Map<Integer, OffsetAndMetadata> offsets) {
        try (Reader reader = cluster.reader(topic, 1, Map.of("group.id", group))) {
            reader.consumer.commitSync(of(topic, offsets));
            return "committed";
        }
    }

    private static Object alter(Cluster cluster, String group, String topic, long offset) throws Exception {
        return cluster.admin.alterConsumerGroupOffsets(group, of(topic, at(0, offset))).all().get();
    }

    private static void write(Cluster cluster, String topic, int partition, int count) throws Exception {
        try (Writer writer = cluster.writer(topic)) {
            Produce.values(count).forEach(value -> writer.send(new ProducerRecord<>(topic, partition, null, value)));
            writer.offsets();
        }
    }

    private static void metadata(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String group = cluster.newName();
        Map<Integer, OffsetAndMetadata> last = Map.of();
        for (String text : List.of("where I was: Zürich", "", "ü".repeat(METADATA_MAX))) {
            last = Map.of(0, new OffsetAndMetadata(5, text));
            commit(cluster, group, topic, last);
            Check.equal("committed", cluster.committed(group, topic), last);
        }
        var tooLong = Map.of(0, new OffsetAndMetadata(6, "x".repeat(METADATA_MAX + 1)));
        cluster.refused("longer metadata", Errors.OFFSET_METADATA_TOO_LARGE, () -> commit(cluster, group, topic, tooLong));
        Check.equal("committed after it", cluster.committed(group, topic), last);
    }

    private static void neverCommitted(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String early = cluster.newName();
        String late = cluster.newName();
        write(cluster, topic, 0, 5);
        try (Member member = cluster.join(topic, early)) {
            Check.equalLists("values from the earliest", Arrival.values(member.take(5)), Produce.values(5));
        }
        try (Member member = cluster.join(topic, late, Map.of("auto.offset.reset", "latest"))) {
            Member.settle(1, member);
            Check.equal("position at the latest", member.consumer.position(new TopicPartition(topic, 0)), 5L);
            write(cluster, topic, 0, 1);
            Check.equalLists("offsets from the latest", Arrival.offsets(member.take(1)), List.of(5L));
        }
        for (String group : List.of(early, late)) {
            Check.equal("committed", cluster.committed(group, topic), Map.of());
        }
    }

    private static void withoutSubscription(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(3);
        String group = cluster.newName();
        write(cluster, topic, 2, 9);
        Map<Integer, OffsetAndMetadata> expected = new HashMap<>(at(0, 0));
        for (long offset : List.of(7L, 4L)) {
            expected.put(2, new OffsetAndMetadata(offset));
            commit(cluster, group, topic, expected);
            Check.equal("committed", cluster.committed(group, topic), expected);
        }
        var found = cluster.describeGroup(group);
        Check.equal("state", found.state(), ClassicGroupState.EMPTY);
        Check.equal("members", found.members(), List.of());
        try (Member member = cluster.join(topic, group)) {
            Check.equalLists("offsets read", Arrival.offsets(member.take(5)), Produce.offsets(4, 9));
        }
    }

    private static void byNoMember(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String group = cluster.newName();
        // A heartbeat would tell the member first that it is none.
        try (Member member = cluster.join(topic, group, Map.of("heartbeat.interval.ms", 10_000))) {
            Member.settle(1, member);
            member.commit(Map.of(0, 3L));
            cluster.refused("nobody in a group with members", Errors.UNKNOWN_MEMBER_ID, () -> alter(cluster, group, topic, 7));
            cluster.admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions()).all().get();
            try {
                member.commit(Map.of(0, 7L));
                Check.that(false, "a member that was removed has committed");
            } catch (CommitFailedException e) {
                // What the client makes of UNKNOWN_MEMBER_ID.
            }
        }
        Check.equal("committed", cluster.committed(group, topic), at(0, 3));
    }

    private static void altered(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String group = cluster.newName();
        write(cluster, topic, 0, 10);
        try (Member member = cluster.join(topic, group)) {
            member.take(10);
            member.commit(Map.of(0, 10L));
            cluster.refused("altering it with a member", Errors.UNKNOWN_MEMBER_ID, () -> alter(cluster, group, topic, 4));
        }
        cluster.emptied(group);
        Check.equal("committed", cluster.committed(group, topic), at(0, 10));
        alter(cluster, group, topic, 6);
        Check.equal("altered", cluster.committed(group, topic), at(0, 6));
        try (Member member = cluster.join(topic, group)) {
            Check.equalLists("offsets read", Arrival.offsets(member.take(4)), Produce.offsets(6, 10));
        }
    }

    private static void deleted(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(2);
        String group = cluster.newName();
        Set<TopicPartition> first = Set.of(new TopicPartition(topic, 0));
        try (Member member = cluster.join(topic, group)) {
            Member.settle(2, member);
            member.commit(Map.of(0, 1L, 1, 2L));
            cluster.refused("deleting what a member is subscribed to", Errors.GROUP_SUBSCRIBED_TO_TOPIC,
                    () -> cluster.admin.deleteConsumerGroupOffsets(group, first).all().get());
        }
        cluster.emptied(group);
        Map<Integer, OffsetAndMetadata> both = new HashMap<>(at(0, 1));
        both.putAll(at(1, 2));
        Check.equal("committed", cluster.committed(group, topic), both);
        cluster.admin.deleteConsumerGroupOffsets(group, first).all().get();
        Check.equal("what is left", cluster.committed(group, topic), at(1, 2));
    }

    private static void noLag(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String group = cluster.newName();
        try (Member member = cluster.join(topic, group); Writer writer = cluster.writer(topic)) {
            Collections.nCopies(5, "plain").forEach(writer::send);
            for (int i = 0; i < 3; i++) {
                writer.sendWith("chronos-deliver-after", "PT1H", "held");
            }
            writer.offsets();
            Check.equal("lag", lagAfter(cluster, member, group, topic, 5), 0L);
            writer.send("plain");
            Check.equalLists("offset after the held records", writer.offsets(), List.of(8L));
            Check.equal("lag after another record", lagAfter(cluster, member, group, topic, 1), 0L);
        }
    }

    /** How far the broker's end is from what the group committed, after this many records more. */
    private static long lagAfter(Cluster cluster, Member member, String group, String topic, int count) throws Exception {
        Check.equalLists("values", Arrival.values(member.take(count)), Collections.nCopies(count, "plain"));
        member.poll();
        member.consumer.commitSync();
        TopicPartition partition = new TopicPartition(topic, 0);
        long end = cluster.admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get().offset();
        return end - cluster.committed(group, topic).get(0).offset();
    }
}
