import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.admin.ClassicGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.protocol.Errors;

/** Groups: who has which partitions, and what the broker says of them. */
final class Groups {
    private static final int PARTITIONS = 4;
    private static final Map<String, Object> SHORT_SESSION = Map.of("session.timeout.ms", 6_000);
    /** A session of 6 s, whose last heartbeat was moments before, ends no sooner; and not much later. */
    private static final Duration SURVIVES = Duration.ofSeconds(3);
    private static final Duration DIES = Duration.ofSeconds(12);

    private Groups() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("a group continues where it committed", Groups::continues);
        all.put("two members share the partitions", Groups::share);
        all.put("a member that leaves hands its partitions over", Groups::leaves);
        all.put("a member that dies loses its partitions", Groups::dies);
        all.put("a static member comes back without a rebalance", Groups::staticComesBack);
        all.put("a replaced static member is fenced", Groups::fenced);
        all.put("a cooperative rebalance takes only what moves", Groups::cooperative);
        all.put("a group notices added partitions", Groups::noticesPartitions);
        all.put("group listed and described", Groups::described);
        all.put("group deleted only when empty", Groups::deleted);
        return all;
    }

    /** Writes `count` records to each partition. */
    private static void spread(Cluster cluster, String topic, int partitions, int count) throws Exception {
        try (Writer writer = cluster.writer(topic)) {
            for (int partition = 0; partition < partitions; partition++) {
                for (int i = 0; i < count; i++) {
                    writer.send(new ProducerRecord<>(topic, partition, null, i + " of " + partition));
                }
            }
            writer.offsets();
        }
    }

    /** Partition and offset of each record, sorted: as texts, of equal length. */
    private static List<String> places(List<Arrival> arrivals) {
        return arrivals.stream().map(a -> place(a.record().partition(), a.offset())).sorted().toList();
    }

    private static List<String> places(Iterable<Integer> partitions, long from, long to) {
        Set<String> all = new TreeSet<>();
        partitions.forEach(p -> LongStream.range(from, to).forEach(offset -> all.add(place(p, offset))));
        return List.copyOf(all);
    }

    private static String place(int partition, long offset) {
        return String.format("%02d:%04d", partition, offset);
    }

    private static List<Integer> every(int partitions) {
        return IntStream.range(0, partitions).boxed().toList();
    }

    private static Map<String, Object> instance(String name) {
        return Map.of("group.instance.id", name);
    }

    private static void continues(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(2);
        String group = cluster.newName();
        spread(cluster, topic, 2, 10);
        try (Member first = cluster.join(topic, group)) {
            Check.equalLists("read by the first", places(first.take(20)), places(every(2), 0, 10));
            first.commit(Map.of(0, 10L, 1, 10L));
        }
        Map<Integer, OffsetAndMetadata> both = Map.of(0, new OffsetAndMetadata(10), 1, new OffsetAndMetadata(10));
        Check.equal("committed", cluster.committed(group, topic), both);
        spread(cluster, topic, 2, 3);
        try (Member second = cluster.join(topic, group)) {
            Check.equalLists("read by the second", places(second.take(6)), places(every(2), 10, 13));
        }
    }

    private static void share(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(PARTITIONS);
        String group = cluster.newName();
        try (Member one = cluster.join(topic, group); Member other = cluster.join(topic, group)) {
            Member.settle(PARTITIONS, one, other);
            spread(cluster, topic, PARTITIONS, 25);
            for (Member member : List.of(one, other)) {
                List<String> ofItsOwn = places(member.partitions, 0, 25);
                Check.equalLists("read by the member with " + member.partitions, places(member.take(50)), ofItsOwn);
                member.poll();
                Check.equalLists("read besides", List.copyOf(member.polled), List.of());
            }
        }
    }

    private static void leaves(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(PARTITIONS);
        String group = cluster.newName();
        try (Member one = cluster.join(topic, group); Member other = cluster.join(topic, group)) {
            Member.settle(PARTITIONS, one, other);
            one.close();
            Member.settle(PARTITIONS, other);
            spread(cluster, topic, PARTITIONS, 1);
            Check.equalLists("read by who is left", places(other.take(PARTITIONS)), places(every(PARTITIONS), 0, 1));
        }
    }

    private static void dies(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(PARTITIONS);
        String group = cluster.newName();
        try (Member doomed = cluster.join(topic, group, SHORT_SESSION); Member heir = cluster.join(topic, group)) {
            Member.settle(PARTITIONS, doomed, heir);
            doomed.die();
            long died = System.nanoTime();
            Member.settle(PARTITIONS, DIES, heir);
            Duration took = Duration.ofNanos(System.nanoTime() - died);
            Check.that(took.compareTo(SURVIVES) > 0, "it was given up after " + took.toMillis() + " ms, its session is 6 s");
            spread(cluster, topic, PARTITIONS, 1);
            Check.equalLists("read by the heir", places(heir.take(PARTITIONS)), places(every(PARTITIONS), 0, 1));
        }
    }

    private static void staticComesBack(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(PARTITIONS);
        String group = cluster.newName();
        try (Member one = cluster.join(topic, group, instance("one"));
                Member other = cluster.join(topic, group, instance("other"))) {
            Member.settle(PARTITIONS, one, other);
            Set<Integer> had = new TreeSet<>(one.partitions);
            List<List<List<Integer>>> before = List.of(List.copyOf(other.given), List.copyOf(other.taken));
            one.close();
            try (Member again = cluster.join(topic, group, instance("one"))) {
                Check.waitUntil("it has " + had + " again", () -> {
                    again.poll();
                    other.poll();
                    return again.partitions.equals(had);
                });
                // A rebalance would have waited for the other member, which would have been told.
                Check.equal("rebalances of the other member", List.of(other.given, other.taken), before);
                spread(cluster, topic, PARTITIONS, 1);
                Check.equalLists("read", places(again.take(had.size())), places(had, 0, 1));
            }
        }
    }

    private static void fenced(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(2);
        String group = cluster.newName();
        // A heartbeat of it would be refused first.
        Map<String, Object> quiet = Map.of("group.instance.id", "same", "heartbeat.interval.ms", "5000");
        try (Member old = cluster.join(topic, group, quiet)) {
            Member.settle(2, old);
            old.commit(Map.of(0, 0L));
            try (Member replacement = cluster.join(topic, group, instance("same"))) {
                Member.settle(2, replacement);
                cluster.refused("a commit of the member that was replaced", Errors.FENCED_INSTANCE_ID, () -> {
                    old.commit(Map.of(0, 1L));
                    return "committed";
                });
                replacement.commit(Map.of(1, 2L));
            }
        }
        Map<Integer, OffsetAndMetadata> wanted = Map.of(0, new OffsetAndMetadata(0), 1, new OffsetAndMetadata(2));
        Check.equal("committed", cluster.committed(group, topic), wanted);
    }

    private static void cooperative(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(PARTITIONS);
        String group = cluster.newName();
        Map<String, Object> how = Map.of("partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        try (Member one = cluster.join(topic, group, how)) {
            Member.settle(PARTITIONS, one);
            Set<Integer> gone;
            try (Member other = cluster.join(topic, group, how)) {
                Member.settle(PARTITIONS, one, other);
                gone = new TreeSet<>(other.partitions);
                Check.equal("taken from the first member", all(one.taken), List.copyOf(gone));
            }
            Member.settle(PARTITIONS, one);
            Check.equal("taken from it when the other left", all(one.taken), List.copyOf(gone));
        }
    }

    private static List<Integer> all(List<List<Integer>> parts) {
        return parts.stream().flatMap(List::stream).toList();
    }

    private static void noticesPartitions(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(2);
        String group = cluster.newName();
        try (Member member = cluster.join(topic, group)) {
            Member.settle(2, member);
            cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS))).all().get();
            Member.settle(PARTITIONS, member);
            spread(cluster, topic, PARTITIONS, 1);
            Check.equalLists("read", places(member.take(PARTITIONS)), places(every(PARTITIONS), 0, 1));
        }
    }

    private static void described(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(PARTITIONS);
        String group = cluster.newName();
        try (Member one = cluster.join(topic, group); Member other = cluster.join(topic, group, instance("other"))) {
            Member.settle(PARTITIONS, one, other);
            ClassicGroupDescription found = cluster.describeGroup(group);
            Check.equal("state", found.state(), ClassicGroupState.STABLE);
            Check.equal("protocol", found.protocol() + " " + found.protocolData(), "consumer range");
            Check.equal("partitions of the members", byInstance(found), Map.of("", one.partitions, "other", other.partitions));
            found.members().forEach(member -> Check.equal("client id", member.clientId(), group));
            checkListed(cluster, group, GroupState.STABLE);
            cluster.admin.removeMembersFromConsumerGroup(group, Commits.removing("other")).all().get();
        }
        Check.equal("members when empty", cluster.emptied(group).members(), List.of());
        checkListed(cluster, group, GroupState.EMPTY);
    }

    /** The partitions that the broker says each member has; the name of a member that is not static is empty. */
    private static Map<String, Set<Integer>> byInstance(ClassicGroupDescription group) {
        Map<String, Set<Integer>> all = new HashMap<>();
        for (MemberDescription member : group.members()) {
            Set<Integer> partitions = member.assignment().topicPartitions().stream()
                    .map(TopicPartition::partition).collect(Collectors.toSet());
            all.put(member.groupInstanceId().orElse(""), partitions);
        }
        return all;
    }

    private static void checkListed(Cluster cluster, String group, GroupState state) throws Exception {
        GroupListing listing = new GroupListing(group, Optional.of(GroupType.CLASSIC), "consumer", Optional.of(state));
        List<GroupListing> found = cluster.admin.listGroups().all().get().stream()
                .filter(listed -> listed.groupId().equals(group)).toList();
        Check.equalLists("listing", found, List.of(listing));
    }

    private static void deleted(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String group = cluster.newName();
        try (Member member = cluster.join(topic, group)) {
            Member.settle(1, member);
            member.commit(Map.of(0, 0L));
            cluster.refused("deleting it with a member", Errors.NON_EMPTY_GROUP, () -> delete(cluster, group));
        }
        cluster.emptied(group);
        Check.equal("committed before", cluster.committed(group, topic), Map.of(0, new OffsetAndMetadata(0)));
        delete(cluster, group);
        Check.that(!cluster.groups().contains(group), "it is still listed");
        Check.equal("committed after", cluster.committed(group, topic), Map.of());
        cluster.refused("deleting it again", Errors.GROUP_ID_NOT_FOUND, () -> delete(cluster, group));
    }

    private static Object delete(Cluster cluster, String group) throws Exception {
        return cluster.admin.deleteConsumerGroups(List.of(group)).all().get();
    }
}
