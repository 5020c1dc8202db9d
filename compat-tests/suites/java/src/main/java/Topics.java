import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;

/** Topics through the admin client. */
final class Topics {
    private Topics() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("a topic is created with 3 partitions", Topics::created);
        all.put("topics are listed", Topics::listed);
        all.put("a topic is described", Topics::described);
        all.put("a topic's configs are described", Topics::configsDescribed);
        all.put("producing creates a topic", Topics::createdByProducing);
        all.put("partitions grow from 3 to 5", Topics::grown);
        all.put("a topic deleted and created again starts empty", Topics::createdAgain);
        return all;
    }

    private static void created(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(3);
        Check.equal("partitions", cluster.partitions(topic), 3);
    }

    private static void listed(Cluster cluster) throws Exception {
        Set<String> topics = Set.of(cluster.newTopic(1), cluster.newTopic(1));
        Check.that(cluster.admin.listTopics().names().get().containsAll(topics), "a new topic is not listed");
    }

    private static void described(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(3);
        var description = cluster.describe(topic);
        Check.equal("name", description.name(), topic);
        Check.equal("internal", description.isInternal(), false);
        Check.equalLists("partitions", description.partitions().stream().map(p -> p.partition()).toList(), List.of(0, 1, 2));
        for (var partition : description.partitions()) {
            Node leader = partition.leader();
            Check.that(leader != null && !leader.host().isEmpty(), "partition " + partition.partition() + " has no leader");
            Check.equal("replicas", partition.replicas(), List.of(leader));
            Check.equal("in-sync replicas", partition.isr(), List.of(leader));
        }
    }

    private static void configsDescribed(Cluster cluster) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, cluster.newTopic(1));
        Config config = cluster.admin.describeConfigs(List.of(resource)).all().get().get(resource);
        Check.that(config.get("retention.ms") != null, "no retention.ms among " + config.entries());
        Long.parseLong(config.get("retention.ms").value());
    }

    private static void createdByProducing(Cluster cluster) throws Exception {
        String topic = cluster.newName();
        try (Writer writer = cluster.writer(topic)) {
            writer.send("first");
            Check.equalLists("offsets", writer.offsets(), List.of(0L));
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic, cluster.partitions(topic))), List.of("first"));
    }

    private static void grown(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(3);
        try (Writer writer = cluster.writer(topic)) {
            writer.send("before");
            writer.offsets();
            cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
            Check.waitUntil("5 partitions", () -> cluster.partitions(topic) == 5);
            // The same producer: it asks for metadata when it meets a partition that it does not know.
            writer.send(new ProducerRecord<>(topic, 4, null, "after"));
            Check.equalLists("offsets", writer.offsets(), List.of(0L));
        }
        Set<String> found = new HashSet<>();
        cluster.readAll(topic, 5).forEach(a -> found.add(a.record().partition() + " " + a.value()));
        Check.equal("records", found, Set.of("0 before", "4 after"));
    }

    private static void createdAgain(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = cluster.writer(topic)) {
            writer.send("old");
            writer.offsets();
        }
        cluster.admin.deleteTopics(List.of(topic)).all().get();
        Check.waitUntil("the topic is gone", () -> cluster.partitions(topic) == 0);
        cluster.create(topic, 1);
        try (Reader reader = cluster.reader(topic)) {
            Check.equal("beginning", reader.beginning(), 0L);
            Check.equal("end", reader.end(), 0L);
        }
        try (Writer writer = cluster.writer(topic)) {
            writer.send("new");
            Check.equalLists("offsets", writer.offsets(), List.of(0L));
        }
        Check.equalLists("values", Arrival.values(cluster.readAll(topic)), List.of("new"));
    }
}
