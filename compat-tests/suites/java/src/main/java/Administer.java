import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.Errors;

/** Topics, their configs and the cluster, and errors. */
final class Administer {
    private Administer() {}

    static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new LinkedHashMap<>();
        all.put("topic created with partitions and configs", Administer::created);
        all.put("topic creation refused", Administer::creationRefused);
        all.put("partitions grow and never shrink", Administer::grown);
        all.put("topic deleted and created again", Administer::createdAgain);
        all.put("cluster and topic described", Administer::described);
        all.put("configs described", Administer::configsDescribed);
        all.put("config altered", Administer::configAltered);
        all.put("unknown topic is told", Administer::unknownTopic);
        return all;
    }

    private static void checkConfig(Cluster cluster, String topic, String name, String value, ConfigSource source)
            throws Exception {
        ConfigEntry entry = cluster.configs(topic).get(name);
        Check.that(entry != null, "no " + name);
        Check.equal(name, entry.value() + " " + entry.source(), value + " " + source);
    }

    private static void created(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(3, Map.of("retention.ms", "7200000", "message.timestamp.type", "LogAppendTime"));
        checkConfig(cluster, topic, "retention.ms", "7200000", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        checkConfig(cluster, topic, "message.timestamp.type", "LogAppendTime", ConfigSource.DYNAMIC_TOPIC_CONFIG);
    }

    private static void creationRefused(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        String other = cluster.newName();
        cluster.refused("creating it again", Errors.TOPIC_ALREADY_EXISTS, () -> cluster.ask(topic, 1, Map.of()));
        cluster.refused("a bad name", Errors.INVALID_TOPIC_EXCEPTION, () -> cluster.ask("no spaces!", 1, Map.of()));
        cluster.refused("an unknown config", Errors.INVALID_CONFIG,
                () -> cluster.ask(other, 1, Map.of("no.such.config", "1")));
        cluster.refused("a bad value", Errors.INVALID_CONFIG, () -> cluster.ask(other, 1, Map.of("retention.ms", "soon")));
        Check.that(!cluster.topics().contains(other), "a refused topic was created");
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
        for (int count : List.of(2, 5)) {
            cluster.refused(count + " partitions", Errors.INVALID_PARTITIONS,
                    () -> cluster.admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(count))).all().get());
        }
    }

    private static void createdAgain(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1);
        try (Writer writer = cluster.writer(topic)) {
            writer.send("old");
            writer.offsets();
        }
        cluster.admin.deleteTopics(List.of(topic)).all().get();
        Check.waitUntil("the topic is gone", () -> cluster.partitions(topic) == 0);
        cluster.create(topic, 1, Map.of());
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

    private static void described(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(3);
        var about = cluster.admin.describeCluster();
        Check.that(!about.clusterId().get().isEmpty(), "no cluster id");
        List<Node> nodes = List.copyOf(about.nodes().get());
        Check.equal("nodes", nodes.size(), 1);
        Check.equal("address", nodes.get(0).host() + ":" + nodes.get(0).port(), cluster.bootstrap);
        Check.equal("controller", about.controller().get(), nodes.get(0));
        Check.that(cluster.topics().contains(topic), "it is not listed");
        var description = cluster.describe(topic);
        Check.equal("name", description.name(), topic);
        Check.equal("internal", description.isInternal(), false);
        Check.equalLists("partitions", description.partitions().stream().map(p -> p.partition()).toList(), List.of(0, 1, 2));
        for (var partition : description.partitions()) {
            Check.equal("leader of partition " + partition.partition(), partition.leader(), nodes.get(0));
            Check.equal("replicas", partition.replicas(), nodes);
            Check.equal("in-sync replicas", partition.isr(), nodes);
        }
    }

    private static void configsDescribed(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1, Map.of("retention.ms", "7200000"));
        checkConfig(cluster, topic, "retention.ms", "7200000", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        Map<String, String> defaults = Map.of(
                "max.message.bytes", "1048588",
                "cleanup.policy", "delete",
                "compression.type", "producer",
                "message.timestamp.type", "CreateTime",
                "segment.bytes", "1073741824");
        for (var expected : defaults.entrySet()) {
            checkConfig(cluster, topic, expected.getKey(), expected.getValue(), ConfigSource.DEFAULT_CONFIG);
        }
    }

    private static void configAltered(Cluster cluster) throws Exception {
        String topic = cluster.newTopic(1, Map.of("message.timestamp.type", "LogAppendTime"));
        alter(cluster, topic, "3600000", AlterConfigOp.OpType.SET);
        checkConfig(cluster, topic, "retention.ms", "3600000", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        checkConfig(cluster, topic, "message.timestamp.type", "LogAppendTime", ConfigSource.DYNAMIC_TOPIC_CONFIG);
        alter(cluster, topic, null, AlterConfigOp.OpType.DELETE);
        checkConfig(cluster, topic, "retention.ms", "604800000", ConfigSource.DEFAULT_CONFIG);
        checkConfig(cluster, topic, "message.timestamp.type", "LogAppendTime", ConfigSource.DYNAMIC_TOPIC_CONFIG);
    }

    /** Changes retention.ms and waits until it is seen. */
    private static void alter(Cluster cluster, String topic, String value, AlterConfigOp.OpType how) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        AlterConfigOp change = new AlterConfigOp(new ConfigEntry("retention.ms", value), how);
        String before = cluster.configs(topic).get("retention.ms").value();
        cluster.admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
        Check.waitUntil("retention.ms changes", () -> !cluster.configs(topic).get("retention.ms").value().equals(before));
    }

    private static void unknownTopic(Cluster cluster) throws Exception {
        String topic = cluster.newName();
        cluster.refused("describing it", Errors.UNKNOWN_TOPIC_OR_PARTITION, () -> cluster.describe(topic));
        Thread.sleep(100);
        Check.that(!cluster.topics().contains(topic), "asking created it");
    }
}
